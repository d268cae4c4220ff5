// TopFrame: the live screen of `mesh top` as a pure function of what was seen: the same snapshot
// gives the same text.
//
// Callers     one thread, cold.
// Units       as the names say. What is not known prints unknown.
// Invariant   no line is wider than TopLook::columns, and there are no more than TopLook::rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mesh::tools {

struct TopSector {
  std::uint32_t sector = 0;
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::optional<double> mean_ms{};  // impedance of those who are active
  bool is_passable = true;          // its breaker is closed
};

struct TopBreaker {
  std::string what;  // "sector 7"
  std::string state;
};

struct TopError {
  std::string code;
  std::uint64_t count = 0;
  std::int64_t age_ms = 0;  // of the last time
  std::string text;
};

struct TopRate {
  std::string what;
  std::optional<double> per_second;
};

struct TopOperation {
  std::uint64_t id = 0;
  std::string kind{};
  bool is_running = false;
  std::uint64_t targeted = 0;
  std::uint64_t sent = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
  std::optional<std::int64_t> to_t_ms{};  // negative: T is over. None: it has none
  std::int64_t age_ms = 0;                // since it was opened
  std::optional<std::int64_t> ended_age_ms{};
};

struct TopSnapshot {
  std::string directory;
  std::optional<bool> engine_running;
  std::optional<std::int64_t> engine_process;
  std::optional<std::int64_t> age_ms;  // of the counters; none: never written

  std::optional<std::string> mode;
  std::int64_t mode_for_ms = 0;
  std::optional<std::uint64_t> agents, active, stations;
  std::optional<double> mean_ms, p95_ms;
  std::optional<std::uint64_t> sectors_healthy, sectors_degraded;

  std::optional<std::uint64_t> operations_open, operations_ended, operations_quorum;
  std::optional<std::uint64_t> conflicts, messages_open, pending_open;
  std::optional<double> lateness_p50_us, lateness_p99_us, lateness_max_us;
  std::optional<std::uint64_t> refused, lost_replies, crashes, spikes;
  std::vector<TopRate> rates;

  std::vector<TopSector> sectors;    // by number, the empty ones too
  std::vector<TopBreaker> breakers;  // those that are not closed
  std::optional<std::uint64_t> operations_running;
  std::vector<TopOperation> operations;  // those that run, then the last that ended
  std::vector<TopError> errors;          // the latest first
};

struct TopLook {
  std::uint32_t columns = 80;
  std::uint32_t rows = 24;
  bool colour = false;
  bool has_keys = false;  // the last line says them
};

// Lines without line ends; with colour, those of ANSI escapes that set a colour and nothing else.
[[nodiscard]] std::vector<std::string> top_lines(const TopSnapshot& seen, const TopLook& look);
[[nodiscard]] nlohmann::ordered_json top_json(const TopSnapshot& seen);

// "0.4 s", "2 m 3 s", "5 h 2 m", "3 d 4 h".
[[nodiscard]] std::string duration_text(std::int64_t ms);
// Three digits or so: "0", "12.3", "999", "12.3k", "4.56M".
[[nodiscard]] std::string short_number(double value);

}  // namespace mesh::tools
