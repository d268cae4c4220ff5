#include "engine/operations_view.hpp"

#include <algorithm>
#include <bit>

#include "engine/loop/cascade_book.hpp"
#include "engine/loop/operation.hpp"
#include "sched/gather_layout.hpp"

namespace mesh::engine {
namespace {

using OperationSlot = OperationWords<HostMemory>;
using CascadeSlot = CascadeWords<HostMemory>;
using UnitSlot = CascadeUnitWords<HostMemory>;
using Bitmap = ShmWord<std::uint64_t>;

// For people: each number is one that stood there.
template <class T>
T load(const ShmWord<T>& word) noexcept {
  return word.load_relaxed();  // relaxed: it stands alone; its slot's state is looked at again
}

struct Counts {
  std::uint64_t skipped = 0;
  std::uint64_t sent = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
};

void add(SeenOperation& to, const Counts& counts) noexcept {
  to.targeted += counts.sent + counts.skipped;
  to.sent += counts.sent;
  to.ready += counts.ready;
  to.conflict += counts.conflict;
}

std::uint64_t bits_of(std::span<const Bitmap> words) noexcept {
  std::uint64_t count = 0;
  for (const Bitmap& word : words) count += static_cast<std::uint64_t>(std::popcount(load(word)));
  return count;
}

}  // namespace

std::string_view name_of(SeenOperationKind kind) noexcept {
  switch (kind) {
    case SeenOperationKind::scatter:
      return "scatter";
    case SeenOperationKind::broadcast:
      return "broadcast";
    case SeenOperationKind::wave:
      return "wave";
    case SeenOperationKind::parallel:
      return "parallel";
    case SeenOperationKind::priority_first:
      return "priority_first";
  }
  return "unknown";
}

// All of it, bound for one read.
struct OperationsView::Spans {
  std::span<const OperationSlot> operations;
  std::span<const CascadeSlot> cascades;
  std::span<const UnitSlot> units;  // of each cascade: sectors, then clusters
  std::span<const std::byte> wide, narrow;
  std::size_t wide_bytes = 0, narrow_bytes = 0;
  std::uint32_t wide_rows = 0, narrow_rows = 0;

  [[nodiscard]] Counts counts_of(std::uint32_t slot) const noexcept {
    const bool is_wide = slot < kMaxWideOperations;
    const std::size_t at = is_wide ? slot : slot - kMaxWideOperations;
    const std::size_t each = is_wide ? wide_bytes : narrow_bytes;
    const std::span<const std::byte> bytes = (is_wide ? wide : narrow).subspan(at * each, each);
    const auto& words = *reinterpret_cast<const sched::GatherWords<HostMemory>*>(bytes.data());
    const std::uint32_t rows = is_wide ? wide_rows : narrow_rows;
    const std::size_t map_words = sched::row_bitmap_words(rows);
    const auto* const maps = reinterpret_cast<const Bitmap*>(bytes.data() + sizeof words);
    Counts counts;
    for (const auto& skipped : words.skipped) counts.skipped += load(skipped);
    counts.sent = bits_of({maps, map_words});
    counts.ready = bits_of({maps + map_words, map_words});
    counts.conflict = bits_of({maps + 2 * map_words, map_words});
    return counts;
  }
  [[nodiscard]] HostTime ended_of(std::uint32_t slot) const noexcept {
    const bool is_wide = slot < kMaxWideOperations;
    const std::size_t at = is_wide ? slot : slot - kMaxWideOperations;
    const std::size_t each = is_wide ? wide_bytes : narrow_bytes;
    const auto& words = *reinterpret_cast<const sched::GatherWords<HostMemory>*>(
        (is_wide ? wide : narrow).data() + at * each);
    return from_ns(load(words.ended_ns));
  }
  [[nodiscard]] std::span<const UnitSlot> units_of(std::size_t cascade) const noexcept {
    const std::size_t each = units.size() / cascades.size();
    return units.subspan(cascade * each, each);
  }
};

// Where one that may be listed stands, and as it stood there.
struct OperationsView::Slot {
  bool is_cascade = false;
  std::uint32_t at = 0;
  std::uint64_t state = 0;
  SeenOperation seen{};

