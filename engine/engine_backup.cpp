// Engine: what outlives it: backups, a mesh that begins with one, history.
#include <future>
#include <memory>
#include <string>

#include "engine/backup/restore.hpp"
#include "engine/engine_state.hpp"
#include "engine/history_keeper.hpp"
#include "engine/loop/expected.hpp"

namespace mesh::engine {

// Before the mesh is published: it is there with the agents of its backup, or not at all.
Status Engine::State::expect_back(HostTime start) {
  const auto waiting = [&]() -> Result<std::optional<std::size_t>> {
    MESH_TRY(const std::optional<KeptTables> tables, pending_tables(files.path()));
    if (!tables) return std::optional<std::size_t>();
    MESH_CHECK_OK(write_rules_journal(files.path(), *tables));
    MESH_TRY(const auto ids, expect_agents(scheduler->loop(), tables->agents, start));
    return std::optional(ids.size());
  }();
  if (!waiting)
    return fail(waiting.error().code,
                "'" + files.path() + "/" + kRestoreFile +
                    "', which mesh restore left: " + waiting.error().sentence,
                waiting.error().detail);
  if (*waiting)
    report.adopted.push_back("a backup's tables: " + std::to_string(**waiting) +
                             " agents expected back, offline until then");
  return {};
}

Status Engine::State::make_backups(const EngineOptions& options) {
  MESH_TRY(backups, BackupKeeper::create(options.backup,
                                         {.tables = {size, table->bytes(), engine->bytes()},
                                          .rules = rules.get(),
                                          .store = options.conflicts.store,
                                          .is_store_up =
                                              [this] {
                                                return conflicts == nullptr ||
                                                       conflicts->status().recorder.is_store_up;
                                              },
                                          .mesh_directory = files.path()}));
  return {};
}

Status Engine::State::make_history(const EngineOptions& options) {
  if (!options.conflicts.history.is_on) return {};
  MESH_TRY(auto history,
           HistoryKeeper::create(
               options.conflicts.history,
               {.size = size, .table = table->bytes(), .unix_offset_ns = unix_offset_ns}));
  conflicts->set_history(std::move(history));
  return {};
}

Result<BackupInfo> Engine::backup(const std::string& directory) {
  auto promise = std::make_shared<std::promise<Result<BackupInfo>>>();
  auto future = promise->get_future();
  state_->backups->post(directory,
                        [promise](const Result<BackupInfo>& made) { promise->set_value(made); });
  promise.reset();
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the backup was made");
  }
}

}  // namespace mesh::engine
