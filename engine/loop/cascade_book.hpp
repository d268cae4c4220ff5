// CascadeBook: the cascades in flight, in `engine` memory what a successor goes on from, beside it
// what is made anew.
//
//            open_cascade()            nothing is under way any more
//     free ────────────────▶ running ──────────────────────────────▶ ended
//      ▲                                                               │
//      └────────────── its place is needed, and it is the oldest ──────┘
//
// A cascade is a small machine over *units*, one for each sector and each cluster, and opens
// ordinary operations, its parts: each names the cascade, the step and the unit it belongs to. A
// part whose answers or end nobody has looked at yet is noted; run_cascades() looks, moves units,
// and opens what follows, at most kPartsPerTick in a tick.
//
//     unit:  none ─▶ asked ─▶ agreed ─▶ open ─▶ reached
//                      ├─▶ conflict, silent, too_slow, leaderless, no_room
//                      └─▶ asked, another leader, where the one asked has died
//
// Callers     the scheduler thread; a successor.
// Progress    a tick in which no cascade runs costs a compare. One that runs: its noted parts, and
//             kPartsPerTick operations. No allocation after bind_cascades().
// Ordering    a part is published before its unit says `open` or `asked`: a successor that finds
//             the part moves the unit, so that nothing is sent twice. A body is parked before the
//             cascade's state says running. SYNC cascade.state
// If the      engine dies: the successor finds the cascade running, looks at all its parts, and
// other side  goes on. A leader dies: the next best is asked. Its agents die: they are silent.
// dies
// Layout      regions cascades, cascade.units
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/cascade.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/operation.hpp"
#include "engine/topology.hpp"
#include "sched/share.hpp"
#include "shm/base/word.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kPartsPerTick = 32;
inline constexpr std::uint32_t kLeadersAsked = 3;  // of one place, one after the other
inline constexpr std::int64_t kRoomPatienceNs = 5'000 * kNsPerMs;  // beyond all windows
inline constexpr std::uint32_t kOperationsLeft = 64;               // that cascades leave to others

enum class CascadeState : std::uint8_t { free = 0, running, ended };

template <class Memory>
struct alignas(kCacheLine) CascadeWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> state;  // CascadeState | serial << 32
  Word<std::uint64_t> id_high;
  Word<std::uint64_t> id_low;
  Word<std::uint64_t> about;  // strategy | leads may be asked << 8 | phase << 16 | cluster << 32
  Word<std::int64_t> started_ns;
  Word<std::int64_t> ended_ns;
  Word<std::int64_t> target_ns;
  Word<std::int64_t> windows[4];                  // of coordinators, leads, agents; of a class
  Word<std::uint64_t> minima;                     // millionths: coordinators | agents << 32
  Word<std::uint64_t> body;                       // bytes | first parked block + 1 << 32
  Word<std::uint64_t> tally;                      // operations | promoted << 32
  Word<std::uint64_t> phases[kCascadePhases][2];  // targeted | sent << 32, ready | conflict << 32
  Word<std::uint64_t> reserved[6];
};
static_assert(sizeof(CascadeWords<HostMemory>) == 256);

template <class Memory>
struct CascadeUnitWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> state;   // CascadeStep | leaders asked << 8 | row of the last + 1 << 32
  Word<std::uint64_t> counts;  // below its leader: targeted | sent << 16 | ready << 32 | conflict
};
static_assert(sizeof(CascadeUnitWords<HostMemory>) == 16);

