// ReputationWeightedRouter: sends work to the agent that has done such work well, and now and then
// to the one that was tried least recently, so that a bad record is not for ever.
//
//   eligible = offers the capability, routable (its breaker), not quarantined
//   weight   = (w_success rep + w_latency 1/(1 + latency/ref)) * load factor * slow start
//   rep      = (S + a) / (S + F + a + b), S and F halving every half_life
//
//   offered (slow start) --rep < quarantine_below--> quarantined --quarantine_ns--> offered again
//
// Callers     one thread. Any process may read what view() says and choose by itself.
// Progress    wait-free but for the draws of weighted (blocks/selector.hpp).
// Cost        record 40 ns, route by p2c 150 ns. argmax, thompson, top_k: all candidates. No
//             allocation after construction.
// Units       an agent is a number below agents_max: in a mesh its row. Capabilities are names once
//             and numbers afterwards. Nanos.
// If the      agent that was routed to never answers: what is in flight is forgotten
// other side  inflight_forget_ns after its last event. Another host repeats its reports or reorders
// dies,       them: the one with the most observations counts, so merging is idempotent. It lies:
// or lies     its reports weigh as trusted (eigen_trust), and somebody trusted must vouch for it.
// Invariants  0 < rep < 1. routed + without_candidate == routes. Each of n eligible agents is tried
//             at least once in explore_every * n routes of its capability.
// Errors      validate -> invalid_config. An unknown agent, capability or origin: not_found. A
//             latency below 0, an amount that is no number: invalid_argument. join or offer twice:
//             already_exists; no row left: capacity. route without a candidate: no_candidate with
//             what each filter removed. CONFLICT is an answer: it changes no reputation.
// Source      Josang & Ismail 2002; forward decay (Cormode 2009); Mitzenmacher 2001; Thompson 1933,
//             Agrawal & Goyal 2012; outliers: Envoy; trust: Kamvar 2003.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/decay_counter.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/recency_list.hpp"
#include "engine/coordination/blocks/selector.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

