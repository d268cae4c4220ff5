// An engine in a process of its own, to be killed, and what a console hears of it.
#pragma once

#include <poll.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_client.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {

inline constexpr engine::MeshSize kSmallMesh{.agents = 64, .stations = 8};
// Far longer than any test waits: nothing is given up unless the test says so.
inline constexpr Nanos kForEver{600 * kNsPerSecond};

inline engine::EngineOptions engine_options(const std::string& directory) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = kSmallMesh;
  options.reconnect = kForEver;
  return options;
}

class EngineProcess {
 public:
  // Starts at once. `prepare` runs before it, in the engine's process.
  explicit EngineProcess(const engine::EngineOptions& options,
                         const std::function<void()>& prepare = nullptr)
      : directory_(options.directory), child_([options, prepare](const Channel& channel) {
          if (prepare) prepare();
          auto engine = engine::Engine::start(options);
          if (!engine) {
            channel.tell(std::string(name_of(engine.error().code)) + ": " +
                         engine.error().sentence);
            return 1;
          }
          channel.tell("up");
          (void)channel.hear();  // the end, or the test's
          return 0;
        }) {}

  // "up", or why not; kGone: it died first.
  [[nodiscard]] std::string hear() const { return child_.hear(); }
  void kill() { child_.end(); }
  // By itself, within a minute.
  [[nodiscard]] bool dies() const {
    for (pollfd end{child_.fd(), POLLIN, 0}; ::poll(&end, 1, 60'000) == 1;) {
      if (child_.hear() == kGone) return true;
    }
    return false;
  }
  [[nodiscard]] pid_t process() const { return child_.process(); }
  // An orderly end: the mesh goes.
  int end() {
    child_.tell("end");
    return child_.wait();
  }

  [[nodiscard]] nlohmann::json ask(const std::string& request) const {
    auto console = engine::ControlClient::connect(directory_, {.patience = kForEver});
    EXPECT_TRUE(console.has_value()) << console.error().sentence;
    if (!console) return {};
    const auto answer = console->request(request);
    EXPECT_TRUE(answer.has_value()) << request << ": " << answer.error().sentence;
    return answer ? nlohmann::json::parse(*answer) : nlohmann::json();
  }
  [[nodiscard]] nlohmann::json status() const { return ask(R"({"op":"status"})"); }
  void send(const std::string& to, const std::string& text) const {
    (void)ask(nlohmann::json{{"op", "send"}, {"to", to}, {"text", text}}.dump());
  }

 private:
  std::string directory_;
  Child child_;
};

// A station with one agent, `name`, that tells each text it is sent and answers READY; and, when it
// is lost, "lost: " and why.
inline int faithful_listener(const Channel& channel, const std::string& name) {
  engine::StationOptions options;
  options.name = "of " + name;
  options.engine_patience = kForEver;
  auto attached = engine::Station::attach(channel.hear(), options);
  if (!attached) {
    channel.tell(attached.error().sentence);
    return 1;
  }
  engine::Station& station = **attached;
  if (!station.enrol(std::vector<engine::AgentDeclaration>{{name}})) return 1;
  channel.tell("enrolled");
  for (std::uint64_t returns = 0; !station.is_lost();) {
    station.poll(256, [&](const engine::Delivery& delivery) {
      channel.tell(std::string(delivery.text()));
      return engine::Answer::ready();
    });
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
    if (station.reattached() != returns) {
      returns = station.reattached();
      channel.tell("back");
    }
  }
  channel.tell("lost: " + std::string(name_of(station.lost_reason().code)));
  return 0;
}

}  // namespace mesh::testing