// Which part of which cascade an operation is.
enum class CascadeStage : std::uint8_t { none = 0, coordinators, leads, agents, everybody };
struct CascadePart {
  std::uint32_t cascade = 0;
  CascadeStage stage = CascadeStage::none;
  std::uint16_t serial = 0;
  std::uint32_t unit = 0;  // whose leader opened it; kNoUnit: a leader asked in another's place
};
inline constexpr std::uint32_t kNoUnit = ~std::uint32_t{0};
constexpr std::uint64_t word_of(const CascadePart& part) noexcept {
  return std::uint64_t{1} << 63 | std::uint64_t{part.cascade} << 56 |
         static_cast<std::uint64_t>(part.stage) << 48 | std::uint64_t{part.serial} << 32 |
         part.unit;
}
constexpr CascadePart part_of(std::uint64_t word) noexcept {
  return {.cascade = static_cast<std::uint32_t>(word >> 56 & 0x7F),
          .stage = static_cast<CascadeStage>(word >> 48 & 0xFF),
          .serial = static_cast<std::uint16_t>(word >> 32),
          .unit = static_cast<std::uint32_t>(word)};
}

struct Cascade {
  using Words = CascadeWords<HostMemory>;
  using Unit = CascadeUnitWords<HostMemory>;

  // Bound once.
  Words* words = nullptr;
  std::span<Unit> units;  // sectors, then clusters
  std::uint32_t sectors = 0;
  std::vector<std::uint32_t> queue;  // units that agreed, in that order: their parts are next

  // Of the tenant; what stands in memory too is copied here.
  CascadeState state = CascadeState::free;
  std::uint32_t serial = 0;
  CascadeStrategy strategy = CascadeStrategy::wave;
  sched::MessageId id{};
  bool may_ask_leads = false;
  bool is_phase_open = false;
  std::uint32_t phase = 0;  // the next to be opened, or the one that is open
  std::int64_t started_ns = 0;
  std::int64_t target_ns = 0;
  std::int64_t room_until_ns = 0;  // what finds no room until then has none
  std::int64_t windows_ns[4] = {};
  sched::Share sector_min{};
  sched::Share ready_min{};
  std::uint32_t body_bytes = 0;
  std::uint32_t parked = 0;
  std::uint32_t next_queued = 0;
  std::uint32_t under_way = 0;  // units
  std::uint32_t operations = 0;
  std::uint32_t promoted = 0;
  std::uint32_t cluster = 0;  // of quorum
  OperationId below{};        // the same
  std::int64_t engine_ns = 0;

  void set_patience() noexcept {
    room_until_ns = started_ns + kRoomPatienceNs;
    for (const std::int64_t window : windows_ns) room_until_ns += window;
  }
  [[nodiscard]] std::uint64_t unit_word(std::uint32_t unit) const noexcept {
    return units[unit].state.load_relaxed();  // relaxed: our own store, or a dead writer's
  }
  [[nodiscard]] CascadeStep step(std::uint32_t unit) const noexcept {
    return static_cast<CascadeStep>(unit_word(unit) & 0xFF);
  }
  [[nodiscard]] std::uint32_t asked(std::uint32_t unit) const noexcept {
    return static_cast<std::uint32_t>(unit_word(unit) >> 8 & 0xFF);
  }
  [[nodiscard]] AgentIndex leader(std::uint32_t unit) const noexcept {
    return agent_index(static_cast<std::uint32_t>(unit_word(unit) >> 32) - 1);  // 0: kNoAgent
  }
  [[nodiscard]] bool is_sector(std::uint32_t unit) const noexcept { return unit < sectors; }
  [[nodiscard]] std::uint32_t unit_of_cluster(std::uint32_t number) const noexcept {
    return sectors + number;
  }
  [[nodiscard]] bool has_agreed(std::uint32_t unit) const noexcept {
    const CascadeStep now = step(unit);
    return now == CascadeStep::agreed || now == CascadeStep::open || now == CascadeStep::reached;
  }
  [[nodiscard]] bool has_phases() const noexcept {
    return strategy == CascadeStrategy::parallel || strategy == CascadeStrategy::priority_first;
  }
  void store_about() noexcept {
    // relaxed: a word that stands alone.
    words->about.store_relaxed(static_cast<std::uint64_t>(strategy) |
                               (may_ask_leads ? std::uint64_t{1} << 8 : 0) |
                               std::uint64_t{phase} << 16 | std::uint64_t{cluster} << 32);
  }
  void set_step(std::uint32_t unit, CascadeStep to) noexcept {
    store(unit, (unit_word(unit) & ~std::uint64_t{0xFF}) | static_cast<std::uint64_t>(to));
  }
  // Its leader is asked, or would have been.
  void set_leader(std::uint32_t unit, AgentIndex row, CascadeStep to) noexcept {
    store(unit, static_cast<std::uint64_t>(to) | std::uint64_t{asked(unit) + 1U} << 8 |
                    (static_cast<std::uint64_t>(row) + 1) << 32);
  }
  [[nodiscard]] CascadeCounts counts(std::uint32_t unit) const noexcept;
  void set_counts(std::uint32_t unit, const CascadeCounts& counts) noexcept;

