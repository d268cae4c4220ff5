// PracticeLint: what agents do with resources that works today and hurts one day: it watches the
// commands of a ResourceManager and what was answered, and says who does what, and what would be
// better.
//
//   held_long       an agent has had it for longer than held_long_ns
//   held_several    an agent has more than several_max at once
//   no_timeout      an acquire would wait for longer than wait_max_ns
//   unordered       two or more are acquired in one order here, in another there: some day two
//                   agents wait for each other; found without that they ever have
//
// Callers     one thread, the one that tells the manager: saw() after each command, heard() with
//             the news of each tick, look() from time to time.
// Cost        saw: a look-up or two; of an agent that holds others already, an edge for each of
//             them in the graph of orders. look: O(holdings). No allocation after construction but
//             a finding's names and the graph's replies.
// Memory      fixed: what finds no room is counted in untracked(); the oldest finding makes room
//             for a new one and is counted in dropped().
// Guarantees  of one agent and resource a practice is found once, until the resource is given up.
//             An order is looked at as long as the lint lives: a circle is found when the second of
//             its orders is seen, also where no two agents hold any of it at once.
//             Groups (AcquireAll) are acquired in the order of their names, as the manager does.
// Errors      none: it is told, and asks nothing.
// Source      the order of locks as a graph without circles: Engler & Ashcraft 2003, Linux lockdep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/tasks/dependency_graph.hpp"
#include "engine/tasks/resource_manager.hpp"

namespace mesh::tasks {

struct PracticeLintConfig {
  Nanos held_long_ns{10'000'000'000};
  std::uint32_t several_max = 3;
  Nanos wait_max_ns{60'000'000'000};
  Nanos default_timeout_ns{30'000'000'000};  // the manager's, of an acquire that names none
  std::uint32_t agents_max = 1'024;
  std::uint32_t resources_max = 1'024;  // whose order is watched
  std::uint32_t orders_max = 8'192;     // pairs
  std::uint32_t holdings_max = 4'096;
  std::uint32_t findings_max = 256;
};

enum class Practice : std::uint8_t { held_long, held_several, no_timeout, unordered };
constexpr Practice last_of(Practice) noexcept { return Practice::unordered; }
[[nodiscard]] std::string_view to_string(Practice practice) noexcept;
[[nodiscard]] std::string_view advice_of(Practice practice) noexcept;

struct PracticeFinding {
  Practice practice = Practice::held_long;
  std::uint32_t agent = 0;
  std::string resource;
  std::vector<std::string> circle;  // unordered: the resources that wait for each other
  Nanos since{0};                   // when it was acquired, or asked for
  std::string_view advice;
};

class PracticeLint {
 public:
  static Status validate(const PracticeLintConfig& config);
  explicit PracticeLint(const PracticeLintConfig& config);

  void saw(const ResourceCommand& command, const ResourceReply& reply, Nanos now);
  void heard(std::span<const ResourceNews> news, Nanos now);
  // Who has held something for too long by now.
  void look(Nanos now);

  // The oldest first.
  [[nodiscard]] const std::deque<PracticeFinding>& findings() const noexcept { return findings_; }
  [[nodiscard]] std::uint64_t found(Practice practice) const noexcept {
    return found_[static_cast<std::size_t>(practice)];
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  [[nodiscard]] std::uint64_t untracked() const noexcept { return untracked_; }
  [[nodiscard]] std::uint32_t holdings() const noexcept { return slots_.used(); }

 private:
  static constexpr std::uint32_t kNone = IdTable::kNone;
  struct Holding {
    std::string name;
    std::int64_t since_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t station = 0;
    std::uint32_t count = 0;     // how often it was acquired
    std::uint32_t next = kNone;  // of its agent
    bool was_long = false;       // and said so
  };
  struct Wait {
    std::uint64_t ticket = 0;  // 0: none
    std::uint32_t station = 0;
    std::vector<std::string> names;  // in the order in which they are acquired
  };

  void on(const resource::Acquire& order, const ResourceReply& reply, Nanos now);
  void on(const resource::AcquireAll& order, const ResourceReply& reply, Nanos now);
  void on(const resource::Release& order, const ResourceReply& reply, Nanos now);
  void on(const resource::ReleaseAll& order, const ResourceReply& reply, Nanos now);
  void on(const resource::Renew& order, const ResourceReply& reply, Nanos now);
  void on(const resource::StationClosed& order, const ResourceReply& reply, Nanos now);
  void judge_wait(std::uint32_t agent, std::string_view resource, Nanos timeout, Nanos now);
  void hold(std::uint32_t agent, std::uint32_t station, std::string_view resource, Nanos now);
  void note_order(std::uint32_t agent, std::string_view resource, Nanos now);
  void drop(std::uint32_t slot, Nanos now);
  void judge_age(std::uint32_t slot, Nanos now);
  void find(PracticeFinding finding);
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t agent, std::string_view resource) const;
  // The number of a resource in the graph of orders; 0: there is no room for it.
  std::uint64_t node_of(std::string_view resource);

  PracticeLintConfig config_;
  std::vector<Holding> holdings_;
  SlotSet slots_;
  IdTable index_;                     // by agent and name
  std::vector<std::uint32_t> first_;  // an agent's holdings
  std::vector<std::uint32_t> counts_;
  std::vector<Wait> waits_;
  DependencyGraph orders_;  // what was acquired while which was held
  IdTable nodes_;           // of names
  std::vector<std::string> names_;
  std::deque<PracticeFinding> findings_;
  std::vector<std::uint64_t> found_;
  std::uint64_t dropped_ = 0;
  std::uint64_t untracked_ = 0;
};

}  // namespace mesh::tasks