struct ReputationConfig {
  Nanos half_life_ns{600'000'000'000};
  double prior_success = 1;
  double prior_failure = 1;
  double w_success = 0.8;
  double w_latency = 0.2;
  Nanos latency_ref_ns{200'000'000};
  double latency_alpha = 0.3;
  double wrong_result_weight = 5;
  PickPolicy policy = PickPolicy::p2c;
  double gamma = 2;                  // weighted: score^gamma
  double p2c_margin = 0.05;          // scores this near are alike: noise must not decide
  std::uint32_t explore_every = 50;  // of one capability's routes; 0: never
  double quarantine_below = 0.15;
  Nanos quarantine_ns{60'000'000'000};
  Nanos slow_start_ns{30'000'000'000};
  double observations_min = 5;  // decayed: for a class to count by itself, and for quarantine
  Nanos inflight_forget_ns{60'000'000'000};
  std::uint32_t inflight_limit = 1'000;  // of an agent that names none; 0: load does not count
  double outlier_stdevs = 1.9;           // below the peers' mean; 0: off
  Nanos outlier_interval_ns{10'000'000'000};
  std::uint32_t outlier_percent_max = 10;  // of a capability's agents, but at least one
  std::uint32_t agents_max = 1'024;
  std::uint32_t capabilities_max = 16;
  std::uint32_t rows_max = 2'048;  // of agent and capability
  std::uint32_t origins_max = 8;   // hosts that report, this one not counted
  std::uint32_t events_max = 64;

  static Result<ReputationConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

inline constexpr std::uint32_t kAnyCapability = 0xFFFF'FFFF;  // the agent as a whole
inline constexpr std::size_t kTopMax = 16;

enum class FailureKind : std::uint8_t { timeout, error, wrong_result, conflict };
constexpr FailureKind last_of(FailureKind) noexcept { return FailureKind::conflict; }

// One host's word on one row, as of the instant at which it was exported; no times in it.
struct ReputationReport {
  std::uint32_t agent = 0;
  std::uint32_t capability = kAnyCapability;
  double successes = 0;  // decayed
  double failures = 0;
  std::uint64_t observations = 0;  // in all, not decayed: which of two reports is newer
};

namespace reputation {
struct Join {
  std::uint32_t agent = 0;
  std::uint32_t inflight_limit = 0;  // 0: the config's
};
struct Leave {
  std::uint32_t agent = 0;
};
struct Offer {
  std::uint32_t agent = 0;
  std::string capability;
};
struct Withdraw {
  std::uint32_t agent = 0;
  std::uint32_t capability = 0;
};
struct SetRoutable {
  std::uint32_t agent = 0;
  bool routable = true;
};
struct RecordSuccess {
  std::uint32_t agent = 0;
  Nanos latency{0};
  std::uint32_t capability = kAnyCapability;
};
struct RecordFailure {
  std::uint32_t agent = 0;
  FailureKind kind = FailureKind::error;
  std::uint32_t capability = kAnyCapability;
};
// What a station has summed up since its last command.
struct RecordSums {
  std::uint32_t agent = 0;
  std::uint32_t capability = kAnyCapability;
  std::uint32_t successes = 0;
  std::uint32_t failures = 0;
  std::uint32_t wrong_results = 0;
  Nanos latency_sum{0};  // of the successes
};
struct Route {
  std::uint32_t capability = 0;
};
struct TopK {
  std::uint32_t capability = 0;
  std::uint32_t k = 1;
};
struct Reset {
  std::uint32_t agent = 0;
};
struct Import {
  std::uint32_t origin = 1;  // 1..origins_max; 0 is this host
  ReputationReport report;
};
// How far one origin trusts another; without any rating all reports count in full.
struct RateOrigin {
  std::uint32_t rater = 0;
  std::uint32_t rated = 1;
  double trust = 0;
};
}  // namespace reputation

struct ReputationReply {
  Errc code = Errc::ok;
  std::uint32_t agent = kNoRow;       // Route
  std::uint32_t capability = kNoRow;  // Offer
  bool explored = false;              // Route
  std::uint32_t count = 0;            // TopK
  std::array<std::uint32_t, kTopMax> agents{};
  SelectRemoved removed{};  // no_candidate: by filter, of all agents that have joined
};

struct ReputationView {
  std::uint32_t score_ppm = 0;
  std::uint32_t observations = 0;
  bool eligible = false;
  bool quarantined = false;
};

struct ReputationCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t routes = 0;
  std::uint64_t routed = 0;
  std::uint64_t without_candidate = 0;
  std::uint64_t explored = 0;
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t quarantines = 0;
  std::uint64_t ejections = 0;
  std::uint64_t imports = 0;
  std::uint64_t stale_imports = 0;
};

struct ReputationActions {
  bool view_changed = false;
};

using ReputationCommand =
    std::variant<reputation::Join, reputation::Leave, reputation::Offer, reputation::Withdraw,
                 reputation::SetRoutable, reputation::RecordSuccess, reputation::RecordFailure,
                 reputation::RecordSums, reputation::Route, reputation::TopK, reputation::Reset,
                 reputation::Import, reputation::RateOrigin>;

class ReputationWeightedRouter final
    : public ServiceForm<ReputationWeightedRouter, ReputationConfig, ReputationCommand,
                         ReputationReply, ReputationCounters, ReputationActions> {
 public:
  // source: the agent, a the capability, b its reputation in ppm.
  enum class Event : std::uint16_t { quarantined = 1, released = 2, ejected = 3 };

  static Status validate(const Config& config);
  explicit ReputationWeightedRouter(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  // What apply() does for the two hot ones; the agent is kNoRow where there is no candidate.
  Reply record(const reputation::RecordSuccess& success, Nanos now) noexcept {
    Reply reply;
    reply.code = note_success(success, now);
    return reply;
  }
  Errc route(std::uint32_t capability, Nanos now, std::uint32_t& agent) noexcept;
  // Ends quarantines that are over, ejects outliers.
  void tick(Nanos now, Actions& out) noexcept;

  // Of the row that routing goes by: the class, or the agent as a whole under observations_min.
  [[nodiscard]] double reputation(std::uint32_t agent, std::uint32_t capability, Nanos now) const;
  [[nodiscard]] double score(std::uint32_t agent, std::uint32_t capability, Nanos now) const;
  [[nodiscard]] ReputationView view(std::uint32_t agent, std::uint32_t capability, Nanos now) const;
  [[nodiscard]] Nanos latency(std::uint32_t agent, std::uint32_t capability) const noexcept;
  [[nodiscard]] std::uint32_t in_flight(std::uint32_t agent) const noexcept;
  [[nodiscard]] double trust(std::uint32_t origin) const noexcept;
  // This host's own observations of a row: what another host imports.
  [[nodiscard]] Result<ReputationReport> report(std::uint32_t agent, std::uint32_t capability,
                                                Nanos now) const;
  [[nodiscard]] Result<std::uint32_t> find(std::string_view capability) const;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"reputation_router", 2};
  static constexpr std::string_view kWho = "reputation router";
  // One for each agent as a whole, then one for each capability that an agent offers. All that a
  // route reads or writes of one stands in its line: what else there is stands in other tables.
  struct alignas(64) Row {
    DecayCounter successes;
    DecayCounter failures;
    double latency_ns = -1;           // below 0: none yet
    std::int64_t ramp_from_ns = 0;    // slow start
    std::int64_t last_event_ns = -1;  // an outcome, or of an agent as a whole also a route
    std::uint32_t agent = kNoRow;     // kNoRow: the row is free
    std::uint32_t capability = kAnyCapability;
    std::uint32_t previous = kNoRow;  // in the order of tries of its class
    std::uint32_t next = kNoRow;
    std::uint32_t in_flight = 0;  // of an agent as a whole, as is its limit
    std::uint32_t inflight_limit = 0;
  };
  static_assert(sizeof(Row) == 64);
  struct RowLinks {  // the rows as nodes of the RecencyList of their class
    std::vector<Row>& rows;
    [[nodiscard]] Row& operator[](std::uint32_t row) const noexcept { return rows[row]; }
    [[nodiscard]] std::uint32_t& key(std::uint32_t row) const noexcept { return rows[row].agent; }
  };
  struct Remote {  // of all origins, weighed by trust
    DecayCounter successes;
    DecayCounter failures;
  };
  struct RowHistory {
    std::uint64_t observations = 0;
    std::int64_t quarantined_until_ns = 0;  // 0: it is not
  };
  struct Agent {
    bool joined = false;
    bool routable = true;
  };
  struct Class {
    explicit Class(std::size_t agents) : eligible(agents) {}
    std::string name;
    CandidateSet eligible;
    RecencyList tried;
    std::uint64_t routes = 0;
    std::uint32_t offered = 0;
  };
  struct Imported {
    DecayCounter successes;
    DecayCounter failures;
    std::uint64_t observations = 0;
  };
  struct ClassScorer {
    const ReputationWeightedRouter* router;
    std::uint32_t capability;
    const DecayScale& at;
    std::int64_t now_ns;
    [[nodiscard]] double score(std::uint32_t agent) const noexcept;
    void prefetch(std::uint32_t agent) const noexcept {
      __builtin_prefetch(&router->rows_[router->row_of(agent, capability)]);
      __builtin_prefetch(&router->rows_[agent]);
    }
    // What tried.touch() writes if it is the one: its neighbours, known once its row is there.
    void prefetch_next(std::uint32_t agent) const noexcept {
      const Row& row = router->rows_[router->row_of(agent, capability)];
      if (row.previous != kNoRow) __builtin_prefetch(&router->rows_[row.previous]);
      if (row.next != kNoRow) __builtin_prefetch(&router->rows_[row.next]);
    }
    [[nodiscard]] double sample(std::uint32_t agent, Rng& rng) const noexcept;
  };
  struct Evidence {
    double successes = 0;
    double failures = 0;
  };
  struct Judged {
    const Row* row;
    Evidence seen;
  };

  [[nodiscard]] bool is_joined(std::uint32_t agent) const noexcept;
  [[nodiscard]] bool is_class(std::uint32_t capability) const noexcept;
  [[nodiscard]] std::uint32_t row_of(std::uint32_t agent, std::uint32_t capability) const noexcept;
  // not_found, or the row; kAnyCapability is the agent's own.
  [[nodiscard]] Errc find_row(std::uint32_t agent, std::uint32_t capability,
                              std::uint32_t& row) const noexcept;
  // One for an instant, and a step of the decay for those near it.
  [[nodiscard]] const DecayScale& scale(std::int64_t now_ns) noexcept {
    if (now_ns == scale_ns_) return scale_;
    if (!step_.holds(now_ns)) [[unlikely]]
      enter_step(now_ns);
    scale_ = step_.at(now_ns);
    scale_ns_ = now_ns;
    return scale_;
  }
  void enter_step(std::int64_t now_ns) noexcept;
  void sweep(const DecayScale& at, bool forget) noexcept;
  [[nodiscard]] Evidence evidence(std::uint32_t row, const DecayScale& at) const noexcept;
  [[nodiscard]] Judged judged(std::uint32_t row, const DecayScale& at) const noexcept;
  [[nodiscard]] double reputation_of(const Evidence& seen) const noexcept;
  [[nodiscard]] double score_of(const Judged& by) const noexcept;
  // What score is multiplied by: load and slow start.
  [[nodiscard]] double standing(const Row& row, std::int64_t now_ns) const noexcept;
  [[nodiscard]] std::uint32_t inflight_at(const Row& whole, std::int64_t now_ns) const noexcept;

  Errc note_success(const reputation::RecordSuccess& success, Nanos now) noexcept;
  Reply join(const reputation::Join& wanted, std::int64_t now_ns) noexcept;
  Reply leave(std::uint32_t agent) noexcept;
  Reply offer(const reputation::Offer& wanted, std::int64_t now_ns) noexcept;
  Reply withdraw(const reputation::Withdraw& gone) noexcept;
  Reply set_routable(const reputation::SetRoutable& wanted) noexcept;
  Reply fail_once(const reputation::RecordFailure& failure, std::int64_t now_ns) noexcept;
  Reply record_sums(const reputation::RecordSums& sums, std::int64_t now_ns) noexcept;
  Reply top_k(const reputation::TopK& wanted, std::int64_t now_ns) noexcept;
  Reply reset(std::uint32_t agent, std::int64_t now_ns) noexcept;
  Reply import(const reputation::Import& heard, std::int64_t now_ns) noexcept;
  Reply rate_origin(const reputation::RateOrigin& rating, std::int64_t now_ns) noexcept;
  Reply apply_membership(const Command& command, std::int64_t now_ns) noexcept;
  Reply apply_rest(const Command& command, std::int64_t now_ns) noexcept;

  void add_latency(Row& row, double mean_ns, std::uint32_t count) noexcept;
  void answered(Row& whole, std::uint32_t count, std::int64_t now_ns) noexcept;
  void judge(std::uint32_t row, std::int64_t now_ns) noexcept;
  void quarantine(std::uint32_t row, std::int64_t now_ns, Event why) noexcept;
  void release_due(std::int64_t now_ns) noexcept;
  void refresh(std::uint32_t row) noexcept;  // whether it is eligible
  void drop_row(std::uint32_t agent, std::uint32_t capability) noexcept;
  void weigh_remote(std::uint32_t row, const DecayScale& at) noexcept;
  void eject_outliers(std::uint32_t capability, std::int64_t now_ns) noexcept;
  [[nodiscard]] SelectRemoved count_removed(std::uint32_t capability) const noexcept;
  void save_state(StateWriter& writer) const;
  void save_row(StateWriter& writer, std::uint32_t row) const;
  void load_state(StateReader& reader);
  void load_row(StateReader& reader, std::uint32_t row);
  void load_class(StateReader& reader, std::uint32_t capability);

  Rng rng_;
  DecayScale scale_;
  std::int64_t scale_ns_ = -1;
  DecayStep step_;
  std::int64_t swept_epoch_ = 0;  // of the decay counters; none lies further back
  std::vector<Agent> agents_;
  std::vector<Class> classes_;
  std::vector<Row> rows_;              // agents_max for the agents, then rows_max
  std::vector<Remote> remote_;         // by row; none where origins_max is 0
  std::vector<RowHistory> histories_;  // by row
  std::vector<std::uint32_t> free_rows_;
  std::vector<std::uint32_t> row_of_;  // by capability, then agent
  DeadlineHeap quarantines_;           // by row
  std::vector<Imported> imports_;      // by origin, then row
  std::vector<double> ratings_;        // (origins_max + 1)^2
  std::vector<double> trust_;          // of each origin, 0..1; entry 0 is this host
  std::vector<double> scratch_;
  bool is_rated_ = false;
  std::int64_t next_outliers_ns_ = 0;
  bool view_changed_ = true;
};

static_assert(DurableService<ReputationWeightedRouter>);

extern template class ServiceForm<ReputationWeightedRouter, ReputationConfig, ReputationCommand,
                                  ReputationReply, ReputationCounters, ReputationActions>;

}  // namespace mesh::coordination
