// EventBus: what happened, by name: for handlers, for the console, for other processes.
//
//   emit --> ring of records_max records, the oldest overwritten --poll--> handlers of this process
//                 |--EventPage (event_page.hpp)--> readers of other processes, a cursor each
//
// Callers     one thread, which owns the bus, emits and polls. Hosts that want handlers on a thread
//             of their own give that one a reader of the page.
// Progress    emit: wait-free, whoever listens: handlers run in poll(), never in emit(). So one
//             that throws or is slow delays nobody but the poll.
// Ordering    one sequence for all events: the order of each source is kept. A handler may emit:
//             that event comes after all that stand in the ring already.
// Cost        emit: 5 ns, a record of one line is written; a text costs its hash. No allocation
//             after construction.
// Limits      re-entrant emits: depth_max deep, then refused. Texts: names_max of 1 to 128 bytes,
//             each as long as a record in the ring refers to it.
// If the      reader is slow: what is overwritten is counted as lost, where it happened, for each
// other side  subscription. The owner dies: a restored bus goes on behind the last number; handlers
// is slow     are the process's own and are put on anew.
// Errors      apply -> invalid_argument (no such name or severity), invalid_id (text), capacity
//             (texts), cycle (re-entrant too deep). on -> invalid_argument with the nearest
//             names, capacity.
// Invariants  emitted + refused == commands. lost == gaps in the sequence.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/event_handlers.hpp"
#include "engine/tasks/event_records.hpp"

namespace mesh::tasks {

struct EventBusConfig {
  std::uint32_t records_max = 65'536;  // the ring
  std::uint32_t names_max = 4'096;     // texts that records in the ring refer to
  std::uint32_t subscriptions_max = 64;
  std::uint32_t depth_max = 16;
  Nanos handler_budget_ns{1'000'000};
  std::uint32_t events_max = 1;  // it has no events of its own: its records are everybody's

  static Result<EventBusConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace event {
struct Emit {
  EventName name = EventName::none;
  Severity severity = Severity::info;
  std::uint32_t source = 0;  // agent, station or service: the event's name says which
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
  std::string text;  // what does not fit into three numbers; empty: nothing
};
}  // namespace event

using EventBusCommand = std::variant<event::Emit>;
struct EventBusReply {
  Errc code = Errc::ok;
  std::uint64_t sequence = 0;
};
struct EventBusCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t emitted = 0;
  std::uint64_t overwritten = 0;
  std::uint64_t too_deep = 0;  // among refused
};
struct EventBusActions {
  std::uint64_t last_sequence = 0;  // the host copies what is new into the page
  bool view_changed = false;
};

class EventBus final : public ServiceForm<EventBus, EventBusConfig, EventBusCommand, EventBusReply,
                                          EventBusCounters, EventBusActions> {
 public:
  static Status validate(const Config& config);
  explicit EventBus(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;
  // What apply() does, without a command's string. The event's `text` is a view.
  struct Note {
    EventName name = EventName::none;
    Severity severity = Severity::info;
    std::uint32_t source = 0;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    std::string_view text;
  };
  Reply emit(const Note& note, Nanos now) noexcept;
  // Goes on behind what a page says that an earlier life has published. wrong_state: it has
  // emitted already.
  Status adopt(std::uint64_t last_sequence);

  Result<SubscriptionId> on(std::string_view pattern, EventHandler handler,
                            const SubscriptionOptions& options = {});
  Result<SubscriptionId> once(std::string_view pattern, EventHandler handler) {
    return on(pattern, std::move(handler), {.once = true});
  }
  Status off(SubscriptionId id) { return handlers_.off(id); }
  [[nodiscard]] Result<SubscriptionStats> stats(SubscriptionId id) const {
    return handlers_.stats(id);
  }
  // Delivers up to `burst` events, those that handlers emit meanwhile among them; returns how many.
  std::size_t poll(const EventClock& clock, std::size_t burst = 1'024);
  [[nodiscard]] const EventRecords& records() const noexcept { return records_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

  // Of a record of this ring; empty: it has none.
  [[nodiscard]] std::string_view text_of(const EventRecord& event) const noexcept;
  // A line for each of the newest events, and what became of them.
  [[nodiscard]] std::string debug(std::size_t events = 16) const;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"event_bus", 1};
  static constexpr std::string_view kWho = "event bus";
  static constexpr std::uint32_t kNone = IdTable::kNone;

  struct Text {
    IdHash id;
    std::array<char, kNameBytesMax> bytes{};
    std::uint8_t size = 0;
    std::uint32_t records = 0;  // that refer to it
  };
  [[nodiscard]] Errc check(const Note& note) const noexcept;
  [[nodiscard]] std::uint32_t intern(std::string_view text) noexcept;
  void forget(const EventRecord& event) noexcept;
  void skip_lost() noexcept;
  void warn(const EventRecord& event, const EventHandlers::Outcome& outcome) noexcept;
  void write(const Note& note, std::uint32_t name_ref, std::int64_t now_ns) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_texts(StateReader& reader);

  EventRecords records_;
  EventHandlers handlers_;
  std::vector<Text> texts_;
  SlotSet text_slots_;
  IdTable text_index_;
  std::vector<std::uint8_t> depths_;  // of each record, as long as it is not polled
  std::uint64_t polled_ = 0;
  std::uint64_t lost_ = 0;
  std::uint32_t depth_ = 0;  // of the event that is being delivered; 0: none is
};

static_assert(DurableService<EventBus>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::EventBus, tasks::EventBusConfig, tasks::EventBusCommand,
                                  tasks::EventBusReply, tasks::EventBusCounters,
                                  tasks::EventBusActions>;
}  // namespace mesh::coordination
