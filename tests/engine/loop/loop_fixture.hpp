// A mesh in plain memory: an EngineLoop on virtual time, and stations that do what a test tells
// them.
#pragma once

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <stdexcept>
#include <vector>

#include <sys/mman.h>

#include "engine/loop/engine_loop.hpp"
#include "engine/memory_map.hpp"
#include "queues/payload_log.hpp"
#include "queues/spsc_ring.hpp"
#include "sched/records.hpp"

namespace mesh::testing {

using engine::EngineLoop;
using Ring = queues::SpscRing<>;
using Log = queues::PayloadLog<>;

inline std::int64_t must(Status status) {
  if (!status) throw std::runtime_error(status.error().sentence);
  return 0;
}
template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().sentence);
  return std::move(*result);
}

// Zeroed, page-aligned, shared with children of this process.
class Memory {
 public:
  explicit Memory(std::size_t bytes)
      : bytes_((bytes + 4095) / 4096 * 4096),
        data_(static_cast<std::byte*>(
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    if (data_ == MAP_FAILED) throw std::runtime_error("mmap");
  }
  ~Memory() { ::munmap(data_, bytes_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::span<std::byte> span() { return {data_, bytes_}; }

 private:
  std::size_t bytes_;
  std::byte* data_;
};

struct Wakes : engine::Wakes {
  std::map<std::uint16_t, int> count;
  void wake(StationId station) noexcept override { ++count[static_cast<std::uint16_t>(station)]; }
};

// The station's end of its two memories, written without the client library.
class RawStation {
 public:
  RawStation(StationId station, std::uint32_t declared)
      : number(station),
        in_layout(must(engine::station_in_layout(declared))),
        out_layout(must(engine::station_out_layout(declared))),
        in(in_layout.total_bytes()),
        out(out_layout.total_bytes()),
        agents(declared) {
    attach();
  }
  // To its memories as they are: also after a process that had them has died.
  void attach() {
    outbox = must(Ring::Writer::take_over(
        must(out_layout.array<Ring::Slot>(out.span(), "outbox")),
        must(in_layout.array<Ring::ReaderPage>(in.span(), "outbox_reader")).data()));
    inbox = must(Ring::Reader::attach(
        must(in_layout.array<Ring::Slot>(in.span(), "inbox")),
        must(out_layout.array<Ring::ReaderPage>(out.span(), "inbox_reader")).data()));
    own_bodies = must(
        Log::Reader::attach(words(in_layout, in, "bodies"),
                            must(in_layout.array<Log::Header>(in.span(), "bodies.header")).data()));
    sent_bodies = must(Log::Writer::take_over(
        words(out_layout, out, "bodies"),
        must(out_layout.array<Log::Header>(out.span(), "bodies.header")).data()));
  }
  engine::StationMemory memory() { return {agents, in.span(), out.span()}; }

  static std::span<Log::Word> words(const shm::Layout& layout, Memory& memory, const char* region) {
    const shm::Region* const found = layout.find(region);
    return must(shm::resolve(memory.span(), shm::Offset<Log::Word>{found->offset},
                             found->size_bytes / sizeof(Log::Word)));
  }

  std::vector<sched::DeliveryRecord> poll(std::size_t limit = 65'536) {
    std::vector<sched::DeliveryRecord> got;
    inbox.poll(limit,
               [&](auto view) { got.push_back(view.template read_as<sched::DeliveryRecord>()); });
    return got;
  }
  template <class Record>
  bool put(const Record& record) {
    const auto run = outbox.claim(1);
    if (run.slots.empty()) return false;
    outbox.fill(run, [&](auto& slot, std::uint64_t) { queues::build_in<Record>(slot) = record; });
    outbox.reveal();
    return true;
  }
  // Of a bare one that field is body.
  static OperationId operation_of(const sched::DeliveryRecord& delivery) {
    return sched::has(delivery.flags, sched::RecordFlags::bare) ? OperationId{}
                                                                : delivery.operation;
  }
  bool answer(const sched::DeliveryRecord& delivery, sched::TrinaryState state,
              std::int64_t finished_ns) {
    sched::AnswerRecord record{};
    record.message = delivery.message;
    record.agent = delivery.target;
    record.operation = operation_of(delivery);
    record.received_ns = delivery.sent_ns;
    record.finished_ns = finished_ns;
    record.state = state;
    record.conflict_type = state == sched::TrinaryState::conflict
                               ? sched::ConflictType::data_contradiction
                               : sched::ConflictType::none;
    record.kind = sched::RecordKind::answer;
    return put(record);
  }
  // A message with header and body.
  struct Message {
    AgentId source{};
    std::uint64_t target = 0;
    bool is_selector = false;
    sched::Strategy strategy = sched::Strategy::direct;
    sched::Priority priority = sched::Priority::normal;
    std::int64_t created_ns = 0;
    std::int64_t arrive_ns = 0;
    std::uint32_t ttl_ms = 0;
    bool confidential = false;
    std::vector<std::uint8_t> capabilities{};
    sched::MessageId correlation{};
    std::span<const std::byte> body{};
  };
  bool send(const Message& message) {
    sched::MessageHeader header{};
    header.correlation = message.correlation;
    header.body_bytes = static_cast<std::uint32_t>(message.body.size());
    header.set_weight(1);
    header.verb = sched::Verb::act;
    header.strategy = message.strategy;
    header.priority = message.priority;
    for (const std::uint8_t bit : message.capabilities)
      header.capabilities[bit / 64] |= std::uint64_t{1} << (bit % 64);
    const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                          message.body};
    // What the engine has taken in may go.
    if (outbox.free_slots() == outbox.capacity())
      static_cast<void>(sent_bodies.advance_tail(sent_bodies.head()));
    const auto appended = sent_bodies.append(parts);
    if (appended.status != queues::AppendStatus::kOk) return false;
    sched::SendRecord record{};
    record.source = message.source;
    record.target = message.target;
    record.created_ns = message.created_ns;
    record.arrive_ns = message.arrive_ns;
    record.ttl_ms = message.ttl_ms;
    record.body_offset = static_cast<std::uint32_t>(appended.position);
    record.body_bytes = header.body_bytes;
    record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, message.priority);
    record.kind = sched::RecordKind::send;
    if (message.is_selector) record.flags = record.flags | sched::RecordFlags::selector;
    if (message.confidential) record.flags = record.flags | sched::RecordFlags::confidential;
    return put(record);
  }
  // The bodies of answers, as the station would write them.
  bool answer_with(const sched::DeliveryRecord& delivery, std::span<const std::byte> body,
                   std::int64_t finished_ns) {
    const auto appended = sent_bodies.append(body);
    if (appended.status != queues::AppendStatus::kOk) return false;
    sched::AnswerRecord record{};
    record.message = delivery.message;
    record.agent = delivery.target;
    record.operation = operation_of(delivery);
    record.received_ns = delivery.sent_ns;
    record.finished_ns = finished_ns;
    record.body_offset = static_cast<std::uint32_t>(appended.position);
    record.body_bytes = static_cast<std::uint32_t>(body.size());
    record.state = sched::TrinaryState::ready;
    record.kind = sched::RecordKind::answer;
    return put(record);
  }
  // What a delivery says: its header, and the body behind it.
  struct Read {
    bool is_there = false;
    sched::MessageHeader header{};
    std::string body;
  };
  [[nodiscard]] Read read(const sched::DeliveryRecord& delivery) const {
    Read read;
    if (sched::has(delivery.flags, sched::RecordFlags::bare)) {
      const sched::BareBody bare = sched::bare_body(delivery);
      read.is_there = true;
      read.header.id = {0, static_cast<std::uint64_t>(delivery.message)};
      read.header.source = sched::bare_source(delivery);
      read.body.assign(reinterpret_cast<const char*>(bare.bytes), bare.size_bytes);
      return read;
    }
    std::vector<std::byte> room(sched::kMessageHeaderBytes + delivery.body_bytes);
    const auto copied = own_bodies.copy(sched::position_of(delivery.message), room);
    if (copied.status != queues::BodyStatus::kRead || copied.length != room.size()) return read;
    read.is_there = true;
    std::memcpy(&read.header, room.data(), sizeof read.header);
    read.body.assign(reinterpret_cast<const char*>(room.data()) + sizeof read.header,
                     delivery.body_bytes);
    return read;
  }
  static sched::SendRecord bare(AgentId from, AgentId to, std::span<const std::byte> body,
                                std::int64_t created_ns) {
    sched::SendRecord record{};
    record.source = from;
    record.target = static_cast<std::uint64_t>(to);
    record.created_ns = created_ns;
    record.body_bytes = static_cast<std::uint32_t>(body.size());
    record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, sched::Priority::normal);
    record.kind = sched::RecordKind::send;
    record.flags = sched::RecordFlags::bare;
    if (!sched::set_bare_body(record, body)) throw std::runtime_error("too long to be bare");
    return record;
  }
  bool send_bare(AgentId from, AgentId to, std::span<const std::byte> body,
                 std::int64_t created_ns) {
    return put(bare(from, to, body, created_ns));
  }

