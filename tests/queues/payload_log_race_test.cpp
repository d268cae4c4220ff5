// A reader lapped at every one of its accesses, by every kind of overwriting: it says kGone, or
// gives the whole body. Then the same with threads, for the sanitizer.
#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "tests/queues/payload_log_fixture.hpp"
#include "tests/sanitizers.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_payload_log_race_test {

using testing::HostLog;
using testing::SharedLog;

// Calls something just before the k-th load.
struct Interruption {
  std::uint64_t loads = 0;
  std::uint64_t at = 0;
  std::function<void()> act;
};
Interruption interruption;

struct InterruptedMemory : HostMemory {
  template <class T>
  struct Word {
    ShmWord<T> word;
    [[nodiscard]] T load_relaxed() const { return interrupt(), word.load_relaxed(); }
    [[nodiscard]] T load_acquire() const { return interrupt(), word.load_acquire(); }
    void store_relaxed(T value) { word.store_relaxed(value); }
    void store_release(T value) { word.store_release(value); }

   private:
    static void interrupt() {
      if (++interruption.loads == interruption.at) interruption.act();
    }
  };
};
using InterruptedLog = PayloadLog<InterruptedMemory>;

struct Overwriting {
  const char* name;
  std::function<void(SharedLog&, HostLog::Writer&)> act;
};
const Overwriting kOverwritings[] = {
    {"freed, not overwritten", [](SharedLog&, HostLog::Writer&) {}},
    {"half built",
     [](SharedLog&, HostLog::Writer& writer) {
       auto room = writer.reserve(112, 7);
       room.body.put(testing::make_body(99, 60));
     }},
    {"one entry", [](SharedLog& log, HostLog::Writer& writer) { log.append(writer, 40); }},
    {"a lap",
     [](SharedLog& log, HostLog::Writer& writer) {
       for (int i = 0; i < 7; ++i) log.append(writer, 40);
     }},
    {"an entry of the same length at the same place",
     [](SharedLog& log, HostLog::Writer& writer) {
       while (writer.head() % 256 != 192) log.append(writer, 0);
       log.append(writer, 48);
     }},
    {"bytes that look like the entry",
     [](SharedLog&, HostLog::Writer& writer) {
       const std::uint64_t like[] = {48, 192 + 1, 48, 192 + 1, 48, 192 + 1, 48, 192 + 1};
       for (int i = 0; i < 4; ++i) {
         ASSERT_TRUE(writer.advance_tail(writer.head()));
         ASSERT_EQ(writer.append(std::as_bytes(std::span(like)), 48).status, AppendStatus::kOk);
       }
     }},
};

TEST(PayloadLogRace, AReaderLappedAtAnyLoadSaysGone) {
  for (const Overwriting& overwriting : kOverwritings) {
    for (std::uint64_t at = 1;; ++at) {
      SCOPED_TRACE(::testing::Message() << overwriting.name << ", load " << at);
      SharedLog log(256, 192);
      auto writer = log.take_over().value();
      log.append(writer, 48);
      const auto reader = log.attach<InterruptedLog>().value();
      std::vector<std::byte> out(48);
      interruption = {0, at, [&] {
                        ASSERT_TRUE(writer.advance_tail(writer.head()));
                        overwriting.act(log, writer);
                      }};
      const auto copied = reader.copy(192, out);
      if (interruption.loads < at) {
        EXPECT_EQ(copied.status, BodyStatus::kRead);
        EXPECT_TRUE(testing::is_body(out, 0));
        EXPECT_GT(at, 9U);
        break;
      }
      EXPECT_EQ(copied.status, BodyStatus::kGone);
    }
  }
}

TEST(PayloadLogRace, AWalkOverALogInUsePassesOverWhatIsFreed) {
  for (const Overwriting& overwriting : kOverwritings) {
    for (std::uint64_t at = 1;; ++at) {
      SCOPED_TRACE(::testing::Message() << overwriting.name << ", load " << at);
      SharedLog log(256, 192);
      auto writer = log.take_over().value();
      for (int i = 0; i < 3; ++i) log.append(writer, 48);
      const auto reader = log.attach<InterruptedLog>().value();
      interruption = {0, at, [&] {
                        ASSERT_TRUE(writer.advance_tail(writer.head()));
                        overwriting.act(log, writer);
                      }};
      const auto counts = reader.verify();
      ASSERT_TRUE(counts) << counts.error().sentence;
      if (interruption.loads < at) break;
    }
  }
}

// One writer that laps all the time, readers that read what they are told.
struct LappedLog {
  static constexpr std::uint64_t kTold = 64;
  LappedLog() {
    for (std::uint32_t number = 0; number < 64; ++number)
      bodies.push_back(testing::make_body(number, number * 13 % 300));
  }
  // Reads until it has looked so often.
  void read(std::uint64_t looks, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto reader = log.attach().value();
    std::vector<std::byte> out(2048);
    for (std::uint64_t i = 0; i < looks; ++i) {
      const std::uint64_t position = told[random() % kTold].load(std::memory_order_acquire);
      if (position == 0) {
        std::this_thread::yield();
        continue;
      }
      const auto copied = reader.copy(position, out);
      if (copied.status == BodyStatus::kGone) continue;
      const bool is_whole =
          copied.status == BodyStatus::kRead && copied.kind < bodies.size() &&
          std::ranges::equal(std::span(out).first(copied.length), bodies[copied.kind]);
      (is_whole ? whole : wrong).fetch_add(1, std::memory_order_relaxed);
      if (i % 1024 == 0 && !reader.verify()) wrong.fetch_add(1, std::memory_order_relaxed);
    }
    finished.fetch_add(1, std::memory_order_release);
  }
  // Appends until so many readers have finished.
  void write(unsigned readers, std::uint64_t seed) {
    auto writer = log.take_over().value();
    std::mt19937_64 random(seed);
    for (std::uint64_t i = 0; finished.load(std::memory_order_acquire) < readers; ++i) {
      const auto number = static_cast<std::uint32_t>(random() % bodies.size());
      auto done = writer.append(bodies[number], number);
      if (done.status == AppendStatus::kFull) {
        const auto walked = writer.walk(writer.tail() + done.bytes_short, [](const auto&) {});
        ASSERT_TRUE(writer.advance_tail(walked.position));
        done = writer.append(bodies[number], number);
      }
      ASSERT_EQ(done.status, AppendStatus::kOk);
      told[i % kTold].store(done.position, std::memory_order_release);
      if (i % 4096 == 0) std::this_thread::yield();
    }
  }

  SharedLog log{4096, std::uint64_t{0} - (std::uint64_t{1} << 20)};
  std::vector<std::vector<std::byte>> bodies;
  std::array<std::atomic<std::uint64_t>, kTold> told{};  // positions; 0: none yet
  std::atomic<unsigned> finished{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> whole{0};
};

TEST(PayloadLogRace, NeverShowsATornBody) {
  constexpr std::uint64_t kLooks = testing::kSlowBuild ? 30'000 : 300'000;
  constexpr unsigned kReaders = 2;
  LappedLog lapped;
  std::vector<std::thread> readers;
  for (unsigned id = 0; id < kReaders; ++id)
    readers.emplace_back([&, id] { lapped.read(kLooks, testing::seed() + id); });
  lapped.write(kReaders, testing::seed());
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(lapped.wrong.load(std::memory_order_relaxed), 0U);
  EXPECT_GT(lapped.whole.load(std::memory_order_relaxed), 100U);
}

}  // namespace of_payload_log_race_test
}  // namespace mesh::queues
