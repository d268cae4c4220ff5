// Whole sectors lost to SIGKILL in the middle of a cascade, with every duration of mesh.md part 12
// at a hundredth: breakers, modes and promotions follow its numbers, and when the processes come
// back the mesh returns to FULL by itself.
#include <thread>

#include <poll.h>

#include "engine/health/health_view.hpp"
#include "engine/observer.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_sector_loss_test {

using coordination::BreakerState;
using engine::health::HealthView;
using engine::health::OperatingMode;

constexpr std::uint32_t kSectors = 4;  // by the number of agents: engine/memory_map.hpp
constexpr std::uint32_t kClustersEach = 10;
constexpr std::uint32_t kRounds = kSectors * kClustersEach;  // in each, one cluster is filled
constexpr std::uint32_t kProcessesEach = 6;                  // of a sector: more than 5 crashes
constexpr std::uint32_t kAgentsOfEach = 5;                   // in each cluster of it
constexpr std::uint32_t kAgents = kRounds * kProcessesEach * kAgentsOfEach;
constexpr Nanos in_hundredths(std::int64_t seconds) { return Nanos{seconds * kNsPerSecond / 100}; }

struct Share {
  std::uint32_t sector = 0;
  std::uint32_t process = 0;
};

std::vector<engine::AgentDeclaration> names_of(const Share& share, std::uint32_t round) {
  std::vector<engine::AgentDeclaration> names;
  for (std::uint32_t i = 0; i < kAgentsOfEach; ++i)
    names.push_back({"of-" + std::to_string(round) + '-' + std::to_string(share.process) + '-' +
                     std::to_string(i)});
  return names;
}