  StationId number;
  shm::Layout in_layout;
  shm::Layout out_layout;
  Memory in;
  Memory out;
  std::uint32_t agents;
  Ring::Writer outbox;
  Ring::Reader inbox;
  Log::Reader own_bodies;
  Log::Writer sent_bodies;
};

class LoopFixture {
 public:
  static constexpr std::int64_t kStartNs = 1'000'000'000'000;

  LoopFixture(std::uint64_t agents, std::uint64_t station_count,
              const engine::LoopOptions& loop_options = {})
      : LoopFixture(
            engine::MeshSize{
                .agents = agents, .stations = station_count, .agents_per_station = agents},
            loop_options) {}
  LoopFixture(const engine::MeshSize& mesh_size, const engine::LoopOptions& loop_options)
      : options(loop_options),
        size(mesh_size),
        table(must(engine::table_layout(size)).total_bytes()),
        payload(must(engine::payload_layout(size)).total_bytes()),
        engine(must(engine::engine_layout(size)).total_bytes()),
        loop(make()) {}
  std::unique_ptr<EngineLoop> make() {
    return must(EngineLoop::create({size, table.span(), payload.span(), engine.span()}, options,
                                   {.wakes = &wakes}));
  }
  // Another engine over the same memory; stations are readopted.
  void restart() {
    loop.reset();
    loop = make();
    for (auto& station : stations) must(loop->readopt(station->number, station->memory(), 1000));
  }

