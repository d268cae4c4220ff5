#include "engine/station/delivery.hpp"

#include <utility>

#include "engine/station/answer_outlet.hpp"
#include "shm/base/point.hpp"
#include "shm/base/word.hpp"

namespace mesh::engine {

Reply::Reply(std::shared_ptr<AnswerOutlet> outlet, const AnswerTicket& ticket) noexcept
    : outlet_(std::move(outlet)), ticket_(ticket) {}

Reply& Reply::operator=(Reply&& other) noexcept {
  if (this != &other) {
    Reply dropped(std::move(*this));
    outlet_ = std::move(other.outlet_);
    ticket_ = other.ticket_;
  }
  return *this;
}

Reply::~Reply() {
  if (outlet_ != nullptr) outlet_->push({ticket_, Answer::declined(), {}}, true);
}

void Reply::answer(const Answer& answer) {
  if (outlet_ == nullptr) return;
  const auto outlet = std::exchange(outlet_, nullptr);
  LateAnswer late{ticket_, answer, {answer.body.begin(), answer.body.end()}};
  late.answer.body = {};
  outlet->push(std::move(late), false);
}

void AnswerOutlet::push(LateAnswer answer, bool dropped) {
  // relaxed: as at close().
  if (closed_.load(std::memory_order_relaxed)) return;
  if (dropped) dropped_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
  MESH_POINT("station.reply:before_push");
  if (!waiting_.try_push(answer)) {
    const std::lock_guard lock(overflow_mutex_);
    overflow_.push_back(std::move(answer));
    overflowed_.store(true, std::memory_order_relaxed);  // relaxed: the lock orders the vector
  }
  MESH_POINT("station.reply:before_bell");
  bell_.ring();
}

std::size_t AnswerOutlet::take(std::span<LateAnswer> room) {
  std::size_t taken = waiting_.pop(room);
  // relaxed: bell.raised makes it visible; a missed one rings again.
  if (taken == room.size() || !overflowed_.load(std::memory_order_relaxed)) return taken;
  const std::lock_guard lock(overflow_mutex_);
  while (taken < room.size() && !overflow_.empty()) {
    room[taken++] = std::move(overflow_.back());
    overflow_.pop_back();
  }
  // relaxed: the lock orders it.
  overflowed_.store(!overflow_.empty(), std::memory_order_relaxed);
  return taken;
}

std::string_view name_of(SendStatus status) noexcept {
  switch (status) {
    case SendStatus::sent:
      return "sent";
    case SendStatus::full:
      return "full";
    case SendStatus::target_full:
      return "target_full";
    case SendStatus::open:
      return "open";
    case SendStatus::no_such_agent:
      return "no_such_agent";
    case SendStatus::too_long:
      return "too_long";
    case SendStatus::lost:
      return "lost";
  }
  return "unknown";
}

}  // namespace mesh::engine
