// What is full, in real processes: an inbox that nobody reads, what may wait for it, the store of
// parked bodies. Each is refused to the sender, loses nothing that was accepted, and passes.
#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_full_test {

using engine::Answer;
using engine::Delivery;
using engine::SendStatus;
using engine::Station;

constexpr std::uint64_t kCritical = 1'000'000;  // its number

std::uint64_t number_of(const Delivery& delivery) {
  std::uint64_t number = 0;
  if (delivery.body.size() >= sizeof number)
    std::memcpy(&number, delivery.body.data(), sizeof number);
  return number;
}

// Enrols `name`, reads nothing before it is told to, then `count` messages; says what it saw.
int late_reader(const Channel& channel, const std::string& name) {
  const auto station = attach(channel, channel.hear());
  if (station == nullptr || !station->enrol(std::vector<engine::AgentDeclaration>{{name}}))
    return 1;
  channel.tell("enrolled");
  const std::size_t count = std::stoul(channel.hear());
  std::uint64_t next = 0;
  std::size_t seen = 0;
  std::size_t critical_at = 0;
  bool in_order = true;
  serve(*station, count, [&](const Delivery& delivery) {
    const std::uint64_t number = number_of(delivery);
    ++seen;
    if (number == kCritical)
      critical_at = seen;
    else
      in_order &= number == next++;
    return Answer::ready();
  });
  station->flush();
  channel.tell(std::to_string(next) + (in_order ? " in order" : " out of order") +
               (critical_at == 0 ? "" : ", critical at " + std::to_string(critical_at)));
  return channel.hear() == kGone ? 0 : 1;
}

// A sender in this process, its agent enrolled.
struct Sender {
  explicit Sender(const std::string& directory) {
    auto attached = Station::attach(directory, {.agents = 1});
    EXPECT_TRUE(attached.has_value()) << attached.error().sentence;
    station = std::move(*attached);
    self = station->enrol(std::vector<engine::AgentDeclaration>{{"sender"}}).value().front();
  }
  // Nobody gets it later than this; 0: no limit.
  std::uint32_t ttl_ms = 0;
  SendStatus send(AgentId to, std::uint64_t number,
                  sched::Priority priority = sched::Priority::normal) {
    engine::SendOptions options;
    options.source = self;
    options.target = to;
    options.priority = priority;
    options.bare = number % 2 == 0;  // half of them have a header
    options.ttl_ms = ttl_ms;
    const SendStatus status = station->send(options, std::as_bytes(std::span(&number, 1)));
    station->flush();
    return status;
  }
  void listen() {
    station->poll(256, [&](const Delivery& delivery) {
      if (delivery.kind == sched::RecordKind::reply) ++replies;
      if (delivery.kind == sched::RecordKind::report) ++reports;
      return Answer::ready();
    });
  }
  std::unique_ptr<Station> station;
  AgentId self{};
  std::size_t replies = 0;
  std::size_t reports = 0;
};

