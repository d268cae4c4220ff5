// What one scatter-gather of 30,000 agents in 8 stations costs the engine's thread: plan, dispatch
// and gather, beside the same records through the same number of bare rings, round by round in one
// run.
//
//     engine_loop_bench [--quick] [--json]
//
// The stations run in another process on the other core; all in one bucket, all awake, so no wake
// is counted. Then cascades in waves through the same mesh: coordinators, leads, everybody.
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "engine/loop/engine_loop.hpp"
#include "queues/spsc_ring.hpp"

namespace mesh::bench {
namespace {

using Ring = queues::SpscRing<>;
using engine::EngineLoop;

constexpr std::uint16_t kStations = 8;
constexpr std::uint32_t kAgentsEach = 3'750;
constexpr std::uint32_t kAgents = kStations * kAgentsEach;

struct NoWakes : engine::Wakes {
  void wake(StationId) noexcept override {}
};

// One station's memories, and its rings as the station sees them.
struct StationPlace {
  StationPlace()
      : in_layout(engine::station_in_layout(kAgentsEach).value()),
        out_layout(engine::station_out_layout(kAgentsEach).value()),
        in(in_layout.total_bytes()),
        out(out_layout.total_bytes()) {}
  std::span<std::byte> in_bytes() { return {in.at(0), in_layout.total_bytes()}; }
  std::span<std::byte> out_bytes() { return {out.at(0), out_layout.total_bytes()}; }
  Ring::Reader inbox() {
    return Ring::Reader::attach(
               in_layout.array<Ring::Slot>(in_bytes(), "inbox").value(),
               out_layout.array<Ring::ReaderPage>(out_bytes(), "inbox_reader").value().data())
        .value();
  }
  Ring::Writer outbox() {
    return Ring::Writer::take_over(
               out_layout.array<Ring::Slot>(out_bytes(), "outbox").value(),
               in_layout.array<Ring::ReaderPage>(in_bytes(), "outbox_reader").value().data())
        .value();
  }
  Ring::Writer bare_inbox() {
    return Ring::Writer::take_over(
               in_layout.array<Ring::Slot>(in_bytes(), "inbox").value(),
               out_layout.array<Ring::ReaderPage>(out_bytes(), "inbox_reader").value().data())
        .value();
  }
  Ring::Reader bare_outbox() {
    return Ring::Reader::attach(
               out_layout.array<Ring::Slot>(out_bytes(), "outbox").value(),
               in_layout.array<Ring::ReaderPage>(in_bytes(), "outbox_reader").value().data())
        .value();
  }

