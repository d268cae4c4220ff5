// A station's core over plain memory, and the engine's end of it, played by the test: no thread, no
// socket, a clock that stands until it is moved.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "engine/station/station_core.hpp"

namespace mesh::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class ZeroedPages {
 public:
  explicit ZeroedPages(std::size_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(std::aligned_alloc(4'096, bytes))) {
    std::memset(data_, 0, bytes_);
  }
  ~ZeroedPages() { std::free(data_); }
  ZeroedPages(const ZeroedPages&) = delete;
  ZeroedPages& operator=(const ZeroedPages&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::size_t bytes_;
  std::byte* data_;
};

class CoreFixture : public ::testing::Test {
 public:
  static constexpr std::uint32_t kAgents = 4;
  static constexpr engine::MeshSize kSize{.agents = 64, .stations = 2, .agents_per_station = 32};

  CoreFixture()
      : table_(engine::table_layout(kSize)->total_bytes()),
        payload_(engine::payload_layout(kSize)->total_bytes()),
        in_(engine::station_in_layout(kAgents)->total_bytes()),
        out_(engine::station_out_layout(kAgents)->total_bytes()) {}

  void SetUp() override {
    ids_ = engine::table_layout(kSize)->column<AgentId>(table_.bytes(), "agent.id").value();
    stations_ =
        engine::table_layout(kSize)->column<StationId>(table_.bytes(), "agent.station").value();
    inbox_full_ = engine::table_layout(kSize)
                      ->array<ShmWord<std::uint8_t>>(table_.bytes(), "inbox_full")
                      .value();
    breakers_ = engine::table_layout(kSize)
                    ->array<engine::BodyWord>(table_.bytes(), "breaker.word")
                    .value();
    open_until_ = engine::table_layout(kSize)
                      ->array<ShmWord<std::int64_t>>(table_.bytes(), "breaker.open_until_ns")
                      .value();
    side_ = engine::EngineSide::over(kAgents, in_.bytes(), out_.bytes()).value();
    inbox_ = engine::Ring::Writer::take_over(side_.inbox, side_.inbox_reader).value();
    outbox_ = engine::Ring::Reader::attach(side_.outbox, side_.outbox_reader).value();
    bodies_ = engine::BodyLog::Writer::take_over(side_.in_bodies, side_.in_bodies_header).value();
    sent_bodies_ =
        engine::BodyLog::Reader::attach(side_.out_bodies, side_.out_bodies_header).value();
    engine::CoreOptions options;
    options.agents = kAgents;
    options.mesh_agents = kSize.agents;
    options.side = engine::StationSide::over(kAgents, in_.bytes(), out_.bytes()).value();
    options.table = engine::TableView::over(kSize, table_.bytes()).value();
    options.payload = engine::PayloadView::over(kSize, payload_.bytes()).value();
    options.read_clock = [](void* now) noexcept { return *static_cast<std::int64_t*>(now); };
    options.clock_context = &now_ns_;
    core_ = engine::StationCore::create(options).value();
    for (std::uint32_t row = 0; row < kAgents; ++row) {
      ids_.store_relaxed(row + 10, agent(row));
      mine_.push_back(agent(row));
    }
    ASSERT_TRUE(core_->add_agents(mine_).has_value());
    ids_.store_relaxed(40, stranger());
  }

  static AgentId agent(std::uint32_t place) {
    return agent_id(AgentIndex{place + 10}, Generation{3});
  }
  static AgentId stranger() { return agent_id(AgentIndex{40}, Generation{9}); }

  // The engine's part.
  struct Given {
    AgentId target{};
    std::uint64_t message = 1;  // low half of its id
    std::int64_t expires_ns = 0;
    OperationId operation{};
    sched::RecordKind kind = sched::RecordKind::message;
    sched::RecordFlags flags = sched::RecordFlags::none;
  };
  std::uint64_t append_body(const Given& given, std::string_view text) {
    sched::MessageHeader header{};
    header.id = {7, given.message};
    header.source = stranger();
    header.expires_ns = given.expires_ns;
    header.set_weight(0.5F);
    header.body_bytes = static_cast<std::uint32_t>(text.size());
    header.verb = sched::Verb::decide;
    header.strategy = sched::Strategy::direct;
    header.priority = sched::Priority::high;
    const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                          bytes_of(text)};
    const auto appended = bodies_.append(parts);
    EXPECT_EQ(appended.status, queues::AppendStatus::kOk);
    return appended.position;
  }
  void deliver_at(const Given& given, std::uint64_t position, std::size_t body_bytes) {
    sched::DeliveryRecord record{};
    record.message = sched::in_inbox(position);
    record.target = given.target;
    record.sent_ns = now_ns_ - 2 * kNsPerMs;
    record.arrive_ns = 77;
    record.operation = given.operation;
    record.lead_us = 5;
    record.body_bytes = static_cast<std::uint32_t>(body_bytes);
    record.kind = given.kind;
    record.flags = given.flags;
    publish(record);
  }
  void deliver(const Given& given, std::string_view text) {
    deliver_at(given, append_body(given, text), text.size());
  }
  void publish(const sched::DeliveryRecord& record) {
    const auto run = inbox_.claim(1);
    ASSERT_EQ(run.status, queues::ClaimStatus::kOk);
    inbox_.fill(run, [&](engine::Ring::Slot& slot, std::uint64_t) {
      queues::build_in<sched::DeliveryRecord>(slot) = record;
    });
    inbox_.reveal();
  }
  template <class Record>
  std::vector<Record> take() {
    std::vector<Record> records;
    outbox_.poll(100'000, [&](const engine::Ring::Reader::View& view) {
      records.push_back(view.read_as<Record>());
    });
    return records;
  }
  std::string sent_body(std::uint32_t offset) {
    std::string text(100'000, '\0');
    const auto copied =
        sent_bodies_.copy(sent_bodies_.widen(offset), std::as_writable_bytes(std::span(text)));
    EXPECT_EQ(copied.status, queues::BodyStatus::kRead);
    text.resize(copied.length);
    return text;
  }

 protected:
  std::int64_t now_ns_ = kNsPerSecond;
  ZeroedPages table_, payload_, in_, out_;
  shm::Column<HostMemory, AgentId> ids_;
  std::span<engine::BodyWord> breakers_;
  std::span<ShmWord<std::int64_t>> open_until_;
  shm::Column<HostMemory, StationId> stations_;
  std::span<ShmWord<std::uint8_t>> inbox_full_;
  engine::EngineSide side_;
  engine::Ring::Writer inbox_;
  engine::Ring::Reader outbox_;
  engine::BodyLog::Writer bodies_;
  engine::BodyLog::Reader sent_bodies_;
  std::vector<AgentId> mine_;
  std::unique_ptr<engine::StationCore> core_;
};

}  // namespace mesh::testing
