// A header published while another thread attaches: it sees no magic, or everything.
#include "shm/mapping_header.hpp"
#include "tests/relacy_memory.hpp"

namespace mesh::shm {
namespace {

using testing::RelacyMemory;

struct HeaderTest : rl::test_suite<HeaderTest, 2> {
  RelacyMemory::Word<std::uint64_t> words[kHeaderWords];
  RelacyMemory::Plain<std::uint64_t> set_up_before;

  void before() {
    for (auto& word : words) word.store_relaxed(0);
    set_up_before.set(0);
  }

  void thread(unsigned id) {
    if (id == 0) {
      MappingHeader header{};
      header.magic = kMappingMagic;
      header.checksum = 11;
      header.instance = 12;
      header.reserved.back() = 13;
      set_up_before.set(14);
      store_header<RelacyMemory>(words, header);
      return;
    }
    // Tried again: at the first try the magic is hardly ever there, and then nothing is checked.
    for (int attempt = 0; attempt < 4; ++attempt) {
      const MappingHeader header = load_header<RelacyMemory>(words);
      if (header.magic != 0) return check(header);
    }
  }

  void check(const MappingHeader& header) {
    RL_ASSERT(header.magic == kMappingMagic);
    RL_ASSERT(header.checksum == 11);
    RL_ASSERT(header.instance == 12);
    RL_ASSERT(header.reserved.back() == 13);
    RL_ASSERT(set_up_before.get() == 14);
  }
};

}  // namespace
}  // namespace mesh::shm

int main() { return mesh::testing::check_every_order<mesh::shm::HeaderTest>(20'000); }
