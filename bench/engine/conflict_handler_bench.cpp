// ConflictHandler: a report and what resolves it, before any journal, beside a list behind a mutex
// that keeps the same facts and hashes nothing.
#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/conflict/conflict_handler.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

struct PlainConflict {
  std::string subject;
  std::vector<Participant> participants;
  std::uint32_t winner = kNobody;
};
struct PlainHandler {
  std::uint64_t report(const conflict::Report& order) {
    const std::lock_guard guard(mutex);
    conflicts.emplace(++last_id, PlainConflict{order.subject, order.participants, kNobody});
    return last_id;
  }
  std::uint32_t resolve(std::uint64_t id) {
    const std::lock_guard guard(mutex);
    auto& its = conflicts.at(id);
    its.winner =
        std::max_element(its.participants.begin(), its.participants.end(),
                         [](const auto& a, const auto& b) { return a.priority < b.priority; })
            ->agent;
    const std::uint32_t winner = its.winner;
    conflicts.erase(id);
    return winner;
  }
  std::mutex mutex;
  std::map<std::uint64_t, PlainConflict> conflicts;
  std::uint64_t last_id = 0;
};

}  // namespace

int main() {
  coordination::bench::print_head();
  conflict::Report report;
  report.kind = ConflictKind::resource;
  report.subject = "shared-file";
  report.participants = {{.agent = 1, .priority = 10, .timestamp = 1},
                         {.agent = 2, .priority = 5, .timestamp = 2}};
  ConflictHandler handler(ConflictConfig::preset("standard").value());
  PlainHandler plain;
  // Told in pairs, so that the table neither fills nor empties: a report alone is what is left of a
  // pair without its second half.
  const ConflictCommand reported = report;
  const auto pair = coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const std::uint64_t id = handler.apply(reported, now).conflict;
    if (id == 0) std::abort();  // it would be timed as work
    const auto ended = handler.apply(conflict::AutoResolve{id, {}}, now);
    handler.apply(conflict::Logged{handler.chain().position}, now);
    return ended.resolution.winner;
  });
  const auto plain_pair = coordination::bench::measure(
      [&](std::uint64_t) { return plain.resolve(plain.report(report)); });
  coordination::bench::print_row("ConflictHandler/report+resolve+logged", 102'000, pair,
                                 plain_pair);
  // Reports alone: of another pair of agents each time, dropped with the whole handler.
  std::uint64_t left = 0;
  ConflictConfig config;
  config.conflicts_max = 65'536;
  config.participants_max = 2;
  config.unlogged_max = 65'536;
  ConflictHandler fresh(config);
  ConflictCommand one = report;
  auto& told = std::get<conflict::Report>(one);
  const auto reports = coordination::bench::measure([&](std::uint64_t i) {
    if (left == 0) {
      fresh = ConflictHandler(config);
      left = 65'536;
    }
    --left;
    told.participants[0].agent = static_cast<std::uint32_t>(left % 32'768);
    told.participants[1].agent =
        static_cast<std::uint32_t>((left % 32'768 + 1 + left / 32'768) % 32'768);
    const auto reply = fresh.apply(one, Nanos{static_cast<std::int64_t>(i)});
    if (reply.code != Errc::ok) std::abort();
    return reply.conflict;
  });
  PlainHandler list;
  const auto plain_reports =
      coordination::bench::measure([&](std::uint64_t) { return list.report(report); });
  coordination::bench::print_row("ConflictHandler/report", 2'000, reports, plain_reports);
  return 0;
}
