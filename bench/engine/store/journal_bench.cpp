// A durable queue: enqueue, claim and complete of each task through JournaledService, by the
// journal in memory and by the one in a file, for bursts of so many tasks: what group commit gives.
// Beside them, on the same disk: the same bytes into a plain file, an fdatasync a burst.
//
//   engine_journal_bench [TASKS]     of the widest burst; the folder is made where it is started
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "engine/coordination/blocks/memory_journal.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/journaled_service.hpp"
#include "engine/store/sqlite_journal.hpp"
#include "shm/base/assert.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;
using Journaled = JournaledService<ExactlyOnceQueue>;

ExactlyOnceQueueConfig config() {
  ExactlyOnceQueueConfig config;
  config.capacity = 4'096;
  config.dedup_capacity = 8'192;
  config.dedup_window_ns = Nanos{1'000'000};  // a task a microsecond of the bench's own clock
  config.expected_rate_per_s = 0;
  config.store_bytes = 4U << 20;
  config.claim_burst_max = 1'024;
  return config;
}

class Client {
 public:
  explicit Client(Journal& journal) : queue_(Journaled::open(config(), journal).value()) {}

  // So many tasks, from enqueueing to completion: three bursts, three syncs.
  void round(std::uint64_t tasks) {
    std::vector<Journaled::Request> burst;
    for (std::uint64_t i = 0; i < tasks; ++i) {
      once::Enqueue task;
      task.id = "task-" + std::to_string(++made_);
      task.payload.resize(100);
      burst.push_back({next(), std::move(task)});
    }
    send(burst);
    const once::Claim claim{"worker", 1, static_cast<std::uint32_t>(tasks), false};
    const auto claimed = queue_.execute({next(), claim}, now()).value();
    MESH_ASSERT(claimed.tasks.size() == tasks);
    burst.clear();
    for (const auto& one : claimed.tasks) {
      burst.push_back({next(), once::Complete{one.id, one.fence, {}}});
    }
    send(burst);
  }
  void checkpoint() { MESH_ASSERT(queue_.checkpoint().has_value()); }

 private:
  CommandSource next() { return {1, ++sequence_}; }
  Nanos now() { return Nanos{static_cast<std::int64_t>(made_) * 1'000}; }
  void send(const std::vector<Journaled::Request>& burst) {
    const auto replies = queue_.execute(burst, now());
    MESH_ASSERT(replies.has_value());
    for (const auto& reply : *replies) MESH_ASSERT(reply.code == Errc::ok);
  }

  Journaled queue_;
  std::uint64_t made_ = 0;
  std::uint64_t sequence_ = 0;
};

template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
void print(const char* what, std::uint64_t burst, double tasks_a_second) {
  std::printf("%-34s burst %5llu %12.0f tasks/s\n", what, static_cast<unsigned long long>(burst),
              tasks_a_second);
}

double tasks_a_second(Journal& journal, std::uint64_t burst, std::uint64_t tasks) {
  Client client(journal);
  client.round(burst);
  const double took = seconds_of([&] {
    for (std::uint64_t done = 0; done < tasks; done += burst) {
      client.round(burst);
      if (done / 20'000 != (done + burst) / 20'000) client.checkpoint();  // or memory would fill
    }
  });
  return static_cast<double>(tasks) / took;
}

// Three writes and syncs a burst, of about the bytes that the journal's records have.
double plain_file(const std::string& path, std::uint64_t burst, std::uint64_t tasks) {
  const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  MESH_ASSERT(fd >= 0);
  const std::vector<char> bytes(150 * burst, 'x');
  const double took = seconds_of([&] {
    for (std::uint64_t done = 0; done < tasks; done += burst) {
      for (int i = 0; i < 3; ++i) {
        MESH_ASSERT(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        MESH_ASSERT(::fdatasync(fd) == 0);
      }
    }
  });
  ::close(fd);
  return static_cast<double>(tasks) / took;
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  const std::uint64_t most =
      argc > 1 ? std::strtoull(argv[1], nullptr, 10) : (is_quick ? 20'000U : 200'000U);
  std::string folder = "journal_bench_XXXXXX";
  MESH_ASSERT(::mkdtemp(folder.data()) != nullptr);
  for (const std::uint64_t burst : {1U, 16U, 256U, 1'024U}) {
    const std::uint64_t tasks = std::max<std::uint64_t>(burst, most * burst / 1'024);
    MemoryJournal memory;
    print("journal in memory", burst, tasks_a_second(memory, burst, most));
    const std::string where = folder + "/journal" + std::to_string(burst);
    const auto file = engine::SqliteJournal::open({.where = where, .service = "queue"}).value();
    print("journal in a file", burst, tasks_a_second(*file, burst, tasks));
    print("plain file, fdatasync a burst", burst, plain_file(folder + "/plain", burst, tasks));
  }
  std::filesystem::remove_all(folder);
  return 0;
}
