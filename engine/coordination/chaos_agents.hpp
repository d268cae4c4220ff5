// ChaosAgents: whom faults may strike, whom they have struck, and how many that may be at a time.
//
// An agent is affected from the order to inject until it is reported recovered and its cooldown is
// over: that its fault was undone is not enough.
//
// Callers     one thread.  Progress  wait-free.
// Cost        select, release_due: O(agents). Allocates at construction alone.
// Invariants  affected() == the agents with a fault, or harmed by one.
// Source      partial Fisher-Yates (Durstenfeld 1964) over agents in the order of their numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/chaos_terms.hpp"

namespace mesh::coordination {

// `count` of the candidates, in the order in which they are drawn, to the front.
void draw_targets(std::uint64_t seed, std::uint32_t count, std::span<std::uint32_t> candidates);
// floor(share of agents).
[[nodiscard]] constexpr std::uint32_t blast_limit(std::uint32_t agents,
                                                  std::uint32_t radius_ppm) noexcept {
  return static_cast<std::uint32_t>(std::uint64_t{agents} * radius_ppm / 1'000'000);
}

class ChaosAgents {
 public:
  explicit ChaosAgents(std::uint32_t agents_max);

  [[nodiscard]] std::uint32_t agents_max() const noexcept {
    return static_cast<std::uint32_t>(rows_.size());
  }
  [[nodiscard]] bool has(std::uint32_t agent) const noexcept {
    return agent < rows_.size() && rows_[agent].is_present;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint32_t affected() const noexcept { return affected_; }
  [[nodiscard]] bool is_affected(std::uint32_t agent) const noexcept {
    return has(agent) && is_affected(rows_[agent]);
  }
  [[nodiscard]] bool has_fault(std::uint32_t agent) const noexcept {
    return has(agent) && rows_[agent].faults != 0;
  }
  [[nodiscard]] std::uint32_t faults_of(std::uint32_t agent) const noexcept {
    return rows_[agent].faults;
  }
  [[nodiscard]] bool has_label(std::uint32_t agent, std::uint64_t labels) const noexcept {
    return (rows_[agent].labels & labels) == labels;
  }
  void set(const chaos::SetAgent& described) noexcept;
  void remove(std::uint32_t agent) noexcept;  // one that has no fault

  // A fault of the plan, its agents aside.
  struct Wanted {
    TargetMode mode = TargetMode::random;
    ChaosRole role = ChaosRole::member;
    std::uint32_t which = 0;
    std::uint32_t count = 0;
    std::uint32_t percentage_ppm = 0;
    std::uint64_t labels = 0;
    std::uint64_t exclude_labels = 0;
  };
  // The targets, ascending; empty: there are not enough. `taken(agent)`: has a fault of that type.
  template <class Taken>
  std::span<const std::uint32_t> select(const Wanted& wanted,
                                        std::span<const std::uint32_t> specific, std::uint64_t seed,
                                        Taken&& taken);
  // Of those that select() gave: as they are, or, of more than half of all, everybody else: the
  // smaller side of a partition.
  std::span<const std::uint32_t> smaller_side(std::span<const std::uint32_t> targets);
  // How many would be affected if these were, too.
  [[nodiscard]] std::uint32_t affected_with(std::span<const std::uint32_t> more) const noexcept;

  void strike(std::uint32_t agent) noexcept;
  // One of its faults is gone. `was_harmed`: it may have acted, so that the agent has to recover.
  void lift(std::uint32_t agent, bool was_harmed, std::int64_t cooldown_ns) noexcept;
  void recover(std::uint32_t agent, std::int64_t now_ns) noexcept;
  // Those whose cooldown is over; true: there were some.
  bool release_due(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::int64_t next_release_ns() const noexcept { return next_release_ns_; }

  [[nodiscard]] bool adds_up() const noexcept;
  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  static constexpr std::int64_t kNever = INT64_MAX;
  struct Row {
    bool is_present = false;
    std::uint32_t cluster = 0;
    std::uint32_t sector = 0;
    ChaosRole role = ChaosRole::member;
    std::uint64_t labels = 0;
    std::uint32_t faults = 0;
    bool is_harmed = false;
    std::int64_t cooldown_ns = 0;
    std::int64_t release_ns = kNever;  // of one that has recovered
  };
  static bool is_affected(const Row& row) noexcept { return row.faults != 0 || row.is_harmed; }
  [[nodiscard]] bool fits(const Row& row, const Wanted& wanted) const noexcept;
  // How many of `candidates` are to be targets; 0: too few.
  [[nodiscard]] static std::uint32_t wanted_of(const Wanted& wanted,
                                               std::uint32_t candidates) noexcept;

  std::vector<Row> rows_;
  std::vector<std::uint32_t> picked_;
  std::vector<std::uint32_t> others_;
  std::vector<std::uint8_t> marks_;
  std::uint32_t count_ = 0;
  std::uint32_t affected_ = 0;
  std::int64_t next_release_ns_ = kNever;
};

template <class Taken>
std::span<const std::uint32_t> ChaosAgents::select(const Wanted& wanted,
                                                   std::span<const std::uint32_t> specific,
                                                   std::uint64_t seed, Taken&& taken) {
  picked_.clear();
  if (wanted.mode == TargetMode::specific) {
    for (const std::uint32_t agent : specific) {
      if (!has(agent) || !fits(rows_[agent], wanted)) return {};
      picked_.push_back(agent);  // distinct, so no more than there are
    }
  } else {
    for (std::uint32_t agent = 0; agent < agents_max(); ++agent) {
      if (fits(rows_[agent], wanted) && !taken(agent)) picked_.push_back(agent);
    }
    const std::uint32_t count = wanted_of(wanted, static_cast<std::uint32_t>(picked_.size()));
    if (count < picked_.size()) draw_targets(seed, count, picked_);
    picked_.resize(count);
  }
  std::sort(picked_.begin(), picked_.end());
  return picked_;
}

}  // namespace mesh::coordination
