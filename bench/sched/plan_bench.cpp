// Send times for a mesh, by the nominal and by the calibrated model: ours against a scalar loop
// over the same columns, objects with string classes, and a kernel that loads and stores the same
// bytes and computes nothing.
//
//     sched_plan_bench [--quick] [--json] [--target=AVX2]
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bench/interleave.hpp"
#include "bench/sched/load_store.hpp"
#include "sched/send_plan.hpp"

namespace mesh::bench {
namespace {

using namespace sched;

constexpr std::uint32_t kNowMs = 1'000'000;
constexpr std::int64_t kHorizonNs = kNsPerSecond;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Column = std::unique_ptr<T[], Free>;
template <class T>
Column<T> column(std::size_t rows) {
  const std::size_t bytes = (rows * sizeof(T) / kPlanAlignment + 1) * kPlanAlignment;
  void* memory = std::aligned_alloc(kPlanAlignment, bytes);
  std::memset(memory, 0, bytes);
  return Column<T>(static_cast<T*>(memory));
}

struct Outputs {
  explicit Outputs(std::size_t rows)
      : lead(column<std::int32_t>(rows)),
        confidence(column<std::uint16_t>(rows)),
        key(column<std::uint16_t>(rows)),
        base(column<std::int32_t>(rows)) {}
  PlanColumns columns() const { return {lead.get(), confidence.get(), key.get(), base.get()}; }
  Column<std::int32_t> lead;
  Column<std::uint16_t> confidence, key;
  Column<std::int32_t> base;
};

// What a program without columns has. Ids and class names are short enough to need no heap: in the
// baseline's favour.
struct AgentObject {
  std::string id;
  std::string agent_class;
  double latency_ms, drift, reliability;
  std::uint32_t queue_depth;
  std::int64_t heartbeat_ns;
};
struct SendObject {
  std::string id;
  std::int64_t send_at_ns;
  double lead_ms, confidence;
  std::int64_t bucket;  // -1: skipped
};

struct Mesh {
  explicit Mesh(std::uint32_t count)
      : rows(count),
        latency(column<float>(count)),
        drift(column<float>(count)),
        reliability(column<float>(count)),
        queue(column<std::uint32_t>(count)),
        heartbeat(column<std::uint32_t>(count)),
        agent_class(column<std::uint8_t>(count)),
        work(column<float>(count)),
        residual(column<float>(count)),
        learned_confidence(column<std::uint16_t>(count)),
        history(column<std::uint8_t>(count)) {
    // The default shares of classes A-F among 30,000.
    static constexpr std::uint32_t kUpTo[] = {10'000, 18'000, 23'000, 25'000, 28'000, 30'000};
    std::mt19937_64 random(30'000);
    const auto unit = [&] { return static_cast<float>(random() >> 40) / 16'777'216.0F; };
    for (std::uint32_t row = 0; row < rows; ++row) {
      const auto draw = static_cast<std::uint32_t>(random() % 30'000);
      const auto slot = std::upper_bound(std::begin(kUpTo), std::end(kUpTo), draw) - kUpTo;
      agent_class[row] = static_cast<std::uint8_t>(slot);
      latency[row] =
          static_cast<float>(prior_latency_ms(static_cast<AgentClass>(slot))) * (0.5F + unit());
      drift[row] = unit() * 0.3F;
      reliability[row] = 0.9F + unit() * 0.1F;
      queue[row] = static_cast<std::uint32_t>(random() % 4);
      heartbeat[row] = kNowMs - static_cast<std::uint32_t>(random() % 12'000);
      work[row] =
          static_cast<float>(base_processing_ms(static_cast<AgentClass>(slot))) * (0.5F + unit());
      residual[row] = (unit() - 0.5F) * 20;
      learned_confidence[row] = static_cast<std::uint16_t>(random());
      history[row] = static_cast<std::uint8_t>(random() % 33);
      objects.push_back({"agent-" + std::to_string(row),
                         std::string(kAgentClasses[static_cast<std::size_t>(slot)].name),
                         latency[row], drift[row], reliability[row], queue[row],
                         heartbeat[row] * kNsPerMs});
    }
  }
  ImpedanceColumns columns() const {
    return {latency.get(),
            drift.get(),
            reliability.get(),
            queue.get(),
            heartbeat.get(),
            agent_class.get(),
            nullptr,
            rows,
            {work.get(), residual.get(), learned_confidence.get(), history.get()}};
  }
  std::uint32_t rows;
  Column<float> latency, drift, reliability;
  Column<std::uint32_t> queue, heartbeat;
  Column<std::uint8_t> agent_class;
  Column<float> work, residual;
  Column<std::uint16_t> learned_confidence;
  Column<std::uint8_t> history;
  std::vector<AgentObject> objects;
};

// Writes into objects that exist already, so that it need not allocate: in the baseline's favour
// too.
void plan_objects(const std::vector<AgentObject>& agents,
                  const std::unordered_map<std::string, double>& base,
                  std::vector<SendObject>& sends) {
  constexpr std::int64_t kNow = kNowMs * kNsPerMs;
  for (std::size_t i = 0; i < agents.size(); ++i) {
    const AgentObject& agent = agents[i];
    const double one_way = agent.latency_ms / 2;
    const double processing = base.at(agent.agent_class) * 1.5 * (1 + 0.1 * agent.queue_depth);
    const double lead = (one_way + processing) * (1 + kDefaultZ * agent.drift);
    const bool fresh = kNow - agent.heartbeat_ns < kHeartbeatFreshNs;
    SendObject& send = sends[i];
    send.id = agent.id;
    send.lead_ms = lead;
    send.confidence =
        std::clamp(0.5 * agent.reliability - 0.3 * agent.drift + (fresh ? 0.2 : 0.0), 0.0, 1.0);
    send.send_at_ns = kHorizonNs - static_cast<std::int64_t>(lead * 1e6);
    const bool is_valid = std::isfinite(lead) && lead >= 0;
    send.bucket =
        is_valid && send.send_at_ns >= 0 ? (send.send_at_ns + kNsPerMs / 2) / kNsPerMs : -1;
  }
}

struct Options {
  bool quick = false;
  bool json = false;
};

enum Who : std::size_t {
  kOurs,
  kWithSort,
  kScalar,
  kObjects,
  kLoadStore,
  kLearned,
  kLearnedScalar
};

Interleaved measure(std::uint32_t rows, const Options& options) {
  const Mesh mesh(rows);
  const Outputs ours(rows), scalar(rows), copied(rows);
  PlanRequest request;
  request.target = from_ns(kHorizonNs);
  request.now_mesh_ms = kNowMs;
  const PlanParameters parameters = PlanParameters::make(request).value();
  request.model = Model::kCalibrated;
  const PlanParameters learned = PlanParameters::make(request).value();
  SendPlanner planner = SendPlanner::create(rows).value();
  std::unordered_map<std::string, double> base;
  for (const AgentClassTraits& traits : kAgentClasses) {
    base.emplace(traits.name, traits.base_processing_ms);
  }
  std::vector<SendObject> sends(rows);

  InterleaveOptions rounds;
  rounds.rounds = (rows >= 1'000'000 ? 31U : 151U) / (options.quick ? 10U : 1U);
  rounds.timed_calls = std::clamp(240'000U / rows, 1U, 64U);
  const ImpedanceColumns in = mesh.columns();
  return interleave(
      {{"plan", [&] { plan_columns(parameters, in, ours.columns()); }},
       {"plan_and_sort", [&] { keep(planner.plan(parameters, in, {})); }},
       {"scalar_loop", [&] { plan_columns_scalar(parameters, in, scalar.columns()); }},
       {"objects",
        [&] {
          plan_objects(mesh.objects, base, sends);
          keep(sends.data());
        }},
       {"load_store", [&] { load_store(in, copied.columns()); }},
       {"calibrated", [&] { plan_columns(learned, in, ours.columns()); }},
       {"calibrated_loop", [&] { plan_columns_scalar(learned, in, scalar.columns()); }}},
      rounds);
}

void print(std::ostream& out, std::uint32_t rows, const Interleaved& result) {
  const auto line = [&](std::size_t who) {
    const Spread ns = result.ns(who);
    out << "  " << result.name(who) << std::string(16 - result.name(who).size(), ' ')
        << ns.median / 1000 << " us  (min " << ns.min / 1000 << ", p10 " << ns.p10 / 1000
        << ", p90 " << ns.p90 / 1000 << "), " << ns.median / rows << " ns an agent\n";
  };
  const auto ratio = [&](const char* text, std::size_t slower, const char* bar) {
    const Spread spread = result.ratio(slower, kOurs);
    out << "  " << text << ' ' << spread.median << "  (p10 " << spread.p10 << ", p90 " << spread.p90
        << ", best against best " << result.ratio_of_min(slower, kOurs) << ")"
        << (rows == 30'000 ? bar : "") << '\n';
  };
  out << rows << " agents\n";
  for (std::size_t who = 0; who < result.size(); ++who) line(who);
  ratio("objects / plan     ", kObjects, "  bar: >= 20");
  ratio("scalar_loop / plan ", kScalar, "  bar: >= 2");
  ratio("load_store / plan  ", kLoadStore, "  bar: >= 0.5");
  ratio("calibrated / plan  ", kLearned, "");
}

void write(std::ostream& out, std::uint32_t rows, const Interleaved& result) {
  out << "{\"agents\":" << rows << ",\"runs\":[";
  for (std::size_t who = 0; who < result.size(); ++who) {
    if (who != 0) out << ',';
    write_json(out, result, who);
  }
  out << "],\"objects_over_plan\":";
  write_json(out, result.ratio(kObjects, kOurs));
  out << ",\"scalar_loop_over_plan\":";
  write_json(out, result.ratio(kScalar, kOurs));
  out << ",\"load_store_over_plan\":";
  write_json(out, result.ratio(kLoadStore, kOurs));
  out << ",\"calibrated_over_plan\":";
  write_json(out, result.ratio(kLearned, kOurs));
  out << '}';
}

int run(const Options& options) {
  if (options.json) {
    std::cout << "{\"bench\":\"sched/plan\",\"target\":\"" << chosen_target()
              << "\",\"context\":" << context() << ",\"sizes\":[";
  } else {
    std::cout << "target " << chosen_target() << ", " << context() << '\n';
  }
  Spread at_30k, at_1m;
  bool first = true;
  for (const std::uint32_t rows : {1'000U, 10'000U, 30'000U, 100'000U, 1'000'000U}) {
    const Interleaved result = measure(rows, options);
    if (rows == 30'000) at_30k = result.ns(kOurs);
    if (rows == 1'000'000) at_1m = result.ns(kOurs);
    if (options.json) {
      if (!first) std::cout << ',';
      write(std::cout, rows, result);
    } else {
      print(std::cout, rows, result);
    }
    first = false;
  }
  const double growth = at_1m.median / at_30k.median * 30'000 / 1'000'000;
  if (options.json) {
    std::cout << "],\"per_agent_1m_over_30k\":" << growth << "}\n";
  } else {
    std::cout << "an agent at 1,000,000 / at 30,000: " << growth << "  (best against best "
              << at_1m.min / at_30k.min * 30'000 / 1'000'000 << ")  bar: <= 3\n";
  }
  return 0;
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  mesh::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    constexpr std::string_view kTarget = "--target=";
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--json") {
      options.json = true;
    } else if (argument.starts_with(kTarget)) {
      if (!mesh::bench::choose_target(argv[i] + kTarget.size())) {
        std::cerr << "sched_plan_bench: no target " << argv[i] + kTarget.size() << " here\n";
        return 2;
      }
    } else {
      std::cerr << "usage: sched_plan_bench [--quick] [--json] [--target=NAME]\n";
      return 2;
    }
  }
  return mesh::bench::run(options);
}
