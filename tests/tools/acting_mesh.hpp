// A `mesh up` to act on, and agents that do what a test tells them, in this process.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>

#include <nlohmann/json.hpp>

#include "engine/station/station.hpp"
#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {

using Json = nlohmann::json;

// A mesh in a folder of its own, whose engine the test starts as `up`.
class MeshInFolder {
 public:
  void kill() const {
    up->signal(SIGKILL);
    EXPECT_EQ(up->wait().exit_code, 128 + SIGKILL);
  }
  [[nodiscard]] Ran run(std::vector<std::string> words, const std::string& input = "") const {
    words.insert(words.end(), {"--dir", folder.mesh()});
    return run_mesh(words, input);
  }
  // Of a verb with --json that ends with this exit code.
  Json ask(std::vector<std::string> words, int exit_code = 0) const {
    words.emplace_back("--json");
    const Ran ran = run(words);
    EXPECT_EQ(ran.exit_code, exit_code) << words[0] << ": " << ran.out << ran.err;
    return Json::parse(ran.out, nullptr, false);
  }

  Folder folder;
  std::unique_ptr<StartedMesh> up;
};

// Whoever belongs to the mesh is waited for.
class ActingMesh : public MeshInFolder {
 public:
  explicit ActingMesh(std::string agents = "300") : agents_(std::move(agents)) { start(); }
  void start() {
    up = std::make_unique<StartedMesh>(
        std::vector<std::string>{"up", "--agents", agents_, "--stations", "8", "--dir",
                                 folder.mesh(), "--reconnect-ms", "600000"});
    EXPECT_THAT(up->line(), ::testing::StartsWith("up: " + folder.mesh()));
  }
  [[nodiscard]] std::string directory() const { return folder.mesh(); }
  void wait_for(std::size_t agents) const {
    // After a restart those of a station that is waited for seem to be there.
    for (;; sched_yield()) {
      const Json status = ask({"status"});
      const Json& adopted = status["adopted"];
      const bool is_back = !adopted.is_object() || adopted["awaited"] == 0;
      if (is_back && status["agents_active"] == agents) return;
    }
  }

 private:
  std::string agents_;
};

// A station with its pump in a thread of its own. Each agent answers by `handler`; none: READY.
class Agents {
 public:
  // Nothing: it keeps the message, and is silent.
  using Handler = std::function<std::optional<engine::Answer>(const std::string& agent,
                                                              const std::string& text)>;
  struct Options {
    std::vector<engine::AgentDeclaration> agents;
    Handler handler{};
    // Once, on the pump's thread, when all are enrolled.
    std::function<void(engine::Station&, const std::vector<AgentId>&)> begin{};
  };
  Agents(const std::string& directory, Options options) : options_(std::move(options)) {
    std::atomic<bool> enrolled{false};
    pump_ = std::thread([this, directory, &enrolled] { pump(directory, enrolled); });
    while (!enrolled.load(std::memory_order_acquire)) sched_yield();  // acquire: what begin() did
  }
  ~Agents() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    pump_.join();
  }
  Agents(const Agents&) = delete;
  Agents& operator=(const Agents&) = delete;
  // Of each agent: what it was given so far.
  [[nodiscard]] std::size_t handled() const {
    return handled_.load(std::memory_order_relaxed);  // relaxed: a count that stands alone
  }

 private:
  void pump(const std::string& directory, std::atomic<bool>& enrolled) {
    const auto station = engine::Station::attach(
        directory, {.name = "test",
                    .agents = static_cast<std::uint32_t>(options_.agents.size()),
                    .engine_patience = Nanos{600 * kNsPerSecond}});
    ASSERT_TRUE(station.has_value()) << station.error().sentence;
    const auto ids = (*station)->enrol(options_.agents);
    ASSERT_TRUE(ids.has_value()) << ids.error().sentence;
    if (options_.begin) options_.begin(**station, *ids);
    std::vector<engine::Reply> kept;
    enrolled.store(true, std::memory_order_release);  // release: what begin() did
    while (!over_.load(std::memory_order_relaxed) && !(*station)->is_lost()) {  // relaxed: as above
      (*station)->poll(256, [&](const engine::Delivery& delivery, engine::Reply reply) {
        if (!reply) return;
        handled_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
        const std::string& agent = options_.agents[delivery.agent].name;
        const std::string text(delivery.text());  // outlives the answer that may point into it
        const auto given =
            options_.handler ? options_.handler(agent, text) : engine::Answer::ready();
        given ? reply.answer(*given) : kept.push_back(std::move(reply));
      });
      (void)(*station)->wait((*station)->now() + Nanos{10 * kNsPerMs});
    }
  }

  Options options_;
  std::atomic<bool> over_{false};
  std::atomic<std::size_t> handled_{0};
  std::thread pump_;
};

inline std::vector<engine::AgentDeclaration> named(const std::vector<std::string>& names) {
  std::vector<engine::AgentDeclaration> agents;
  for (const std::string& name : names) agents.push_back({.name = name});
  return agents;
}

}  // namespace mesh::testing
