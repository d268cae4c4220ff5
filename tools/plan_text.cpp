#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "tools/plan_report.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

constexpr std::array<std::string_view, 6> kClassNames = {"A EDGE", "B SERVERLESS", "C PERSISTENT",
                                                         "D GPU",  "E LOCAL",      "F HUMAN"};
constexpr std::size_t kNamedMax = 10;
constexpr std::size_t kBinsMax = 16;
constexpr std::size_t kBarCharacters = 40;
constexpr double kBinMsMin = 0.1;  // the finest bucket a mesh can be given

constexpr double kDigitsMsMax = 1e13;  // beyond a thousand years digits say nothing more

std::string ms(double value) {
  return std::abs(value) < kDigitsMsMax ? fmt::format("{:.3f}", value)
                                        : fmt::format("{:.4g}", value);
}

struct ClassSummary {
  std::size_t agents = 0;
  std::size_t scheduled = 0;
  std::vector<double> leads_ms;  // of all whose lead is known, in time or late
  double confidence_sum = 0;     // of the scheduled
};

std::array<ClassSummary, 6> summarise(const PlanReport& report) {
  std::array<ClassSummary, 6> classes;
  for (std::size_t i = 0; i < report.agents.size(); ++i) {
    const PlannedAgent& planned = report.planned[i];
    ClassSummary& summary = classes[report.agents[i].agent_class];
    ++summary.agents;
    if (planned.outcome == PlanOutcome::invalid_impedance) continue;
    summary.leads_ms.push_back(planned.lead_ms);
    if (planned.outcome != PlanOutcome::scheduled) continue;
    ++summary.scheduled;
    summary.confidence_sum += planned.confidence;
  }
  return classes;
}

// As everywhere in the mesh: element ceil(n/2) of the sorted, counted from 1.
double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() + 1) / 2 - 1);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void write_classes(const PlanReport& report, std::ostream& out) {
  constexpr std::string_view kRow = "{:<13}{:>9}{:>11}{:>9}{:>17}{:>14}{:>17}\n";
  out << fmt::format(kRow, "class", "agents", "scheduled", "skipped", "median lead ms",
                     "max lead ms", "mean confidence");
  std::array<ClassSummary, 6> classes = summarise(report);
  for (std::size_t i = 0; i < classes.size(); ++i) {
    ClassSummary& summary = classes[i];
    if (summary.agents == 0) continue;
    std::string median_ms = "-";
    std::string max_ms = "-";
    std::string confidence = "-";
    if (!summary.leads_ms.empty()) {
      max_ms = ms(*std::max_element(summary.leads_ms.begin(), summary.leads_ms.end()));
      median_ms = ms(median(summary.leads_ms));
    }
    if (summary.scheduled > 0) {
      confidence =
          fmt::format("{:.3f}", summary.confidence_sum / static_cast<double>(summary.scheduled));
    }
    out << fmt::format(kRow, kClassNames[i], summary.agents, summary.scheduled,
                       summary.agents - summary.scheduled, median_ms, max_ms, confidence);
  }
}

// The narrowest of 0.1, 0.2, 0.5, 1, 2, 5, 10 ... ms that covers the leads with kBinsMax bins. Bin
// edges are multiples of it.
double bin_width_ms(double lowest_ms, double highest_ms) {
  const double floor_ms = std::max(kBinMsMin, highest_ms * 1e-6);
  for (double decade = std::pow(10, std::floor(std::log10(floor_ms)));; decade *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      const double width = decade * step;
      if (width < floor_ms * 0.999) continue;
      const double bins = std::floor(highest_ms / width) - std::floor(lowest_ms / width) + 1;
      if (bins <= static_cast<double>(kBinsMax)) return width;
    }
  }
}

std::string bar(std::size_t count, std::size_t most, bool unicode) {
  const std::size_t length = (count * kBarCharacters + most - 1) / most;  // one agent is visible
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += unicode ? "\u2588" : "#";
  text.append(kBarCharacters - length, ' ');
  return text;
}

void write_sends(const PlanReport& report, bool unicode, std::ostream& out) {
  double lowest_ms = std::numeric_limits<double>::infinity();
  double highest_ms = 0;
  for (const PlannedAgent& planned : report.planned) {
    if (planned.outcome != PlanOutcome::scheduled) continue;
    lowest_ms = std::min(lowest_ms, planned.lead_ms);
    highest_ms = std::max(highest_ms, planned.lead_ms);
  }
  const double width_ms = bin_width_ms(lowest_ms, highest_ms);
  const double first = std::floor(lowest_ms / width_ms);
  const auto bins = static_cast<std::size_t>(std::floor(highest_ms / width_ms) - first) + 1;
  std::vector<std::size_t> counts(bins);
  for (const PlannedAgent& planned : report.planned) {
    if (planned.outcome != PlanOutcome::scheduled) continue;
    ++counts[static_cast<std::size_t>(std::floor(planned.lead_ms / width_ms) - first)];
  }
  const std::size_t most = *std::max_element(counts.begin(), counts.end());
  const auto edge = [&](std::size_t bin) {
    const double at_ms =
        std::min((first + static_cast<double>(bin)) * width_ms, std::numeric_limits<double>::max());
    // A bin is no narrower than a millionth of the greatest lead: seven digits tell edges apart.
    if (highest_ms >= kDigitsMsMax) return fmt::format("{:.7g}", at_ms);
    return fmt::format("{:.{}f}", at_ms, width_ms < 1 ? 1 : 0);
  };
  std::size_t digits = 0;
  for (std::size_t bin = 0; bin <= bins; ++bin) digits = std::max(digits, edge(bin).size());
  out << "\nsends, in ms before T (the earliest first)\n";
  for (std::size_t bin = bins; bin-- > 0;) {
    out << fmt::format("  {:>{}} to {:>{}}  {}  {}\n", edge(bin + 1), digits, edge(bin), digits,
                       bar(counts[bin], most, unicode), counts[bin]);
  }
}

// The first kNamedMax agents of one outcome, and how many more there are.
template <class Describe>
void write_named(const PlanReport& report, PlanOutcome outcome, std::ostream& out,
                 Describe describe) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < report.agents.size(); ++i) {
    if (report.planned[i].outcome != outcome || ++seen > kNamedMax) continue;
    out << "  " << printable(report.agents[i].name) << describe(i) << '\n';
  }
  if (seen > kNamedMax) out << fmt::format("  and {} more\n", seen - kNamedMax);
}

}  // namespace

void write_plan_text(const PlanReport& report, bool unicode, std::ostream& out) {
  out << fmt::format(
      "{} agents, T in {} ms, weight {}, z {}: {} scheduled, {} too late, {} invalid\n\n",
      report.agents.size(), report.options.window_ms, report.options.weight, report.options.z,
      report.scheduled, report.late, report.invalid);
  write_classes(report, out);
  if (report.scheduled > 0) write_sends(report, unicode, out);
  if (report.late > 0) {
    out << "\ntoo late (insufficient_lead_time)\n";
    write_named(report, PlanOutcome::insufficient_lead_time, out, [&](std::size_t i) {
      return fmt::format("  needs {} ms, {} too many", ms(report.planned[i].lead_ms),
                         ms(report.planned[i].lead_ms - report.options.window_ms));
    });
  }
  if (report.invalid > 0) {
    out << "\ninvalid (invalid_impedance: a value that no agent can have)\n";
    write_named(report, PlanOutcome::invalid_impedance, out,
                [&](std::size_t i) { return fmt::format("  line {}", report.agents[i].line); });
  }
}

}  // namespace mesh::tools