TEST(EngineFull, AnInboxThatNobodyReadsIsRefusedWhenNoMoreMayWaitAndACriticalMessagePasses) {
  constexpr std::size_t kAccepted = 1'024 / 4 + 2 * 1 + 1'024;  // a quarter of its ring, its share
  const ScratchDirectory directory;
  const Child deaf([](const Channel& channel) { return late_reader(channel, "deaf"); });
  const auto engine = start_engine(directory.path(), {.agents = 4'096, .stations = 8});
  ASSERT_NE(engine, nullptr);
  deaf.tell(directory.path());
  ASSERT_EQ(deaf.hear(), "enrolled");
  const AgentId to = engine->find("deaf").value();
  Sender sender(directory.path());
  std::uint64_t sent = 0;
  ASSERT_TRUE(eventually([&] {
    sender.listen();
    const SendStatus status = sender.send(to, sent);
    sent += status == SendStatus::sent ? 1 : 0;
    return status == SendStatus::target_full;  // the table says so
  }));
  ASSERT_TRUE(eventually([&] {
    sender.listen();
    return sent - sender.reports == kAccepted;  // those that it took before it said so
  })) << sent
      << " sent, " << sender.reports << " refused";
  EXPECT_EQ(engine->status()->counters.pending, kAccepted - 256);
  EXPECT_EQ(sender.send(to, kCritical, sched::Priority::critical), SendStatus::sent);
  EXPECT_TRUE(
      eventually([&] { return engine->status()->counters.deliveries == 257 + sender.reports; }));
  deaf.tell(std::to_string(kAccepted + 1));
  EXPECT_EQ(deaf.hear(), std::to_string(kAccepted) + " in order, critical at 257");
  EXPECT_TRUE(eventually([&] {
    sender.listen();
    return sender.replies == kAccepted + 1;
  }));
  EXPECT_TRUE(eventually([&] { return sender.send(to, 0) == SendStatus::sent; }));
}

TEST(EngineFull, BodiesThatWaitFillTheirStoreAndAreRefusedUntilTheirAgentIsBack) {
  constexpr std::size_t kBody = 60'000;
  constexpr std::size_t kBlocks = (kBody + sched::kMessageHeaderBytes + 1'023) / 1'024;
  constexpr std::size_t kKept = 2'560 / kBlocks;  // the store of a small mesh has 2.5 MiB
  const ScratchDirectory directory;
  Child first([](const Channel& channel) { return late_reader(channel, "sleeper"); });
  const Child second([](const Channel& channel) { return late_reader(channel, "sleeper"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  first.tell(directory.path());
  ASSERT_EQ(first.hear(), "enrolled");
  first.end();
  ASSERT_TRUE(eventually([&] { return engine->status()->stations == 0; }));
  const AgentId to = engine->find("sleeper").value();
  std::vector<std::byte> body(kBody);
  for (std::uint64_t number = 0; number < kKept; ++number) {
    std::memcpy(body.data(), &number, sizeof number);
    ASSERT_TRUE(engine->send(to, body).has_value()) << number;
  }
  const auto refused = engine->send(to, body);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::parked_full);
  EXPECT_EQ(engine->status()->counters.parked_full, 1U);
  second.tell(directory.path());
  ASSERT_EQ(second.hear(), "enrolled");
  second.tell(std::to_string(kKept));
  EXPECT_EQ(second.hear(), std::to_string(kKept) + " in order");
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == kKept; }));
  EXPECT_TRUE(engine->send(to, body).has_value());
}

// Both ways: found in its inbox by its station, and by the engine before it was given to anybody.
TEST(EngineFull, WhatIsReadTooLateIsNeverSeenAndItsSenderIsTold) {
  const ScratchDirectory directory;
  const Child late([](const Channel& channel) { return late_reader(channel, "late"); });
  Child away([](const Channel& channel) { return late_reader(channel, "away"); });
  const Child back([](const Channel& channel) { return late_reader(channel, "away"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  for (const Child* const child : {&late, static_cast<const Child*>(&away)}) {
    child->tell(directory.path());
    ASSERT_EQ(child->hear(), "enrolled");
  }
  const AgentId to_late = engine->find("late").value();
  const AgentId to_away = engine->find("away").value();
  away.end();
  ASSERT_TRUE(eventually([&] { return engine->status()->stations == 1; }));
  Sender sender(directory.path());
  sender.ttl_ms = 50;
  for (const AgentId to : {to_late, to_away}) {
    ASSERT_EQ(sender.send(to, 7), SendStatus::sent);
    ASSERT_EQ(sender.send(to, 8), SendStatus::sent);
  }
  sender.ttl_ms = 0;
  for (const AgentId to : {to_late, to_away}) ASSERT_EQ(sender.send(to, 0), SendStatus::sent);
  const HostTime sent = sender.station->now();
  ASSERT_TRUE(eventually([&] { return sender.station->now() - sent > Nanos{100 * kNsPerMs}; }));
  back.tell(directory.path());
  ASSERT_EQ(back.hear(), "enrolled");
  for (const Child* child : {&late, &back}) {
    child->tell("1");
    EXPECT_EQ(child->hear(), "1 in order") << "the one that lasts, and no other";
  }
  EXPECT_TRUE(eventually([&] {
    sender.listen();
    return sender.reports == 4 && sender.replies == 2;
  })) << sender.reports
      << " reports, " << sender.replies << " replies";
  EXPECT_EQ(engine->status()->counters.expired, 4U);
}

}  // namespace of_engine_full_test
}  // namespace mesh::testing
