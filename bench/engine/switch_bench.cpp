// One message through the switch: a station's outbox, the engine, another station's inbox. Both
// stations on one thread, the engine's loop on the other core, beside what it is made of: two bare
// hand-overs of a cache line, and one bare ring. All in one run, round by round.
//
//     engine_switch_bench [--quick] [--json] [--bare] [--rates]
//
// --bare      messages of 16 bytes alone
// --rates     hardly any messages one at a time: for a profile of the throughput
//
// one way     from send() to the other station's handler, one message at a time; over the time of
//             two hand-overs (there and back of one line). Each message is answered and the answer
//             goes back to its sender, between two samples.
// throughput  messages a second, in bursts, each answered; and all deliveries that the engine made
//             meanwhile (messages, and replies to their senders), over the records a second of a
//             bare ring whose reader is on the other core, in runs of 256. The same ring with each
//             record revealed for itself stands beside it.
#include <cstdlib>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/station/station_core.hpp"
#include "queues/spsc_ring.hpp"
#include "sched/clock.hpp"

namespace mesh::bench {
namespace {

using engine::Answer;
using engine::Delivery;
using engine::StationCore;
using Ring = queues::SpscRing<>;

constexpr engine::MeshSize kSize{.agents = 64, .stations = 2, .agents_per_station = 2'048};
constexpr std::uint32_t kDeclared = 2'048;  // rings of 4,096 slots, as the bare one
constexpr std::size_t kBareSlots = 4'096;
constexpr std::uint64_t kRun = 256;
constexpr std::uint64_t kRingPart = 32 * kRun;
constexpr std::uint64_t kSwitchPart = 1'000;
constexpr std::uint64_t kSendRun = 128;
constexpr std::uint64_t kUnderWay = 8 * kSendRun;  // sent and not answered: a quarter of the inbox

struct NoWakes : engine::Wakes {
  void wake(StationId) noexcept override {}
};

// What the other core does meanwhile; it says so in `at` when it has begun.
enum class Work : std::uint32_t { kRest, kEngine, kLine, kRing, kStop };
struct Orders {
  explicit Orders(SharedArea& area)
      : wanted(reinterpret_cast<ShmWord<std::uint32_t>*>(area.at(0))),
        at(reinterpret_cast<ShmWord<std::uint32_t>*>(area.at(kIsolation))) {}
  void give(Work work) const {
    wanted->store_release(static_cast<std::uint32_t>(work));  // SYNC bench.order release
    // SYNC bench.begun acquire
    while (at->load_acquire() != static_cast<std::uint32_t>(work)) queues::relax_cpu();
  }
  [[nodiscard]] Work current() const {
    return static_cast<Work>(wanted->load_acquire());  // SYNC bench.order acquire
  }
  ShmWord<std::uint32_t>* wanted;
  ShmWord<std::uint32_t>* at;
};

// As the scheduler's thread and a station read it: the mesh's own clock, from ticks.
std::int64_t mesh_clock(void* reader) noexcept {
  return static_cast<sched::ClockReader<>*>(reader)->now_ns();
}

std::span<std::byte> bytes_of(SharedArea& area, std::size_t size) { return {area.at(0), size}; }

// Two stations of one agent each, and their engine: the loop is ticked in the other process alone.
class Mesh {
 public:
  Mesh()
      : table_(engine::table_layout(kSize)->total_bytes()),
        payload_(engine::payload_layout(kSize)->total_bytes()),
        engine_(engine::engine_layout(kSize)->total_bytes()),
        words_(&engine::table_layout(kSize)
                    ->array<sched::ClockWords>(
                        bytes_of(table_, engine::table_layout(kSize)->total_bytes()), "clock")
                    ->front()),
        publisher_(*words_),
        clock_(*words_) {
    loop_ = engine::EngineLoop::create(
                {kSize, bytes_of(table_, engine::table_layout(kSize)->total_bytes()),
                 bytes_of(payload_, engine::payload_layout(kSize)->total_bytes()),
                 bytes_of(engine_, engine::engine_layout(kSize)->total_bytes())},
                {}, {.wakes = &wakes_, .read_clock = &mesh_clock, .context = &clock_})
                .value();
    for (std::uint16_t number = 1; number <= 2; ++number) attach(number);
  }

  void tick() { loop_->tick(clock_.now()); }
  [[nodiscard]] StationCore& station(std::size_t which) { return *cores_[which]; }
  [[nodiscard]] AgentId agent(std::size_t which) const { return agents_[which]; }

 private:
  void attach(std::uint16_t number) {
    ins_.push_back(
        std::make_unique<SharedArea>(engine::station_in_layout(kDeclared)->total_bytes()));
    outs_.push_back(
        std::make_unique<SharedArea>(engine::station_out_layout(kDeclared)->total_bytes()));
    const auto in = bytes_of(*ins_.back(), engine::station_in_layout(kDeclared)->total_bytes());
    const auto out = bytes_of(*outs_.back(), engine::station_out_layout(kDeclared)->total_bytes());
    MESH_ASSERT(loop_->attach(StationId{number}, {kDeclared, in, out}, 0));
    const std::string name = "agent-" + std::to_string(number);
    const std::vector<engine::AgentSpec> specs{{.name = name}};
    agents_.push_back(loop_->enrol(StationId{number}, specs).value().front());
    engine::CoreOptions options;
    options.agents = kDeclared;
    options.mesh_agents = kSize.agents;
    options.side = engine::StationSide::over(kDeclared, in, out).value();
    options.table =
        engine::TableView::over(kSize, bytes_of(table_, engine::table_layout(kSize)->total_bytes()))
            .value();
    options.payload = engine::PayloadView::over(
                          kSize, bytes_of(payload_, engine::payload_layout(kSize)->total_bytes()))
                          .value();
    options.read_clock = &mesh_clock;
    options.clock_context = &clock_;
    cores_.push_back(StationCore::create(options).value());
    MESH_ASSERT(cores_.back()->add_agents(std::span(&agents_.back(), 1)));
  }

  NoWakes wakes_;
  SharedArea table_, payload_, engine_;
  sched::ClockWords* words_;
  sched::ClockPublisher<> publisher_;
  sched::ClockReader<> clock_;
  std::vector<std::unique_ptr<SharedArea>> ins_, outs_;
  std::unique_ptr<engine::EngineLoop> loop_;
  std::vector<std::unique_ptr<StationCore>> cores_;
  std::vector<AgentId> agents_;
};

// A bare ring, its reader on the other core.
class BareRing {
 public:
  BareRing() : area_(4'096 + kBareSlots * kSlotBytes) {}
  Ring::Writer writer() { return Ring::Writer::take_over(slots(), page()).value(); }
  Ring::Reader reader() { return Ring::Reader::attach(slots(), page()).value(); }

 private:
  std::span<Ring::Slot> slots() {
    return {reinterpret_cast<Ring::Slot*>(area_.at(4'096)), kBareSlots};
  }
  Ring::ReaderPage* page() { return reinterpret_cast<Ring::ReaderPage*>(area_.at(0)); }
  SharedArea area_;
};

struct Message {
  std::string name;
  bool bare = false;
  std::vector<std::byte> body;
};
std::vector<Message> messages(bool bare_alone) {
  std::vector<Message> kinds{{"bare, 16 bytes", true, std::vector<std::byte>(16)}};
  if (bare_alone) return kinds;
  kinds.push_back({"64 bytes", false, std::vector<std::byte>(64)});
  kinds.push_back({"1 KiB", false, std::vector<std::byte>(1'024)});
  return kinds;
}

// Rates of equal parts of a run, and their median: what a preemption of either core stretched is a
// part of its own.
class Parts {
 public:
  explicit Parts(std::uint64_t each) : each_(each), next_(each), last_ns_(now_ns()) {}
  void note(std::uint64_t done) {
    if (done < next_) return;
    const std::int64_t now = now_ns();
    rates_.push_back(static_cast<double>(done - begun_) * 1e3 /
                     static_cast<double>(now - last_ns_));
    begun_ = done;
    next_ = done + each_;
    last_ns_ = now;
  }
  [[nodiscard]] double median() const { return spread_of(rates_).median; }  // millions a second

 private:
  std::uint64_t each_;
  std::uint64_t begun_ = 0;
  std::uint64_t next_;
  std::int64_t last_ns_;
  std::vector<double> rates_;
};

class Bench {
 public:
  Bench() : orders_area_(4'096), line_area_(4'096), orders_(orders_area_) {
    line_ = reinterpret_cast<ShmWord<std::uint32_t>*>(line_area_.at(0));
  }

  void other_core();
  // Nanoseconds, one for each exchange.
  std::vector<double> two_hand_overs(std::uint32_t count);
  std::vector<double> one_way(const Message& message, std::uint32_t count);
  // Millions a second.
  double ring_rate(std::uint64_t count, std::uint64_t run);
  struct SwitchRate {
    double messages = 0;
    double deliveries = 0;
  };
  SwitchRate switch_rate(const Message& message, std::uint64_t count);
  void stop() const { orders_.give(Work::kStop); }

 private:
  void send(const Message& message);

  Mesh mesh_;
  BareRing ring_;
  SharedArea orders_area_;
  SharedArea line_area_;
  Orders orders_;
  ShmWord<std::uint32_t>* line_ = nullptr;
  std::uint32_t line_value_ = 0;
};

void Bench::other_core() {
  Ring::Reader reader = ring_.reader();
  std::uint64_t total = 0;
  for (;;) {
    const Work work = orders_.current();
    orders_.at->store_release(static_cast<std::uint32_t>(work));  // SYNC bench.begun release
    if (work == Work::kStop) break;
    if (work == Work::kRest) queues::relax_cpu();
    if (work == Work::kEngine) mesh_.tick();
    if (work == Work::kRing) {
      reader.poll(256, [&](auto view) {
        const auto record = view.read();
        total += record.words[0] + record.words[6];
      });
    }
    if (work != Work::kLine) continue;
    const std::uint32_t value = line_->load_acquire();    // SYNC bench.switch_line acquire
    if (value % 2 == 1) line_->store_release(value + 1);  // SYNC bench.switch_line release
  }
  keep(total);
}

std::vector<double> Bench::two_hand_overs(std::uint32_t count) {
  orders_.give(Work::kLine);
  std::vector<double> samples(count);
  for (double& sample : samples) {
    const std::int64_t start = now_ns();
    line_->store_release(line_value_ + 1);  // SYNC bench.switch_line release
    line_value_ += 2;
    while (line_->load_acquire() != line_value_) {  // SYNC bench.switch_line acquire
    }
    sample = static_cast<double>(now_ns() - start);
  }
  orders_.give(Work::kRest);
  return samples;
}

void Bench::send(const Message& message) {
  engine::SendOptions options;
  options.source = mesh_.agent(0);
  options.target = mesh_.agent(1);
  options.bare = message.bare;
  const auto status = mesh_.station(0).send(options, message.body);
  MESH_ASSERT(status == engine::SendStatus::sent);
}

std::vector<double> Bench::one_way(const Message& message, std::uint32_t count) {
  orders_.give(Work::kEngine);
  std::vector<double> samples(count);
  StationCore& from = mesh_.station(0);
  StationCore& to = mesh_.station(1);
  for (double& sample : samples) {
    const std::int64_t start = now_ns();
    send(message);
    static_cast<void>(from.flush());
    bool arrived = false;
    while (!arrived) {
      to.poll(1, [&](const Delivery&) {
        sample = static_cast<double>(now_ns() - start);
        arrived = true;
        return Answer::ready();
      });
    }
    static_cast<void>(to.flush());
    bool replied = false;
    while (!replied) {
      from.poll(1, [&](const Delivery&) {
        replied = true;
        return Answer::ready();
      });
    }
  }
  orders_.give(Work::kRest);
  return samples;
}

double Bench::ring_rate(std::uint64_t count, std::uint64_t at_once) {
  orders_.give(Work::kRing);
  Ring::Writer writer = ring_.writer();
  const std::uint64_t begin = writer.head();
  const std::uint64_t end = begin + count;
  Parts parts(kRingPart);
  while (writer.head() != end) {
    const Ring::Run run = writer.claim(std::min(at_once, end - writer.head()));
    if (run.slots.empty()) continue;
    writer.fill(run, [](Ring::Slot& slot, std::uint64_t position) {
      queues::build_in<Ring::Record>(slot) = {
          {position, position, position, position, position, position, position}};
    });
    writer.reveal();
    parts.note(writer.head() - begin);
  }
  while (writer.free_slots() != kBareSlots) {
  }
  orders_.give(Work::kRest);
  return parts.median();
}

Bench::SwitchRate Bench::switch_rate(const Message& message, std::uint64_t count) {
  orders_.give(Work::kEngine);
  StationCore& from = mesh_.station(0);
  StationCore& to = mesh_.station(1);
  std::uint64_t sent = 0;
  std::uint64_t replied = 0;
  std::uint64_t arrived = 0;
  Parts parts(kSwitchPart);
  while (replied != count) {
    // Whole runs: one that is topped up as replies trickle in is a run of two or three.
    if (const std::uint64_t run = std::min(kSendRun, count - sent);
        sent - replied + run <= kUnderWay) {
      for (std::uint64_t i = 0; i < run; ++i) send(message);
      sent += run;
      static_cast<void>(from.flush());
    }
    to.poll(kRun, [&](const Delivery&) {
      ++arrived;
      return Answer::ready();
    });
    static_cast<void>(to.flush());
    from.poll(kRun, [&](const Delivery&) {
      ++replied;
      return Answer::ready();
    });
    parts.note(replied);
  }
  MESH_ASSERT(arrived == count);
  orders_.give(Work::kRest);
  return {parts.median(), 2 * parts.median()};
}

// Medians, or rates, of each round; what is printed is their spread.
struct Series {
  std::string name;
  std::vector<double> values;
  std::vector<double> over;  // the baseline of the same round
  std::vector<double> pooled;
};

void show(const Series& series, const char* unit, bool json) {
  const Spread spread = spread_of(series.values);
  const Spread over = spread_of(series.over);
  if (json) {
    std::cout << "{\"name\":\"" << series.name << "\",\"" << unit << "\":";
    write_json(std::cout, spread);
    std::cout << ",\"over_bare\":";
    write_json(std::cout, over);
    std::cout << "}\n";
    return;
  }
  std::cout << "  " << std::left << std::setw(28) << series.name << std::right << std::setw(8)
            << spread.median << ' ' << unit << " (" << spread.p10 << ".." << spread.p90
            << ")  over bare " << over.median << " (" << over.p10 << ".." << over.p90 << ')';
  if (!series.pooled.empty()) {
    const Latency all = latency_of(series.pooled);
    std::cout << "; p99 " << all.p99 << ", p99.9 " << all.p999 << ", max " << all.max;
  }
  std::cout << '\n';
}

struct Rounds {
  unsigned rounds = 0;
  std::uint32_t exchanges = 0;
  std::uint64_t records = 0;
  bool bare_alone = false;
};

void run(Bench& bench, const Rounds& rounds, bool json) {
  Series bare{"two bare hand-overs", {}, {}, {}};
  Series ring{"a bare ring, runs of 256", {}, {}, {}};
  Series ring_singly{"a bare ring, one by one", {}, {}, {}};
  std::vector<Series> latency;
  std::vector<Series> answered;
  std::vector<Series> delivered;
  const std::vector<Message> kinds = messages(rounds.bare_alone);
  for (const Message& kind : kinds) {
    latency.push_back({"one way, " + kind.name, {}, {}, {}});
    answered.push_back({"answered messages, " + kind.name, {}, {}, {}});
    delivered.push_back({"deliveries, " + kind.name, {}, {}, {}});
  }
  for (unsigned round = 0; round < rounds.rounds; ++round) {
    const auto note = [](Series& series, double value, double baseline) {
      series.values.push_back(value);
      series.over.push_back(value / baseline);
    };
    const auto p50_of = [](Series& series, const std::vector<double>& samples) {
      series.pooled.insert(series.pooled.end(), samples.begin(), samples.end());
      return latency_of(samples).p50;
    };
    const double line_ns = p50_of(bare, bench.two_hand_overs(rounds.exchanges));
    const double ring_rate = bench.ring_rate(rounds.records, kRun);
    note(bare, line_ns, line_ns);
    note(ring, ring_rate, ring_rate);
    note(ring_singly, bench.ring_rate(rounds.records, 1), ring_rate);
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      note(latency[i], p50_of(latency[i], bench.one_way(kinds[i], rounds.exchanges)), line_ns);
      const Bench::SwitchRate rate = bench.switch_rate(kinds[i], rounds.records / 4);
      note(answered[i], rate.messages, ring_rate);
      note(delivered[i], rate.deliveries, ring_rate);
    }
  }
  show(bare, "ns", json);
  for (const Series& series : latency) show(series, "ns", json);
  show(ring, "M/s", json);
  show(ring_singly, "M/s", json);
  for (const Series& series : answered) show(series, "M/s", json);
  for (const Series& series : delivered) show(series, "M/s", json);
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  using namespace mesh::bench;
  bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  bool json = false;
  bool bare = false;
  bool rates = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") quick = true;
    if (std::string_view(argv[i]) == "--json") json = true;
    if (std::string_view(argv[i]) == "--bare") bare = true;
    if (std::string_view(argv[i]) == "--rates") rates = true;
  }
  if (cores().here == cores().there) {
    std::cerr << "engine_switch_bench: two cores are needed, one is allowed\n";
    return 1;
  }
  const double probe = probe_round_trip_ns();
  Rounds rounds = quick ? Rounds{7, 2'000, 200'000, bare} : Rounds{51, 10'000, 1'000'000, bare};
  if (rates) rounds.exchanges = 10;
  if (!json) {
    std::cout << context() << "\nthe switch: both stations on one thread, the engine on the other "
              << "core; " << rounds.rounds << " rounds; probe " << probe << " ns\n";
  }
  Bench bench;
  across([&] { bench.other_core(); },
         [&] {
           run(bench, rounds, json);
           bench.stop();
         });
  return 0;
}
