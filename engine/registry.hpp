// Registry: who the agents of a mesh are. Names to rows, rows to names, handles to rows.
//
// A name is bound to the uid that enrolled it first. While it is bound, the same name of the same
// uid takes the same row and generation, and so gets what waits for it. A name is freed by forget()
// or by agent_ttl offline, and with it the row; a name that was freed is another name when it comes
// again, even the same text of the same user: the row's next tenant has the next generation, and
// every older handle names nobody.
//
// Which row a new name gets: the lowest free one. So the table stays dense, "lower AgentId" (lower
// row) does not depend on the order in which others left, and a restart goes on as if there had
// been none.
//
// Callers     the engine's scheduler thread, the one writer of the columns. Observers read names
//             through AgentNames (engine/agent_rows.hpp).
// Progress    wait-free, but detach and expire, which are bounded by the caller's span. No
//             allocation after create() unless a call fails: its sentence.
// Cost        bench/engine/registry_bench.cpp. resolve(): one load.
// Units       HostTime, not going back from call to call: an earlier one counts as the latest seen.
// If the      engine dies at any store: each row is free or whole (engine/registry_rows.hpp);
// other side  create() over the same memory goes on from it. It keeps stations attached that may be
// dies        dead too: who does not reconnect is for the caller to detach.
// Errors      create -> invalid_argument, corrupt. enrol -> invalid_argument, name_taken, capacity.
//             forget -> no_such_agent, not_ready (it is attached).
// Layout      columns `name`, `id`, `station` and `uid` govern; index, free rows and lists are
//             process-private and made anew from them.
// Invariant   taken + free == rows; taken == names in the index; every taken row stands in exactly
//             one list: its station's, or that of those offline, longest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/agent_name.hpp"
#include "engine/agent_rows.hpp"
#include "engine/name_index.hpp"
#include "engine/registry_rows.hpp"
#include "engine/row_set.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

inline constexpr Nanos kAgentTtl{600 * kNsPerSecond};

struct RegistryOptions {
  Nanos agent_ttl = kAgentTtl;  // offline so long: the name is free
  std::uint64_t hash_seed = 0;  // random where agents may be hostile: engine/name_index.hpp
};

struct Enrolment {
  std::string_view name;
  std::uint32_t uid = 0;
  Attachment attachment{};
};

struct Enrolled {
  AgentId id{};
  std::uint32_t incarnation = 0;  // 1: the name is new
  // Another than kNoStation: it was attached there, and is no longer.
  StationId previous_station = kNoStation;
};

class Registry {
 public:
  // Goes on from what stands in memory: zeros when it is new.
  static Result<Registry> create(const AgentRows<HostMemory>& agents,
                                 const OwnerRows<HostMemory>& owners,
                                 const RegistryOptions& options);

  // From now on, for those already offline too. invalid_argument below 0.
  Status set_agent_ttl(Nanos ttl);

  Result<Enrolled> enrol(const Enrolment& enrolment);
  // A name that is not there yet gets its row without a station: offline from now. name_taken: it
  // is there, whoever's.
  Result<AgentId> expect(const Enrolment& enrolment, HostTime now);
  // What enrol() would refuse it for, but for rows that are all taken. Changes nothing.
  [[nodiscard]] Status check(const Enrolment& enrolment) const;
  // Frees the name of an agent that is offline: its handle, which names nobody from now on.
  Result<AgentId> forget(std::string_view name);

  // Marks agents of `station` offline, as many as `rows` holds, and lists them there.
  struct Detached {
    std::size_t count = 0;
    bool more = false;  // call again
  };
  Detached detach(StationId station, HostTime now, std::span<AgentIndex> rows) noexcept;
  // Frees the names of agents that have been offline for agent_ttl, those longest offline first, as
  // many as `freed` holds. Returns how many. A quarantined agent, or one that the operator holds,
  // is never freed so: it would be rid of that by waiting; a newcomer that does not come is. At
  // most kUpkeepRowsPerTick rows are looked at.
  std::size_t expire(HostTime now, std::span<AgentId> freed) noexcept;

  // The row that a handle names; kNoAgent: no_such_agent, whatever the handle once named.
  [[nodiscard]] AgentIndex resolve(AgentId id) const noexcept {
    const std::size_t row = row_of(index_of(id));
    return row < live_.size() && live_[row] == id && id != AgentId{0} ? index_of(id) : kNoAgent;
  }
  // The same, with a sentence for who asked.
  [[nodiscard]] Result<AgentIndex> find(AgentId id) const;
  [[nodiscard]] std::optional<AgentId> find(std::string_view name) const noexcept;

  // Of a row: AgentId 0 and no name while it is free.
  [[nodiscard]] AgentId id_of(AgentIndex row) const noexcept { return live_[row_of(row)]; }
  // The same of all rows, for who resolves many: a handle is one of them, in its own row.
  [[nodiscard]] std::span<const AgentId> handles() const noexcept { return live_; }
  [[nodiscard]] NameBytes name_of(AgentIndex row) const noexcept {
    return rows_.name_of(row_of(row));
  }
  [[nodiscard]] StationId station_of(AgentIndex row) const noexcept {
    return rows_.station_of(row_of(row));
  }
  [[nodiscard]] bool is_attached(AgentIndex row) const noexcept {
    return station_of(row) != kNoStation;
  }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.rows(); }
  [[nodiscard]] std::size_t taken() const noexcept { return rows() - free_.count(); }
  [[nodiscard]] std::size_t offline() const noexcept { return offline_; }

  // O(rows): the invariant above, row by row. corrupt names the first row that breaks it.
  [[nodiscard]] Status verify() const;

 private:
  // Circular lists through all rows, each with a head that is a node too: node `rows()` for those
  // offline, node rows() + N for station N.
  struct Node {
    std::uint32_t next = 0;
    std::uint32_t previous = 0;
  };

  Registry(const AgentRows<HostMemory>& agents, const OwnerRows<HostMemory>& owners,
           const RegistryOptions& options);
  [[nodiscard]] Status rebuild();
  [[nodiscard]] std::uint32_t find_row(std::string_view name, std::uint32_t key) const noexcept;
  Enrolled come_back(std::uint32_t row, const Enrolment& enrolment) noexcept;
  AgentId release(std::uint32_t row) noexcept;
  [[nodiscard]] HostTime not_before(HostTime now) noexcept;

  [[nodiscard]] std::uint32_t head_of(StationId station) const noexcept {
    return static_cast<std::uint32_t>(rows()) + static_cast<std::uint32_t>(station);
  }
  void unlink(std::uint32_t node) noexcept;
  void link_last(std::uint32_t head, std::uint32_t node) noexcept;
  [[nodiscard]] Status verify_row(std::uint32_t row) const;
  [[nodiscard]] Status verify_lists() const;

  RegistryRows<HostMemory> rows_;
  RegistryOptions options_;
  std::vector<AgentId> live_;  // 0: free
  RowSet free_;
  NameIndex index_;
  std::vector<Node> nodes_;
  std::size_t offline_ = 0;
  HostTime latest_{};
};

}  // namespace mesh::engine
