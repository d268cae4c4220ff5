// FaultGate: lets the deliveries and answers of a station's agents pass, or does to them what the
// table says is to be done to them: later, not at all, twice, changed.
//
// What is lost is answered by nobody while its fault acts; when that is over the message is
// declined, so that the engine's books are as they would be had the outcome become known then.
//
// Callers     StationCore: the pump.
// Progress    is_armed: a load. The rest runs only while faults are armed, or something is kept.
// Cost        look: the rows of the table where they have changed, else a load. Keeping a delivery
//             copies its body.
// Units       HostTime in nanoseconds.
// If the      engine dies: what stands in the table acts until it expires.
// other side  lies: rates above one are one, times are cut to the fault's end, kinds that do not
// dies, lies  exist do nothing.
// Limits      kKeptMax deliveries and lost messages; then the inbox is left unread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/station/agent_fault.hpp"
#include "engine/station/delivery.hpp"

namespace mesh::engine {

class FaultGate {
 public:
  static constexpr std::size_t kKeptMax = 4'096;
  static constexpr std::uint32_t kNoPlace = ~std::uint32_t{0};

  FaultGate() = default;
  // `born_ns`: since when this process is attached.
  FaultGate(const FaultView& view, std::int64_t born_ns) : view_(view), born_ns_(born_ns) {}

  // The one load of a path that nobody disturbs.
  [[nodiscard]] bool is_armed() const noexcept { return view_.is_armed(); }
  // Nothing waits here.
  [[nodiscard]] bool is_empty() const noexcept { return kept_.empty() && lost_.empty(); }
  [[nodiscard]] bool has_room() const noexcept { return kept_.size() + lost_.size() < kKeptMax; }

  // What acts on our agents now; `place_of(agent)` is kNoPlace for those of others.
  template <class PlaceOf>
  void look(PlaceOf&& place_of);

  enum class Passage : std::uint8_t { kThrough, kKept, kLost };
  [[nodiscard]] Passage pass(const Delivery& delivery, const AnswerTicket& ticket,
                             std::int64_t now_ns);
  // False: the answer goes nowhere.
  [[nodiscard]] bool lets_answer(const AnswerTicket& ticket, Answer& answer, std::int64_t now_ns);
  // Whether this process is to end at that step of a message of the agent's. Once it is, it is by
  // the table as it stands at that instant: whoever takes a fault away is not late by a handler.
  [[nodiscard]] bool ends_at(StationStep step, std::uint32_t place,
                             std::int64_t now_ns) const noexcept;
  // Whether what an agent sends is lost.
  [[nodiscard]] bool swallows_from(std::uint32_t place, std::int64_t now_ns) const noexcept;

  // One that is due; its body stands until the next call of forget_released().
  struct Released {
    Delivery delivery;
    bool is_copy = false;
  };
  [[nodiscard]] std::optional<Released> release(std::int64_t now_ns);
  void forget_released() noexcept { released_.clear(); }
  // A lost message whose fault is over.
  [[nodiscard]] std::optional<AnswerTicket> forgive(std::int64_t now_ns);
  // When the next of those is; INT64_MAX: nothing waits here.
  [[nodiscard]] std::int64_t due_ns() const noexcept;

 private:
  struct Struck {
    std::uint32_t place = 0;
    AgentFault fault;
  };
  struct Kept {
    std::uint64_t injection = 0;
    std::int64_t expires_ns = 0;
    bool is_copy = false;
    Delivery delivery;
    std::vector<std::byte> body;
  };
  struct Lost {
    std::uint64_t injection = 0;
    std::int64_t expires_ns = 0;
    AnswerTicket ticket;
  };
  [[nodiscard]] const AgentFault* acting(std::uint32_t place, AgentFaultKind kind,
                                         std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_over(std::uint64_t injection, std::int64_t expires_ns,
                             std::int64_t now_ns) const noexcept;
  void lose(const AgentFault& fault, const AnswerTicket& ticket);
  Kept& keep(const AgentFault& fault, const Delivery& delivery, std::int64_t due_ns);
  void corrupt(const AgentFault& fault, std::vector<std::byte>& body);
  [[nodiscard]] double draw(const AgentFault& fault) noexcept;  // 0 <= it < 1
  [[nodiscard]] bool strikes(const AgentFault* fault) noexcept;

  FaultView view_;
  std::int64_t born_ns_ = 0;
  std::uint64_t seen_ = 0;  // generation
  std::vector<Struck> faults_;
  std::map<std::pair<std::int64_t, std::uint64_t>, Kept> kept_;  // by due, and order of coming
  std::vector<std::vector<std::byte>> released_;
  std::vector<Lost> lost_;
  std::uint64_t draws_ = 0;
  std::uint64_t last_kept_ = 0;
};

template <class PlaceOf>
void FaultGate::look(PlaceOf&& place_of) {
  if (!is_armed()) {
    faults_.clear();
    seen_ = 0;
    return;
  }
  // SYNC chaos.rows acquire: pairs with FaultBoard::publish().
  const std::uint64_t generation = view_.generation->load_acquire();
  if (generation == seen_) return;
  faults_.clear();
  bool is_whole = true;
  for (std::size_t row = 0; row < view_.rows.agent.rows(); ++row) {
    // relaxed: the row is read whole below where it is one of ours.
    const AgentId agent = view_.rows.agent.load_relaxed(row);
    const std::uint32_t place = agent == AgentId{} ? kNoPlace : place_of(agent);
    if (place == kNoPlace) continue;
    Struck struck{place, {}};
    if (!view_.read(row, struck.fault)) {
      is_whole = false;
    } else if (struck.fault.agent == agent) {
      faults_.push_back(struck);
    }
  }
  if (is_whole) seen_ = generation;
}

}  // namespace mesh::engine
