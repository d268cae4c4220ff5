// What libFuzzer calls.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  mesh::testing::fuzz_one(std::as_bytes(std::span(data, size_bytes)));
  return 0;
}
