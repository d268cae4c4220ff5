// 30,000 answers into one operation: ours against what a program without bitmaps has, a
// std::unordered_map from agent to its answer, in the same run.
//
//     sched_gather_bench [--quick] [--json]
//
// A call is one operation's answers and its result: counts, p50, p90 and p99 of the arrival error
// and the share within 50 ms. In the map's favour: it is filled and reserved beforehand, so that an
// answer is a find() and no allocation; a stale entry is told by a number, so that nothing has to
// be cleared; its errors are kept exactly and only partly sorted. What ours does besides: it
// restores its opened state and checks all of its invariants (adopt()) in every call.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bench/interleave.hpp"
#include "sched/arrivals.hpp"
#include "sched/gather.hpp"

namespace mesh::bench {
namespace {

using namespace sched;

constexpr std::int64_t kTarget = 10 * kNsPerSecond;
constexpr std::int64_t kSent = kTarget - 100 * kNsPerMs;
constexpr HostTime kNow = from_ns(kTarget + 400 * kNsPerMs);

class Bytes {
 public:
  explicit Bytes(std::size_t size)
      : size_((size + kCacheLine - 1) / kCacheLine * kCacheLine),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kCacheLine, size_))) {
    std::memset(memory_.get(), 0, size_);
  }
  std::span<std::byte> span() { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> memory_;
};

