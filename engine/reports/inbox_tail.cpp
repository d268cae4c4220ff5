#include "engine/reports/inbox_tail.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "shm/hash.hpp"

namespace mesh::engine::reports {
namespace {

// The stamp that the slot of this position carries; one of a lap before where it was never used.
std::uint64_t stamp_at(std::span<const Ring::Slot> slots, std::uint64_t position) noexcept {
  const std::uint64_t index = position & (slots.size() - 1);
  // SYNC ring.published acquire: pairs with reveal().
  return Ring::effective(slots[index].stamp.load_acquire(), index, slots.size());
}

// Where the smallest stamp stands is what is written next.
std::uint64_t head_of(std::span<const Ring::Slot> slots) noexcept {
  std::uint64_t oldest = stamp_at(slots, 0);
  for (std::uint64_t at = 1; at < slots.size(); ++at) {
    if (const std::uint64_t stamp = stamp_at(slots, at); before(stamp, oldest)) oldest = stamp;
  }
  return oldest - 1 + slots.size();
}

Result<std::span<const BodyWord>> words_of(const ObservedMesh::Memory& memory, const char* region) {
  const shm::Region* const found = memory.layout.find(region);
  if (found == nullptr) return fail(Errc::not_found, fmt::format("no region {}", region));
  return shm::resolve(memory.mapping.bytes(), shm::Offset<BodyWord>{found->offset},
                      found->size_bytes / sizeof(BodyWord));
}

}  // namespace

Result<InboxTail> InboxTail::open(const std::string& directory) {
  MESH_TRY(ObservedMesh mesh, ObservedMesh::open(directory));
  MESH_TRY(ObservedMesh::Memory table, mesh.table());
  MESH_TRY(ObservedMesh::Memory payload, mesh.payload());
  InboxTail tail(std::move(mesh), std::move(table), std::move(payload));
  MESH_TRY(tail.rows_, AgentRowViews::in(tail.table_.layout, tail.table_.mapping.bytes()));
  MESH_TRY(const PayloadView view,
           PayloadView::over(tail.mesh_.size(), tail.payload_.mapping.bytes()));
  MESH_TRY(tail.log_, BodyLog::Reader::attach(view.words, view.header));
  MESH_CHECK_OK(tail.refresh());
  return tail;
}

Result<InboxTail::Inbox> InboxTail::open_inbox(std::uint16_t station) const {
  MESH_TRY(ObservedMesh::Memory memory, mesh_.station_in(station));
  Inbox inbox{.memory = std::move(memory), .slots = {}, .bodies = {}};
  const std::span<const std::byte> bytes = inbox.memory.mapping.bytes();
  MESH_TRY(inbox.slots, inbox.memory.layout.array<Ring::Slot>(bytes, "inbox"));
  MESH_TRY(const auto header, inbox.memory.layout.array<BodyLog::Header>(bytes, "bodies.header"));
  MESH_TRY(const auto words, words_of(inbox.memory, "bodies"));
  MESH_TRY(inbox.bodies, BodyLog::Reader::attach(words, header.data()));
  inbox.next = head_of(inbox.slots);
  return inbox;
}

Status InboxTail::refresh() {
  MESH_TRY(const std::vector<std::uint16_t> stations, mesh_.stations());
  std::erase_if(inboxes_, [&](const auto& one) {
    return !std::binary_search(stations.begin(), stations.end(), one.first);
  });
  for (const std::uint16_t station : stations) {
    if (inboxes_.contains(station)) continue;
    auto inbox = open_inbox(station);
    if (inbox) inboxes_.emplace(station, std::move(*inbox));  // else it is coming, or going
  }
  return {};
}

InboxTail::Looked InboxTail::look(const Inbox& inbox) noexcept {
  const std::uint64_t at = inbox.next;
  const std::uint64_t capacity = inbox.slots.size();
  const std::uint64_t stamp = stamp_at(inbox.slots, at);
  if (before(stamp, at + 1)) return {};
  Looked looked{.is_there = true, .is_whole = false, .record = {}};
  if (stamp != at + 1) return looked;
  const Ring::Slot& slot = inbox.slots[at & (capacity - 1)];
  for (std::size_t i = 0; i < std::size(looked.record.words); ++i) {
    looked.record.words[i] = slot.words[i].get();
  }
  // Before this slot is written again, one of the two before it has a stamp of the next lap: only
  // the first of a run gets its own last.
  looked.is_whole = stamp_at(inbox.slots, at) == at + 1 && stamp_at(inbox.slots, at - 1) == at &&
                    stamp_at(inbox.slots, at - 2) == at - 1;
  return looked;
}

std::uint64_t InboxTail::poll(const Visit& visit) {
  return poll_some(UINT64_MAX, [&visit](const PassedDelivery& passed) {
    visit(passed);
    return true;
  });
}

PassedDelivery InboxTail::passed_of(std::uint16_t station, const Inbox& inbox,
                                    const Ring::Record& record) const {
  PassedDelivery passed{.station = station,
                        .record = std::bit_cast<sched::DeliveryRecord>(record),
                        .source = {},
                        .target = {},
                        .header = {},
                        .body = {}};
  passed.body = body_of(inbox, passed.record, passed.header);
  const AgentId source = passed.body ? passed.header.source : AgentId{0};
  passed.source = source == AgentId{0} ? std::string() : name_of(source);
  passed.target = name_of(passed.record.target);
  return passed;
}

std::uint64_t InboxTail::poll_some(std::uint64_t burst, const Take& take) {
  std::uint64_t missed = 0;
  for (auto& [station, inbox] : inboxes_) {
    for (std::uint64_t looks = std::min<std::uint64_t>(burst, inbox.slots.size()); looks != 0;
         --looks) {
      const Looked looked = look(inbox);
      if (!looked.is_there) break;
      if (!looked.is_whole) {  // overtaken: on from where the writer is
        const std::uint64_t head = head_of(inbox.slots);
        missed += head - inbox.next;
        inbox.next = head;
        break;
      }
      if (!take(passed_of(station, inbox, looked.record))) return missed;
      ++inbox.next;
    }
  }
  return missed;
}

InboxTail::Positions InboxTail::positions() const {
  Positions positions;
  for (const auto& [station, inbox] : inboxes_) positions[station] = inbox.next;
  return positions;
}

Status InboxTail::go_on_from(const Positions& positions) {
  for (auto& [station, inbox] : inboxes_) {
    const auto found = positions.find(station);
    const std::uint64_t next = found == positions.end() ? 0 : found->second;
    if (next > inbox.next)
      return fail(Errc::bad_input, fmt::format("since: station {} is at {}, not yet at {}", station,
                                               inbox.next, next));
    inbox.next = next;
  }
  return {};
}

std::optional<std::string> InboxTail::body_of(const Inbox& inbox,
                                              const sched::DeliveryRecord& record,
                                              sched::MessageHeader& header) const {
  if (sched::has(record.flags, sched::RecordFlags::bare)) {
    header.source = sched::bare_source(record);
    const sched::BareBody bare = sched::bare_body(record);
    return std::string(reinterpret_cast<const char*>(bare.bytes),
                       std::min<std::size_t>(bare.size_bytes, sizeof bare.bytes));
  }
  const BodyLog::Reader& log = sched::is_in_payload_log(record.message) ? *log_ : *inbox.bodies;
  constexpr std::size_t kMost = std::size_t{1} << 20;  // a record of a lie asks for no more
  if (record.body_bytes > kMost) return std::nullopt;
  std::vector<std::byte> room(sched::kMessageHeaderBytes + record.body_bytes);
  const auto copied = log.copy(sched::position_of(record.message), room);
  if (copied.status != queues::BodyStatus::kRead || copied.length != room.size()) {
    return std::nullopt;
  }
  std::memcpy(&header, room.data(), sizeof header);
  const std::span<const std::byte> body = std::span(room).subspan(sizeof header);
  if (header.hash != 0 && header.hash != shm::hash64(body)) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(body.data()), body.size());
}

std::string InboxTail::name_of(AgentId agent) const {
  const auto row = static_cast<std::size_t>(index_of(agent));
  AgentRow seen;
  if (row < rows_->rows() && rows_->read(row, seen) == shm::ReadStatus::kRead && seen.id == agent) {
    if (const auto name = decode("agent.name", seen.name)) return std::string(name->view());
  }
  return fmt::format("{:#x}", static_cast<std::uint64_t>(agent));
}

}  // namespace mesh::engine::reports
