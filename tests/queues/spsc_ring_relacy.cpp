// The shipped ring under a model checker: every schedule relacy draws, with the writer dying at any
// access, every acquire, release and seq_cst weakened one at a time.
//
//   spsc_ring_relacy [--schedules N]   N schedules, then N for every order taken away (100,000)
//   spsc_ring_relacy --random N        N schedules of the dying ring as it is, N / 10 of the others
//   spsc_ring_relacy --bound N         every schedule with at most N preemptions, to the end
#include <cstdlib>
#include <string_view>
#include <utility>

#include "queues/spsc_ring.hpp"
#include "tests/relacy_memory.hpp"

namespace mesh::testing {
namespace {

struct Died {};
int deaths_left = 0;
bool armed = false;

// Dies, as an exception, before any store of the writer's that relacy's dice choose: one in kOdds.
// A search to the end takes 2, the fewest branches that have both outcomes.
template <unsigned kOdds>
struct DyingMemory : RelacyMemory {
  static constexpr bool kNoThrow = false;
  static void perhaps_die() {
    if (!armed || deaths_left == 0 || rl::rand(kOdds) != 0) return;
    --deaths_left;
    throw Died{};
  }
  static void point(const char*) { perhaps_die(); }

  template <class T>
  struct Word : RelacyMemory::Word<T> {
    using At = std::source_location;
    using Base = RelacyMemory::Word<T>;
    void store_relaxed(T value, At at = At::current()) {
      perhaps_die();
      Base::store_relaxed(value, at);
    }
    void store_release(T value, At at = At::current()) {
      perhaps_die();
      Base::store_release(value, at);
    }
    void store_seq_cst(T value, At at = At::current()) {
      perhaps_die();
      Base::store_seq_cst(value, at);
    }
  };
};

struct ModelSize {
  std::uint64_t capacity;
  int batches;
  int deaths = 0;
  int looks = batches + 1;  // polls of the reader while the writer runs
  bool dice = true;         // batches of any size, built either way; else each fills the ring
};

// One writer that may die and be taken over, one reader. Ghost variables say what may be seen when.
template <class Policy, ModelSize kSize>
struct RingModel : rl::test_suite<RingModel<Policy, kSize>, 2> {
  static constexpr std::uint64_t kCapacity = kSize.capacity;
  using Ring = queues::SpscRing<Policy, 1>;
  using ReaderRing = queues::SpscRing<RelacyMemory, 1>;  // the same bytes; only the writer dies
  static_assert(sizeof(typename Ring::Slot) == sizeof(ReaderRing::Slot));
  static constexpr std::uint64_t kStart = std::uint64_t{0} - 1;  // the first batch crosses 2^64

  typename Ring::Slot slots[kCapacity];
  typename Ring::ReaderPage page;
  std::uint64_t revealed_end = kStart;  // ghost: set just before the reveal
  std::uint64_t value_at[kCapacity] = {};
  std::uint64_t builds = 0;
  std::uint64_t expected = kStart;

  void before() {
    armed = false;
    deaths_left = kSize.deaths;
    revealed_end = expected = kStart;
    builds = 0;
    Ring::format(slots, page, kStart);
    for (auto& slot : slots) slot.words[0].set(0);
  }

  void thread(unsigned id) {
    if (id == 0)
      write();
    else
      read();
  }

  static unsigned roll(unsigned sides) { return kSize.dice ? rl::rand(sides) : 0; }

  void publish_one_batch(typename Ring::Writer& writer) {
    const unsigned runs = 1 + roll(2);
    for (unsigned i = 0; i < runs; ++i) {
      const auto run = writer.claim(kCapacity - roll(static_cast<unsigned>(kCapacity)));
      const auto build = [this](auto& slot, std::uint64_t position) {
        const std::uint64_t value = ++builds;
        value_at[position % kCapacity] = value;
        slot.words[0].set(value);
      };
      if (roll(2) == 0) {
        writer.fill(run, build);
      } else {
        for (std::size_t k = 0; k < run.slots.size(); ++k) build(run.slots[k], run.position + k);
        writer.stage(run.slots.size());
      }
    }
    if (writer.head() == writer.revealed()) return;
    revealed_end = writer.head();
    writer.reveal();
  }

  void write() {
    bool taken_over = false;
    typename Ring::Writer writer;
    for (int batch = 0; batch < kSize.batches;) {
      const std::uint64_t end_before = revealed_end;
      bool died = false;
      armed = true;
      try {
        if (!taken_over) {
          auto taken = Ring::Writer::take_over(slots, &page);
          RL_ASSERT(taken.has_value());
          writer = *taken;
          taken_over = true;
        }
        ++batch;
        publish_one_batch(writer);
      } catch (const Died&) {
        died = true;
      }
      armed = false;
      if (!died) continue;
      // What the dead one revealed is for its successor to find: all of its batch, or nothing.
      taken_over = false;
      auto found = Ring::Writer::take_over(slots, &page);
      RL_ASSERT(found.has_value());
      RL_ASSERT(found->head() == end_before || found->head() == revealed_end);
      revealed_end = found->head();
    }
  }

  auto attach() {
    return ReaderRing::Reader::attach({reinterpret_cast<ReaderRing::Slot*>(slots), kCapacity},
                                      reinterpret_cast<ReaderRing::ReaderPage*>(&page));
  }
  void poll_once(ReaderRing::Reader& reader) {
    reader.poll(kCapacity, [&](auto view) {
      RL_ASSERT(view.position() == expected);
      RL_ASSERT(before_or_at_end(view.position()));
      RL_ASSERT(view.word(0) == value_at[view.position() % kCapacity]);
      ++expected;
    });
  }
  bool before_or_at_end(std::uint64_t position) const {
    return mesh::before(position, revealed_end);
  }

