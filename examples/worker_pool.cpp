// A station whose agents work on a pool of threads: the handler takes the Reply and gives it away
// with the message, and whoever has done the work answers. The pump goes on meanwhile: a message
// that takes an hour holds up nothing.
//
//     example_worker_pool DIR    its agents join the mesh in DIR until that mesh goes down
//     example_worker_pool        shows itself: starts an engine, asks all agents once, and ends
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"

using namespace mesh::engine;

constexpr std::uint32_t kAgents = 60;

struct Work {
  unsigned long limit;
  Reply reply;  // movable, good on any thread; dropped unanswered it declines the message
};

class Pool {
 public:
  explicit Pool(unsigned threads) {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void push(Work job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      Work job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      const std::string primes = std::to_string(count_primes(job.limit));
      job.reply.answer(Answer::ready(std::as_bytes(std::span(primes))));  // wakes the pump
    }
  }
  static unsigned long count_primes(unsigned long limit) {
    unsigned long primes = 0;
    for (unsigned long n = 2; n < limit; ++n) {
      bool is_prime = true;
      for (unsigned long by = 2; is_prime && by * by <= n; ++by) is_prime = n % by != 0;
      primes += is_prime ? 1 : 0;
    }
    return primes;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

int serve(const std::string& directory) {
  StationOptions options;
  options.name = "primes";
  options.agents = kAgents;
  options.connect.patience = mesh::Nanos{10 * mesh::kNsPerSecond};  // the engine may come after us
  auto station = Station::attach(directory, options);
  if (!station) {
    std::fprintf(stderr, "%s\n", station.error().sentence.c_str());
    return 1;
  }
  std::vector<AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kAgents; ++i) agents.push_back({"prime-" + std::to_string(i)});
  if (!(*station)->enrol(agents)) return 1;
  Pool pool(4);  // goes before the station: what waits in it is answered, or declined
  while (!(*station)->is_lost()) {
    (*station)->poll(64, [&](const Delivery& delivery, Reply reply) {
      const unsigned long limit = std::strtoul(std::string(delivery.text()).c_str(), nullptr, 10);
      if (limit == 0) {  // no number: it arrived, and cannot be integrated
        return reply.answer(Answer::in_conflict(mesh::sched::ConflictType::other, {}));
      }
      pool.push({limit, std::move(reply)});
    });
    (*station)->wait((*station)->now() + mesh::Nanos{mesh::kNsPerSecond});
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1) return serve(argv[1]);
  char folder[] = "/dev/shm/mesh_worker_pool_XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string directory = std::string(folder) + "/mesh";
  const pid_t child = fork();  // before the engine: a child inherits no thread and no lock of it
  if (child == 0) _exit(serve(directory));
  bool done = false;
  {
    EngineOptions options;
    options.directory = directory;
    options.size = {.agents = kAgents, .stations = 2, .agents_per_station = kAgents};
    const auto engine = Engine::start(options).value();
    while (engine->status()->agents_active != kAgents) std::this_thread::yield();
    const std::string text = "20000";
    OperationRequest request;
    request.horizon = mesh::Nanos{500 * mesh::kNsPerMs};
    request.window = mesh::Nanos{30 * mesh::kNsPerSecond};
    request.timeout = mesh::Nanos{60 * mesh::kNsPerSecond};
    request.body = std::as_bytes(std::span(text));
    const auto report = engine->scatter(request, false);
    if (report) std::printf("%s\n", mesh::sched::sentence_of(report->finished.result).c_str());
    done = report.has_value();
  }  // the engine goes; the child sees it and ends
  int status = 0;
  waitpid(child, &status, 0);
  std::filesystem::remove_all(folder);
  return done && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
