// History, snapshots and contexts: what a store keeps beside its records.
#include <algorithm>
#include <array>

#include "engine/store/schema.hpp"
#include "engine/store/sql_store.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kPointsAtOnce = 64;

Result<HistoryPoint> point_of(const SqlRow& row) {
  std::array<std::int64_t, 4> numbers{};
  HistoryPoint point;
  bool is_whole = read(row[4], point.score_mean) && read(row[5], point.score_p95);
  for (std::size_t i = 0; i < numbers.size(); ++i) is_whole = is_whole && read(row[i], numbers[i]);
  if (!is_whole) return fail(Errc::corrupt, "store: a point of history makes no sense");
  point.cluster = static_cast<std::uint32_t>(numbers[0]);
  point.minute = numbers[1];
  point.agents = static_cast<std::uint32_t>(numbers[2]);
  point.active = static_cast<std::uint32_t>(numbers[3]);
  return point;
}

std::string points_statement(std::size_t count) {
  std::string text =
      "INSERT INTO history (cluster, minute, agents, active, score_mean, score_p95) VALUES ";
  for (std::size_t i = 0; i < count; ++i) {
    text += i == 0 ? "(" : ", (";
    for (std::size_t at = 1; at <= 6; ++at)
      text += (at == 1 ? "$" : ", $") + std::to_string(6 * i + at);
    text += ")";
  }
  return text + " ON CONFLICT DO NOTHING";
}

}  // namespace

Status SqlStore::append_history(std::span<const HistoryPoint> points) {
  return in_transaction([&]() -> Status {
    for (std::size_t from = 0; from < points.size(); from += kPointsAtOnce) {
      const auto some = points.subspan(from, std::min(kPointsAtOnce, points.size() - from));
      std::vector<SqlValue> values;
      for (const HistoryPoint& point : some)
        values.insert(values.end(),
                      {number(point.cluster), number(point.minute), number(point.agents),
                       number(point.active), point.score_mean, point.score_p95});
      MESH_CHECK_OK(write(points_statement(some.size()), values));
    }
    return {};
  });
}

Result<std::vector<HistoryPoint>> SqlStore::history(const HistoryQuery& query) {
  const std::array<SqlValue, 3> values{number(query.cluster), number(query.from_minute),
                                       number(query.until_minute)};
  MESH_TRY(const auto rows,
           connection_->query("SELECT cluster, minute, agents, active, score_mean, score_p95"
                              " FROM history WHERE cluster = $1 AND minute >= $2 AND minute < $3"
                              " ORDER BY minute",
                              values));
  std::vector<HistoryPoint> points;
  for (const SqlRow& row : rows) {
    MESH_TRY(const HistoryPoint point, point_of(row));
    points.push_back(point);
  }
  return points;
}

Status SqlStore::keep_snapshot(const Snapshot& snapshot) {
  if (snapshot.scope.empty() || snapshot.bytes.size() > kSnapshotBytesMax)
    return fail(Errc::invalid_argument,
                "snapshot of '" + snapshot.scope + "': it needs a scope and at most " +
                    std::to_string(kSnapshotBytesMax) + " bytes",
                static_cast<std::int64_t>(kSnapshotBytesMax));
  const ChainHash hash = hash_of(snapshot.bytes);
  const std::array<SqlValue, 4> values{std::string_view(snapshot.scope), number(snapshot.at),
                                       view(hash), std::string_view(snapshot.bytes)};
  return in_transaction([&]() -> Status {
    return write("INSERT INTO snapshots (scope, at_ns, hash, bytes) VALUES ($1, $2, $3, $4)",
                 values);
  });
}

Result<Snapshot> SqlStore::newest_snapshot(std::string_view scope) {
  const std::array<SqlValue, 1> values{scope};
  MESH_TRY(const auto rows,
           connection_->query("SELECT at_ns, hash, bytes FROM snapshots WHERE scope = $1"
                              " ORDER BY at_ns DESC LIMIT 1",
                              values));
  const std::string name = "snapshot of '" + std::string(scope) + "'";
  if (rows.empty()) return fail(Errc::not_found, name + ": there is none");
  Snapshot snapshot{.scope = std::string(scope)};
  std::int64_t at_ns = 0;
  ChainHash hash{};
  if (!read(rows[0][0], at_ns) || !read(rows[0][1], hash) || !read(rows[0][2], snapshot.bytes) ||
      hash_of(snapshot.bytes) != hash)
    return fail(Errc::corrupt, name + ": its bytes are not those that were kept");
  snapshot.at = static_cast<WireTime>(at_ns);
  return snapshot;
}

