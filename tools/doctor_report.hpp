// What `mesh doctor` found, a row a check.
//
// Callers     one thread, cold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mesh::tools {

// skipped: one before it failed, without which it says nothing. warning: it works, but not as well
// as it could.
enum class Finding : std::uint8_t { pass, warning, fail, skipped };
[[nodiscard]] std::string_view name_of(Finding finding) noexcept;

struct DoctorRow {
  std::string check;
  Finding finding = Finding::pass;
  double ms = 0;
  std::string says;
};

struct DoctorReport {
  std::string directory;
  bool is_own = false;  // a mesh of the doctor's own
  std::vector<DoctorRow> rows;

  [[nodiscard]] bool is_well() const noexcept;
};
[[nodiscard]] nlohmann::ordered_json doctor_json(const DoctorReport& report);

}  // namespace mesh::tools
