// ControlClient: one connection to an engine's control socket.
//
// What the engine asks by itself ("ask") is set aside while an answer is waited for.
//
// Callers     one thread. Set-up, console, tests; every call is system calls.
// Progress    request() waits for the answer, at most `timeout`. connect_at_once, try_receive never
//             wait.
// If the      dies: closed. It does not answer in time: timed_out, and its answer, whenever it
// other side  comes, is nobody else's: the next request waits for it first, and is itself
// dies,       timed_out, and not sent, where it does not come; take_answered() has it. It lies: an
// stalls,     answer that is no JSON object is corrupt.
// or lies
// Errors      no_mesh (no socket there, or nobody listens), closed, timed_out, truncated (over
//             kControlPacketBytes), and whatever the engine refuses with.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"
#include "shm/descriptor_passing.hpp"

namespace mesh::engine {

struct ConnectOptions {
  Nanos patience{0};                 // how long to try again while no engine answers
  Nanos timeout{30 * kNsPerSecond};  // of each request
};

// An engine that is starting, or dying, refuses or resets: worth another try.
[[nodiscard]] constexpr bool may_pass(Errc code) noexcept {
  return code == Errc::no_mesh || code == Errc::closed;
}

struct ControlAnswer {
  std::string json;
  std::vector<shm::Descriptor> descriptors;
};

// What a request that had timed out came to in the end.
struct OverdueAnswer {
  std::string request;
  Result<std::string> answer;
};

class ControlClient {
 public:
  static Result<ControlClient> connect(const std::string& directory, const ConnectOptions& options);
  // One try. not_ready: as many wait to be accepted as the engine lets.
  static Result<ControlClient> connect_at_once(const std::string& directory,
                                               const ConnectOptions& options);

  // One JSON object there, one back. An {"error": ...} comes as an Error of that code.
  Result<std::string> request(const std::string& packet);
  // The same, with what the answer carries.
  Result<ControlAnswer> request_descriptors(const std::string& packet,
                                            std::span<const int> descriptors = {});
  // The two halves, for who does not wait. Nothing yet: none. What was set aside comes first.
  Status send(const std::string& packet, std::span<const int> descriptors);
  Result<std::optional<ControlAnswer>> try_receive();
  // The request that timed out and is not answered yet; empty: none. Of a connection that ends it
  // stands.
  [[nodiscard]] const std::string& overdue() const noexcept { return overdue_; }
  // The answer to one, once, whichever call came upon it.
  [[nodiscard]] std::optional<OverdueAnswer> take_answered() {
    return std::exchange(late_, std::nullopt);
  }
  // Asks on a new connection what another left unanswered, and waits for nothing: its answer is a
  // late one.
  Status ask_again(const std::string& request);
  // What has no answer. Does not wait: where there is no room it is not said.
  void say(const std::string& packet) noexcept;
  // The packet that follows the answer to `attach`.
  Result<std::vector<shm::Descriptor>> receive_descriptors();

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  void close() noexcept { socket_.close(); }

 private:
  ControlClient(shm::Descriptor socket, std::string directory)
      : socket_(std::move(socket)), directory_(std::move(directory)) {}
  Status put(const std::string& packet, std::span<const int> descriptors);
  Result<ControlAnswer> receive(shm::Waiting waiting);
  Status await_overdue();
  void settle(Result<ControlAnswer> answer);
  [[nodiscard]] std::string who() const { return "control socket of " + directory_ + ": "; }

  shm::Descriptor socket_;
  std::string directory_;
  std::deque<ControlAnswer> aside_;
  std::string overdue_;
  std::optional<OverdueAnswer> late_;
};

}  // namespace mesh::engine
