// Memory of a note journal, which outlives the journals over it as `engine` memory does engines.
#pragma once

#include <vector>

#include "engine/conflict/note_journal.hpp"

namespace mesh::testing {

class JournalMemory {
 public:
  using Journal = engine::NoteJournal;
  // A power of two each.
  explicit JournalMemory(std::size_t notes, std::size_t carried_bytes = std::size_t{2} << 20)
      : notes_(notes), words_(carried_bytes / sizeof(Journal::Log::Word)) {
    const std::size_t slots = (notes * sizeof(Journal::Ring::Slot) + kIsolation - 1) / kIsolation;
    words_at_ = kSlotsAt + slots;
    blocks_.resize(words_at_ + carried_bytes / kIsolation);
  }
  [[nodiscard]] Journal::Place place() {
    return {.slots = {reinterpret_cast<Journal::Ring::Slot*>(blocks_.data() + kSlotsAt), notes_},
            .page = reinterpret_cast<Journal::Ring::ReaderPage*>(blocks_.data()),
            .words = {reinterpret_cast<Journal::Log::Word*>(blocks_.data() + words_at_), words_},
            .header = reinterpret_cast<Journal::Log::Header*>(blocks_.data() + 1)};
  }

 private:
  struct alignas(kIsolation) Block {
    std::byte bytes[kIsolation];
  };
  static constexpr std::size_t kSlotsAt = 1 + sizeof(Journal::Log::Header) / kIsolation;
  std::size_t notes_, words_, words_at_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace mesh::testing
