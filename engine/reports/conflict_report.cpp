#include "engine/reports/conflict_report.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "engine/conflict/conflict_policy.hpp"
#include "sched/conflict_names.hpp"

namespace mesh::engine::reports {
namespace {

constexpr auto& kConflictTypes = sched::kConflictTypeNames;

Json conflict_json(const ConflictSeen& seen) {
  const Record& record = seen.record;
  return {{"conflict", engine::name_of(record.subject)},
          {"at", utc_ms_text(static_cast<std::int64_t>(record.at))},
          {"agent", static_cast<std::uint64_t>(record.agent)},
          {"type", sched::name_of(record.type)},
          {"priority", record.priority},
          {"strategy", name_of(static_cast<ConflictStrategy>(record.strategy))},
          {"state", name_of(seen.state)},
          {"steps", seen.steps},
          {"expected", record.expected},
          {"received", record.received},
          {"outcome", seen.outcome}};
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool read_hash(std::string_view text, ChainHash& hash) noexcept {
  if (text.size() != 2 * hash.size()) return false;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    hash[i] = static_cast<std::byte>(high * 16 + low);
  }
  return true;
}

}  // namespace

std::optional<sched::ConflictType> conflict_type_of(std::string_view name) noexcept {
  const auto found = std::find(std::begin(kConflictTypes) + 1, std::end(kConflictTypes), name);
  if (found == std::end(kConflictTypes)) return std::nullopt;
  return static_cast<sched::ConflictType>(found - std::begin(kConflictTypes));
}

std::optional<ConflictState> conflict_state_of(std::string_view name) noexcept {
  for (const ConflictState state : {ConflictState::open, ConflictState::resolving,
                                    ConflictState::for_person, ConflictState::resolved})
    if (name_of(state) == name) return state;
  return std::nullopt;
}

Result<std::vector<ConflictSeen>> find_conflicts(Store& store, RecordQuery query) {
  query.kind = StoredKind::conflict;
  MESH_TRY(std::vector<StoredRecord> records, store.find(query));
  std::vector<ConflictSeen> found;
  found.reserve(records.size());
  for (StoredRecord& one : records) {
    // What the conflict has come to: its newest record.
    MESH_TRY(const auto newest, store.find({.subject = one.record.subject, .limit = 1}));
    const Record& last = newest.empty() ? one.record : newest.front().record;
    ConflictSeen seen{.record = {},
                      .state = last.state,
                      .steps = last.step,
                      .outcome = last.step == 0 ? std::string() : last.received};
    seen.record = std::move(one.record);
    found.push_back(std::move(seen));
  }
  return found;
}

Json conflicts_json(const std::vector<ConflictSeen>& conflicts) {
  Json list = Json::array();
  for (const ConflictSeen& seen : conflicts) list.push_back(conflict_json(seen));
  return {{"conflicts", std::move(list)}};
}

Result<ChainHead> chain_head_of(const std::string& text) {
  ChainHead head;
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) {
    const char* const end = text.data() + colon;
    const auto [stopped, error] = std::from_chars(text.data(), end, head.position);
    const bool is_number = error == std::errc{} && stopped == end && colon != 0;
    if (is_number && read_hash(std::string_view(text).substr(colon + 1), head.hash)) return head;
  }
  return fail(Errc::bad_input, "head: '" + text + "' is no POSITION:HASH, as verify prints them");
}

Json verification_json(const Verification& verification) {
  return {
      {"whole", verification.whole},
      {"checked", verification.checked},
      {"head", fmt::format("{}:{}", verification.head.position, to_hex(verification.head.hash))},
      {"broken_position", verification.broken_position},
      {"sentence", verification.sentence}};
}

}  // namespace mesh::engine::reports
