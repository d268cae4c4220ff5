// The locks between hosts and threads: quorums and votes, Redlock, the bakery.
#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <set>
#include <thread>

#include "engine/coordination/bakery.hpp"
#include "engine/coordination/lock_quorum.hpp"
#include "engine/coordination/redlock.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/lock_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_lock_hosts_test {

using testing::golden;
using testing::Json;
using testing::lock_ms;
using testing::matches;

// --- quorums -----------------------------------------------------------------------------------

bool all_intersect(const std::vector<Quorum>& quorums) {
  for (const auto& a : quorums) {
    for (const auto& b : quorums) {
      const bool meet = std::any_of(a.begin(), a.end(), [&](std::uint32_t one) {
        return std::find(b.begin(), b.end(), one) != b.end();
      });
      if (!meet) return false;
    }
  }
  return true;
}

TEST(LockQuorum, HasTheGoldenSizesAndEveryTwoMeet) {
  const auto [inputs, expected] = golden("lock_manager", "maekawa_quorums");
  Json sizes = Json::array();
  for (const auto& n : inputs.at("grid_n")) {
    std::size_t largest = 0;
    for (const auto& quorum : grid_quorums(n)) largest = std::max(largest, quorum.size());
    sizes.push_back(largest);
  }
  EXPECT_TRUE(matches(expected.at("grid_sizes_max"), sizes));
  for (const auto& [q, shape] : expected.at("pg_q_members_size").items()) {
    const auto lines = projective_plane(static_cast<std::uint32_t>(std::stoul(q)));
    EXPECT_EQ(lines.size(), shape.at(0).get<std::size_t>());
    for (const auto& line : lines) EXPECT_EQ(line.size(), shape.at(1).get<std::size_t>());
    EXPECT_TRUE(all_intersect(lines));
  }
  EXPECT_TRUE(all_intersect(inputs.at("fano").get<std::vector<Quorum>>()));
}

// pitfalls A1: windows of sqrt(N) by hash need not intersect.
TEST(LockQuorum, EveryTwoMeetForEverySize) {
  for (std::uint32_t n = 1; n < 80; ++n) {
    EXPECT_TRUE(all_intersect(maekawa_quorums(n))) << n;
  }
}

// Hosts that ask for the lock again and again over channels that keep order.
class Voters {
 public:
  Voters(std::uint32_t members, std::uint64_t seed)
      : rng_(seed), quorums_(maekawa_quorums(members)), rounds_(members) {
    for (std::uint32_t i = 0; i < members; ++i) {
      arbiters_.emplace_back(i, 1, 0);
      requesters_.emplace_back(i, quorums_[i]);
    }
  }
  // One event: a message arrives, or a host asks or leaves.
  void step() {
    VoteMessages out;
    const auto member = static_cast<std::uint32_t>(rng_.below(requesters_.size()));
    VoteRequester& one = requesters_[member];
    if (rng_.below(4) == 0 && rounds_[member] < 20) {
      if (one.is_inside()) {
        one.release(out);
        ++rounds_[member];
      } else if (!one.is_waiting()) {
        one.request(++clock_, out);
      }
    }
    send(out);
    deliver();
    const auto inside = std::count_if(requesters_.begin(), requesters_.end(),
                                      [](const auto& r) { return r.is_inside(); });
    ASSERT_LE(inside, 1) << "two hosts are inside";
  }
  [[nodiscard]] bool is_done() const {
    return std::all_of(rounds_.begin(), rounds_.end(), [](int n) { return n == 20; });
  }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }

 private:
  void send(const VoteMessages& messages) {
    for (const auto& one : messages) {
      ++sent_;
      channels_[{one.from, one.to}].push_back(one);
    }
  }
  void deliver() {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> full;
    for (const auto& [ends, channel] : channels_) {
      if (!channel.empty()) full.push_back(ends);
    }
    if (full.empty()) return;
    auto& channel = channels_[full[rng_.below(full.size())]];
    const VoteMessage message = channel.front();
    channel.pop_front();
    VoteMessages out;
    const bool to_arbiter = message.kind == VoteMessageKind::request ||
                            message.kind == VoteMessageKind::relinquish ||
                            message.kind == VoteMessageKind::release;
    if (to_arbiter) {
      arbiters_[message.to].receive(message, 0, out);
    } else {
      requesters_[message.to].receive(message, out);
    }
    send(out);
  }

  Rng rng_;
  std::vector<Quorum> quorums_;
  std::vector<VoteArbiter> arbiters_;
  std::vector<VoteRequester> requesters_;
  std::vector<int> rounds_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::deque<VoteMessage>> channels_;
  std::uint64_t clock_ = 0;
  std::uint64_t sent_ = 0;
};

