#include "engine/coordination/blocks/hash_chain.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace mesh::coordination {
namespace of_hash_chain_test {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const std::byte one : digest) {
    text += "0123456789abcdef"[static_cast<unsigned>(one) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(one) & 15U];
  }
  return text;
}

TEST(HashChain, HashesAsFips180Says) {
  EXPECT_EQ(hex(sha256(bytes_of("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(HashChain, CoversTheHashBeforeThePositionAndTheBody) {
  ChainEnd before;
  before.position = 0x0102;
  before.digest.fill(std::byte{7});
  std::vector<std::byte> all(before.digest.begin(), before.digest.end());
  for (const unsigned one : {3U, 1U, 0U, 0U, 0U, 0U, 0U, 0U}) all.push_back(std::byte(one));
  for (const std::byte one : bytes_of("a fact")) all.push_back(one);
  const ChainEnd next = chain_on(before, bytes_of("a fact"));
  EXPECT_EQ(next.position, 0x0103U);
  EXPECT_EQ(next.digest, sha256(all));
}

TEST(HashChain, DiffersWhereAnythingBeforeDiffers) {
  const ChainEnd one = chain_on({}, bytes_of("first"));
  EXPECT_NE(chain_on(one, bytes_of("x")), chain_on(chain_on({}, bytes_of("other")), bytes_of("x")));
  EXPECT_NE(chain_on(one, bytes_of("x")).digest, chain_on({}, bytes_of("x")).digest);
  EXPECT_EQ(chain_on(one, bytes_of("x")), chain_on(one, bytes_of("x")));
}

}  // namespace of_hash_chain_test
}  // namespace mesh::coordination
