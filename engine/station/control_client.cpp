#include "engine/station/control_client.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
#include "shm/descriptor_passing.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr int kRetryMs = 5;

Errc code_of(const std::string& name) noexcept {
#define MESH_ERRC_OF(code, number, sentence) \
  if (name == #code) return Errc::code;
  MESH_ERRC_LIST(MESH_ERRC_OF)
#undef MESH_ERRC_OF
  return Errc::corrupt;
}

timeval timeval_of(Nanos time) noexcept {
  return {time.count() / kNsPerSecond, time.count() % kNsPerSecond / kNsPerUs};
}

// An engine that is starting, or dying, refuses or resets: worth another try.
bool may_pass(Errc code) noexcept { return code == Errc::no_mesh || code == Errc::closed; }

Result<shm::Descriptor> connect_once(const std::string& directory, const ConnectOptions& options) {
  const std::string path = directory + "/" + kSocketFolder + "/" + kSocketName;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid_argument,
                "connect to " + path + ": a socket's path has at most " +
                    std::to_string(sizeof address.sun_path - 1) + " bytes, this one " +
                    std::to_string(path.size()),
                static_cast<std::int64_t>(path.size()));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  shm::Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return shm::system_failure("socket", errno);
  const timeval timeout = timeval_of(options.timeout);
  for (const int which : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket.get(), SOL_SOCKET, which, &timeout, sizeof timeout) != 0) {
      return shm::system_failure("set the socket's timeout", errno);
    }
  }
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  int error = 0;
  do {
    error = ::connect(socket.get(), to, sizeof address) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == 0) return socket;
  if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR) {
    return fail(Errc::no_mesh, "connect to " + path + ": no engine runs there", error);
  }
  return shm::system_failure("connect to " + path, error);
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& directory,
                                             const ConnectOptions& options) {
  const std::int64_t start_ns = sched::HostCounters::monotonic_ns();
  for (;;) {
    auto socket = connect_once(directory, options);
    if (socket) return ControlClient(std::move(*socket), directory);
    const std::int64_t waited_ns = sched::HostCounters::monotonic_ns() - start_ns;
    if (!may_pass(socket.error().code) || waited_ns >= options.patience.count()) {
      return tl::unexpected<Error>(std::move(socket).error());
    }
    ::poll(nullptr, 0, kRetryMs);
  }
}

Result<std::string> ControlClient::request(const std::string& json) {
  const std::string who = "control socket of " + directory_ + ": ";
  if (json.size() > kControlPacketBytes) {
    return fail(Errc::truncated, who + "a request of " + std::to_string(json.size()) +
                                     " bytes, at most " + std::to_string(kControlPacketBytes));
  }
  ssize_t moved = 0;
  do {
    moved = ::send(fd(), json.data(), json.size(), MSG_NOSIGNAL);
  } while (moved < 0 && errno == EINTR);
  // Who is not admitted is told so and let go, perhaps before it has asked: the reason is read all
  // the same. A reset is reported once, then what had arrived.
  if (moved < 0 && errno != EPIPE && errno != ECONNRESET) {
    return shm::system_failure(who + "send", errno);
  }
  std::string answer(kControlPacketBytes, '\0');
  bool was_reset = false;
  do {
    moved = ::recv(fd(), answer.data(), answer.size(), 0);
  } while (moved < 0 &&
           (errno == EINTR || (errno == ECONNRESET && !std::exchange(was_reset, true))));
  if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return fail(Errc::timed_out, who + "the engine did not answer in time");
  }
  if (moved < 0) return shm::system_failure(who + "receive", errno);
  if (moved == 0) return fail(Errc::closed, who + "the engine closed the connection");
  answer.resize(static_cast<std::size_t>(moved));
  const auto parsed = nlohmann::json::parse(answer, nullptr, false);
  if (!parsed.is_object()) return fail(Errc::corrupt, who + "the answer is no JSON object");
  const auto error = parsed.find("error");
  if (error == parsed.end()) return answer;
  if (!error->is_object()) return fail(Errc::corrupt, who + "the error is no JSON object");
  const auto text = [&](const char* key) {
    const auto found = error->find(key);
    return found != error->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto detail = error->find("detail");
  const bool has_detail = detail != error->end() && detail->is_number_integer();
  return fail(code_of(text("code")), text("sentence"),
              has_detail ? detail->get<std::int64_t>() : 0);
}

Result<std::vector<shm::Descriptor>> ControlClient::receive_descriptors() {
  std::array<std::byte, sizeof(std::uint64_t)> station{};
  return shm::receive_descriptors(fd(), station, kStationDescriptors);
}

bool ControlClient::is_closed() const noexcept {
  char byte = 0;
  const ssize_t peeked = ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return peeked == 0 || (peeked < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace mesh::engine
