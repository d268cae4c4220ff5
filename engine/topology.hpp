// Topology: sectors of clusters of agents, who leads them, and where a newcomer belongs.
//
// Cluster c stands in sector c / clusters_per_sector; both have a fixed number of places.
//
// A newcomer without a cluster is placed with others of like impedance: in the cluster of its own
// class that has room and whose mean score is nearest its own. If there is none, it opens an empty
// cluster, in the sector with the fewest agents. If there is none either, the nearest mean of any
// class. A cluster's class is that of most of its agents, the lower where two have as many. Ties go
// to the lower cluster, sector and row: the same joins give the same mesh.
//
// A coordinator leads a sector, a lead a cluster; both are agents of it, with a role. Promotion
// takes the healthy (ACTIVE) agent with the lowest score that the operator neither routes around
// nor has frozen: who may not be sent to cannot lead. A sector prefers one who leads nothing.
//
// Callers     the engine's scheduler thread, the one writer of the columns.
// Progress    bounded: place by the clusters of one class that have room (of all, if the mesh is
//             all but full), promote by the agents of one cluster or sector, the rest a few steps.
//             No allocation after create() unless a call fails: its sentence.
// Units       scores as in column `score`, 0 to 1000. Means are compared exactly, as fractions.
// If the      engine dies: create() over the same memory finds everybody where they stand. Of a
// other side  promotion it may find the old one demoted and nobody promoted: promote again.
// dies
// Errors      create -> invalid_argument, corrupt. place -> capacity. place, place_in, move ->
//             invalid_argument. verify -> corrupt.
// Layout      columns `cluster` and `role` govern; all else is made from them. What is counted
//             of class, score and state is what refresh() saw last.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/agent_rows.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/result.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

struct TopologySize {
  std::uint32_t sectors = 100;
  std::uint32_t clusters_per_sector = 10;
  std::uint32_t agents_per_cluster = 30;
};

struct Place {
  std::uint32_t sector = kNoPlace;
  std::uint32_t cluster = kNoPlace;
  friend bool operator==(const Place&, const Place&) = default;
};

struct GroupCounts {
  std::uint32_t agents = 0;
  std::uint32_t healthy = 0;    // ACTIVE
  std::uint32_t newcomers = 0;  // that are not admitted: no operation is meant for them
  std::uint64_t score_sum = 0;  // of all its agents; the mean is score_sum / agents
  [[nodiscard]] std::uint32_t targets() const noexcept { return agents - newcomers; }
  friend bool operator==(const GroupCounts&, const GroupCounts&) = default;
};

// What stood vacant after a change: promote there.
struct Vacancy {
  std::uint32_t cluster = kNoPlace;  // lost its lead
  std::uint32_t sector = kNoPlace;   // lost its coordinator
  friend bool operator==(const Vacancy&, const Vacancy&) = default;
};

struct Move {
  AgentIndex agent = kNoAgent;
  std::uint32_t to_cluster = kNoPlace;
};

class Topology {
 public:
  // Finds everybody who has a place in the columns.
  static Result<Topology> create(const AgentRows<HostMemory>& agents, const TopologySize& size);

  // Gives a row that has a name a place; class and score are the columns'.
  Result<Place> place(AgentIndex row);
  // For agents that come with a cluster.
  Result<Place> place_in(AgentIndex row, std::uint32_t cluster);
  // Takes it out. Nothing if it has no place. Before or after its row is freed.
  Vacancy leave(AgentIndex row) noexcept;
  // To another cluster, as a plain agent.
  Result<Vacancy> move(AgentIndex row, std::uint32_t to_cluster);

  // After its class, score, state or routing changed: counts what the columns say now. Tells
  // whether a role is now held by someone who cannot lead.
  Vacancy refresh(AgentIndex row) noexcept;

  // Who leads from now on; kNoAgent: nobody there can lead, and nobody does. A leader who can
  // stays. A lead who becomes coordinator leaves its cluster without one.
  AgentIndex promote_lead(std::uint32_t cluster) noexcept;
  AgentIndex promote_coordinator(std::uint32_t sector) noexcept;
  // Both, where they are vacant, or held by somebody who cannot lead.
  void fill(const Vacancy& vacancy) noexcept;
  // A leader whose score is beyond kRelievedAt times the best one's of its place, and a bit, gives
  // its role to that one: who came first need not be who leads. A bound that far keeps roles still.
  void relieve(const Vacancy& place) noexcept;
  static constexpr std::uint32_t kRelievedAt = 2;
  static constexpr std::uint32_t kRelievedBeyond = 20;  // ms

  // One step towards sectors of equal load, for the caller to move(); nothing when none helps. From
  // the sector with the most agents to one with fewer by more than a cluster's worth, where the
  // agent finds its own class or an empty cluster. Each step lowers the sum of the squares of the
  // loads, so steps end.
  [[nodiscard]] std::optional<Move> next_move() const noexcept;