TEST(LockQuorum, LetsOneInAtATimeAndEveryoneInTheEnd) {
  for (const std::uint32_t members : {3U, 7U, 9U, 10U, 13U}) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      SCOPED_TRACE(std::to_string(members) + " members, seed " + std::to_string(seed));
      Voters voters(members, seed);
      for (int i = 0; i < 400'000 && !voters.is_done(); ++i) {
        voters.step();
        if (::testing::Test::HasFatalFailure()) return;
      }
      ASSERT_TRUE(voters.is_done()) << "somebody waits for ever";
      std::size_t asked = 0;  // votes, in twenty rounds of each
      for (const auto& quorum : maekawa_quorums(members)) asked += 20 * quorum.size();
      EXPECT_GE(voters.sent(), 3 * asked);
      EXPECT_LE(voters.sent(), 5 * asked) << "Maekawa's bound, under contention too";
    }
  }
}

TEST(LockQuorum, CostsThreeMessagesAMemberWithoutContention) {
  const auto quorums = maekawa_quorums(13);
  VoteRequester one(0, quorums[0]);
  std::vector<VoteArbiter> arbiters;
  for (std::uint32_t i = 0; i < 13; ++i) arbiters.emplace_back(i, 1, 0);
  VoteMessages asked;
  one.request(1, asked);
  VoteMessages granted;
  for (const auto& message : asked) arbiters[message.to].receive(message, 0, granted);
  VoteMessages none_left;
  for (const auto& message : granted) one.receive(message, none_left);
  EXPECT_TRUE(one.is_inside());
  one.release(none_left);
  EXPECT_EQ(asked.size() + granted.size() + none_left.size(), 3 * quorums[0].size());
}

