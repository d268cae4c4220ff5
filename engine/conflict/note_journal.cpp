#include "engine/conflict/note_journal.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "shm/base/assert.hpp"

namespace mesh::engine {

Result<std::unique_ptr<NoteJournal>> NoteJournal::over(const Place& place) {
  std::unique_ptr<NoteJournal> made(new NoteJournal);
  MESH_TRY(made->notes_, Ring::Writer::take_over(place.slots, place.page));
  MESH_TRY(made->taken_, Ring::Reader::attach(place.slots, place.page));
  MESH_TRY(made->bodies_, Log::Writer::take_over(place.words, place.header));
  MESH_TRY(made->bodies_again_, Log::Reader::attach(place.words, place.header));
  made->page_ = place.page;
  made->done_ = made->freed_ = made->taken_.cursor();
  made->reserved_ = std::min<std::uint64_t>(kReservedNotes, place.slots.size() / 8);
  // Of notes that are done: the dead engine may not have given it back.
  bool is_freed = true;
  if (made->freed_ == made->notes_.head()) {
    is_freed = made->bodies_.advance_tail(made->bodies_.head());
  } else if (made->freed_ != 0) {
    is_freed = made->free_bodies(made->freed_);
  }
  if (!is_freed) {
    return fail(Errc::corrupt, "conflict notes: the note before position " +
                                   std::to_string(made->freed_) +
                                   " says that it ends outside what was carried");
  }
  return made;
}

Result<std::unique_ptr<NoteJournal>> NoteJournal::make(std::size_t notes,
                                                       std::size_t carried_bytes) {
  if (notes == 0 || notes > kRingSlotsMax)
    return fail(Errc::invalid_argument, "conflict notes: room for " + std::to_string(notes) +
                                            ", allowed are 1.." + std::to_string(kRingSlotsMax));
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(notes, 2));
  const std::size_t log = std::bit_ceil(std::max<std::size_t>(carried_bytes, 4 * kRoomBytes));
  constexpr auto blocks_of = [](std::size_t bytes) {
    return (bytes + kIsolation - 1) / kIsolation;
  };
  constexpr std::size_t kSlotsAt = 1 + blocks_of(sizeof(Log::Header));
  const std::size_t words_at = kSlotsAt + blocks_of(slots * sizeof(Ring::Slot));
  std::vector<Block> memory(words_at + blocks_of(log));
  Place place;
  place.page = reinterpret_cast<Ring::ReaderPage*>(memory.data());
  place.header = reinterpret_cast<Log::Header*>(memory.data() + 1);
  place.slots = {reinterpret_cast<Ring::Slot*>(memory.data() + kSlotsAt), slots};
  place.words = {reinterpret_cast<Log::Word*>(memory.data() + words_at), log / sizeof(Log::Word)};
  MESH_TRY(auto made, over(place));
  made->memory_ = std::move(memory);  // its blocks stay where they are
  return made;
}

// Looks at the office's cursor.
std::uint64_t NoteJournal::free_notes() noexcept {
  const std::uint64_t free = notes_.free_slots();
  const std::uint64_t read = notes_.cursor();
  if (read != freed_) {
    const bool is_freed = free_bodies(read);
    MESH_ASSERT(is_freed);  // of notes that we wrote, or over() has looked at
  }
  return free;
}

// Of all notes before `read`, before any of their slots is written again.
bool NoteJournal::free_bodies(std::uint64_t read) noexcept {
  freed_ = read;
  const auto last = notes_.at(read - 1).read_as<Stored>();
  // A successor finds it written again: the next one frees.
  return last.position != read - 1 || bodies_.advance_tail(last.bodies_end);
}

bool NoteJournal::put(const ConflictNote& note, const Carried& carried) noexcept {
  if (private_.empty() && put_in_ring(note, carried)) return true;
  const std::uint64_t bytes = carried.answer.size() + carried.message.size();
  if (private_.size() >= kPrivateNotesMax || private_bytes_ + bytes > kPrivateBytesMax)
    return false;
  private_.push_back({note,
                      {carried.answer.begin(), carried.answer.end()},
                      {carried.message.begin(), carried.message.end()}});
  private_bytes_ += bytes;
  return true;
}

void NoteJournal::tend() noexcept {
  while (!private_.empty()) {
    const Waiting& oldest = private_.front();
    if (!put_in_ring(oldest.note, {oldest.answer, oldest.message})) return;
    private_bytes_ -= oldest.answer.size() + oldest.message.size();
    private_.pop_front();
  }
}

bool NoteJournal::put_in_ring(const ConflictNote& note, const Carried& carried) noexcept {
  if (free_notes() == 0) return false;
  Stored stored{.note = note};
  const auto answer = carried.answer.first(std::min(carried.answer.size(), kCarriedBytesMax));
  const auto message = carried.message.first(std::min(carried.message.size(), kCarriedBytesMax));
  if (!answer.empty() || !message.empty()) {
    const std::array<std::span<const std::byte>, 2> parts{answer, message};
    const auto kept = bodies_.append(parts);
    if (kept.status != queues::AppendStatus::kOk) return false;
    stored.body = kept.position;
    stored.answer_bytes = static_cast<std::uint32_t>(answer.size());
    stored.message_bytes = static_cast<std::uint32_t>(message.size());
  }
  stored.bodies_end = bodies_.head();
  const Ring::Run run = notes_.claim(1);
  MESH_ASSERT(run.status == queues::ClaimStatus::kOk);  // there was room, and nobody else puts
  notes_.fill(run, [&](Ring::Slot& slot, std::uint64_t position) {
    stored.position = position;
    const auto words = std::bit_cast<std::array<std::uint64_t, kSlotWords>>(stored);
    for (std::size_t at = 0; at < kSlotWords; ++at) slot.words[at].set(words[at]);
  });
  notes_.reveal();
  return true;
}

Carried NoteJournal::carried_of(const Stored& stored) const noexcept {
  const std::size_t bytes = std::size_t{stored.answer_bytes} + stored.message_bytes;
  if (bytes == 0) return {};
  const auto found = bodies_again_.view(stored.body);
  if (found.status != queues::BodyStatus::kRead || found.body.length != bytes) return {};
  return {found.body.bytes().first(stored.answer_bytes),
          found.body.bytes().subspan(stored.answer_bytes)};
}

}  // namespace mesh::engine
