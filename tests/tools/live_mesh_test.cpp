// The bar of the console: 30,000 agents in 8 processes, a `mesh up`, and every verb acts on them
// and is seen to act: what the agents count for themselves is what the console says.
//
// The agents' counts stand in memory that the processes share with the test and with nobody else.
#include <array>
#include <atomic>
#include <fstream>
#include <numeric>
#include <sstream>

#include <sys/mman.h>

#include "tests/engine/station_processes.hpp"
#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_live_mesh_test {

constexpr std::uint32_t kProcesses = 8;
constexpr std::uint32_t kEach = 3'750;
constexpr std::uint32_t kAgents = kProcesses * kEach;
constexpr std::uint32_t kObjectsEvery = 100;  // one agent in so many answers in CONFLICT

// Of each agent, by itself: what it was given, and how it answered.
struct Counts {
  std::atomic<std::uint32_t> given, ready, conflict;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

std::string name_of_agent(std::size_t agent) { return "agent-" + std::to_string(agent); }
std::size_t agent_of(const std::string& name) { return std::stoul(name.substr(6)); }

// A part of the agents: hears the directory, enrols, and answers until it is killed.
int answer_for(const Channel& channel, Counts* counts, std::uint32_t first) {
  const auto station = attach(channel, channel.hear(), kEach);
  if (station == nullptr) return 1;
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = first; i < first + kEach; ++i)
    agents.push_back({.name = name_of_agent(i), .agent_class = sched::AgentClass::local});
  const auto enrolled = station->enrol(agents);
  channel.tell(enrolled ? "enrolled" : enrolled.error().sentence);
  while (!station->is_lost()) {
    station->poll(256, [&](const engine::Delivery& delivery) {
      // relaxed: each count stands alone, and the test waits for their sums.
      Counts& own = counts[first + delivery.agent];
      own.given.fetch_add(1, std::memory_order_relaxed);
      if ((first + delivery.agent) % kObjectsEvery == 0) {
        own.conflict.fetch_add(1, std::memory_order_relaxed);
        return engine::Answer::in_conflict(sched::ConflictType::other, {1, 2});
      }
      own.ready.fetch_add(1, std::memory_order_relaxed);
      return engine::Answer::ready(std::as_bytes(std::span(std::string_view("yes"))));
    });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  return 0;
}

class LiveMesh : public ::testing::Test, public MeshInFolder {
 protected:
  using Row = std::vector<std::uint32_t>;

