#include "engine/store/schema.hpp"

#include <fmt/format.h>

namespace mesh::engine {
namespace {

constexpr std::string_view kTables = R"(
CREATE TABLE IF NOT EXISTS store_version (version {integer} NOT NULL);
CREATE TABLE IF NOT EXISTS records (
  position {integer} PRIMARY KEY, subject {bytes} NOT NULL, step {integer} NOT NULL,
  kind {integer} NOT NULL, type {integer} NOT NULL, state {integer} NOT NULL,
  priority {integer} NOT NULL, strategy {integer} NOT NULL, at_ns {integer} NOT NULL,
  agent {integer} NOT NULL, message {bytes} NOT NULL, operation {integer} NOT NULL,
  context_hash {integer} NOT NULL, expected {bytes} NOT NULL, received {bytes} NOT NULL,
  detail {bytes} NOT NULL, hash {bytes} NOT NULL, UNIQUE (subject, step));
CREATE INDEX IF NOT EXISTS records_by_time ON records (at_ns, position);
DROP INDEX IF EXISTS records_by_agent;
DROP INDEX IF EXISTS records_by_agent_and_type;
DROP INDEX IF EXISTS records_of_agent;
CREATE INDEX IF NOT EXISTS records_of_agent_and_type
  ON records (agent, type, at_ns, position);
CREATE INDEX IF NOT EXISTS records_by_type ON records (type, at_ns, position);
CREATE TABLE IF NOT EXISTS chain_head (
  only_row {integer} PRIMARY KEY, position {integer} NOT NULL, hash {bytes} NOT NULL);
CREATE TABLE IF NOT EXISTS conflict_states (
  subject {bytes} PRIMARY KEY, state {integer} NOT NULL, at_ns {integer} NOT NULL,
  conflict_position {integer} NOT NULL, newest_position {integer} NOT NULL);
CREATE INDEX IF NOT EXISTS conflict_states_by_state
  ON conflict_states (state, at_ns, conflict_position);
CREATE TABLE IF NOT EXISTS history (
  cluster {integer} NOT NULL, minute {integer} NOT NULL, agents {integer} NOT NULL,
  active {integer} NOT NULL, score_mean {real} NOT NULL, score_p95 {real} NOT NULL,
  PRIMARY KEY (cluster, minute));
CREATE INDEX IF NOT EXISTS history_by_minute ON history (minute);
CREATE TABLE IF NOT EXISTS operation_results (
  id {bytes} PRIMARY KEY, source {integer} NOT NULL, kind {integer} NOT NULL,
  strategy {integer} NOT NULL, verdict {integer} NOT NULL, opened_ns {integer} NOT NULL,
  ended_ns {integer} NOT NULL, target_ns {integer} NOT NULL, targeted {integer} NOT NULL,
  sent {integer} NOT NULL, ready {integer} NOT NULL, conflict {integer} NOT NULL,
  error_p50_ns {integer} NOT NULL, error_p99_ns {integer} NOT NULL);
CREATE INDEX IF NOT EXISTS operation_results_by_time ON operation_results (ended_ns, id);
CREATE TABLE IF NOT EXISTS snapshots (
  scope {bytes} NOT NULL, at_ns {integer} NOT NULL, hash {bytes} NOT NULL, bytes {bytes} NOT NULL,
  PRIMARY KEY (scope, at_ns));
CREATE TABLE IF NOT EXISTS agent_contexts (
  name {bytes} NOT NULL, uid {integer} NOT NULL, version {integer} NOT NULL,
  hash {integer} NOT NULL, at_ns {integer} NOT NULL, bytes {bytes} NOT NULL,
  PRIMARY KEY (name, uid, version));
CREATE INDEX IF NOT EXISTS agent_contexts_by_hash ON agent_contexts (hash);
)";

template <class T>
bool read_bytes(const SqlCell& cell, T& value) noexcept {
  const auto* const text = std::get_if<std::string>(&cell);
  if (text == nullptr || text->size() != sizeof value) return false;
  std::memcpy(&value, text->data(), sizeof value);
  return true;
}

}  // namespace

