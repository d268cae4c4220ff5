// The numbers of goldens.json, each of which exists once: a test names service and case.
#pragma once

#include <string_view>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace mesh::coordination::testing {

using Json = nlohmann::json;

struct Golden {
  Json inputs;
  Json expected;
};

// Fails the test where there is no such case.
[[nodiscard]] Golden golden(std::string_view service, std::string_view name);
// Integers exact, reals to 1e-9 of their size (1e-12 near zero), everything else equal.
[[nodiscard]] ::testing::AssertionResult matches(const Json& expected, const Json& actual);

}  // namespace mesh::coordination::testing
