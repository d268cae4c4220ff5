#include "tools/gather_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/text.hpp"

namespace mesh::tools {
namespace of_gather_report {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNsAMs = 1e6;
constexpr double kNsAUs = 1e3;

struct Named {
  const char* key;
  const char* words;
};
// Of the stragglers; the others said nothing at all.
constexpr Named kStragglers[] = {{"declined", "declined"}, {"late", "answered after the end"}};
constexpr Named kSkipped[] = {{"insufficient_lead_time", "too slow for this T"},
                              {"invalid_impedance", "with an invalid impedance"},
                              {"capability_mismatch", "without the capability"},
                              {"not_routable", "not routable"}};

std::uint64_t count_of(const Json& object, const char* key) {
  return object.value(key, std::uint64_t{0});
}
// As integers, and as what an operation's figures are: whole nanoseconds.
double ns_of(const Json& object, const char* key) {
  return std::abs(static_cast<double>(object.value(key, std::int64_t{0})));
}

// "3 in CONFLICT, 1 declined"; empty: none of them.
std::string list_of(const Json& object, std::span<const Named> all) {
  std::string text;
  for (const Named& one : all) {
    const std::uint64_t count = count_of(object, one.key);
    if (count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, one.words);
  }
  return text;
}

std::string not_ready_of(const Json& answer) {
  constexpr Named kOthers[] = {{"conflict", "in CONFLICT"}, {"straggler", "still in TRANSIT"}};
  std::string text = list_of(answer, kOthers);
  const std::string why = list_of(answer, kStragglers);
  return why.empty() ? text : text + " (" + why + ')';
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  return text;
}

std::string advice_of(const std::string& advice) {
  if (advice == "retry_with_larger_window") return "a larger window would help: --window-ms";
  if (advice == "give_more_lead_time") return "more time before T would help: --horizon-ms";
  return "";
}

void write_line(std::ostream& out, const char* head, const std::string& text) {
  if (!text.empty()) out << fmt::format("{:<10} {}\n", head, text);
}

std::string arrivals_of(const Json& errors) {
  const std::uint64_t count = count_of(errors, "count");
  if (count == 0) return "";
  const auto ms = [&](const char* key) { return ns_of(errors, key) / kNsAMs; };
  return fmt::format(
      "from T: p50 {:.2f} ms, p90 {:.2f}, p99 {:.2f}, at most {:.2f}; {} of {} inside",
      ms("p50_ns"), ms("p90_ns"), ms("p99_ns"), ms("max_ns"), count_of(errors, "inside"), count);
}

std::string compared_of(const Json& compared) {
  if (!compared.is_object()) return "";
  return fmt::format("{}: {} of {} answers agree", printable(compared.value("verdict", "")),
                     count_of(compared, "majority_count"), count_of(compared, "answers"));
}

std::string cost_of(const Json& cost) {
  const auto us = [&](const char* key) { return ns_of(cost, key) / kNsAUs; };
  return fmt::format("plan {:.0f} us, dispatch {:.0f}, gather {:.0f}; {} wakes {:.0f}",
                     us("plan_ns"), us("dispatch_ns"), us("gather_ns"), count_of(cost, "wakes"),
                     us("wake_ns"));
}

void write(const Json& answer, std::ostream& out) {
  const Json none = Json::object();
  out << fmt::format(
      "{}: {} of {} agents that were sent to are READY ({:.1f} %), of {} targeted {:.1f} %\n",
      printable(upper(answer.value("verdict", "unknown"))), count_of(answer, "ready"),
      count_of(answer, "sent"), 100 * answer.value("ready_rate", 0.0), count_of(answer, "targeted"),
      100 * answer.value("coverage", 0.0));
  write_line(out, "not ready", not_ready_of(answer));
  write_line(out, "skipped", list_of(answer.value("skipped", none), kSkipped));
  write_line(out, "advice", advice_of(answer.value("advice", "")));
  write_line(out, "arrivals", arrivals_of(answer.value("errors", none)));
  write_line(out, "compared", compared_of(answer.value("compared", Json())));
  write_line(out, "quorum", printable(answer.value("quorum", none).value("sentence", "")));
  write_line(out, "engine", cost_of(answer.value("cost", none)));
  write_line(out, "operation",
             fmt::format("{}, {:.3f} s; every figure: --json", count_of(answer, "operation"),
                         ns_of(answer, "took_ns") / 1e9));
}

}  // namespace
}  // namespace of_gather_report

void write_gather(const nlohmann::ordered_json& answer, std::ostream& out) {
  of_gather_report::write(answer, out);
}

}  // namespace mesh::tools
