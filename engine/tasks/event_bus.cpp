#include "engine/tasks/event_bus.hpp"

#include <algorithm>
#include <utility>

namespace mesh::tasks {

EventBus::EventBus(const Config& config, std::uint64_t)
    : ServiceForm(config),
      records_(config.records_max),
      handlers_(config.subscriptions_max, config.handler_budget_ns),
      texts_(config.names_max),
      text_slots_(config.names_max),
      text_index_(config.names_max),
      depths_(config.records_max) {}

Errc EventBus::check(const Note& note) const noexcept {
  const bool is_known = note.name != EventName::none && note.name <= last_of(EventName{}) &&
                        note.severity <= Severity::error;
  if (!is_known) return Errc::invalid_argument;
  if (depth_ >= config_.depth_max) return Errc::cycle;
  if (!note.text.empty() && !is_name(note.text)) return Errc::invalid_id;
  return Errc::ok;
}

EventBus::Reply EventBus::emit(const Note& note, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const Errc bad = check(note);
  if (bad != Errc::ok) [[unlikely]] {
    counters_.too_deep += bad == Errc::cycle ? 1U : 0U;
    return refuse(bad);
  }
  std::uint32_t name_ref = 0;
  if (!note.text.empty()) {
    name_ref = intern(note.text);
    if (name_ref == 0) return refuse(Errc::capacity);
  }
  write(note, name_ref, clock_.at(now));
  return {Errc::ok, records_.last_sequence()};
}

EventBus::Reply EventBus::apply(const Command& command, Nanos now) noexcept {
  const auto& order = std::get<event::Emit>(command);
  return emit({order.name, order.severity, order.source, order.a, order.b, order.c, order.text},
              now);
}

void EventBus::write(const Note& note, std::uint32_t name_ref, std::int64_t now_ns) noexcept {
  forget(records_.next_place());
  EventRecord event;
  event.t_ns = now_ns;
  event.kind = static_cast<std::uint16_t>(note.name);
  event.severity = note.severity;
  event.source = note.source;
  event.a = note.a;
  event.b = note.b;
  event.c = note.c;
  event.name_ref = name_ref;
  records_.emit(event);
  ++counters_.emitted;
  if (depth_ != 0 || handlers_.count() != 0) {
    depths_[(records_.last_sequence() - 1) % depths_.size()] =
        static_cast<std::uint8_t>(depth_ + 1);
  }
}

// The text's number from 1, with one more record that refers to it; 0: there is no room.
std::uint32_t EventBus::intern(std::string_view text) noexcept {
  const IdHash id = hash_of(text);
  std::uint32_t at = text_index_.find(id);
  if (at == kNone) {
    at = text_slots_.take();
    if (at == kNone) return 0;
    Text& fresh = texts_[at];
    fresh.id = id;
    fresh.size = static_cast<std::uint8_t>(text.size());
    fresh.records = 0;
    std::copy(text.begin(), text.end(), fresh.bytes.begin());
    text_index_.set(id, at);
  }
  ++texts_[at].records;
  return at + 1;
}

// A record that is overwritten: nobody reads its text any more.
void EventBus::forget(const EventRecord& event) noexcept {
  if (event.sequence == 0) return;
  ++counters_.overwritten;
  if (event.name_ref == 0) return;
  const std::uint32_t at = event.name_ref - 1;
  if (--texts_[at].records != 0) return;
  text_index_.erase(texts_[at].id);
  text_slots_.free(at);
}

Status EventBus::adopt(std::uint64_t last_sequence) {
  if (records_.last_sequence() != 0) {
    return complain(Errc::wrong_state, "it has events of its own: it cannot go on behind others");
  }
  records_.resume_after(last_sequence);
  polled_ = last_sequence;
  return {};
}

std::string_view EventBus::text_of(const EventRecord& event) const noexcept {
  const bool is_there = event.name_ref != 0 && text_slots_.is_used(event.name_ref - 1);
  if (!is_there) return {};
  const Text& text = texts_[event.name_ref - 1];
  return {text.bytes.data(), text.size};
}

void EventBus::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) clock_.at(now);
  out.view_changed = out.last_sequence != records_.last_sequence();
  out.last_sequence = records_.last_sequence();
}

Result<SubscriptionId> EventBus::on(std::string_view pattern, EventHandler handler,
                                    const SubscriptionOptions& options) {
  if (handlers_.count() == 0) polled_ = records_.last_sequence();  // nobody has missed those
  return handlers_.on(pattern, std::move(handler), records_.last_sequence(), options);
}

// What was overwritten before it was polled is lost, and counted.
void EventBus::skip_lost() noexcept {
  const std::uint64_t first = records_.gone();
  if (polled_ >= first) return;
  lost_ += first - polled_;
  handlers_.lose(first - polled_, first);
  polled_ = first;
}

std::size_t EventBus::poll(const EventClock& clock, std::size_t burst) {
  if (depth_ != 0) return 0;  // a handler that polls: its caller goes on
  std::size_t polled = 0;
  if (handlers_.count() == 0) polled_ = records_.last_sequence();
  for (; polled < burst && polled_ < records_.last_sequence(); ++polled) {
    skip_lost();
    const EventRecord event = records_.at(++polled_);  // a copy: handlers may overwrite its place
    if (!handlers_.wants(event.kind)) continue;
    depth_ = std::max<std::uint32_t>(1, depths_[(event.sequence - 1) % depths_.size()]);
    const std::string text(text_of(event));
    const auto outcome = handlers_.deliver(event, text, clock);
    depth_ = 0;
    warn(event, outcome);
  }
  return polled;
}

// Of a handler that is slow for warnings there is no warning: it would never end.
void EventBus::warn(const EventRecord& event, const EventHandlers::Outcome& outcome) noexcept {
  if (event.kind >= static_cast<std::uint16_t>(EventName::eventbus_slow_handler)) return;
  const auto tell = [&](EventName name, std::uint32_t count) {
    if (count == 0) return;
    emit({name, Severity::warning, event.source, event.sequence, count, event.kind, {}},
         Nanos{clock_.last_ns()});
  };
  tell(EventName::eventbus_slow_handler, outcome.slow);
  tell(EventName::eventbus_handler_failed, outcome.failed);
}

}  // namespace mesh::tasks
