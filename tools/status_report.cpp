#include "tools/status_report.hpp"

#include <ostream>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/console_request.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;

bool tells_nothing(const Json& value) {
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_null() || (value.is_structured() && value.empty());
}

// What is left when all that tells nothing is taken out.
Json telling(const Json& object) {
  Json left = Json::object();
  for (const auto& [name, value] : object.items()) {
    const Json inner = value.is_object() ? telling(value) : value;
    if (!tells_nothing(inner)) left[name] = inner;
  }
  return left;
}

std::string sentence_of_health(const Json& status) {
  std::string text = fmt::format(
      "mode {}, {} sectors healthy and {} degraded", printable(status.value("mode", "")),
      status.value("sectors_healthy", 0U), status.value("sectors_degraded", 0U));
  if (const Json mean = status.value("mean_impedance_ms", Json()); mean.is_number())
    text += fmt::format(", mean impedance {:.1f} ms", mean.get<double>());
  return text;
}

}  // namespace

std::string sentence_of_status(const Json& status) {
  const Json in_use = status.value("in_use", Json::object());
  return fmt::format(
      "{} of {} agents active on {} stations, {} routed around; {} messages not answered, {} "
      "operations in flight",
      status.value("agents_active", 0U), status.value("agents_enrolled", 0U),
      status.value("stations", 0U), status.value("agents_routed_around", 0U),
      in_use.value("messages", 0U), in_use.value("operations", 0U));
}

void write_status(const Json& status, std::ostream& out) {
  const Json emergency = status.value("emergency", Json());
  if (emergency.is_object() && emergency.value("is_on", false))
    out << "ALERT: " << printable(emergency.value("says", "")) << '\n';
  out << sentence_of_status(status) << '\n';
  Json rest = status;
  for (const char* said : {"agents_active", "agents_enrolled", "stations", "agents_routed_around"})
    rest.erase(said);
  if (status.value("mode", Json()).is_string()) {
    out << sentence_of_health(status) << '\n';
    for (const char* said : {"mode", "sectors_healthy", "sectors_degraded", "mean_impedance_ms"})
      rest.erase(said);
  }
  if (const auto attached = rest.find("attached"); attached != rest.end()) {
    const Json stations = *attached;
    rest.erase(attached);
    if (!stations.empty()) {
      out << '\n';
      table_of(stations).write(out);
    }
  }
  out << '\n' << lines_of(telling(rest));
  if (status.value("conflicts", Json()).is_null())
    out << "conflicts are not recorded: there is no store (mesh up --store)\n";
  out << "what is 0 or empty is left out; all of it: --all, --json, and with units: mesh stat\n";
}

}  // namespace mesh::tools
