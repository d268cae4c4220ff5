// Records made durable: group commit beside one commit a record, in one run on one disk.
//
//   file            200 bytes a record into a plain file, an fdatasync a group: the disk's own
//   sqlite, group   Store::append of so many conflict records: chained, indexed, committed, synced
//   cases           the same, of conflicts and their steps as the conflict office writes them
//   postgresql      the same, when MESH_BENCH_POSTGRES names a server (postgresql://...)
//   recorder        one thread offers without a pause, the recorder's thread makes durable; the
//                   same with the store down, into the spill file, and the catch-up afterwards
//   queries         of the records so appended: the newest 100 of a minute, agent, type, state; and
//                   where one agent has all of them: of it, and of each of its types
//
//   engine_store_bench [RECORDS]     200'000 unless given; the folder is made where it is started
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iomanip>
#include <iostream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "engine/store/recorder_thread.hpp"
#include "engine/store/store.hpp"
#include "shm/base/assert.hpp"

namespace mesh::bench {
namespace {

using engine::Record;
using Seconds = std::chrono::duration<double>;

constexpr std::uint64_t kAgents = 30'000;
constexpr std::size_t kRecordBytes = 200;

Record conflict(std::uint64_t number) {
  Record record;
  record.subject = {1'000 + number / 16, number};
  record.type = static_cast<sched::ConflictType>(1 + number % 6);
  record.state = engine::ConflictState::open;
  record.priority = static_cast<std::uint8_t>(number % 5);
  record.at = static_cast<WireTime>(static_cast<std::int64_t>(number) * kNsPerMs);
  record.agent = static_cast<AgentId>(number * 7'919 % kAgents);
  record.message = {9, number};
  record.operation = static_cast<OperationId>(number / 100);
  record.context_hash = number * 0x9E37'79B9'7F4A'7C15U;
  record.expected = std::string(50, 'e');
  record.received = std::string(50, 'r');
  return record;
}
std::vector<Record> conflicts(std::uint64_t first, std::uint64_t count) {
  std::vector<Record> records;
  for (std::uint64_t i = 0; i < count; ++i) records.push_back(conflict(first + i));
  return records;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return Seconds(std::chrono::steady_clock::now() - start).count();
}

void print(const std::string& what, std::uint64_t records, double seconds) {
  std::cout << std::left << std::setw(44) << what << std::right << std::setw(10)
            << static_cast<std::uint64_t>(static_cast<double>(records) / seconds) << " records/s\n";
}

void file_baseline(const std::string& folder, std::uint64_t count, std::uint64_t group) {
  const std::string path = folder + "/plain";
  const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  MESH_ASSERT(fd >= 0);
  const std::vector<char> bytes(kRecordBytes * group, 'x');
  const double took = seconds_of([&] {
    for (std::uint64_t done = 0; done < count; done += group) {
      MESH_ASSERT(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
      MESH_ASSERT(::fdatasync(fd) == 0);
    }
  });
  ::close(fd);
  print("file, fdatasync every " + std::to_string(group), count, took);
}

std::unique_ptr<engine::Store> open(const std::string& where) {
  auto store = engine::open_store({.where = where});
  if (!store) std::cerr << store.error().sentence << "\n";
  MESH_ASSERT(store.has_value());
  return std::move(*store);
}

// Appends records [first, first + count) by groups.
void append(engine::Store& store, const std::string& name, std::uint64_t first,
            std::pair<std::uint64_t, std::uint64_t> count_and_group) {
  const auto [count, group] = count_and_group;
  std::vector<std::vector<Record>> groups;
  for (std::uint64_t at = 0; at < count; at += group)
    groups.push_back(conflicts(first + at, std::min(group, count - at)));
  const double took = seconds_of([&] {
    for (const auto& records : groups) {
      const auto done = store.append(records);
      MESH_ASSERT(done && done->appended == records.size());
    }
  });
  print(name + ", a commit every " + std::to_string(group), count, took);
}

void stores_by_group(const std::string& name, const std::string& where, std::uint64_t records) {
  auto store = open(where);
  std::uint64_t next = 1;
  const std::uint64_t few = std::max<std::uint64_t>(records / 100, 100);
  for (const auto& [group, count] :
       {std::pair{std::uint64_t{1}, few}, {10, 5 * few}, {100, 20 * few}, {1'024, records}}) {
    append(*store, name, next, {count, group});
    next += count;
  }
}

// Conflicts as the office writes them: of few agents, each case in three records of as many groups
// (what was reported, and two steps), a third of a group's records new cases.
void cases(const std::string& where, std::uint64_t count, std::uint64_t group) {
  constexpr std::uint64_t kFewAgents = 100;
  constexpr std::uint64_t kRecordsEach = 3;
  auto store = open(where);
  const std::uint64_t fresh = group / kRecordsEach;
  std::vector<std::vector<Record>> groups;
  for (std::uint64_t at = 0; at < count / group; ++at) {
    std::vector<Record>& records = groups.emplace_back();
    for (std::uint64_t step = 0; step < kRecordsEach && step <= at; ++step) {
      for (std::uint64_t i = 0; i < fresh; ++i) {
        const std::uint64_t number = (at - step) * fresh + i + 1;
        Record one = conflict(number);
        one.subject = {1'000 + number % 2, number / 2};
        one.agent = static_cast<AgentId>(number % kFewAgents);
        one.type = sched::ConflictType::temporal_paradox;
        one.at = static_cast<WireTime>(
            static_cast<std::int64_t>((at * kRecordsEach + step) * fresh + i) * 50'000);
        if (step == 0) one.detail = std::string(150, 'd');
        if (step != 0) {
          one.kind = engine::StoredKind::step;
          one.step = static_cast<std::uint32_t>(step);
          one.state =
              step == 2 ? engine::ConflictState::resolved : engine::ConflictState::resolving;
        }
        records.push_back(std::move(one));
      }
    }
  }
  std::uint64_t appended = 0;
  const double took = seconds_of([&] {
    for (const auto& records : groups) appended += store->append(records)->appended;
  });
  print("cases of 3 records, a commit every " + std::to_string(group), appended, took);
}

void query(engine::Store& store, const char* name, const engine::RecordQuery& its,
           std::uint64_t records) {
  std::vector<double> took_ms;
  std::size_t found = 0;
  for (int i = 0; i < 21; ++i)
    took_ms.push_back(1e3 * seconds_of([&] { found = store.find(its).value().size(); }));
  std::sort(took_ms.begin(), took_ms.end());
  std::cout << std::left << std::setw(44) << (std::string("query ") + name) << std::right
            << std::setw(10) << std::setprecision(3) << took_ms[10] << " ms p50, " << took_ms.back()
            << " max, " << found << " found of " << records << "\n";
}

void queries(engine::Store& store, std::uint64_t records) {
  const auto minute = static_cast<std::int64_t>(records / 2) * kNsPerMs;
  const struct {
    const char* name;
    engine::RecordQuery query;
  } asked[] = {
      {"by time (a minute)",
       {.from = WireTime{minute}, .until = static_cast<WireTime>(minute + 60 * kNsPerSecond)}},
      {"by agent", {.agent = AgentId{777}}},
      {"by type", {.type = sched::ConflictType::temporal_paradox}},
      {"by agent and type", {.agent = AgentId{778}, .type = sched::ConflictType::temporal_paradox}},
      {"by state", {.state_now = engine::ConflictState::open}},
  };
  for (const auto& [name, its] : asked) query(store, name, its, records);
}

// Of one agent that has all of them, but every hundred-thousandth is of another type.
void one_agents_queries(const std::string& where, std::uint64_t records) {
  constexpr std::uint64_t kGroup = 4'096;
  constexpr AgentId kIts{7};
  auto store = open(where);
  const double took = seconds_of([&] {
    for (std::uint64_t done = 0; done < records; done += kGroup) {
      std::vector<Record> group = conflicts(done + 1, std::min(kGroup, records - done));
      for (std::size_t i = 0; i < group.size(); ++i) {
        group[i].agent = kIts;
        group[i].type = (done + i) % 100'000 == 0 ? sched::ConflictType::hash_mismatch
                                                  : sched::ConflictType::data_contradiction;
      }
      MESH_ASSERT(store->append(group).has_value());
    }
  });
  print("of one agent, a commit every " + std::to_string(kGroup), records, took);
  query(*store, "one agent's", {.agent = kIts}, records);
  query(*store, "one agent's, of its usual type",
        {.agent = kIts, .type = sched::ConflictType::data_contradiction}, records);
  query(*store, "one agent's, of a rare type",
        {.agent = kIts, .type = sched::ConflictType::hash_mismatch}, records);
  query(*store, "one agent's, of a type it has none of",
        {.agent = kIts, .type = sched::ConflictType::other}, records);
}

// Time from the first offer until the last record is durable.
double offer_all(engine::Recorder& recorder, std::uint64_t count) {
  std::vector<Record> records = conflicts(1, count);
  engine::RecorderThread thread(recorder);
  thread.start();
  return seconds_of([&] {
    for (Record& record : records) {
      engine::Offered offered{std::move(record), 0};
      while (recorder.offer(offered) != engine::OfferStatus::kTaken) std::this_thread::yield();
    }
    MESH_ASSERT(thread.stop() == 0);
  });
}

void recorders(const std::string& folder, std::uint64_t count) {
  bool is_down = false;
  const auto options = [&](const std::string& name) {
    engine::RecorderOptions made;
    made.open_store = [&is_down, where = folder + "/" + name + ".db"] {
      return is_down ? Result<std::unique_ptr<engine::Store>>(fail(Errc::closed, "down"))
                     : engine::open_store({.where = where});
    };
    made.spill = {.path = folder + "/" + name + ".spill", .size_bytes = 512U << 20};
    return made;
  };
  {
    auto recorder = engine::Recorder::create(options("up")).value();
    print("recorder, store up", count, offer_all(*recorder, count));
    std::cout << "    " << count / recorder->status().groups << " records a commit\n";
  }
  is_down = true;
  auto recorder = engine::Recorder::create(options("down")).value();
  print("recorder, store down: spill file", count, offer_all(*recorder, count));
  is_down = false;
  HostTime now = HostTime::max() - Nanos{kNsPerSecond};  // past every retry
  const double took = seconds_of([&] {
    while (recorder->status().waiting != 0) recorder->turn(now);
  });
  print("recorder, catch-up", count, took);
}

int run(std::uint64_t records) {
  std::string folder = (std::filesystem::current_path() / "store-bench-XXXXXX").string();
  MESH_ASSERT(::mkdtemp(folder.data()) != nullptr);
  std::cout << records << " records of about 250 bytes in " << folder << "\n";
  for (const std::uint64_t group : {std::uint64_t{1}, std::uint64_t{100}, std::uint64_t{1'024}})
    file_baseline(folder, std::max<std::uint64_t>(records * group / 1'024, 100), group);
  stores_by_group("sqlite", folder + "/groups.db", records);
  if (const char* const server = std::getenv("MESH_BENCH_POSTGRES"))
    stores_by_group("postgresql", server, records);
  for (const std::uint64_t group : {std::uint64_t{99}, std::uint64_t{999}, std::uint64_t{3'999}})
    cases(folder + "/cases" + std::to_string(group) + ".db", records, group);
  {
    auto store = open(folder + "/groups.db");
    queries(*store, records);
    const double took = seconds_of([&] { MESH_ASSERT(store->verify({})->whole); });
    print("verify the chain", store->head()->position, took);
  }
  one_agents_queries(folder + "/agent.db", records);
  recorders(folder, records / 2);
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  std::uint64_t records = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200'000;
  if (std::getenv("MESH_BENCH_QUICK") != nullptr || records == 0) records = 5'000;
  return mesh::bench::run(records);
}
