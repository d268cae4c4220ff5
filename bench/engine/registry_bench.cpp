// 30,000 names enrolled and looked up: the registry beside std::unordered_map<std::string, ...>,
// interleaved in one run (bench/interleave.hpp).
//
// The map does less: it keeps a uid, a station and a row for each name, in memory of its own. The
// registry writes every column of a row for all processes to read, under its sequence, and stays
// whole when it is killed.
//
//   enrol        30,000 new names into an empty table
//   enrol again  the same names by the same user: all stations back after a restart
//   find         each name once, in another order than they came; `missing`: names that nobody has
//   resolve      each handle once, half of them of dead generations; beside a map of handles
//   place        30,000 agents into clusters
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/interleave.hpp"
#include "engine/memory_map.hpp"
#include "engine/registry.hpp"
#include "engine/topology.hpp"

namespace mesh::bench {
namespace {

using engine::AgentRows;
using engine::OwnerRows;
using engine::Registry;
using engine::Topology;

constexpr std::uint32_t kAgents = 30'000;
constexpr StationId kStation{1};

class Memory {
 public:
  explicit Memory(shm::Layout layout)
      : layout_(std::move(layout)),
        bytes_(static_cast<std::byte*>(std::aligned_alloc(4'096, layout_.total_bytes()))) {
    MESH_ASSERT(bytes_ != nullptr);
    clear();
  }
  void clear() { std::fill_n(bytes_.get(), layout_.total_bytes(), std::byte{0}); }
  [[nodiscard]] const shm::Layout& layout() const { return layout_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_.get(), layout_.total_bytes()}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  shm::Layout layout_;
  std::unique_ptr<std::byte, Free> bytes_;
};

struct Names {
  std::vector<std::string> all;
  std::vector<std::string> shuffled;
  std::vector<std::string> missing;
};
Names make_names() {
  Names names;
  for (std::uint32_t i = 0; i < kAgents; ++i) {
    names.all.push_back("sector-" + std::to_string(i / 300) + "/agent-" + std::to_string(i));
    names.missing.push_back("sector-" + std::to_string(i / 300) + "/human-" + std::to_string(i));
  }
  names.shuffled = names.all;
  std::shuffle(names.shuffled.begin(), names.shuffled.end(), std::mt19937_64(1));
  return names;
}

struct Entry {
  std::uint32_t uid;
  std::uint32_t row;
  StationId station;
};
using Map = std::unordered_map<std::string, Entry>;

class Bench {
 public:
  Bench()
      : table_(engine::table_layout({.agents = kAgents, .stations = 1}).value()),
        engine_(engine::engine_layout({.agents = kAgents, .stations = 1}).value()),
        agents_(AgentRows<>::in(table_.layout(), table_.bytes()).value()),
        owners_(OwnerRows<>::in(engine_.layout(), engine_.bytes()).value()),
        names_(make_names()) {}

  void enrol(Registry& registry) {
    for (const std::string& name : names_.all) {
      const auto enrolled = registry.enrol({name, 1, {.station = kStation}});
      MESH_ASSERT(enrolled.has_value());
      keep(enrolled->id);
    }
  }
  void enrol(Map& map) const {
    for (const std::string& name : names_.all) {
      const auto [at, is_new] =
          map.try_emplace(name, Entry{1, static_cast<std::uint32_t>(map.size()), kStation});
      if (!is_new) {
        MESH_ASSERT(at->second.uid == 1);
        at->second.station = kStation;
      }
      keep(at->second.row);
    }
  }
  static void find(const Registry& registry, const std::vector<std::string>& names, bool there) {
    for (const std::string& name : names) MESH_ASSERT(registry.find(name).has_value() == there);
  }
  static void find(const Map& map, const std::vector<std::string>& names, bool there) {
    for (const std::string& name : names) MESH_ASSERT((map.find(name) != map.end()) == there);
  }

  void run(unsigned rounds);

 private:
  void report(const char* what, const std::vector<Contender>& pair, InterleaveOptions options);
  void enrolments(unsigned rounds);
  void lookups(unsigned rounds);
  void places(unsigned rounds);

  Memory table_;
  Memory engine_;
  AgentRows<> agents_;
  OwnerRows<> owners_;
  Names names_;
};

void Bench::report(const char* what, const std::vector<Contender>& pair,
                   InterleaveOptions options) {
  const Interleaved result = interleave(pair, options);
  std::cout << what << '\n';
  for (std::size_t who = 0; who < result.size(); ++who) {
    const Spread ns = result.ns(who);
    std::cout << "  " << result.name(who) << std::string(14 - result.name(who).size(), ' ')
              << ns.median / 1e6 << " ms  (min " << ns.min / 1e6 << ", p90 " << ns.p90 / 1e6
              << "), " << ns.median / kAgents << " ns each\n";
  }
  if (result.size() < 2) return;
  const Spread ratio = result.ratio(1, 0);
  std::cout << "  " << result.name(1) << " / " << result.name(0) << ' ' << ratio.median << "  (p10 "
            << ratio.p10 << ", p90 " << ratio.p90 << ", best against best "
            << result.ratio_of_min(1, 0) << ")\n";
}

// Clearing the table and building an empty registry is part of a round, and measured beside it.
void Bench::enrolments(unsigned rounds) {
  const auto fresh = [&] {
    table_.clear();
    return Registry::create(agents_, owners_, {}).value();
  };
  report("30,000 new names, from an empty table",
         {{"registry",
           [&] {
             Registry registry = fresh();
             enrol(registry);
           }},
          {"unordered_map",
           [&] {
             Map map;
             enrol(map);
           }}},
         {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
  report("of which: clearing the table, an empty registry",
         {{"set-up", [&] { keep(fresh().rows()); }}},
         {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
  Registry registry = fresh();
  enrol(registry);
  Map map;
  enrol(map);
  report("the same names again",
         {{"registry", [&] { enrol(registry); }}, {"unordered_map", [&] { enrol(map); }}},
         {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
  report("a restart: all found again in the columns",
         {{"registry", [&] { keep(Registry::create(agents_, owners_, {}).value().taken()); }}},
         {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
}

void Bench::lookups(unsigned rounds) {
  table_.clear();
  Registry registry = Registry::create(agents_, owners_, {}).value();
  enrol(registry);
  Map map;
  enrol(map);
  const InterleaveOptions options{.rounds = rounds, .warm_calls = 1, .timed_calls = 2};
  report("find, shuffled",
         {{"registry", [&] { find(registry, names_.shuffled, true); }},
          {"unordered_map", [&] { find(map, names_.shuffled, true); }}},
         options);
  report("find, missing",
         {{"registry", [&] { find(registry, names_.missing, false); }},
          {"unordered_map", [&] { find(map, names_.missing, false); }}},
         options);
  std::unordered_map<std::uint64_t, std::uint32_t> handles;
  std::vector<AgentId> ids;
  for (std::uint32_t row = 0; row < kAgents; ++row) {
    const AgentId id = registry.id_of(AgentIndex{row});
    handles.emplace(static_cast<std::uint64_t>(id), row);
    ids.push_back(row % 2 == 0 ? id : agent_id(AgentIndex{row}, Generation{0}));
  }
  std::shuffle(ids.begin(), ids.end(), std::mt19937_64(2));
  report("resolve, half of them dead generations",
         {{"registry",
           [&] {
             for (const AgentId id : ids) keep(registry.resolve(id));
           }},
          {"unordered_map",
           [&] {
             for (const AgentId id : ids) keep(handles.find(static_cast<std::uint64_t>(id)));
           }}},
         options);
}

void Bench::places(unsigned rounds) {
  table_.clear();
  Registry registry = Registry::create(agents_, owners_, {}).value();
  std::mt19937_64 random(3);
  for (const std::string& name : names_.all) {
    const auto agent_class = static_cast<sched::AgentClass>(random() % sched::kAgentClassCount);
    const auto id =
        registry.enrol({name, 1, {.station = kStation, .agent_class = agent_class}}).value().id;
    agents_.score.store_relaxed(engine::row_of(index_of(id)),
                                static_cast<std::uint16_t>(random() % 1'001));
  }
  report("30,000 agents placed into 1,000 clusters, and out again",
         {{"topology",
           [&] {
             Topology topology = Topology::create(agents_, {}).value();
             for (std::uint32_t row = 0; row < kAgents; ++row) {
               const auto place = topology.place(AgentIndex{row});
               MESH_ASSERT(place.has_value());
               keep(place->cluster);
             }
             for (std::uint32_t row = 0; row < kAgents; ++row) topology.leave(AgentIndex{row});
           }}},
         {.rounds = rounds, .warm_calls = 1, .timed_calls = 1});
}

void Bench::run(unsigned rounds) {
  std::cout << context() << '\n';
  enrolments(rounds);
  lookups(rounds);
  places(rounds);
}

}  // namespace
}  // namespace mesh::bench

int main() {
  const bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  mesh::bench::Bench().run(quick ? 3 : 51);
  return 0;
}