TEST(LockQuorum, GoesOnWithoutADeadMemberAndLendsNoVoteBeforeItsLeasesAreOver) {
  const auto quorums = maekawa_quorums(7);
  const std::array dead{quorums[0][0]};
  const Quorum other = quorum_without(quorums, dead);
  ASSERT_FALSE(other.empty());
  VoteRequester one(0, quorums[0]);
  VoteMessages out;
  one.request(1, out);
  out.clear();
  one.switch_quorum(other, out);
  VoteMessages answers;
  std::vector<VoteArbiter> arbiters;
  for (std::uint32_t i = 0; i < 7; ++i) arbiters.emplace_back(i, 1, 0);
  for (const auto member : other) {
    arbiters[member].receive({VoteMessageKind::request, 0, member, 1, 0}, 0, answers);
  }
  for (const auto& answer : answers) one.receive(answer, out);
  EXPECT_TRUE(one.is_inside());
  VoteArbiter back(3, 2, 1'000);
  answers.clear();
  back.receive({VoteMessageKind::request, 5, 3, 9, 0}, 999, answers);
  EXPECT_TRUE(answers.empty());
  back.tick(1'000, answers);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].epoch, 2U);
  answers.clear();
  back.receive({VoteMessageKind::request, 6, 3, 10, 0}, 1'001, answers);
  back.member_dead(5, 1'002, answers);
  EXPECT_EQ(back.holder(), 6U) << "a dead holder's vote goes on";
}

// --- redlock -----------------------------------------------------------------------------------

TEST(Redlock, IsValidForTheGoldenTimes) {
  const auto [inputs, expected] = golden("lock_manager", "redlock_validity");
  Json actual = Json::array();
  for (const auto& elapsed : inputs.at("elapsed_ms")) {
    actual.push_back(redlock_validity(lock_ms(inputs.at("lease_ms")), lock_ms(elapsed)).count() /
                     kNsPerMs);
  }
  EXPECT_TRUE(matches(expected, actual));
}

// Clients and five regions over a network that delays, loses and reorders; clients pause.
class Regions {
 public:
  explicit Regions(std::uint64_t seed) : rng_(seed) {
    for (std::uint32_t i = 0; i < 5; ++i) regions_.emplace_back(i);
  }
  void step() {
    now_ += Nanos{static_cast<std::int64_t>(rng_.below(3)) * 100'000};
    if (rng_.below(2'000) == 0) now_ += lock_ms(static_cast<std::int64_t>(rng_.below(2'000)));
    act(static_cast<std::uint32_t>(rng_.below(kClients)));
    deliver();
    for (std::uint32_t k = 0; k < kClients; ++k) {
      const bool is_held = clients_[k].state() == RedlockState::held;
      if (is_held && !was_held_[k]) {
        ASSERT_TRUE(tokens_.insert(clients_[k].token()).second) << clients_[k].token();
      }
      was_held_[k] = is_held;
    }
  }
  [[nodiscard]] std::size_t tokens() const { return tokens_.size(); }

 private:
  static constexpr std::uint32_t kClients = 4;
  struct Flight {
    std::uint32_t client;
    bool to_region;
    RedlockMessage message;
  };
  void act(std::uint32_t client) {
    if (rng_.below(6) != 0) return;
    RedlockMessages out;
    RedlockClient& one = clients_[client];
    if (one.state() == RedlockState::idle) one.lock(++nonce_, now_, out);
    if (rng_.below(8) == 0) one.unlock(out);
    one.tick(now_, out);
    post(client, out);
  }
  void deliver() {
    if (flights_.empty()) return;
    const auto at = rng_.below(flights_.size());
    const Flight flight = flights_[at];
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(at));
    if (rng_.below(12) == 0) return;  // lost
    RedlockMessages out;
    RedlockMessage answer;
    if (!flight.to_region) {
      clients_[flight.client].receive(flight.message, now_, out);
    } else if (regions_[flight.message.region].receive(flight.message, now_, answer)) {
      flights_.push_back({flight.client, false, answer});
    }
    post(flight.client, out);
  }
  void post(std::uint32_t client, const RedlockMessages& out) {
    for (const auto& one : out) flights_.push_back({client, true, one});
  }

  Rng rng_;
  std::vector<RedlockRegion> regions_;
  std::vector<RedlockClient> clients_{kClients, RedlockClient(5, lock_ms(1'000))};
  std::vector<Flight> flights_;
  std::set<std::uint64_t> tokens_;
  std::vector<bool> was_held_ = std::vector<bool>(kClients);
  std::uint64_t nonce_ = 0;
  Nanos now_{0};
};

TEST(Redlock, GivesNoTwoHoldersOneTokenHoweverTheyArePaused) {
  Regions regions(mesh::testing::seed());
  for (int i = 0; i < 200'000; ++i) {
    regions.step();
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(regions.tokens(), 20U);
}

// pitfalls A1: a vote is bound to who asked.
TEST(Redlock, ARegionWritesNoTokenForAnyoneButItsOwner) {
  RedlockRegion region(0);
  RedlockMessage answer;
  region.receive({RedlockKind::lock, 0, 7, 0, lock_ms(100)}, Nanos{0}, answer);
  EXPECT_EQ(answer.kind, RedlockKind::locked);
  region.receive({RedlockKind::lock, 0, 8, 0, lock_ms(100)}, Nanos{0}, answer);
  EXPECT_EQ(answer.kind, RedlockKind::refused);
  region.receive({RedlockKind::write, 0, 8, 5, {}}, Nanos{0}, answer);
  EXPECT_EQ(answer.kind, RedlockKind::refused);
  region.receive({RedlockKind::write, 0, 7, 5, {}}, lock_ms(100), answer);
  EXPECT_EQ(answer.kind, RedlockKind::refused) << "its lease is over";
  EXPECT_EQ(region.token(), 0U);
}

TEST(Redlock, ReleasesEverywhereWhatItCannotHave) {
  RedlockClient client(5, lock_ms(10'000));
  RedlockMessages out;
  client.lock(1, Nanos{0}, out);
  out.clear();
  for (std::uint32_t i = 0; i < 5; ++i) {
    client.receive({i < 2 ? RedlockKind::locked : RedlockKind::refused, i, 1, 9, {}}, lock_ms(150),
                   out);
  }
  EXPECT_EQ(client.state(), RedlockState::idle);
  EXPECT_EQ(out.size(), 5U);
  out.clear();
  client.lock(2, lock_ms(200), out);
  client.receive({RedlockKind::locked, 0, 2, 9, {}}, lock_ms(300), out);
  client.tick(lock_ms(10'150), out);
  EXPECT_EQ(client.state(), RedlockState::idle) << "too late, and too few";
}

TEST(Redlock, WaitsAFiftiethOfItsLeaseForRegionsThatAreSilent) {
  RedlockClient client(5, lock_ms(10'000));
  RedlockMessages out;
  client.lock(1, Nanos{0}, out);
  out.clear();
  for (std::uint32_t i = 0; i < 3; ++i) {
    client.receive({RedlockKind::locked, i, 1, 4 + i, {}}, lock_ms(10), out);
  }
  client.tick(lock_ms(199), out);
  EXPECT_EQ(client.state(), RedlockState::locking);
  EXPECT_TRUE(out.empty());
  client.tick(lock_ms(200), out);
  EXPECT_EQ(client.state(), RedlockState::writing) << "three of five are enough";
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[0].token, 7U) << "one above the highest";
  out.clear();
  for (std::uint32_t i = 0; i < 2; ++i) {
    client.receive({RedlockKind::written, i, 1, 7, {}}, lock_ms(210), out);
  }
  client.tick(lock_ms(399), out);
  EXPECT_EQ(client.state(), RedlockState::writing);
  client.tick(lock_ms(400), out);
  EXPECT_EQ(client.state(), RedlockState::idle) << "two are too few, and the third is silent";
}

// --- bakery ------------------------------------------------------------------------------------

struct PlainWords {
  std::array<bool, 3> choosing_{};
  std::array<std::uint64_t, 3> number_{};
  [[nodiscard]] bool choosing(std::uint32_t i) const { return choosing_[i]; }
  [[nodiscard]] std::uint64_t number(std::uint32_t i) const { return number_[i]; }
  void set_choosing(std::uint32_t i, bool value) { choosing_[i] = value; }
  void set_number(std::uint32_t i, std::uint64_t value) { number_[i] = value; }
};

// Every interleaving of n participants that each enter `rounds` times.
class BakeryWalk {
 public:
  BakeryWalk(std::uint32_t count, int rounds) : count_(count), rounds_(rounds) {}

  struct Point {
    PlainWords words;
    std::vector<BakeryParticipant<PlainWords>> all;
    std::vector<int> left;
    std::vector<std::uint32_t> promised;  // by participant: who must not enter before it
  };
  void run() {
    seen_.clear();
    walk({});
  }
  [[nodiscard]] std::size_t states() const { return seen_.size(); }

 private:
  // A point is replayed from the choices that lead to it: participants hold a pointer.
  void play(Point& at, const std::vector<std::uint32_t>& choices) const {
    for (std::uint32_t i = 0; i < count_; ++i) at.all.emplace_back(at.words, i, count_);
    at.left.assign(count_, rounds_);
    at.promised.assign(count_, 0);
    for (const auto who : choices) move(at, who);
  }
  void move(Point& at, std::uint32_t who) const {
    auto& one = at.all[who];
    if (one.is_inside()) {
      one.leave();
      --at.left[who];
      at.promised[who] = 0;
      return;
    }
    const bool starts = one.is_outside();
    if (one.step()) {
      for (auto& promise : at.promised) promise &= ~(1U << who);
    }
    if (!starts) return;
    // Those that are through the doorway when it begins to choose go first.
    at.promised[who] = 0;
    for (std::uint32_t other = 0; other < count_; ++other) {
      const auto& ahead = at.all[other];
      if (other != who && ahead.is_through_doorway() && !ahead.is_inside()) {
        at.promised[who] |= 1U << other;
      }
    }
  }
  void walk(std::vector<std::uint32_t> choices) {
    Point at;
    play(at, choices);
    check(at);
    if (::testing::Test::HasFatalFailure() || !seen_.insert(key_of(at)).second) return;
    for (std::uint32_t who = 0; who < count_; ++who) {
      if (at.left[who] == 0 && at.all[who].is_outside()) continue;
      choices.push_back(who);
      walk(choices);
      choices.pop_back();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  void check(const Point& at) const {
    std::uint32_t inside = 0;
    for (std::uint32_t who = 0; who < count_; ++who) {
      if (!at.all[who].is_inside()) continue;
      ++inside;
      for (std::uint32_t other = 0; other < count_; ++other) {
        const bool waits = at.all[other].is_through_doorway() && !at.all[other].is_inside();
        ASSERT_FALSE((at.promised[who] >> other & 1U) != 0 && waits)
            << "overtaken after the doorway";
      }
    }
    ASSERT_LE(inside, 1U) << "two inside";
  }
  std::vector<std::uint64_t> key_of(const Point& at) const {
    std::vector<std::uint64_t> key;
    for (std::uint32_t i = 0; i < count_; ++i) {
      key.push_back(at.all[i].state());
      key.push_back(at.words.number_[i] << 1 | (at.words.choosing_[i] ? 1U : 0U));
      key.push_back(static_cast<std::uint64_t>(at.left[i]) << 8 | at.promised[i]);
    }
    return key;
  }

  std::uint32_t count_;
  int rounds_;
  std::set<std::vector<std::uint64_t>> seen_;
};

TEST(Bakery, LetsOneInAndInTheOrderOfTheDoorwayInEveryInterleavingOfTwo) {
  BakeryWalk walk(2, 2);
  walk.run();
  EXPECT_GT(walk.states(), 200U);
}

TEST(Bakery, LetsOneInAndInTheOrderOfTheDoorwayInEveryInterleavingOfThree) {
  BakeryWalk walk(3, 1);
  walk.run();
  EXPECT_GT(walk.states(), 1'000U);
}

TEST(Bakery, LetsOneOfEightThreadsInAtATime) {
  BakeryLock bakery(8);
  std::atomic<int> guests{0};
  std::atomic<bool> clash{false};
  std::uint64_t sum = 0;  // guarded by the lock
  std::vector<std::thread> threads;
  for (std::uint32_t self = 0; self < 8; ++self) {
    threads.emplace_back([&, self] {
      for (int i = 0; i < 200; ++i) {
        bakery.lock(self);
        if (guests.fetch_add(1, std::memory_order_seq_cst) != 0) {
          clash.store(true, std::memory_order_seq_cst);
        }
        ++sum;
        guests.fetch_sub(1, std::memory_order_seq_cst);
        bakery.unlock(self);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(clash.load(std::memory_order_seq_cst));
  EXPECT_EQ(sum, 1'600U);
}

}  // namespace of_lock_hosts_test
}  // namespace mesh::coordination
