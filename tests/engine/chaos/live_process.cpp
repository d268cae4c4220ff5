// A process of a live experiment, to be killed and started anew by its command:
//
//     live_process engine DIRECTORY       an engine that allows faults on purpose
//     live_process fresh DIRECTORY        the same, which drops the mesh that is there
//     live_process forbidding DIRECTORY   one that allows nothing
//     live_process worker DIRECTORY BOOKS NAME
//     live_process caller DIRECTORY BOOKS HANDLE,HANDLE,...
//
// A caller asks the agents of those handles in turn, number after number, a few at a time; what is
// refused it asks again. A worker answers each number with it.
#include <cstring>
#include <map>
#include <string>

#include <sched.h>
#include <unistd.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "tests/engine/chaos/live_books.hpp"

namespace mesh::testing {
namespace {

constexpr Nanos kForLong{600 * kNsPerSecond};
constexpr std::int64_t kOverdueNs = 400 * kNsPerMs;
constexpr std::size_t kUnderWayMax = 8;
constexpr Nanos kPace{kNsPerMs};  // between two messages

int engine_process(const std::string& directory, const std::string& how) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = 64, .stations = 8};
  options.reconnect = kForLong;
  options.stuck_after = kForLong;
  options.allow_live_chaos = how != "forbidding";
  options.fresh = how == "fresh";
  auto engine = engine::Engine::start(options);
  if (!engine) return 1;
  while (!(*engine)->wait_for_down(Nanos{kNsPerSecond})) {
  }
  return 0;
}

std::unique_ptr<engine::Station> attached(const std::string& directory, const std::string& name,
                                          AgentId* id) {
  engine::StationOptions options;
  options.name = "of " + name;
  options.engine_patience = kForLong;
  options.connect.patience = kForLong;
  auto station = engine::Station::attach(directory, options);
  if (!station) return nullptr;
  engine::AgentDeclaration agent{name};
  agent.capabilities = {std::string(engine::kChaosAllowed)};
  const auto ids = (*station)->enrol(std::vector{agent});
  if (!ids) return nullptr;
  *id = ids->front();
  return std::move(*station);
}

