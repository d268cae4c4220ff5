// deliver_all: gives what a tick of an outbox dispatched to a function of the caller's, and reports
// for it: a relay in one call, where the sink is in the same program.
//
// Callers     the thread that owns the outbox.
// Errors      what `deliver` throws is a failure that is tried again; nothing leaves.
// If the      program dies between delivery and report: the event comes again, with the same id.
// other side
// dies
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "engine/coordination/outbox.hpp"

namespace mesh::coordination {

enum class DeliveryVerdict : std::uint8_t { ok, retry, permanent };
struct DeliveryAnswer {
  DeliveryVerdict verdict = DeliveryVerdict::ok;
  std::string error{};
};

// deliver(const LogRecord&) -> DeliveryAnswer. How many were confirmed.
template <class Deliver>
std::size_t deliver_all(Outbox& box, const OutboxActions& actions, Nanos now, Deliver&& deliver) {
  std::size_t confirmed = 0;
  for (const Delivery& delivery : actions.deliveries) {
    const auto event = box.event(delivery.event);
    if (!event) continue;
    DeliveryAnswer answer;
    try {
      answer = deliver(*event);
    } catch (const std::exception& thrown) {
      answer = {DeliveryVerdict::retry, thrown.what()};
    } catch (...) {
      answer = {DeliveryVerdict::retry, "it threw"};
    }
    if (answer.verdict == DeliveryVerdict::ok) {
      const auto reply = box.apply(outbox::Confirm{delivery.event, delivery.fence}, now);
      confirmed += reply.code == Errc::ok ? 1U : 0U;
      continue;
    }
    const bool is_permanent = answer.verdict == DeliveryVerdict::permanent;
    box.apply(outbox::Fail{delivery.event, delivery.fence, is_permanent, std::move(answer.error)},
              now);
  }
  return confirmed;
}

}  // namespace mesh::coordination
