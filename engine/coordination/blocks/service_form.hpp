// ServiceForm: what every service shows from outside in the same way: snapshot and restore, the
// bytes of its commands and replies, its counters, events and config, its refusals.
//
//   class X final : public ServiceForm<X, XConfig, XCommand, XReply, XCounters, XActions> {
//     friend ServiceForm;
//     static constexpr SnapshotKind kKind{"x_file", 1};         which snapshots are its own
//     static constexpr std::string_view kWho = "the service";   how its errors begin
//     void save_state(StateWriter&) const;                      the state alone
//     void load_state(StateReader&);                            into one that was just constructed
//   };
//   extern template class ServiceForm<X, ...>;                and in X_form.cpp: template class ...
//
// Callers     the thread that owns the service.
// Cost        apply and tick pay nothing for it: no virtual call, no allocation. The members that
//             every call touches (clock, counters) come first in the object.
// Ordering    a snapshot's body is the state, then the clock, then the counters.
// Errors      restore -> invalid_config, corrupt, version_skew, invalid_argument (another
//             service's snapshot); what verify() finds in the restored state -> corrupt.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/coordination/blocks/event_log.hpp"
#include "engine/coordination/blocks/fields.hpp"
#include "engine/coordination/blocks/service_clock.hpp"
#include "engine/coordination/blocks/snapshot.hpp"
#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

[[nodiscard]] inline tl::unexpected<Error> unknown_preset(std::string_view service,
                                                          std::string_view name,
                                                          std::span<const std::string_view> names) {
  std::string sentence(service);
  sentence += ": no preset \"";
  sentence += name;
  sentence += "\"; there are";
  for (const auto valid : names) {
    sentence += ' ';
    sentence += valid;
  }
  return fail(Errc::unknown_preset, std::move(sentence));
}

// Counters are structs of u64 and nothing else.
template <class Counters>
void save_counters(const Counters& counters, StateWriter& writer) {
  static_assert(std::is_trivially_copyable_v<Counters> && sizeof(Counters) % 8 == 0);
  static_assert(std::has_unique_object_representations_v<Counters>);
  const auto words = std::bit_cast<std::array<std::uint64_t, sizeof(Counters) / 8>>(counters);
  for (const auto word : words) writer.put(word);
}
template <class Counters>
void load_counters(Counters& counters, StateReader& reader) {
  std::array<std::uint64_t, sizeof(Counters) / 8> words{};
  for (auto& word : words) reader.get(word);
  counters = std::bit_cast<Counters>(words);
}

// A command's index, then its fields.
template <class Command>
void put_command(const Command& command, StateWriter& writer) {
  writer.put(static_cast<std::uint8_t>(command.index()));
  std::visit([&](const auto& one) { put_fields(one, writer); }, command);
}
// The reader fails on an index that names no command.
template <class Command>
[[nodiscard]] Command get_command(StateReader& reader) {
  const auto index = reader.get<std::uint8_t>();
  if (index >= std::variant_size_v<Command>) {
    reader.fail();
    return {};
  }
  Command command;
  const auto pick = [&]<std::size_t... I>(std::index_sequence<I...>) {
    static_cast<void>(((I == index ? (command.template emplace<I>(), true) : false) || ...));
  };
  pick(std::make_index_sequence<std::variant_size_v<Command>>{});
  std::visit([&](auto& one) { get_fields(one, reader); }, command);
  return command;
}

// What must hold of a config or of a state, and the sentence where it does not.
struct Check {
  bool holds = false;
  std::string_view sentence;
};

// Every service has a log of this many events at most.
inline constexpr std::uint32_t kEventsMax = 65'536;

template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
class ServiceForm {
 public:
  using Config = ConfigT;
  using Command = CommandT;
  using Reply = ReplyT;
  using Counters = CountersT;
  using Actions = ActionsT;

  static Result<X> restore(const Config& config, const Snapshot& snapshot);
  [[nodiscard]] Snapshot snapshot() const;
  [[nodiscard]] std::uint64_t state_hash() const;
  [[nodiscard]] const Config& config() const noexcept { return config_; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] const EventLog& events() const noexcept { return events_; }
  [[nodiscard]] std::uint64_t clock_regressions() const noexcept { return clock_.regressions(); }

  static void encode(const Command& command, StateWriter& writer);
  static void encode(const Reply& reply, StateWriter& writer);
  static Command decode_command(StateReader& reader);
  static Reply decode_reply(StateReader& reader);

 protected:
  explicit ServiceForm(const Config& config) : config_(config), events_(config.events_max) {}

  Reply refuse(Errc code) noexcept {
    ++counters_.refused;
    Reply reply;
    reply.code = code;
    return reply;
  }
  // What an event says, beside its kind: three numbers that the room's Event explains.
  struct Says {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
  };
  template <class Event>
  void emit(Event kind, Severity severity, std::int64_t now_ns, Says says) noexcept {
    EventRecord event;
    event.t_ns = now_ns;
    event.kind = static_cast<std::uint16_t>(kind);
    event.severity = severity;
    event.a = says.a;
    event.b = says.b;
    event.c = says.c;
    events_.emit(event);
  }
  // The first that does not hold, as an error of this service.
  static Status all_hold(Errc code, std::span<const Check> checks) {
    for (const auto& check : checks) {
      if (!check.holds) return complain(code, check.sentence);
    }
    return {};
  }
  static tl::unexpected<Error> complain(Errc code, std::string_view what) {
    std::string sentence(X::kWho);
    sentence += ": ";
    sentence += what;
    return fail(code, std::move(sentence));
  }
  static Check events_in_range(const Config& config) noexcept {
    return {config.events_max >= 1 && config.events_max <= kEventsMax,
            "events_max is outside 1..65536"};
  }

  ServiceClock clock_;
  Counters counters_;
  Config config_;
  EventLog events_;

 private:
  [[nodiscard]] const X& self() const noexcept { return static_cast<const X&>(*this); }
};

// Not inline: each service has them once, in its own object (extern template). Compiled wherever
// they are used they would cost more than all else there.
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
Result<X> ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::restore(
    const Config& config, const Snapshot& snapshot) {
  MESH_CHECK_OK(X::validate(config));
  MESH_TRY(const auto body, open_snapshot(X::kKind, snapshot.bytes));
  X service(config);
  StateReader reader(body);
  service.load_state(reader);
  service.clock_.load(reader);
  load_counters(service.counters_, reader);
  MESH_CHECK_OK(reader.finish(std::string(X::kWho).append(": snapshot")));
  MESH_CHECK_OK(service.verify());
  return service;
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
Snapshot ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::snapshot() const {
  StateWriter writer;
  self().save_state(writer);
  clock_.save(writer);
  save_counters(counters_, writer);
  return seal_snapshot(X::kKind, writer.bytes());
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
std::uint64_t ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::state_hash() const {
  StateWriter writer;
  self().save_state(writer);
  return checksum(writer.bytes());
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
void ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::encode(const Command& command,
                                                                            StateWriter& writer) {
  put_command(command, writer);
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
void ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::encode(const Reply& reply,
                                                                            StateWriter& writer) {
  put_fields(reply, writer);
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
auto ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::decode_command(
    StateReader& reader) -> Command {
  return get_command<Command>(reader);
}
template <class X, class ConfigT, class CommandT, class ReplyT, class CountersT, class ActionsT>
auto ServiceForm<X, ConfigT, CommandT, ReplyT, CountersT, ActionsT>::decode_reply(
    StateReader& reader) -> Reply {
  Reply reply;
  get_fields(reply, reader);
  return reply;
}

}  // namespace mesh::coordination
