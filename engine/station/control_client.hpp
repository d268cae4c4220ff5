// ControlClient: one connection to an engine's control socket.
//
// Callers     one thread. Set-up, console, tests; every call is system calls.
// Progress    request() waits for the answer, at most `timeout`.
// If the      dies: closed. It never answers: timed_out. It lies: an answer that is no JSON object
// other side  is corrupt.
// dies,
// stalls,
// or lies
// Errors      no_mesh (no socket there, or nobody listens), closed, timed_out, truncated (over
//             kControlPacketBytes), and whatever the engine refuses with.
#pragma once

#include <string>
#include <vector>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

struct ConnectOptions {
  Nanos patience{0};                 // how long to try again while no engine answers
  Nanos timeout{30 * kNsPerSecond};  // of each request
};

class ControlClient {
 public:
  static Result<ControlClient> connect(const std::string& directory, const ConnectOptions& options);

  // One JSON object there, one back. An {"error": ...} comes as an Error of that code.
  Result<std::string> request(const std::string& json);
  // The packet that follows the answer to `attach`.
  Result<std::vector<shm::Descriptor>> receive_descriptors();

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  // Whether the engine has closed its end.
  [[nodiscard]] bool is_closed() const noexcept;
  void close() noexcept { socket_.close(); }

 private:
  ControlClient(shm::Descriptor socket, std::string directory)
      : socket_(std::move(socket)), directory_(std::move(directory)) {}

  shm::Descriptor socket_;
  std::string directory_;
};

}  // namespace mesh::engine
