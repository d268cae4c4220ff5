// SqlStore: the Store over any SqlConnection: one schema, one set of statements.
//
// Callers     one thread. Contract: engine/store/store.hpp.
// Ordering    a transaction of append holds the head row from its first statement on, so two
//             writers never give the same position.
#pragma once

#include <memory>
#include <utility>

#include "engine/store/sql_connection.hpp"
#include "engine/store/store.hpp"

namespace mesh::engine {

class SqlStore final : public Store {
 public:
  // Makes the tables where there are none. version_skew: they are of another program.
  static Result<std::unique_ptr<Store>> open(std::unique_ptr<SqlConnection> connection,
                                             std::function<void(StoreStep)> at_step);
  // Of one that is there, to look: nothing is made. corrupt: it has no version.
  static Result<std::unique_ptr<Store>> open_to_read(std::unique_ptr<SqlConnection> connection);

  Result<Appended> append(std::span<const Record> records) override;
  Result<std::vector<StoredRecord>> find(const RecordQuery& query) override;
  Result<ChainHead> head() override;
  Result<Verification> verify(const std::optional<ChainHead>& kept) override;
  Status append_history(std::span<const HistoryPoint> points) override;
  Result<std::vector<HistoryPoint>> history(const HistoryQuery& query) override;
  Result<std::vector<TrendRow>> trend(const TrendQuery& query) override;
  Status append_results(std::span<const OperationResult> results) override;
  Result<std::vector<OperationResult>> results(const ResultQuery& query) override;
  Result<Trimmed> trim(const Retention& retention) override;
  Status keep_snapshot(const Snapshot& snapshot) override;
  Result<Snapshot> newest_snapshot(std::string_view scope) override;
  Result<std::uint64_t> keep_context(const ContextVersion& context) override;
  Result<std::vector<ContextVersion>> contexts(const ContextOwner& owner) override;
  Result<std::vector<ContextVersion>> contexts_of_hash(std::uint64_t hash) override;

 private:
  SqlStore(std::unique_ptr<SqlConnection> connection, std::function<void(StoreStep)> at_step)
      : connection_(std::move(connection)), at_step_(std::move(at_step)) {}

  Status make_schema();
  enum class Repeated : std::uint8_t { none, perhaps };
  Result<Appended> append(std::span<const Record> records, Repeated repeated);
  [[nodiscard]] static Status check_version(const std::vector<SqlRow>& rows);
  Result<ChainHead> read_head(std::string_view suffix);
  // Runs `work` between begin and commit; rolls back when it fails.
  Status in_transaction(const std::function<Status()>& work);
  Result<std::vector<const Record*>> those_not_there(std::span<const Record> records);
  Result<ChainHead> insert_records(std::span<const Record* const> records, ChainHead head);
  Status follow_states(std::span<const Record* const> records, std::uint64_t after_position);
  Status follow_each(std::span<const Record* const> records, std::uint64_t after_position);
  Status write(const std::string& statement, std::span<const SqlValue> values);
  Result<std::uint64_t> trim_results(const Retention& retention);
  Status check_states(Verification& seen);
  Status check_ends(Verification& seen, const std::optional<ChainHead>& kept);
  void reached(StoreStep step) const {
    if (at_step_) at_step_(step);
  }

  std::unique_ptr<SqlConnection> connection_;
  std::function<void(StoreStep)> at_step_;
};

}  // namespace mesh::engine
