// RunningSteps: rerouting, provenance and clocks; and what of a conflict they need.
#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/conflict/causal_order.hpp"
#include "engine/conflict/provenance.hpp"
#include "engine/control_json.hpp"
#include "engine/running_steps.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;
using Text = Result<std::string>;

constexpr std::uint32_t kReroutes = 3;  // agents that are tried
constexpr std::uint32_t kTestimoniesMax = 1'000;
constexpr std::size_t kCollectedMax = 4'096;  // more than resolve at a time
constexpr std::size_t kToldMax = 64;          // agents whose value did not stand
constexpr double kMillionths = 1'000'000;

// Bytes as a JSON text; what is no UTF-8 as hexadecimal digits.
json text_of(std::span<const std::byte> bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  try {
    static_cast<void>(json(text).dump());
    return text;
  } catch (const json::exception&) {
    return {{"hex", to_hex(bytes)}};
  }
}

std::optional<std::string> bytes_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  const auto hex = found->is_object() ? found->find("hex") : found->end();
  if (!found->is_object() || hex == found->end() || !hex->is_string()) return std::nullopt;
  const std::string digits = hex->get<std::string>();
  std::string bytes(digits.size() / 2, '\0');
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::uint8_t byte = 0;
    const char* const first = digits.data() + 2 * at;
    if (std::from_chars(first, first + 2, byte, 16).ptr != first + 2) return std::nullopt;
    bytes[at] = static_cast<char>(byte);
  }
  return bytes;
}

json detail_of(const Record& conflict) {
  json object = json::parse(conflict.detail, nullptr, false);
  return object.is_object() ? object : json::object();
}

std::vector<std::string> asked_in(const json& detail) {
  std::vector<std::string> names;
  const auto asked = detail.find("asked");
  if (asked == detail.end() || !asked->is_array()) return names;
  for (const json& name : *asked)
    if (name.is_string()) names.push_back(name.get<std::string>());
  return names;
}

}  // namespace

bool RunningSteps::is_byzantine(const Record& conflict) {
  return detail_of(conflict).value("byzantine", false);
}

