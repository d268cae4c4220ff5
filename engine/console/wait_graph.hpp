// WaitGraph: who holds whom back, made of what agents say that they wait for.
//
//   a waits on b, b waits on c, c works:   c holds back a and b; a and b are stuck on c
//   a waits on b, b waits on a:            a circle: nobody of it will ever go on by himself
//   a waits on "disk":                     words, no agent's name: nobody is held responsible
//
// Callers     one thread; pure. Cold.
// Cost        O(n (log n + kChainMax)) for n agents that say something.
// Units       nanoseconds.
// Invariant   each agent that waits on an agent is stuck on exactly one holder, or in or behind a
//             circle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mesh::console {

// What is known of one agent. One that said nothing stands here only if another waits on it.
struct Doing {
  std::string agent;
  std::string task{};        // empty: it has not said what it is doing
  std::string waiting_on{};  // an agent's name, or words; empty: for nothing that it says
  std::int64_t age_ns = 0;   // that it does so
  std::uint32_t depth = 0;   // delivered to it and not answered, as the engine counts
};

struct Held {
  static constexpr std::size_t kNobody = ~std::size_t{0};
  std::size_t next = kNobody;    // whom it waits on, if that is an agent that is known
  std::size_t holder = kNobody;  // at the end of that chain; kNobody: itself, or a circle
  bool in_circle = false;        // it stands in one, or waits behind one
};

// Who waits on whom who waits on whom ...: so far it is counted. Agents say what they like, and a
// chain through all of them must not cost the square of their number.
inline constexpr std::size_t kChainMax = 256;

struct Holder {
  std::size_t agent = 0;
  std::uint32_t directly = 0;  // wait on it by name
  std::uint32_t in_all = 0;    // and those that wait on these, kChainMax far
  std::int64_t oldest_ns = 0;  // of them all
};

class WaitGraph {
 public:
  // Names are unique; of two with one name the first counts.
  explicit WaitGraph(std::vector<Doing> agents);

  [[nodiscard]] const std::vector<Doing>& agents() const noexcept { return agents_; }
  [[nodiscard]] const Held& held(std::size_t agent) const noexcept { return held_[agent]; }
  [[nodiscard]] std::optional<std::size_t> find(const std::string& name) const;
  // The agents that others wait on: who holds back most first, then the oldest wait, then by name.
  [[nodiscard]] const std::vector<Holder>& holders() const noexcept { return holders_; }
  // Each circle once, from its first agent in the order given.
  [[nodiscard]] std::vector<std::vector<std::size_t>> circles() const;

 private:
  void find_ends();
  void count_holders();

  std::vector<Doing> agents_;
  std::vector<std::size_t> by_name_;
  std::vector<Held> held_;
  std::vector<Holder> holders_;
};

}  // namespace mesh::console
