// Producers, workers and an operator of an ExactlyOnceQueue, who outlive its deaths. Each id must
// be accepted once and committed once: each answer is looked at.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination::testing {

class QueueWorld {
 public:
  using Service = ExactlyOnceQueue;
  using Command = ExactlyOnceQueue::Command;
  using Reply = ExactlyOnceQueue::Reply;

  static constexpr std::uint32_t kProducers = 2;
  static constexpr std::uint32_t kWorkers = 3;  // each a station of its own, then the operator

  explicit QueueWorld(std::uint64_t seed) {
    for (std::uint32_t i = 0; i <= kProducers + kWorkers; ++i) clients_.emplace_back(seed + i);
    for (std::uint32_t i = 0; i < clients_.size(); ++i) decide(i);
  }

  static ExactlyOnceQueueConfig config() {
    ExactlyOnceQueueConfig config = small_queue();
    config.dedup_capacity = 1'024;
    config.attempts_max = 4;
    config.bloom_rate_ppm = 1'000;
    return config;
  }
  [[nodiscard]] std::uint32_t clients() const {
    return static_cast<std::uint32_t>(clients_.size());
  }
  [[nodiscard]] const Command& command(std::uint32_t i) const { return clients_[i].current; }
  [[nodiscard]] std::uint64_t sequence(std::uint32_t i) const { return clients_[i].sequence; }
  [[nodiscard]] Nanos now() const { return now_; }

  void answered(std::uint32_t i, Nanos now, const Reply& reply) {
    now_ = std::max(now_, now);
    Client& client = clients_[i];
    if (const auto* task = std::get_if<once::Enqueue>(&client.current)) enqueued(*task, reply);
    if (std::holds_alternative<once::Claim>(client.current)) client.held = reply.tasks;
    for (const auto& one : reply.tasks) {
      newest_[one.id] = std::max(newest_[one.id], one.fence);
    }
    if (const auto* done = std::get_if<once::Complete>(&client.current)) {
      ASSERT_FALSE(client.is_stale && reply.code == Errc::ok)
          << done->task << " under an old fence";
      completed(*done, reply);
    }
    if (const auto* gone = std::get_if<once::Purge>(&client.current)) {
      if (reply.code == Errc::ok) purged_.insert(gone->task);
    }
    ++client.sequence;
    decide(i);
  }
  static void note(const Service&, const ExactlyOnceQueueActions&, StateWriter&) {}
  void ticked(Nanos now, StateReader&) { now_ = std::max(now_, now); }

  // Nothing new; what is there is worked off.
  void drain() { draining_ = true; }
  // After all is worked off: each accepted task was committed once, or is dead; nothing is lost.
  void check(const Service& queue) const {
    for (const auto& [id, fence] : committed_) {
      ASSERT_TRUE(accepted_.contains(id)) << id << " was never accepted";
      ASSERT_EQ(results_.at(id), bytes("result " + std::to_string(fence))) << id;
    }
    for (const auto& [id, when] : accepted_) {
      if (committed_.contains(id) || purged_.contains(id)) continue;
      ASSERT_EQ(queue.inspect(id).state, TaskState::dead) << id << " is lost";
    }
    ASSERT_EQ(queue.counters().accepted, accepted_.size());
    ASSERT_EQ(queue.counters().completed, committed_.size()) << "a commit was never answered";
  }
  [[nodiscard]] std::size_t accepted() const { return accepted_.size(); }
  [[nodiscard]] std::size_t committed() const { return committed_.size(); }

