#include "tests/engine/coordination/goldens.hpp"

#include <cmath>
#include <fstream>
#include <string>

namespace mesh::coordination::testing {
namespace {

const Json& all_goldens() {
  static const Json kGoldens = [] {
    std::ifstream file(MESH_GOLDENS);
    return Json::parse(file);
  }();
  return kGoldens;
}

bool is_close(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-12 ||
         std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b));
}

// The first difference, or nothing.
std::string difference(const Json& expected, const Json& actual, const std::string& path) {
  const std::string both = path + ": expected " + expected.dump() + ", is " + actual.dump();
  if (expected.is_number() && actual.is_number()) {
    const bool reals = expected.is_number_float() || actual.is_number_float();
    const bool same =
        reals ? is_close(expected.get<double>(), actual.get<double>()) : expected == actual;
    return same ? "" : both;
  }
  if (expected.is_array() && actual.is_array() && expected.size() == actual.size()) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto found = difference(expected[i], actual[i], path + "/" + std::to_string(i));
      if (!found.empty()) return found;
    }
    return "";
  }
  if (expected.is_object() && actual.is_object() && expected.size() == actual.size()) {
    for (const auto& [key, value] : expected.items()) {
      if (!actual.contains(key)) return both;
      const auto found = difference(value, actual.at(key), path + "/" + key);
      if (!found.empty()) return found;
    }
    return "";
  }
  return expected == actual ? "" : both;
}

}  // namespace

Golden golden(std::string_view service, std::string_view name) {
  const auto cases = all_goldens().find(std::string(service));
  if (cases == all_goldens().end() || !cases->contains(std::string(name))) {
    ADD_FAILURE() << "goldens.json has no " << service << " / " << name;
    return {};
  }
  const Json& found = cases->at(std::string(name));
  return {found.at("inputs"), found.at("expected")};
}

::testing::AssertionResult matches(const Json& expected, const Json& actual) {
  const std::string found = difference(expected, actual, "");
  if (found.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << found;
}

}  // namespace mesh::coordination::testing
