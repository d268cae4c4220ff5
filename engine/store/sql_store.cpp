#include "engine/store/sql_store.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "engine/store/schema.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kIdsAtOnce = 64;    // a fixed number, so that the statement is prepared once
constexpr std::uint32_t kWalkPage = 512;  // records held at a time by verify()

SqlValue number(std::uint64_t value) noexcept { return static_cast<std::int64_t>(value); }
template <class E>
SqlValue number_of(E value) noexcept {
  return static_cast<std::int64_t>(value);
}

std::string placeholders(std::size_t from, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "$" : ",$") + std::to_string(from + i);
  return text;
}

Result<ChainHead> head_of(const std::vector<SqlRow>& rows) {
  ChainHead head;
  if (rows.empty()) return head;
  std::int64_t position = 0;
  if (!read(rows[0][0], position) || !read(rows[0][1], head.hash))
    return fail(Errc::corrupt, "store: its chain_head makes no sense");
  head.position = static_cast<std::uint64_t>(position);
  return head;
}

// One row a record, in the order of kRecordColumns. Views into `records`, `ids` and `heads`.
struct RecordRows {
  std::vector<SqlValue> values;
  std::vector<ChainHead> heads;
  std::vector<std::pair<IdBytes, IdBytes>> ids;  // subject, message
};
void add_row(RecordRows& rows, const Record& record, std::size_t at) {
  const auto& [subject, message] = rows.ids[at];
  rows.values.insert(rows.values.end(),
                     {number(rows.heads[at].position), view(subject), number_of(record.step),
                      number_of(record.kind), number_of(record.type), number_of(record.state),
                      number_of(record.priority), number_of(record.strategy), number_of(record.at),
                      number_of(record.agent), view(message), number_of(record.operation),
                      number(record.context_hash), std::string_view(record.expected),
                      std::string_view(record.received), std::string_view(record.detail),
                      view(rows.heads[at].hash)});
}

}  // namespace