 private:
  struct Client {
    explicit Client(std::uint64_t seed) : rng(seed) {}
    Rng rng;
    Command current{};
    std::uint64_t sequence = 1;
    std::vector<ClaimedTask> held;  // of a worker
    bool is_stale = false;          // it knew of a newer claim when it decided to complete
    std::uint64_t made = 0;         // of a producer
  };
  void enqueued(const once::Enqueue& task, const Reply& reply) {
    if (reply.code == Errc::ok) {
      ASSERT_TRUE(accepted_.emplace(task.id, now_).second) << task.id << " was accepted twice";
      return;
    }
    if (reply.code == Errc::capacity) return;
    ASSERT_EQ(reply.code, Errc::duplicate) << name_of(reply.code);
    // Accepted in a life that died before it answered, and the answer is forgotten since. A task
    // that was refused as a duplicate of nothing is one too many in check().
    accepted_.emplace(task.id, now_);
    // An answer that was remembered may be older than the commit; one that tells of it tells true.
    if (reply.state == TaskState::completed) expect_result(task.id, reply.result);
  }
  void completed(const once::Complete& done, const Reply& reply) {
    if (reply.code != Errc::ok) return;
    const auto [commit, is_new] = committed_.emplace(done.task, done.fence);
    ASSERT_TRUE(is_new || commit->second == done.fence) << done.task << " committed twice";
    expect_result(done.task, reply.result);
  }
  // Of a task only one result is ever told.
  void expect_result(const std::string& id, const once::Bytes& result) {
    const auto [told, is_new] = results_.emplace(id, result);
    ASSERT_EQ(told->second, result) << id << " has two results";
  }

  // What a client sends next; until it is answered it sends nothing else.
  void decide(std::uint32_t i) {
    Client& client = clients_[i];
    if (i < kProducers) {
      client.current = next_task(client, i);
    } else if (i < kProducers + kWorkers) {
      client.current = next_work(client, i);
    } else {
      client.current = next_order(client);
    }
  }
  Command next_task(Client& client, std::uint32_t i) {
    const std::string mine = "p" + std::to_string(i) + "-";
    // An id of its own that it may have sent before: its answer may have been lost. It stays within
    // the window in which the queue must know it.
    const std::uint64_t back = std::min<std::uint64_t>(client.made, 1 + client.rng.below(6));
    std::string id = mine + std::to_string(client.made - back);
    const auto known = accepted_.find(id);
    const bool is_recent = known == accepted_.end() || now_ - known->second < seconds(300);
    const bool is_again = back != 0 && is_recent && client.rng.below(3) == 0;
    if (!is_again && draining_) return once::RemoveWorker{"nobody"};
    if (!is_again) id = mine + std::to_string(client.made++);
    once::Enqueue task = testing::task(id, "payload of " + id);
    task.affinity_key = "k" + std::to_string(client.rng.below(3));
    task.delay = seconds(client.rng.below(4) == 0 ? 2 : 0);
    return task;
  }
  Command next_work(Client& client, std::uint32_t i) {
    if (client.held.empty()) {
      const auto max = static_cast<std::uint32_t>(1 + client.rng.below(3));
      return once::Claim{"w" + std::to_string(i), i, max, false};
    }
    const ClaimedTask one = client.held.back();
    const std::uint64_t what = draining_ ? 0 : client.rng.below(10);
    if (what != 9) client.held.pop_back();  // 9: it works on, and completes it once more later
    if (what == 6) return once::Nack{one.id, one.fence, false, seconds(1)};
    if (what == 7) return once::Release{one.id, one.fence};
    if (what == 8) return once::Renew{one.id, one.fence, Nanos{0}};
    client.is_stale = newest_[one.id] > one.fence;
    return once::Complete{one.id, one.fence, bytes("result " + std::to_string(one.fence))};
  }
  Command next_order(Client& client) {
    const std::uint64_t what = client.rng.below(8);
    if (what < 3 && !draining_) {
      return once::StationClosed{kProducers + static_cast<std::uint32_t>(client.rng.below(3))};
    }
    if (what < 6 || accepted_.empty()) return once::Redrive{"", 2};
    auto any = accepted_.end();
    std::advance(any, -static_cast<std::ptrdiff_t>(
                          1 + client.rng.below(std::min<std::size_t>(accepted_.size(), 16))));
    return once::Purge{any->first};
  }

  std::vector<Client> clients_;
  Nanos now_{0};
  bool draining_ = false;
  std::map<std::string, Nanos> accepted_;
  std::map<std::string, std::uint64_t> newest_;     // fence that was claimed
  std::map<std::string, std::uint64_t> committed_;  // under which fence
  std::map<std::string, once::Bytes> results_;
  std::set<std::string> purged_;
};

}  // namespace mesh::coordination::testing