std::string schema_script(const SqlDialect& dialect) {
  return fmt::format(fmt::runtime(kTables), fmt::arg("integer", dialect.integer),
                     fmt::arg("bytes", dialect.bytes), fmt::arg("real", dialect.real)) +
         std::string(dialect.triggers);
}

std::string record_columns(std::string_view prefix) {
  std::string text;
  for (const std::string_view column : kRecordColumns) {
    if (!text.empty()) text += ", ";
    text.append(prefix).append(column);
  }
  return text;
}

bool read(const SqlCell& cell, std::int64_t& value) noexcept {
  const auto* const number = std::get_if<std::int64_t>(&cell);
  if (number != nullptr) value = *number;
  return number != nullptr;
}

bool read(const SqlCell& cell, double& value) noexcept {
  const auto* const number = std::get_if<double>(&cell);
  if (number != nullptr) value = *number;
  return number != nullptr;
}

bool read(const SqlCell& cell, std::string& value) {
  const auto* const text = std::get_if<std::string>(&cell);
  if (text != nullptr) value = *text;
  return text != nullptr;
}

bool read(const SqlCell& cell, ChainHash& value) noexcept { return read_bytes(cell, value); }

bool read(const SqlCell& cell, sched::MessageId& value) noexcept {
  std::array<unsigned char, 16> bytes{};
  if (!read_bytes(cell, bytes)) return false;
  value = {};
  for (std::size_t at = 0; at < 8; ++at) {
    value.high = value.high << 8 | bytes[at];
    value.low = value.low << 8 | bytes[at + 8];
  }
  return true;
}

IdBytes bytes_of(const sched::MessageId& id) noexcept {
  IdBytes bytes{};
  for (unsigned at = 0; at < 8; ++at) {
    bytes[at] = static_cast<char>(id.high >> (56 - 8 * at));
    bytes[at + 8] = static_cast<char>(id.low >> (56 - 8 * at));
  }
  return bytes;
}

Result<StoredRecord> record_of(const SqlRow& row) {
  StoredRecord stored;
  Record& record = stored.record;
  std::int64_t position = 0;
  if (row.size() != kRecordColumns.size() || !read(row[0], position))
    return fail(Errc::corrupt, "store: a record without a position");
  stored.at.position = static_cast<std::uint64_t>(position);
  // step, kind, type, state, priority, strategy, at_ns, agent | operation, context_hash
  std::array<std::int64_t, 10> numbers{};
  constexpr std::array<std::size_t, 10> kNumberCells = {2, 3, 4, 5, 6, 7, 8, 9, 11, 12};
  bool is_whole = true;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    is_whole = is_whole && read(row[kNumberCells[i]], numbers[i]);
  for (std::size_t i = 1; i < 6; ++i) is_whole = is_whole && (numbers[i] & ~0xFF) == 0;
  is_whole = is_whole && (numbers[0] & ~0xFFFF'FFFF) == 0;
  is_whole = is_whole && read(row[1], record.subject) && read(row[10], record.message) &&
             read(row[13], record.expected) && read(row[14], record.received) &&
             read(row[15], record.detail) && read(row[16], stored.at.hash);
  record.step = static_cast<std::uint32_t>(numbers[0]);
  record.kind = static_cast<StoredKind>(numbers[1]);
  record.type = static_cast<sched::ConflictType>(numbers[2]);
  record.state = static_cast<ConflictState>(numbers[3]);
  record.priority = static_cast<std::uint8_t>(numbers[4]);
  record.strategy = static_cast<std::uint8_t>(numbers[5]);
  record.at = static_cast<WireTime>(numbers[6]);
  record.agent = static_cast<AgentId>(numbers[7]);
  record.operation = static_cast<OperationId>(numbers[8]);
  record.context_hash = static_cast<std::uint64_t>(numbers[9]);
  if (!is_whole || !validate(record))
    return fail(Errc::corrupt, "store: record " + std::to_string(position) + " makes no sense",
                position);
  return stored;
}

}  // namespace mesh::engine
