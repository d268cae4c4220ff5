// Real station processes for the tests of the engine, and the words between them and the test.
//
// A child is forked before the engine starts, so that it inherits neither its threads nor its lock,
// and begins when it is told to: tell() and hear() are the only way in which the two wait for each
// other.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "shm/descriptor.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::testing {

inline constexpr const char* kGone = "<gone>";

// Named points (shm/base/point.hpp) are compiled in where MESH_FAULTS is on: asan, cover.
#ifdef MESH_FAULTS
inline constexpr bool kHasPoints = true;
#else
inline constexpr bool kHasPoints = false;
#endif

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class Channel {
 public:
  explicit Channel(int fd) : socket_(fd) {}
  void tell(const std::string& text) const {
    (void)::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  // kGone: the other side has ended.
  [[nodiscard]] std::string hear() const {
    std::string text(4'096, '\0');
    ssize_t size = 0;
    do {
      size = ::recv(socket_.get(), text.data(), text.size(), 0);
    } while (size < 0 && errno == EINTR);
    if (size <= 0) return kGone;
    text.resize(static_cast<std::size_t>(size));
    return text;
  }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  shm::Descriptor socket_;
};

// Runs `body` in a child. The first word it hears is usually the directory.
class Child {
 public:
  using Body = std::function<int(const Channel&)>;
  explicit Child(const Body& body) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    process_ = ::fork();
    if (process_ == 0) {
      ::close(ends[0]);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::_exit(body(Channel(ends[1])));
    }
    ::close(ends[1]);
    channel_ = std::make_unique<Channel>(ends[0]);
  }
  ~Child() {
    if (process_ > 0) end();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void tell(const std::string& text) const { channel_->tell(text); }
  [[nodiscard]] std::string hear() const { return channel_->hear(); }
  [[nodiscard]] pid_t process() const { return process_; }
  [[nodiscard]] int fd() const { return channel_->fd(); }
  // SIGKILL, and waits until it is gone.
  void end() {
    ::kill(process_, SIGKILL);
    (void)wait();
  }
  int wait() {
    int status = -1;
    EXPECT_EQ(::waitpid(process_, &status, 0), process_);
    process_ = -1;
    return status;
  }

 private:
  pid_t process_ = -1;
  std::unique_ptr<Channel> channel_;
};

// Looks again and again, and lets others run meanwhile. The deadline is far: it ends a test that
// has failed, and decides nothing else.
inline bool eventually(const std::function<bool()>& predicate) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::sched_yield();
  }
  return true;
}

inline std::unique_ptr<engine::Engine> start_engine(const std::string& directory,
                                                    const engine::MeshSize& size = {
                                                        .agents = 64, .stations = 8}) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = size;
  options.stuck_after =
      Nanos{600 * kNsPerSecond};  // stations here are deaf for as long as it takes
  auto engine = engine::Engine::start(options);
  EXPECT_TRUE(engine.has_value()) << engine.error().sentence;
  return engine ? std::move(*engine) : nullptr;
}

// In a child: attached, or the refusal told and null.
inline std::unique_ptr<engine::Station> attach(const Channel& channel, const std::string& directory,
                                               std::uint32_t agents = 1) {
  engine::StationOptions options;
  options.agents = agents;
  auto station = engine::Station::attach(directory, options);
  if (station) return std::move(*station);
  channel.tell(std::string(name_of(station.error().code)) + ": " + station.error().sentence);
  return nullptr;
}

// The same with agents of these names; null as well where they are refused.
inline std::unique_ptr<engine::Station> attach_with(const Channel& channel,
                                                    const std::string& directory,
                                                    const std::vector<std::string>& names) {
  auto station = attach(channel, directory, static_cast<std::uint32_t>(names.size()));
  if (station == nullptr) return nullptr;
  std::vector<engine::AgentDeclaration> agents;
  for (const std::string& name : names) agents.push_back({name});
  return station->enrol(agents) ? std::move(station) : nullptr;
}

// Polls and waits until the station is lost.
template <class Handler>
void serve_until_lost(engine::Station& station, Handler&& handler) {
  while (!station.is_lost()) {
    station.poll(256, handler);
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
  }
}
// Polls and waits until `handler` has been given `count` deliveries.
template <class Handler>
void serve(engine::Station& station, std::size_t count, Handler&& handler) {
  for (std::size_t taken = 0; taken < count && !station.is_lost();) {
    taken += station.poll(256, handler);
    if (taken < count) (void)station.wait(station.now() + Nanos{kNsPerSecond});
  }
}

}  // namespace mesh::testing
