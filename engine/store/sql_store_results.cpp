// Results of operations, trends over many clusters, and what is let go of.
#include <algorithm>
#include <array>

#include "engine/store/schema.hpp"
#include "engine/store/sql_store.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kResultsAtOnce = 64;

constexpr std::array<std::string_view, 14> kColumns = {
    "id",        "source",   "kind", "strategy", "verdict",  "opened_ns",    "ended_ns",
    "target_ns", "targeted", "sent", "ready",    "conflict", "error_p50_ns", "error_p99_ns"};

std::string columns_text() {
  std::string text;
  for (const std::string_view column : kColumns)
    text.append(text.empty() ? "" : ", ").append(column);
  return text;
}

std::string insert_statement(std::size_t count) {
  std::string text = "INSERT INTO operation_results (" + columns_text() + ") VALUES ";
  for (std::size_t row = 0; row < count; ++row) {
    text += row == 0 ? "(" : ", (";
    for (std::size_t at = 1; at <= kColumns.size(); ++at)
      text += (at == 1 ? "$" : ", $") + std::to_string(kColumns.size() * row + at);
    text += ")";
  }
  return text + " ON CONFLICT DO NOTHING";
}

Result<OperationResult> result_of(const SqlRow& row) {
  OperationResult one;
  std::array<std::int64_t, kColumns.size() - 1> numbers{};
  bool is_whole = row.size() == kColumns.size() && read(row[0], one.id);
  for (std::size_t i = 0; is_whole && i < numbers.size(); ++i)
    is_whole = read(row[i + 1], numbers[i]);
  const auto is_small = [&](std::size_t at, std::int64_t most) {
    return numbers[at] >= 0 && numbers[at] <= most;
  };
  for (std::size_t at = 1; at <= 3; ++at) is_whole = is_whole && is_small(at, UINT8_MAX);
  for (std::size_t at = 7; at <= 10; ++at) is_whole = is_whole && is_small(at, UINT32_MAX);
  if (!is_whole) return fail(Errc::corrupt, "store: an operation's result makes no sense");
  one.source = static_cast<AgentId>(numbers[0]);
  one.kind = static_cast<std::uint8_t>(numbers[1]);
  one.strategy = static_cast<std::uint8_t>(numbers[2]);
  one.verdict = static_cast<std::uint8_t>(numbers[3]);
  one.opened = static_cast<WireTime>(numbers[4]);
  one.ended = static_cast<WireTime>(numbers[5]);
  one.target = static_cast<WireTime>(numbers[6]);
  one.targeted = static_cast<std::uint32_t>(numbers[7]);
  one.sent = static_cast<std::uint32_t>(numbers[8]);
  one.ready = static_cast<std::uint32_t>(numbers[9]);
  one.conflict = static_cast<std::uint32_t>(numbers[10]);
  one.error_p50_ns = numbers[11];
  one.error_p99_ns = numbers[12];
  return one;
}

Result<TrendRow> trend_of(const SqlRow& row) {
  TrendRow trend;
  const bool is_whole = row.size() == 6 && read(row[0], trend.minute) &&
                        read(row[1], trend.minutes) && read(row[2], trend.agents) &&
                        read(row[3], trend.active);
  if (!is_whole) return fail(Errc::corrupt, "store: a trend makes no sense");
  static_cast<void>(read(row[4], trend.score_mean));  // nobody was active: none
  static_cast<void>(read(row[5], trend.score_p95));
  return trend;
}

}  // namespace

Status SqlStore::append_results(std::span<const OperationResult> results) {
  return in_transaction([&]() -> Status {
    for (std::size_t from = 0; from < results.size(); from += kResultsAtOnce) {
      const auto some = results.subspan(from, std::min(kResultsAtOnce, results.size() - from));
      std::array<IdBytes, kResultsAtOnce> ids{};  // the values are views
      std::vector<SqlValue> values;
      values.reserve(some.size() * kColumns.size());
      for (std::size_t i = 0; i < some.size(); ++i) {
        const OperationResult& one = some[i];
        ids[i] = bytes_of(one.id);
        values.insert(values.end(), {view(ids[i]), number(one.source), number(one.kind),
                                     number(one.strategy), number(one.verdict), number(one.opened),
                                     number(one.ended), number(one.target), number(one.targeted),
                                     number(one.sent), number(one.ready), number(one.conflict),
                                     number(one.error_p50_ns), number(one.error_p99_ns)});
      }
      MESH_CHECK_OK(write(insert_statement(some.size()), values));
    }
    return {};
  });
}

