// CoordinationService: the one shape of every coordination service.
//
// A service is a deterministic state machine with one writer, the thread that owns it: no thread,
// no lock, no I/O, no clock of its own. The same class is used alone in any program, hosted by the
// engine, and in a simulator. Each header of a service ends with
// `static_assert(CoordinationService<X>)`.
//
//   X::Config      plain aggregate, every field has a default, `events_max` is among them;
//                  Config::preset(name): Errc::unknown_preset lists the valid names, which are
//                  Config::names()
//   X::Command     std::variant of aggregates, one for each operation
//   X::Reply       `Errc code` is ok unless the command was refused as bad input; what is normal on
//                  a hot path is a blocks/refusal.hpp value beside it
//   X::Counters    monotone u64; `commands` and `refused` are among them
//   X::Actions     what tick() asks the host to do; filled by the service, cleared by it first
//   validate       the first violated field -> Errc::invalid_config, named in the sentence
//   X(config, seed)    the config must be valid; everything is allocated here
//   apply, tick    noexcept, allocate nothing (but a reply's own bytes, where a service says so);
//                  a refused command leaves state_hash() as it was and adds one to `refused`
//   snapshot       state and bookkeeping, checksummed; restore(config, snapshot) goes on from it
//   state_hash     XXH3 of the state alone: not of counters, not of the last instant
//   verify         O(n) walk of every invariant of the header: Errc::corrupt, with the first broken
//   events         the service's EventLog
//
// All but validate, the constructor, apply, tick and verify comes from ServiceForm
// (blocks/service_form.hpp), once for all.
//
// DurableService adds the byte forms of commands and replies: what a journal and the memory of
// answered commands need (journaled_service.hpp).
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/coordination/blocks/event_log.hpp"
#include "engine/coordination/blocks/snapshot.hpp"
#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

template <class Config>
concept ServiceConfig = std::default_initializable<Config> && requires(std::string_view name) {
  { Config::preset(name) } -> std::same_as<Result<Config>>;
  { Config::names() } -> std::convertible_to<std::span<const std::string_view>>;
};

template <class X>
concept CoordinationService = ServiceConfig<typename X::Config> &&
    std::constructible_from<X, typename X::Config, std::uint64_t> &&
    requires(X& service, const X& same, const typename X::Config& config, Nanos now,
             const typename X::Command& command, typename X::Actions& out,
             const Snapshot& snapshot) {
  { X::validate(config) } -> std::same_as<Status>;
  { service.apply(command, now) }
  noexcept->std::same_as<typename X::Reply>;
  { service.tick(now, out) }
  noexcept->std::same_as<void>;
  { same.snapshot() } -> std::same_as<Snapshot>;
  { X::restore(config, snapshot) } -> std::same_as<Result<X>>;
  { same.state_hash() } -> std::same_as<std::uint64_t>;
  { same.verify() } -> std::same_as<Status>;
  { same.counters() } -> std::convertible_to<typename X::Counters>;
  { same.events() } -> std::convertible_to<const EventLog&>;
  { X::Reply::code } -> std::convertible_to<Errc>;
  { X::Counters::refused } -> std::convertible_to<std::uint64_t>;
  { X::Counters::commands } -> std::convertible_to<std::uint64_t>;
};

template <class X>
concept DurableService = CoordinationService<X> &&
    requires(const typename X::Command& command, const typename X::Reply& reply,
             StateWriter& writer, StateReader& reader) {
  { X::encode(command, writer) } -> std::same_as<void>;
  { X::encode(reply, writer) } -> std::same_as<void>;
  { X::decode_command(reader) } -> std::same_as<typename X::Command>;
  { X::decode_reply(reader) } -> std::same_as<typename X::Reply>;
};

}  // namespace mesh::coordination
