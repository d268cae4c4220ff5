// Writers, a relay with its sink, and an operator of an Outbox, who outlive its deaths. The sink
// forgets to acknowledge, or dies before it applies; it keeps a registry of the events it has
// applied. Each event must be applied once, in the order of its key, if and only if its state was
// committed.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/coordination/outbox_kit.hpp"

namespace mesh::coordination::testing {

class OutboxWorld {
 public:
  using Service = Outbox;
  using Command = Outbox::Command;
  using Reply = Outbox::Reply;

  static constexpr std::uint32_t kWriters = 3;  // then the relay, then the operator

  explicit OutboxWorld(std::uint64_t seed) : sink_(seed + 100) {
    for (std::uint32_t i = 0; i < kWriters + 2; ++i) clients_.emplace_back(seed + i);
    for (std::uint32_t i = 0; i < clients_.size(); ++i) decide(i);
  }

  static OutboxConfig config() {
    OutboxConfig config = eventful_outbox();
    config.partition_count = 2;
    config.attempts_max = 0;
    config.retention_ns = ms(500);
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
    if (const auto* commit = std::get_if<outbox::Commit>(&client.current)) {
      committed(client, *commit, reply);
    }
    ++client.sequence;
    decide(i);
  }
  // The host carries the bytes of what is to be delivered.
  static void note(const Service& box, const OutboxActions& actions, StateWriter& writer) {
    writer.put(static_cast<std::uint32_t>(actions.deliveries.size()));
    for (const auto& delivery : actions.deliveries) {
      const auto event = box.event(delivery.event).value();
      writer.put(delivery.event);
      writer.put(delivery.fence);
      writer.put(event.key);
      writer.put(std::span<const std::byte>(event.payload));
    }
  }
  void ticked(Nanos now, StateReader& reader) {
    now_ = std::max(now_, now);
    const auto count = reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto event = reader.get<std::uint64_t>();
      const auto fence = reader.get<std::uint64_t>();
      const auto key = reader.get<std::string>();
      deliver(event, fence, key, reader.get<std::string>());
    }
  }

  void drain() { draining_ = true; }
  [[nodiscard]] bool is_drained() const { return reports_.empty(); }
  // After all is delivered: what was committed was applied, once each and in order, and the state
  // is that of the last commit.
  void check(const Service& box) const {
    ASSERT_EQ(applied_, committed_);
    for (std::uint32_t i = 0; i < kWriters; ++i) {
      if (clients_[i].version == 0) continue;
      const auto entity = box.entity(key_of(i));
      ASSERT_TRUE(entity) << key_of(i) << " is lost";
      ASSERT_EQ(entity->version, clients_[i].version);
      ASSERT_EQ(entity->value, bytes(committed_.at(key_of(i)).back()));
    }
  }
  [[nodiscard]] std::size_t accepted() const { return count_of(committed_); }
  [[nodiscard]] std::size_t committed() const { return count_of(applied_); }

 private:
  using Log = std::map<std::string, std::vector<std::string>>;
  struct Client {
    explicit Client(std::uint64_t seed) : rng(seed) {}
    Rng rng;
    Command current{};
    std::uint64_t sequence = 1;
    std::uint64_t made = 0;     // of a writer
    std::uint64_t version = 0;  // of its entity
  };

  static std::string key_of(std::uint32_t writer) { return "e" + std::to_string(writer); }
  static std::size_t count_of(const Log& log) {
    std::size_t count = 0;
    for (const auto& [key, values] : log) count += values.size();
    return count;
  }

  void committed(Client& client, const outbox::Commit& commit, const Reply& reply) {
    if (reply.code == Errc::capacity) return;  // nothing was done; it tries the next value
    ASSERT_EQ(reply.code, Errc::ok) << name_of(reply.code) << ": nobody else writes its entity";
    ASSERT_GT(reply.version, client.version);
    client.version = reply.version;
    const auto& payload = commit.appends.front().payload;
    committed_[commit.puts.front().entity].push_back(
        {reinterpret_cast<const char*>(payload.data()), payload.size()});
  }
  void deliver(std::uint64_t event, std::uint64_t fence, const std::string& key,
               const std::string& payload) {
    const std::uint64_t what = draining_ ? 9 : sink_.below(10);
    if (what == 0) return;  // it dies before it applies
    if (what == 1) {
      reports_.push_back(outbox::Fail{event, fence, false, "not now"});
      return;
    }
    if (seen_.insert(event).second) applied_[key].push_back(payload);
    if (what != 2) reports_.push_back(outbox::Confirm{event, fence});  // 2: it dies afterwards
  }

  void decide(std::uint32_t i) {
    Client& client = clients_[i];
    if (i < kWriters) {
      client.current = next_commit(client, i);
    } else if (i == kWriters) {
      client.current = next_report();
    } else {
      client.current = next_order(client);
    }
  }
  Command next_commit(Client& client, std::uint32_t i) {
    if (draining_) return outbox::Heartbeat{"nobody"};
    const std::string value = key_of(i) + "=" + std::to_string(++client.made);
    outbox::Commit commit;
    commit.puts.push_back({key_of(i), client.version, bytes(value), false});
    commit.appends.push_back({key_of(i), "changed", bytes(value), {}, 0});
    return commit;
  }
  Command next_report() {
    if (reports_.empty()) return outbox::Heartbeat{"w0"};
    Command report = reports_.front();
    reports_.pop_front();
    return report;
  }
  Command next_order(Client& client) {
    const std::string worker = "w" + std::to_string(client.rng.below(2));
    const std::uint64_t what = draining_ ? 9 : client.rng.below(10);
    if (what == 0) return outbox::RemoveWorker{worker};
    if (what == 1) return outbox::StationClosed{7};
    return outbox::AddWorker{worker, 7};
  }

  std::vector<Client> clients_;
  Rng sink_;
  Nanos now_{0};
  bool draining_ = false;
  std::deque<Command> reports_;
  std::set<std::uint64_t> seen_;
  Log committed_;
  Log applied_;
};

}  // namespace mesh::coordination::testing