 private:
  void store(std::uint32_t unit, std::uint64_t word) noexcept {
    const bool was = is_under_way(step(unit));
    const bool is = is_under_way(static_cast<CascadeStep>(word & 0xFF));
    under_way += was == is ? 0U : is ? 1U : ~0U;
    units[unit].state.store_relaxed(word);  // relaxed: a word that stands alone
  }
};

struct CascadeBook {
  std::vector<Cascade> all;
  std::uint32_t running = 0;
  std::vector<std::uint32_t> noted;       // slots of parts to be looked at
  std::vector<AgentId> list;              // targets of the part that is being opened
  std::vector<FinishedCascade> finished;  // a ring
  std::uint64_t finished_head = 0;
  std::uint64_t finished_tail = 0;
  bool has_lost_leaders = false;

  void note(std::uint32_t slot, Operation& operation) noexcept {
    if (operation.is_noted || noted.size() == noted.capacity()) return;
    operation.is_noted = true;
    noted.push_back(slot);
  }
  // The running cascade that it is a part of, or none.
  [[nodiscard]] Cascade* of(const Operation& operation) noexcept;
  [[nodiscard]] std::size_t parked_blocks() const noexcept;
};

Result<CascadeBook> bind_cascades(const shm::Layout& engine, std::span<std::byte> memory,
                                  const TopologySize& size);

// cascade.cpp: the life of a cascade.
struct OpenedCascade {
  Errc refused = Errc::ok;
  OperationId id{};
};
[[nodiscard]] OpenedCascade open_cascade(EngineLoop::State& loop,
                                         const CascadeRequest& request) noexcept;
bool run_cascades(EngineLoop::State& loop) noexcept;
// When what found no room is to be tried again; never: INT64_MAX.
[[nodiscard]] std::int64_t next_cascade_ns(const EngineLoop::State& loop) noexcept;
[[nodiscard]] Status adopt_cascades(EngineLoop::State& loop);

// cascade_parts.cpp: the operations of one.
enum class PartOpened : std::uint8_t { opened = 0, nobody, no_room };
[[nodiscard]] PartOpened ask_coordinators(EngineLoop::State& loop, Cascade& cascade) noexcept;
// Of quorum: the lead of its cluster.
[[nodiscard]] PartOpened ask_lead(EngineLoop::State& loop, Cascade& cascade) noexcept;
[[nodiscard]] PartOpened open_phase(EngineLoop::State& loop, Cascade& cascade) noexcept;
// The unit has agreed: those below it.
[[nodiscard]] PartOpened open_below(EngineLoop::State& loop, Cascade& cascade,
                                    std::uint32_t unit) noexcept;
// Who is asked has died. False: no room yet.
[[nodiscard]] bool ask_again(EngineLoop::State& loop, Cascade& cascade,
                             std::uint32_t unit) noexcept;
// What a noted part has come to.
void take_part(EngineLoop::State& loop, Cascade& cascade, Operation& operation) noexcept;
// After a death: its unit is as far as it is.
void adopt_part(EngineLoop::State& loop, Cascade& cascade, const Operation& operation) noexcept;

}  // namespace mesh::engine
