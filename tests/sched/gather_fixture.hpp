// What the tests of Gather share: a place in memory that survives fork, and times to speak of.
#pragma once

#include <vector>

#include "sched/gather.hpp"
#include "tests/sched/shared_bytes.hpp"

namespace mesh::sched::testing {

inline constexpr std::int64_t kStart = 1'000 * kNsPerMs;
inline constexpr std::int64_t kTarget = 1'500 * kNsPerMs;
inline constexpr std::int64_t kSent = 1'400 * kNsPerMs;
inline constexpr std::int64_t kPredicted = 100 * kNsPerMs;
inline constexpr HostTime kNow = from_ns(1'900 * kNsPerMs);

inline GatherOptions options() {
  GatherOptions options;
  options.started = from_ns(kStart);
  options.target = from_ns(kTarget);
  return options;
}

// An answer that arrived `error_ns` after T.
inline GatherAnswer answer(std::uint32_t row, TrinaryState state, std::int64_t error_ns = 0) {
  return {row, state, kTarget + error_ns, kSent, kPredicted};
}
inline GatherAnswer ready(std::uint32_t row, std::int64_t error_ns = 0) {
  return answer(row, TrinaryState::ready, error_ns);
}
inline GatherAnswer conflict(std::uint32_t row, std::int64_t error_ns = 0) {
  return answer(row, TrinaryState::conflict, error_ns);
}
inline GatherAnswer declined(std::uint32_t row) { return answer(row, TrinaryState::transit); }

class Place {
 public:
  explicit Place(std::uint32_t rows) : rows_(rows), bytes_(gather_bytes(rows)) {}

  template <class Memory = HostMemory>
  Gather<Memory> gather() {
    return Gather<Memory>::over(bytes_.span(), rows_).value();
  }
  // Opened, every row from 0 to `scheduled` - 1 scheduled, started.
  Gather<HostMemory> started(std::uint32_t scheduled, const GatherOptions& with = options()) {
    auto made = gather();
    EXPECT_TRUE(made.open(with));
    for (std::uint32_t row = 0; row < scheduled; ++row) EXPECT_TRUE(made.schedule(row));
    made.start();
    return made;
  }
  GatherWords<HostMemory>& words() {
    return *reinterpret_cast<GatherWords<HostMemory>*>(bytes_.span().data());
  }
  SharedBytes& bytes() { return bytes_; }

 private:
  std::uint32_t rows_;
  SharedBytes bytes_;
};

// All that an operation comes to, but for the counts of records that changed nothing.
struct Outcome {
  std::vector<std::uint32_t> scheduled, ready, conflict, spent;
  std::array<std::uint32_t, kErrorSlots> errors{};
  std::uint64_t early_ns_max = 0, late_ns_max = 0;
  GatherJudgement judgement;
  GatherEnd end = GatherEnd::kOpen;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
template <class Memory>
Outcome outcome_of(const Gather<Memory>& gather) {
  const auto rows = [](const auto& map) {
    std::vector<std::uint32_t> set;
    map.for_each([&](std::uint32_t row) { set.push_back(row); });
    return set;
  };
  const ErrorTally tally = gather.tally();
  const GatherResult result = gather.result(kNow);
  return {rows(gather.scheduled()), rows(gather.ready()), rows(gather.conflict()),
          rows(gather.spent()),     tally.counts,         tally.early_ns_max,
          tally.late_ns_max,        result.judgement,     result.end};
}

}  // namespace mesh::sched::testing
