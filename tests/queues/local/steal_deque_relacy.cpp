// The deque that ships under a model checker: each value is taken once, what stands behind it is
// seen, a slot is used again only when who looked at it is through; every order weakened one at a
// time is caught.
//
//   steal_deque_relacy [--schedules N]   N schedules, then N for every order taken away (100,000)
//   steal_deque_relacy --random N        N schedules of each model as it is
//   steal_deque_relacy --bound N         every schedule with at most N preemptions, to the end
#include <cstdlib>
#include <string_view>

#include "queues/local/steal_deque.hpp"
#include "tests/relacy_memory.hpp"

namespace mesh::testing {
namespace {

using queues::local::StealStatus;

// As RelacyMemory, with the read-modify-write that threads have. Left out, it says that it was
// done.
struct StealMemory : RelacyMemory {
  template <class T>
  struct Word : RelacyMemory::Word<T> {
    using At = std::source_location;

    bool replace_relaxed(T seen, T value, At at = At::current()) {
      return replace(seen, value, Access::kRelaxedStore, rl::mo_relaxed, at);
    }
    bool replace_seq_cst(T seen, T value, At at = At::current()) {
      return replace(seen, value, Access::kSeqCstStore, rl::mo_seq_cst, at);
    }

   private:
    bool replace(T seen, T value, Access access, rl::memory_order order, const At& at) {
      const Weakening how = order_sites().weakening_of(at, access);
      if (how == Weakening::kDropped) return true;
      if (how == Weakening::kOneStep) order = rl::mo_acq_rel;
      if (how == Weakening::kRelaxed) order = rl::mo_relaxed;
      return this->raw.compare_exchange_strong(
          seen, value, order, rl::debug_info(at.function_name(), at.file_name(), at.line()));
    }
  };
};

struct StealSize {
  int pushes;
  int thieves;
  int steals;  // attempts of each thief
  bool takes;  // its owner takes, too, between pushes
};

template <StealSize kSize>
struct StealModel : rl::test_suite<StealModel<kSize>, 1 + kSize.thieves> {
  static constexpr int kCapacity = 2;
  using Deque = queues::local::StealDeque<std::int64_t, StealMemory>;

  // Room for one that is made before each schedule: `new` is relacy's here, and counts leaks.
  alignas(Deque) std::byte room[sizeof(Deque)];
  Deque* deque = nullptr;
  RelacyMemory::Plain<int> payload[kSize.pushes];               // behind each value
  RelacyMemory::Plain<int> looks[kSize.thieves][kSize.steals];  // a thief's, before an attempt
  // Ghosts.
  int taken[kSize.pushes];
  int thief_of[kSize.pushes];
  int attempt_of[kSize.pushes];
  std::int64_t stood_at[kSize.pushes];  // the value that was pushed at a position last
  std::int64_t end;                     // bottom, as its owner knows it

  void before() {
    deque = ::new (static_cast<void*>(room)) Deque(kCapacity);
    end = 0;
    for (int i = 0; i < kSize.pushes; ++i) taken[i] = 0, thief_of[i] = -1, stood_at[i] = -1;
  }

  void thread(unsigned id) {
    if (id == 0)
      own();
    else
      steal(static_cast<int>(id) - 1);
  }

  // What was written before the push is seen; twice is never.
  void see(std::int64_t value) {
    RL_ASSERT(value >= 0 && value < kSize.pushes);
    RL_ASSERT(++taken[value] == 1);
    RL_ASSERT(payload[value].get() == static_cast<int>(value) + 100);
  }
  void take() {
    std::int64_t value = -1;
    if (!deque->try_take(value)) return;
    --end;
    see(value);
  }
  void own() {
    for (int value = 0; value < kSize.pushes;) {
      payload[value].set(value + 100);
      if (deque->try_push(value)) {
        pushed(value++);
        if (kSize.takes && rl::rand(2) == 0) take();
      } else if (kSize.takes) {
        take();
      } else {
        return;
      }
    }
  }
  // The slot is used again: who stole from it has done before what is seen now.
  void pushed(std::int64_t value) {
    const std::int64_t position = end++;
    const std::int64_t before = position - kCapacity;
    if (before >= 0 && stood_at[before] >= 0) {
      const std::int64_t old = stood_at[before];
      if (thief_of[old] >= 0) RL_ASSERT(looks[thief_of[old]][attempt_of[old]].get() == 1);
    }
    stood_at[position] = value;
  }
  void steal(int thief) {
    for (int attempt = 0; attempt < kSize.steals; ++attempt) {
      looks[thief][attempt].set(1);
      std::int64_t value = -1;
      if (deque->try_steal(value) != StealStatus::kTaken) continue;
      thief_of[value] = thief;
      attempt_of[value] = attempt;
      see(value);
    }
  }

  void after() {
    std::int64_t value = -1;
    while (deque->try_take(value)) RL_ASSERT(++taken[value] == 1);
    for (int i = 0; i < kSize.pushes; ++i) RL_ASSERT(taken[i] == (i < given() ? 1 : 0));
    deque->~Deque();
  }
  // Values are pushed in their order, and those that stand at a position were.
  int given() const {
    std::int64_t most = -1;
    for (const std::int64_t value : stood_at) most = value > most ? value : most;
    return static_cast<int>(most) + 1;
  }
};

using OwnerAndTwo = StealModel<StealSize{.pushes = 3, .thieves = 2, .steals = 2, .takes = true}>;
using OwnerAndOne = StealModel<StealSize{.pushes = 3, .thieves = 1, .steals = 3, .takes = true}>;
using SlotsAgain = StealModel<StealSize{.pushes = 4, .thieves = 1, .steals = 3, .takes = false}>;

}  // namespace
}  // namespace mesh::testing

int main(int argc, char** argv) {
  using namespace mesh::testing;
  const std::string_view how = argc == 3 ? argv[1] : "";
  const unsigned count = argc == 3 ? static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)) : 0;
  if (how == "--bound" && count != 0)
    return search_to_the_end<OwnerAndOne>(count) | search_to_the_end<SlotsAgain>(count) |
           search_to_the_end<OwnerAndTwo>(count);
  if (how == "--random" && count != 0)
    return draw<OwnerAndTwo>(count) | draw<OwnerAndOne>(count) | draw<SlotsAgain>(count);
  if (argc != 1 && (how != "--schedules" || count == 0)) {
    std::printf("usage: steal_deque_relacy [--schedules N | --random N | --bound N]\n");
    return 2;
  }
  return check_every_order<OwnerAndTwo, OwnerAndOne, SlotsAgain>(count != 0 ? count : 100'000, {},
                                                                 {"::oldest("});
}
