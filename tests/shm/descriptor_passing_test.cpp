#include "shm/descriptor_passing.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/files.hpp"
#include "shm/mapping.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_descriptor_passing_test {

using ::testing::HasSubstr;

class DescriptorPassing : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, GetParam() | SOCK_CLOEXEC, 0, ends), 0);
    here_ = Descriptor(ends[0]);
    there_ = Descriptor(ends[1]);
    null_ = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  // What any peer can send: any number of descriptors (up to the kernel's 253) and bytes.
  void send_raw(std::size_t count, std::size_t payload_bytes) {
    std::vector<std::byte> payload(payload_bytes, std::byte{7});
    iovec part{payload.data(), payload.size()};
    std::vector<int> fds(count, null_.get());
    std::vector<std::byte> control(CMSG_SPACE(253 * sizeof(int)));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(count * sizeof(int));
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(count * sizeof(int));
      std::memcpy(CMSG_DATA(header), fds.data(), count * sizeof(int));
    }
    ASSERT_EQ(sendmsg(there_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(payload_bytes));
  }
  Result<std::vector<Descriptor>> receive(std::size_t agreed) {
    return receive_descriptors(here_.get(), payload_, agreed);
  }
  void throw_away_the_rest() {
    char rest[8192];
    while (recv(here_.get(), rest, sizeof rest, MSG_DONTWAIT) > 0) {
    }
  }

  Descriptor here_;
  Descriptor there_;
  Descriptor null_;
  std::array<std::byte, 16> payload_{};
};

INSTANTIATE_TEST_SUITE_P(Sockets, DescriptorPassing, ::testing::Values(SOCK_SEQPACKET, SOCK_STREAM),
                         [](const auto& socket) {
                           return socket.param == SOCK_STREAM ? "Stream" : "Seqpacket";
                         });

