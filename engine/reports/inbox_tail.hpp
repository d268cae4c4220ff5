// InboxTail: deliveries of a mesh as they pass, seen in the stations' inboxes from outside: the
// files are mapped read-only, and neither engine nor station knows.
//
// Callers     one thread, cold.
// Progress    poll: what is there. What is overwritten before it was looked at counts as missed.
// Ordering    per station: as its inbox has them. Between stations: none.
// If the      engine writes over a slot that is being looked at: that is seen by the stamps of the
// other side  two slots before it, one of which is of the next lap by then; it is a miss. Bodies
// writes      are copied, and shown where their hash holds.
// Errors      as ObservedMesh. A station that comes or goes is found or forgotten by refresh().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/agent_row_views.hpp"
#include "engine/observed_mesh.hpp"
#include "engine/station/station_memory.hpp"
#include "sched/records.hpp"

namespace mesh::engine::reports {

struct PassedDelivery {
  std::uint16_t station = 0;
  sched::DeliveryRecord record{};
  std::string source;  // its name; empty: the engine
  std::string target;
  sched::MessageHeader header{};    // where the body is there, and not bare
  std::optional<std::string> body;  // none: it is gone already
};

class InboxTail {
 public:
  static Result<InboxTail> open(const std::string& directory);
  // Stations that came begin where they are; those that went are forgotten.
  Status refresh();
  // How many deliveries passed unseen since the last call.
  using Visit = std::function<void(const PassedDelivery&)>;
  std::uint64_t poll(const Visit& visit);
  // At most `burst` of each inbox, and until it is false: that one is seen again by the next call.
  using Take = std::function<bool(const PassedDelivery&)>;
  std::uint64_t poll_some(std::uint64_t burst, const Take& take);

  // Where each station's inbox is looked at next; and on from there, perhaps in another program. A
  // station that it does not name came since: all of it is seen. bad_input: one that its inbox has
  // not reached.
  using Positions = std::map<std::uint16_t, std::uint64_t>;
  [[nodiscard]] Positions positions() const;
  [[nodiscard]] const std::string& directory() const noexcept { return mesh_.directory(); }
  Status go_on_from(const Positions& positions);

 private:
  struct Inbox {
    ObservedMesh::Memory memory;
    std::span<const Ring::Slot> slots;
    std::optional<BodyLog::Reader> bodies;
    std::uint64_t next = 0;
  };
  struct Looked {
    bool is_there = false;
    bool is_whole = false;
    Ring::Record record{};
  };
  InboxTail(ObservedMesh mesh, ObservedMesh::Memory table, ObservedMesh::Memory payload)
      : mesh_(std::move(mesh)), table_(std::move(table)), payload_(std::move(payload)) {}
  Result<Inbox> open_inbox(std::uint16_t station) const;
  [[nodiscard]] PassedDelivery passed_of(std::uint16_t station, const Inbox& inbox,
                                         const Ring::Record& record) const;
  [[nodiscard]] static Looked look(const Inbox& inbox) noexcept;
  [[nodiscard]] std::optional<std::string> body_of(const Inbox& inbox,
                                                   const sched::DeliveryRecord& record,
                                                   sched::MessageHeader& header) const;
  [[nodiscard]] std::string name_of(AgentId agent) const;

  ObservedMesh mesh_;
  ObservedMesh::Memory table_;
  ObservedMesh::Memory payload_;
  std::optional<AgentRowViews> rows_;
  std::optional<BodyLog::Reader> log_;
  std::map<std::uint16_t, Inbox> inboxes_;
};

}  // namespace mesh::engine::reports
