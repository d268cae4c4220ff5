// send_descriptors, receive_descriptors, receive_packet: file descriptors and bytes over a Unix
// socket.
//
// Callers     one thread a direction of a socket. Set-up only.
// Progress    as the socket is: a non-blocking one answers not_ready.
// Units       one message: a payload of the agreed size and exactly the agreed descriptors. The
//             socket is SOCK_SEQPACKET, or a stream on which the two sides take turns.
// If the      closes: closed. It sends more or fewer descriptors, or so many that the kernel cuts
// other side  them: wrong_descriptor_count, and every one that arrived is closed; none leaks,
// dies,       however many such messages come. Another payload size: corrupt, likewise closed.
// or lies     What a descriptor names is checked by its user (accept_memfd).
// Errors      closed, not_ready, wrong_descriptor_count, corrupt, invalid_argument, system_error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <sys/types.h>

#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::shm {

inline constexpr std::size_t kMaxPassedDescriptors = 16;
inline constexpr std::size_t kMaxPassedPayloadBytes = 4096;

// The descriptors stay the caller's. `payload` has at least one byte: a stream needs one to carry
// them.
Status send_descriptors(int socket, std::span<const std::byte> payload,
                        std::span<const int> descriptors);

// Fills `payload` whole, or fails. The descriptors arrive close-on-exec.
Result<std::vector<Descriptor>> receive_descriptors(int socket, std::span<std::byte> payload,
                                                    std::size_t agreed_count);

// One packet of a SOCK_SEQPACKET socket, whatever its size and with whatever descriptors, for who
// learns from its bytes what was to come. corrupt: it is longer than `room`. Cut by the kernel:
// wrong_descriptor_count. With kDoNotWait an empty socket is not_ready.
enum class Waiting : std::uint8_t { kWait, kDoNotWait };
struct ReceivedPacket {
  std::size_t size_bytes = 0;
  std::vector<Descriptor> descriptors;
};
Result<ReceivedPacket> receive_packet(int socket, std::span<std::byte> room, Waiting waiting);

struct PeerCredentials {
  pid_t process = 0;  // as this process's pid namespace sees it; 0 where it cannot
  uid_t user = 0;
  gid_t group = 0;
};
// Who connected, as the kernel noted it at connect(): not what the peer says.
Result<PeerCredentials> peer_credentials(int socket);

}  // namespace mesh::shm