  shm::Layout in_layout;
  shm::Layout out_layout;
  SharedArea in;
  SharedArea out;
};

sched::AnswerRecord answer_to(const sched::DeliveryRecord& delivery) {
  return {.message = delivery.message,
          .agent = delivery.target,
          .operation = delivery.operation,
          .received_ns = delivery.sent_ns,
          .finished_ns = delivery.sent_ns,
          .body_offset = 0,
          .body_bytes = 0,
          .processing_us = 1,
          .state = sched::TrinaryState::ready,
          .conflict_type = sched::ConflictType::none,
          .kind = sched::RecordKind::answer,
          .flags = sched::RecordFlags::none};
}

// All stations in one process: each delivery is answered READY, a run of answers for a burst, until
// `stop`.
void answer_all(std::vector<std::unique_ptr<StationPlace>>& places, ShmWord<std::uint32_t>& stop) {
  struct Pump {
    Ring::Reader inbox;
    Ring::Writer outbox;
  };
  std::vector<Pump> pumps;
  for (auto& place : places) pumps.push_back({place->inbox(), place->outbox()});
  std::vector<sched::DeliveryRecord> got(256);
  while (stop.load_acquire() == 0) {  // SYNC bench.stop acquire
    for (Pump& pump : pumps) {
      const std::size_t room = std::min<std::size_t>(pump.outbox.free_slots(), got.size());
      std::size_t count = 0;
      pump.inbox.poll(room, [&](auto view) {
        got[count] = view.template read_as<sched::DeliveryRecord>();
        count += got[count].kind == sched::RecordKind::message ? 1U : 0U;
      });
      for (std::size_t at = 0; at < count;) {
        const Ring::Run run = pump.outbox.claim(count - at);
        pump.outbox.fill(run, [&](Ring::Slot& slot, std::uint64_t) {
          queues::build_in<sched::AnswerRecord>(slot) = answer_to(got[at++]);
        });
      }
      pump.outbox.reveal();
    }
  }
}

std::vector<std::unique_ptr<StationPlace>> make_places() {
  std::vector<std::unique_ptr<StationPlace>> places;
  for (int i = 0; i < kStations; ++i) places.push_back(std::make_unique<StationPlace>());
  return places;
}

struct Cost {
  double plan_us = 0, dispatch_us = 0, gather_us = 0;
  [[nodiscard]] double own_us() const { return plan_us + dispatch_us + gather_us; }
};

class Mesh {
 public:
  Mesh() : places(make_places()) {
    const engine::MeshSize size{
        .agents = kAgents, .stations = kStations, .agents_per_station = kAgentsEach};
    areas_.push_back(std::make_unique<SharedArea>(engine::table_layout(size)->total_bytes()));
    areas_.push_back(std::make_unique<SharedArea>(engine::payload_layout(size)->total_bytes()));
    areas_.push_back(std::make_unique<SharedArea>(engine::engine_layout(size)->total_bytes()));
    const auto bytes = [&](std::size_t i, std::size_t count) {
      return std::span<std::byte>(areas_[i]->at(0), count);
    };
    // As the engine does at its start: no page fault in what is measured.
    std::memset(areas_[0]->at(0), 0, engine::table_layout(size)->total_bytes());
    std::memset(areas_[1]->at(0), 0, engine::payload_layout(size)->total_bytes());
    std::memset(areas_[2]->at(0), 0, engine::engine_layout(size)->total_bytes());
    loop_ = EngineLoop::create(
                {size, bytes(0, engine::table_layout(size)->total_bytes()),
                 bytes(1, engine::payload_layout(size)->total_bytes()),
                 bytes(2, engine::engine_layout(size)->total_bytes())},
                {}, {.wakes = &wakes_, .read_clock = [](void*) noexcept { return now_ns(); }})
                .value();
    for (std::uint16_t number = 1; number <= kStations; ++number) {
      StationPlace& place = *places[number - 1U];
      MESH_ASSERT(
          loop_->attach(StationId{number}, {kAgentsEach, place.in_bytes(), place.out_bytes()}, 0));
      std::vector<std::string> names;
      for (std::uint32_t i = 0; i < kAgentsEach; ++i)
        names.push_back(
            std::string("a").append(std::to_string(number)).append("-").append(std::to_string(i)));
      std::vector<engine::AgentSpec> specs;
      for (const std::string& name : names) specs.push_back({name, sched::AgentClass::edge});
      MESH_ASSERT(loop_->enrol(StationId{number}, specs));
    }
  }
  Cost scatter() {
    const auto opened = loop_->open(
        {.horizon = Nanos{60 * kNsPerMs}, .window = Nanos{400 * kNsPerMs}}, from_ns(now_ns()));
    MESH_ASSERT(opened.has_value());
    for (;;) {
      loop_->tick(from_ns(now_ns()));
      const auto finished = loop_->take_finished();
      if (!finished) continue;
      MESH_ASSERT(finished->result.counts.ready == kAgents);
      const auto us = [](std::int64_t ns) { return static_cast<double>(ns) / 1e3; };
      return {us(finished->cost.plan_ns), us(finished->cost.dispatch_ns),
              us(finished->cost.gather_ns)};
    }
  }
  // One wave to everybody: of the engine's thread, and from its begin to its end.
  std::pair<double, double> cascade() {
    const auto opened = loop_->open_cascade({}, from_ns(now_ns()));
    MESH_ASSERT(opened.has_value());
    for (;;) {
      loop_->tick(from_ns(now_ns()));
      const auto finished = loop_->take_finished_cascade();
      if (!finished) continue;
      MESH_ASSERT(finished->agents.ready == kAgents);
      MESH_ASSERT(finished->operations == 1 + 100 + 1'000);
      return {static_cast<double>(finished->engine_ns) / 1e3,
              static_cast<double>(finished->total_ns) / 1e3};
    }
  }
  std::vector<std::unique_ptr<StationPlace>> places;

 private:
  NoWakes wakes_;
  std::vector<std::unique_ptr<SharedArea>> areas_;
  std::unique_ptr<EngineLoop> loop_;
};

// The same number of records there and back through bare rings: the writer's and the reader's own
// time.
double bare_us(std::vector<Ring::Writer>& inboxes, std::vector<Ring::Reader>& outboxes) {
  std::int64_t own_ns = 0;
  const std::int64_t start = now_ns();
  for (Ring::Writer& inbox : inboxes) {
    for (std::uint32_t left = kAgentsEach; left != 0;) {
      const Ring::Run run = inbox.claim(left);
      inbox.fill(run, [&](Ring::Slot& slot, std::uint64_t position) {
        queues::build_in<sched::DeliveryRecord>(slot) = {.message = sched::MessageWord{position},
                                                         .target = AgentId{position},
                                                         .sent_ns = start,
                                                         .arrive_ns = start,
                                                         .operation = OperationId{1},
                                                         .lead_us = 1,
                                                         .expected_us = 1,
                                                         .body_bytes = 0,
                                                         .confidence = 0,
                                                         .kind = sched::RecordKind::message,
                                                         .flags = sched::RecordFlags::none};
      });
      inbox.reveal();
      left -= static_cast<std::uint32_t>(run.slots.size());
    }
  }
  own_ns += now_ns() - start;
  std::uint64_t total = 0;
  for (std::uint32_t answered = 0; answered < kAgents;) {
    for (Ring::Reader& outbox : outboxes) {
      const std::int64_t before_poll = now_ns();
      const std::size_t taken = outbox.poll(256, [&](auto view) {
        const auto record = view.read();
        total += record.words[1] + record.words[4];
      });
      if (taken != 0) own_ns += now_ns() - before_poll;
      answered += static_cast<std::uint32_t>(taken);
    }
  }
  keep(total);
  return static_cast<double>(own_ns) / 1e3;
}

void cascades(Mesh& mesh, int rounds, std::vector<double>& own, std::vector<double>& total) {
  for (int round = 0; round < rounds; ++round) {
    const auto [engine_us, total_us] = mesh.cascade();
    own.push_back(engine_us);
    total.push_back(total_us);
  }
}

void write_row(const char* name, const Spread& spread, bool json) {
  if (json) {
    std::cout << "{\"name\":\"" << name << "\",\"us\":";
    write_json(std::cout, spread);
    std::cout << "}\n";
  } else {
    std::cout << "  " << name << ' ' << spread.median << " (" << spread.p10 << ".." << spread.p90
              << ")\n";
  }
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  using namespace mesh::bench;
  bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") quick = true;
    if (std::string_view(argv[i]) == "--json") json = true;
  }
  if (cores().here == cores().there) {
    std::cerr << "engine_loop_bench: two cores are needed, one is allowed\n";
    return 1;
  }
  const int rounds = quick ? 11 : 61;
  Mesh mesh;
  auto bare_places = make_places();
  SharedArea control(4096);
  auto* stop = reinterpret_cast<mesh::ShmWord<std::uint32_t>*>(control.at(0));
  std::vector<double> plan, dispatch, gather, own, bare, ratio, wave, wave_total;
  const double probe = probe_round_trip_ns();
  std::vector<std::unique_ptr<StationPlace>> all;
  for (auto& place : mesh.places) all.push_back(std::move(place));
  for (auto& place : bare_places) all.push_back(std::move(place));
  across([&] { answer_all(all, *stop); },
         [&] {
           std::vector<mesh::queues::SpscRing<>::Writer> inboxes;
           std::vector<mesh::queues::SpscRing<>::Reader> outboxes;
           for (std::size_t i = kStations; i < all.size(); ++i) {
             inboxes.push_back(all[i]->bare_inbox());
             outboxes.push_back(all[i]->bare_outbox());
           }
           for (int round = 0; round < rounds; ++round) {
             const Cost cost = mesh.scatter();
             bare.push_back(bare_us(inboxes, outboxes));
             plan.push_back(cost.plan_us);
             dispatch.push_back(cost.dispatch_us);
             gather.push_back(cost.gather_us);
             own.push_back(cost.own_us());
             ratio.push_back(own.back() / bare.back());
           }
           cascades(mesh, rounds, wave, wave_total);
           stop->store_release(1);  // SYNC bench.stop release
         });
  const auto show = [&](const char* name, std::vector<double>& samples) {
    write_row(name, spread_of(samples), json);
  };
  if (!json)
    std::cout << context()
              << "\n30,000 agents in 8 stations, one bucket, us of the engine's thread; " << rounds
              << " rounds; probe " << probe << " ns\n";
  show("plan      ", plan);
  show("dispatch  ", dispatch);
  show("gather    ", gather);
  show("engine own", own);
  show("bare rings", bare);
  show("own / bare", ratio);
  if (!json)
    std::cout << "cascades in waves, 1,101 operations each (bar: 10,000 us of the engine)\n";
  show("wave own  ", wave);
  show("wave total", wave_total);
  return 0;
}
