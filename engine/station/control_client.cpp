#include "engine/station/control_client.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
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

// `flags`: SOCK_NONBLOCK, or 0.
Result<shm::Descriptor> connect_once(const std::string& directory, const ConnectOptions& options,
                                     int flags) {
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
  shm::Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
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
  if (error == EAGAIN) {
    return fail(Errc::not_ready, "connect to " + path + ": too many wait there", error);
  }
  return shm::system_failure("connect to " + path, error);
}

// The answer, or the error that it is.
Status check_answer(const std::string& who, const std::string& answer) {
  const auto parsed = nlohmann::json::parse(answer, nullptr, false);
  if (!parsed.is_object()) return fail(Errc::corrupt, who + "the answer is no JSON object");
  const auto error = parsed.find("error");
  if (error == parsed.end()) return {};
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

// What is said with them is no answer, whatever was asked.
bool ends_connection(Errc code) noexcept {
  return code == Errc::closed || code == Errc::evicted || code == Errc::no_mesh;
}

// Of the engine's own, and no answer.
bool is_question(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  return parsed.is_object() && parsed.contains("ask");
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& directory,
                                             const ConnectOptions& options) {
  const std::int64_t start_ns = sched::HostCounters::monotonic_ns();
  for (;;) {
    auto socket = connect_once(directory, options, 0);
    if (socket) return ControlClient(std::move(*socket), directory);
    const std::int64_t waited_ns = sched::HostCounters::monotonic_ns() - start_ns;
    if (!may_pass(socket.error().code) || waited_ns >= options.patience.count()) {
      return tl::unexpected<Error>(std::move(socket).error());
    }
    ::poll(nullptr, 0, kRetryMs);
  }
}

Result<ControlClient> ControlClient::connect_at_once(const std::string& directory,
                                                     const ConnectOptions& options) {
  MESH_TRY(shm::Descriptor socket, connect_once(directory, options, SOCK_NONBLOCK));
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return shm::system_failure("fcntl the socket", errno);
  }
  return ControlClient(std::move(socket), directory);
}

Status ControlClient::put(const std::string& json, std::span<const int> descriptors) {
  if (!descriptors.empty()) return send(json, descriptors);
  if (json.size() > kControlPacketBytes) {
    return fail(Errc::truncated, who() + "a request of " + std::to_string(json.size()) +
                                     " bytes, at most " + std::to_string(kControlPacketBytes));
  }
  ssize_t moved = 0;
  do {
    moved = ::send(fd(), json.data(), json.size(), MSG_NOSIGNAL);
  } while (moved < 0 && errno == EINTR);
  if (moved < 0) return shm::system_failure(who() + "send", errno);
  return {};
}

void ControlClient::say(const std::string& json) noexcept {
  if (!socket_) return;
  static_cast<void>(::send(fd(), json.data(), json.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

Status ControlClient::send(const std::string& json, std::span<const int> descriptors) {
  return shm::send_descriptors(fd(), std::as_bytes(std::span(json)), descriptors);
}

Result<ControlAnswer> ControlClient::receive(shm::Waiting waiting) {
  ControlAnswer answer;
  answer.json.resize(kControlPacketBytes);
  const auto room = std::as_writable_bytes(std::span(answer.json));
  auto packet = shm::receive_packet(fd(), room, waiting);
  // A reset is reported once, then what had arrived.
  if (!packet && packet.error().detail == ECONNRESET) {
    packet = shm::receive_packet(fd(), room, waiting);
  }
  if (!packet) {
    if (packet.error().code == Errc::not_ready && waiting == shm::Waiting::kWait) {
      return fail(Errc::timed_out, who() + "the engine did not answer in time");
    }
    return fail(packet.error().code, who() + packet.error().sentence, packet.error().detail);
  }
  answer.json.resize(packet->size_bytes);
  answer.descriptors = std::move(packet->descriptors);
  MESH_CHECK_OK(check_answer(who(), answer.json));
  return answer;
}

Result<ControlAnswer> ControlClient::request_descriptors(const std::string& json,
                                                         std::span<const int> descriptors) {
  MESH_CHECK_OK(await_overdue());
  // Who is not admitted is told so and let go, perhaps before it has asked: the reason is read all
  // the same.
  if (const Status sent = put(json, descriptors); !sent && sent.error().code != Errc::closed) {
    return tl::unexpected<Error>(sent.error());
  }
  for (;;) {
    auto answer = receive(shm::Waiting::kWait);
    if (!answer && answer.error().code == Errc::timed_out) overdue_ = json;
    if (!answer || !is_question(answer->json)) return answer;
    aside_.push_back(std::move(*answer));
  }
}

// The engine answers one request of a connection at a time, and refuses what comes meanwhile: which
// of two answers is whose nobody could say.
Status ControlClient::await_overdue() {
  while (!overdue_.empty()) {
    auto answer = receive(shm::Waiting::kWait);
    if (!answer && answer.error().code == Errc::timed_out)
      return fail(Errc::timed_out, who() + "the engine has not answered the last request yet");
    if (answer && is_question(answer->json)) {
      aside_.push_back(std::move(*answer));
      continue;
    }
    if (!answer && ends_connection(answer.error().code))
      return tl::unexpected<Error>(answer.error());
    settle(std::move(answer));
  }
  return {};
}

void ControlClient::settle(Result<ControlAnswer> answer) {
  OverdueAnswer late{std::exchange(overdue_, {}), std::string()};
  if (answer)
    late.answer = std::move(answer->json);
  else
    late.answer = tl::unexpected<Error>(std::move(answer).error());
  late_ = std::move(late);
}

Status ControlClient::ask_again(const std::string& request) {
  overdue_ = request;
  return put(request, {});
}

Result<std::string> ControlClient::request(const std::string& json) {
  MESH_TRY(ControlAnswer answer, request_descriptors(json));
  return std::move(answer.json);
}

Result<std::optional<ControlAnswer>> ControlClient::try_receive() {
  if (!aside_.empty()) {
    std::optional<ControlAnswer> first(std::move(aside_.front()));
    aside_.pop_front();
    return first;
  }
  char byte = 0;
  const ssize_t peeked = ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (peeked < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return std::optional<ControlAnswer>();
  }
  auto answer = receive(shm::Waiting::kDoNotWait);
  const bool is_late = !overdue_.empty() && !(answer && is_question(answer->json));
  if (is_late && (answer || !ends_connection(answer.error().code))) {
    settle(std::move(answer));
    return std::optional<ControlAnswer>();
  }
  if (!answer) return tl::unexpected<Error>(std::move(answer).error());
  return std::optional(std::move(*answer));
}

Result<std::vector<shm::Descriptor>> ControlClient::receive_descriptors() {
  std::array<std::byte, sizeof(std::uint64_t)> station{};
  auto passed = shm::receive_descriptors(fd(), station, kStationDescriptors);
  if (!passed && passed.error().code == Errc::not_ready)
    return fail(Errc::timed_out, who() + "the engine did not pass its memories in time");
  return passed;
}

}  // namespace mesh::engine
