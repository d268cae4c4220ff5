// SpscRing between two processes: round trip beside the bare hand-over of one cache line, and
// throughput beside a ring published by index, round by round in one run.
//
//     queues_spsc_ring_bench [--quick] [--json]
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <string>
#include <string_view>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "queues/spsc_ring.hpp"

namespace mesh::bench {
namespace {

using queues::SpscRing;
using Ring = SpscRing<>;

// A ring in shared memory: slots, then the reader's page.
class RingArea {
 public:
  explicit RingArea(std::size_t slots) : area_(slots * kSlotBytes + 4096), count_(slots) {}
  Ring::Writer writer() { return Ring::Writer::take_over(slots(), page()).value(); }
  Ring::Reader reader() { return Ring::Reader::attach(slots(), page()).value(); }

 private:
  std::span<Ring::Slot> slots() { return {reinterpret_cast<Ring::Slot*>(area_.at(4096)), count_}; }
  Ring::ReaderPage* page() { return reinterpret_cast<Ring::ReaderPage*>(area_.at(0)); }
  SharedArea area_;
  std::size_t count_;
};

struct Payload {
  std::uint64_t word[7];
};
static_assert(sizeof(Payload) == kRecordBytes);

// Fields one by one, as a program fills a record: g++ does not unroll a loop over seven words here.
inline void build(queues::RingSlot<>& slot, std::uint64_t position) {
  queues::build_in<Payload>(slot) = {{position, position + 1, position + 2, position + 3,
                                      position + 4, position + 5, position + 6}};
}

// The reader reads the whole record: what it skipped would not have travelled.
template <class Words>
std::uint64_t sum(const Words& words) {
  const auto& [word] = words;
  return word[0] + word[1] + word[2] + word[3] + word[4] + word[5] + word[6];
}

// Messages a second, `run` records a publish, all read on the other core.
double stamped(std::size_t slots, std::uint64_t run, std::uint64_t messages) {
  RingArea ring(slots);
  double seconds = 0;
  across(
      [&] {
        auto reader = ring.reader();
        std::uint64_t total = 0;
        while (reader.cursor() != messages)
          reader.poll(256, [&](auto view) { total += sum(view.read()); });
        const std::uint64_t expected = 7 * (messages * (messages - 1) / 2) + 21 * messages;
        MESH_ASSERT(total == expected);
      },
      [&] {
        auto writer = ring.writer();
        const std::int64_t start = now_ns();
        while (writer.head() != messages) {
          const auto claimed = writer.claim(std::min(run, messages - writer.head()));
          if (claimed.slots.empty()) continue;
          writer.fill(claimed, [](auto& slot, std::uint64_t position) { build(slot, position); });
          writer.reveal();
        }
        while (writer.free_slots() != slots) {
        }
        seconds = static_cast<double>(now_ns() - start) * 1e-9;
      });
  return static_cast<double>(messages) / seconds;
}

// The baseline: Lamport's ring with cached indices, 64-byte slots, published by one index a run.
double indexed(std::size_t slots, std::uint64_t run, std::uint64_t messages) {
  SharedArea area(slots * 64 + 4096);
  auto* head = reinterpret_cast<ShmWord<std::uint64_t>*>(area.at(0));
  auto* tail = reinterpret_cast<ShmWord<std::uint64_t>*>(area.at(kIsolation));
  auto* slot = reinterpret_cast<Payload*>(area.at(4096));
  const auto at = [&](std::uint64_t position) {
    return reinterpret_cast<Payload*>(reinterpret_cast<std::byte*>(slot) +
                                      (position & (slots - 1)) * 64);
  };
  double seconds = 0;
  across(
      [&] {
        std::uint64_t total = 0;
        for (std::uint64_t mine = 0, seen = 0; mine != messages;) {
          seen = head->load_acquire();  // SYNC bench.index acquire
          const std::uint64_t end = std::min(seen, mine + 256);
          if (end == mine) continue;
          for (; mine != end; ++mine) total += sum(*at(mine));
          tail->store_release(mine);  // SYNC bench.index release
        }
        MESH_ASSERT(total == 7 * (messages * (messages - 1) / 2) + 21 * messages);
      },
      [&] {
        const std::int64_t start = now_ns();
        for (std::uint64_t mine = 0, seen = 0; mine != messages;) {
          const std::uint64_t wanted = std::min(run, messages - mine);
          if (slots - (mine - seen) < wanted)
            seen = tail->load_acquire();  // SYNC bench.index acquire
          const std::uint64_t end = mine + std::min(wanted, slots - (mine - seen));
          if (end == mine) continue;
          for (; mine != end; ++mine)
            *at(mine) = {{mine, mine + 1, mine + 2, mine + 3, mine + 4, mine + 5, mine + 6}};
          head->store_release(mine);  // SYNC bench.index release
        }
        while (tail->load_acquire() != messages) {  // SYNC bench.index acquire
        }
        seconds = static_cast<double>(now_ns() - start) * 1e-9;
      });
  return static_cast<double>(messages) / seconds;
}

// One record there and one back, each published alone.
template <bool kChecked>
std::vector<double> ring_round_trips(std::uint32_t count) {
  RingArea out(1024);
  RingArea back(1024);
  std::vector<double> samples(count);
  const auto send = [](Ring::Writer& writer) {
    const auto run = writer.claim(1);
    build(run.slots[0], run.position);
    if constexpr (kChecked)
      keep(writer.publish_checked(1));
    else
      writer.publish(1);
  };
  const auto receive = [](Ring::Reader& reader) {
    std::uint64_t total = 0;
    while (reader.poll(1, [&](auto view) { total += sum(view.read()); }) == 0) {
    }
    keep(total);
  };
  across(
      [&] {
        auto reader = out.reader();
        auto writer = back.writer();
        for (std::uint32_t i = 0; i < count; ++i) {
          receive(reader);
          send(writer);
        }
      },
      [&] {
        auto writer = out.writer();
        auto reader = back.reader();
        for (std::uint32_t i = 0; i < count; ++i) {
          const std::int64_t start = now_ns();
          send(writer);
          receive(reader);
          samples[i] = static_cast<double>(now_ns() - start);
        }
      });
  return samples;
}

struct Options {
  bool quick = false;
  bool json = false;
};

void round_trips(const Options& options) {
  const unsigned rounds = options.quick ? 5 : 21;
  const std::uint32_t count = options.quick ? 5'000 : 50'000;
  struct Row {
    const char* name;
    std::vector<double> p50, p99, p999, over_bare;
  };
  Row rows[] = {{"bare hand-over of one line", {}, {}, {}, {}},
                {"spsc_ring, one record", {}, {}, {}, {}},
                {"spsc_ring, reveal_checked", {}, {}, {}, {}}};
  std::vector<double> probes;
  for (unsigned round = 0; round < rounds; ++round) {
    probes.push_back(probe_round_trip_ns());
    const Latency found[] = {latency_of(bare_round_trips<false>(count)),
                             latency_of(ring_round_trips<false>(count)),
                             latency_of(ring_round_trips<true>(count))};
    for (std::size_t i = 0; i < 3; ++i) {
      rows[i].p50.push_back(found[i].p50);
      rows[i].p99.push_back(found[i].p99);
      rows[i].p999.push_back(found[i].p999);
      rows[i].over_bare.push_back(found[i].p50 / found[0].p50);
    }
  }
  const Spread probe = spread_of(probes);
  if (options.json) {
    std::cout << "{\"bench\":\"round_trip\",\"rounds\":" << rounds << ",\"probe_ns\":";
    write_json(std::cout, probe);
    std::cout << ",\"rows\":[";
    for (std::size_t i = 0; i < 3; ++i) {
      std::cout << (i == 0 ? "" : ",") << "{\"name\":\"" << rows[i].name
                << "\",\"p50_ns\":" << spread_of(rows[i].p50).median
                << ",\"p99_ns\":" << spread_of(rows[i].p99).median
                << ",\"p999_ns\":" << spread_of(rows[i].p999).median << ",\"over_bare\":";
      write_json(std::cout, spread_of(rows[i].over_bare));
      std::cout << '}';
    }
    std::cout << "]}\n";
    return;
  }
  std::cout << "Round trip between two processes, ns (clock reads of about 20 included); " << rounds
            << " rounds; probe with pause " << probe.median << " (" << probe.p10 << ".."
            << probe.p90 << ")\n";
  for (const Row& row : rows) {
    const Spread ratio = spread_of(row.over_bare);
    std::cout << "  " << std::left << std::setw(30) << row.name << std::right << "p50 "
              << std::setw(6) << spread_of(row.p50).median << "  p99 " << std::setw(6)
              << spread_of(row.p99).median << "  p99.9 " << std::setw(7)
              << spread_of(row.p999).median << "  over bare " << std::setprecision(3)
              << ratio.median << " (" << ratio.p10 << ".." << ratio.p90 << ")\n"
              << std::setprecision(6);
  }
}

void throughput(const Options& options) {
  const unsigned rounds = options.quick ? 3 : 11;
  const std::size_t slot_counts[] = {4096, 16384, 65536};
  const std::uint64_t runs[] = {1, 8, 32, 64, 256, 1024};
  if (!options.json)
    std::cout << "\nThroughput between two processes, million records a second; " << rounds
              << " rounds\n   slots   run   stamped (p10..p90)     by index   stamped/index "
                 "(p10..p90)  probe ns\n";
  for (const std::size_t slots : slot_counts) {
    for (const std::uint64_t run : runs) {
      if (options.quick && run != 1 && run != 64 && run != 256) continue;
      std::vector<double> ours, theirs, ratio, probes;
      const std::uint64_t messages = options.quick ? 500'000 : 2'000'000;
      for (unsigned round = 0; round < rounds; ++round) {
        probes.push_back(probe_round_trip_ns());
        ours.push_back(stamped(slots, run, messages) * 1e-6);
        theirs.push_back(indexed(slots, run, messages) * 1e-6);
        ratio.push_back(ours.back() / theirs.back());
      }
      const Spread us = spread_of(ours);
      const Spread over = spread_of(ratio);
      if (options.json) {
        std::cout << "{\"bench\":\"throughput\",\"slots\":" << slots << ",\"run\":" << run
                  << ",\"stamped_m_per_s\":";
        write_json(std::cout, us);
        std::cout << ",\"index_m_per_s\":";
        write_json(std::cout, spread_of(theirs));
        std::cout << ",\"ratio\":";
        write_json(std::cout, over);
        std::cout << ",\"probe_ns\":" << spread_of(probes).median << "}\n";
        continue;
      }
      std::cout << std::fixed << std::setprecision(0) << std::setw(8) << slots << std::setw(6)
                << run << std::setw(8) << us.median << " (" << us.p10 << ".." << us.p90 << ")"
                << std::setw(16) << spread_of(theirs).median << std::setprecision(2)
                << std::setw(12) << over.median << " (" << over.p10 << ".." << over.p90 << ")"
                << std::setprecision(0) << std::setw(12) << spread_of(probes).median << std::endl;
    }
  }
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  mesh::bench::Options options;
  options.quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") options.quick = true;
    if (std::string_view(argv[i]) == "--json") options.json = true;
  }
  const auto where = mesh::bench::cores();
  if (where.here == where.there) {
    std::cerr << "queues_spsc_ring_bench: two cores are needed, one is allowed\n";
    return 1;
  }
  if (!options.json) std::cout << mesh::bench::context() << '\n';
  mesh::bench::round_trips(options);
  mesh::bench::throughput(options);
  return 0;
}
