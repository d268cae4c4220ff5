// Agents hand over their contexts: what is kept of them, where, and what is refused.
#include <sys/mman.h>

#include "shm/sealed_bytes.hpp"
#include "tests/engine/context_mesh.hpp"
#include "tests/engine/raw_station.hpp"

namespace mesh::testing {
namespace of_contexts_test {

using engine::Engine;
using nlohmann::json;

class Contexts : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    engine::EngineOptions options;
    options.directory = directory_.path();
    options.size = {.agents = 64, .stations = 8};
    if (GetParam()) options.conflicts.store = files_.path() + "/conflicts.db";
    auto engine = Engine::start(options);
    ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
    engine_ = std::move(*engine);
  }
  json look(const std::string& agent) const {
    auto client = engine::ControlClient::connect(directory_.path(), {});
    EXPECT_TRUE(client.has_value());
    const auto answer = client->request(json{{"op", "contexts"}, {"agent", agent}}.dump());
    EXPECT_TRUE(answer.has_value()) << answer.error().sentence;
    return answer ? json::parse(*answer) : json();
  }
  ScratchDirectory directory_;
  ScratchDirectory files_;
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Kept, Contexts, ::testing::Bool(), [](const auto& kept) {
  return kept.param ? std::string("InAStore") : std::string("InMemory");
});

TEST_P(Contexts, RefusesWhatIsTooLongAndAgentsThatAreNobodysOrAnothers) {
  ContextAgents others(directory_.path(), {.agents = {{.name = "other"}}});
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}});
  const auto refused = [&](AgentId agent, std::size_t bytes) {
    return agents.call([&](engine::Station& station) {
      return station.set_context(agent, as_context(std::string(bytes, 'x'))).error().code;
    });
  };
  EXPECT_EQ(refused(agents.id(0), engine::kContextBytesMax + 1), Errc::truncated);
  EXPECT_EQ(refused(AgentId{12'345}, 1), Errc::no_such_agent);
  EXPECT_EQ(refused(others.id(0), 1), Errc::no_such_agent);
  EXPECT_TRUE(look("a")["versions"].empty());
  EXPECT_TRUE(agents.set(0, std::string(engine::kContextBytesMax, 'x')));
  EXPECT_TRUE(agents.set(0, "")) << "an empty one is one";
}

TEST_P(Contexts, RefusesWhatNoLibraryOfOursSends) {
  SocketStation raw(directory_.path());
  raw.enrol("raw");
  const auto id = static_cast<std::uint64_t>(engine_->find("raw").value());
  const auto ask = [&](std::uint64_t agent, std::uint64_t hash, const std::vector<int>& carried) {
    return raw.ask(json{{"op", "context"}, {"agent", agent}, {"hash", hash}}, carried);
  };
  const std::uint64_t hash = shm::hash64(std::string_view("abc"));
  const auto sealed = shm::seal_bytes("sealed", as_context("abc"));
  const shm::Descriptor open_to_all(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int whole = sealed->get();
  EXPECT_EQ(ask(id, hash, {}).code, Errc::wrong_descriptor_count);
  EXPECT_EQ(ask(id, hash, {whole, whole}).code, Errc::wrong_descriptor_count);
  EXPECT_EQ(ask(id, hash, {open_to_all.get()}).code, Errc::unsealed);
  EXPECT_EQ(ask(id, hash + 1, {whole}).code, Errc::corrupt);
  EXPECT_EQ(ask(id + (1U << 20), hash, {whole}).code, Errc::no_such_agent) << "another generation";
  EXPECT_EQ(raw.ask(json{{"op", "context"}, {"agent", "raw"}}, {whole}).code, Errc::bad_input);
  EXPECT_TRUE(look("raw")["versions"].empty());
  EXPECT_EQ(ask(id, hash, {whole}).code, Errc::ok);
  EXPECT_EQ(look("raw")["versions"].size(), 1U);
}

TEST_P(Contexts, KeepsTheLastThreeWithTheirHashesAndSaysWhere) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}});
  for (const char* const context : {"one", "two", "three", "four"}) {
    const auto receipt = agents.set(0, context);
    ASSERT_TRUE(receipt.has_value()) << receipt.error().sentence;
    EXPECT_EQ(receipt->hash, shm::hash64(std::string_view(context)));
    EXPECT_EQ(receipt->in_store, GetParam());
  }
  const json seen = look("a");
  ASSERT_EQ(seen["versions"].size(), 3U) << seen.dump();
  EXPECT_EQ(seen["versions"][0]["version"], 4);
  EXPECT_EQ(seen["versions"][0]["bytes"], 4);
  EXPECT_EQ(seen["versions"][2]["version"], 2);
  EXPECT_EQ(seen["expected_hash"], seen["versions"][0]["hash"]);
  EXPECT_EQ(seen["in_store"], GetParam());
  EXPECT_EQ(seen["loads_context"], true);
  EXPECT_GT(seen["versions"][0]["at_unix_ns"], std::int64_t{1'700'000'000} * kNsPerSecond);
}

TEST_P(Contexts, WhatIsHandedOverAgainIsTheSameVersion) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}});
  EXPECT_EQ(agents.set(0, "one")->version, 1U);
  EXPECT_EQ(agents.set(0, "one")->version, 1U);
  EXPECT_EQ(agents.set(0, "two")->version, 2U);
  EXPECT_EQ(look("a")["versions"].size(), 2U);
}

