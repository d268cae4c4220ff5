// Effectively once (docs/coordination/exactly_once_queue.md, outbox.md): one queue, and one outbox,
// through one death after another at random steps, over the journal in memory and the one in a
// file. `./dev stress` runs 10,000 deaths of each; the commit tier fewer.
#include "tests/engine/coordination/lives.hpp"
#include "tests/engine/coordination/outbox_world.hpp"
#include "tests/engine/coordination/queue_world.hpp"
#include "tests/engine/store/journal_disk.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_effectively_once_test {

using testing::Death;
using testing::Killer;
using testing::Lives;
using testing::OutboxWorld;
using testing::QueueWorld;

constexpr std::uint64_t kStepsMax = 60;  // a life has about a hundred

// Lives in this process; a death is an exception, and the power goes with it: of what was not
// synced any part survives.
template <class World>
class InMemory {
 public:
  // One life that may end early.
  void live(World& world, Rng& rng) {
    left_ = 1 + rng.below(kStepsMax);
    JournalOptions options;
    options.at_step = &InMemory::step;
    options.context = this;
    try {  // nothing dies between telling and hearing: the world needs no copy
      Lives<World>::live(world, journal_, options, Rng(rng.next()),
                         [](std::span<const std::byte>) {});
    } catch (const Death&) {
      ++deaths_;
    }
    journal_.crash(rng.below(journal_.unsynced_bytes() + 1));
  }
  void live_on(World& world, Rng& rng) {
    Lives<World>::live(world, journal_, {}, Rng(rng.next()), [](std::span<const std::byte>) {});
  }
  Journal& journal() { return journal_; }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  static void step(void* self, CommitStep) {
    if (--static_cast<InMemory*>(self)->left_ == 0) throw Death{};
  }

  MemoryJournal journal_;
  std::uint64_t left_ = 0;
  std::uint64_t deaths_ = 0;
};

// Each life is a process that is killed: at a step of its own, or by another when it has told so
// much.
template <class World>
class InAFile {
 public:
  void live(World& world, Rng& rng) {
    const bool from_outside = rng.below(4) == 0;
    const std::uint64_t at = 1 + rng.below(from_outside ? kStepsMax : 2 * kStepsMax);
    const std::uint64_t seed = rng.next();
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      ::_exit(be(world, from_outside ? 0 : at, seed, ends[1]));
    }
    ::close(ends[1]);
    listen(world, ends[0], from_outside ? at : 0, child);
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    const bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    deaths_ += was_killed ? 1U : 0U;
    ASSERT_TRUE(was_killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
  }
  void live_on(World& world, Rng& rng) {
    Lives<World>::live(world, journal(), {}, Rng(rng.next()), [](std::span<const std::byte>) {});
  }
  Journal& journal() {
    file_.reset();
    file_ = engine::SqliteJournal::open({.where = where_, .service = "test"}).value();
    return *file_;
  }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  // The victim.
  int be(World& world, std::uint64_t at, std::uint64_t seed, int told) {
    Killer killer(at);
    auto journal = engine::SqliteJournal::open(killer.file(where_)).value();
    Lives<World>::live(world, *journal, killer.options(), Rng(seed),
                       [told](std::span<const std::byte> frame) {
                         StateWriter sized;
                         sized.put(frame);
                         const auto bytes = sized.bytes();
                         static_cast<void>(!::write(told, bytes.data(), bytes.size()));
                       });
    return ::testing::Test::HasFailure() ? 1 : 0;
  }
  // Whole frames are heard; one that is cut off was never told.
  void listen(World& world, int told, std::uint64_t kill_after, pid_t child) {
    std::vector<std::byte> bytes;
    std::array<std::byte, 4'096> page{};
    std::size_t heard = 0;
    std::uint64_t frames = 0;
    for (ssize_t got = 0; (got = ::read(told, page.data(), page.size())) > 0;) {
      bytes.insert(bytes.end(), page.begin(), page.begin() + got);
      for (;;) {
        StateReader reader(std::span<const std::byte>(bytes).subspan(heard));
        const auto frame = reader.get_bytes();
        if (reader.failed()) break;
        Lives<World>::hear(world, frame);
        heard = bytes.size() - reader.left();
        if (++frames == kill_after) ::kill(child, SIGKILL);
      }
    }
  }

  mesh::testing::ScratchDirectory folder_;
  std::string where_ = folder_.file("journal.db");
  std::unique_ptr<engine::SqliteJournal> file_;
  std::uint64_t deaths_ = 0;
};

bool is_worked_off(const ExactlyOnceQueue& queue, const QueueWorld&) {
  const auto counts = queue.view().counts;
  return counts.ready + counts.delayed + counts.leased == 0;
}
bool is_worked_off(const Outbox& box, const OutboxWorld& world) {
  const auto& counters = box.counters();
  return counters.confirmed == counters.appended && world.is_drained();
}

// So many deaths, then all that is left is worked off and looked at.
template <class World, template <class> class Place>
void die_and_die_again(std::uint64_t usual) {
  World world(mesh::testing::seed());
  Place<World> place;
  Rng rng(mesh::testing::seed() + 1);
  std::uint64_t lives = 0;
  for (mesh::testing::Repeats deaths(usual); deaths.next();) {
    for (const std::uint64_t before = place.deaths(); place.deaths() == before; ++lives) {
      place.live(world, rng);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "in life " << lives;
    }
  }
  world.drain();
  for (int left = 200;; --left) {
    ASSERT_GT(left, 0) << "it is never worked off";
    place.live_on(world, rng);
    ASSERT_FALSE(::testing::Test::HasFailure());
    auto service =
        JournaledService<typename World::Service>::open(World::config(), place.journal());
    ASSERT_TRUE(service) << service.error().sentence;
    if (!is_worked_off(service->service(), world)) continue;
    world.check(service->service());
    break;
  }
  // So that a world in which nothing happens does not pass.
  EXPECT_GT(world.accepted(), usual / 10);
  EXPECT_GT(world.committed(), world.accepted() / 2);
  ::testing::Test::RecordProperty("lives", std::to_string(lives));
}

TEST(EffectivelyOnce, AQueueInMemoryCommitsEachTaskOnceHoweverOftenItDies) {
  die_and_die_again<QueueWorld, InMemory>(2'000);
}
TEST(EffectivelyOnce, AQueueInAFileCommitsEachTaskOnceHoweverOftenItIsKilled) {
  die_and_die_again<QueueWorld, InAFile>(150);
}
TEST(EffectivelyOnce, AnOutboxInMemoryBringsEachEventOnceHoweverOftenItDies) {
  die_and_die_again<OutboxWorld, InMemory>(2'000);
}
TEST(EffectivelyOnce, AnOutboxInAFileBringsEachEventOnceHoweverOftenItIsKilled) {
  die_and_die_again<OutboxWorld, InAFile>(150);
}

}  // namespace of_effectively_once_test
}  // namespace mesh::coordination
