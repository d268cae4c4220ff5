#include "tools/top_frame.hpp"

#include <cmath>

#include "tools/text.hpp"

namespace mesh::tools {
namespace {

using engine::reports::duration_text;

constexpr std::string_view kUnknownCell = "unknown";
constexpr std::uint32_t kLabelColumns = 7;  // before a row of cells
constexpr std::uint32_t kCellColumns = 3;
constexpr std::uint32_t kErrorLinesMax = 8;
constexpr std::uint32_t kOperationLinesMax = 6;

// A heat's level is the first of these that the mean is below, in ms.
constexpr double kLevels[] = {10, 20, 50, 100, 150, 200, 300, 500, 800};
constexpr std::string_view kLegend =
    "0 <10 1 <20 2 <50 3 <100 4 <150 5 <200 6 <300 7 <500 8 <800 9 more (ms)";
// Colours of the 256 that such terminals have, from green to red.
constexpr int kHeat[] = {22, 28, 34, 70, 106, 142, 178, 208, 202, 160};
constexpr int kDegraded = 90;  // of a sector that is not healthy, and of one without anybody
constexpr int kNobody = 53;

template <class T>
std::string count_text(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : std::string(kUnknownCell);
}
std::string ms_text(const std::optional<double>& value) {
  return value ? fmt::format("{:.1f} ms", *value) : std::string(kUnknownCell);
}
std::string us_text(const std::optional<double>& value) {
  return value ? fmt::format("{:.1f}", *value) : std::string(kUnknownCell);
}

// One cell or a run of text, with a background or none.
struct Span {
  std::string text;
  int colour = -1;
  bool bold = false;
};
using Line = std::vector<Span>;

Line plain(std::string text) { return {{std::move(text)}}; }

// As many characters of it as there is room for; a character may be several bytes.
std::string cut(const std::string& text, std::uint32_t columns) {
  std::uint32_t wide = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((text[at] & 0xC0) == 0x80) continue;
    if (wide++ == columns) return text.substr(0, at);
  }
  return text;
}
std::uint32_t columns_of(const std::string& text) {
  return static_cast<std::uint32_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
}

std::string render(const Line& line, const TopLook& look) {
  std::string out;
  std::uint32_t left = look.columns;
  for (const Span& span : line) {
    const std::string text = cut(span.text, left);
    left -= columns_of(text);
    const bool is_styled = look.colour && (span.colour >= 0 || span.bold);
    if (is_styled && span.bold) out += "\x1b[1m";
    if (is_styled && span.colour >= 0) out += fmt::format("\x1b[97;48;5;{}m", span.colour);
    out += text;
    if (is_styled) out += "\x1b[0m";
  }
  if (!look.colour) out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

int level_of(double mean_ms) {
  int level = 0;
  for (const double limit : kLevels) level += mean_ms >= limit ? 1 : 0;
  return level;
}

// Several sectors in one cell, where there is no room for each.
TopSector together(std::span<const TopSector> sectors) {
  TopSector sum;
  double means = 0;
  for (const TopSector& one : sectors) {
    sum.agents += one.agents;
    sum.active += one.active;
    if (one.mean_ms) means += *one.mean_ms * one.active;
    sum.is_passable &= one.is_passable;
  }
  if (sum.active != 0) sum.mean_ms = means / sum.active;
  return sum;
}

Span cell_of_sector(const TopSector& sector) {
  if (sector.agents == 0) return {" · "};
  const int level = sector.mean_ms ? level_of(*sector.mean_ms) : -1;
  const bool is_healthy = std::uint64_t{sector.active} * 100 > std::uint64_t{sector.agents} * 95;
  char state = '.';
  int colour = level >= 0 ? kHeat[level] : kNobody;
  if (!sector.is_passable) {
    state = '!';
  } else if (sector.active == 0) {
    state = 'x';
  } else if (!is_healthy) {
    state = '-';
  } else if (sector.active != sector.agents) {
    state = '+';
  }
  if (sector.active != 0 && !is_healthy) colour = kDegraded;
  if (sector.active == 0) colour = kNobody;
  const char digit = level < 0 ? '?' : static_cast<char>('0' + level);
  return {fmt::format("{}{} ", digit, state), colour};
}

std::vector<Line> heat_map(const TopSnapshot& seen, const TopLook& look, std::uint32_t rows) {
  std::vector<TopSector> sectors = seen.sectors;
  while (!sectors.empty() && sectors.back().agents == 0) sectors.pop_back();
  if (sectors.empty()) return {plain("sectors: nobody stands in one")};
  if (rows < 3 || look.columns < kLabelColumns + kCellColumns) return {};
  const std::uint32_t room = (look.columns - kLabelColumns) / kCellColumns;
  const std::uint32_t wide = room < 5 ? room : room / 5 * 5;
  const std::uint32_t cells = wide * (rows - 2);
  const auto count = static_cast<std::uint32_t>(sectors.size());
  const std::uint32_t each = (count + cells - 1) / cells;
  std::vector<Line> lines;
  lines.push_back(plain(
      fmt::format("sectors{}: mean impedance; . all active + over 95 % - fewer x nobody ! breaker",
                  each == 1 ? std::string() : fmt::format(", {} a cell", each))));
  lines.push_back(plain(std::string(kLegend)));
  for (std::uint32_t first = 0; first < count; first += wide * each) {
    Line line = plain(fmt::format("{:>5}  ", sectors[first].sector));
    for (std::uint32_t at = first; at < std::min(count, first + wide * each); at += each) {
      const std::uint32_t size = std::min(each, count - at);
      line.push_back(cell_of_sector(together(std::span(sectors).subspan(at, size))));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string engine_text(const TopSnapshot& seen) {
  std::string text = "engine unknown";
  if (seen.engine_running) text = *seen.engine_running ? "engine runs" : "engine DEAD";
  if (seen.engine_process) text += fmt::format(", process {}", *seen.engine_process);
  return text + (seen.age_ms ? fmt::format(", {} old", duration_text(*seen.age_ms))
                             : std::string(", nothing published"));
}

std::string share_text(const std::optional<std::uint64_t>& part,
                       const std::optional<std::uint64_t>& of) {
  if (!part || !of || *of == 0) return std::string(kUnknownCell);
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(*part) / static_cast<double>(*of));
}

std::string rates_text(const TopSnapshot& seen) {
  std::string text = "per second:";
  for (const TopRate& rate : seen.rates) {
    text += fmt::format(" {} {},", rate.what,
                        rate.per_second ? short_number(*rate.per_second) : std::string("unknown"));
  }
  text.pop_back();
  return text;
}

std::string breakers_text(const TopSnapshot& seen, const TopLook& look) {
  if (seen.breakers.empty()) return "breakers: all closed";
  std::string text = fmt::format("breakers: {} not closed:", seen.breakers.size());
  for (const TopBreaker& breaker : seen.breakers) {
    if (text.size() > look.columns) break;
    text += fmt::format(" {} {},", breaker.what, breaker.state);
  }
  text.pop_back();
  return text;
}

std::vector<Line> head(const TopSnapshot& seen, const TopLook& look) {
  const std::string engine = engine_text(seen);
  std::string title = "mesh top  " + printable(seen.directory);
  const std::uint32_t room = look.columns > engine.size() + 2
                                 ? look.columns - static_cast<std::uint32_t>(engine.size()) - 2
                                 : 0;
  title = cut(title, room);
  title.append(room - std::min(room, columns_of(title)) + 2, ' ');
  const bool is_alarm = seen.engine_running == false;
  std::vector<Line> lines;
  lines.push_back({{title, -1, true}, {engine, is_alarm ? 160 : -1, true}});
  const bool is_full = seen.mode == "FULL";
  const std::string mode = seen.mode ? *seen.mode : std::string(kUnknownCell);
  if (seen.mode == "EMERGENCY")
    lines.push_back(
        {{"ALERT: only the operator acts; where the state is saved: mesh status", 160, true}});
  lines.push_back(
      {{"mode "},
       {mode, seen.mode && !is_full ? kDegraded : -1, true},
       {seen.mode ? fmt::format(" for {}", duration_text(seen.mode_for_ms)) : std::string()},
       {fmt::format("   active {} of {} ({})   stations {}", count_text(seen.active),
                    count_text(seen.agents), share_text(seen.active, seen.agents),
                    count_text(seen.stations))}});
  lines.push_back(plain(fmt::format(
      "impedance mean {}, p95 {}   sectors healthy {}, degraded {}", ms_text(seen.mean_ms),
      ms_text(seen.p95_ms), count_text(seen.sectors_healthy), count_text(seen.sectors_degraded))));
  lines.push_back(plain(fmt::format(
      "operations in flight {}, ended {}, quorum {}   conflicts {}",
      count_text(seen.operations_open), count_text(seen.operations_ended),
      share_text(seen.operations_quorum, seen.operations_ended), count_text(seen.conflicts))));
  lines.push_back(plain(fmt::format(
      "messages open {}, pending {}   refused {}, lost replies {}   crashes {}, spikes {}",
      count_text(seen.messages_open), count_text(seen.pending_open), count_text(seen.refused),
      count_text(seen.lost_replies), count_text(seen.crashes), count_text(seen.spikes))));
  lines.push_back(plain(rates_text(seen)));
  lines.push_back(
      plain(fmt::format("lateness us: p50 {}, p99 {}, max {}", us_text(seen.lateness_p50_us),
                        us_text(seen.lateness_p99_us), us_text(seen.lateness_max_us))));
  lines.push_back({{breakers_text(seen, look), seen.breakers.empty() ? -1 : kDegraded}});
  return lines;
}

std::vector<Line> error_lines(const TopSnapshot& seen, std::uint32_t rows) {
  if (rows == 0) return {};
  if (seen.errors.empty()) return {plain("errors: none")};
  std::vector<Line> lines;
  lines.push_back(plain(fmt::format("errors: {} distinct, the latest first", seen.errors.size())));
  for (const TopError& error : seen.errors) {
    if (lines.size() == rows) break;
    lines.push_back(plain(fmt::format("  {} ago  {} x  {}  {}", duration_text(error.age_ms),
                                      error.count, error.code, printable(error.text))));
  }
  return lines;
}

std::string operation_text(const TopOperation& one) {
  std::string text = fmt::format("  {}  {}  {} of {} answered", one.id, one.kind,
                                 one.ready + one.conflict, one.targeted);
  if (one.conflict != 0) text += fmt::format(", {} in conflict", one.conflict);
  if (one.is_running && one.to_t_ms)
    text += *one.to_t_ms >= 0 ? fmt::format(", T in {}", duration_text(*one.to_t_ms))
                              : fmt::format(", T was {} ago", duration_text(-*one.to_t_ms));
  if (one.ended_age_ms)
    return text + fmt::format(", ended {} ago", duration_text(*one.ended_age_ms));
  return text + fmt::format(", for {}", duration_text(one.age_ms));
}

std::vector<Line> operation_lines(const TopSnapshot& seen, std::uint32_t rows) {
  if (rows == 0) return {};
  std::vector<Line> lines;
  if (!seen.operations_running) return {plain("operations: unknown")};
  if (seen.operations.empty()) return {plain("operations: none yet")};
  lines.push_back(plain(
      fmt::format("operations: {} running, and the last that ended", *seen.operations_running)));
  for (const TopOperation& one : seen.operations) {
    if (lines.size() == rows) break;
    lines.push_back(plain(operation_text(one)));
  }
  return lines;
}

}  // namespace

std::string short_number(double value) {
  if (value == 0) return "0";
  constexpr std::string_view kUnits[] = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  // What would be rounded to a thousand of them is one of the next.
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1'000;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, kUnits[unit]);
}

std::vector<std::string> top_lines(const TopSnapshot& seen, const TopLook& look) {
  const std::uint32_t rows = look.rows - (look.has_keys && look.rows != 0 ? 1 : 0);
  std::vector<Line> lines = head(seen, look);
  if (lines.size() > rows) lines.resize(rows);
  std::uint32_t left = rows - static_cast<std::uint32_t>(lines.size());
  // The map takes what it needs, the errors what is left; a few lines are kept for them and for
  // operations.
  const auto wanted = static_cast<std::uint32_t>(seen.errors.size()) + 1;
  const std::uint32_t kept = std::min({wanted, kErrorLinesMax, left / 3});
  const auto listed = static_cast<std::uint32_t>(seen.operations.size()) + 1;
  const std::uint32_t kept_for_operations = std::min({listed, kOperationLinesMax, left / 4});
  const auto add = [&](std::vector<Line> more) {
    for (Line& line : more) {
      if (left == 0) return;
      lines.push_back(std::move(line));
      --left;
    }
  };
  add(operation_lines(seen, kept_for_operations));
  if (left > kept) add({{}});
  add(heat_map(seen, look, left - kept));
  add(error_lines(seen, left));
  std::vector<std::string> text;
  for (const Line& line : lines) text.push_back(render(line, look));
  if (!look.has_keys || look.rows == 0) return text;
  while (text.size() + 1 < look.rows) text.emplace_back();
  text.push_back(cut("q quits", look.columns));
  return text;
}

}  // namespace mesh::tools
