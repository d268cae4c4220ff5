#include "tools/economy_config.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/coordination/token_economy.hpp"

namespace mesh::tools {
namespace of_economy_config {
namespace {

using coordination::Amount;
using coordination::amount_of;
using coordination::kAmountMax;
using coordination::SupplySchedule;
using coordination::TokenEconomy;
using coordination::TokenEconomyConfig;
using coordination::U128;
using Json = nlohmann::json;

constexpr std::array<std::string_view, 4> kSchedules{"fixed", "inflationary", "halving",
                                                     "bonding_curve"};

// Each: false where the value is of another kind, or too large.
bool take(const Json& value, std::string& into) {
  if (!value.is_string()) return false;
  into = value.get<std::string>();
  return true;
}
template <class Number>
requires std::is_unsigned_v<Number>
bool take(const Json& value, Number& into) {
  if (!value.is_number_unsigned()) return false;
  const auto given = value.get<std::uint64_t>();
  into = static_cast<Number>(given);
  return given <= std::numeric_limits<Number>::max();
}
bool take(const Json& value, Nanos& into) {
  std::uint64_t given = 0;
  if (!take(value, given) || given > static_cast<std::uint64_t>(INT64_MAX)) return false;
  into = Nanos{static_cast<std::int64_t>(given)};
  return true;
}
bool take(const Json& value, Amount& into) {
  std::uint64_t small = 0;
  if (take(value, small)) {
    into = amount_of(small);
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  U128 sum = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return false;
    sum = sum * 10 + static_cast<unsigned>(digit - '0');
    if (sum > kAmountMax) return false;
  }
  into = amount_of(sum);
  return !text.empty();
}
bool take(const Json& value, SupplySchedule& into) {
  if (!value.is_string()) return false;
  const auto* const found = std::find(kSchedules.begin(), kSchedules.end(),
                                      std::string_view(value.get_ref<const std::string&>()));
  into = static_cast<SupplySchedule>(found - kSchedules.begin());
  return found != kSchedules.end();
}

struct Field {
  std::string_view key;
  std::function<bool(const Json&)> take;
};
template <class Value>
Field field(std::string_view key, Value& into) {
  return {key, [&into](const Json& value) { return of_economy_config::take(value, into); }};
}
std::vector<Field> fields_of(TokenEconomyConfig& one) {
  return {field("symbol", one.symbol),
          field("decimals", one.decimals),
          field("initial_supply", one.initial_supply),
          field("schedule", one.schedule),
          field("cap", one.cap),
          field("bps_per_epoch", one.bps_per_epoch),
          field("emission", one.emission),
          field("halve_every", one.halve_every),
          field("burn_ppm", one.burn_ppm),
          field("reserve_ratio_ppm", one.reserve_ratio_ppm),
          field("base_price_micro", one.base_price_micro),
          field("mint_authority", one.mint_authority),
          field("slash_burn_ppm", one.slash_burn_ppm),
          field("unbond_epochs", one.unbond_epochs),
          field("amm_fee_ppm", one.amm_fee_ppm),
          field("amm_move_ppm_max", one.amm_move_ppm_max),
          field("penalty_ppm", one.penalty_ppm),
          field("challenge_ns", one.challenge_ns),
          field("epoch_ns", one.epoch_ns),
          field("accounts_max", one.accounts_max),
          field("channels_max", one.channels_max),
          field("escrows_max", one.escrows_max),
          field("evidence_max", one.evidence_max),
          field("events_max", one.events_max)};
}

tl::unexpected<Error> refuse(const std::string& what) {
  return fail(Errc::invalid_config, "token economy config: " + what);
}

Status take_all(const Json& object, TokenEconomyConfig& config) {
  const std::vector<Field> fields = fields_of(config);
  for (const auto& [key, value] : object.items()) {
    if (key == "preset") continue;
    const Field* found = nullptr;
    for (const Field& one : fields) {
      if (one.key == key) found = &one;
    }
    if (found == nullptr) return refuse("there is no key " + key);
    if (!found->take(value)) return refuse(key + " cannot be " + value.dump());
  }
  return TokenEconomy::validate(config);
}

}  // namespace
}  // namespace of_economy_config

Result<coordination::TokenEconomyConfig> economy_config_of(std::string_view json) {
  using namespace of_economy_config;
  const auto object = nlohmann::json::parse(json, nullptr, false);
  if (!object.is_object()) return fail(Errc::bad_input, "token economy config: no JSON object");
  std::string preset = "agent-work";
  if (object.contains("preset") && !take(object["preset"], preset)) {
    return refuse("preset is not a name");
  }
  MESH_TRY(TokenEconomyConfig config, TokenEconomyConfig::preset(preset));
  MESH_CHECK_OK(take_all(object, config));
  return config;
}

std::string digits_of(const coordination::Amount& amount) {
  coordination::U128 left = coordination::wide(amount);
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(left % 10)));
    left /= 10;
  } while (left != 0);
  return text;
}

}  // namespace mesh::tools