// 97 % READY, 1 % CONFLICT, the rest silent; errors of a few milliseconds with a long late tail.
std::vector<GatherAnswer> make_answers(std::uint32_t rows, bool in_row_order) {
  std::mt19937_64 random(30'000);
  std::normal_distribution<double> near(0, 3e6);
  std::exponential_distribution<double> tail(1 / 40e6);
  std::vector<GatherAnswer> answers;
  for (std::uint32_t row = 0; row < rows; ++row) {
    const std::uint64_t draw = random() % 100;
    if (draw >= 98) continue;
    const double error = near(random) + (random() % 10 == 0 ? tail(random) : 0);
    const auto state = draw == 97 ? TrinaryState::conflict : TrinaryState::ready;
    answers.push_back(
        {row, state, kTarget + static_cast<std::int64_t>(error), kSent, kTarget - kSent});
  }
  if (!in_row_order) std::shuffle(answers.begin(), answers.end(), random);
  return answers;
}

class Ours {
 public:
  explicit Ours(std::uint32_t rows)
      : state_(gather_bytes(rows)),
        arrivals_bytes_(arrivals_bytes(rows)),
        gather_(Gather<>::over(state_.span(), rows).value()),
        arrivals_(Arrivals<>::over(arrivals_bytes_.span(), rows).value()),
        waiting_bytes_(shm::column_bytes<std::uint64_t>(rows)) {
    GatherOptions options;
    options.target = from_ns(kTarget);
    if (!gather_.open(options)) std::abort();
    for (std::uint32_t row = 0; row < rows; ++row) gather_.schedule(row);
    gather_.start();
    opened_.assign(state_.span().begin(), state_.span().end());
  }
  GatherResult run(const std::vector<GatherAnswer>& answers, bool with_arrivals) {
    std::memcpy(state_.span().data(), opened_.data(), opened_.size());
    if (!gather_.adopt()) std::abort();
    // As upkeep leaves it between two operations: nothing waits.
    if (with_arrivals) std::memset(arrivals_bytes_.span().data(), 0, waiting_bytes_);
    for (const GatherAnswer& answer : answers) {
      const AnswerEffect effect = gather_.on_answer(answer, kNow);
      if (!with_arrivals || !effect.has_residual) continue;
      arrivals_.store(answer.row, pack({.observed_ns = effect.residual_ns + answer.predicted_ns,
                                        .processing_ns = kNsPerMs,
                                        .weight = 1}));
    }
    return gather_.result(kNow);
  }

 private:
  Bytes state_;
  Bytes arrivals_bytes_;
  Gather<> gather_;
  Arrivals<> arrivals_;
  std::size_t waiting_bytes_;
  std::vector<std::byte> opened_;
};

class Map {
 public:
  explicit Map(std::uint32_t rows) {
    answers_.reserve(rows);
    errors_.reserve(rows);
    for (std::uint32_t row = 0; row < rows; ++row) answers_.emplace(row, Entry{});
  }
  GatherResult run(const std::vector<GatherAnswer>& answers) {
    ++operation_;
    errors_.clear();
    GatherResult result;
    result.counts.sent = static_cast<std::uint32_t>(answers_.size());
    for (const GatherAnswer& answer : answers) on_answer(answer, result);
    ErrorSummary& errors = result.errors;
    errors.count = static_cast<std::uint32_t>(errors_.size());
    errors.p50_ns = quantile(Share{500'000});
    errors.p90_ns = quantile(Share{900'000});
    errors.p99_ns = quantile(Share{990'000});
    result.judgement = judge(result.counts, {});
    return result;
  }

 private:
  struct Entry {
    std::uint64_t operation = 0;
    TrinaryState state = TrinaryState::transit;
    std::int64_t residual_ns = 0;
  };
  void on_answer(const GatherAnswer& answer, GatherResult& result) {
    const auto found = answers_.find(answer.row);
    if (found == answers_.end()) {
      ++result.counts.not_scheduled;
      return;
    }
    if (found->second.operation == operation_) {
      ++result.counts.duplicate;
      return;
    }
    const std::int64_t finished = std::clamp(answer.finished_ns, answer.sent_ns, to_ns(kNow));
    found->second = {operation_, answer.state, finished - answer.sent_ns - answer.predicted_ns};
    const std::int64_t distance = std::abs(finished - kTarget);
    errors_.push_back(distance);
    result.errors.inside += distance <= kArrivalTolerance.count() ? 1U : 0U;
    result.counts.ready += answer.state == TrinaryState::ready ? 1U : 0U;
    result.counts.conflict += answer.state == TrinaryState::conflict ? 1U : 0U;
  }
  std::int64_t quantile(Share share) {
    if (errors_.empty()) return 0;
    const auto rank = rank_of(share, static_cast<std::uint32_t>(errors_.size()));
    const auto element = errors_.begin() + rank - 1;
    std::nth_element(errors_.begin(), element, errors_.end());
    return *element;
  }

  std::unordered_map<std::uint64_t, Entry> answers_;
  std::vector<std::int64_t> errors_;
  std::uint64_t operation_ = 0;
};

// A bench of two programs that come to different results would compare nothing.
bool agree(const GatherResult& ours, const GatherResult& map) {
  const auto near = [](std::int64_t a, std::int64_t b) {
    return std::abs(a - b) <= std::max<std::int64_t>(512, b / 64);
  };
  return ours.counts.ready == map.counts.ready && ours.counts.conflict == map.counts.conflict &&
         ours.judgement == map.judgement && ours.errors.inside == map.errors.inside &&
         near(ours.errors.p50_ns, map.errors.p50_ns) &&
         near(ours.errors.p90_ns, map.errors.p90_ns) && near(ours.errors.p99_ns, map.errors.p99_ns);
}

struct Options {
  bool quick = false;
  bool json = false;
};
enum Who : std::size_t { kGather, kWithArrivals, kMap };

Interleaved measure(std::uint32_t rows, const std::vector<GatherAnswer>& answers,
                    const Options& options) {
  Ours ours(rows);
  Map map(rows);
  if (!agree(ours.run(answers, false), map.run(answers))) {
    std::cerr << "sched_gather_bench: the two come to different results\n";
    std::exit(70);
  }
  InterleaveOptions rounds;
  rounds.rounds = options.quick ? 15 : 151;
  rounds.timed_calls = std::max(120'000U / rows, 1U);
  return interleave({{"gather", [&] { keep(ours.run(answers, false)); }},
                     {"gather_arrivals", [&] { keep(ours.run(answers, true)); }},
                     {"unordered_map", [&] { keep(map.run(answers)); }}},
                    rounds);
}

void print(const std::string& title, std::size_t answers, const Interleaved& result) {
  std::cout << title << ", " << answers << " answers\n";
  const auto count = static_cast<double>(answers);
  for (std::size_t who = 0; who < result.size(); ++who) {
    const Spread ns = result.ns(who);
    std::cout << "  " << result.name(who) << std::string(18 - result.name(who).size(), ' ')
              << ns.median / count << " ns an answer  (min " << ns.min / count << ", p10 "
              << ns.p10 / count << ", p90 " << ns.p90 / count << "), " << ns.median / 1000
              << " us in all\n";
  }
  const Spread ratio = result.ratio(kMap, kGather);
  std::cout << "  unordered_map / gather " << ratio.median << "  (p10 " << ratio.p10 << ", p90 "
            << ratio.p90 << ", best against best " << result.ratio_of_min(kMap, kGather) << ")\n";
}

void write(const std::string& title, std::size_t answers, const Interleaved& result) {
  std::cout << "{\"order\":\"" << title << "\",\"answers\":" << answers << ",\"runs\":[";
  for (std::size_t who = 0; who < result.size(); ++who) {
    if (who != 0) std::cout << ',';
    write_json(std::cout, result, who);
  }
  std::cout << "],\"unordered_map_over_gather\":";
  write_json(std::cout, result.ratio(kMap, kGather));
  std::cout << '}';
}

int run(const Options& options) {
  constexpr std::uint32_t kRows = 30'000;
  if (options.json) {
    std::cout << "{\"bench\":\"sched/gather\",\"context\":" << context() << ",\"orders\":[";
  } else {
    std::cout << context() << '\n';
  }
  for (const bool in_row_order : {true, false}) {
    const std::string title = in_row_order ? "row_order" : "random_order";
    const std::vector<GatherAnswer> answers = make_answers(kRows, in_row_order);
    const Interleaved result = measure(kRows, answers, options);
    if (!options.json) {
      print(title, answers.size(), result);
    } else {
      if (!in_row_order) std::cout << ',';
      write(title, answers.size(), result);
    }
  }
  if (options.json) std::cout << "]}\n";
  return 0;
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  mesh::bench::Options options;
  options.quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--json") {
      options.json = true;
    } else {
      std::cerr << "usage: sched_gather_bench [--quick] [--json]\n";
      return 2;
    }
  }
  return mesh::bench::run(options);
}