Result<std::vector<OperationResult>> SqlStore::results(const ResultQuery& query) {
  if (query.limit == 0 || query.limit > kQueryLimitMax)
    return fail(Errc::invalid_argument,
                "results: a limit of " + std::to_string(query.limit) + ", allowed are 1.." +
                    std::to_string(kQueryLimitMax),
                kQueryLimitMax);
  std::string where;
  std::vector<SqlValue> values;
  const auto add = [&](const char* condition, std::optional<std::int64_t> value) {
    if (!value) return;
    values.emplace_back(*value);
    where += (where.empty() ? " WHERE " : " AND ") + std::string(condition) + "$" +
             std::to_string(values.size());
  };
  const auto whole = [](const auto& value) {
    return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
  };
  add("ended_ns >= ", whole(query.from));
  add("ended_ns < ", whole(query.until));
  add("kind = ", whole(query.kind));
  add("verdict = ", whole(query.verdict));
  MESH_TRY(const auto rows,
           connection_->query("SELECT " + columns_text() + " FROM operation_results" + where +
                                  " ORDER BY ended_ns DESC, id DESC LIMIT " +
                                  std::to_string(query.limit),
                              values));
  std::vector<OperationResult> found;
  for (const SqlRow& row : rows) {
    MESH_TRY(OperationResult one, result_of(row));
    found.push_back(one);
  }
  return found;
}

Result<std::vector<TrendRow>> SqlStore::trend(const TrendQuery& query) {
  const std::int64_t span = query.until_minute - query.from_minute;
  if (query.step_minutes < 1 ||
      span / query.step_minutes > static_cast<std::int64_t>(kTrendRowsMax))
    return fail(Errc::invalid_argument,
                "trend: steps of " + std::to_string(query.step_minutes) + " minutes over " +
                    std::to_string(span) + ": at most " + std::to_string(kTrendRowsMax) + " rows",
                kTrendRowsMax);
  const std::array<SqlValue, 5> values{number(query.step_minutes), number(query.first_cluster),
                                       number(query.past_cluster), number(query.from_minute),
                                       number(query.until_minute)};
  MESH_TRY(
      const auto rows,
      connection_->query("SELECT minute - minute % $1 AS step, count(DISTINCT minute),"
                         " CAST(sum(agents) AS BIGINT), CAST(sum(active) AS BIGINT),"
                         " avg(CASE WHEN active > 0 THEN score_mean END), "
                         " max(CASE WHEN active > 0 THEN score_p95 END) FROM history"
                         " WHERE cluster >= $2 AND cluster < $3 AND minute >= $4 AND minute < $5"
                         " GROUP BY step ORDER BY step",
                         values));
  std::vector<TrendRow> trends;
  for (const SqlRow& row : rows) {
    MESH_TRY(const TrendRow trend, trend_of(row));
    trends.push_back(trend);
  }
  return trends;
}

namespace {

Result<std::uint64_t> count_of(const std::vector<SqlRow>& rows) {
  std::int64_t count = 0;
  if (rows.size() != 1 || !read(rows[0][0], count) || count < 0)
    return fail(Errc::corrupt, "store: what is to go cannot be counted");
  return static_cast<std::uint64_t>(count);
}

}  // namespace

// Whole minutes, the oldest first, as many as `most` points make: the index of minutes finds them.
Result<Trimmed> SqlStore::trim(const Retention& retention) {
  const std::int64_t minutes = std::max(retention.history_minutes, kHistoryMinutes);
  const std::array<SqlValue, 2> old{number(minutes), number(retention.most)};
  Trimmed trimmed;
  const Status done = in_transaction([&]() -> Status {
    constexpr const char* kGoing =
        "FROM history WHERE (cluster, minute) IN (SELECT cluster, minute FROM history WHERE"
        " minute <= (SELECT max(minute) FROM history) - $1 ORDER BY minute, cluster LIMIT $2)";
    MESH_TRY(const auto counted, connection_->query(std::string("SELECT count(*) ") + kGoing, old));
    MESH_TRY(trimmed.points, count_of(counted));
    if (trimmed.points != 0) MESH_CHECK_OK(write(std::string("DELETE ") + kGoing, old));
    MESH_TRY(trimmed.results, trim_results(retention));
    return {};
  });
  if (!done) return tl::unexpected(done.error());
  return trimmed;
}

// By age, then by number.
Result<std::uint64_t> SqlStore::trim_results(const Retention& retention) {
  MESH_TRY(const auto all, connection_->query("SELECT count(*) FROM operation_results", {}));
  MESH_TRY(const std::uint64_t there, count_of(all));
  const std::array<SqlValue, 1> age{number(retention.results_ns)};
  MESH_TRY(const auto aged,
           connection_->query("SELECT count(*) FROM operation_results WHERE ended_ns <="
                              " (SELECT max(ended_ns) FROM operation_results) - $1",
                              age));
  MESH_TRY(std::uint64_t going, count_of(aged));
  if (there > retention.results_max) going = std::max(going, there - retention.results_max);
  going = std::min<std::uint64_t>(going, retention.most);
  if (going == 0) return going;
  const std::array<SqlValue, 1> most{number(going)};
  MESH_CHECK_OK(
      write("DELETE FROM operation_results WHERE id IN (SELECT id FROM"
            " operation_results ORDER BY ended_ns, id LIMIT $1)",
            most));
  return going;
}

}  // namespace mesh::engine
