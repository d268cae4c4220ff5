// StationCore: deliveries while faults are armed, or while some are kept that one has delayed.
#include <algorithm>

#include "engine/station/process_end.hpp"
#include "engine/station/station_core.hpp"

namespace mesh::engine {

void StationCore::take_under_faults(std::size_t limit) {
  const std::int64_t now_ns = this->now_ns();
  gate_.look([this](AgentId agent) { return place_of(agent); });
  gate_.forget_released();
  while (const auto ticket = gate_.forgive(now_ns)) answer_freely(*ticket, Answer::declined());
  const std::size_t most = std::min<std::size_t>(limit, options_.burst);
  if (reader_.ready()) {
    reader_.poll(most, [&](const Ring::Reader::View& view) {
      return gate_.has_room() && accept_under_faults(view.read_as<sched::DeliveryRecord>(), now_ns);
    });
  }
  while (burst_.size() < most) {
    const auto released = gate_.release(now_ns);
    if (!released) return;
    ++counters_.taken;
    const Delivery& delivery = released->delivery;
    // The engine knows nothing of a copy: nobody is to be answered.
    const bool is_known =
        released->is_copy && window_.contains(DedupWindow::key_of(delivery.id, delivery.target));
    if (is_known) {
      ++counters_.duplicates;
    } else {
      burst_.push_back(delivery);
    }
  }
}

bool StationCore::accept_under_faults(const sched::DeliveryRecord& record, std::int64_t now_ns) {
  const std::size_t before = burst_.size();
  if (!accept(record, now_ns)) return false;
  ++counters_.taken;
  if (burst_.size() == before) return true;
  switch (gate_.pass(burst_.back(), ticket_of(burst_.back()), now_ns)) {
    case FaultGate::Passage::kThrough:
      return true;
    case FaultGate::Passage::kLost:
      ++counters_.lost_on_purpose;
      break;
    case FaultGate::Passage::kKept:
      --counters_.taken;  // again when it is released
      break;
  }
  burst_.pop_back();
  return true;
}

void StationCore::answer(const AnswerTicket& ticket, const Answer& answer) {
  if (!gate_.is_armed()) [[likely]]
    return answer_freely(ticket, answer);
  const std::int64_t now_ns = this->now_ns();
  if (gate_.ends_at(StationStep::done, ticket.place, now_ns)) end_this_process();
  ends_with_flush_ = ends_with_flush_ || gate_.ends_at(StationStep::answered, ticket.place, now_ns);
  Answer changed = answer;
  if (gate_.lets_answer(ticket, changed, now_ns)) answer_freely(ticket, changed);
}

bool StationCore::is_swallowed(AgentId source) const noexcept {
  const std::uint32_t place = place_of(source);
  return place != kNoPlace && gate_.swallows_from(place, now_ns());
}

}  // namespace mesh::engine
