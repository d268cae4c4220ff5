#include <algorithm>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/plan_report.hpp"

namespace mesh::tools {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{1} << 18;

// Names are UTF-8 already; the few that need escapes are left to the library.
bool needs_escape(std::string_view name) noexcept {
  return std::any_of(name.begin(), name.end(), [](char c) {
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  });
}

void append_name(std::string_view name, std::string& text) {
  if (needs_escape(name)) {
    text += nlohmann::json(name).dump();
    return;
  }
  text += '"';
  text += name;
  text += '"';
}

// Written as text: a tree of a million objects costs more than the whole calculation. Every number
// is finite (PlanReport's contract), and fmt prints the shortest digits that read back the same.
void append_agent(const AgentLine& agent, const PlannedAgent& planned, double window_ms,
                  std::string& text) {
  text += R"({"agent":)";
  append_name(agent.name, text);
  const auto end = std::back_inserter(text);
  switch (planned.outcome) {
    case PlanOutcome::scheduled:
      fmt::format_to(end, R"(,"status":"SCHEDULED","send_in_ms":{},"lead_ms":{},"confidence":{}}})",
                     planned.send_in_ms, planned.lead_ms, planned.confidence);
      return;
    case PlanOutcome::insufficient_lead_time:
      text += R"(,"status":"SKIP","reason":"insufficient_lead_time")";
      fmt::format_to(end, R"(,"needed_ms":{},"available_ms":{}}})", planned.lead_ms, window_ms);
      return;
    case PlanOutcome::invalid_impedance:
      break;
  }
  text += R"(,"status":"SKIP","reason":"invalid_impedance"})";
}

}  // namespace

void write_plan_json(const PlanReport& report, std::ostream& out) {
  const double window_ms = report.options.window_ms;
  std::string text = fmt::format(R"({{"window_ms":{},"scheduled":{},"skipped":{},"agents":[)",
                                 window_ms, report.scheduled, report.late + report.invalid);
  for (std::size_t i = 0; i < report.agents.size(); ++i) {
    text += i == 0 ? "\n" : ",\n";
    append_agent(report.agents[i], report.planned[i], window_ms, text);
    if (text.size() < kFlushBytes) continue;
    out << text;
    text.clear();
  }
  out << text << "\n]}\n";
}

}  // namespace mesh::tools
