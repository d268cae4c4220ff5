// The shipped log under a model checker: a writer that laps its readers and may die at any store,
// every acquire and release weakened and every store left out, one at a time. Usage:
// payload_log_relacy [--bound N] [--schedules N]
#include <cstdlib>
#include <string_view>
#include <utility>

#include "queues/payload_log.hpp"
#include "tests/relacy_memory.hpp"

// relacy replaces operator delete, not the sized one that strings call: without this the sentence
// of an Error made inside a model would be freed by another heap than it came from.
#undef delete
void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }

namespace mesh::testing {
namespace {

struct Died {};
int deaths_left = 0;

// Dies, as an exception, before any store of the writer's that relacy's dice choose.
struct DyingMemory : RelacyMemory {
  static constexpr bool kNoThrow = false;
  static bool armed;
  static void perhaps_die() {
    if (!armed || deaths_left == 0 || rl::rand(8) != 0) return;
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
  };
};
bool DyingMemory::armed = false;

// One writer goes round a log of 64 bytes, which holds two to four entries; one reader reads what
// it is told, and walks. Ghost variables say what stood where.
enum class Dice { kFine, kCoarse };  // coarse: bodies empty or full, room by whole entries
template <class Policy, int kAppends, int kDeaths, Dice kDice = Dice::kFine>
struct LogModel : rl::test_suite<LogModel<Policy, kAppends, kDeaths, kDice>, 2> {
  using Log = queues::PayloadLog<Policy>;
  using ReaderLog = queues::PayloadLog<RelacyMemory>;  // the same bytes; only the writer dies
  static_assert(sizeof(typename Log::Word) == sizeof(ReaderLog::Word));
  static constexpr std::uint64_t kStart = std::uint64_t{0} - 32;  // crosses 2^64
  static constexpr std::size_t kWords = 8;
  static constexpr std::size_t kGhosts = 64;

  struct Ghost {
    std::uint64_t words[2] = {};
    std::uint32_t length = 0;
    std::uint32_t number = 0;
  };

  typename Log::Word words[kWords];
  typename Log::Header header;
  RelacyMemory::Word<std::uint64_t>
      told;               // a position, as a ring would carry it; kStart - 16: none
  Ghost ghosts[kGhosts];  // by position
  std::uint64_t freed = kStart;
  std::uint32_t number = 0;

  static std::size_t ghost_of(std::uint64_t position) { return (position - kStart) / 16 % kGhosts; }

  void before() {
    DyingMemory::armed = false;
    deaths_left = kDeaths;
    freed = kStart;
    number = 0;
    for (auto& word : words) word.store_relaxed(0);
    Log::format(header, kStart);
    told.store_relaxed(kStart - 16);
  }

  void thread(unsigned id) {
    if (id == 0)
      write();
    else
      read();
  }

  // False: no room.
  bool append_one(typename Log::Writer& writer) {
    Ghost ghost;
    ghost.number = ++number;
    ghost.length = kDice == Dice::kFine ? rl::rand(5) * 4 : rl::rand(2) * 16;  // 0, 4, 8, 12, 16
    for (auto& word : ghost.words) word = (std::uint64_t{number} << 32) + number;
    auto room = writer.reserve(ghost.length, ghost.number);
    if (room.status != queues::AppendStatus::kOk) return false;
    room.body.put(std::as_bytes(std::span(ghost.words)).first(ghost.length));
    const std::uint64_t position = writer.commit();
    ghosts[ghost_of(position)] = ghost;
    told.store_release(position);
    return true;
  }
  void make_room(typename Log::Writer& writer) {
    const auto used = static_cast<unsigned>(writer.used_bytes());
    const std::uint64_t to =
        writer.tail() + 1 + (kDice == Dice::kFine ? rl::rand(used) : rl::rand(used / 16) * 16);
    const auto walked = writer.walk(to, [](const auto&) {});
    RL_ASSERT(walked.status == queues::WalkStatus::kDone);
    freed = walked.position;
    RL_ASSERT(writer.advance_tail(walked.position));
  }

  void write() {
    bool taken_over = false;
    typename Log::Writer writer;
    for (int done = 0; done < kAppends;) {
      const std::uint64_t freed_before = freed;
      DyingMemory::armed = true;
      try {
        if (!taken_over) {
          auto taken = Log::Writer::take_over(words, &header);
          RL_ASSERT(taken.has_value());
          writer = *taken;
          taken_over = true;
        }
        if (append_one(writer))
          ++done;
        else
          make_room(writer);
      } catch (const Died&) {
        taken_over = false;
      }
      DyingMemory::armed = false;
      if (taken_over) continue;
      auto found = Log::Writer::take_over(words, &header);
      RL_ASSERT(found.has_value());
      RL_ASSERT(found->tail() == freed || found->tail() == freed_before);
      freed = found->tail();
      const auto walked = found->walk(found->head(), [](const auto&) {});
      RL_ASSERT(walked.status == queues::WalkStatus::kDone);
      RL_ASSERT(walked.position == found->head());
    }
  }

  auto attach() {
    return ReaderLog::Reader::attach({reinterpret_cast<ReaderLog::Word*>(words), kWords},
                                     reinterpret_cast<ReaderLog::Header*>(&header));
  }
  void read_told(const ReaderLog::Reader& reader) {
    const std::uint64_t position = told.load_acquire();
    if (position == kStart - 16) return;
    const Ghost ghost = ghosts[ghost_of(position)];
    std::uint64_t out[2] = {};
    const auto copied = reader.copy(position, std::as_writable_bytes(std::span(out)));
    if (copied.status == queues::BodyStatus::kGone) {
      RL_ASSERT(mesh::before(position, freed));
      return;
    }
    RL_ASSERT(copied.status == queues::BodyStatus::kRead);
    RL_ASSERT(copied.length == ghost.length && copied.kind == ghost.number);
    RL_ASSERT(std::memcmp(out, ghost.words, ghost.length) == 0);
  }
  void read() {
    auto reader = attach();
    RL_ASSERT(reader.has_value());
    for (int look = 0; look < 2; ++look) {
      read_told(*reader);
      RL_ASSERT(reader->verify().has_value());
    }
  }

  void after() {
    auto reader = attach();
    RL_ASSERT(reader.has_value());
    const auto counts = reader->verify();
    RL_ASSERT(counts.has_value());
    RL_ASSERT(header.tail.load_relaxed() == freed);
    read_told(*reader);
  }
};

using LivingLog = LogModel<RelacyMemory, 4, 0>;
using DyingLog = LogModel<DyingMemory, 4, 2>;
// Small enough to be searched to the end: with all lengths and places it was not there after 38
// million schedules.
using SmallLog = LogModel<RelacyMemory, 3, 0, Dice::kCoarse>;

}  // namespace
}  // namespace mesh::testing

int main(int argc, char** argv) {
  using namespace mesh::testing;
  unsigned bound = 0;
  unsigned schedules = 100'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    const unsigned value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (std::string_view(argv[i]) == "--bound") bound = value;
    if (std::string_view(argv[i]) == "--schedules") schedules = value;
  }
  if (bound != 0) return search_to_the_end<SmallLog>(bound);
  return check_every_order<LivingLog, DyingLog>(schedules, {"payload_log_relacy.cpp"});
}
