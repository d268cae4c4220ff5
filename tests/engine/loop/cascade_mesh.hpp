// A mesh of two sectors in plain memory, and what its agents do when a cascade comes.
#pragma once

#include <map>
#include <set>

#include "engine/agent_rows.hpp"
#include "engine/loop/engine_loop.hpp"
#include "shm/base/point.hpp"
#include "tests/engine/loop/loop_pair.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::engine {

using sched::AgentClass;

enum class Does : std::uint8_t { ready, conflict, silent, refuses };

// 2 sectors, 20 clusters, 600 agents: the first on station 1, the second on station 2, all others
// on station 3. The first becomes coordinator of sector 0, the second lead of cluster 0.
struct Sectors : LoopFixture {
  static constexpr std::uint32_t kAgents = 600;
  explicit Sectors(std::uint32_t agents_of_all = kAgents, const LoopOptions& loop_options = {})
      : LoopFixture(agents_of_all, 8, loop_options) {}
  static std::unique_ptr<Sectors> full() {
    auto mesh = std::make_unique<Sectors>();
    mesh->add(1, 1, "first");
    mesh->add(2, 1, "second");
    mesh->add(3, kAgents - 2, "agent");
    mesh->bind();
    return mesh;
  }
  void bind() { rows = must(AgentRows<HostMemory>::in(must(table_layout(size)), table.span())); }
  [[nodiscard]] AgentRole role(AgentId id) const {
    return static_cast<AgentRole>(rows.role.load_relaxed(static_cast<std::size_t>(index_of(id))));
  }
  [[nodiscard]] std::uint32_t cluster(AgentId id) const {
    return rows.cluster.load_relaxed(static_cast<std::size_t>(index_of(id)));
  }
  [[nodiscard]] AgentId leader(AgentRole role, std::uint32_t place) const {
    for (std::size_t row = 0; row < rows.rows(); ++row) {
      const std::uint32_t where = rows.cluster.load_relaxed(row);
      if (static_cast<AgentRole>(rows.role.load_relaxed(row)) == role &&
          (role == AgentRole::lead ? where : where / kClustersPerSector) == place)
        return rows.id.load_relaxed(row);
    }
    return AgentId{};
  }

  OperationId open(const CascadeRequest& request = {}) {
    return must(loop->open_cascade(request, from_ns(now_ns)));
  }
  // Everybody polls and does what `does` says of them, until the cascade is over.
  std::optional<FinishedCascade> carry_on(std::int64_t for_ns = 20'000 * kMs) {
    std::optional<FinishedCascade> finished;
    for (const std::int64_t end = now_ns + for_ns; now_ns < end && !finished;) {
      turn();
      finished = loop->take_finished_cascade();
    }
    return finished;
  }
  void turn() {
    tick(kMs);
    for (auto& station : stations)
      for (const auto& delivery : station->poll()) take(*station, delivery);
  }
  void take(RawStation& station, const sched::DeliveryRecord& delivery) {
    if (delivery.kind == RecordKind::result) {
      ++results[delivery.target];
      return;
    }
    got[delivery.target].insert(delivery.operation);
    note_seen(delivery);
    order.push_back(delivery.target);
    const auto found = does.find(delivery.target);
    switch (found == does.end() ? otherwise : found->second) {
      case Does::ready:
        ASSERT_TRUE(station.answer(delivery, TrinaryState::ready, now_ns));
        break;
      case Does::conflict:
        ASSERT_TRUE(station.answer(delivery, TrinaryState::conflict, now_ns));
        break;
      case Does::silent:
        break;
      case Does::refuses: {
        sched::AnswerRecord record{};
        record.message = delivery.message;
        record.agent = delivery.target;
        record.operation = delivery.operation;
        record.kind = RecordKind::refusal;
        ASSERT_TRUE(station.put(record));
        break;
      }
    }
  }

  AgentRows<HostMemory> rows;
  // Carries the cascade on in a child that is killed at the at_count-th time at this point; what
  // everybody got stands in `told`, which it shares. False: it never came there.
  bool is_killed_at(const char* point, unsigned at_count, const CascadeRequest& request) {
    is_only_one = true;
    const int status = testing::status_of_child([&] {
      points::arm(
          point, at_count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      open(request);
      static_cast<void>(carry_on());
      return 0;
    });
    for (auto& station : stations) station->attach();
    now_ns += 20 * kMs;  // later than the child's clock, and within every window
    restart();
    return WIFSIGNALED(status);
  }
  // By row: the operation that sent it something; all of it shared with children.
  testing::Memory told_memory{kAgents * sizeof(std::uint64_t)};
  std::uint64_t* told = reinterpret_cast<std::uint64_t*>(told_memory.span().data());
  void note_seen(const sched::DeliveryRecord& delivery) const {
    if (!is_only_one) return;
    std::uint64_t& before = told[static_cast<std::size_t>(index_of(delivery.target))];
    const auto now = static_cast<std::uint64_t>(delivery.operation);
    EXPECT_TRUE(before == 0 || before == now) << "it was sent the same cascade twice";
    before = now;
  }

  bool is_only_one = false;
  std::map<AgentId, Does> does;
  Does otherwise = Does::ready;
  std::map<AgentId, std::set<OperationId>> got;
  std::map<AgentId, int> results;
  std::vector<AgentId> order;
};

}  // namespace mesh::engine