  // A station with `count` agents named prefix-0 ... of one class.
  RawStation& add(std::uint16_t number, std::uint32_t count, const std::string& prefix,
                  sched::AgentClass agent_class = sched::AgentClass::edge) {
    stations.push_back(std::make_unique<RawStation>(StationId{number}, count));
    RawStation& station = *stations.back();
    must(loop->attach(station.number, station.memory(), 1000));
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < count; ++i) names.push_back(prefix + "-" + std::to_string(i));
    std::vector<engine::AgentSpec> specs;
    for (const std::string& name : names) specs.push_back({name, agent_class});
    ids[number] = must(loop->enrol(station.number, specs));
    return station;
  }
  // The station's process is gone, as the engine sees it.
  void lose(std::uint16_t number, engine::Departure departure = engine::Departure::lost) {
    loop->detach(StationId{number}, from_ns(now_ns), departure);
    std::erase_if(stations,
                  [&](const auto& station) { return station->number == StationId{number}; });
  }
  engine::TickResult tick(std::int64_t after_ns = 0) {
    now_ns += after_ns;
    return loop->tick(from_ns(now_ns));
  }
  // Ticks each `step_ns` until `until_ns` from now, calling `each` after every tick.
  void run(std::int64_t until_ns, std::int64_t step_ns, const std::function<void()>& each = {}) {
    for (const std::int64_t end = now_ns + until_ns; now_ns < end;) {
      tick(step_ns);
      if (each) each();
    }
  }

  engine::LoopOptions options;
  engine::MeshSize size;
  Memory table;
  Memory payload;
  Memory engine;
  Wakes wakes;
  std::unique_ptr<EngineLoop> loop;
  std::vector<std::unique_ptr<RawStation>> stations;
  std::map<std::uint16_t, std::vector<AgentId>> ids;
  std::int64_t now_ns = kStartNs;
};

}  // namespace mesh::testing
