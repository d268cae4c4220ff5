// main() of every test program: prints the seed that random tests use, takes --seed=N, and hands it
// to RapidCheck.
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/sanitizers.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace {
std::uint64_t seed_of_this_run = 0;
}
std::uint64_t seed() { return seed_of_this_run; }
}  // namespace mesh::testing

#ifdef MESH_UNDER_THREAD_SANITIZER
// moodycamel orders words of its own by fences. What goes through its queues is watched all the
// same.
extern "C" const char* __tsan_default_suppressions() { return "race:moodycamel::\n"; }
#endif

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::string text;
  if (const char* from_environment = std::getenv("MESH_TEST_SEED")) text = from_environment;
  for (int i = 1; i < argc; ++i) {
    constexpr std::string_view kOption = "--seed=";
    if (std::string_view(argv[i]).starts_with(kOption)) text = argv[i] + kOption.size();
  }
  mesh::testing::seed_of_this_run =
      text.empty() ? (std::uint64_t{std::random_device{}()} << 20) ^ std::random_device{}()
                   : std::strtoull(text.c_str(), nullptr, 10);
  std::cout << "seed " << mesh::testing::seed() << " (repeat with --seed=N)" << std::endl;
  const std::string parameters = "seed=" + std::to_string(mesh::testing::seed());
  setenv("RC_PARAMS", parameters.c_str(), 0);
  return RUN_ALL_TESTS();
}
