#include "engine/chaos/process_guard.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <new>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/chaos/guard_process.hpp"
#include "shm/descriptor_passing.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kStatBytes = 1'024;
constexpr int kFieldsBefore = 19;  // of /proc/PID/stat, between its name and its start

}  // namespace

struct ProcessGuard::Asked : guard::Request {};
struct ProcessGuard::Answer : guard::Reply {};

// The name stands in parentheses and may hold any byte: what follows its last one is numbers.
Result<std::uint64_t> process_start(pid_t process) {
  const std::string path = "/proc/" + std::to_string(process) + "/stat";
  const shm::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, kStatBytes> bytes{};
  const ssize_t size = file ? ::read(file.get(), bytes.data(), bytes.size()) : -1;
  if (size <= 0)
    return fail(Errc::not_found, "process " + std::to_string(process) + ": it is not there");
  std::string_view text(bytes.data(), static_cast<std::size_t>(size));
  text.remove_prefix(std::min(text.size(), text.rfind(')') + 1));
  for (int field = 0; field <= kFieldsBefore; ++field) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) break;
    text.remove_prefix(space + 1);
  }
  std::uint64_t started = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), started);
  if (parsed.ec == std::errc{}) return started;
  return fail(Errc::corrupt, path + ": it has no start");
}

ProcessGuard::ProcessGuard(pid_t guard, shm::Descriptor socket)
    : guard_(guard), socket_(std::move(socket)) {}
ProcessGuard::ProcessGuard(ProcessGuard&& other) noexcept
    : guard_(std::exchange(other.guard_, 0)),
      socket_(std::move(other.socket_)),
      processes_(std::move(other.processes_)) {}

Result<ProcessGuard> ProcessGuard::start() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return shm::system_failure("process guard: socketpair", errno);
  shm::Descriptor ours(ends[0]);
  const shm::Descriptor theirs(ends[1]);
  // Before fork: the guard allocates nothing.
  void* const shared = ::mmap(nullptr, sizeof(guard::Processes), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return shm::system_failure("process guard: mmap", errno);
  const shm::Descriptor us(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!us) return shm::system_failure("process guard: pidfd_open", errno);
  const pid_t guard = ::fork();
  if (guard == 0) guard::run_guard(theirs.get(), us.get(), *new (shared) guard::Processes);
  const int failed = errno;
  ::munmap(shared, sizeof(guard::Processes));
  if (guard < 0) return shm::system_failure("process guard: fork", failed);
  return ProcessGuard(guard, std::move(ours));
}

ProcessGuard::~ProcessGuard() {
  if (guard_ == 0) return;
  // It lets go of everything, and ends. To see the socket close is not enough: another child of
  // this process may have it open.
  guard::Request end;
  end.verb = guard::Verb::end;
  static_cast<void>(::send(socket_.get(), &end, sizeof end, MSG_NOSIGNAL));
  socket_.close();
  while (::waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// The guard has gone: what it had stopped goes on.
void ProcessGuard::let_go() noexcept {
  for (const shm::Descriptor& process : processes_)
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGCONT, nullptr, 0);
}

Result<ProcessGuard::Answer> ProcessGuard::ask(const Asked& asked, int descriptor) {
  const guard::Request& request = asked;
  const auto bytes = std::as_bytes(std::span(&request, 1));
  const std::array<int, 1> carried{descriptor};
  const Status sent =
      shm::send_descriptors(socket_.get(), bytes, std::span(carried).first(descriptor < 0 ? 0 : 1));
  Answer answer;
  guard::Reply& reply = answer;
  ssize_t size = -1;
  if (sent) {
    do {
      size = ::recv(socket_.get(), &reply, sizeof reply, 0);
    } while (size < 0 && errno == EINTR);
  }
  if (size != static_cast<ssize_t>(sizeof reply)) {
    let_go();
    return fail(Errc::closed, "process guard: its process has gone");
  }
  const auto code = static_cast<Errc>(reply.code);
  if (code != Errc::ok) return fail(code, "process guard: " + std::string(name_of(code)));
  return answer;
}

Result<std::uint32_t> ProcessGuard::add(const GuardedProcess& process) {
  shm::Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.process, 0)));
  const std::string who = "process " + std::to_string(process.process);
  if (!pidfd) return fail(Errc::not_found, who + ": it is not there");
  MESH_TRY(const std::uint64_t started, process_start(process.process));
  // The number was not given to another one meanwhile: the process of the pidfd lives still.
  const bool lives = ::syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0) == 0;
  if (!lives || started != process.started)
    return fail(Errc::not_yours, who + " is not the one that was chosen: it began at " +
                                     std::to_string(started) + ", that at " +
                                     std::to_string(process.started));
  Asked asked;
  asked.verb = guard::Verb::add;
  asked.process = process.process;
  for (const std::string& word : process.command) {
    if (asked.command_bytes + word.size() + 1 >= asked.command.size())
      return fail(Errc::invalid_argument, who + ": its command is too long");
    std::memcpy(asked.command.data() + asked.command_bytes, word.data(), word.size());
    asked.command_bytes += static_cast<std::uint32_t>(word.size()) + 1;
  }
  if (!process.command.empty() && !process.command.front().starts_with('/'))
    return fail(Errc::invalid_argument, who + ": its command is no absolute path");
  MESH_TRY(const Answer answer, ask(asked, pidfd.get()));
  processes_.resize(std::max<std::size_t>(processes_.size(), answer.count + 1));
  processes_[answer.count] = std::move(pidfd);
  return answer.count;
}