  LiveMesh() {
    void* const shared = ::mmap(nullptr, kAgents * sizeof(Counts), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(shared, MAP_FAILED);
    counts_ = static_cast<Counts*>(shared);
    for (std::uint32_t i = 0; i < kProcesses; ++i) processes_.push_back(process(i));
    // A lost process is replaced by one that the test keeps ready: the command only says so.
    std::ofstream(folder.file("mesh.toml"))
        << "[recovery]\nspawn = \"echo spawned >> " << folder.file("spawned") << "\"\n"
        << "patience_ms = 600000\n";
    up = std::make_unique<StartedMesh>(
        std::vector<std::string>{"up", "--agents", std::to_string(kAgents), "--stations", "16",
                                 "--dir", folder.mesh(), "--config", folder.file("mesh.toml")});
    EXPECT_THAT(up->line(), ::testing::StartsWith("up: "));
    for (const auto& one : processes_) one->tell(folder.mesh());
    for (const auto& one : processes_) EXPECT_EQ(one->hear(), "enrolled");
  }
  ~LiveMesh() override {
    static_cast<void>(run({"down"}));
    up->wait();
    processes_.clear();
    ::munmap(counts_, kAgents * sizeof(Counts));
  }
  [[nodiscard]] std::unique_ptr<Child> process(std::uint32_t index) const {
    return std::make_unique<Child>([counts = counts_, index](const Channel& channel) {
      return answer_for(channel, counts, index * kEach);
    });
  }

  [[nodiscard]] Row count(std::atomic<std::uint32_t> Counts::*what) const {
    Row row(kAgents);
    for (std::uint32_t i = 0; i < kAgents; ++i)
      row[i] = (counts_[i].*what).load(std::memory_order_relaxed);  // relaxed: it stands alone
    return row;
  }
  [[nodiscard]] std::uint64_t sum(std::atomic<std::uint32_t> Counts::*what) const {
    const Row row = count(what);
    return std::accumulate(row.begin(), row.end(), std::uint64_t{0});
  }
  // What each was given since `before`; once it is `total` in all, and with it all that is on the
  // way: nothing else is sent meanwhile.
  Row received_since(const Row& before, std::uint64_t total) const {
    const std::uint64_t until = std::accumulate(before.begin(), before.end(), total);
    EXPECT_TRUE(eventually([&] { return sum(&Counts::given) >= until; })) << total;
    Row now = count(&Counts::given);
    for (std::uint32_t i = 0; i < kAgents; ++i) now[i] -= before[i];
    return now;
  }
  // A verb that sends to all but `spared`: it says so, and each of the others counts one.
  void expect_all_reached(const std::vector<std::string>& words, const std::vector<bool>& spared) {
    const Row before = count(&Counts::given);
    const std::uint64_t conflicts = sum(&Counts::conflict);
    const Json done = ask(words);
    const auto sent = done["sent"].get<std::uint64_t>();
    const Row got = received_since(before, sent);
    std::uint64_t expected = 0;
    for (std::uint32_t i = 0; i < kAgents; ++i) {
      expected += spared[i] ? 0U : 1U;
      ASSERT_EQ(got[i], spared[i] ? 0U : 1U) << name_of_agent(i) << ": " << done;
    }
    EXPECT_EQ(sent, expected);
    EXPECT_EQ(done["skipped"]["not_routable"], kAgents - expected);
    EXPECT_EQ(done["conflict"], sum(&Counts::conflict) - conflicts) << done;
    EXPECT_EQ(done["ready"].get<std::uint64_t>() + done["conflict"].get<std::uint64_t>() +
                  done["straggler"].get<std::uint64_t>(),
              sent);
  }
  [[nodiscard]] std::uint64_t counter(const std::string& name) const {
    const Json found = ask({"stat", name})["counters"];
    for (const Json& one : found)
      if (one["counter"] == name) return one["value"];
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }

  Counts* counts_ = nullptr;
  std::vector<std::unique_ptr<Child>> processes_;
};

std::vector<bool> nobody() { return std::vector<bool>(kAgents); }

// Who is in a snapshot that `freeze` wrote.
std::vector<bool> frozen_in(const std::string& path) {
  std::vector<bool> frozen = nobody();
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);  // of all of them
  while (std::getline(file, line)) frozen[agent_of(Json::parse(line)["name"])] = true;
  return frozen;
}

TEST_F(LiveMesh, StatusTopStatAndKpiSayWhatTheAgentsCount) {
  const Json status = ask({"status"});
  EXPECT_EQ(status["agents_active"], kAgents);
  EXPECT_EQ(status["stations"], kProcesses);
  expect_all_reached({"broadcast", "hear", "--ack"}, nobody());
  expect_all_reached({"scatter", "step 1"}, nobody());
  EXPECT_TRUE(eventually([&] { return counter("operations_ended") == 2; }));
  EXPECT_EQ(counter("deliveries"), sum(&Counts::given));
  EXPECT_EQ(counter("answers"), sum(&Counts::ready) + sum(&Counts::conflict));
  EXPECT_EQ(ask({"status"})["counters"]["deliveries"], sum(&Counts::given));
  const Json top = ask({"top"});
  EXPECT_EQ(top["active"], kAgents);
  EXPECT_EQ(top["conflicts"], sum(&Counts::conflict));
  std::uint64_t in_sectors = 0;
  for (const Json& sector : top["sectors"]) in_sectors += sector["active"].get<std::uint64_t>();
  EXPECT_EQ(in_sectors, kAgents);
  const Json kpis = Json::parse(run({"kpi", "--json"}).out)["kpis"];
  EXPECT_EQ(kpis[1]["kpi"], "agents inside the arrival window");
  EXPECT_EQ(kpis[1]["all"]["of"], sum(&Counts::given)) << kpis[1];
}

TEST_F(LiveMesh, AskDelegateAndSendReachWhomTheyName) {
  Row before = count(&Counts::given);
  const std::uint64_t conflicts = sum(&Counts::conflict);
  const Json asked = ask({"ask", "well?", "--sample", "200"});
  EXPECT_EQ(asked["asked"], 200);
  const Row sample = received_since(before, 200);
  EXPECT_EQ(std::count(sample.begin(), sample.end(), 1U), 200) << "each of them once";
  EXPECT_EQ(asked["conflict"], sum(&Counts::conflict) - conflicts);
  ASSERT_FALSE(asked["groups"].empty());
  EXPECT_EQ(asked["groups"][0]["answer"], "yes");
  EXPECT_EQ(asked["groups"][0]["count"], asked["ready"]);

  before = count(&Counts::given);
  const Json done = ask({"delegate", "count the stars"});
  Row got = received_since(before, done["attempts"].size());
  for (const Json& one : done["attempts"]) EXPECT_EQ(got[agent_of(one["agent"])], 1U) << one;
  EXPECT_EQ(std::accumulate(got.begin(), got.end(), std::size_t{0}), done["attempts"].size());

  before = count(&Counts::given);
  EXPECT_EQ(ask({"send", "agent-29999", "?"})["state"], "ready");
  got = received_since(before, 1);
  EXPECT_EQ(got[29'999], 1U);
}

TEST_F(LiveMesh, RouteAroundFreezeAndThawSpareWhomTheyName) {
  std::vector<bool> spared = nobody();
  ask({"route-around", "agent-7", "agent-20007"});
  spared[7] = spared[20'007] = true;
  expect_all_reached({"scatter", "step 1"}, spared);

  const Json frozen = ask({"freeze", "sector", "3"});
  const std::vector<bool> in_sector = frozen_in(frozen["snapshot"]["path"]);
  EXPECT_EQ(frozen["agents"], std::count(in_sector.begin(), in_sector.end(), true));
  EXPECT_GT(frozen["agents"], 0);
  for (std::uint32_t i = 0; i < kAgents; ++i) spared[i] = spared[i] || in_sector[i];
  expect_all_reached({"broadcast", "hear", "--ack"}, spared);

  // What is sent to one of them meanwhile waits, and is its first when it is thawed.
  std::size_t cold = 1;
  while (!in_sector[cold] || cold % kObjectsEvery == 0) ++cold;
  const Row before = count(&Counts::given);
  ask({"send", name_of_agent(cold), "later", "--no-wait"});
  const Json thawed = ask({"thaw", "sector", "3"});
  EXPECT_EQ(thawed["changed"], frozen["changed"]);
  EXPECT_EQ(thawed["messages_waiting"], 1);
  EXPECT_EQ(received_since(before, 1)[cold], 1U);
  ask({"route-around", "--undo", "agent-7", "agent-20007"});
  expect_all_reached({"scatter", "step 2"}, nobody());
}

TEST_F(LiveMesh, ChatActsAsTheVerbsDo) {
  const Ran chat = run({"chat"}, "route around agent-5\nyes\nfreeze sector 2\nyes\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_EQ(ask({"status"})["agents_routed_around"], 1);
  std::vector<bool> spared = frozen_in(folder.mesh() + "/frozen-sector-2.snapshot");
  EXPECT_EQ(ask({"status"})["agents_frozen"], std::count(spared.begin(), spared.end(), true));
  spared[5] = true;
  expect_all_reached({"scatter", "step 1"}, spared);
  const Row before = count(&Counts::given);
  EXPECT_EQ(run({"chat"},
                "thaw sector 2\nyes\nuse agent-5 again\nyes\n"
                "ask 50 agents \"well?\"\nyes\n")
                .exit_code,
            0);
  const Row got = received_since(before, 50);
  EXPECT_EQ(std::count(got.begin(), got.end(), 1U), 50);
  expect_all_reached({"scatter", "step 2"}, nobody());
}

TEST_F(LiveMesh, HealBringsAWholeProcessBack) {
  const auto spare = process(3);
  processes_[3]->end();
  while (ask({"status"})["agents_active"] != kAgents - kEach) sched_yield();
  StartedMesh heal({"heal", "--wait", "600000", "--dir", folder.mesh(), "--json"});
  while (std::ifstream(folder.file("spawned")).peek() == EOF) sched_yield();
  spare->tell(folder.mesh());
  EXPECT_EQ(spare->hear(), "enrolled");
  const Ran healed = heal.wait();
  EXPECT_EQ(healed.exit_code, 0) << healed.out << healed.err;
  const Json said = Json::parse(healed.out, nullptr, false);
  EXPECT_EQ(said["agents_well"], said["agents_ailing"]) << said;
  EXPECT_EQ(ask({"status"})["agents_active"], kAgents);
  while (ask({"status"})["recovery"]["back"] != 1) sched_yield();
  // The breakers that the loss opened, if any, were reset: everybody is sent to again.
  expect_all_reached({"scatter", "again"}, nobody());
}

}  // namespace of_live_mesh_test
}  // namespace mesh::testing
