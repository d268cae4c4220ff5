#include "engine/tasks/coordination_json.hpp"

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/tasks/coordination_manager.hpp"

namespace mesh::tasks {
namespace {

using Json = nlohmann::json;

// Empty: it was taken; else what it should be.
using Take = std::function<std::string_view(const Json&)>;
struct Field {
  std::string_view key;
  Take take;
};
using Fields = std::vector<Field>;

template <class Number>
Take number(Number& into) {
  return [&into](const Json& value) -> std::string_view {
    if (!value.is_number_unsigned()) return "a whole number from 0";
    const auto given = value.get<std::uint64_t>();
    if (given > std::numeric_limits<Number>::max()) return "a smaller number";
    into = static_cast<Number>(given);
    return {};
  };
}
Take flag(bool& into) {
  return [&into](const Json& value) -> std::string_view {
    if (!value.is_boolean()) return "true or false";
    into = value.get<bool>();
    return {};
  };
}
Take milliseconds(Nanos& into) {
  return [&into](const Json& value) -> std::string_view {
    if (!value.is_number_unsigned()) return "whole milliseconds from 0";
    const auto given = value.get<std::uint64_t>();
    if (given > static_cast<std::uint64_t>(kDurationMaxNs / kNsPerMs)) return "fewer milliseconds";
    into = Nanos{static_cast<std::int64_t>(given) * kNsPerMs};
    return {};
  };
}
// By the names that to_string() gives.
template <class Enum>
Take choice(Enum& into) {
  return [&into](const Json& value) -> std::string_view {
    for (std::size_t i = 0; value.is_string() && i <= static_cast<std::size_t>(last_of(Enum{}));
         ++i) {
      const auto one = static_cast<Enum>(i);
      if (value.get_ref<const std::string&>() != to_string(one)) continue;
      into = one;
      return {};
    }
    return "one of its names";
  };
}

Status refuse_key(const std::string& key, std::string_view wanted) {
  return fail(Errc::invalid_config,
              "coordination config: " + key + " is not " + std::string(wanted));
}

// `path` ends with a dot, or is empty.
Status take_all(const Json& object, const std::string& path, const Fields& fields) {
  if (!object.is_object()) return refuse_key(path.empty() ? "the whole" : path, "an object");
  for (const auto& [key, value] : object.items()) {
    const Field* found = nullptr;
    for (const Field& one : fields) {
      if (one.key == key) found = &one;
    }
    if (found == nullptr) {
      return fail(Errc::invalid_config, "coordination config: there is no key " + path + key);
    }
    const std::string_view wanted = found->take(value);
    if (!wanted.empty()) return refuse_key(path + key, wanted);
  }
  return {};
}

Fields fields_of(TaskSchedulerConfig& one) {
  return {{"tasks_max", number(one.tasks_max)},
          {"edges_max", number(one.edges_max)},
          {"dependencies_max", number(one.dependencies_max)},
          {"agents_max", number(one.agents_max)},
          {"running_max", number(one.running_max)},
          {"kinds_max", number(one.kinds_max)},
          {"types_max", number(one.types_max)},
          {"strategy", choice(one.strategy)},
          {"p2c_above", number(one.p2c_above)},
          {"retry_ms_max", milliseconds(one.retry_ns_max)},
          {"timeout_ms", milliseconds(one.timeout_ns)},
          {"aging_ms", milliseconds(one.aging_ns)},
          {"affinity_ppm", number(one.affinity_ppm)},
          {"dispatch_max", number(one.dispatch_max)},
          {"steal_interval_ms", milliseconds(one.steal_interval_ns)},
          {"steals_max", number(one.steals_max)},
          {"straggler_ppm", number(one.straggler_ppm)},
          {"straggler_samples", number(one.straggler_samples)},
          {"copies_max", number(one.copies_max)},
          {"copies_ppm", number(one.copies_ppm)},
          {"durable", flag(one.durable)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(ResourceManagerConfig& one) {
  return {{"lease_ms", milliseconds(one.lease_ns)},
          {"aging_ms", milliseconds(one.aging_ns)},
          {"detection_ms", milliseconds(one.detection_ns)},
          {"agents_max", number(one.agents_max)},
          {"resources_max", number(one.resources_max)},
          {"holdings_max", number(one.holdings_max)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(MessageRouterConfig& one) {
  return {{"agents_max", number(one.agents_max)},
          {"clusters_max", number(one.clusters_max)},
          {"sectors_max", number(one.sectors_max)},
          {"messages_max", number(one.messages_max)},
          {"pairs_max", number(one.pairs_max)},
          {"requests_max", number(one.requests_max)},
          {"subscriptions_max", number(one.subscriptions_max)},
          {"queue_max", number(one.queue_max)},
          {"letters_max", number(one.letters_max)},
          {"body_bytes_max", number(one.body_bytes_max)},
          {"host", number(one.host)},
          {"ttl_ms", milliseconds(one.ttl_ns)},
          {"order", choice(one.order)},
          {"ack", choice(one.ack)},
          {"overflow", choice(one.overflow)},
          {"parked_max", number(one.parked_max)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(WorkStealingConfig& one) {
  return {{"half_above", number(one.half_above)},   {"lifelines", number(one.lifelines)},
          {"enabled", flag(one.enabled)},           {"threshold", number(one.threshold)},
          {"burst_max", number(one.burst_max)},     {"interval_ms", milliseconds(one.interval_ns)},
          {"stale_ms", milliseconds(one.stale_ns)}, {"agents_max", number(one.agents_max)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(DependencyGraphConfig& one) {
  return {{"tasks_max", number(one.tasks_max)},
          {"edges_max", number(one.edges_max)},
          {"dependencies_max", number(one.dependencies_max)},
          {"strict", flag(one.strict)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(MetricStoreConfig& one) {
  return {
      {"metrics_max", number(one.metrics_max)},   {"histograms_max", number(one.histograms_max)},
      {"columns_max", number(one.columns_max)},   {"seconds_kept", number(one.seconds_kept)},
      {"minutes_kept", number(one.minutes_kept)}, {"standard", flag(one.standard)},
      {"events_max", number(one.events_max)}};
}
Fields fields_of(EventBusConfig& one) {
  return {{"records_max", number(one.records_max)},
          {"names_max", number(one.names_max)},
          {"subscriptions_max", number(one.subscriptions_max)},
          {"depth_max", number(one.depth_max)},
          {"handler_budget_ms", milliseconds(one.handler_budget_ns)},
          {"events_max", number(one.events_max)}};
}
Fields fields_of(CoordinationConfig& one) {
  return {{"maxRetries", number(one.retries_max)},
          {"retryDelay", milliseconds(one.retry_delay_ns)},
          {"deadlockDetection", flag(one.deadlock_detection)},
          {"resourceTimeout", milliseconds(one.resource_timeout_ns)},
          {"messageTimeout", milliseconds(one.message_timeout_ns)},
          {"drain_ms", milliseconds(one.drain_ns)},
          {"clock_ms", milliseconds(one.clock_ns)},
          {"late_ms", milliseconds(one.late_ns)},
          {"mode_enter_ms", milliseconds(one.mode_enter_ns)},
          {"mode_leave_ms", milliseconds(one.mode_leave_ns)},
          {"agents_min", number(one.agents_min)},
          {"step_limit", number(one.step_limit)},
          {"steps_max", number(one.steps_max)},
          {"saturated_ppm", number(one.saturated_ppm)},
          {"events_max", number(one.events_max)}};
}

struct Section {
  std::string_view key;
  Fields fields;
};
std::vector<Section> sections_of(CoordinationConfig& config) {
  return {{"tasks", fields_of(config.tasks)},       {"resources", fields_of(config.resources)},
          {"messages", fields_of(config.messages)}, {"stealing", fields_of(config.stealing)},
          {"graph", fields_of(config.graph)},       {"metrics", fields_of(config.metrics)},
          {"events", fields_of(config.events)}};
}

// Over what stands in `config`, which is anything where it is refused.
Status take_config(Json object, CoordinationConfig& config) {
  if (!object.is_object()) return refuse_key("the whole", "an object");
  for (const Section& section : sections_of(config)) {
    const auto found = object.find(section.key);
    if (found == object.end()) continue;
    MESH_CHECK_OK(take_all(*found, std::string(section.key) + ".", section.fields));
    object.erase(found);
  }
  MESH_CHECK_OK(take_all(object, "", fields_of(config)));
  return CoordinationManager::validate(config);
}

}  // namespace

Result<CoordinationConfig> coordination_config_of(std::string_view json) {
  Json object = Json::parse(json, nullptr, false);
  if (object.is_discarded()) return fail(Errc::bad_input, "coordination config: it is no JSON");
  std::string preset = "production";
  if (object.is_object() && object.contains("preset")) {
    if (!object["preset"].is_string()) {
      return fail(Errc::invalid_config, "coordination config: preset is not a name");
    }
    preset = object["preset"].get<std::string>();
    object.erase("preset");
  }
  MESH_TRY(CoordinationConfig config, CoordinationConfig::preset(preset));
  MESH_CHECK_OK(take_config(std::move(object), config));
  return config;
}

Status set_coordination_option(CoordinationConfig& config, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return fail(Errc::invalid_config,
                "coordination config: \"" + std::string(assignment) + "\" is no key=value");
  }
  const std::string key(assignment.substr(0, equals));
  const std::string text(assignment.substr(equals + 1));
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) value = text;  // a name, without its quotes
  const std::size_t dot = key.find('.');
  Json object;
  if (dot == std::string::npos) {
    object[key] = std::move(value);
  } else {
    object[key.substr(0, dot)][key.substr(dot + 1)] = std::move(value);
  }
  CoordinationConfig changed = config;
  MESH_CHECK_OK(take_config(std::move(object), changed));
  config = changed;
  return {};
}

}  // namespace mesh::tasks