Result<json> RunningSteps::outcome_of(Store& store, const Record& conflict, ConflictStep step) {
  MESH_TRY(const auto records, store.find({.subject = conflict.subject, .limit = 1'000}));
  for (const StoredRecord& stored : records) {
    if (stored.record.expected != name_of(step)) continue;
    json object = json::parse(stored.record.received, nullptr, false);
    if (object.is_object()) return object;
  }
  return fail(Errc::not_found, "what " + std::string(name_of(step)) + " found is not recorded");
}

// Of a conflict: who sent the message, what it asked for, what the answer carried, and the work.
void RunningSteps::complete(const ConflictNote& note, const Carried& carried,
                            ConflictReport& report) {
  const auto agent = view_.agent(index_of(note.agent));
  const bool is_here = agent && agent->id == note.agent && agent->station != kNoStation;
  report.facts.has_context_calls =
      note.context_hash != 0 && (!is_here || uses_.loads_context(agent->station).value_or(true));
  json detail = {{"source", static_cast<std::uint64_t>(note.source)}};
  if (note.is_byzantine) {
    report.facts.has_context_calls = true;  // held whatever it loads: see reload()
    detail["byzantine"] = true;
  }
  if (const auto names = view_.names_of(CapabilitySet(note.asked)); !names.empty())
    detail["asked"] = names;
  if (!carried.answer.empty()) detail["carried"] = text_of(carried.answer);
  if (!carried.message.empty()) detail["work"] = text_of(carried.message);
  report.detail = dump(detail);
}

std::optional<Text> RunningSteps::start_strategy(ConflictOffice& office, const RunStep& step,
                                                 const Record& conflict) {
  if (step.step == ConflictStep::mend_capabilities) return mend(step, conflict);
  if (step.step == ConflictStep::route_elsewhere) return route_elsewhere(step, conflict);
  if (step.step == ConflictStep::load_merged) return load_merged(office, step, conflict);
  if (office.store() == nullptr) return fail(Errc::not_ready, "the store is away");
  Store& store = *office.store();
  switch (step.step) {
    case ConflictStep::keep_branches:
      return keep_branches(store, conflict);
    case ConflictStep::merge_branches:
      return merge_branches(store, conflict);
    case ConflictStep::trace_origins:
      return trace_origins(store, conflict);
    case ConflictStep::take_stronger:
      return take_stronger(store, step, conflict);
    case ConflictStep::collect_clocks:
      return collect_clocks(conflict);
    case ConflictStep::rebuild_order:
      return rebuild_order(store, conflict);
    default:
      return fail(Errc::unsupported, "nobody here can do this");
  }
}

// Capabilities. What the agent lacks is the one that was asked for, or the one of them that its
// answer names.

std::optional<Text> RunningSteps::mend(const RunStep& step, const Record& conflict) {
  const json detail = detail_of(conflict);
  std::vector<std::string> lacks = asked_in(detail);
  if (lacks.empty())
    return fail(Errc::not_found,
                "the message asked for no capability: what the agent cannot do is not known");
  if (lacks.size() > 1) {
    const std::string named = bytes_of(detail, "carried").value_or("");
    if (std::find(lacks.begin(), lacks.end(), named) == lacks.end())
      return fail(Errc::not_found, "the message asked for " + std::to_string(lacks.size()) +
                                       " capabilities, and the answer names none of them");
    lacks = {named};
  }
  const auto bits = view_.capabilities(lacks);
  if (!bits) return tl::unexpected(bits.error());
  on_loop<bool>([agent = step.agent, bits = *bits](EngineLoop& loop,
                                                   HostTime) { return loop.withdraw(agent, bits); },
                [then = ends(step), lacks](ConflictOffice& office, Result<bool> changed) {
                  if (!changed) return then(office, tl::unexpected(changed.error()));
                  then(office, lacks.front() + (*changed ? " is not said of it any more"
                                                         : " was not said of it any more already"));
                });
  return std::nullopt;
}

std::optional<Text> RunningSteps::route_elsewhere(const RunStep& step, const Record& conflict) {
  const json detail = detail_of(conflict);
  auto work = bytes_of(detail, "work");
  if (!work)
    return fail(Errc::not_found,
                conflict.operation != OperationId{}
                    ? "it was one of an operation's many targets: its work is no one agent's"
                    : "what the message carried was not kept");
  // Neither to who has just refused it, nor back to who wanted it done.
  const Status started = start_delegation(
      uses_.mesh(),
      {.task = std::move(*work),
       .capabilities = asked_in(detail),
       .attempts = kReroutes,
       .not_to = {step.agent, AgentId{detail.value("source", std::uint64_t{0})}}},
      [this, then = ends(step)](const DelegateReport& report) {
        uses_.conflicts->call([then, report](ConflictOffice& office, HostTime) {
          if (!report.is_done)
            return then(office,
                        fail(Errc::no_capable_agent, std::to_string(report.attempts.size()) +
                                                         " agents were given it, and none did it"));
          json done = {{"agent", report.attempts.back().agent.name}};
          if (report.answer) done["answer"] = text_of(report.answer->body);
          then(office, dump(done));
        });
      });
  if (!started) return tl::unexpected(started.error());
  return std::nullopt;
}

// Values and their origins.

Text RunningSteps::trace_origins(Store& store, const Record& conflict) {
  const json detail = detail_of(conflict);
  if (conflict.expected.empty())
    return fail(Errc::not_found, "the answer names no values that could be weighed");
  const AgentId source{detail.value("source", std::uint64_t{0})};
  if (source == AgentId{})
    return fail(Errc::not_found,
                "the message came from the operator: its word is not weighed against an agent's");
  json testimonies = json::array();
  std::set<AgentId> heard;
  const auto add = [&](AgentId origin, const std::string& value) {
    const auto reliability = view_.reliability(origin);
    if (!reliability || !heard.insert(origin).second) return;
    testimonies.push_back({{"value", value},
                           {"origin", static_cast<std::uint64_t>(origin)},
                           {"reliability", static_cast<std::uint32_t>(
                                               std::clamp(*reliability, 0.0, 1.0) * kMillionths)}});
  };
  add(source, conflict.received);
  add(conflict.agent, conflict.expected);
  // Whoever else objected to the same message.
  MESH_TRY(const auto others, store.find({.type = sched::ConflictType::data_contradiction,
                                          .kind = StoredKind::conflict,
                                          .limit = kTestimoniesMax}));
  for (const StoredRecord& other : others)
    if (other.record.message == conflict.message && !other.record.expected.empty())
      add(other.record.agent, other.record.expected);
  if (testimonies.size() < 2)
    return fail(Errc::not_found, "whoever stands for the values is gone: nothing can be weighed");
  return dump({{"testimonies", std::move(testimonies)}});
}

std::optional<Text> RunningSteps::take_stronger(Store& store, const RunStep& step,
                                                const Record& conflict) {
  const auto traced = outcome_of(store, conflict, ConflictStep::trace_origins);
  if (!traced) return tl::unexpected(traced.error());
  std::vector<Testimony> testimonies;
  for (const json& one : traced->value("testimonies", json::array()))
    testimonies.push_back({one.value("value", ""), AgentId{one.value("origin", std::uint64_t{0})},
                           one.value("reliability", 0U)});
  const ProvenanceVerdict verdict = stronger(testimonies);
  if (!verdict.value)
    return fail(Errc::conflict, "the evidence is too even: the heaviest value has " +
                                    std::to_string(verdict.weight) + " of " +
                                    std::to_string(verdict.weight_of_all) + " millionths");
  std::vector<AgentId> others;
  for (const Testimony& one : testimonies)
    if (one.value != *verdict.value && others.size() < kToldMax) others.push_back(one.origin);
  const json outcome = {{"value", *verdict.value},
                        {"weight", verdict.weight},
                        {"weight_of_all", verdict.weight_of_all},
                        {"origins", verdict.origins}};
  const std::string told =
      dump({{"conflict", name_of(conflict.subject)}, {"value", *verdict.value}});
  on_loop<std::size_t>(
      [others, told](EngineLoop& loop, HostTime now) -> Result<std::size_t> {
        std::size_t count = 0;
        for (const AgentId agent : others)
          count += loop.post({.target = agent,
                              .verb = sched::Verb::record,
                              .body = std::as_bytes(std::span(told))},
                             now)
                       ? 1U
                       : 0U;
        return count;
      },
      [then = ends(step), outcome, wrong = others.size()](ConflictOffice& office,
                                                          Result<std::size_t> count) {
        if (!count) return then(office, tl::unexpected(count.error()));
        json whole = outcome;
        whole["told"] = *count;
        whole["to_be_told"] = wrong;
        then(office, dump(whole));
      });
  return std::nullopt;
}

// Clocks. What the answer carries is {"events": [{"agent", "at_ns", "clock": {"agent": count}}]}.

namespace {

Result<std::vector<ClockedEvent>> events_of(const json& list) {
  std::map<std::string, AgentId> ids;
  const auto id_of = [&](const std::string& name) {
    return ids.try_emplace(name, AgentId{ids.size() + 1}).first->second;
  };
  std::vector<ClockedEvent> events;
  for (const json& one : list) {
    const json clock = one.is_object() ? one.value("clock", json()) : json();
    const bool is_whole = clock.is_object() && one.value("agent", json()).is_string() &&
                          one.value("at_ns", json()).is_number_integer();
    if (!is_whole)
      return fail(Errc::bad_input, "an event says not whose it is, when, and its clock");
    ClockedEvent event{.agent = id_of(one["agent"].get<std::string>()),
                       .at = static_cast<WireTime>(one["at_ns"].get<std::int64_t>()),
                       .clock = {}};
    for (const auto& [name, count] : clock.items()) {
      if (!count.is_number_unsigned())
        return fail(Errc::bad_input, "a clock counts something else than events");
      event.clock.set(static_cast<std::uint64_t>(id_of(name)), count.get<std::uint64_t>());
    }
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace

Text RunningSteps::collect_clocks(const Record& conflict) {
  const json detail = detail_of(conflict);
  const json carried = json::parse(bytes_of(detail, "carried").value_or(""), nullptr, false);
  const json events = carried.is_object() ? carried.value("events", json()) : json();
  if (!events.is_array() || events.size() < 2)
    return fail(Errc::not_found, "the answer carries no vector clocks of the events concerned");
  MESH_TRY(const auto read, events_of(events));
  static_cast<void>(read);
  std::string found = dump({{"events", events}});
  if (collected_.size() < kCollectedMax) collected_[conflict.subject] = found;
  return found;
}

Text RunningSteps::rebuild_order(Store& store, const Record& conflict) {
  json collected;
  if (const auto kept = collected_.extract(conflict.subject); !kept.empty()) {
    collected = json::parse(kept.mapped(), nullptr, false);
  } else {  // of an engine before this one
    MESH_TRY(collected, outcome_of(store, conflict, ConflictStep::collect_clocks));
  }
  const json events = collected.value("events", json::array());
  MESH_TRY(const auto read, events_of(events));
  MESH_TRY(const std::vector<std::size_t> order, causal_order(read));
  json ordered = json::array();
  for (const std::size_t at : order)
    ordered.push_back({{"event", at}, {"agent", events[at]["agent"]}});
  return dump({{"order", std::move(ordered)}});
}

}  // namespace mesh::engine
