// Histories: whether what several processes saw of a queue, a lock or a register could have been
// seen of one that does one thing at a time (linearizability); and whether a ledger's sum is what
// it must be (conservation).
//
// A window is a part of a history before and after which nothing is under way. It has at most
// kWindowMax operations; a longer one is not judged, which is no pass.
//
// Callers     anyone; pure functions.
// Cost        linearize: at worst 2^n orders of a window of n, remembered; ledger: O(n log n).
// Source      Wing & Gong 1993, with the memo of Lowe 2017; Jepsen's Knossos.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace mesh::engine::simulation {

inline constexpr std::size_t kWindowMax = 12;
inline constexpr std::int64_t kNeverReturned = std::numeric_limits<std::int64_t>::max();

enum class HistoryKind : std::uint8_t {
  enqueue,   // key
  claim,     // result: key, 0: nothing was there
  complete,  // key; result 1: it counted
  acquire,   // result: fence, 0: somebody holds it
  release,   // argument: fence
  expire,    // the lease of whoever holds it is over; nobody asked
  write,     // argument: value
  read,      // result: value
};
struct HistoryOp {
  std::uint32_t process = 0;
  HistoryKind kind = HistoryKind::read;
  std::int64_t invoked_ns = 0;
  std::int64_t returned_ns = kNeverReturned;  // never: it may have happened, or not
  std::uint64_t key = 0;
  std::uint64_t argument = 0;
  std::uint64_t result = 0;
};

enum class HistoryVerdict : std::uint8_t { holds, fails, too_long, empty };

// A model: a State that can be ordered, and what an operation that answered so makes of it; none:
// it cannot have answered so.
struct QueueModel {
  enum class Task : std::uint8_t { ready, leased, completed };
  using State = std::map<std::uint64_t, Task>;
  static std::optional<State> apply(State state, const HistoryOp& op);
};
struct LockModel {
  struct State {
    std::uint64_t holder_fence = 0;  // 0: free
    std::uint64_t last_fence = 0;
    friend auto operator<=>(const State&, const State&) = default;
  };
  static std::optional<State> apply(State state, const HistoryOp& op);
};
struct RegisterModel {
  using State = std::uint64_t;
  static std::optional<State> apply(State state, const HistoryOp& op);
};

namespace history_detail {

// Each state in which a window may end, begun in any of `starts`.
template <class Model>
class Window {
 public:
  using State = typename Model::State;
  explicit Window(std::span<const HistoryOp> ops) : ops_(ops) {}

  std::set<State> ends(const std::set<State>& starts) {
    for (const State& start : starts) visit(0, start);
    return ends_;
  }

 private:
  // Those that are not in `done` and came back before another one of these was asked for are next.
  void visit(std::uint32_t done, const State& state) {
    if (!seen_.insert({done, state}).second) return;
    std::int64_t first_return = kNeverReturned;
    bool is_whole = true;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if ((done >> i & 1U) != 0) continue;
      first_return = std::min(first_return, ops_[i].returned_ns);
      is_whole = is_whole && ops_[i].returned_ns == kNeverReturned;
    }
    if (is_whole) ends_.insert(state);  // what never returned need not have happened
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      const bool is_next = (done >> i & 1U) == 0 && ops_[i].invoked_ns <= first_return;
      if (!is_next) continue;
      if (const auto after = Model::apply(state, ops_[i])) visit(done | 1U << i, *after);
    }
  }

  std::span<const HistoryOp> ops_;
  std::set<std::pair<std::uint32_t, State>> seen_;
  std::set<State> ends_;
};

}  // namespace history_detail

// `failed_at`, where it fails or is too long: the first operation of that window.
template <class Model>
HistoryVerdict linearize(std::vector<HistoryOp> history, std::size_t* failed_at = nullptr) {
  if (history.empty()) return HistoryVerdict::empty;
  std::stable_sort(history.begin(), history.end(), [](const HistoryOp& x, const HistoryOp& y) {
    return x.invoked_ns < y.invoked_ns;
  });
  std::set<typename Model::State> states{{}};
  for (std::size_t from = 0; from < history.size();) {
    std::size_t to = from;
    std::int64_t open_until = std::numeric_limits<std::int64_t>::min();
    do {
      open_until = std::max(open_until, history[to].returned_ns);
      ++to;
    } while (to < history.size() && history[to].invoked_ns <= open_until);
    if (failed_at != nullptr) *failed_at = from;
    if (to - from > kWindowMax) return HistoryVerdict::too_long;
    states =
        history_detail::Window<Model>(std::span(history).subspan(from, to - from)).ends(states);
    if (states.empty()) return HistoryVerdict::fails;
    from = to;
  }
  return HistoryVerdict::holds;
}

// A ledger: who has how much, and what was moved.
struct LedgerMove {
  std::uint64_t id = 0;
  std::uint32_t from = 0;  // kOutside: it came into being
  std::uint32_t to = 0;    // kOutside: it is gone
  std::uint64_t amount = 0;
};
inline constexpr std::uint32_t kOutside = 0xFFFF'FFFF;
struct LedgerVerdict {
  bool holds = false;
  bool is_twice = false;              // a move was booked again
  bool is_overdrawn = false;          // somebody had less than nothing
  std::int64_t missing = 0;           // of the sum of all balances
  std::optional<std::uint64_t> move;  // the first that is wrong; none: the balances are
};
// Whether these moves, in their order, lead from nothing to these balances.
[[nodiscard]] LedgerVerdict conserve(std::span<const LedgerMove> moves,
                                     const std::map<std::uint32_t, std::uint64_t>& balances);

}  // namespace mesh::engine::simulation
