// What an event bus looks like from outside: its presets, its lines, its bytes, what must hold.
#include <algorithm>

#include "engine/tasks/event_bus.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 2> kBusPresets{"standard", "pi4b"};
constexpr std::uint32_t kDepthsMax = 255;  // a byte a record

void words_of_event(auto& event, auto&& visit) {
  visit(event.t_ns);
  visit(event.kind);
  visit(event.severity);
  visit(event.source);
  visit(event.a);
  visit(event.b);
  visit(event.c);
  visit(event.name_ref);
}

}  // namespace

std::span<const std::string_view> EventBusConfig::names() noexcept { return kBusPresets; }

Result<EventBusConfig> EventBusConfig::preset(std::string_view name) {
  EventBusConfig config;
  if (name == "standard") return config;
  if (name == "pi4b") {
    config.records_max = 8'192;
    config.names_max = 1'024;
    return config;
  }
  return unknown_preset("event bus", name, kBusPresets);
}

Status EventBus::validate(const Config& config) {
  const std::array<Check, 6> checks{{
      {config.names_max >= 1 && config.names_max <= SlotSet::kSlotsMax,
       "names_max is outside 1..262144"},
      {config.subscriptions_max >= 1 && config.subscriptions_max <= 65'535,
       "subscriptions_max is outside 1..65535"},
      {config.records_max >= 1 && config.records_max <= 1U << 24,
       "records_max is outside 1..16777216"},
      {config.depth_max >= 1 && config.depth_max <= kDepthsMax, "depth_max is outside 1..255"},
      {is_positive_duration(config.handler_budget_ns),
       "handler_budget_ns is outside 1 ns..36 years"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

std::string EventBus::debug(std::size_t events) const {
  const std::uint64_t last = records_.last_sequence();
  std::string lines = "event bus: " + std::to_string(last) + " emitted, " +
                      std::to_string(counters_.overwritten) + " overwritten, " +
                      std::to_string(lost_) + " lost, " + std::to_string(counters_.too_deep) +
                      " too deep, " + std::to_string(handlers_.count()) + " handlers\n";
  records_.after(last - std::min<std::uint64_t>(last, events), [&](const EventRecord& event) {
    lines += std::to_string(event.sequence) + ' ' + std::to_string(event.t_ns) + " ns ";
    lines += name_of(static_cast<EventName>(event.kind));
    lines += " source " + std::to_string(event.source) + " a " + std::to_string(event.a) + " b " +
             std::to_string(event.b) + " c " + std::to_string(event.c);
    if (event.name_ref != 0) lines += ' ' + std::string(text_of(event));
    lines += handlers_.wants(event.kind) ? "" : "  (no handler)";
    lines += '\n';
  });
  return lines;
}

// --- bytes -------------------------------------------------------------------------------------

void EventBus::save_state(StateWriter& writer) const {
  const std::uint64_t last = records_.last_sequence();
  writer.put(last);
  writer.put(text_slots_.used());
  for (std::uint32_t at = 0; at < config_.names_max; ++at) {
    if (!text_slots_.is_used(at)) continue;
    writer.put(at);
    writer.put(std::string_view(texts_[at].bytes.data(), texts_[at].size));
  }
  writer.put(static_cast<std::uint32_t>(records_.count()));
  records_.after(0, [&](const EventRecord& event) {
    words_of_event(event, [&](const auto& word) { writer.put(word); });
  });
}

void EventBus::load_texts(StateReader& reader) {
  const std::size_t texts = reader.get_count(8);
  for (std::size_t i = 0; i < texts && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    const auto bytes = reader.get_bytes();
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    if (!is_name(text) || !text_slots_.use(at)) return reader.fail();
    texts_[at].id = hash_of(text);
    texts_[at].size = static_cast<std::uint8_t>(text.size());
    std::copy(text.begin(), text.end(), texts_[at].bytes.begin());
    text_index_.set(texts_[at].id, at);
  }
}

void EventBus::load_state(StateReader& reader) {
  const auto last = reader.get<std::uint64_t>();
  load_texts(reader);
  const std::size_t count = reader.get_count(40);
  if (count > last || count > config_.records_max) return reader.fail();
  records_.resume_after(last - count);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    EventRecord event;
    words_of_event(event, [&](auto& word) { fields::get(reader, word); });
    const bool is_possible = event.kind >= 1 && event.kind <= kEventNames &&
                             (event.name_ref == 0 || text_slots_.is_used(event.name_ref - 1));
    if (!is_possible) return reader.fail();
    if (event.name_ref != 0) ++texts_[event.name_ref - 1].records;
    records_.emit(event);
  }
  polled_ = last;
}

// --- what must hold ----------------------------------------------------------------------------

Status EventBus::verify() const {
  std::vector<std::uint32_t> records(config_.names_max);
  bool in_order = true;
  bool refers = true;
  std::uint64_t standing = 0;
  std::int64_t before_ns = 0;
  records_.after(0, [&](const EventRecord& event) {
    ++standing;
    in_order = in_order && event.t_ns >= before_ns;
    before_ns = event.t_ns;
    if (event.name_ref == 0) return;
    refers = refers && text_slots_.is_used(event.name_ref - 1);
    if (refers) ++records[event.name_ref - 1];
  });
  bool counted = text_index_.count() == text_slots_.used();
  for (std::uint32_t at = 0; at < config_.names_max; ++at) {
    counted = counted && (!text_slots_.is_used(at) || texts_[at].records == records[at]) &&
              (text_slots_.is_used(at) || records[at] == 0);
  }
  const std::array<Check, 5> checks{{
      {counters_.emitted + counters_.refused == counters_.commands,
       "a command was neither emitted nor refused, or both"},
      {counters_.emitted == standing + counters_.overwritten,
       "an event stands twice in the ring, or was lost"},
      {in_order, "an event is older than the one before it"},
      {refers, "an event refers to a text that is gone"},
      {counted, "a text has more records that refer to it, or fewer"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::EventBus, tasks::EventBusConfig, tasks::EventBusCommand,
                           tasks::EventBusReply, tasks::EventBusCounters, tasks::EventBusActions>;
}  // namespace mesh::coordination