TEST_P(Contexts, GivesTheBytesToWhoOwnsTheMesh) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}});
  ASSERT_TRUE(agents.set(0, "one"));
  ASSERT_TRUE(agents.set(0, "two"));
  const auto bytes = [&](const json& more) {
    auto client = engine::ControlClient::connect(directory_.path(), {});
    json request = {{"op", "contexts"}, {"agent", "a"}, {"with_bytes", true}};
    request.update(more);
    const auto answer = client->request_descriptors(request.dump());
    if (!answer) return std::string(name_of(answer.error().code));
    EXPECT_EQ(answer->descriptors.size(), 1U);
    return shm::read_sealed(answer->descriptors[0].get(), engine::kContextBytesMax).value();
  };
  EXPECT_EQ(bytes(json::object()), "two");
  EXPECT_EQ(bytes({{"version", 1}}), "one");
  EXPECT_EQ(bytes({{"version", 7}}), "not_found");
}

TEST_P(Contexts, AnAnswerSaysUnderWhichOfThemItWasMade) {
  using sched::AnswerContext;
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}});
  const auto ask = [&] {
    const auto answered = engine_->ask(agents.id(0), as_context("?"), Nanos{60 * kNsPerSecond});
    EXPECT_TRUE(answered.has_value()) << answered.error().sentence;
    return answered ? answered->context : AnswerContext::unknown;
  };
  EXPECT_EQ(ask(), AnswerContext::unknown);
  ASSERT_TRUE(agents.set(0, "one"));
  EXPECT_EQ(ask(), AnswerContext::current);
  if (GetParam()) return;  // with a store it would be held for that, sooner or later
  const Status said = agents.call([&](engine::Station& station) {
    return station.report_context(agents.id(0), shm::hash64(std::string_view("another")));
  });
  ASSERT_TRUE(said.has_value()) << said.error().sentence;
  EXPECT_EQ(ask(), AnswerContext::other);
  ASSERT_TRUE(agents.set(0, "two"));
  EXPECT_EQ(ask(), AnswerContext::current);
}

TEST_P(Contexts, SomeThingsAreSaidOfAnAgentThatHasNone) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}}, .loads = false});
  const json seen = look("a");
  EXPECT_TRUE(seen["versions"].empty());
  EXPECT_EQ(seen["expected_hash"], "0x0000000000000000");
  EXPECT_EQ(seen["loads_context"], false);
  auto client = engine::ControlClient::connect(directory_.path(), {});
  EXPECT_EQ(client->request(R"({"op": "contexts", "agent": "nobody"})").error().code,
            Errc::no_such_agent);
  EXPECT_EQ(client->request(R"({"op": "contexts"})").error().code, Errc::bad_input);
}

}  // namespace of_contexts_test
}  // namespace mesh::testing
