// PayloadLog: append and copy beside memcpy of the same bytes through the same region, round by
// round in one run.
//
//     queues_payload_log_bench [--quick] [--json]
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/interleave.hpp"
#include "queues/payload_log.hpp"

namespace mesh::bench {
namespace {

using Log = queues::PayloadLog<>;

struct Options {
  bool quick = false;
  bool json = false;
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;

Memory zeroed(std::size_t size) {
  Memory memory(std::aligned_alloc(4096, size));
  std::memset(memory.get(), 0, size);
  return memory;
}

// A log in private memory: what is measured is the work, not the hand-over.
class LogArea {
 public:
  explicit LogArea(std::size_t capacity)
      : header_(zeroed(4096)), region_(zeroed(capacity)), capacity_(capacity) {}
  Log::Writer writer() { return Log::Writer::take_over(words(), header()).value(); }
  Log::Reader reader() { return Log::Reader::attach(words(), header()).value(); }

 private:
  std::span<Log::Word> words() { return {static_cast<Log::Word*>(region_.get()), capacity_ / 8}; }
  Log::Header* header() { return static_cast<Log::Header*>(header_.get()); }
  Memory header_;
  Memory region_;
  std::size_t capacity_;
};

struct Case {
  const char* size_name;
  std::size_t body_bytes;
  const char* region_name;
  std::size_t capacity;
};

constexpr unsigned kCalls = 1'000;  // a timed call does so many

void report(const Interleaved& result, const Case& at, const Options& options) {
  if (options.json) {
    std::cout << "{\"bench\":\"payload_log\",\"body_bytes\":" << at.body_bytes
              << ",\"region_bytes\":" << at.capacity << ",\"calls\":" << kCalls << ",\"rows\":[";
    for (std::size_t who = 0; who < result.size(); ++who) {
      if (who != 0) std::cout << ',';
      write_json(std::cout, result, who);
    }
    std::cout << "],\"append_over_memcpy\":";
    write_json(std::cout, result.ratio(0, 1));
    std::cout << ",\"copy_over_memcpy\":";
    write_json(std::cout, result.ratio(2, 3));
    std::cout << "}\n";
    return;
  }
  const auto row = [&](std::size_t ours, std::size_t theirs) {
    const Spread ratio = result.ratio(ours, theirs);
    std::cout << std::setw(8) << at.size_name << std::setw(9) << at.region_name << std::setw(8)
              << result.name(ours) << std::fixed << std::setprecision(1) << std::setw(9)
              << result.ns(ours).median / kCalls << std::setw(9)
              << result.ns(theirs).median / kCalls << std::setprecision(2) << std::setw(9)
              << ratio.median << " (" << ratio.p10 << ".." << ratio.p90 << ")  "
              << result.ratio_of_min(ours, theirs) << '\n';
  };
  row(0, 1);
  row(2, 3);
}

void run(const Case& at, const Options& options) {
  LogArea area(at.capacity);
  Log::Writer writer = area.writer();
  const Log::Reader reader = area.reader();
  const Memory plain = zeroed(at.capacity);
  auto* const plain_bytes = static_cast<std::byte*>(plain.get());
  std::vector<std::byte> body(at.body_bytes);
  std::vector<std::byte> out(at.body_bytes);
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<std::byte>(i * 7);
  std::uint64_t position = 0;
  std::size_t offset = 0;
  const std::size_t step = queues::payload_entry_bytes(static_cast<std::uint32_t>(at.body_bytes));
  const auto append = [&] {
    for (unsigned i = 0; i < kCalls; ++i) {
      // The owner frees a quarter at a time: a body is freed long after it was written.
      if (writer.free_bytes() < 2 * step)
        MESH_ASSERT(writer.advance_tail(
            writer.walk(writer.tail() + at.capacity / 4, [](const auto&) {}).position));
      const auto done = writer.append(body);
      MESH_ASSERT(done.status == queues::AppendStatus::kOk);
      position = done.position;
    }
  };
  const auto copy_in = [&] {
    for (unsigned i = 0; i < kCalls; ++i) {
      if (offset + step > at.capacity) offset = 0;
      std::memcpy(plain_bytes + offset + 16, body.data(), body.size());
      keep(plain_bytes);
      offset += step;
    }
  };
  // Both read one body again and again: from the nearest cache, where a reader finds it at best.
  const auto copy_out = [&] {
    for (unsigned i = 0; i < kCalls; ++i) {
      MESH_ASSERT(reader.copy(position, out).status == queues::BodyStatus::kRead);
      keep(out.data());
    }
  };
  const auto plain_out = [&] {
    for (unsigned i = 0; i < kCalls; ++i) {
      std::memcpy(out.data(), plain_bytes + 16, out.size());
      keep(out.data());
    }
  };
  append();
  const Interleaved result = interleave(
      {{"append", append}, {"memcpy in", copy_in}, {"copy", copy_out}, {"memcpy out", plain_out}},
      {.rounds = options.quick ? 21U : 201U, .warm_calls = 1, .timed_calls = 2});
  report(result, at, options);
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
  if (!options.json) {
    std::cout << mesh::bench::context() << '\n'
              << "    body   region    what  ns each   memcpy    ratio (p10..p90)  best/best\n";
  }
  constexpr mesh::bench::Case kCases[] = {{"64 B", 64, "64 KiB", 1U << 16},
                                          {"64 B", 64, "16 MiB", 1U << 24},
                                          {"1 KiB", 1024, "64 KiB", 1U << 16},
                                          {"1 KiB", 1024, "16 MiB", 1U << 24}};
  for (const auto& at : kCases) mesh::bench::run(at, options);
  return 0;
}
