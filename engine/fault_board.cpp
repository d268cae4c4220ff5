#include "engine/fault_board.hpp"

#include <string>

#include "shm/row_seqlock.hpp"

namespace mesh::engine {

Result<FaultBoard> FaultBoard::over(const shm::Layout& layout, std::span<std::byte> table) {
  FaultBoard board;
  MESH_TRY(const auto armed, layout.array<ShmWord<std::uint8_t>>(table, "chaos.armed"));
  MESH_TRY(const auto generation, layout.array<ShmWord<std::uint64_t>>(table, "chaos.generation"));
  if (armed.empty() || generation.empty())
    return fail(Errc::truncated, layout.name() + ": chaos.armed or chaos.generation is empty");
  board.armed_ = armed.data();
  board.generation_ = generation.data();
#define MESH_BIND_FAULT(name, T, values, meaning) \
  MESH_TRY(board.rows_.name, layout.column<T>(table, "chaos." #name));
  MESH_FAULT_COLUMNS(MESH_BIND_FAULT)
#undef MESH_BIND_FAULT
  const shm::RowWriter<HostMemory> writer(board.rows_.sequence);
  for (std::size_t row = 0; row < board.rows_.agent.rows(); ++row) {
    board.used_ += board.is_free(row) ? 0U : 1U;
  }
  board.free_rows([&](std::size_t row) { return writer.is_half_written(row); });
  return board;
}

Status FaultBoard::inject(std::span<const AgentFault> faults) {
  if (faults.empty() || in_force(faults.front().injection, HostTime{}) != 0) return {};
  const std::size_t room = rows_.agent.rows() - used_;
  if (faults.size() > room) {
    return fail(Errc::capacity,
                "chaos: " + std::to_string(faults.size()) + " agents, the table has room for " +
                    std::to_string(room) + " faults more",
                static_cast<std::int64_t>(room));
  }
  const shm::RowWriter<HostMemory> writer(rows_.sequence);
  std::size_t row = 0;
  for (const AgentFault& fault : faults) {
    while (!is_free(row)) ++row;
    writer.write(row, [&](const shm::RowStores<HostMemory>& stores) {
      stores.store(rows_.agent, fault.agent);
      stores.store(rows_.injection, fault.injection);
      stores.store(rows_.expires_ns, fault.expires_ns);
      stores.store(rows_.kind, static_cast<std::uint8_t>(fault.kind));
      stores.store(rows_.rate_ppm, fault.rate_ppm);
      stores.store(rows_.bits, fault.bits);
      stores.store(rows_.add_ns, fault.add_ns);
      stores.store(rows_.jitter_ns, fault.jitter_ns);
    });
    ++used_;
  }
  publish();
  return {};
}

std::size_t FaultBoard::change(const AgentFault& figures) noexcept {
  const shm::RowWriter<HostMemory> writer(rows_.sequence);
  std::size_t changed = 0;
  for (std::size_t row = 0; used_ != 0 && row < rows_.agent.rows(); ++row) {
    const bool is_its = !is_free(row) && rows_.injection.load_relaxed(row) ==
                                             figures.injection;  // relaxed: the only writer
    if (!is_its) continue;
    writer.write(row, [&](const shm::RowStores<HostMemory>& stores) {
      stores.store(rows_.rate_ppm, figures.rate_ppm);
      stores.store(rows_.bits, figures.bits);
      stores.store(rows_.add_ns, figures.add_ns);
      stores.store(rows_.jitter_ns, figures.jitter_ns);
    });
    ++changed;
  }
  if (changed != 0) publish();
  return changed;
}

template <class Which>
std::size_t FaultBoard::free_rows(Which&& which) noexcept {
  const shm::RowWriter<HostMemory> writer(rows_.sequence);
  std::size_t freed = 0;
  for (std::size_t row = 0; row < rows_.agent.rows(); ++row) {
    const bool was_free = is_free(row);
    if (!which(row)) continue;
    writer.write(row, [&](const shm::RowStores<HostMemory>& stores) {
      stores.store(rows_.agent, AgentId{});
      stores.store(rows_.injection, std::uint64_t{0});
    });
    freed += was_free ? 0U : 1U;
  }
  used_ -= freed;
  if (freed != 0) publish();
  return freed;
}

std::size_t FaultBoard::undo(std::uint64_t injection) noexcept {
  if (used_ == 0) return 0;
  // relaxed: this thread is the only writer.
  return free_rows([&](std::size_t row) {
    // relaxed: as above
    return !is_free(row) && rows_.injection.load_relaxed(row) == injection;
  });
}

void FaultBoard::sweep(HostTime now) noexcept {
  if (used_ == 0) return;
  free_rows([&](std::size_t row) {
    // relaxed: this thread is the only writer
    return !is_free(row) && rows_.expires_ns.load_relaxed(row) <= to_ns(now);
  });
}

std::size_t FaultBoard::in_force(std::uint64_t injection, HostTime now) const noexcept {
  if (used_ == 0) return 0;
  std::size_t count = 0;
  for (std::size_t row = 0; row < rows_.agent.rows(); ++row) {
    const bool is_its = !is_free(row) &&
                        // relaxed, both: this thread is the only writer
                        rows_.injection.load_relaxed(row) == injection &&
                        rows_.expires_ns.load_relaxed(row) > to_ns(now);  // relaxed: as above
    count += is_its ? 1U : 0U;
  }
  return count;
}

void FaultBoard::publish() noexcept {
  // relaxed: this thread is the only writer.
  const std::uint64_t next = generation_->load_relaxed() + 1;
  // SYNC chaos.rows release: whoever sees this generation sees the rows.
  generation_->store_release(next);
  armed_->store_relaxed(used_ == 0 ? 0 : 1);  // relaxed: ordered by the generation
}

}  // namespace mesh::engine
