// Millions of random operations beside a registry of std::map, through restarts.
#include <deque>
#include <random>
#include <set>

#include "engine/registry.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/sanitizers.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_registry_model_test {

using testing::TestTable;

// What a registry is, said as plainly as the standard library allows.
class Model {
 public:
  struct Agent {
    std::uint32_t row = 0;
    std::uint32_t uid = 0;
    std::uint32_t incarnation = 0;
    std::uint64_t generation = 0;
    StationId station = kNoStation;
    std::int64_t offline_since = 0;
  };

  explicit Model(std::uint32_t rows) : generations_(rows) {
    for (std::uint32_t row = 0; row < rows; ++row) free_.insert(row);
  }

  Errc enrol(const std::string& name, std::uint32_t uid, StationId station) {
    const auto found = agents_.find(name);
    if (found != agents_.end()) {
      if (found->second.uid != uid) return Errc::name_taken;
      ++found->second.incarnation;
      leave_station(name);
      found->second.station = station;
      stations_[station].push_back(name);
      return Errc::ok;
    }
    if (free_.empty()) return Errc::capacity;
    const std::uint32_t row = *free_.begin();
    free_.erase(free_.begin());
    agents_[name] = {row, uid, 1, ++generations_[row], station, 0};
    stations_[station].push_back(name);
    return Errc::ok;
  }
  Errc forget(const std::string& name) {
    const auto found = agents_.find(name);
    if (found == agents_.end()) return Errc::no_such_agent;
    if (found->second.station != kNoStation) return Errc::not_ready;
    release(name);
    return Errc::ok;
  }
  std::vector<std::uint32_t> detach(StationId station, std::int64_t now, std::size_t most) {
    std::vector<std::uint32_t> rows;
    for (auto& names = stations_[station]; rows.size() < most && !names.empty();) {
      Agent& agent = agents_.at(names.front());
      rows.push_back(agent.row);
      agent.station = kNoStation;
      agent.offline_since = now;
      stations_[kNoStation].push_back(names.front());
      names.pop_front();
    }
    return rows;
  }
  std::vector<std::uint32_t> expire(std::int64_t now, std::int64_t ttl, std::size_t most) {
    std::vector<std::uint32_t> rows;
    for (auto& names = stations_[kNoStation]; rows.size() < most && !names.empty();) {
      const std::string name = names.front();
      if (now - agents_.at(name).offline_since < ttl) break;
      rows.push_back(agents_.at(name).row);
      release(name);
    }
    return rows;
  }
  [[nodiscard]] const std::map<std::string, Agent>& agents() const { return agents_; }
  // A restart keeps stations in the order of rows; those offline by time, rows of one time by row.
  void restart() {
    for (auto& [station, names] : stations_) {
      std::ranges::sort(names, {}, [&, by_time = station == kNoStation](const std::string& name) {
        const Agent& agent = agents_.at(name);
        return std::pair(by_time ? agent.offline_since : 0, agent.row);
      });
    }
  }

 private:
  void leave_station(const std::string& name) {
    std::erase(stations_[agents_.at(name).station], name);
  }
  void release(const std::string& name) {
    leave_station(name);
    free_.insert(agents_.at(name).row);
    agents_.erase(name);
  }

  std::map<std::string, Agent> agents_;
  std::map<StationId, std::deque<std::string>> stations_;
  std::set<std::uint32_t> free_;
  std::vector<std::uint64_t> generations_;
};

class Pair {
 public:
  Pair(std::uint32_t rows, std::uint64_t seed)
      : table_(rows), model_(rows), random_(seed), registry_(started()) {}

  void step() {
    const std::uint64_t dice = random_() % 100;
    if (dice < 55) {
      enrol();
    } else if (dice < 70) {
      forget();
    } else if (dice < 82) {
      detach();
    } else if (dice < 88) {
      expire();
    } else {
      look_up();
    }
    now_ += static_cast<std::int64_t>(random_() % 1'000'000);
  }
  void restart() {
    registry_ = started();
    model_.restart();
  }
  void check_everything() {
    const Status verified = registry_.verify();
    ASSERT_TRUE(verified.has_value()) << verified.error().sentence;
    ASSERT_EQ(registry_.taken(), model_.agents().size());
    for (const auto& [name, agent] : model_.agents()) {
      const auto id = registry_.find(name);
      ASSERT_TRUE(id.has_value()) << name;
      ASSERT_EQ(*id, agent_id(AgentIndex{agent.row}, Generation{agent.generation})) << name;
      ASSERT_EQ(registry_.name_of(AgentIndex{agent.row}).view(), name);
      ASSERT_EQ(registry_.station_of(AgentIndex{agent.row}), agent.station);
    }
  }

 private:
  static constexpr RegistryOptions kOptions{.agent_ttl = Nanos{20'000'000}, .hash_seed = 1};

