// A mesh in plain memory: an EngineLoop on virtual time, and stations that do what a test tells
// them.
#pragma once

#include <cstdlib>
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
  bool answer(const sched::DeliveryRecord& delivery, sched::TrinaryState state,
              std::int64_t finished_ns) {
    sched::AnswerRecord record{};
    record.message = delivery.message;
    record.agent = delivery.target;
    record.operation = delivery.operation;
    record.received_ns = delivery.sent_ns;
    record.finished_ns = finished_ns;
    record.state = state;
    record.conflict_type = state == sched::TrinaryState::conflict
                               ? sched::ConflictType::data_contradiction
                               : sched::ConflictType::none;
    record.kind = sched::RecordKind::answer;
    return put(record);
  }
  bool send_bare(AgentId from, AgentId to, std::span<const std::byte> body, std::int64_t created_ns,
                 std::uint32_t ttl_ms = 0) {
    sched::SendRecord record{};
    record.source = from;
    record.target = static_cast<std::uint64_t>(to);
    record.created_ns = created_ns;
    record.ttl_ms = ttl_ms;
    record.body_bytes = static_cast<std::uint32_t>(body.size());
    record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, sched::Priority::normal);
    record.kind = sched::RecordKind::send;
    record.flags = sched::RecordFlags::bare;
    if (!sched::set_bare_body(record, body)) throw std::runtime_error("too long to be bare");
    return put(record);
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

  LoopFixture(std::uint64_t agents, std::uint64_t station_count)
      : size{.agents = agents, .stations = station_count, .agents_per_station = agents},
        table(must(engine::table_layout(size)).total_bytes()),
        payload(must(engine::payload_layout(size)).total_bytes()),
        engine(must(engine::engine_layout(size)).total_bytes()),
        loop(must(EngineLoop::create({size, table.span(), payload.span(), engine.span()}, {},
                                     {.wakes = &wakes}))) {}

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