Status ProcessGuard::hold(const Hold& hold) {
  const bool is_possible =
      hold.factor_milli == 0 || (hold.factor_milli > 1'000 && hold.factor_milli <= kFactorMax);
  if (!is_possible)
    return fail(Errc::invalid_argument,
                "process guard: a factor of " + std::to_string(hold.factor_milli) + " thousandths");
  Asked asked;
  asked.verb = guard::Verb::hold;
  asked.key = hold.key;
  asked.injection = hold.injection;
  asked.factor_milli = hold.factor_milli;
  asked.at_ns = hold.until.count();
  MESH_TRY([[maybe_unused]] const Answer answer, ask(asked));
  return {};
}

Status ProcessGuard::crash(const Crash& crash) {
  Asked asked;
  asked.verb = guard::Verb::crash;
  asked.key = crash.key;
  asked.injection = crash.injection;
  asked.at_ns = crash.started_at.count();
  asked.is_for_good = crash.is_for_good ? 1 : 0;
  MESH_TRY([[maybe_unused]] const Answer answer, ask(asked));
  return {};
}

Status ProcessGuard::expect(const End& end) {
  Asked asked;
  asked.verb = guard::Verb::expect;
  asked.key = end.key;
  asked.injection = end.injection;
  asked.at_ns = end.until.count();
  asked.away_ns = std::max<std::int64_t>(end.away.count(), 0);
  asked.is_for_good = end.is_for_good ? 1 : 0;
  MESH_TRY([[maybe_unused]] const Answer answer, ask(asked));
  return {};
}

Status ProcessGuard::release(std::uint64_t injection) {
  Asked asked;
  asked.verb = guard::Verb::release;
  asked.injection = injection;
  MESH_TRY([[maybe_unused]] const Answer answer, ask(asked));
  return {};
}

Result<std::uint32_t> ProcessGuard::held(std::uint64_t injection) {
  Asked asked;
  asked.verb = guard::Verb::held;
  asked.injection = injection;
  MESH_TRY(const Answer answer, ask(asked));
  return answer.count;
}

Result<pid_t> ProcessGuard::witness() {
  Asked asked;
  asked.verb = guard::Verb::witness;
  MESH_TRY(const Answer answer, ask(asked));
  return answer.process;
}

Result<ProcessGuard::State> ProcessGuard::state(std::uint32_t key) {
  Asked asked;
  asked.verb = guard::Verb::state;
  asked.key = key;
  MESH_TRY(const Answer answer, ask(asked));
  return State{answer.process, answer.is_running != 0, answer.is_stopped != 0};
}

}  // namespace mesh::engine