  Registry started() const {
    return Registry::create(table_.agents(), table_.owners(), kOptions).value();
  }
  std::string any_name() { return "agent-" + std::to_string(random_() % (table_rows() * 2)); }
  std::uint64_t table_rows() const { return table_.agents().rows(); }
  StationId any_station() { return StationId{static_cast<std::uint16_t>(1 + random_() % 6)}; }

  void enrol() {
    const std::string name = any_name();
    const auto uid = static_cast<std::uint32_t>(random_() % 8 == 0);
    const StationId station = any_station();
    const Errc expected = model_.enrol(name, uid, station);
    const auto enrolled = registry_.enrol({name, uid, {.station = station}});
    ASSERT_EQ(enrolled ? Errc::ok : enrolled.error().code, expected) << name;
    if (!enrolled) return;
    const Model::Agent& agent = model_.agents().at(name);
    ASSERT_EQ(enrolled->id, agent_id(AgentIndex{agent.row}, Generation{agent.generation}));
    ASSERT_EQ(enrolled->incarnation, agent.incarnation);
  }
  void forget() {
    const std::string name = any_name();
    const Errc expected = model_.forget(name);
    const auto forgotten = registry_.forget(name);
    ASSERT_EQ(forgotten ? Errc::ok : forgotten.error().code, expected) << name;
    if (forgotten) gone_.push_back(*forgotten);
  }
  void detach() {
    const StationId station = any_station();
    std::vector<AgentIndex> rows(random_() % 12);
    const auto detached = registry_.detach(station, from_ns(now_), rows);
    const auto expected = model_.detach(station, now_, rows.size());
    ASSERT_EQ(detached.count, expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(rows[i], AgentIndex{expected[i]});
  }
  void expire() {
    std::vector<AgentId> freed(random_() % 6);
    const std::size_t count = registry_.expire(from_ns(now_), freed);
    const auto expected = model_.expire(now_, kOptions.agent_ttl.count(), freed.size());
    ASSERT_EQ(count, expected.size());
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(index_of(freed[i]), AgentIndex{expected[i]});
      gone_.push_back(freed[i]);
    }
  }
  void look_up() {
    const std::string name = any_name();
    ASSERT_EQ(registry_.find(name).has_value(), model_.agents().contains(name));
    if (!gone_.empty()) {
      ASSERT_EQ(registry_.resolve(gone_[random_() % gone_.size()]), kNoAgent);
    }
  }

  TestTable table_;
  Model model_;
  std::mt19937_64 random_;
  std::int64_t now_ = 1;
  std::vector<AgentId> gone_;
  Registry registry_;
};

constexpr std::uint64_t kSteps = testing::kSlowBuild ? 200'000 : 3'000'000;

void run(std::uint32_t rows, std::uint64_t steps) {
  Pair pair(rows, testing::seed() + rows);
  for (std::uint64_t step = 1; step <= steps; ++step) {
    pair.step();
    if (step % (steps / 50) == 0) {
      pair.restart();
      pair.check_everything();
    }
    if (::testing::Test::HasFailure()) FAIL() << "step " << step << " of " << rows << " rows";
  }
}

TEST(RegistryModel, AgreesOverMillionsOfRandomOperationsWith64Rows) { run(64, kSteps); }
TEST(RegistryModel, AgreesOverMillionsOfRandomOperationsWith3Rows) { run(3, kSteps / 10); }
TEST(RegistryModel, AgreesOverMillionsOfRandomOperationsWith500Rows) { run(500, kSteps / 10); }

// Every key the same: the worst that a hostile choice of names could do, and still right.
TEST(NameIndex, FindsWhatIsInItWhenAllHomesAreTheSameOrWrapRound) {
  for (const std::uint32_t home : {0U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    NameIndex index(100, 0);
    std::map<std::uint32_t, std::uint32_t> model;  // entry to key
    std::mt19937_64 random(testing::seed());
    for (int turn = 0; turn < 20'000; ++turn) {
      const auto entry = static_cast<std::uint32_t>(random() % 100);
      if (const auto found = model.find(entry); found != model.end()) {
        index.erase(found->second, entry);
        model.erase(found);
      } else {
        const auto key = home - static_cast<std::uint32_t>(random() % 3 << 24);
        index.insert(key, entry);
        model[entry] = key;
      }
      ASSERT_EQ(index.count(), model.size());
      for (const auto& [known, key] : model) {
        ASSERT_EQ(index.find(key, [&, known = known](std::uint32_t e) { return e == known; }),
                  known);
      }
      ASSERT_EQ(index.find(home, [](std::uint32_t) { return false; }), NameIndex::kNone);
    }
  }
}

}  // namespace of_registry_model_test
}  // namespace mesh::engine
