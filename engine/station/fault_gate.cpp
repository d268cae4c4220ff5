#include "engine/station/fault_gate.hpp"

#include <algorithm>
#include <array>

#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

constexpr double kPpm = 1e6;
constexpr std::uint32_t kBitsMax = 64;

// So much of `most` as the draw says, and never less than nothing.
std::int64_t share_of(std::int64_t most, double drawn) noexcept {
  return static_cast<std::int64_t>(static_cast<double>(std::max<std::int64_t>(most, 0)) * drawn);
}

}  // namespace

const AgentFault* FaultGate::acting(std::uint32_t place, AgentFaultKind kind,
                                    std::int64_t now_ns) const noexcept {
  for (const Struck& struck : faults_) {
    const bool is_it = struck.place == place && struck.fault.kind == kind;
    if (is_it && now_ns < struck.fault.expires_ns) return &struck.fault;
  }
  return nullptr;
}

bool FaultGate::is_over(std::uint64_t injection, std::int64_t expires_ns,
                        std::int64_t now_ns) const noexcept {
  return now_ns >= expires_ns || std::none_of(faults_.begin(), faults_.end(), [&](const auto& its) {
           return its.fault.injection == injection;
         });
}

// A function of the fault and of how much was drawn before: the same messages, the same draws.
double FaultGate::draw(const AgentFault& fault) noexcept {
  const std::array<std::uint64_t, 3> words{fault.injection, static_cast<std::uint64_t>(fault.agent),
                                           ++draws_};
  return static_cast<double>(shm::hash64(std::as_bytes(std::span(words))) >> 11) * 0x1p-53;
}

bool FaultGate::strikes(const AgentFault* fault) noexcept {
  return fault != nullptr && draw(*fault) * kPpm < static_cast<double>(fault->rate_ppm);
}

void FaultGate::lose(const AgentFault& fault, const AnswerTicket& ticket) {
  lost_.push_back({fault.injection, fault.expires_ns, ticket});
}

FaultGate::Kept& FaultGate::keep(const AgentFault& fault, const Delivery& delivery,
                                 std::int64_t due_ns) {
  Kept& kept = kept_[{std::min(due_ns, fault.expires_ns), ++last_kept_}];
  kept.injection = fault.injection;
  kept.expires_ns = fault.expires_ns;
  kept.delivery = delivery;
  kept.body.assign(delivery.body.begin(), delivery.body.end());
  kept.delivery.body = {};
  return kept;
}

void FaultGate::corrupt(const AgentFault& fault, std::vector<std::byte>& body) {
  for (std::uint32_t i = 0; i < std::min(fault.bits, kBitsMax); ++i) {
    const auto bit = static_cast<std::size_t>(draw(fault) * 8 * static_cast<double>(body.size()));
    body[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

FaultGate::Passage FaultGate::pass(const Delivery& delivery, const AnswerTicket& ticket,
                                   std::int64_t now_ns) {
  const auto its = [&](AgentFaultKind kind) { return acting(delivery.agent, kind, now_ns); };
  const AgentFault* const cut = its(AgentFaultKind::cut);
  const AgentFault* const loss = its(AgentFaultKind::lose);
  if (cut != nullptr || strikes(loss)) {
    if (delivery.wants_answer()) lose(cut != nullptr ? *cut : *loss, ticket);
    return Passage::kLost;
  }
  if (const AgentFault* const twice = its(AgentFaultKind::duplicate); strikes(twice)) {
    Kept& copy = keep(*twice, delivery, now_ns);
    copy.is_copy = true;
    copy.delivery.redelivered = true;
  }
  std::int64_t due_ns = now_ns;
  const AgentFault* why = nullptr;
  for (const AgentFaultKind kind : {AgentFaultKind::delay, AgentFaultKind::reorder}) {
    const AgentFault* const later = its(kind);
    if (later == nullptr) continue;
    due_ns += std::max<std::int64_t>(later->add_ns, 0) + share_of(later->jitter_ns, draw(*later));
    why = later;
  }
  const AgentFault* const flips = its(AgentFaultKind::corrupt);
  const bool is_flipped = !delivery.body.empty() && strikes(flips);
  if (is_flipped && why == nullptr) why = flips;
  if (why == nullptr) return Passage::kThrough;
  Kept& kept = keep(*why, delivery, due_ns);
  if (is_flipped) corrupt(*flips, kept.body);
  return Passage::kKept;
}

bool FaultGate::lets_answer(const AnswerTicket& ticket, Answer& answer, std::int64_t now_ns) {
  const AgentFault* silence = acting(ticket.place, AgentFaultKind::cut, now_ns);
  if (silence == nullptr) silence = acting(ticket.place, AgentFaultKind::unheard, now_ns);
  if (silence != nullptr && has_room()) {
    lose(*silence, ticket);
    return false;
  }
  const bool is_ready = answer.state == sched::TrinaryState::ready;
  if (is_ready && acting(ticket.place, AgentFaultKind::contradict, now_ns) != nullptr) {
    answer.state = sched::TrinaryState::conflict;
    answer.conflict = sched::ConflictType::other;
  }
  return true;
}

bool FaultGate::ends_at(StationStep step, std::uint32_t place, std::int64_t now_ns) const noexcept {
  const AgentFault* const end = acting(place, AgentFaultKind::end, now_ns);
  const bool is_there = end != nullptr && end->bits == static_cast<std::uint32_t>(step) &&
                        born_ns_ < end->add_ns;  // who was started anew goes on
  // SYNC chaos.rows acquire: pairs with FaultBoard::publish().
  return is_there && is_armed() && view_.generation->load_acquire() == seen_;
}

bool FaultGate::swallows_from(std::uint32_t place, std::int64_t now_ns) const noexcept {
  return acting(place, AgentFaultKind::cut, now_ns) != nullptr ||
         acting(place, AgentFaultKind::unheard, now_ns) != nullptr;
}

std::optional<FaultGate::Released> FaultGate::release(std::int64_t now_ns) {
  auto found = kept_.begin();
  while (found != kept_.end() && found->first.first > now_ns &&
         !is_over(found->second.injection, found->second.expires_ns, now_ns)) {
    ++found;
  }
  if (found == kept_.end()) return std::nullopt;
  Kept kept = std::move(found->second);
  kept_.erase(found);
  released_.push_back(std::move(kept.body));
  Released released{kept.delivery, kept.is_copy};
  released.delivery.body = released_.back();
  released.delivery.received = from_ns(now_ns);
  return released;
}

std::optional<AnswerTicket> FaultGate::forgive(std::int64_t now_ns) {
  const auto found = std::find_if(lost_.begin(), lost_.end(), [&](const Lost& lost) {
    return is_over(lost.injection, lost.expires_ns, now_ns);
  });
  if (found == lost_.end()) return std::nullopt;
  const AnswerTicket ticket = found->ticket;
  lost_.erase(found);
  return ticket;
}

std::int64_t FaultGate::due_ns() const noexcept {
  std::int64_t due_ns = kept_.empty() ? INT64_MAX : kept_.begin()->first.first;
  for (const Lost& lost : lost_) due_ns = std::min(due_ns, lost.expires_ns);
  return due_ns;
}

}  // namespace mesh::engine
