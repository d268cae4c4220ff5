// A mesh with a store and agents that hand over contexts, in this process; what its store says.
#pragma once

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/engine.hpp"
#include "engine/running_conflicts.hpp"
#include "engine/store/store.hpp"
#include "shm/hash.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {

inline std::span<const std::byte> as_context(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Agents of one station with a pump of its own. What they are sent is answered by `handler`, in
// quarantine tests mostly in CONFLICT.
class ContextAgents {
 public:
  using Load = std::function<Status(AgentId, std::span<const std::byte>)>;
  struct Options {
    std::vector<engine::AgentDeclaration> agents;
    bool loads = true;
    Load load{};  // else it takes everything
    std::function<engine::Answer(const engine::Delivery&)> handler{};
  };
  ContextAgents(const std::string& directory, Options options) : options_(std::move(options)) {
    std::promise<void> enrolled;
    pump_ = std::thread([this, directory, &enrolled] { run(directory, enrolled); });
    enrolled.get_future().wait();
  }
  ~ContextAgents() { stop(); }
  ContextAgents(const ContextAgents&) = delete;
  ContextAgents& operator=(const ContextAgents&) = delete;
  void stop() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    if (pump_.joinable()) pump_.join();
  }

  // On the pump's thread.
  template <class What>
  auto call(What what) -> decltype(what(std::declval<engine::Station&>())) {
    using Got = decltype(what(std::declval<engine::Station&>()));
    auto promise = std::make_shared<std::promise<Got>>();
    auto future = promise->get_future();
    while (!station_->post([this, promise, what] { promise->set_value(what(*station_)); }))
      ::sched_yield();
    return future.get();
  }
  Result<engine::ContextReceipt> set(std::size_t agent, const std::string& context) {
    return call([this, agent, context](engine::Station& station) {
      return station.set_context(ids_[agent], as_context(context));
    });
  }
  [[nodiscard]] AgentId id(std::size_t agent) const { return ids_.at(agent); }
  // What was loaded so far, by whom.
  [[nodiscard]] std::vector<std::pair<AgentId, std::string>> loaded() const {
    const std::lock_guard lock(mutex_);
    return loaded_;
  }

 private:
  void run(const std::string& directory, std::promise<void>& enrolled) {
    engine::StationOptions options{.name = "agents",
                                   .agents = static_cast<std::uint32_t>(options_.agents.size())};
    if (options_.loads)
      options.load_context = [this](AgentId agent, std::span<const std::byte> context) -> Status {
        if (options_.load) MESH_CHECK_OK(options_.load(agent, context));
        const std::lock_guard lock(mutex_);
        loaded_.emplace_back(
            agent, std::string(reinterpret_cast<const char*>(context.data()), context.size()));
        return {};
      };
    auto station = engine::Station::attach(directory, options);
    ASSERT_TRUE(station.has_value()) << station.error().sentence;
    station_ = std::move(*station);
    auto ids = station_->enrol(options_.agents);
    ASSERT_TRUE(ids.has_value()) << ids.error().sentence;
    ids_ = std::move(*ids);
    enrolled.set_value();
    while (!over_.load(std::memory_order_relaxed)) {  // relaxed: as above
      station_->poll(64, [&](const engine::Delivery& delivery) {
        return options_.handler ? options_.handler(delivery) : engine::Answer::ready();
      });
      (void)station_->wait(station_->now() + Nanos{10 * kNsPerMs});
    }
    station_.reset();
  }

  Options options_;
  std::unique_ptr<engine::Station> station_;
  std::vector<AgentId> ids_;
  mutable std::mutex mutex_;
  std::vector<std::pair<AgentId, std::string>> loaded_;
  std::atomic<bool> over_{false};
  std::thread pump_;
};

// One line a record: "quarantine_agent: nothing is routed to it".
inline std::vector<std::string> lines_of(const std::vector<engine::Record>& records) {
  std::vector<std::string> lines;
  for (const engine::Record& record : records)
    lines.push_back(record.step == 0 ? "conflict" : record.expected + ": " + record.received);
  return lines;
}

// Everything that a store holds of conflicts, oldest first.
class ConflictReader {
 public:
  explicit ConflictReader(const std::string& where) : where_(where) {}
  // Conflicts in this state; eventually there are `count`.
  [[nodiscard]] std::vector<engine::Record> wait_for(engine::ConflictState state,
                                                     std::size_t count = 1) const {
    // Opened once: to open it is to write, and takes turns with the engine's appends.
    std::unique_ptr<engine::Store> store;
    EXPECT_TRUE(eventually([&] {
      if (auto opened = engine::open_store({.where = where_})) store = std::move(*opened);
      return store != nullptr;
    }));
    std::vector<engine::Record> found;
    EXPECT_TRUE(eventually([&] {
      const auto records = store->find({.kind = engine::StoredKind::conflict,
                                        .state_now = state,
                                        .limit = engine::kQueryLimitMax});
      found.clear();
      if (records)
        for (const auto& one : *records) found.push_back(one.record);
      return found.size() >= count;
    })) << "no "
        << count << " conflicts came to " << engine::name_of(state);
    return found;
  }
  [[nodiscard]] std::vector<engine::Record> history(const engine::SubjectId& subject) const {
    const auto store = engine::open_store({.where = where_});
    EXPECT_TRUE(store.has_value()) << store.error().sentence;
    auto found = (*store)->find({.subject = subject, .limit = 1'000}).value();
    std::vector<engine::Record> records;
    for (auto it = found.rbegin(); it != found.rend(); ++it) records.push_back(it->record);
    std::sort(records.begin(), records.end(),
              [](const auto& a, const auto& b) { return a.step < b.step; });
    return records;
  }
  [[nodiscard]] std::unique_ptr<engine::Store> open() const {
    auto store = engine::open_store({.where = where_});
    EXPECT_TRUE(store.has_value()) << store.error().sentence;
    return std::move(*store);
  }

 private:
  std::string where_;
};

}  // namespace mesh::testing
