// PipelineBook: the pipelines in flight, in `engine` memory what a successor goes on from.
//
//            open_pipeline()           the last is READY, or one is not in time
//     free ────────────────▶ running ──────────────────────────────────────▶ ended
//      ▲                                                                       │
//      └─────────────── its result was taken, or its place is needed ──────────┘
//
//     step:  to send ─▶ sent ─READY─▶ the next one: to send
//
// A step is an operation of one target that names its pipeline and its number; its answer's body is
// parked before the answer counts. When the answer counts the pipeline moves on by one store.
//
// Callers     the scheduler thread; a successor.
// Progress    a tick in which no pipeline runs costs a compare; one that runs, at most one
//             operation and one copy of a body. No allocation after bind_pipelines().
// Ordering    a step's operation is published before the pipeline says `sent`: a successor that
//             finds the operation says so, and nothing is sent twice. An answer's body is parked
//             and named before its operation knows the answer, which may then be read again.
//             SYNC pipeline.state
// If the      engine dies: the successor finds the pipeline running and goes on; who waited for the
// other side  result is not told. An agent dies: engine/pipeline.hpp.
// dies
// Layout      regions pipelines, pipeline.steps
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/loop/cascade_book.hpp"
#include "engine/loop/operation.hpp"
#include "engine/pipeline.hpp"
#include "shm/base/word.hpp"

namespace mesh::engine {

struct StationLink;

enum class PipelineState : std::uint8_t { free = 0, running, ended };

template <class Memory>
struct alignas(kCacheLine) PipelineWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> state;  // PipelineState | serial << 32
  Word<std::uint64_t> id_high;
  Word<std::uint64_t> id_low;
  Word<std::uint64_t> about;     // steps | verb << 8 | priority << 16 | status << 24
  Word<std::uint64_t> progress;  // step | 1 << 32 once it was sent
  Word<std::int64_t> started_ns;
  Word<std::int64_t> ended_ns;
  Word<std::int64_t> window_ns;
  Word<std::uint64_t> weight;     // a double's bits
  Word<std::uint64_t> bodies[2];  // of even, of odd steps: bytes | first parked block + 1 << 32
  Word<std::uint64_t> reserved[5];
};
static_assert(sizeof(PipelineWords<HostMemory>) == 128);

template <class Memory>
struct PipelineStepWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> agent;
  Word<std::int64_t> target_ns;
  Word<std::int64_t> sent_ns;
  Word<std::int64_t> answered_ns;
  Word<std::uint64_t> state;  // StepState
  Word<std::uint64_t> reserved[3];
};
static_assert(sizeof(PipelineStepWords<HostMemory>) == 64);

// Which step of which pipeline an operation is. Cascades have the lower numbers.
inline constexpr std::uint32_t kFirstPipelinePart = 0x40;
static_assert(kMaxCascades <= kFirstPipelinePart && kMaxPipelines <= 0x80 - kFirstPipelinePart);
constexpr std::uint64_t pipeline_word(std::uint32_t pipeline, std::uint32_t serial,
                                      std::uint32_t step) noexcept {
  return word_of(CascadePart{.cascade = kFirstPipelinePart + pipeline,
                             .serial = static_cast<std::uint16_t>(serial),
                             .unit = step});
}
constexpr bool is_of_pipeline(std::uint64_t word) noexcept {
  return word != 0 && part_of(word).cascade >= kFirstPipelinePart;
}

struct Pipeline {
  using Words = PipelineWords<HostMemory>;
  using StepWords = PipelineStepWords<HostMemory>;

  // Bound once.
  Words* words = nullptr;
  std::span<StepWords> steps;

  // Of the tenant; what stands in memory too is copied here.
  PipelineState state = PipelineState::free;
  std::uint32_t serial = 0;
  sched::MessageId id{};
  std::uint32_t count = 0;
  std::uint32_t step = 0;
  bool is_sent = false;  // its operation is open, or over
  sched::Verb verb = sched::Verb::act;
  sched::Priority priority = sched::Priority::normal;
  PipelineStatus status = PipelineStatus::running;
  double weight = 1;
  std::int64_t window_ns = 0;
  std::int64_t started_ns = 0;
  std::int64_t look_ns = 0;                      // when what is to be sent is looked at again
  StepState waits_for = StepState::unreachable;  // why it was not sent yet
  bool has_lost_answer = false;                  // there was no room for its body

  struct Body {
    std::uint32_t bytes = 0;
    std::uint32_t first = ~std::uint32_t{0};  // parked; kNone: it is empty
  };
  // The message of a step: the answer of the one before it.
  [[nodiscard]] Body body_of(std::uint32_t of_step) const noexcept {
    const std::uint64_t word = words->bodies[of_step & 1].load_relaxed();  // relaxed: our own
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32) - 1};
  }
  void set_body(std::uint32_t of_step, const Body& body) noexcept {
    // relaxed: its own word, and what it names stands.
    words->bodies[of_step & 1].store_relaxed(body.bytes | std::uint64_t{body.first + 1U} << 32);
  }
  [[nodiscard]] AgentId agent(std::uint32_t of_step) const noexcept {
    return static_cast<AgentId>(steps[of_step].agent.load_relaxed());  // relaxed: our own
  }
  [[nodiscard]] std::int64_t target_ns(std::uint32_t of_step) const noexcept {
    return steps[of_step].target_ns.load_relaxed();  // relaxed: our own
  }
  [[nodiscard]] std::int64_t deadline_ns() const noexcept { return target_ns(step) + window_ns; }
  void set_step(StepState to) noexcept {
    steps[step].state.store_relaxed(static_cast<std::uint64_t>(to));  // relaxed: it stands alone
  }
  void store_progress() noexcept {
    // relaxed: a word that stands alone.
    words->progress.store_relaxed(step | (is_sent ? std::uint64_t{1} << 32 : 0));
  }
  void store_about() noexcept {
    // relaxed: the state publishes it.
    words->about.store_relaxed(count | static_cast<std::uint64_t>(verb) << 8 |
                               static_cast<std::uint64_t>(priority) << 16 |
                               static_cast<std::uint64_t>(status) << 24);
  }
};

struct PipelineBook {
  std::vector<Pipeline> all;
  std::uint32_t running = 0;
  std::vector<std::uint32_t> noted;  // slots of steps to be looked at
  std::vector<std::uint32_t> ended;  // whose result waits to be taken, oldest first

  void note(std::uint32_t slot, Operation& operation) noexcept {
    if (operation.is_noted || noted.size() == noted.capacity()) return;
    operation.is_noted = true;
    noted.push_back(slot);
  }
  // The running pipeline whose present step it is, or none.
  [[nodiscard]] Pipeline* of(const Operation& operation) noexcept;
  [[nodiscard]] std::size_t parked_blocks() const noexcept;
};

Result<PipelineBook> bind_pipelines(const shm::Layout& engine, std::span<std::byte> memory);

// Whoever opened it looks at it again before the tick ends.
void note_part(EngineLoop::State& loop, std::uint32_t slot, Operation& operation) noexcept;
// Before the answer counts: its body, where it is the present step's.
void keep_step_answer(EngineLoop::State& loop, StationLink& link, const Operation& operation,
                      const sched::AnswerRecord& answer) noexcept;
bool run_pipelines(EngineLoop::State& loop) noexcept;
// When one has something to do by itself; never: INT64_MAX.
[[nodiscard]] std::int64_t next_pipeline_ns(const EngineLoop::State& loop) noexcept;
[[nodiscard]] Status adopt_pipelines(EngineLoop::State& loop);

}  // namespace mesh::engine
