// A fuzz target without a fuzzer: over its corpus, over mutations of it and over random bytes.
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/fuzz.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_fuzz_smoke_test {

using Bytes = std::vector<std::byte>;

std::vector<Bytes> corpus() {
  std::vector<Bytes> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(MESH_FUZZ_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto bytes = std::as_bytes(std::span(text));
    inputs.emplace_back(bytes.begin(), bytes.end());
  }
  return inputs;
}

TEST(Fuzz, HoldsOverItsCorpus) {
  const auto inputs = corpus();
  ASSERT_FALSE(inputs.empty()) << MESH_FUZZ_CORPUS;
  for (const Bytes& input : inputs) fuzz_one(input);
  fuzz_one({});
}

TEST(Fuzz, HoldsOverEveryPrefixOfItsCorpus) {
  for (const Bytes& input : corpus())
    for (std::size_t size = 0; size < input.size(); ++size) fuzz_one(std::span(input).first(size));
}

void mutate(Bytes& input, std::mt19937_64& random) {
  for (std::uint64_t changes = random() % 8; changes != 0 && !input.empty(); --changes) {
    const auto at = static_cast<std::ptrdiff_t>(random() % input.size());
    if (random() % 4 != 0) {
      input[static_cast<std::size_t>(at)] = static_cast<std::byte>(random());
    } else if (random() % 2 == 0) {
      input.erase(input.begin() + at);
    } else {
      input.insert(input.begin() + at, static_cast<std::byte>(random()));
    }
  }
}

TEST(Fuzz, HoldsOverMutationsOfItsCorpus) {
  std::mt19937_64 random(seed());
  const auto inputs = corpus();
  for (std::uint64_t turn = 0; turn < repeats(20'000); ++turn) {
    Bytes input = inputs[random() % inputs.size()];
    mutate(input, random);
    fuzz_one(input);
  }
}

TEST(Fuzz, HoldsOverRandomBytes) {
  std::mt19937_64 random(seed());
  for (std::uint64_t turn = 0; turn < repeats(20'000); ++turn) {
    Bytes input(random() % 512);
    for (std::byte& byte : input) byte = static_cast<std::byte>(random());
    fuzz_one(input);
  }
}

}  // namespace of_fuzz_smoke_test
}  // namespace mesh::testing
