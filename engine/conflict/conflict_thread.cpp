#include "engine/conflict/conflict_thread.hpp"

#include <utility>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace mesh::engine {
namespace {

constexpr int kNiceness = 5;

// Records can wait, buckets cannot: where both want a processor, the loop has it. A right that is
// missing changes nothing else.
void give_way() noexcept {
  const sched_param none{};
  static_cast<void>(::sched_setscheduler(0, SCHED_BATCH, &none));
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNiceness));
}

constexpr Nanos kNap{kNsPerMs};
constexpr Nanos kLongNap{5 * kNsPerMs};
constexpr unsigned kNapsUntilLong = 200;

}  // namespace

void ConflictThread::start() {
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

std::uint64_t ConflictThread::stop() {
  if (!thread_.joinable()) return 0;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  calls_.clear();
  return office_->finish(clock_());
}

void ConflictThread::post(std::unique_ptr<OfficeCall> call) {
  {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  wake_.notify_one();
}

bool ConflictThread::run_calls() {
  std::deque<std::unique_ptr<OfficeCall>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (const auto& call : calls) call->run(*office_, clock_());
  return !calls.empty();
}

bool ConflictThread::nap(Nanos length) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, length, [this] { return stopping_ || !calls_.empty(); });
  return stopping_;
}

void ConflictThread::run() {
  give_way();
  unsigned naps = 0;
  for (;;) {
    // The store is opened by the first turn: no call meets an office that has not looked for it.
    bool worked = office_->turn(clock_());
    worked |= run_calls();
    naps = worked ? 0 : naps + 1;
    if (nap(worked ? Nanos{0} : naps > kNapsUntilLong ? kLongNap : kNap)) return;
  }
}

}  // namespace mesh::engine
