#include "engine/coordination/exactly_once_queue.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination {
namespace of_exactly_once_queue_test {

using testing::by;
using testing::bytes;
using testing::done;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::queue_trace;
using testing::seconds;
using testing::small_queue;
using testing::task;

std::string claimed(ExactlyOnceQueue& queue, const std::string& worker, Nanos now,
                    std::uint32_t station = 1) {
  const auto reply = queue.apply(by(worker, station), now);
  return reply.tasks.empty() ? "" : reply.tasks.front().id;
}

// --- goldens -----------------------------------------------------------------------------------

Json play(ExactlyOnceQueue& queue, const Json& step) {
  const std::string verb = step.at(0);
  const Nanos now{step.back().get<std::int64_t>()};
  if (verb == "tick") {
    const auto before = queue.counters().expired;
    ExactlyOnceQueueActions actions;
    queue.tick(now, actions);
    return {{"moved", queue.counters().expired - before}};
  }
  ExactlyOnceQueue::Command command;
  if (verb == "enqueue") command = task(step.at(1), std::to_string(step.at(2).get<int>()));
  if (verb == "claim") command = by(step.at(1));
  if (verb == "renew") command = once::Renew{step.at(1), step.at(2), Nanos{0}};
  if (verb == "complete") command = done(step.at(1), step.at(2));
  const auto reply = queue.apply(command, now);
  Json json{{"status", name_of(reply.code)}};
  if (reply.code == Errc::duplicate) json["state"] = to_string(reply.state);
  if (verb == "renew") json["expires"] = reply.expires.count();
  if (verb != "claim") return json;
  if (reply.tasks.empty()) return {{"status", "not_found"}};
  const auto& first = reply.tasks.front();
  json.update({{"task", first.id},
               {"fence", first.fence},
               {"attempt", first.attempt},
               {"expires", first.expires.count()}});
  return json;
}

TEST(ExactlyOnceQueue, PlaysTheGoldenTraces) {
  for (const char* name :
       {"lease_and_fence", "dead_after_third_expiry", "late_completion_with_current_fence"}) {
    SCOPED_TRACE(name);
    const auto [inputs, expected] = golden("exactly_once_queue", name);
    auto config = small_queue();
    config.visibility_ns = Nanos{inputs.at("visibility_ns").get<std::int64_t>()};
    config.attempts_max = inputs.at("attempts_max");
    ExactlyOnceQueue queue(config);
    Json actual = Json::array();
    for (const auto& step : inputs.at("steps")) actual.push_back(play(queue, step));
    EXPECT_TRUE(matches(expected, actual));
  }
}

TEST(BloomFilter, HasTheGoldenSizes) {
  const auto [inputs, expected] = golden("exactly_once_queue", "bloom_sizes");
  Json filters = Json::array();
  for (const auto& row : inputs.at("items_rate")) {
    const auto shape = BloomShape::of(row.at(0), row.at(1));
    filters.push_back({{"bits", shape.bits}, {"hashes", shape.hashes}, {"rate", shape.rate}});
  }
  EXPECT_TRUE(matches(expected.at("filters"), filters));
  EXPECT_TRUE(matches(expected.at("two_generations_of_0.001"), 1 - (1 - .001) * (1 - .001)));
}

TEST(BloomFilter, NeverCallsAnIdNewThatItWasGivenWithinAGeneration) {
  const auto shape = BloomShape::of(10'000, 0.01);
  BloomFilter filter(shape);
  const auto id = [](std::uint64_t i) { return hash_of(i, 0); };
  for (std::uint64_t i = 0; i < 10'000; ++i) filter.add(id(i));
  filter.rotate();
  for (std::uint64_t i = 0; i < 10'000; ++i) ASSERT_TRUE(filter.may_contain(id(i)));
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 10'000; i < 110'000; ++i) wrong += filter.may_contain(id(i)) ? 1U : 0U;
  EXPECT_LT(wrong, 1'300U) << "of 100,000, at a rate of 0.01";
  filter.rotate();
  EXPECT_FALSE(filter.may_contain(id(1)) && filter.may_contain(id(2)) && filter.may_contain(id(3)));
}

TEST(SequenceWindow, JudgesTheGoldenSequences) {
  const auto [inputs, expected] = golden("exactly_once_queue", "producer_seq_window");
  SequenceWindow window;
  Json actual = Json::array();
  for (const auto& sequence : inputs.at("sequences")) {
    actual.push_back(name_of(window.accept(sequence.get<std::uint64_t>())));
  }
  EXPECT_TRUE(matches(expected, actual));
}

// --- refusals ----------------------------------------------------------------------------------

TEST(ExactlyOnceQueue, RefusesBadInputAndChangesNothing) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(task("a"), Nanos{0});
  const auto fence = queue.apply(by("w"), Nanos{0}).tasks.at(0).fence;
  auto far = task("b");
  far.priority = 4;
  auto late = task("b");
  late.delay = Nanos{-1};
  testing::expect_all_refused<ExactlyOnceQueue>(
      queue, {{"empty id", task(""), Errc::invalid_id},
              {"oversize id", task(std::string(129, 'x')), Errc::invalid_id},
              {"id that is not UTF-8", task("\xff"), Errc::invalid_id},
              {"oversize payload", task("b", std::string(1'001, 'x'))},
              {"priority that is not there", far},
              {"delay below zero", late},
              {"time below zero", task("b"), Errc::invalid_argument, Nanos{-1}},
              {"same id and payload", task("a"), Errc::duplicate},
              {"same id, other payload", task("a", "else"), Errc::conflict},
              {"claim by nobody", by(""), Errc::invalid_id},
              {"claim of none", once::Claim{"w", 1, 0, false}},
              {"claim of too many", once::Claim{"w", 1, 9, false}},
              {"completion of nothing", done("z", 1), Errc::not_found},
              {"completion without a fence", done("a", 0), Errc::stale_token},
              {"completion with a fence to come", done("a", fence + 1), Errc::stale_token},
              {"renewal beyond 12 h", once::Renew{"a", fence, seconds(50'000)}},
              {"renewal of nothing", once::Renew{"z", fence, Nanos{0}}, Errc::not_found},
              {"nack with an old fence", once::Nack{"a", 0, false, Nanos{0}}, Errc::stale_token},
              {"release with an old fence", once::Release{"a", 9}, Errc::stale_token},
              {"begin with an old fence", once::Begin{"a", 9}, Errc::stale_token},
              {"redrive of what lives", once::Redrive{"a", 1}, Errc::wrong_state},
              {"purge of what lives", once::Purge{"a"}, Errc::wrong_state},
              {"a worker that is not there", once::RemoveWorker{"z"}, Errc::not_found}});
}

TEST(ExactlyOnceQueue, NamesTheFieldThatIsOutOfRange) {
  auto config = small_queue();
  config.visibility_ns = Nanos{1};
  EXPECT_EQ(ExactlyOnceQueue::validate(config).error().code, Errc::invalid_config);
  config = ExactlyOnceQueueConfig{};
  config.expected_rate_per_s = 278;
  EXPECT_NE(ExactlyOnceQueue::validate(config).error().sentence.find("dedup_capacity"),
            std::string::npos);
  for (const auto name : ExactlyOnceQueueConfig::names()) {
    EXPECT_TRUE(ExactlyOnceQueue::validate(ExactlyOnceQueueConfig::preset(name).value())) << name;
  }
  EXPECT_EQ(ExactlyOnceQueueConfig::preset("fast").error().code, Errc::unknown_preset);
}

TEST(ExactlyOnceQueue, RefusesIdsBeyondItsMemoryAndSaysUntilWhen) {
  auto config = small_queue();
  config.capacity = 2;
  config.dedup_capacity = 2;
  ExactlyOnceQueue queue(config);
  for (const char* id : {"a", "b"}) {
    queue.apply(task(id), seconds(1));
    queue.apply(done(id, queue.apply(by("w"), seconds(1)).tasks.at(0).fence), seconds(1));
  }
  const auto full = queue.apply(task("c"), seconds(2));
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after, seconds(599));
  EXPECT_EQ(queue.apply(task("c"), seconds(601)).code, Errc::ok);
  EXPECT_EQ(queue.apply(task("a"), seconds(601)).code, Errc::ok) << "its window is over";
}

TEST(ExactlyOnceQueue, RemembersMoreIdsThanItCouldKeepNamesOf) {
  auto config = small_queue();
  config.dedup_capacity = 1'000;
  ExactlyOnceQueue queue(config);
  for (int i = 0; i < 1'000; ++i) {
    const std::string id = "t" + std::to_string(i);
    ASSERT_EQ(queue.apply(task(id), Nanos{0}).code, Errc::ok) << i;
    ASSERT_EQ(
        queue.apply(done(id, queue.apply(by("w"), Nanos{0}).tasks.at(0).fence), Nanos{0}).code,
        Errc::ok);
  }
  EXPECT_EQ(queue.apply(task("t0"), Nanos{1}).code, Errc::duplicate);
  EXPECT_EQ(queue.apply(task("new"), Nanos{1}).code, Errc::capacity);
}

// --- behaviour ---------------------------------------------------------------------------------

TEST(ExactlyOnceQueue, AnswersADuplicateWithTheFirstOnesResult) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(task("a"), Nanos{0});
  const auto fence = queue.apply(by("w"), Nanos{0}).tasks.at(0).fence;
  queue.apply(once::Complete{"a", fence, bytes("42")}, Nanos{1});
  const auto again = queue.apply(task("a"), Nanos{2});
  EXPECT_EQ(again.code, Errc::duplicate);
  EXPECT_EQ(again.state, TaskState::completed);
  EXPECT_EQ(again.result, bytes("42"));
}

TEST(ExactlyOnceQueue, ServesTheMoreUrgentFirstAndRaisesWhatWaits) {
  ExactlyOnceQueue queue(small_queue());
  auto urgent = task("urgent");
  urgent.priority = 1;
  queue.apply(task("old"), seconds(0));
  queue.apply(urgent, seconds(1));
  EXPECT_EQ(claimed(queue, "w", seconds(2)), "urgent");
  auto second = task("second");
  second.priority = 1;
  queue.apply(second, seconds(9));
  EXPECT_EQ(claimed(queue, "w", seconds(10)), "old") << "ten seconds are a level";
}

TEST(ExactlyOnceQueue, DelaysAndForgetsByTtl) {
  ExactlyOnceQueue queue(small_queue());
  auto later = task("later");
  later.delay = seconds(5);
  auto brief = task("brief");
  brief.ttl = seconds(3);
  brief.delay = seconds(4);
  queue.apply(later, seconds(0));
  queue.apply(brief, seconds(0));
  EXPECT_EQ(claimed(queue, "w", seconds(4.9)), "");
  EXPECT_EQ(queue.inspect("brief").reason, DeathReason::expired_ttl);
  EXPECT_EQ(claimed(queue, "w", seconds(5)), "later");
}

TEST(ExactlyOnceQueue, KillsATaskThatSeesThreeStationsDie) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(task("a"), Nanos{0});
  for (std::uint32_t station : {1U, 1U, 2U, 3U}) {
    EXPECT_EQ(queue.inspect("a").state, TaskState::ready);
    claimed(queue, "w" + std::to_string(station), Nanos{1}, station);
    queue.apply(once::StationClosed{station}, Nanos{2});
  }
  EXPECT_EQ(queue.inspect("a").reason, DeathReason::poison);
  EXPECT_EQ(queue.apply(once::Redrive{"", 5}, Nanos{3}).count, 1U);
  EXPECT_EQ(claimed(queue, "w", Nanos{4}), "a");
}

TEST(ExactlyOnceQueue, CountsNoAttemptForAClaimAheadThatNobodyBegan) {
  ExactlyOnceQueue queue(small_queue());
  for (const char* id : {"a", "b"}) queue.apply(task(id), Nanos{0});
  const auto held = queue.apply(once::Claim{"w", 1, 2, true}, Nanos{0});
  ASSERT_EQ(held.tasks.size(), 2U);
  queue.apply(once::Begin{"a", held.tasks[0].fence}, Nanos{1});
  queue.apply(once::StationClosed{1}, Nanos{2});
  const auto next = queue.apply(once::Claim{"x", 2, 2, false}, Nanos{3});
  std::map<std::string, std::uint32_t> attempts;
  for (const auto& one : next.tasks) attempts[one.id] = one.attempt;
  EXPECT_EQ(attempts, (std::map<std::string, std::uint32_t>{{"a", 2}, {"b", 1}}));
}

TEST(ExactlyOnceQueue, PrefersTheKeysWorkerForASecond) {
  auto config = small_queue();
  config.affinity = Affinity::prefer;
  ExactlyOnceQueue queue(config);
  for (const char* worker : {"w1", "w2"}) EXPECT_EQ(claimed(queue, worker, Nanos{0}), "");
  auto keyed = task("a");
  keyed.affinity_key = "shard-a";
  queue.apply(keyed, Nanos{0});
  const std::string first = claimed(queue, "w1", Nanos{0});
  const std::string other = first.empty() ? "w1" : "w2";
  if (first.empty()) {
    EXPECT_EQ(claimed(queue, "w2", Nanos{0}), "a");
  }
  auto second = task("b");
  second.affinity_key = "shard-a";
  queue.apply(second, Nanos{0});
  EXPECT_EQ(claimed(queue, other, seconds(.9)), "");
  EXPECT_EQ(claimed(queue, other, seconds(1)), "b");
}

TEST(ExactlyOnceQueue, TakesAProducersSequenceOnceHoweverOld) {
  auto config = small_queue();
  config.dedup_mode = DedupMode::producer_seq;
  ExactlyOnceQueue queue(config);
  const auto send = [&](std::uint32_t epoch, std::uint64_t sequence, Nanos now) {
    auto one = task(std::to_string(epoch) + "/" + std::to_string(sequence));
    one.producer = 7;
    one.epoch = epoch;
    one.sequence = sequence;
    const auto code = queue.apply(one, now).code;
    const auto held = queue.apply(by("w"), now);
    for (const auto& claimed : held.tasks) queue.apply(done(claimed.id, claimed.fence), now);
    return code;
  };
  for (std::uint64_t i = 1; i <= 200; ++i) ASSERT_EQ(send(1, i, Nanos{0}), Errc::ok) << i;
  EXPECT_EQ(send(1, 1, seconds(1e6)), Errc::duplicate) << "long after every id is forgotten";
  EXPECT_EQ(send(1, 5'000, seconds(1e6)), Errc::ok);
  EXPECT_EQ(send(1, 200, seconds(1e6)), Errc::stale_token) << "below the window";
  EXPECT_EQ(send(2, 1, seconds(1e6)), Errc::ok) << "a new life of the producer";
  EXPECT_EQ(send(1, 6'000, seconds(1e6)), Errc::stale_token) << "the life before";
  EXPECT_TRUE(queue.verify());
}

// --- properties --------------------------------------------------------------------------------

// A random life of a queue, watched from outside.
class Life {
 public:
  explicit Life(const ExactlyOnceQueueConfig& config) : queue(config) {}

  void step(int i) {
    now_ += seconds(*rc::gen::inRange(0, 12));
    station_ = *rc::gen::inRange<std::uint32_t>(1, 4);
    const int what = *rc::gen::inRange(0, 8);
    if (what < 2) return enqueue(i);
    if (what < 5) return claim();
    if (what == 5) {
      queue.apply(once::StationClosed{station_}, now_);
    } else if (!held_.empty()) {
      report(held_[*rc::gen::inRange<std::size_t>(0, held_.size())]);
    }
  }
  // Of one key at most one task is leased.
  bool flies_one_a_key() const {
    std::map<char, std::set<std::string>> flying;
    for (const auto& one : held_) {
      if (queue.inspect(one.id).state == TaskState::leased) flying[one.id[0]].insert(one.id);
    }
    return std::all_of(flying.begin(), flying.end(),
                       [](const auto& key) { return key.second.size() == 1; });
  }

  ExactlyOnceQueue queue;

 private:
  void enqueue(int i) {
    auto one = task(std::string(1, "abc"[*rc::gen::inRange(0, 3)]) + std::to_string(i));
    one.affinity_key = one.id.substr(0, 1);
    one.priority = *rc::gen::inRange<std::uint32_t>(0, 4);
    one.delay = seconds(*rc::gen::element(0, 0, 7));
    one.ttl = seconds(*rc::gen::element(0, 0, 50));
    queue.apply(one, now_);
  }
  void claim() {
    const auto reply = queue.apply(by("w" + std::to_string(station_), station_), now_);
    for (const auto& one : reply.tasks) {
      RC_ASSERT(one.fence > last_fence_);
      last_fence_ = one.fence;
      held_.push_back(one);
    }
  }
  void report(const ClaimedTask& one) {
    if (*rc::gen::inRange(0, 4) == 0) {
      queue.apply(once::Nack{one.id, one.fence, false, Nanos{0}}, now_);
      return;
    }
    const auto before = queue.counters().completed;
    queue.apply(done(one.id, one.fence), now_);
    commits_[one.id] += queue.counters().completed - before;
    RC_ASSERT(commits_[one.id] <= 1U);
  }

  Nanos now_{0};
  std::uint32_t station_ = 1;
  std::uint64_t last_fence_ = 0;
  std::vector<ClaimedTask> held_;
  std::map<std::string, std::uint64_t> commits_;
};

RC_GTEST_PROP(ExactlyOnceQueue, CommitsEachTaskOnceAndFliesOneOfAStrictKey, ()) {
  auto config = small_queue();
  config.affinity = *rc::gen::element(Affinity::none, Affinity::prefer, Affinity::strict);
  config.preserve_order = *rc::gen::arbitrary<bool>();
  config.bloom_rate_ppm = *rc::gen::element(0U, 1'000U);
  config.attempts_max = 3;
  Life life(config);
  for (int i = 0; i < 120; ++i) {
    life.step(i);
    RC_ASSERT(config.affinity != Affinity::strict || life.flies_one_a_key());
    const auto sound = life.queue.verify();
    RC_ASSERT(sound.has_value());
  }
}

// --- replay, crash -----------------------------------------------------------------------------

TEST(ExactlyOnceQueue, ReplaysToTheSameBytes) {
  for (const auto affinity : {Affinity::none, Affinity::prefer, Affinity::strict}) {
    SCOPED_TRACE(static_cast<int>(affinity));
    auto config = small_queue();
    config.affinity = affinity;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
      testing::expect_replays<ExactlyOnceQueue>(config, queue_trace(config, 400, seed));
    }
  }
}

TEST(ExactlyOnceQueue, FindsADamagedSnapshot) {
  ExactlyOnceQueue queue(small_queue());
  for (const auto& [now, command] : queue_trace(small_queue(), 12, 4)) queue.apply(command, now);
  testing::expect_damage_found(queue, small_queue());
}

TEST(ExactlyOnceQueue, AnswersARepeatedCompletionAlsoAfterARestart) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(task("a"), Nanos{0});
  const auto fence = queue.apply(by("w"), Nanos{0}).tasks.at(0).fence;
  queue.apply(once::Complete{"a", fence, bytes("42")}, Nanos{1});
  auto again = ExactlyOnceQueue::restore(small_queue(), queue.snapshot());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->apply(done("a", fence + 1), Nanos{2}).code, Errc::stale_token);
  const auto repeated = again->apply(done("a", fence), Nanos{2});
  EXPECT_EQ(repeated.code, Errc::ok);
  EXPECT_EQ(repeated.result, bytes("42"));
  EXPECT_EQ(again->counters().completed, 1U);
}

TEST(ExactlyOnceQueue, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<ExactlyOnceQueue> sweep(small_queue(), queue_trace(small_queue(), 24, 5));
  EXPECT_GT(sweep.run(5), 3U * 24 * 4);
}

TEST(ExactlyOnceQueue, IsEffectivelyOnceUnderTenThousandDeaths) {
  testing::CrashSweep<ExactlyOnceQueue> sweep(small_queue(), queue_trace(small_queue(), 40, 6));
  sweep.run_random(10'000, 20'261'128);
}

// What its own burst adds must not push out the answer that it asks for again.
TEST(ExactlyOnceQueue, AnswersTheOldestItRemembersAlsoInABurstOfNewOnes) {
  MemoryJournal journal;
  JournalOptions options;
  options.replies_max = 4;
  using Journaled = JournaledService<ExactlyOnceQueue>;
  auto queue = Journaled::open(small_queue(), journal, options);
  ASSERT_TRUE(queue);
  for (std::uint64_t i = 1; i <= 8; ++i) {
    ASSERT_EQ(queue->execute({{1, i}, task(std::to_string(i))}, Nanos{0})->code, Errc::ok);
  }
  const std::vector<Journaled::Request> burst{{{1, 9}, task("9")}, {{1, 1}, task("1")}};
  const auto replies = queue->execute(burst, Nanos{0});
  ASSERT_TRUE(replies);
  EXPECT_EQ(replies->at(1).code, Errc::ok) << "its first answer, not duplicate";
  EXPECT_EQ(queue->service().counters().accepted, 9U);
}

TEST(ExactlyOnceQueue, RefusesDurationsThatWouldLeaveTheClock) {
  for (auto field : {&ExactlyOnceQueueConfig::dedup_window_ns, &ExactlyOnceQueueConfig::ttl_ns,
                     &ExactlyOnceQueueConfig::aging_ns, &ExactlyOnceQueueConfig::steal_after_ns}) {
    ExactlyOnceQueueConfig config;
    config.expected_rate_per_s = 0;
    config.*field = Nanos::max();
    EXPECT_EQ(ExactlyOnceQueue::validate(config).error().code, Errc::invalid_config);
  }
}

}  // namespace of_exactly_once_queue_test
}  // namespace mesh::coordination