  // Running ones first, by T or by when they were opened; then the last that ended.
  [[nodiscard]] bool is_before(const Slot& other) const noexcept {
    if (seen.is_running != other.seen.is_running) return seen.is_running;
    if (!seen.is_running) return seen.ended > other.seen.ended;
    const auto when = [](const SeenOperation& one) {
      return one.target == HostTime{} ? one.opened : one.target;
    };
    return when(seen) < when(other.seen);
  }
};

namespace {

void look_at_operation(const OperationSlot& words, SeenOperation& seen) noexcept {
  const auto marks = static_cast<std::uint8_t>(load(words.about) >> 24 & 0xFF);
  const bool is_now = (marks & kOperationNow) != 0;
  seen.kind = is_now ? SeenOperationKind::broadcast : SeenOperationKind::scatter;
  seen.opened = from_ns(load(words.planned_ns));
  if (!is_now) seen.target = from_ns(load(words.target_ns));
}

void look_at_cascade(const CascadeSlot& words, SeenOperation& seen) noexcept {
  switch (static_cast<CascadeStrategy>(load(words.about) & 0xFF)) {
    case CascadeStrategy::parallel:
      seen.kind = SeenOperationKind::parallel;
      break;
    case CascadeStrategy::priority_first:
      seen.kind = SeenOperationKind::priority_first;
      break;
    default:
      seen.kind = SeenOperationKind::wave;
  }
  seen.opened = from_ns(load(words.started_ns));
  seen.ended = from_ns(load(words.ended_ns));
}

// Leaders by what became of them, and what is below them as far as that is over.
void count_units(std::span<const UnitSlot> units, SeenOperation& seen) noexcept {
  for (const UnitSlot& unit : units) {
    const auto step = static_cast<CascadeStep>(load(unit.state) & 0xFF);
    if (step == CascadeStep::none) continue;
    const bool has_agreed =
        step == CascadeStep::agreed || step == CascadeStep::open || step == CascadeStep::reached;
    const bool was_sent = has_agreed || step == CascadeStep::conflict ||
                          step == CascadeStep::silent || step == CascadeStep::asked;
    const std::uint64_t below = load(unit.counts);
    const std::uint64_t sent_below = below >> 16 & 0xFFFF;
    const std::uint64_t leader = was_sent ? 1 : 0;
    add(seen, {.skipped = (below & 0xFFFF) - std::min(below & 0xFFFF, sent_below) + 1 - leader,
               .sent = sent_below + leader,
               .ready = (below >> 32 & 0xFFFF) + (has_agreed ? 1U : 0U),
               .conflict = (below >> 48) + (step == CascadeStep::conflict ? 1U : 0U)});
  }
}

void count_phases(const CascadeSlot& words, SeenOperation& seen) noexcept {
  for (const auto& phase : words.phases) {
    const std::uint64_t sent = load(phase[0]);
    const std::uint64_t back = load(phase[1]);
    add(seen, {.skipped = (sent & 0xFFFF'FFFF) - std::min(sent & 0xFFFF'FFFF, sent >> 32),
               .sent = sent >> 32,
               .ready = back & 0xFFFF'FFFF,
               .conflict = back >> 32});
  }
}

}  // namespace

Result<OperationsView> OperationsView::over(const MeshSize& size,
                                            std::span<const std::byte> engine) {
  MESH_TRY(shm::Layout layout, engine_layout(size));
  if (engine.size() < layout.total_bytes())
    return fail(Errc::truncated, "engine: " + std::to_string(engine.size()) + " bytes, its layout" +
                                     " has " + std::to_string(layout.total_bytes()));
  MESH_TRY(const auto operations, layout.array<OperationSlot>(engine, "operations"));
  MESH_TRY(const auto cascades, layout.array<CascadeSlot>(engine, "cascades"));
  MESH_TRY(const auto units, layout.array<UnitSlot>(engine, "cascade.units"));
  if (operations.empty() || cascades.empty() || units.size() % cascades.size() != 0)
    return fail(Errc::layout_mismatch, "engine: its operations make no sense");
  return OperationsView(size, std::move(layout), engine);
}

OperationsView::Spans OperationsView::bind() const {
  Spans spans;
  const auto bytes_of = [&](const char* name, std::size_t& each) {
    const shm::Region* const region = layout_.find(name);
    each = region->element_bytes;
    return engine_.subspan(region->offset, region->size_bytes);
  };
  // over() has seen that they fit.
  spans.operations = *layout_.array<OperationSlot>(engine_, "operations");
  spans.cascades = *layout_.array<CascadeSlot>(engine_, "cascades");
  spans.units = *layout_.array<UnitSlot>(engine_, "cascade.units");
  spans.wide = bytes_of("wide.gather", spans.wide_bytes);
  spans.narrow = bytes_of("narrow.gather", spans.narrow_bytes);
  spans.wide_rows = static_cast<std::uint32_t>(size_.agents);
  spans.narrow_rows = std::min(spans.wide_rows, kWideTargets);
  return spans;
}

void OperationsView::find_operations(const Spans& spans, std::vector<Slot>& slots) {
  for (std::uint32_t at = 0; at < spans.operations.size(); ++at) {
    const OperationSlot& words = spans.operations[at];
    Slot slot{.at = at};
    slot.state = words.state.load_acquire();  // SYNC operation.state acquire: all of the slot
    const auto state = static_cast<OperationState>(slot.state & 0xFF);
    if (state == OperationState::free || load(words.part_of) != 0) continue;
    slot.seen.is_running = state == OperationState::sending;
    slot.seen.id = operation_id(at, static_cast<std::uint32_t>(slot.state >> 32));
    look_at_operation(words, slot.seen);
    if (!slot.seen.is_running) slot.seen.ended = spans.ended_of(at);
    slots.push_back(slot);
  }
}

void OperationsView::find_cascades(const Spans& spans, std::vector<Slot>& slots) {
  for (std::uint32_t at = 0; at < spans.cascades.size(); ++at) {
    const CascadeSlot& words = spans.cascades[at];
    Slot slot{.is_cascade = true, .at = at};
    slot.state = words.state.load_acquire();  // SYNC cascade.state acquire: all of the slot
    const auto state = static_cast<CascadeState>(slot.state & 0xFF);
    if (state == CascadeState::free) continue;
    slot.seen.is_running = state == CascadeState::running;
    slot.seen.id = operation_id(kMaxOperations + at, static_cast<std::uint32_t>(slot.state >> 32));
    look_at_cascade(words, slot.seen);
    slots.push_back(slot);
  }
}

// What of a running cascade is under way now, and not yet counted in its own words.
void OperationsView::count_parts(const Spans& spans, Slot& slot) {
  for (std::uint32_t at = 0; at < spans.operations.size(); ++at) {
    const OperationSlot& words = spans.operations[at];
    const std::uint64_t word = load(words.part_of);
    const CascadePart part = part_of(word);
    const bool is_its = word != 0 && part.cascade == slot.at &&
                        part.serial == static_cast<std::uint16_t>(slot.state >> 32);
    const bool is_of_agents =
        part.stage == CascadeStage::agents || part.stage == CascadeStage::everybody;
    const auto state = static_cast<OperationState>(load(words.state) & 0xFF);
    if (is_its && is_of_agents && state == OperationState::sending)
      add(slot.seen, spans.counts_of(at));
  }
}

// False: it changed meanwhile.
bool OperationsView::count(const Spans& spans, Slot& slot) {
  if (!slot.is_cascade) {
    add(slot.seen, spans.counts_of(slot.at));
    return load(spans.operations[slot.at].state) == slot.state;
  }
  const CascadeSlot& words = spans.cascades[slot.at];
  if (slot.seen.kind == SeenOperationKind::wave)
    count_units(spans.units_of(slot.at), slot.seen);
  else
    count_phases(words, slot.seen);
  if (slot.seen.is_running) count_parts(spans, slot);
  return load(words.state) == slot.state;
}

SeenOperations OperationsView::read(std::size_t most) const {
  const Spans spans = bind();
  std::vector<Slot> slots;
  find_operations(spans, slots);
  find_cascades(spans, slots);
  SeenOperations seen;
  seen.running = static_cast<std::size_t>(std::count_if(
      slots.begin(), slots.end(), [](const Slot& slot) { return slot.seen.is_running; }));
  const std::size_t listed = std::min(most, slots.size());
  std::partial_sort(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(listed), slots.end(),
                    [](const Slot& a, const Slot& b) { return a.is_before(b); });
  slots.resize(listed);
  for (Slot& slot : slots)
    if (count(spans, slot)) seen.list.push_back(slot.seen);
  return seen;
}

}  // namespace mesh::engine