Result<std::uint64_t> SqlStore::keep_context(const ContextVersion& context) {
  MESH_CHECK_OK(validate(context));
  const std::int64_t hash = static_cast<std::int64_t>(shm::hash64(context.bytes));
  std::int64_t version = 0;
  const Status done = in_transaction([&]() -> Status {
    const std::array<SqlValue, 2> owner{std::string_view(context.owner.name),
                                        number(context.owner.uid)};
    MESH_TRY(const auto rows,
             connection_->query("SELECT version, hash FROM agent_contexts WHERE name = $1"
                                " AND uid = $2 ORDER BY version DESC LIMIT 1",
                                owner));
    std::int64_t hash_before = 0;
    if (!rows.empty() && (!read(rows[0][0], version) || !read(rows[0][1], hash_before)))
      return fail(Errc::corrupt, "store: contexts cannot be counted");
    if (!rows.empty() && hash_before == hash) return {};
    ++version;
    const std::array<SqlValue, 6> values{
        owner[0], owner[1], version, hash, number(context.at), std::string_view(context.bytes)};
    MESH_CHECK_OK(
        write("INSERT INTO agent_contexts (name, uid, version, hash, at_ns, bytes)"
              " VALUES ($1, $2, $3, $4, $5, $6)",
              values));
    const std::array<SqlValue, 3> old{owner[0], owner[1],
                                      version - static_cast<std::int64_t>(kContextVersions)};
    return write("DELETE FROM agent_contexts WHERE name = $1 AND uid = $2 AND version <= $3", old);
  });
  if (!done) return tl::unexpected(done.error());
  return static_cast<std::uint64_t>(version);
}

namespace {

Result<std::vector<ContextVersion>> contexts_of(const std::vector<SqlRow>& rows) {
  std::vector<ContextVersion> versions;
  for (const SqlRow& row : rows) {
    ContextVersion context;
    std::array<std::int64_t, 4> numbers{};  // uid, version, hash, at_ns
    bool is_whole = read(row[0], context.owner.name) && read(row[5], context.bytes);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      is_whole = is_whole && read(row[i + 1], numbers[i]);
    context.owner.uid = static_cast<std::uint32_t>(numbers[0]);
    context.version = static_cast<std::uint64_t>(numbers[1]);
    context.hash = static_cast<std::uint64_t>(numbers[2]);
    context.at = static_cast<WireTime>(numbers[3]);
    if (!is_whole || shm::hash64(context.bytes) != context.hash)
      return fail(Errc::corrupt,
                  "context: version " + std::to_string(context.version) + " is not what was kept");
    versions.push_back(std::move(context));
  }
  return versions;
}

constexpr const char* kContextsSelected =
    "SELECT name, uid, version, hash, at_ns, bytes FROM agent_contexts WHERE ";

}  // namespace

Result<std::vector<ContextVersion>> SqlStore::contexts(const ContextOwner& owner) {
  const std::array<SqlValue, 2> values{std::string_view(owner.name), number(owner.uid)};
  MESH_TRY(const auto rows, connection_->query(std::string(kContextsSelected) +
                                                   "name = $1 AND uid = $2 ORDER BY version DESC",
                                               values));
  return contexts_of(rows);
}

Result<std::vector<ContextVersion>> SqlStore::contexts_of_hash(std::uint64_t hash) {
  const std::array<SqlValue, 2> values{number(hash), number(kContextsOfHashMax)};
  MESH_TRY(const auto rows,
           connection_->query(std::string(kContextsSelected) +
                                  "hash = $1 ORDER BY at_ns DESC, version DESC LIMIT $2",
                              values));
  return contexts_of(rows);
}

Status validate(const ContextVersion& context) {
  if (context.owner.name.empty() || context.bytes.size() > kContextBytesMax)
    return fail(Errc::invalid_argument,
                "context of '" + context.owner.name + "': it needs a name and at most " +
                    std::to_string(kContextBytesMax) + " bytes, these are " +
                    std::to_string(context.bytes.size()),
                static_cast<std::int64_t>(kContextBytesMax));
  return {};
}

}  // namespace mesh::engine