  [[nodiscard]] Place place_of(AgentIndex row) const noexcept;
  [[nodiscard]] AgentRole role_of(AgentIndex row) const noexcept;
  [[nodiscard]] AgentIndex lead(std::uint32_t cluster) const noexcept {
    return clusters_[cluster].leader;
  }
  [[nodiscard]] AgentIndex coordinator(std::uint32_t sector) const noexcept {
    return sectors_[sector].leader;
  }
  [[nodiscard]] const GroupCounts& cluster(std::uint32_t cluster) const noexcept {
    return clusters_[cluster].counts;
  }
  [[nodiscard]] const GroupCounts& sector(std::uint32_t sector) const noexcept {
    return sectors_[sector].counts;
  }
  // Nothing while it is empty.
  [[nodiscard]] std::optional<sched::AgentClass> class_of(std::uint32_t cluster) const noexcept;
  // The agents of a cluster, in no order that means anything.
  [[nodiscard]] std::span<const std::uint32_t> agents_of(std::uint32_t cluster) const noexcept {
    return {&members_[std::size_t{cluster} * size_.agents_per_cluster],
            clusters_[cluster].counts.agents};
  }
  [[nodiscard]] const TopologySize& size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t cluster_count() const noexcept {
    return size_.sectors * size_.clusters_per_sector;
  }
  [[nodiscard]] std::uint32_t sector_of(std::uint32_t cluster) const noexcept {
    return cluster / size_.clusters_per_sector;
  }

  // O(rows): counts again from the columns and compares.
  [[nodiscard]] Status verify() const;

 private:
  using ClassCounts = std::array<std::uint32_t, sched::kAgentClassCount>;
  static constexpr std::uint8_t kNoClass = sched::kAgentClassCount;

  // What is counted of a placed row.
  struct Member {
    std::uint32_t cluster = kNoPlace;
    std::uint32_t slot = 0;  // in members_, from its cluster's first
    std::uint16_t score = 0;
    std::uint8_t agent_class = 0;
    bool healthy = false;
    bool can_lead = false;  // healthy, and not held by the operator
    bool is_newcomer = false;
  };
  struct Group {
    GroupCounts counts{};
    AgentIndex leader = kNoAgent;
  };
  struct Cluster : Group {
    ClassCounts classes{};
    std::uint8_t main_class = kNoClass;
    std::uint32_t place_in_open = kNoPlace;  // in open_[main_class]; none: empty or full
  };
  struct Sector : Group {
    std::uint32_t empty_clusters = 0;
  };
  struct Nearest;  // of the clusters looked at, the one whose mean is nearest

  Topology(const AgentRows<HostMemory>& agents, const TopologySize& size);
  [[nodiscard]] Status adopt(AgentIndex row);
  void adopt_role(AgentIndex row);

  [[nodiscard]] Member seen(AgentIndex row) const noexcept;
  void count(const Member& member, std::int32_t sign) noexcept;
  void join(AgentIndex row, std::uint32_t cluster) noexcept;
  Vacancy part(AgentIndex row) noexcept;
  void refile(std::uint32_t cluster) noexcept;
  [[nodiscard]] std::uint32_t choose_cluster(const Member& newcomer) const noexcept;
  [[nodiscard]] std::uint32_t empty_cluster_of(std::uint32_t sector) const noexcept;
  [[nodiscard]] std::uint32_t choose_in_sector(std::uint32_t sector,
                                               const Member& newcomer) const noexcept;
  [[nodiscard]] AgentIndex to_give_away(std::uint32_t sector) const noexcept;
  [[nodiscard]] Status check_row(AgentIndex row, const char* verb) const;
  [[nodiscard]] Status check_room(AgentIndex row, std::uint32_t cluster, const char* verb) const;
  void write_place(AgentIndex row, const Place& place) noexcept;
  void write_role(AgentIndex row, AgentRole role) noexcept;
  // Of those of a cluster who can lead the one with the lowest score, ties to the lower row.
  [[nodiscard]] AgentIndex best_of(std::uint32_t cluster, AgentRole role) const noexcept;
  [[nodiscard]] bool is_better(AgentIndex candidate, AgentIndex than) const noexcept;
  [[nodiscard]] AgentIndex best_coordinator(std::uint32_t sector) const noexcept;
  [[nodiscard]] bool is_to_relieve(AgentIndex leader, AgentIndex best) const noexcept;
  [[nodiscard]] Status verify_roles() const;
  [[nodiscard]] Status verify_cluster(std::uint32_t number, const ClassCounts& classes) const;

  AgentRows<HostMemory> agents_;
  shm::RowWriter<HostMemory> writer_;
  TopologySize size_;
  std::vector<Member> member_of_;       // by row
  std::vector<std::uint32_t> members_;  // rows; agents_per_cluster for each cluster
  std::vector<Cluster> clusters_;
  std::vector<Sector> sectors_;
  std::array<std::vector<std::uint32_t>, sched::kAgentClassCount> open_;  // with room, not empty
};

}  // namespace mesh::engine