TEST_P(DescriptorPassing, RefusesMoreOrFewerThanAgreedAndClosesThemAll) {
  const std::size_t before = testing::count_open_descriptors();
  for (const std::size_t agreed : {0U, 1U, 3U, 16U}) {
    for (const std::size_t sent : {0U, 1U, 2U, 3U, 4U, 16U, 17U, 100U, 253U}) {
      send_raw(sent, payload_.size());
      const auto received = receive(agreed);
      if (sent == agreed) {
        ASSERT_TRUE(received) << received.error().sentence;
        continue;
      }
      ASSERT_FALSE(received) << sent << " for " << agreed;
      EXPECT_EQ(received.error().code, Errc::wrong_descriptor_count);
      EXPECT_THAT(received.error().sentence,
                  HasSubstr(std::to_string(sent).append(" arrived, ") + std::to_string(agreed)));
      EXPECT_EQ(testing::count_open_descriptors(), before);
    }
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_P(DescriptorPassing, RefusesAnotherPayloadSizeAndClosesTheDescriptors) {
  const std::size_t before = testing::count_open_descriptors();
  for (const std::size_t size : {1U, 15U, 17U, 4096U}) {
    send_raw(2, size);
    const auto received = receive(2);
    throw_away_the_rest();
    if (GetParam() == SOCK_STREAM && size > payload_.size()) continue;  // a stream has no ends
    ASSERT_FALSE(received) << size;
    EXPECT_EQ(received.error().code, Errc::corrupt);
    EXPECT_THAT(received.error().sentence, HasSubstr("16 were agreed"));
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_P(DescriptorPassing, LeaksNothingOverTenThousandMalformedMessages) {
  const std::size_t before = testing::count_open_descriptors();
  std::size_t refused = 0;
  for (unsigned turn = 0; turn < 10'000; ++turn) {
    send_raw(turn % 29, 1 + turn % 23);
    if (!receive(3)) ++refused;
    throw_away_the_rest();
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
  EXPECT_GT(refused, 9'000U);
}

TEST_P(DescriptorPassing, AMessageCutByTheDescriptorLimitIsRefusedAndLeaksNothing) {
  const int answer = testing::answer_of_child([this] {
    const std::size_t open_now = testing::count_open_descriptors();
    send_raw(3, payload_.size());
    const int highest = fcntl(null_.get(), F_DUPFD, 0);
    if (highest < 0) return 1;
    close(highest);
    // Room for one more descriptor than there are, where three come.
    const rlimit limit{static_cast<rlim_t>(highest) + 1, static_cast<rlim_t>(highest) + 1};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    const auto received = receive(3);
    if (received || received.error().code != Errc::wrong_descriptor_count) return 3;
    if (received.error().sentence.find("limit of open files") == std::string::npos) return 4;
    return testing::count_open_descriptors() == open_now ? 0 : 5;
  });
  EXPECT_EQ(answer, 0);
}

TEST_P(DescriptorPassing, SaysClosedWhenThePeerIsGone) {
  there_.close();
  EXPECT_EQ(receive(1).error().code, Errc::closed);
  EXPECT_EQ(receive(0).error().code, Errc::closed);
  const int fd = null_.get();
  EXPECT_EQ(send_descriptors(here_.get(), payload_, {&fd, 1}).error().code, Errc::closed);
}

TEST_P(DescriptorPassing, SaysNotReadyOnANonBlockingSocketWithoutAMessage) {
  ASSERT_EQ(fcntl(here_.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(receive(1).error().code, Errc::not_ready);
}

TEST_P(DescriptorPassing, RefusesArgumentsOverTheLimits) {
  const std::vector<int> many(17, null_.get());
  std::vector<std::byte> large(4097);
  EXPECT_EQ(send_descriptors(here_.get(), payload_, many).error().code, Errc::invalid_argument);
  EXPECT_EQ(send_descriptors(here_.get(), large, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(send_descriptors(here_.get(), {}, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(receive_descriptors(here_.get(), large, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(receive_descriptors(here_.get(), {}, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(receive(17).error().code, Errc::invalid_argument);
  const int closed = -1;
  EXPECT_EQ(send_descriptors(here_.get(), payload_, {&closed, 1}).error().detail, EBADF);
}

TEST_P(DescriptorPassing, HandsOverTheSameMemoryInTheirOrderCloseOnExec) {
  const auto first = create_sealed_memory("first", 4096).value();
  const auto second = create_sealed_memory("second", 8192).value();
  const std::array<int, 2> fds = {first.descriptor.get(), second.descriptor.get()};
  payload_.fill(std::byte{0x5A});
  ASSERT_TRUE(send_descriptors(there_.get(), payload_, fds));
  payload_.fill(std::byte{0});
  const auto received = receive(2);
  ASSERT_TRUE(received) << received.error().sentence;
  EXPECT_THAT(payload_, ::testing::Each(std::byte{0x5A}));
  EXPECT_TRUE(accept_memfd((*received)[0].get(), first.identity, "first"));
  EXPECT_TRUE(accept_memfd((*received)[1].get(), second.identity, "second"));
  EXPECT_EQ(accept_memfd((*received)[0].get(), second.identity, "second").error().code,
            Errc::not_yours);
  for (const Descriptor& descriptor : *received) {
    EXPECT_EQ(fcntl(descriptor.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  const auto writer =
      Mapping::map((*received)[1].get(),
                   {.name = "second", .size_bytes = 8192, .access = Access::kReadWrite})
          .value();
  writer.writable_bytes()[8191] = std::byte{3};
  const auto reader =
      Mapping::map(second.descriptor.get(), {.name = "second", .size_bytes = 8192}).value();
  EXPECT_EQ(reader.bytes()[8191], std::byte{3});
}

TEST(ReceivePacket, RefusesWhatIsTooLongCutOrNotThereAndLeaksNothing) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Descriptor here(ends[0]);
  Descriptor there(ends[1]);
  const std::size_t before = testing::count_open_descriptors();
  std::array<std::byte, 16> room{};
  const auto receive = [&] { return receive_packet(here.get(), room, Waiting::kDoNotWait); };
  EXPECT_EQ(receive().error().code, Errc::not_ready);
  const std::array<std::byte, 17> long_packet{};
  const std::array<int, 2> fds = {here.get(), there.get()};
  ASSERT_TRUE(send_descriptors(there.get(), long_packet, fds));
  const auto too_long = receive();
  EXPECT_EQ(too_long.error().code, Errc::corrupt);
  EXPECT_EQ(too_long.error().detail, 16);
  EXPECT_EQ(testing::count_open_descriptors(), before);
  there.close();
  EXPECT_EQ(receive().error().code, Errc::closed);
}

TEST(ReceivePacket, GivesBytesAndDescriptorsAsTheyCome) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Descriptor here(ends[0]);
  const Descriptor there(ends[1]);
  std::array<std::byte, 16> room{};
  for (const std::size_t count : {0U, 1U, 16U}) {
    const std::vector<int> fds(count, there.get());
    ASSERT_TRUE(send_descriptors(there.get(), std::span(room).first(count + 1 - count / 16), fds));
    const auto packet = receive_packet(here.get(), room, Waiting::kWait);
    ASSERT_TRUE(packet) << packet.error().sentence;
    EXPECT_EQ(packet->size_bytes, count + 1 - count / 16);
    EXPECT_EQ(packet->descriptors.size(), count);
  }
}

TEST_P(DescriptorPassing, PeerCredentialsAreTheKernels) {
  const auto credentials = peer_credentials(here_.get()).value();
  EXPECT_EQ(credentials.process, getpid());
  EXPECT_EQ(credentials.user, geteuid());
  EXPECT_EQ(credentials.group, getegid());
}

TEST(PeerCredentials, AreRefusedWhereThereIsNoPeer) {
  const Descriptor alone(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  EXPECT_EQ(peer_credentials(alone.get()).error().code, Errc::not_ready);
  const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(peer_credentials(null.get()).error().code, Errc::system_error);
}

}  // namespace of_descriptor_passing_test
}  // namespace mesh::shm
