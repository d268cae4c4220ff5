// A store with records in it, tables of a mesh as text, and backups of both.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/backup/backup.hpp"
#include "engine/store/store.hpp"
#include "tests/engine/store/store_fixture.hpp"

namespace mesh::testing {

using engine::BackupInfo;
using engine::KeptAgent;
using engine::KeptTables;

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline KeptTables some_tables() {
  KeptTables tables;
  for (std::uint32_t i = 0; i < 3; ++i)
    tables.agents.push_back({.name = "agent " + std::to_string(i),
                             .uid = 1'000 + i,
                             .agent_class = static_cast<sched::AgentClass>(i),
                             .capabilities = {"see", "hear"},
                             .cluster = i,
                             .routing = static_cast<std::uint8_t>(i == 1 ? 1 : 0),
                             .score = 17,
                             .confidence = 60'000,
                             .confidence_by_t = 50'000,
                             .history = 9,
                             .latency_ms = 12.5F + static_cast<float>(i),
                             .processing_ms = 10,
                             .drift = 0.1F,
                             .reliability = 0.75F,
                             .work_ms = 3,
                             .residual_centre_ms = -0.25F,
                             .residual_by_t_ms = 4});
  tables.rules = {"deny class B inference"};
  return tables;
}

// Records of a kilobyte each: a copy of 2,000 takes several steps.
struct BackedUp {
  explicit BackedUp(std::uint64_t records = 40) : store(folder.file("mesh.db")) { add(records); }
  void add(std::uint64_t records) {
    const auto opened = engine::open_store({.where = store});
    ASSERT_TRUE(opened.has_value()) << opened.error().sentence;
    std::vector<engine::Record> made = conflicts(next, records);
    next += records;
    for (engine::Record& record : made) record.detail = std::string(1'000, 'd');
    ASSERT_TRUE((*opened)->append(made).has_value());
  }
  [[nodiscard]] engine::BackupRequest request() const {
    const KeptTables tables = some_tables();
    return {.directory = directory,
            .store = store,
            .tables = engine::text_of(tables),
            .agents = tables.agents.size(),
            .rules = tables.rules.size(),
            .now_unix_ns = 1'800'000'000 * kNsPerSecond,
            .keep = 3};
  }
  BackupInfo make() {
    auto made = engine::take_backup(request());
    if (!made) throw std::runtime_error(made.error().sentence);
    return *made;
  }
  // What is in its directory, hidden files apart.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (entry.path().filename() != ".lock") found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }

  ScratchDirectory folder;
  std::string store;
  std::string directory = folder.file("backups");
  std::uint64_t next = 1;
};

}  // namespace mesh::testing