// Hears the directory, then a number for each cluster in which it enrols its five; "all": those of
// all its clusters, at once. Then "serve". Whoever of a doomed one is asked says so, and hangs.
int share_of_a_sector(const Channel& channel, const Share& share, bool is_doomed) {
  const auto station = attach(channel, channel.hear(), kClustersEach * kAgentsOfEach);
  if (station == nullptr) return 1;
  channel.tell("attached");
  for (std::string word = channel.hear(); word != "serve"; word = channel.hear()) {
    if (word == kGone) return 1;
    std::vector<engine::AgentDeclaration> names;
    for (std::uint32_t round = share.sector; round < kRounds; round += kSectors) {
      if (word != "all" && word != std::to_string(round)) continue;
      for (auto& name : names_of(share, round)) names.push_back(name);
    }
    const auto enrolled = station->enrol(names);
    channel.tell(enrolled ? "enrolled" : enrolled.error().sentence);
  }
  while (!station->is_lost()) {
    station->poll(64, [&](const engine::Delivery&) {
      if (is_doomed) {
        channel.tell("asked");
        (void)channel.hear();
      }
      return engine::Answer::ready();
    });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  return 0;
}

class SectorLoss : public ::testing::Test {
 protected:
  // Forked before there is an engine: they inherit no thread of it.
  SectorLoss() {
    for (std::uint32_t sector = 0; sector < kSectors; ++sector)
      for (std::uint32_t process = 0; process < kProcessesEach; ++process)
        processes_.push_back(child({sector, process}, sector == kDoomed));
    for (std::uint32_t process = 0; process < kProcessesEach; ++process)
      spares_.push_back(child({kDoomed, process}, false));
    spares_.push_back(child({kWounded, 0}, false));
  }

  void SetUp() override {
    engine::EngineOptions options;
    options.directory = directory_.path();
    options.size = {
        .agents = kAgents, .stations = 64, .agents_per_station = kClustersEach * kAgentsOfEach};
    options.stuck_after = kForEver;
    options.loop.upkeep = in_hundredths(1);
    options.loop.watch.modes = {.enter_after = in_hundredths(3), .leave_after = in_hundredths(10)};
    options.loop.watch.breakers.window = kForEver;  // what is counted stays counted
    options.loop.watch.breakers.open = in_hundredths(30);
    options.loop.watch.breakers.probe_retry = in_hundredths(60);
    options.loop.watch.breakers.half_open = in_hundredths(60);
    options.loop.watch.breakers.crash_grace = in_hundredths(1);
    engine_ = engine::Engine::start(options).value();
    observer_ = engine::Observer::open(directory_.path(), {}).value();
    view_ = HealthView::over(observer_->layout(), observer_->table()).value();
    for (const auto& process : processes_) begin(*process);
    // A cluster is filled before the next is opened, in the sector with the fewest agents.
    for (std::uint32_t round = 0; round < kRounds; ++round)
      for (std::uint32_t process = 0; process < kProcessesEach; ++process) {
        const Child& one = *processes_[(round % kSectors) * kProcessesEach + process];
        one.tell(std::to_string(round));
        ASSERT_EQ(one.hear(), "enrolled");
      }
    for (const auto& process : processes_) process->tell("serve");
    ASSERT_TRUE(eventually([&] { return mode() == OperatingMode::full && active() == kAgents; }));
  }

  static constexpr std::uint32_t kDoomed = 0;
  static constexpr std::uint32_t kWounded = 1;

  static std::unique_ptr<Child> child(const Share& share, bool is_doomed) {
    return std::make_unique<Child>([share, is_doomed](const Channel& channel) {
      return share_of_a_sector(channel, share, is_doomed);
    });
  }
  void begin(const Child& process) {
    process.tell(directory_.path());
    ASSERT_EQ(process.hear(), "attached");
  }
  // The processes of the doomed sector, one of whose agents has just been asked.
  void kill_the_doomed() {
    std::vector<pollfd> channels;
    for (std::uint32_t process = 0; process < kProcessesEach; ++process)
      channels.push_back({processes_[process]->fd(), POLLIN, 0});
    ASSERT_GT(::poll(channels.data(), channels.size(), 60'000), 0) << "nobody there was asked";
    for (std::uint32_t process = 0; process < kProcessesEach; ++process)
      ::kill(processes_[process]->process(), SIGKILL);
    for (std::uint32_t process = 0; process < kProcessesEach; ++process) processes_[process]->end();
  }

  [[nodiscard]] std::optional<OperatingMode> mode() const {
    const auto seen = view_->mesh();
    return seen ? seen->mode : std::nullopt;
  }
  [[nodiscard]] std::uint64_t active() const {
    const auto seen = view_->mesh();
    return seen ? seen->summary.active : 0;
  }
  [[nodiscard]] BreakerState breaker(std::size_t place) const {
    const auto seen = view_->breaker(place);
    return seen ? coordination::BreakerView::state_of(seen->word) : BreakerState::forced_open;
  }
  // Of its clusters and itself.
  [[nodiscard]] std::uint32_t breakers_of(std::uint32_t sector, BreakerState state) const {
    std::uint32_t count = breaker(view_->place_of_sector(sector)) == state ? 1U : 0U;
    for (std::uint32_t i = 0; i < kClustersEach; ++i)
      count += breaker(view_->place_of_cluster(sector * kClustersEach + i)) == state ? 1U : 0U;
    return count;
  }
  // Clusters whose lead is there, and one more if the sector's coordinator is.
  [[nodiscard]] std::uint32_t leaders_of(std::uint32_t sector) const {
    const auto is_there = [&](std::uint32_t row) {
      if (row == engine::health::kNobody) return false;
      const auto agent = observer_->agent(AgentIndex{row});
      return agent && agent->state == engine::AgentState::active;
    };
    const auto seen = view_->sector(sector);
    std::uint32_t count = seen && is_there(seen->coordinator) ? 1U : 0U;
    for (std::uint32_t i = 0; i < kClustersEach; ++i) {
      const auto cluster = view_->cluster(sector * kClustersEach + i);
      count += cluster && is_there(cluster->lead) ? 1U : 0U;
    }
    return count;
  }
  [[nodiscard]] static engine::OperationRequest to_all() {
    return {.window = kForEver / 2, .timeout = kForEver / 2};
  }

  ScratchDirectory directory_;
  std::vector<std::unique_ptr<Child>> processes_;
  std::vector<std::unique_ptr<Child>> spares_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Observer> observer_;
  std::optional<HealthView> view_;
};

TEST_F(SectorLoss, InACascadeOpensWhatPart12SaysAndTheMeshReturnsToFullByItself) {
  ASSERT_EQ(breakers_of(kDoomed, BreakerState::closed), 1 + kClustersEach);

  engine::CascadeRequest wave;
  wave.sector_window = wave.cluster_window = wave.agent_window = Nanos{10 * kNsPerSecond};
  wave.sector_ready_min = 0.5;  // one sector of four is about to go
  Result<engine::CascadeReport> report = fail(Errc::closed, "not begun");
  std::thread cascade([&] { report = engine_->cascade(wave); });
  kill_the_doomed();
  processes_[kWounded * kProcessesEach]->end();  // and a sixth of another sector
  cascade.join();

  // The cascade ends by its rules: the sector that nobody is left in is missed, the others are not.
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  EXPECT_EQ(report->finished.status, engine::CascadeStatus::success) << "as few as it asked for";
  EXPECT_EQ(report->finished.sectors, kSectors);
  EXPECT_EQ(report->finished.sectors_reached, kSectors - 1);
  EXPECT_GE(report->finished.clusters_reached, (kSectors - 2) * kClustersEach);
  ASSERT_FALSE(report->missed.empty());
  EXPECT_TRUE(report->missed.front().is_sector);
  EXPECT_EQ(report->missed.front().index, kDoomed);

  // 850 of 1,200 are active: below 0.80, not below 0.60.
  EXPECT_TRUE(eventually([&] { return mode() == OperatingMode::degraded_moderate; }));
  EXPECT_TRUE(eventually([&] { return active() == kAgents - 300U - 50U; })) << active();
  const auto code_of = [&](sched::Priority priority) {
    engine::OperationRequest request = to_all();
    request.priority = priority;
    const auto came = engine_->scatter(request, false);
    return came ? Errc::ok : came.error().code;
  };
  EXPECT_EQ(code_of(sched::Priority::normal), Errc::priority_too_low);
  EXPECT_EQ(code_of(sched::Priority::high), Errc::ok) << "850 are no more than 1000";

  // Six crashes in each of its clusters, sixty in it: more than 5, more than 50. One crash in each
  // cluster of the other opens nothing, and one sector is not more than ten.
  EXPECT_TRUE(eventually([&] {
    return breakers_of(kDoomed, BreakerState::open) == 1 + kClustersEach;
  })) << breakers_of(kDoomed, BreakerState::open);
  for (std::uint32_t sector = 1; sector < kSectors; ++sector)
    EXPECT_EQ(breakers_of(sector, BreakerState::closed), 1 + kClustersEach) << sector;
  EXPECT_EQ(breaker(0), BreakerState::closed);
  EXPECT_FALSE(view_->is_routable(AgentIndex{0}));

  // Who led there and died is replaced, or nobody leads where nobody is.
  EXPECT_TRUE(eventually([&] { return leaders_of(kWounded) == 1 + kClustersEach; }));
  EXPECT_TRUE(eventually([&] { return leaders_of(kDoomed) == 0; }));

  // They come back: FULL without anybody's doing, and the breakers by the engine's own probes.
  for (const auto& spare : spares_) {
    begin(*spare);
    spare->tell("all");
    ASSERT_EQ(spare->hear(), "enrolled");
    spare->tell("serve");
  }
  EXPECT_TRUE(eventually([&] { return mode() == OperatingMode::full; }));
  EXPECT_TRUE(eventually([&] { return active() == kAgents; })) << active();
  EXPECT_TRUE(eventually([&] {
    return breakers_of(kDoomed, BreakerState::closed) == 1 + kClustersEach;
  })) << breakers_of(kDoomed, BreakerState::closed);
  EXPECT_TRUE(eventually([&] { return leaders_of(kDoomed) == 1 + kClustersEach; }));
  const auto last = engine_->scatter(to_all(), false);
  ASSERT_TRUE(last.has_value()) << last.error().sentence;
  EXPECT_EQ(last->finished.result.counts.ready, kAgents);
}

}  // namespace of_sector_loss_test
}  // namespace mesh::testing
