// interleave(): runs contenders A B C D in turn, many rounds in one process, and compares them
// round by round.
//
// Why         The host moves our cores and other programs share them, so two figures taken a
//             second apart cannot be compared. Within one round the contenders run within
//             milliseconds of each other: the ratio of a round is sound even where its absolute
//             figures are not. Reported are the median of those ratios and their p10..p90,
//             never a ratio of two medians of different moments.
// Use         const Interleaved result =
//                 interleave({{"ours", [&] { plan(); }}, {"loop", [&] { loop(); }}},
//                            {.rounds = 101, .warm_calls = 1, .timed_calls = 4});
//             result.ratio(1, 0).median   // how many times longer "loop" takes than "ours"
// Fairness    The order rotates every round, so that nobody always runs behind the same
//             neighbour. warm_calls run untimed before the timed ones: each contender finds its
//             data where its own calls leave it.
// Cost        two clock reads a contender and round, about 50 ns: give it microseconds of work.
// Units       nanoseconds a call, as double.
// Errors      none: nonsense options are asserted.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "shm/base/assert.hpp"

namespace mesh::bench {

// Tells the compiler that `value` is used, and that memory may have been read and written.
template <class T>
inline void keep(const T& value) noexcept {
  asm volatile("" : : "r,m"(value) : "memory");
}

struct Contender {
  std::string name;
  std::function<void()> run;  // one call
};

struct InterleaveOptions {
  unsigned rounds = 101;
  unsigned warm_calls = 1;
  unsigned timed_calls = 1;
};

struct Spread {
  double min = 0;
  double p10 = 0;
  double median = 0;
  double p90 = 0;
};

// Nearest rank on a sorted copy.
inline Spread spread_of(std::vector<double> samples) {
  MESH_ASSERT(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  return {samples.front(), at(0.1), at(0.5), at(0.9)};
}

class Interleaved {
 public:
  Interleaved(std::vector<std::string> names, std::vector<std::vector<double>> ns)
      : names_(std::move(names)), ns_(std::move(ns)) {}

  [[nodiscard]] std::size_t size() const noexcept { return names_.size(); }
  [[nodiscard]] const std::string& name(std::size_t who) const { return names_.at(who); }
  [[nodiscard]] Spread ns(std::size_t who) const { return spread_of(ns_.at(who)); }

  // Round by round, the time of `slower` over the time of `faster`.
  [[nodiscard]] Spread ratio(std::size_t slower, std::size_t faster) const {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < ns_.at(slower).size(); ++round) {
      ratios.push_back(ns_[slower][round] / ns_.at(faster)[round]);
    }
    return spread_of(std::move(ratios));
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<double>> ns_;  // [contender][round]
};

inline Interleaved interleave(const std::vector<Contender>& contenders, InterleaveOptions options) {
  MESH_ASSERT(!contenders.empty());
  MESH_ASSERT(options.rounds > 0 && options.timed_calls > 0);
  std::vector<std::string> names;
  for (const Contender& contender : contenders) names.push_back(contender.name);
  std::vector<std::vector<double>> ns(contenders.size(), std::vector<double>(options.rounds));
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (std::size_t turn = 0; turn < contenders.size(); ++turn) {
      const std::size_t who = (turn + round) % contenders.size();
      for (unsigned i = 0; i < options.warm_calls; ++i) contenders[who].run();
      const auto start = std::chrono::steady_clock::now();
      for (unsigned i = 0; i < options.timed_calls; ++i) contenders[who].run();
      const std::chrono::duration<double, std::nano> took =
          std::chrono::steady_clock::now() - start;
      ns[who][round] = took.count() / options.timed_calls;
    }
  }
  return {std::move(names), std::move(ns)};
}

// What a figure must be quoted with. The commit is the runner's to add: a binary does not know it.
struct Context {
  std::string cpu = "unknown";
  int cpus_allowed = 0;  // 1: pinned
  long page_bytes = 0;
  std::string compiler;
};

inline Context context() {
  Context found;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      found.cpu = line.substr(line.find(':') + 2);
      break;
    }
  }
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) found.cpus_allowed = CPU_COUNT(&allowed);
  found.page_bytes = sysconf(_SC_PAGESIZE);
#ifdef __clang__
  found.compiler = std::string("clang ") + __clang_version__;
#else
  found.compiler = std::string("g++ ") + __VERSION__;
#endif
  return found;
}

inline std::ostream& operator<<(std::ostream& out, const Context& context) {
  return out << "{\"cpu\":\"" << context.cpu << "\",\"cpus_allowed\":" << context.cpus_allowed
             << ",\"page_bytes\":" << context.page_bytes << ",\"compiler\":\"" << context.compiler
             << "\"}";
}

// One contender as a JSON object; ratios are the caller's to choose.
inline void write_json(std::ostream& out, const Interleaved& result, std::size_t who) {
  const Spread ns = result.ns(who);
  out << "{\"name\":\"" << result.name(who) << "\",\"ns_min\":" << ns.min
      << ",\"ns_p10\":" << ns.p10 << ",\"ns_median\":" << ns.median << ",\"ns_p90\":" << ns.p90
      << '}';
}

inline void write_json(std::ostream& out, const Spread& spread) {
  out << "{\"min\":" << spread.min << ",\"p10\":" << spread.p10 << ",\"median\":" << spread.median
      << ",\"p90\":" << spread.p90 << '}';
}

}  // namespace mesh::bench