  void read() {
    auto reader = attach();
    RL_ASSERT(reader.has_value());
    for (int look = 0; look < kSize.looks; ++look) poll_once(*reader);
  }

  void after() {
    auto reader = attach();
    RL_ASSERT(reader.has_value());
    poll_once(*reader);
    RL_ASSERT(expected == revealed_end);
  }
};

// Either the parking reader sees the record or the revealing writer sees it parked.
struct ParkingModel : rl::test_suite<ParkingModel, 2> {
  using Ring = queues::SpscRing<RelacyMemory, 1>;
  Ring::Slot slots[2];
  Ring::ReaderPage page;
  bool sleeps = false;
  bool signalled = false;

  void before() {
    sleeps = signalled = false;
    Ring::format(slots, page, 5);
    for (auto& slot : slots) slot.words[0].set(0);
  }
  void thread(unsigned id) {
    if (id == 0) {
      auto writer = Ring::Writer::take_over(slots, &page);
      RL_ASSERT(writer.has_value());
      const auto run = writer->claim(2);
      for (std::size_t i = 0; i < run.slots.size(); ++i) run.slots[i].words[0].set(i);
      signalled = writer->publish_checked(run.slots.size());
    } else {
      auto reader = Ring::Reader::attach(slots, &page);
      RL_ASSERT(reader.has_value());
      sleeps = reader->prepare_to_park();
      if (sleeps) return;
      std::uint64_t sum = 0;
      reader->poll(2, [&](auto view) { sum += view.word(0); });
      reader->unpark();
    }
  }
  void after() {
    RL_ASSERT(!sleeps || signalled);
    RL_ASSERT(page.parked.load_relaxed() == (sleeps ? 1U : 0U));
  }
};

// A reader of two rings, as the engine is of its stations' outboxes: it says that it is parked at
// both, then looks at both. Whoever published what it did not see signals.
struct ParkingAtManyModel : rl::test_suite<ParkingAtManyModel, 3> {
  using Ring = queues::SpscRing<RelacyMemory, 1>;
  static constexpr unsigned kRings = 2;
  Ring::Slot slots[kRings][2];
  Ring::ReaderPage pages[kRings];
  bool sleeps = false;
  bool signalled[kRings] = {};

  void before() {
    sleeps = false;
    for (unsigned ring = 0; ring < kRings; ++ring) {
      signalled[ring] = false;
      Ring::format(slots[ring], pages[ring], 5);
      for (auto& slot : slots[ring]) slot.words[0].set(0);
    }
  }
  void thread(unsigned id) {
    if (id < kRings) {
      auto writer = Ring::Writer::take_over(slots[id], &pages[id]);
      RL_ASSERT(writer.has_value());
      const auto run = writer->claim(1);
      run.slots[0].words[0].set(id);
      signalled[id] = writer->publish_checked(1);
      return;
    }
    for (auto& page : pages) Ring::Reader::say_parked(page);
    sleeps = true;
    for (unsigned ring = 0; ring < kRings; ++ring)
      sleeps =
          sleeps && Ring::Reader::is_still_empty(slots[ring], pages[ring].cursor.load_relaxed());
  }
  void after() {
    for (const bool one : signalled) RL_ASSERT(!sleeps || one);
  }
};

using FourSlots = RingModel<RelacyMemory, ModelSize{.capacity = 4, .batches = 3}>;
using DyingRing = RingModel<DyingMemory<8>, ModelSize{.capacity = 4, .batches = 3, .deaths = 2}>;
// Small enough to be searched to the end.
using SmallRing = RingModel<RelacyMemory, ModelSize{.capacity = 2, .batches = 2}>;
using SmallDyingRing =
    RingModel<DyingMemory<2>, ModelSize{.capacity = 2, .batches = 2, .deaths = 1, .looks = 2}>;
using TwoDeaths =
    RingModel<DyingMemory<2>,
              ModelSize{.capacity = 2, .batches = 3, .deaths = 2, .looks = 2, .dice = false}>;

}  // namespace
}  // namespace mesh::testing

int main(int argc, char** argv) {
  using namespace mesh::testing;
  const std::string_view how = argc == 3 ? argv[1] : "";
  const unsigned count = argc == 3 ? static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)) : 0;
  if (how == "--bound" && count != 0)
    return search_to_the_end<SmallRing>(count) | search_to_the_end<SmallDyingRing>(count) |
           search_to_the_end<TwoDeaths>(count) | search_to_the_end<ParkingModel>(count) |
           search_to_the_end<ParkingAtManyModel>(count);
  if (how == "--random" && count != 0)
    return draw<DyingRing>(count) | draw<FourSlots>(count / 10 + 1) |
           draw<ParkingModel>(count / 10 + 1) | draw<ParkingAtManyModel>(count / 10 + 1);
  if (argc != 1 && (how != "--schedules" || count == 0)) {
    std::printf("usage: spsc_ring_relacy [--schedules N | --random N | --bound N]\n");
    return 2;
  }
  return check_every_order<FourSlots, DyingRing, ParkingModel, ParkingAtManyModel>(
      count != 0 ? count : 100'000);
}
