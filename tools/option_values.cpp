#include "tools/option_values.hpp"

#include <optional>

#include <fmt/format.h>

#include "tools/text.hpp"

namespace mesh::tools {

Result<std::uint64_t> whole_number(const CountOption& option, const std::string& text) {
  const std::optional<std::uint64_t> value = parse_count(text);
  if (value && *value >= option.least && *value <= option.most) return *value;
  return fail(Errc::bad_input,
              fmt::format("{} {}: must be a whole number from {} to {}", option.name,
                          in_quotes(text), option.least, option.most),
              static_cast<std::int64_t>(option.most));
}

Result<double> number_from_0(const char* option, const std::string& text, double most) {
  const auto value = parse_number(text);
  if (value && *value >= 0 && *value <= most) return *value;
  return fail(Errc::bad_input,
              fmt::format("{} {}: must be a number from 0 to {}", option, in_quotes(text), most));
}

Result<sched::AgentClass> class_letter(const char* option, const std::string& text) {
  for (std::size_t i = 0; i < sched::kAgentClassCount; ++i) {
    if (text.size() == 1 && text[0] == sched::kAgentClasses[i].letter) {
      return static_cast<sched::AgentClass>(i);
    }
  }
  return fail(Errc::bad_input,
              fmt::format("{} {}: is A, B, C, D, E or F", option, in_quotes(text)));
}

}  // namespace mesh::tools
