// Canary: another configuration tried before it is used: a second machine of the same service with
// the state of the first, fed the same commands and ticks, and every answer compared.
//
//   begin(first, candidate) --fed, ticked: the first has done it--> compared
//   compared --take_over: no more differences than allowed--> the second, to go on in its place
//
// Callers     the thread that owns the first. Nothing of the second is ever answered to anybody:
//             what its ticks would do is thrown away.
// Progress    that of the service.
// Cost        a command costs twice what it does, and the bytes of two answers; it allocates.
// Ordering    each command and tick after the first has done it, at the same `now`.
// Guarantees  the first is only read. The second has all of the first's state, so that what it
//             says differently, the configuration has done. What a command can set (a strategy) is
//             state: the candidate's is not asked for.
// If the      owner dies: the trial is over. The first is durable, the second is not.
// other side
// dies
// Errors      begin -> invalid_config (of the candidate), corrupt (the first's state does not fit
//             into it). take_over -> conflict, with the first difference.
// Source      canary releases (Humble & Farley 2010); state machine replication compared
//             (Schneider 1990).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/service.hpp"

namespace mesh::coordination {

struct CanaryDifference {
  std::uint64_t nth = 0;    // of the commands, or of the ticks, from 1
  bool is_of_tick = false;  // what a tick would have done; else of a command's answer
  std::size_t command = 0;  // which of the service's
  Errc first = Errc::ok;
  Errc second = Errc::ok;
  Nanos at{0};
};

struct CanaryReport {
  std::uint64_t commands = 0;
  std::uint64_t ticks = 0;
  std::uint64_t different_answers = 0;
  std::uint64_t different_ticks = 0;
  std::vector<CanaryDifference> differences;  // the first of them
  [[nodiscard]] std::uint64_t different() const noexcept {
    return different_answers + different_ticks;
  }
};

template <DurableService Service>
class Canary {
 public:
  using Config = typename Service::Config;
  using Command = typename Service::Command;
  using Reply = typename Service::Reply;
  using Actions = typename Service::Actions;
  static constexpr std::size_t kDifferencesMax = 64;  // that are kept; all are counted

  static Result<Canary> begin(const Service& first, const Config& candidate) {
    MESH_TRY(Service second, Service::restore(candidate, first.snapshot()));
    return Canary(std::move(second));
  }

  // `reply` is what the first answered to it at `now`.
  void fed(const Command& command, const Reply& reply, Nanos now) {
    ++report_.commands;
    const Reply other = second_.apply(command, now);
    if (bytes_of(reply) == bytes_of(other)) return;
    ++report_.different_answers;
    keep({report_.commands, false, command.index(), reply.code, other.code, now});
  }
  // The first was ticked at `now`. What the two would do is not compared: lists of other lengths
  // at other ticks may come to the same. is_alike(second) looks at what is to be the same by then.
  template <class IsAlike>
  void ticked(Nanos now, IsAlike&& is_alike) {
    ticked(now);
    if (is_alike(std::as_const(second_))) return;
    ++report_.different_ticks;
    keep({report_.ticks, true, 0, Errc::ok, Errc::ok, now});
  }
  void ticked(Nanos now) {
    ++report_.ticks;
    second_.tick(now, actions_);
  }

  [[nodiscard]] const CanaryReport& report() const noexcept { return report_; }
  [[nodiscard]] const Service& second() const noexcept { return second_; }

  // The second, which has seen all that the first has. The trial is over.
  Result<Service> take_over(std::uint64_t differences_allowed) && {
    MESH_CHECK_OK(second_.verify());
    if (report_.different() > differences_allowed) {
      std::string sentence = "the candidate said something else ";
      sentence.append(std::to_string(report_.different()))
          .append(" times, first of its ")
          .append(report_.differences.front().is_of_tick ? "tick " : "command ")
          .append(std::to_string(report_.differences.front().nth));
      return fail(Errc::conflict, std::move(sentence));
    }
    return std::move(second_);
  }

 private:
  explicit Canary(Service second) : second_(std::move(second)) {}
  static std::vector<std::byte> bytes_of(const Reply& reply) {
    StateWriter writer;
    Service::encode(reply, writer);
    return {writer.bytes().begin(), writer.bytes().end()};
  }
  void keep(const CanaryDifference& difference) {
    if (report_.differences.size() < kDifferencesMax) report_.differences.push_back(difference);
  }

  Service second_;
  Actions actions_;
  CanaryReport report_;
};

}  // namespace mesh::coordination
