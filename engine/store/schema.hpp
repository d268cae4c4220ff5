// The tables of a store and how rows become values again.
//
//   records          the chain; append-only
//   chain_head       one row: position and hash of the last record
//   conflict_states  derived: what each conflict has come to; verify() holds it against the records
//   history          a point a minute a cluster; may be removed once 30 days old
//   operation_results  operations that have ended; the oldest may be removed
//   snapshots        append-only
//   agent_contexts   the last 3 versions of each agent's; older ones may be removed
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/store/record.hpp"
#include "engine/store/sql_connection.hpp"

namespace mesh::engine {

inline constexpr std::int64_t kSchemaVersion = 1;

inline constexpr std::array<std::string_view, 17> kRecordColumns = {
    "position",     "subject",  "step",     "kind",   "type",    "state",
    "priority",     "strategy", "at_ns",    "agent",  "message", "operation",
    "context_hash", "expected", "received", "detail", "hash"};
inline constexpr SqlTable kRecordsTable{.name = "records", .columns = kRecordColumns};

// The script that makes all tables, indexes and triggers that are not there yet.
[[nodiscard]] std::string schema_script(const SqlDialect& dialect);
// "position, subject, ...", each after `prefix`.
[[nodiscard]] std::string record_columns(std::string_view prefix);

// What of a cell is not as it was written reads as nothing: a store's file is input.
[[nodiscard]] bool read(const SqlCell& cell, std::int64_t& value) noexcept;
[[nodiscard]] bool read(const SqlCell& cell, double& value) noexcept;
[[nodiscard]] bool read(const SqlCell& cell, std::string& value);
[[nodiscard]] bool read(const SqlCell& cell, ChainHash& value) noexcept;
[[nodiscard]] bool read(const SqlCell& cell, sched::MessageId& value) noexcept;

[[nodiscard]] Result<StoredRecord> record_of(const SqlRow& row);

// Ids sort in the database as they do here: big-endian.
using IdBytes = std::array<char, 16>;
[[nodiscard]] IdBytes bytes_of(const sched::MessageId& id) noexcept;

constexpr std::string_view view(const IdBytes& bytes) noexcept {
  return {bytes.data(), bytes.size()};
}
inline std::string_view view(const ChainHash& hash) noexcept {
  // NOLINTNEXTLINE: the same bytes, as the database's drivers take them
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

}  // namespace mesh::engine
