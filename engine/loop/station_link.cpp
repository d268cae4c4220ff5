#include "engine/loop/station_link.hpp"

#include <string>

#include "engine/memory_map.hpp"

namespace mesh::engine {
namespace {

// A region of cache lines, as the words that a payload log works on.
template <class Byte>
auto words_of(const shm::Layout& layout, std::span<Byte> mapping, const std::string& region)
    -> Result<
        std::span<std::conditional_t<std::is_const_v<Byte>, const BodyLog::Word, BodyLog::Word>>> {
  const shm::Region* const found = layout.find(region);
  if (found == nullptr) return fail(Errc::not_found, layout.name() + " has no region " + region);
  return shm::resolve(mapping, shm::Offset<BodyLog::Word>{found->offset},
                      found->size_bytes / sizeof(BodyLog::Word));
}

Status open_rings(StationLink& link, const StationMemory& memory) {
  MESH_TRY(const shm::Layout in, station_in_layout(memory.agents));
  MESH_TRY(const shm::Layout out, station_out_layout(memory.agents));
  MESH_TRY(const auto inbox, in.array<Ring::Slot>(memory.in, "inbox"));
  MESH_TRY(const auto inbox_reader, out.array<Ring::ReaderPage>(memory.out, "inbox_reader"));
  MESH_TRY(link.inbox, Ring::Writer::take_over(inbox, inbox_reader.data()));
  MESH_TRY(const auto outbox, out.array<Ring::Slot>(memory.out, "outbox"));
  MESH_TRY(const auto outbox_reader, in.array<Ring::ReaderPage>(memory.in, "outbox_reader"));
  MESH_TRY(link.outbox, Ring::Reader::attach(outbox, outbox_reader.data()));

  MESH_TRY(const auto own_header, in.array<BodyLog::Header>(memory.in, "bodies.header"));
  MESH_TRY(const auto own_words, words_of(in, memory.in, "bodies"));
  MESH_TRY(link.own_bodies, BodyLog::Writer::take_over(own_words, own_header.data()));
  MESH_TRY(link.own_bodies_again, BodyLog::Reader::attach(own_words, own_header.data()));
  MESH_TRY(const auto sent_header, out.array<BodyLog::Header>(memory.out, "bodies.header"));
  MESH_TRY(const auto sent_words, words_of(out, memory.out, "bodies"));
  MESH_TRY(link.sent_bodies, BodyLog::Reader::attach(sent_words, sent_header.data()));

  SelfColumns& self = link.self;
  MESH_TRY(self.sequence, out.column<std::uint32_t>(memory.out, "self.sequence"));
  MESH_TRY(self.heartbeat_mesh_ms, out.column<std::uint32_t>(memory.out, "self.heartbeat_mesh_ms"));
  MESH_TRY(self.latency_ms, out.column<float>(memory.out, "self.latency_ms"));
  MESH_TRY(self.processing_ms, out.column<float>(memory.out, "self.processing_ms"));
  MESH_TRY(self.drift, out.column<float>(memory.out, "self.drift"));
  MESH_TRY(self.samples, out.column<std::uint32_t>(memory.out, "self.samples"));
  MESH_TRY(self.context_hash, out.column<std::uint64_t>(memory.out, "self.context_hash"));
  return {};
}

}  // namespace

Result<StationLink> StationLink::open(StationId number, const StationMemory& memory,
                                      std::uint32_t uid) {
  StationLink link;
  link.number = number;
  link.uid = uid;
  link.agents_declared = memory.agents;
  MESH_CHECK_OK(open_rings(link, memory));
  link.rows.reserve(memory.agents);
  link.marks.resize(kRunsPerStation);
  return link;
}

}  // namespace mesh::engine
