#include "tools/agents_csv.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <istream>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "shm/base/limits.hpp"
#include "tools/csv.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

constexpr std::array<std::string_view, 7> kColumns = {
    "agent", "class", "latency_ms", "queue_depth", "drift", "reliability", "heartbeat_age_s"};
constexpr std::string_view kClasses = "ABCDEF";
// Far more than kMaxAgents lines need; it stops a device file that never ends.
constexpr std::size_t kInputBytesMax = std::size_t{512} << 20;
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

tl::unexpected<Error> refuse(std::uint32_t line, std::size_t column, std::string_view what) {
  return fail(Errc::bad_input,
              fmt::format("line {}, column {} ({}): {}", line, column + 1, kColumns[column], what),
              line);
}

// Finds names seen before: open addressing over row numbers, at most half full. The names stay in
// the rows.
class NameIndex {
 public:
  explicit NameIndex(std::size_t names_max)
      : slots_(std::bit_ceil(2 * std::max<std::size_t>(names_max, 1)), kEmpty) {}

  // The row of the same name if there is one; else notes that `rows.back()` has it.
  const AgentLine* find_or_add(const std::vector<AgentLine>& rows) {
    const std::string_view name = rows.back().name;
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = std::hash<std::string_view>{}(name)&mask;; at = (at + 1) & mask) {
      if (slots_[at] == kEmpty) {
        slots_[at] = static_cast<std::uint32_t>(rows.size() - 1);
        return nullptr;
      }
      if (rows[slots_[at]].name == name) return &rows[slots_[at]];
    }
  }

 private:
  static constexpr std::uint32_t kEmpty = ~std::uint32_t{0};
  std::vector<std::uint32_t> slots_;
};

Status check_column_count(const std::vector<CsvField>& fields) {
  if (fields.size() < kColumns.size()) {
    return refuse(
        fields[0].line, fields.size(),
        fmt::format("missing; the line has {} of {} columns", fields.size(), kColumns.size()));
  }
  if (fields.size() > kColumns.size()) {
    return fail(Errc::bad_input,
                fmt::format("line {}, column {}: one column too many; there are {}: {}",
                            fields[kColumns.size()].line, kColumns.size() + 1, kColumns.size(),
                            kAgentsCsvHeader));
  }
  return {};
}

Status check_header(const std::vector<CsvField>& fields) {
  const std::size_t known = std::min(fields.size(), kColumns.size());
  for (std::size_t column = 0; column < known; ++column) {
    if (fields[column].text == kColumns[column]) continue;
    return refuse(fields[column].line, column,
                  fmt::format("the header says {}; it must be exactly {}",
                              in_quotes(fields[column].text), kAgentsCsvHeader));
  }
  return check_column_count(fields);
}

Status check_name(const CsvField& field) {
  if (field.text.empty()) return refuse(field.line, 0, "the agent has no name");
  if (field.text.size() > kAgentNameBytes) {
    return refuse(field.line, 0,
                  fmt::format("the name {} has {} bytes, at most {} are allowed",
                              in_quotes(field.text), field.text.size(), kAgentNameBytes));
  }
  if (!is_utf8(field.text)) {
    return refuse(field.line, 0, fmt::format("the name {} is not UTF-8", in_quotes(field.text)));
  }
  return {};
}

Result<std::uint8_t> class_of(const CsvField& field) {
  const std::size_t at =
      field.text.size() == 1 ? kClasses.find(field.text[0]) : std::string_view::npos;
  if (at != std::string_view::npos) return static_cast<std::uint8_t>(at);
  return refuse(field.line, 1,
                fmt::format("unknown class {}, it is one of A-F", in_quotes(field.text)));
}

Status read_agent(const std::vector<CsvField>& fields, AgentLine& agent) {
  MESH_CHECK_OK(check_column_count(fields));
  MESH_CHECK_OK(check_name(fields[0]));
  agent.name = fields[0].text;
  agent.line = fields[0].line;
  MESH_TRY(agent.agent_class, class_of(fields[1]));
  const std::array<double*, 5> numbers = {&agent.latency_ms, &agent.queue_depth, &agent.drift,
                                          &agent.reliability, &agent.heartbeat_age_s};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const CsvField& field = fields[i + 2];
    const std::optional<double> number = parse_number(field.text);
    if (!number) {
      return refuse(field.line, i + 2, fmt::format("{} is not a number", in_quotes(field.text)));
    }
    *numbers[i] = *number;
  }
  return {};
}

Status read_agents(std::span<char> text, std::vector<AgentLine>& agents) {
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  const std::size_t agents_max = std::min<std::size_t>(lines, kMaxAgents);
  agents.reserve(agents_max);
  NameIndex names(agents_max);
  CsvReader reader(text);
  std::vector<CsvField> fields;
  MESH_TRY(const bool has_header, reader.next(fields));
  if (!has_header) {
    return fail(Errc::bad_input,
                fmt::format("line 1, column 1: the file is empty; its first line must be {}",
                            kAgentsCsvHeader));
  }
  MESH_CHECK_OK(check_header(fields));
  for (;;) {
    MESH_TRY(const bool more, reader.next(fields));
    if (!more) break;
    if (agents.size() == kMaxAgents) {
      return refuse(fields[0].line, 0,
                    fmt::format("more than {} agents, the most a mesh holds", kMaxAgents));
    }
    MESH_CHECK_OK(read_agent(fields, agents.emplace_back()));
    if (const AgentLine* const twin = names.find_or_add(agents)) {
      return refuse(
          fields[0].line, 0,
          fmt::format("the agent {} is on line {} already", in_quotes(twin->name), twin->line));
    }
  }
  if (agents.empty()) {
    return fail(Errc::bad_input, "line 2, column 1: no agents after the header");
  }
  return {};
}

tl::unexpected<Error> cannot_read(const std::string& path, int error) {
  return fail(Errc::bad_input,
              fmt::format("{}: cannot be read: {}", printable(path), std::strerror(error)), error);
}

}  // namespace

Result<AgentTable> AgentTable::parse(std::string text, std::string_view source) {
  AgentTable table;
  table.text_ = std::make_unique<std::string>(std::move(text));
  if (Status status = read_agents(*table.text_, table.agents_); !status) {
    Error error = std::move(status).error();
    error.sentence = fmt::format("{}: {}", printable(source), error.sentence);
    return tl::unexpected<Error>(std::move(error));
  }
  return table;
}

Result<std::string> read_input(const std::string& path, std::istream& standard_input) {
  std::ifstream file;
  if (path != "-") {
    struct ::stat about {};
    if (::stat(path.c_str(), &about) != 0) return cannot_read(path, errno);
    if (S_ISDIR(about.st_mode)) return cannot_read(path, EISDIR);
    errno = 0;
    file.open(path, std::ios::binary);
    if (!file) return cannot_read(path, errno);
  }
  std::istream& input = path == "-" ? standard_input : file;
  std::string text;
  while (input) {
    const std::size_t before = text.size();
    if (before > kInputBytesMax) {
      return fail(Errc::bad_input, fmt::format("{}: more than {} MiB; {} agents need less",
                                               printable(path), kInputBytesMax >> 20, kMaxAgents));
    }
    text.resize(before + kReadBytes);
    input.read(text.data() + before, static_cast<std::streamsize>(kReadBytes));
    text.resize(before + static_cast<std::size_t>(input.gcount()));
  }
  if (input.bad()) return cannot_read(path, EIO);
  return text;
}

}  // namespace mesh::tools
