// Pipelines: where they stand in memory, and what a successor makes of them.
#include "engine/loop/pipeline_book.hpp"

#include <bit>
#include <string>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

template <class T>
T read_dead(const ShmWord<T>& word) noexcept {
  return word.load_relaxed();  // relaxed: its writer is dead
}

Status check(const Pipeline& pipeline, std::uint64_t state) {
  const bool is_known = pipeline.state <= PipelineState::ended && pipeline.count >= 1 &&
                        pipeline.count <= kPipelineStepsMax && pipeline.step < pipeline.count &&
                        pipeline.window_ns > 0 && pipeline.weight >= 0;
  if (is_known) return {};
  return fail(Errc::corrupt, "pipeline: state " + std::to_string(state & 0xFF) + ", step " +
                                 std::to_string(pipeline.step) + " of " +
                                 std::to_string(pipeline.count));
}

Status adopt_bodies(EngineLoop::State& loop, Pipeline& pipeline) {
  // Of one that is still to be sent the other body is what its dead writer was about to drop.
  if (!pipeline.is_sent) pipeline.set_body(pipeline.step + 1, {});
  for (const std::uint32_t step : {pipeline.step, pipeline.step + 1}) {
    const Pipeline::Body body = pipeline.body_of(step);
    if (body.first != loop.parked.kNone)
      MESH_CHECK_OK(loop.parked.adopt(body.first, body.bytes));
    else if (body.bytes != 0)
      return fail(Errc::corrupt,
                  "pipeline: a body of " + std::to_string(body.bytes) + " bytes stands nowhere");
  }
  return {};
}

Status adopt_pipeline(EngineLoop::State& loop, Pipeline& pipeline) {
  const Pipeline::Words& words = *pipeline.words;
  const std::uint64_t state = words.state.load_acquire();  // SYNC pipeline.state acquire: the dead
  pipeline.serial = static_cast<std::uint32_t>(state >> 32);
  pipeline.state = static_cast<PipelineState>(state & 0xFF);
  if (pipeline.state == PipelineState::free || pipeline.state == PipelineState::ended) {
    // Whoever waited for its result is told by nobody.
    pipeline.state = PipelineState::free;
    pipeline.set_body(0, {});
    pipeline.set_body(1, {});
    return {};
  }
  const std::uint64_t about = read_dead(words.about);
  const std::uint64_t progress = read_dead(words.progress);
  pipeline.id = {read_dead(words.id_high), read_dead(words.id_low)};
  pipeline.count = static_cast<std::uint32_t>(about & 0xFF);
  pipeline.verb = static_cast<sched::Verb>(about >> 8 & 0xFF);
  pipeline.priority = static_cast<sched::Priority>(about >> 16 & 3);
  pipeline.step = static_cast<std::uint32_t>(progress);
  pipeline.is_sent = (progress >> 32 & 1) != 0;
  pipeline.started_ns = read_dead(words.started_ns);
  pipeline.window_ns = read_dead(words.window_ns);
  pipeline.weight = std::bit_cast<double>(read_dead(words.weight));
  MESH_CHECK_OK(check(pipeline, state));
  ++loop.pipelines.running;
  return adopt_bodies(loop, pipeline);
}

}  // namespace

Status adopt_pipelines(EngineLoop::State& loop) {
  PipelineBook& book = loop.pipelines;
  for (Pipeline& pipeline : book.all) MESH_CHECK_OK(adopt_pipeline(loop, pipeline));
  // A step that was published is sent, whatever its pipeline says; all are looked at.
  for (std::uint32_t slot = 0; slot < loop.operations.size(); ++slot) {
    Operation& operation = loop.operations[slot];
    if (operation.state == OperationState::free) continue;
    Pipeline* const pipeline = book.of(operation);
    if (pipeline == nullptr) continue;
    pipeline->is_sent = true;
    pipeline->store_progress();
    book.note(slot, operation);
  }
  return {};
}

Pipeline* PipelineBook::of(const Operation& operation) noexcept {
  if (!is_of_pipeline(operation.part_of)) return nullptr;
  const CascadePart part = part_of(operation.part_of);
  const std::uint32_t at = part.cascade - kFirstPipelinePart;
  if (at >= all.size() || operation.targets != 1 || !operation.gather->scheduled().test(0))
    return nullptr;
  Pipeline& pipeline = all[at];
  const bool is_its = pipeline.state == PipelineState::running && part.unit == pipeline.step &&
                      part.serial == static_cast<std::uint16_t>(pipeline.serial);
  return is_its ? &pipeline : nullptr;
}

std::size_t PipelineBook::parked_blocks() const noexcept {
  std::size_t blocks = 0;
  for (const Pipeline& pipeline : all) {
    if (pipeline.state == PipelineState::free) continue;
    for (const std::uint32_t step : {0U, 1U}) {
      const Pipeline::Body body = pipeline.body_of(step);
      if (body.first != ParkedStore<HostMemory>::kNone)
        blocks += ParkedStore<HostMemory>::blocks_of(body.bytes);
    }
  }
  return blocks;
}

void note_part(EngineLoop::State& loop, std::uint32_t slot, Operation& operation) noexcept {
  if (is_of_pipeline(operation.part_of))
    loop.pipelines.note(slot, operation);
  else
    loop.cascades.note(slot, operation);
}

Result<PipelineBook> bind_pipelines(const shm::Layout& engine, std::span<std::byte> memory) {
  MESH_TRY(const auto words, engine.array<Pipeline::Words>(memory, "pipelines"));
  MESH_TRY(const auto steps, engine.array<Pipeline::StepWords>(memory, "pipeline.steps"));
  PipelineBook book;
  for (std::size_t at = 0; at < words.size(); ++at) {
    Pipeline& pipeline = book.all.emplace_back();
    pipeline.words = &words[at];
    pipeline.steps = steps.subspan(at * kPipelineStepsMax, kPipelineStepsMax);
  }
  book.noted.reserve(std::size_t{2} * kMaxOperations);
  book.ended.reserve(words.size());
  return book;
}

}  // namespace mesh::engine
