// Tables as text: what was written is read again, and nothing else.
#include "engine/backup/table_snapshot.hpp"

#include <rapidcheck.h>

#include "engine/backup/restore.hpp"
#include "tests/engine/backup/backup_fixture.hpp"

namespace mesh::testing {
namespace of_table_snapshot_test {

using ::testing::HasSubstr;

TEST(TableSnapshot, RefusesWhatIsNone) {
  for (const char* const text : {"", "{}", "{}\n", "[]\n", "{\"format\": \"other\"}\n"})
    EXPECT_FALSE(engine::read_tables(text).has_value()) << text;
  EXPECT_EQ(engine::read_tables("{\"format\": \"other\"}\n").error().code, Errc::version_skew);
}

TEST(TableSnapshot, RefusesAgentsThatCannotBe) {
  const auto refused = [](const std::function<void(KeptAgent&)>& spoil) {
    KeptTables tables = some_tables();
    spoil(tables.agents[1]);
    const auto read = engine::read_tables(engine::text_of(tables));
    return !read && read.error().sentence.find("line 3") != std::string::npos;
  };
  EXPECT_FALSE(refused([](KeptAgent&) {}));
  EXPECT_TRUE(refused([](KeptAgent& agent) { agent.name.clear(); }));
  EXPECT_TRUE(refused([](KeptAgent& agent) { agent.name = std::string(64, 'x'); }));
  EXPECT_TRUE(
      refused([](KeptAgent& agent) { agent.agent_class = static_cast<sched::AgentClass>(6); }));
  EXPECT_TRUE(refused([](KeptAgent& agent) { agent.drift = NAN; }));
}

TEST(TableSnapshot, IsReadAgainAsItWasWritten) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint32_t>& dice) {
    KeptTables tables;
    for (const std::uint32_t die : dice)
      tables.agents.push_back(
          {.name = "n\xc3\xa4me \"" + std::to_string(tables.agents.size()),
           .uid = die,
           .agent_class = static_cast<sched::AgentClass>(die % 6),
           .capabilities = std::vector<std::string>(die % 3, "c\\"),
           .cluster = die * 7,
           .routing = static_cast<std::uint8_t>(die),
           .score = static_cast<std::uint16_t>(die),
           .confidence = static_cast<std::uint16_t>(die >> 3),
           .confidence_by_t = static_cast<std::uint16_t>(die >> 5),
           .history = static_cast<std::uint8_t>(die >> 7),
           .latency_ms = static_cast<float>(die) / 7.0F,
           .processing_ms = 1.0F / static_cast<float>(die + 1U == 0 ? 1 : die + 1U),
           .drift = -0.0F,
           .reliability = 0.1F,
           .work_ms = 1e-30F,
           .residual_centre_ms = -3.3F,
           .residual_by_t_ms = 1e30F});
    tables.rules = std::vector<std::string>(dice.size() % 4, "deny class A x");
    const auto read = engine::read_tables(engine::text_of(tables));
    RC_ASSERT(read.has_value());
    RC_ASSERT(read->agents == tables.agents);
    RC_ASSERT(read->rules == tables.rules);
  }));
}

// Made anew.

TEST(Restore, RefusesWhatIsNoBackupAndAStoreThatIsThere) {
  BackedUp mesh;
  const auto refused = [](const engine::RestoreRequest& request) {
    const auto done = engine::restore(request);
    return done ? Errc::ok : done.error().code;
  };
  EXPECT_EQ(refused({.backup = mesh.folder.path()}), Errc::not_found);
  const BackupInfo made = mesh.make();
  EXPECT_EQ(refused({.backup = made.path, .store = mesh.store}), Errc::already_exists);
  std::ofstream(made.path + "/store.sqlite", std::ios::app) << "x";
  const std::string fresh = mesh.folder.file("fresh.db");
  EXPECT_EQ(refused({.backup = made.path, .store = fresh}), Errc::verification_failed);
  EXPECT_FALSE(std::filesystem::exists(fresh)) << "of what is damaged nothing is put anywhere";
}

TEST(Restore, MakesAStoreThatGoesOnWhereTheBackupEnded) {
  BackedUp mesh;
  const BackupInfo made = mesh.make();
  mesh.add(5);
  const std::string fresh = mesh.folder.file("fresh.db");
  const auto info = engine::restore({.backup = mesh.directory, .store = fresh});
  ASSERT_TRUE(info.has_value()) << info.error().sentence;
  EXPECT_EQ(info->path, made.path) << "the newest of its folder";
  const auto store = engine::open_store({.where = fresh});
  ASSERT_TRUE(store.has_value()) << store.error().sentence;
  EXPECT_EQ((*store)->head()->position, 40U);
  const auto appended = (*store)->append(conflicts(41, 1));
  ASSERT_TRUE(appended.has_value()) << "it is in use as any other";
  EXPECT_EQ(appended->head.position, 41U);
  EXPECT_TRUE((*store)->verify(made.store->content.head)->whole);
}

TEST(Restore, LeavesTablesForTheNextEngineUnlessAMeshIsThere) {
  BackedUp mesh;
  const BackupInfo made = mesh.make();
  const std::string directory = mesh.folder.file("mesh");
  ASSERT_TRUE(engine::restore({.backup = made.path, .mesh_directory = directory}).has_value());
  const auto pending = engine::pending_tables(directory);
  ASSERT_TRUE(pending.has_value() && pending->has_value());
  EXPECT_EQ((*pending)->agents, some_tables().agents);
  ASSERT_TRUE(engine::write_rules_journal(directory, **pending).has_value());
  EXPECT_EQ(content_of(directory + "/rules.journal"), "deny class B inference\n");
  engine::drop_pending_tables(directory);
  EXPECT_FALSE(engine::pending_tables(directory)->has_value());
  std::ofstream(directory + "/table") << "a mesh";
  EXPECT_EQ(engine::restore({.backup = made.path, .mesh_directory = directory}).error().code,
            Errc::wrong_state);
}

TEST(Restore, DoesNotWriteRulesThatAreNone) {
  const ScratchDirectory folder;
  KeptTables tables = some_tables();
  tables.rules = {"allow everything"};
  EXPECT_FALSE(engine::write_rules_journal(folder.path(), tables).has_value());
  EXPECT_FALSE(std::filesystem::exists(folder.file("rules.journal")));
}

}  // namespace of_table_snapshot_test
}  // namespace mesh::testing
