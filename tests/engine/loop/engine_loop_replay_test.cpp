// One seed, one history: every byte that a loop leaves in every memory.
#include <random>

#include "engine/loop/engine_loop.hpp"
#include "shm/hash.hpp"
#include "tests/engine/loop/loop_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_engine_loop_replay_test {

using sched::RecordKind;
using sched::TrinaryState;
using testing::LoopFixture;
using testing::Memory;
using testing::RawStation;

constexpr std::int64_t kMs = kNsPerMs;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Stations that answer in any state or not at all, and send messages of both kinds, some that
// expire; then one of them is lost, comes back, and the engine is another one.
class Replay {
 public:
  explicit Replay(std::uint64_t seed) : random_(seed) {
    for (std::uint16_t number = 1; number <= 3; ++number) add(number, number);
  }
  // Every byte of every memory, and what stations were given.
  std::uint64_t run() {
    go_on();
    mesh_.lose(3);
    go_on();
    add(4, 3);
    go_on();
    mesh_.restart();
    go_on();
    for (Memory* memory : {&mesh_.table, &mesh_.payload, &mesh_.engine}) add_to_hash(*memory);
    for (auto& station : mesh_.stations) {
      add_to_hash(station->in);
      add_to_hash(station->out);
    }
    const auto& counters = mesh_.loop->counters();
    EXPECT_GT(counters.answers, 0U);
    EXPECT_TRUE(mesh_.loop->verify());
    return hash_;
  }

 private:
  void add(std::uint16_t number, std::uint16_t whose) {
    mesh_.add(number, 100, "s" + std::to_string(whose),
              static_cast<sched::AgentClass>(random_() % 5));
  }
  void go_on() {
    mesh_.run(750 * kMs, kMs, [&] {
      if (random_() % 500 == 0) (void)mesh_.loop->open({}, from_ns(mesh_.now_ns));
      for (auto& station : mesh_.stations) turn_of(*station);
    });
  }
  void turn_of(RawStation& station) {
    for (const auto& delivery : station.poll(random_() % 50)) {
      hash_ = hash_ * 31 + static_cast<std::uint64_t>(delivery.target) +
              static_cast<std::uint64_t>(delivery.sent_ns);
      if (delivery.kind != RecordKind::message || random_() % 20 == 0) continue;
      const auto state = random_() % 50 == 0   ? TrinaryState::conflict
                         : random_() % 50 == 0 ? TrinaryState::transit
                                               : TrinaryState::ready;
      station.answer(delivery, state, mesh_.now_ns);
    }
    if (random_() % 3 != 0) return;
    const AgentId from = mesh_.ids[static_cast<std::uint16_t>(station.number)][random_() % 100];
    const AgentId to = mesh_.ids[static_cast<std::uint16_t>(1 + random_() % 3)][random_() % 100];
    if (random_() % 2 == 0) {
      station.send_bare(from, to, bytes("hi"), mesh_.now_ns);
    } else {
      const std::string body(1 + random_() % 2'000, 'b');
      station.send({.source = from,
                    .target = static_cast<std::uint64_t>(to),
                    .priority = static_cast<sched::Priority>(random_() % 4),
                    .created_ns = mesh_.now_ns,
                    .ttl_ms = random_() % 4 == 0 ? 20U : 0U,
                    .body = bytes(body)});
    }
  }
  void add_to_hash(Memory& memory) {
    const auto all = memory.span();
    hash_ = hash_ * 31 + shm::hash64({reinterpret_cast<const char*>(all.data()), all.size()});
  }

  std::mt19937_64 random_;
  LoopFixture mesh_{300, 4};
  std::uint64_t hash_ = 0;
};
std::uint64_t history_of(std::uint64_t seed) { return Replay(seed).run(); }

TEST(EngineLoop, TheSameSeedReplaysToTheSameBytes) {
  EXPECT_EQ(history_of(testing::seed()), history_of(testing::seed()));
  EXPECT_NE(history_of(testing::seed()), history_of(testing::seed() + 1));
}

}  // namespace of_engine_loop_replay_test
}  // namespace mesh::engine
