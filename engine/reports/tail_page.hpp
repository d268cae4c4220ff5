// TailPage: the next deliveries of a mesh since a position: what `mesh tail` and `mesh record` show
// as a stream, for who asks for a page at a time. Nobody keeps anything between two pages: where to
// go on stands in each.
//
// Callers     one thread, cold; step() reads, and never waits.
// Ordering    per station: as its inbox has them. A busy station takes no more of a page than its
//             share while others have something.
// Units       bytes of JSON; ms.
// If the      passes faster than pages are asked for: what was overwritten counts as missed, and
// mesh        the page goes on from where its station's inbox is.
// Errors      bad_input: a position that an inbox has not reached; and as InboxTail's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/reports/inbox_tail.hpp"
#include "engine/reports/recording.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

inline constexpr std::uint64_t kTailCountMax = 1'000;
inline constexpr std::uint64_t kTailWaitMsMax = 60'000;
inline constexpr Nanos kTailLookAgain{5 * kNsPerMs};

struct TailWanted {
  std::string agent{};                          // only from or to this one; empty: all
  std::uint64_t count = 100;                    // at most; 1 to kTailCountMax
  Nanos wait{kNsPerSecond};                     // for the first of them
  std::optional<InboxTail::Positions> since{};  // none: from now on
  // Lines of a recording, of messages alone, instead of deliveries: behind the line of this check;
  // empty: they begin one.
  std::optional<std::string> check{};
  std::size_t bytes_max = 48U << 10;
};

class TailPage {
 public:
  explicit TailPage(TailWanted wanted) : wanted_(std::move(wanted)) {}

  // The page, once there is something or the wait is over; none: look again after kTailLookAgain.
  // {passed: [...], missed, next}, or {lines: [...], messages, missed, check, next}.
  [[nodiscard]] Result<std::optional<Json>> step(const std::string& directory, Nanos now);

 private:
  Status open(const std::string& directory);
  bool take(const PassedDelivery& passed);
  [[nodiscard]] bool is_meant(const PassedDelivery& passed) const;
  [[nodiscard]] Json page();

  TailWanted wanted_;
  std::optional<InboxTail> tail_;
  std::optional<Nanos> until_;
  int looks_ = 0;
  bool is_full_ = false;
  std::uint64_t taken_ = 0;
  std::uint64_t missed_ = 0;
  std::size_t bytes_ = 0;
  Json passed_ = Json::array();
  std::vector<RecordedMessage> messages_;
  std::uint64_t bodies_gone_ = 0;
};

}  // namespace mesh::engine::reports
