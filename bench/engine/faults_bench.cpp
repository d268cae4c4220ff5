// What it costs that faults may be set: a message through a ring, written and read, with the load
// of `chaos.armed` that a station makes for it, and without; round by round in one run.
//
//     engine_faults_bench [--quick]
//
// Beside it: the same with a fault armed for somebody else, which is what everybody pays then.
#include <array>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "bench/interleave.hpp"
#include "engine/fault_board.hpp"
#include "engine/memory_map.hpp"
#include "engine/station/fault_gate.hpp"
#include "queues/spsc_ring.hpp"

namespace mesh::bench {
namespace {

using engine::FaultGate;
using Ring = queues::SpscRing<>;

constexpr engine::MeshSize kSize{.agents = 64, .stations = 2, .agents_per_station = 32};
constexpr std::size_t kSlots = 1'024;
constexpr std::uint64_t kMessages = 100'000;  // a call

struct Table {
  shm::Layout layout = engine::table_layout(kSize).value();
  std::unique_ptr<void, decltype(&std::free)> memory{
      std::aligned_alloc(4'096, layout.total_bytes()), &std::free};
  std::span<std::byte> bytes{static_cast<std::byte*>(memory.get()), layout.total_bytes()};
  Table() { std::fill(bytes.begin(), bytes.end(), std::byte{}); }
};

struct Payload {
  std::uint64_t word[7];
};

class Path {
 public:
  Path()
      : slots_(static_cast<Ring::Slot*>(std::aligned_alloc(4'096, kSlots * kSlotBytes)),
               &std::free),
        page_(static_cast<Ring::ReaderPage*>(std::aligned_alloc(4'096, 4'096)), &std::free) {
    std::fill_n(reinterpret_cast<std::byte*>(slots_.get()), kSlots * kSlotBytes, std::byte{});
    std::fill_n(reinterpret_cast<std::byte*>(page_.get()), 4'096, std::byte{});
    writer_ = Ring::Writer::take_over({slots_.get(), kSlots}, page_.get()).value();
    reader_ = Ring::Reader::attach({slots_.get(), kSlots}, page_.get()).value();
  }
  // `gate`: null, and no load is made.
  template <bool kChecked>
  void run(FaultGate* gate) {
    for (std::uint64_t i = 0; i < kMessages; ++i) {
      if constexpr (kChecked) {
        if (gate->is_armed()) [[unlikely]]
          gate->look([](AgentId) { return FaultGate::kNoPlace; });
      }
      const auto claimed = writer_.claim(1);
      writer_.fill(claimed, [](Ring::Slot& slot, std::uint64_t position) {
        queues::build_in<Payload>(slot) = {{position, 1, 2, 3, 4, 5, 6}};
      });
      writer_.reveal();
      reader_.poll(1,
                   [&](const Ring::Reader::View& view) { keep(view.read_as<Payload>().word[0]); });
    }
  }

 private:
  std::unique_ptr<Ring::Slot, decltype(&std::free)> slots_;
  std::unique_ptr<Ring::ReaderPage, decltype(&std::free)> page_;
  Ring::Writer writer_;
  Ring::Reader reader_;
};

int run(unsigned rounds) {
  Table table;
  Table struck;
  auto board = engine::FaultBoard::over(struck.layout, struck.bytes).value();
  engine::AgentFault fault;
  fault.agent = agent_id(AgentIndex{3}, Generation{1});
  fault.injection = 1;
  fault.expires_ns = INT64_MAX;
  fault.kind = engine::AgentFaultKind::cut;
  if (!board.inject(std::vector{fault})) return 1;
  FaultGate disarmed(engine::FaultView::over(table.layout, table.bytes).value());
  FaultGate armed(engine::FaultView::over(struck.layout, struck.bytes).value());
  Path path;
  const Interleaved result =
      interleave({{"a message", [&] { path.run<false>(nullptr); }},
                  {"and the load, disarmed", [&] { path.run<true>(&disarmed); }},
                  {"and the look, armed for another", [&] { path.run<true>(&armed); }}},
                 {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
  const double messages = kMessages;
  for (std::size_t who = 0; who < result.size(); ++who) {
    const Spread ns = result.ns(who);
    const Spread ratio = result.ratio(who, 0);
    std::printf(
        "%-34s min %7.3f  median %7.3f ns a message; of the first: median %.3f (%.3f..%.3f), "
        "best %.3f\n",
        result.name(who).c_str(), ns.min / messages, ns.median / messages, ratio.median, ratio.p10,
        ratio.p90, result.ratio_of_min(who, 0));
  }
  const double cost = (result.ns(1).min - result.ns(0).min) / messages;
  std::printf("disarmed: %.3f ns a message more at best (budget 1)\n", cost);
  return cost <= 1.0 ? 0 : 1;
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  const bool is_quick = (argc > 1 && std::string_view(argv[1]) == "--quick") ||
                        std::getenv("MESH_BENCH_QUICK") != nullptr;
  return mesh::bench::run(is_quick ? 21 : 201);
}
