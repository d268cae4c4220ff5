#include "shm/descriptor_passing.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <sys/socket.h>
#include <sys/un.h>

#include "shm/system_error.hpp"

namespace mesh::shm {
namespace {

// The kernel passes at most 253 (SCM_MAX_FD): room for all, so that what a peer sends in excess is
// ours to close and not cut off halfway. Credentials or a security label may stand beside them.
constexpr std::size_t kKernelDescriptors = 253;
constexpr std::size_t kControlBytes = CMSG_SPACE(kKernelDescriptors * sizeof(int)) + 512;

struct Control {
  alignas(cmsghdr) std::array<std::byte, kControlBytes> bytes{};
};

// Takes ownership of every descriptor in the message, agreed or not.
std::vector<Descriptor> take_descriptors(msghdr& message) {
  std::vector<Descriptor> taken;
  taken.reserve(kKernelDescriptors);  // so that no allocation fails halfway
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t index = 0; index < count; ++index) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + index * sizeof(int), sizeof fd);
      taken.emplace_back(fd);
    }
  }
  return taken;
}

Status transfer_failure(const char* call, int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    return fail(Errc::not_ready, std::string(call) + ": the socket would block", error);
  }
  return system_failure(call, error);
}

struct Arrived {
  ssize_t size = 0;
  int flags = 0;
  std::vector<Descriptor> descriptors;

  [[nodiscard]] bool is_cut() const noexcept { return (flags & MSG_CTRUNC) != 0; }
  [[nodiscard]] bool is_longer() const noexcept { return (flags & MSG_TRUNC) != 0; }
};

// Each descriptor that comes with it has an owner from here on: what is not handed on is closed.
Result<Arrived> receive(int socket, std::span<std::byte> room, int flags) {
  iovec part{room.data(), room.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  Arrived arrived;
  do {
    arrived.size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (arrived.size < 0 && errno == EINTR);
  if (arrived.size < 0) {
    return tl::unexpected<Error>(transfer_failure("receive descriptors", errno).error());
  }
  arrived.flags = message.msg_flags;
  arrived.descriptors = take_descriptors(message);
  return arrived;
}

}  // namespace

Status send_descriptors(int socket, std::span<const std::byte> payload,
                        std::span<const int> descriptors) {
  if (payload.empty() || payload.size() > kMaxPassedPayloadBytes ||
      descriptors.size() > kMaxPassedDescriptors) {
    return fail(Errc::invalid_argument, "send descriptors: " + std::to_string(descriptors.size()) +
                                            " with " + std::to_string(payload.size()) +
                                            " bytes, the limits are " +
                                            std::to_string(kMaxPassedDescriptors) + " and 1 to " +
                                            std::to_string(kMaxPassedPayloadBytes));
  }
  iovec part{const_cast<std::byte*>(payload.data()), payload.size()};  // sendmsg only reads it
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return transfer_failure("send descriptors", errno);
  if (static_cast<std::size_t>(sent) != payload.size()) {
    // A stream took a part: the descriptors went with it and the message cannot be completed.
    return fail(Errc::io_error, "send descriptors: " + std::to_string(sent) + " of " +
                                    std::to_string(payload.size()) + " bytes were taken");
  }
  return {};
}

Result<std::vector<Descriptor>> receive_descriptors(int socket, std::span<std::byte> payload,
                                                    std::size_t agreed_count) {
  if (payload.empty() || payload.size() > kMaxPassedPayloadBytes ||
      agreed_count > kMaxPassedDescriptors) {
    return fail(Errc::invalid_argument, "receive descriptors: " + std::to_string(agreed_count) +
                                            " with " + std::to_string(payload.size()) +
                                            " bytes are over the limits");
  }
  MESH_TRY(Arrived arrived, receive(socket, payload, 0));
  const ssize_t received = arrived.size;
  const std::vector<Descriptor>& descriptors = arrived.descriptors;
  if (arrived.is_cut() || descriptors.size() != agreed_count) {
    if (received == 0 && descriptors.empty() && !arrived.is_cut()) {
      return fail(Errc::closed, "receive descriptors: the other side closed the connection");
    }
    return fail(
        Errc::wrong_descriptor_count,
        "receive descriptors: " + std::to_string(descriptors.size()) + " arrived, " +
            std::to_string(agreed_count) + " were agreed" +
            (arrived.is_cut() ? "; the kernel cut the message (is the limit of open files reached?)"
                              : ""),
        static_cast<std::int64_t>(descriptors.size()));
  }
  if (received == 0) {
    return fail(Errc::closed, "receive descriptors: the other side closed the connection");
  }
  if (arrived.is_longer() || static_cast<std::size_t>(received) != payload.size()) {
    return fail(Errc::corrupt,
                "receive descriptors: " + std::to_string(received) +
                    (arrived.is_longer() ? " bytes and more" : " bytes") + " arrived, " +
                    std::to_string(payload.size()) + " were agreed",
                received);
  }
  return std::move(arrived.descriptors);
}

Result<ReceivedPacket> receive_packet(int socket, std::span<std::byte> room, Waiting waiting) {
  MESH_TRY(Arrived arrived,
           receive(socket, room, waiting == Waiting::kDoNotWait ? MSG_DONTWAIT : 0));
  if (arrived.is_cut()) {
    return fail(Errc::wrong_descriptor_count,
                "receive packet: the kernel cut its descriptors (is the limit of open files "
                "reached?)",
                static_cast<std::int64_t>(arrived.descriptors.size()));
  }
  if (arrived.size == 0) {
    return fail(Errc::closed, "receive packet: the other side closed the connection");
  }
  if (arrived.is_longer()) {
    return fail(
        Errc::corrupt,
        "receive packet: more than the " + std::to_string(room.size()) + " bytes that there may be",
        static_cast<std::int64_t>(room.size()));
  }
  return ReceivedPacket{static_cast<std::size_t>(arrived.size), std::move(arrived.descriptors)};
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return system_failure("SO_PEERCRED", errno);
  }
  // A socket that never connected has no peer: the kernel answers with nobody.
  if (size != sizeof credentials || credentials.uid == static_cast<uid_t>(-1)) {
    return fail(Errc::not_ready, "SO_PEERCRED: the socket has no peer");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace mesh::shm
