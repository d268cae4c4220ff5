// Refusal: what is normal on a hot path: a small enum, counted, never an Error. A reply that has a
// meaningful instant to try again carries retry_after beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace mesh::coordination {

enum class Refusal : std::uint8_t {
  none,
  would_block,
  rejected_open,
  rejected_rate,
  rejected_pressure,
  rejected_policy,
  quota_exhausted,
  no_credit,
};
constexpr Refusal last_of(Refusal) noexcept { return Refusal::no_credit; }

constexpr std::string_view to_string(Refusal refusal) noexcept {
  constexpr std::string_view kNames[] = {"ok",
                                         "would_block",
                                         "rejected_open",
                                         "rejected_rate",
                                         "rejected_pressure",
                                         "rejected_policy",
                                         "quota_exhausted",
                                         "no_credit"};
  const auto index = static_cast<std::size_t>(refusal);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

}  // namespace mesh::coordination
