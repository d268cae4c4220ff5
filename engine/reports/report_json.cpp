#include "engine/reports/report_json.hpp"

#include <chrono>
#include <ctime>

#include <fmt/format.h>

#include "shm/base/nanos.hpp"

namespace mesh::engine::reports {
namespace {

std::string calendar_text(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / kNsPerSecond;
  std::tm parts{};
  char text[32];
  if (unix_ns <= 0 || gmtime_r(&seconds, &parts) == nullptr) return {};
  if (std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) return {};
  return text;
}

}  // namespace

std::string utc_text(std::int64_t unix_ns) {
  const std::string text = calendar_text(unix_ns);
  return text.empty() ? text : text + "Z";
}

std::string utc_ms_text(std::int64_t unix_ns) {
  const std::string text = calendar_text(unix_ns);
  if (text.empty()) return text;
  return fmt::format("{}.{:03}Z", text, unix_ns % kNsPerSecond / kNsPerMs);
}

std::string duration_text(std::int64_t ms) {
  if (ms < 10'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1'000);
  const std::int64_t seconds = ms / 1'000;
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3'600) return fmt::format("{} m {} s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{} h {} m", seconds / 3'600, seconds / 60 % 60);
  return fmt::format("{} d {} h", seconds / 86'400, seconds / 3'600 % 24);
}

std::int64_t unix_now_ns() {
  return std::chrono::duration_cast<Nanos>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace mesh::engine::reports
