#include "sched/pinning.hpp"

#include <algorithm>
#include <memory>
#include <system_error>

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>

namespace mesh::sched {
namespace {

constexpr int kCpusMax = 65'536;  // the kernel's own limit is 8,192

struct CpuSetDeleter {
  void operator()(cpu_set_t* set) const noexcept { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, CpuSetDeleter>;

int pin(int cpu) {
  const CpuSet set(CPU_ALLOC(static_cast<std::size_t>(cpu) + 1));
  if (!set) return ENOMEM;
  const std::size_t size_bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpu) + 1);
  CPU_ZERO_S(size_bytes, set.get());
  CPU_SET_S(static_cast<std::size_t>(cpu), size_bytes, set.get());
  return sched_setaffinity(0, size_bytes, set.get()) == 0 ? 0 : errno;
}

int set_timer_slack(std::uint64_t slack_ns) {
  return prctl(PR_SET_TIMERSLACK, slack_ns, 0, 0, 0) == 0 ? 0 : errno;
}

int set_fifo(int priority) {
  sched_param parameters{};
  parameters.sched_priority = priority;
  // RESET_ON_FORK: what this thread spawns is not real-time by inheritance.
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) == 0 ? 0 : errno;
}

std::string reason(int error) {
  return std::generic_category().message(error) + " (errno " + std::to_string(error) + ")";
}

RightReport report_on(ThreadRight right, int error, std::string granted, std::string missing) {
  if (error == 0) return {right, true, 0, std::move(granted)};
  return {right, false, error, std::move(missing) + ": " + reason(error)};
}

RightReport report_affinity(int cpu, int error) {
  const std::string name = "cpu " + std::to_string(cpu);
  return report_on(ThreadRight::affinity, error, "pinned to " + name,
                   "not pinned to " + name + ", the kernel may move this thread");
}
RightReport report_slack(std::uint64_t slack_ns, int error) {
  const std::string amount = std::to_string(slack_ns) + " ns";
  return report_on(ThreadRight::timer_slack, error, "timer slack " + amount,
                   "timer slack not set to " + amount + ", timers may fire 50 us late");
}
RightReport report_fifo(int priority, int error) {
  const std::string name = "SCHED_FIFO " + std::to_string(priority);
  return report_on(ThreadRight::fifo, error, name,
                   "no " + name +
                       ", other tasks of the core may delay this thread by milliseconds; "
                       "grant CAP_SYS_NICE or an rtprio limit of at least " +
                       std::to_string(priority));
}

Status check_options(const ThreadOptions& options) {
  const int lowest = sched_get_priority_min(SCHED_FIFO);
  const int highest = sched_get_priority_max(SCHED_FIFO);
  const int priority = options.fifo_priority;
  if (priority != 0 && (priority < lowest || priority > highest)) {
    return fail(Errc::invalid_argument,
                "thread: fifo_priority " + std::to_string(priority) + ", must be 0 or " +
                    std::to_string(lowest) + ".." + std::to_string(highest),
                priority);
  }
  if (!options.cpu) return {};
  MESH_TRY(const std::vector<int> allowed, allowed_cpus());
  if (std::find(allowed.begin(), allowed.end(), *options.cpu) == allowed.end()) {
    return fail(Errc::invalid_argument,
                "thread: cpu " + std::to_string(*options.cpu) +
                    " is not one that it may use, which are " + format_cpus(allowed),
                *options.cpu);
  }
  return {};
}

}  // namespace

std::string_view name_of(ThreadRight right) noexcept {
  switch (right) {
    case ThreadRight::affinity:
      return "affinity";
    case ThreadRight::timer_slack:
      return "timer_slack";
    case ThreadRight::fifo:
      return "fifo";
  }
  return "unknown";
}

bool ThreadReport::complete() const noexcept {
  return std::all_of(rights.begin(), rights.end(),
                     [](const RightReport& right) { return right.granted; });
}

const RightReport* ThreadReport::find(ThreadRight right) const noexcept {
  for (const RightReport& report : rights) {
    if (report.right == right) return &report;
  }
  return nullptr;
}

const ThreadCalls& system_thread_calls() noexcept {
  static constexpr ThreadCalls kCalls{pin, set_timer_slack, set_fifo};
  return kCalls;
}

Result<std::vector<int>> allowed_cpus() {
  // EINVAL: the kernel's mask is longer than ours. How long it is, is nowhere to be read.
  for (int count = CPU_SETSIZE; count <= kCpusMax; count *= 2) {
    const CpuSet set(CPU_ALLOC(static_cast<std::size_t>(count)));
    if (!set) return fail(Errc::no_memory, "thread: no memory for a mask of cpus", count);
    const std::size_t size_bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(count));
    CPU_ZERO_S(size_bytes, set.get());
    if (sched_getaffinity(0, size_bytes, set.get()) == 0) {
      std::vector<int> cpus;
      for (int cpu = 0; cpu < count; ++cpu) {
        if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size_bytes, set.get())) cpus.push_back(cpu);
      }
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  const int error = errno;
  return fail(Errc::system_error, "thread: sched_getaffinity: " + reason(error), error);
}

std::string format_cpus(const std::vector<int>& cpus) {
  std::string text;
  for (std::size_t first = 0; first < cpus.size();) {
    std::size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpus[first]);
    if (last > first) text += '-' + std::to_string(cpus[last]);
    first = last + 1;
  }
  return text;
}

Result<ThreadReport> prepare_thread(const ThreadOptions& options, const ThreadCalls& calls) {
  MESH_CHECK_OK(check_options(options));
  ThreadReport report;
  if (options.cpu) report.rights.push_back(report_affinity(*options.cpu, calls.pin(*options.cpu)));
  if (options.timer_slack_ns != 0) {
    report.rights.push_back(
        report_slack(options.timer_slack_ns, calls.set_timer_slack(options.timer_slack_ns)));
  }
  if (options.fifo_priority != 0) {
    report.rights.push_back(
        report_fifo(options.fifo_priority, calls.set_fifo(options.fifo_priority)));
  }
  if (!options.require_all || report.complete()) return report;
  std::string missing;
  int first_error = 0;
  for (const RightReport& right : report.rights) {
    if (right.granted) continue;
    missing += (missing.empty() ? "" : "; ") + right.sentence;
    if (first_error == 0) first_error = right.error;
  }
  return fail(Errc::permission_denied, "thread: all rights are required: " + missing, first_error);
}

}  // namespace mesh::sched