int worker(const std::string& directory, const std::string& books_path, const std::string& name) {
  const BooksFile books(books_path);
  AgentId id{};
  const auto station = attached(directory, name, &id);
  if (!station) return 1;
  while (!station->is_lost()) {
    station->poll(256, [&](const engine::Delivery& delivery) {
      std::uint64_t number = 0;
      std::memcpy(&number, delivery.body.data(), std::min(sizeof number, delivery.body.size()));
      auto& times = books->handled[number % kBookedMax];
      times.store_relaxed(times.load_relaxed() + 1);  // relaxed: its one writer, a count
      return engine::Answer::ready(delivery.body);
    });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  return 0;
}

class Caller {
 public:
  Caller(LiveBooks& books, engine::Station& station, AgentId id)
      : books_(books), station_(station), id_(id) {}
  void know(std::vector<AgentId> targets) { targets_ = std::move(targets); }

  void turn() {
    if (!station_.is_lost()) {
      station_.poll(256, [this](const engine::Delivery& delivery) {
        hear(delivery);
        return engine::Answer::ready();
      });
      // At a pace: its numbers last for half a minute, however fast the mesh is.
      while (under_way_.size() < kUnderWayMax && next_ < kBookedMax && is_asking() &&
             next_at_ <= station_.now()) {
        next_at_ = std::max(next_at_, station_.now() - kPace) + kPace;
        under_way_[next_] = {station_.now(), {}, false};
        ++next_;
      }
      for (auto& [number, one] : under_way_) {
        if (one.is_sent) continue;
        one.is_sent = ask(number);
        one.given = station_.now();
      }
      station_.flush();
    }
    std::uint64_t overdue = 0;
    std::uint64_t given = 0;
    for (const auto& [number, one] : under_way_) {
      overdue += is_overdue(one.since) ? 1U : 0U;
      given += one.is_sent && is_overdue(one.given) ? 1U : 0U;
    }
    books_.overdue.store_relaxed(overdue);                                      // relaxed: a count
    books_.overdue_given.store_relaxed(given);                                  // relaxed: a count
    books_.sent.store_relaxed(next_ - 1);                                       // relaxed: a count
    books_.answered.store_relaxed(answered_);                                   // relaxed: a count
    books_.answered_twice.store_relaxed(twice_);                                // relaxed: a count
    books_.refused.store_relaxed(refused_);                                     // relaxed: a count
    if (!is_asking() && under_way_.empty()) books_.has_ended.store_relaxed(1);  // relaxed: a flag
  }

 private:
  struct UnderWay {
    HostTime since{};
    HostTime given{};  // when it was sent last
    bool is_sent = false;
  };
  [[nodiscard]] bool is_asking() const { return books_.stop.load_relaxed() == 0; }  // relaxed: soon
  [[nodiscard]] bool is_overdue(HostTime since) {
    return (station_.now() - since).count() > kOverdueNs;
  }
  bool ask(std::uint64_t number) {
    engine::SendOptions to{.source = id_, .target = targets_[number % targets_.size()]};
    to.correlation = {1, number};
    if (station_.send(to, std::as_bytes(std::span(&number, 1))) != engine::SendStatus::sent)
      return false;
    number_at_[position_++] = number;
    return true;
  }
  void hear(const engine::Delivery& delivery) {
    const auto found = under_way_.find(delivery.correlation.low);
    if (delivery.kind == sched::RecordKind::report) {
      ++refused_;
      sched::ReportBody body{};
      std::memcpy(&body, delivery.body.data(), std::min(sizeof body, delivery.body.size()));
      const auto refused = under_way_.find(number_at_[body.outbox_position]);
      if (refused != under_way_.end()) refused->second.is_sent = false;
    } else if (delivery.kind == sched::RecordKind::reply) {
      (found == under_way_.end() ? twice_ : answered_) += 1;
      if (found != under_way_.end()) under_way_.erase(found);
    }
  }

  LiveBooks& books_;
  engine::Station& station_;
  AgentId id_;
  std::vector<AgentId> targets_;
  std::map<std::uint64_t, UnderWay> under_way_;
  std::map<std::uint64_t, std::uint64_t>
      number_at_;  // by place in the outbox: nothing else is sent
  HostTime next_at_{};
  std::uint64_t position_ = 0;
  std::uint64_t next_ = 1, answered_ = 0, twice_ = 0, refused_ = 0;
};

int caller(const std::string& directory, const std::string& books_path,
           const std::string& targets) {
  const BooksFile books(books_path);
  AgentId id{};
  const auto station = attached(directory, "caller", &id);
  if (!station) return 1;
  Caller its(*books.operator->(), *station, id);
  std::vector<AgentId> handles;
  for (std::size_t at = 0; at < targets.size(); at = std::min(targets.size(), at) + 1) {
    const std::size_t end = std::min(targets.find(',', at), targets.size());
    handles.push_back(AgentId{std::stoull(targets.substr(at, end - at))});
    at = end;
  }
  its.know(std::move(handles));
  for (;;) {
    its.turn();
    if (station->is_lost()) {
      ::sched_yield();
    } else {
      (void)station->wait(station->now() + Nanos{kNsPerMs});
    }
  }
}

int run(int argc, char** argv) {
  ::alarm(120);  // whoever forgets it
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2) return engine_process(words[1], words[0]);
  if (words.size() != 4) return 2;
  return words[0] == "worker" ? worker(words[1], words[2], words[3])
                              : caller(words[1], words[2], words[3]);
}

}  // namespace
}  // namespace mesh::testing

int main(int argc, char** argv) { return mesh::testing::run(argc, argv); }