Result<std::unique_ptr<Store>> SqlStore::open(std::unique_ptr<SqlConnection> connection,
                                              std::function<void(StoreStep)> at_step) {
  std::unique_ptr<SqlStore> store(new SqlStore(std::move(connection), std::move(at_step)));
  MESH_CHECK_OK(store->make_schema());
  MESH_TRY(const ChainHead head, store->read_head(""));
  MESH_TRY(const auto rows,
           store->connection_->query(
               "SELECT position, hash FROM records ORDER BY position DESC LIMIT 1", {}));
  MESH_TRY(const ChainHead last, head_of(rows));
  if (head != last)
    return fail(Errc::corrupt, "store: its records end at " + std::to_string(last.position) +
                                   ", its head is " + std::to_string(head.position));
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> SqlStore::open_to_read(std::unique_ptr<SqlConnection> connection) {
  MESH_TRY(const auto rows, connection->query("SELECT version FROM store_version", {}));
  MESH_CHECK_OK(check_version(rows));
  return std::unique_ptr<Store>(new SqlStore(std::move(connection), {}));
}

Status SqlStore::check_version(const std::vector<SqlRow>& rows) {
  std::int64_t version = 0;
  if (rows.size() == 1 && read(rows[0][0], version) && version == kSchemaVersion) return {};
  return fail(Errc::version_skew, "store: its tables are version " + std::to_string(version) +
                                      ", this program knows " + std::to_string(kSchemaVersion));
}

Status SqlStore::make_schema() {
  return in_transaction([this]() -> Status {
    MESH_CHECK_OK(connection_->run(schema_script(connection_->dialect())));
    MESH_TRY(const auto rows, connection_->query("SELECT version FROM store_version", {}));
    if (rows.empty()) {
      const ChainHead none;
      const std::array<SqlValue, 1> version{kSchemaVersion};
      const std::array<SqlValue, 1> hash{view(none.hash)};
      MESH_CHECK_OK(write("INSERT INTO store_version (version) VALUES ($1)", version));
      return write("INSERT INTO chain_head (only_row, position, hash) VALUES (1, 0, $1)", hash);
    }
    return check_version(rows);
  });
}

Status SqlStore::in_transaction(const std::function<Status()>& work) {
  MESH_CHECK_OK(connection_->run(std::string(connection_->dialect().begin)));
  Status done = work();
  if (done) done = connection_->run("COMMIT");
  // Whether the roll-back succeeds says nothing new: a connection that is gone has rolled back.
  if (!done) static_cast<void>(connection_->run("ROLLBACK"));
  return done;
}

Status SqlStore::write(const std::string& statement, std::span<const SqlValue> values) {
  const auto written = connection_->query(statement, values);
  if (!written) return tl::unexpected(written.error());
  return {};
}

Result<ChainHead> SqlStore::read_head(std::string_view suffix) {
  MESH_TRY(const auto rows,
           connection_->query("SELECT position, hash FROM chain_head" + std::string(suffix), {}));
  return head_of(rows);
}

Result<ChainHead> SqlStore::head() { return read_head(""); }

// Nearly always all of them are new: the database itself refuses one that is not, and only then
// each is looked for.
Result<Appended> SqlStore::append(std::span<const Record> records) {
  for (const Record& record : records) MESH_CHECK_OK(validate(record));
  auto appended = append(records, Repeated::none);
  if (appended || (appended.error().code != Errc::permission_denied &&
                   appended.error().code != Errc::already_exists))
    return appended;
  return append(records, Repeated::perhaps);
}

Result<Appended> SqlStore::append(std::span<const Record> records, Repeated repeated) {
  Appended result;
  const Status done = in_transaction([&]() -> Status {
    MESH_TRY(const ChainHead before, read_head(connection_->dialect().for_update));
    std::vector<const Record*> fresh;
    if (repeated == Repeated::none) {
      for (const Record& record : records) fresh.push_back(&record);
    } else {
      MESH_TRY(fresh, those_not_there(records));
    }
    result.appended = fresh.size();
    result.repeated = records.size() - fresh.size();
    result.head = before;
    if (fresh.empty()) return {};
    MESH_TRY(result.head, insert_records(fresh, before));
    MESH_CHECK_OK(follow_states(fresh, before.position));
    reached(StoreStep::before_commit);
    return {};
  });
  if (!done) return tl::unexpected(done.error());
  reached(StoreStep::after_commit);
  return result;
}

Result<std::vector<const Record*>> SqlStore::those_not_there(std::span<const Record> records) {
  static const std::string kStatement =
      "SELECT subject, step FROM records WHERE subject IN (" + placeholders(1, kIdsAtOnce) + ")";
  std::set<std::pair<SubjectId, std::uint32_t>> there;
  for (std::size_t from = 0; from < records.size(); from += kIdsAtOnce) {
    std::array<IdBytes, kIdsAtOnce> ids{};
    std::array<SqlValue, kIdsAtOnce> values;
    for (std::size_t i = 0; i < kIdsAtOnce; ++i) {
      ids[i] = bytes_of(records[std::min(from + i, records.size() - 1)].subject);
      values[i] = view(ids[i]);
    }
    MESH_TRY(const auto rows, connection_->query(kStatement, values));
    for (const SqlRow& row : rows) {
      SubjectId subject{};
      std::int64_t step = 0;
      if (!read(row[0], subject) || !read(row[1], step))
        return fail(Errc::corrupt, "store: a record without a subject");
      there.emplace(subject, static_cast<std::uint32_t>(step));
    }
  }
  std::vector<const Record*> fresh;
  for (const Record& record : records) {
    if (there.emplace(record.subject, record.step).second) fresh.push_back(&record);
  }
  return fresh;
}

Result<ChainHead> SqlStore::insert_records(std::span<const Record* const> records, ChainHead head) {
  RecordRows rows;
  rows.values.reserve(records.size() * kRecordColumns.size());
  rows.heads.reserve(records.size());  // nothing moves: the values are views
  rows.ids.reserve(records.size());
  for (const Record* record : records) {
    head = chained(head, *record);
    rows.heads.push_back(head);
    rows.ids.emplace_back(bytes_of(record->subject), bytes_of(record->message));
    add_row(rows, *record, rows.heads.size() - 1);
  }
  MESH_CHECK_OK(connection_->insert(kRecordsTable, rows.values));
  reached(StoreStep::in_transaction);
  const std::array<SqlValue, 2> values{number(head.position), view(head.hash)};
  MESH_CHECK_OK(write("UPDATE chain_head SET position = $1, hash = $2", values));
  return head;
}

Status SqlStore::follow_states(std::span<const Record* const> records,
                               std::uint64_t after_position) {
  const std::array<SqlValue, 1> after{number(after_position)};
  MESH_CHECK_OK(
      write("INSERT INTO conflict_states (subject, state, at_ns, conflict_position,"
            " newest_position) SELECT subject, state, at_ns, position, position FROM records"
            " WHERE position > $1 AND kind = 1 AND step = 0",
            after));
  const bool has_steps = std::any_of(records.begin(), records.end(), [](const Record* record) {
    return record->kind == StoredKind::step;
  });
  if (!has_steps) return {};
  if (connection_->dialect().is_here) return follow_each(records, after_position);
  return write(
      "UPDATE conflict_states SET state = (SELECT r.state FROM records r WHERE r.subject ="
      " conflict_states.subject ORDER BY r.step DESC LIMIT 1), newest_position ="
      " (SELECT r.position FROM records r WHERE r.subject = conflict_states.subject"
      " ORDER BY r.step DESC LIMIT 1) WHERE subject IN"
      " (SELECT subject FROM records WHERE position > $1 AND kind = 2)",
      after);
}

// The newest step of each; a conflict's steps are appended in their order.
Status SqlStore::follow_each(std::span<const Record* const> records, std::uint64_t after_position) {
  std::map<SubjectId, std::pair<ConflictState, std::uint64_t>> newest;
  for (const Record* record : records) {
    ++after_position;
    if (record->kind == StoredKind::step)
      newest.insert_or_assign(record->subject, std::pair(record->state, after_position));
  }
  for (const auto& [subject, last] : newest) {
    const IdBytes id = bytes_of(subject);
    const std::array<SqlValue, 3> values{number_of(last.first), number(last.second), view(id)};
    MESH_CHECK_OK(write(
        "UPDATE conflict_states SET state = $1, newest_position = $2 WHERE subject = $3", values));
  }
  return {};
}

namespace {

// WHERE and its values, grown together.
struct Conditions {
  std::string text;
  std::vector<SqlValue> values;

  void add(std::string_view condition, SqlValue value) {
    values.push_back(value);
    text += text.empty() ? " WHERE " : " AND ";
    text.append(condition).append("$").append(std::to_string(values.size()));
  }
};

// The index has an agent's records by type: of each type the newest, of those the newest. That one
// index answers for an agent and for one of its types, however many records it has of the others.
std::string newest_of_agent(const Conditions& where, std::uint32_t limit) {
  const std::string most = std::to_string(limit);
  std::string each;
  for (int type = 0; type <= static_cast<int>(sched::ConflictType::other); ++type) {
    const std::string number = std::to_string(type);
    each += (type == 0 ? "" : " UNION ALL ") +
            ("SELECT * FROM (SELECT r.at_ns AS a, r.position AS p FROM records r" + where.text) +
            " AND r.type = " + number + " ORDER BY r.at_ns DESC, r.position DESC LIMIT " + most +
            ") AS of_type_" + number;
  }
  return "SELECT " + record_columns("r.") + " FROM (SELECT a, p FROM (" + each +
         ") AS of_all ORDER BY a DESC, p DESC LIMIT " + most +
         ") AS newest CROSS JOIN records r WHERE r.position = newest.p"
         " ORDER BY newest.a DESC, newest.p DESC";
}

std::string find_statement(const RecordQuery& query, const IdBytes& subject, Conditions& where) {
  const bool by_state = query.state_now.has_value();
  if (by_state) where.add("s.state = ", number_of(*query.state_now));
  const std::string at = by_state ? "s.at_ns" : "r.at_ns";
  const std::string position = by_state ? "s.conflict_position" : "r.position";
  if (query.from) where.add(at + " >= ", number_of(*query.from));
  if (query.until) where.add(at + " < ", number_of(*query.until));
  if (query.agent) where.add("r.agent = ", number_of(*query.agent));
  if (query.type) where.add("r.type = ", number_of(*query.type));
  if (query.kind) where.add("r.kind = ", number_of(*query.kind));
  if (query.subject) where.add("r.subject = ", view(subject));
  if (query.before) {
    where.add("(" + at + ", " + position + ") < (", number_of(query.before->at));
    where.values.push_back(number(query.before->position));
    where.text += ", $" + std::to_string(where.values.size()) + ")";
  }
  if (query.agent && !query.type && !by_state && !query.subject)
    return newest_of_agent(where, query.limit);
  // CROSS JOIN keeps SQLite from walking all records in search of the few that are open.
  const std::string from = by_state ? "conflict_states s CROSS JOIN records r" : "records r";
  const std::string join = by_state ? " AND r.position = s.conflict_position" : "";
  return "SELECT " + record_columns("r.") + " FROM " + from + where.text + join + " ORDER BY " +
         at + " DESC, " + position + " DESC LIMIT " + std::to_string(query.limit);
}

}  // namespace

Result<std::vector<StoredRecord>> SqlStore::find(const RecordQuery& query) {
  if (query.limit == 0 || query.limit > kQueryLimitMax)
    return fail(Errc::invalid_argument,
                "find: a limit of " + std::to_string(query.limit) + ", allowed are 1.." +
                    std::to_string(kQueryLimitMax),
                kQueryLimitMax);
  const IdBytes subject = bytes_of(query.subject.value_or(SubjectId{}));
  Conditions where;
  const std::string statement = find_statement(query, subject, where);
  MESH_TRY(const auto rows, connection_->query(statement, where.values));
  std::vector<StoredRecord> found;
  for (const SqlRow& row : rows) {
    MESH_TRY(StoredRecord stored, record_of(row));
    found.push_back(std::move(stored));
  }
  return found;
}

namespace {

// The next record of the chain, or why it is not.
std::string judge_next(const ChainHead& previous, const StoredRecord& stored) {
  const std::string position = std::to_string(stored.at.position);
  if (stored.at.position != previous.position + 1)
    return "record " + std::to_string(previous.position + 1) + " is missing: " + position +
           " follows " + std::to_string(previous.position);
  if (chained(previous, stored.record).hash != stored.at.hash)
    return "record " + position + " (" + name_of(stored.record.subject) + " step " +
           std::to_string(stored.record.step) +
           ") was changed, or does not follow the one before it";
  return {};
}

void break_at(Verification& seen, std::string sentence) {
  if (seen.broken_position != 0) return;
  seen.broken_position = seen.head.position + 1;
  seen.sentence = std::move(sentence);
}

// Takes records in order until one does not fit.
void walk(Verification& seen, const std::vector<SqlRow>& rows) {
  for (const SqlRow& row : rows) {
    const auto stored = record_of(row);
    std::string wrong = stored ? judge_next(seen.head, *stored) : stored.error().sentence;
    if (!wrong.empty()) return break_at(seen, std::move(wrong));
    seen.head = stored->at;
    ++seen.checked;
  }
}

}  // namespace

Result<Verification> SqlStore::verify(const std::optional<ChainHead>& kept) {
  const std::string page = "SELECT " + record_columns("") +
                           " FROM records WHERE position > $1 ORDER BY position LIMIT " +
                           std::to_string(kWalkPage);
  Verification seen;
  std::int64_t after =
      std::numeric_limits<std::int64_t>::min();  // finds what has no business there
  for (bool at_end = false; !at_end && seen.broken_position == 0;) {
    const std::array<SqlValue, 1> values{after};
    MESH_TRY(const auto rows, connection_->query(page, values));
    walk(seen, rows);
    at_end = rows.size() < kWalkPage;
    after = static_cast<std::int64_t>(seen.head.position);
  }
  MESH_CHECK_OK(check_ends(seen, kept));
  seen.whole = seen.broken_position == 0;
  return seen;
}

Status SqlStore::check_ends(Verification& seen, const std::optional<ChainHead>& kept) {
  if (seen.broken_position != 0) return {};
  MESH_TRY(const ChainHead last, read_head(""));
  if (last != seen.head)
    break_at(seen, "records end at " + std::to_string(seen.head.position) + ", the head is " +
                       std::to_string(last.position) + ": the last ones are missing");
  if (kept && kept->position > seen.head.position)
    break_at(seen, "records end at " + std::to_string(seen.head.position) + ", a head of " +
                       std::to_string(kept->position) + " was kept: the last ones are missing");
  if (kept && kept->position != 0 && seen.broken_position == 0) {
    const std::array<SqlValue, 1> at{number(kept->position)};
    MESH_TRY(const auto rows,
             connection_->query("SELECT position, hash FROM records WHERE position = $1", at));
    MESH_TRY(const ChainHead stands, head_of(rows));
    if (stands != *kept) {
      seen.broken_position = kept->position;
      seen.sentence = "record " + std::to_string(kept->position) +
                      " is not the one whose hash was kept: the chain was written anew";
    }
  }
  return check_states(seen);
}

Status SqlStore::check_states(Verification& seen) {
  if (seen.broken_position != 0) return {};
  MESH_TRY(const auto rows,
           connection_->query("SELECT c.position FROM records c WHERE c.kind = 1 AND c.step = 0 AND"
                              " NOT EXISTS (SELECT 1 FROM conflict_states s, records n WHERE"
                              " s.subject = c.subject AND s.conflict_position = c.position AND"
                              " n.position = s.newest_position AND n.subject = c.subject AND"
                              " n.state = s.state) ORDER BY c.position LIMIT 1",
                              {}));
  std::int64_t position = 0;
  if (!rows.empty() && read(rows[0][0], position)) {
    seen.broken_position = static_cast<std::uint64_t>(position);
    seen.sentence =
        "conflict_states does not say what became of record " + std::to_string(position);
  }
  return {};
}

}  // namespace mesh::engine
