// Delegation: one task, given to the first of some agents, and to the next where that fails, until
// one has done it or none is left.
//
//   next() ─▶ an agent ─▶ ended(how) ─▶ done ──▶ is_done()
//      ▲                        ╲ failed
//      └─────────────────────────┘  ... nobody left: next() is nobody
//
// Who did not answer in time may still do the task: a task that is delegated can be done twice.
//
// Callers     one thread; pure: the clock is the caller's.
// Units       nanoseconds of one clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shm/base/ids.hpp"

namespace mesh::console {

enum class AttemptEnd : std::uint8_t { done, conflict, declined, refused, expired, timed_out };
[[nodiscard]] constexpr const char* name_of(AttemptEnd end) noexcept {
  constexpr const char* kNames[] = {"done",    "conflict", "declined",
                                    "refused", "expired",  "timed_out"};
  return kNames[static_cast<std::size_t>(end)];
}

struct Delegate {
  AgentId id{};
  std::string name;
};
struct Attempt {
  Delegate agent;
  AttemptEnd end = AttemptEnd::timed_out;
  std::int64_t took_ns = 0;
  std::string sentence;  // of a refusal: why
};

class Delegation {
 public:
  // In the order in which they are to be tried.
  explicit Delegation(std::vector<Delegate> agents, std::int64_t now_ns)
      : agents_(std::move(agents)), started_ns_(now_ns) {}

  // Who is to be given the task now; nobody: it is done, or all have failed.
  [[nodiscard]] const Delegate* next(std::int64_t now_ns) noexcept {
    if (is_done() || attempts_.size() == agents_.size()) return nullptr;
    given_ns_ = now_ns;
    return &agents_[attempts_.size()];
  }
  void ended(AttemptEnd end, std::int64_t now_ns, std::string sentence = {}) {
    attempts_.push_back({agents_[attempts_.size()], end, now_ns - given_ns_, std::move(sentence)});
    took_ns_ = now_ns - started_ns_;
  }

  [[nodiscard]] bool is_done() const noexcept {
    return !attempts_.empty() && attempts_.back().end == AttemptEnd::done;
  }
  [[nodiscard]] const std::vector<Attempt>& attempts() const noexcept { return attempts_; }
  [[nodiscard]] std::int64_t took_ns() const noexcept { return took_ns_; }

 private:
  std::vector<Delegate> agents_;
  std::vector<Attempt> attempts_;
  std::int64_t started_ns_ = 0;
  std::int64_t given_ns_ = 0;
  std::int64_t took_ns_ = 0;
};

}  // namespace mesh::console
