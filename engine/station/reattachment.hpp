// Reattachment: how a station finds the next engine after the one that it was attached to is gone.
//
//     seeking ──connected──▶ asked ──answered──▶ back
//        ▲                     │ ╲
//        └──closed, reset──────┘  ╲──refused, or too long──▶ refused
//
// A dying engine's listener may take the connection and then reset it, and the next one may die as
// well: only an answer ends the search.
//
// Callers     the station's pump.
// Progress    step() never waits: a few system calls, each kSeekEvery at most.
// Units       nanoseconds of whatever clock the caller passes, always the same.
// If the      engine stays away: refused with `closed` once `until_ns` has passed.
// other side  It takes the connection and never answers: the same.
// dies,
// stalls
// Errors      reason(): evicted, not_yours, and whatever else an engine refuses with; closed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/station/control_client.hpp"
#include "engine/station/control_protocol.hpp"

namespace mesh::engine {

inline constexpr Nanos kSeekEvery{5 * kNsPerMs};

class Reattachment {
 public:
  enum class Step : std::uint8_t { kSeeking, kBack, kRefused };
  struct Options {
    std::string directory{};
    ConnectOptions connect{};
    std::string request{};
    std::array<int, kReturnDescriptors> given_back{};  // stay the caller's
    std::int64_t until_ns = 0;
  };

  explicit Reattachment(Options options) : options_(std::move(options)) {}

  Step step(std::int64_t now_ns);

  // Once, after kBack.
  [[nodiscard]] ControlClient take_client() { return std::move(*client_); }
  [[nodiscard]] std::vector<shm::Descriptor> take_descriptors() { return std::move(descriptors_); }
  // After kRefused.
  [[nodiscard]] const Error& reason() const noexcept { return reason_; }

 private:
  Step refuse(Error reason);
  Status connect();

  Options options_;
  std::optional<ControlClient> client_;
  std::vector<shm::Descriptor> descriptors_;
  std::int64_t next_try_ns_ = 0;
  Error reason_;
};

}  // namespace mesh::engine
