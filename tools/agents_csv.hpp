// AgentTable: the agents of a CSV file, as `mesh plan` takes them.
//
// The first line is exactly
//   agent,class,latency_ms,queue_depth,drift,reliability,heartbeat_age_s
// and each further line one agent: a name (UTF-8, 1 to 63 bytes, unique, kept byte for byte), a
// class A-F and five numbers (tools/text.hpp says what a number is). Negative, infinite and nan are
// numbers: such a row is read, and the calculation skips it as invalid_impedance. What RFC 4180
// leaves open stands in tools/csv.hpp.
//
// Cost        1,000,000 agents in about a third of a second; the text is kept, names point into it.
// Errors      Errc::bad_input for the first line that cannot be used: "FILE: line L, column C (its
//             name): why".
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tools {

inline constexpr std::string_view kAgentsCsvHeader =
    "agent,class,latency_ms,queue_depth,drift,reliability,heartbeat_age_s";

struct AgentLine {
  std::string_view name;
  std::uint32_t line = 0;
  std::uint8_t agent_class = 0;  // 0: A
  double latency_ms = 0;
  double queue_depth = 0;
  double drift = 0;
  double reliability = 0;
  double heartbeat_age_s = 0;
};

class AgentTable {
 public:
  // `source` names the text in errors.
  [[nodiscard]] static Result<AgentTable> parse(std::string text, std::string_view source);

  [[nodiscard]] std::span<const AgentLine> agents() const noexcept { return agents_; }

 private:
  std::unique_ptr<std::string> text_;  // names point into it, also after a move
  std::vector<AgentLine> agents_;
};

// The whole of a file, or of `standard_input` when the path is "-".
[[nodiscard]] Result<std::string> read_input(const std::string& path, std::istream& standard_input);

}  // namespace mesh::tools
