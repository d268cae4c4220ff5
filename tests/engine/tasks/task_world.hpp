// Those who submit tasks, those who do them, and an operator, who outlive the scheduler's deaths.
// Each task must be accepted once, begun after all that it waits for, and committed once: each
// answer is looked at.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tests/engine/coordination/lives.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"

namespace mesh::tasks::testing {

class TaskWorld {
 public:
  using Service = TaskScheduler;
  using Command = TaskCommand;
  using Reply = TaskReply;

  static constexpr std::uint32_t kProducers = 2;
  static constexpr std::uint32_t kWorkers = 3;  // an agent and a station each

  explicit TaskWorld(std::uint64_t seed) {
    for (std::uint32_t i = 0; i <= kProducers + kWorkers; ++i) clients_.emplace_back(seed + i);
    for (std::uint32_t i = 0; i < clients_.size(); ++i) decide(i);
  }
  static TaskSchedulerConfig config() {
    auto config = small_scheduler(512);
    config.retries_max = 100;
    config.retry_ns_max = task_s(2);
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
    if (const auto* one = std::get_if<task::Submit>(&client.current)) submitted(*one, reply);
    if (std::holds_alternative<task::Claim>(client.current)) {
      client.held.insert(client.held.end(), reply.assigned.begin(), reply.assigned.end());
      client.is_known = reply.code != Errc::no_such_agent;
    }
    if (std::holds_alternative<task::RegisterAgent>(client.current)) client.is_known = true;
    if (const auto* one = std::get_if<task::Start>(&client.current)) started(client, *one, reply);
    if (const auto* one = std::get_if<task::Complete>(&client.current)) completed(*one, reply);
    ++client.sequence;
    decide(i);
  }
  static void note(const Service&, const TaskSchedulerActions& actions, StateWriter& writer) {
    writer.put(static_cast<std::uint32_t>(actions.assigned.size()));
    for (const auto& one : actions.assigned) put_fields(one, writer);
  }
  // What a tick assigned: whoever missed it lets it time out.
  void ticked(Nanos now, StateReader& reader) {
    now_ = std::max(now_, now);
    const std::size_t count = reader.get_count(30);
    for (std::size_t i = 0; i < count; ++i) {
      TaskAssignment one;
      get_fields(one, reader);
      if (one.agent < kWorkers) clients_[kProducers + one.agent].held.push_back(one);
    }
  }
  void drain() { draining_ = true; }
  void check(const Service& scheduler) const {
    ASSERT_EQ(scheduler.open_count(), 0U);
    for (const auto& [id, fence] : committed_) ASSERT_TRUE(accepted_.contains(id)) << id;
    for (const auto& [id, on] : accepted_) {
      ASSERT_TRUE(committed_.contains(id)) << id << " is lost";
      const auto view = scheduler.view(id);
      ASSERT_TRUE(view.state == TaskState::unknown || view.result == committed_.at(id)) << id;
    }
    ASSERT_EQ(scheduler.counters().submitted, accepted_.size());
    ASSERT_EQ(scheduler.counters().completed, committed_.size()) << "a commit was never answered";
  }
  [[nodiscard]] std::size_t accepted() const { return accepted_.size(); }
  [[nodiscard]] std::size_t committed() const { return committed_.size(); }

 private:
  struct Client {
    explicit Client(std::uint64_t seed) : rng(seed) {}
    Rng rng;
    Command current{};
    std::uint64_t sequence = 1;
    std::uint64_t made = 0;
    std::vector<TaskAssignment> held;
    bool is_known = false;
    TaskAssignment running{};  // id 0: none
  };
  void submitted(const task::Submit& one, const Reply& reply) {
    if (reply.code == Errc::ok) {
      ASSERT_TRUE(accepted_.emplace(one.id, one.dependencies).second) << "accepted twice";
    } else if (reply.code != Errc::capacity && reply.code != Errc::not_found) {
      ASSERT_EQ(reply.code, Errc::already_exists) << name_of(reply.code);
      ASSERT_TRUE(accepted_.contains(one.id)) << one.id << " is there and nobody submitted it";
    }
  }
  void started(Client& client, const task::Start& one, const Reply& reply) {
    client.running = {};
    if (reply.code != Errc::ok) return;
    client.running = {one.id, one.fence, 0, 0, 0};
    const auto known = accepted_.find(one.id);
    if (known == accepted_.end()) return;  // its submit is not answered yet
    for (const auto on : known->second) {
      ASSERT_TRUE(may_be_done(on)) << one.id << " was begun before " << on << " was done";
    }
    ASSERT_FALSE(committed_.contains(one.id)) << one.id << " was begun after it was done";
  }
  // It is committed, or its commit is not answered yet: the scheduler may have died in between.
  [[nodiscard]] bool may_be_done(std::uint64_t id) const {
    return committed_.contains(id) ||
           std::any_of(clients_.begin(), clients_.end(), [&](const Client& one) {
             const auto* const done = std::get_if<task::Complete>(&one.current);
             return done != nullptr && done->id == id;
           });
  }
  void completed(const task::Complete& one, const Reply& reply) {
    if (reply.code != Errc::ok) return;
    ASSERT_TRUE(committed_.emplace(one.id, one.result).second) << one.id << " committed twice";
  }
  void decide(std::uint32_t i) {
    Client& client = clients_[i];
    if (i < kProducers) {
      client.current = next_task(client, i);
    } else if (i < kProducers + kWorkers) {
      client.current = next_work(client, i - kProducers);
    } else if (client.rng.below(3) != 0 || draining_) {
      client.current = task::SetRoutable{0, true};
    } else {
      client.current = task::StationClosed{1 + static_cast<std::uint32_t>(client.rng.below(3))};
    }
  }
  Command next_task(Client& client, std::uint32_t i) {
    if (draining_) return task::SetStrategy{"capability"};
    const std::uint64_t base = (i + 1) * 1'000'000;
    // Now and then one of its own again: its answer may have been lost.
    const bool is_again = client.made > 3 && client.rng.below(4) == 0;
    const std::uint64_t id = base + (is_again ? client.made - client.rng.below(3) : ++client.made);
    task::Submit one = work(id, {}, static_cast<std::int32_t>(client.rng.below(4)));
    for (std::uint64_t k = client.rng.below(3); k != 0 && client.made > 6; --k) {
      one.dependencies.push_back(base + client.made - 3 - client.rng.below(3));
    }
    return one;
  }
  Command next_work(Client& client, std::uint32_t agent_number) {
    if (!client.is_known) {
      auto one = agent(agent_number, 3);
      one.station = 1 + agent_number;
      return one;
    }
    if (client.running.id != 0) {
      const TaskAssignment one = std::exchange(client.running, {});
      if (client.rng.below(8) == 0) return task::Fail{one.id, one.fence, false};
      return task::Complete{one.id, one.fence, one.fence};
    }
    if (client.held.empty()) return task::Claim{agent_number, 2};
    const TaskAssignment one = client.held.front();
    client.held.erase(client.held.begin());
    if (client.rng.below(8) == 0) return task::GiveBack{one.id, one.fence};
    return task::Start{one.id, one.fence};
  }

  std::vector<Client> clients_;
  Nanos now_{0};
  bool draining_ = false;
  std::map<std::uint64_t, std::vector<std::uint64_t>> accepted_;  // and what it waits for
  std::map<std::uint64_t, std::uint64_t> committed_;              // under which fence
};

}  // namespace mesh::tasks::testing
