// A ring whose other side is hostile: the reader over slots that anyone writes, the writer over a
// reader's page that anyone writes. Each stays within its ring and keeps its own invariants.
#include "queues/spsc_ring.hpp"
#include "sched/records.hpp"
#include "shm/base/assert.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {
namespace {

using Ring = queues::SpscRing<>;

class HostileRing {
 public:
  explicit HostileRing(FuzzInput& input)
      : capacity_(std::size_t{2} << (input.take<std::uint8_t>() % 6)),
        slots_(capacity_ * kSlotBytes, kCacheLine),
        page_(sizeof(Ring::ReaderPage), kIsolation) {
    const auto start = input.take<std::uint64_t>();
    if (start != 0) Ring::format(slots(), page(), start);
  }
  std::span<Ring::Slot> slots() const {
    return {reinterpret_cast<Ring::Slot*>(slots_.bytes().data()), capacity_};
  }
  Ring::ReaderPage& page() const {
    return *reinterpret_cast<Ring::ReaderPage*>(page_.bytes().data());
  }
  std::size_t capacity() const { return capacity_; }

 private:
  std::size_t capacity_;
  ExactMemory slots_;
  ExactMemory page_;
};

// A stamp that is nearly right, or anything.
std::uint64_t any_stamp(FuzzInput& input, std::uint64_t near) {
  const auto kind = input.take<std::uint8_t>();
  return kind < 0xC0 ? near + kind % 16 - 4 : input.take<std::uint64_t>();
}

void look_at(const Ring::Reader::View& view) {
  const auto send = view.read_as<sched::SendRecord>();
  static_cast<void>(sched::validate(send, {0, 4096}));
  static_cast<void>(sched::validate(view.read_as<sched::AnswerRecord>(), {0, 4096}));
}

void read_hostile_slots(const HostileRing& ring, FuzzInput& input) {
  ring.page().cursor.store_relaxed(any_stamp(input, ring.page().cursor.load_relaxed()));
  auto attached = Ring::Reader::attach(ring.slots(), &ring.page());
  if (!attached) {
    MESH_ASSERT(attached.error().code == Errc::corrupt);
    return;
  }
  auto& reader = *attached;
  while (!input.empty()) {
    auto& slot = ring.slots()[input.take<std::uint8_t>() % ring.capacity()];
    slot.words[input.take<std::uint8_t>() % 7].set(input.take<std::uint64_t>());
    slot.stamp.store_relaxed(any_stamp(input, reader.cursor()));
    const std::size_t limit = input.take<std::uint8_t>();
    const std::uint64_t before_poll = reader.cursor();
    std::uint64_t expected = before_poll;
    const std::size_t polled = reader.poll(limit, [&](auto view) {
      MESH_ASSERT(view.position() == expected++);
      look_at(view);
    });
    MESH_ASSERT(polled <= std::min(limit, ring.capacity()));
    MESH_ASSERT(reader.cursor() == before_poll + polled);
    MESH_ASSERT(ring.page().cursor.load_relaxed() == reader.cursor());
  }
}

struct WriterModel {
  Ring::Writer& writer;
  const HostileRing& ring;
  std::uint64_t cursor;  // the last honest one
  bool lied = false;

  // What the page says now, judged as the contract says.
  void see_cursor() {
    const std::uint64_t now = ring.page().cursor.load_relaxed();
    if (now - cursor > writer.revealed() - cursor) lied = true;
    if (!lied) cursor = now;
  }
  void claim_and_publish(FuzzInput& input) {
    const std::size_t wanted = input.take<std::uint8_t>();
    const bool known_room = writer.capacity() - (writer.head() - writer.cursor()) >= wanted;
    const auto run = writer.claim(wanted);
    if (!known_room) see_cursor();
    MESH_ASSERT((run.status == queues::ClaimStatus::kCorrupt) == (lied && !known_room));
    MESH_ASSERT(run.slots.size() <= wanted);
    if (run.slots.empty()) return;
    MESH_ASSERT(run.slots.data() >= ring.slots().data());
    MESH_ASSERT(&run.slots.back() <= &ring.slots().back());
    MESH_ASSERT(run.position + run.slots.size() - cursor <= ring.capacity());
    writer.fill(run, [](auto& slot, std::uint64_t at) { slot.words[0].set(at); });
    if (input.take<std::uint8_t>() % 2 == 0) static_cast<void>(writer.reveal_checked());
  }
};

void write_for_hostile_reader(const HostileRing& ring, FuzzInput& input) {
  for (std::size_t stamps = input.take<std::uint8_t>() % 8; stamps != 0; --stamps) {
    auto& slot = ring.slots()[input.take<std::uint8_t>() % ring.capacity()];
    slot.stamp.store_relaxed(any_stamp(input, slot.stamp.load_relaxed()));
  }
  auto taken = Ring::Writer::take_over(ring.slots(), &ring.page());
  if (!taken) {
    MESH_ASSERT(taken.error().code == Errc::corrupt);
    return;
  }
  WriterModel model{*taken, ring, taken->cursor()};
  MESH_ASSERT(taken->head() - taken->cursor() <= ring.capacity());
  while (!input.empty()) {
    model.claim_and_publish(input);
    ring.page().cursor.store_relaxed(any_stamp(input, model.cursor + 4));
    ring.page().parked.store_relaxed(input.take<std::uint32_t>());
    if (input.take<std::uint8_t>() % 4 == 0) {
      model.see_cursor();
      const std::uint64_t free = taken->free_slots();
      MESH_ASSERT(free == (model.lied ? 0 : ring.capacity() - (taken->head() - model.cursor)));
    }
  }
}

}  // namespace

void fuzz_one(std::span<const std::byte> bytes) {
  FuzzInput input(bytes);
  const bool reads = input.take<std::uint8_t>() % 2 == 0;
  const HostileRing ring(input);
  reads ? read_hostile_slots(ring, input) : write_for_hostile_reader(ring, input);
}

}  // namespace mesh::testing
