#include "engine/chaos/guard_process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mesh::engine::guard {
namespace {

constexpr std::int64_t kRunNs = 5 * kNsPerMs;  // of a slowed process, at a time
constexpr std::int64_t kLookNs = kNsPerMs;     // whether what was killed has ended
constexpr std::int64_t kEndNs = 10 * kNsPerSecond;
// What is not to end any more may be ending just now.
constexpr std::int64_t kLastMomentNs = kNsPerSecond;
constexpr std::size_t kWordsMax = 64;
constexpr int kSocket = 3;  // the descriptors that it keeps
constexpr int kHarness = 4;
constexpr int kSelf = 5;  // a pidfd

std::int64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * kNsPerSecond + now.tv_nsec;
}

bool signal(const Process& process, int number) noexcept {
  return ::syscall(SYS_pidfd_send_signal, process.pidfd, number, nullptr, 0) == 0;
}
// Also where nobody has waited for it yet.
bool has_ended(const Process& process) noexcept {
  if (process.pidfd < 0) return true;
  pollfd end{process.pidfd, POLLIN, 0};
  return ::poll(&end, 1, 0) == 1;
}

// Whether it is to stand still now; `next_ns` becomes sooner where that changes by itself.
bool is_to_stand(const Process& process, std::int64_t now, std::int64_t& next_ns) noexcept {
  bool stands = false;
  for (const Hold& hold : process.holds) {
    if (!hold.is_used) continue;
    next_ns = std::min(next_ns, hold.until_ns);
    if (hold.factor_milli == 0) {
      stands = true;
      continue;
    }
    const std::int64_t period_ns = kRunNs * hold.factor_milli / 1'000;
    const std::int64_t into_ns = now % period_ns;
    const bool runs = into_ns < kRunNs;
    next_ns = std::min(next_ns, now - into_ns + (runs ? kRunNs : period_ns));
    stands = stands || !runs;
  }
  return stands;
}

void restart(Process& process) noexcept {
  std::array<char*, kWordsMax + 1> words{};
  std::size_t count = 0;
  for (std::uint32_t at = 0; at < process.command_bytes && count < kWordsMax; ++count) {
    words[count] = process.command.data() + at;
    at += static_cast<std::uint32_t>(std::strlen(words[count])) + 1;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGPIPE})
      std::signal(number, SIG_DFL);
    ::setsid();
    const int nothing = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(nothing, fd);
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    ::execv(words[0], words.data());
    ::_exit(127);  // tidy: allow(abort) the child of a fork whose execv failed
  }
  if (process.pidfd >= 0) ::close(process.pidfd);
  process.process = child;
  process.pidfd = child < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  process.is_stopped = false;
}

// Whether one that is to end by itself has, or will not any more: it is dead then as if it had been
// killed, or lives on.
std::int64_t await_end(Process& process, std::int64_t now) noexcept {
  const bool is_over = process.start_ns <= now;
  if (has_ended(process)) {
    if (process.away_ns != 0) process.start_ns = std::min(process.start_ns, now + process.away_ns);
    process.is_expected = false;
  } else if (is_over) {
    process.crash = 0;  // first, as above: without it nothing else is looked at
    process.is_expected = false;
  }
  return process.is_expected ? std::min(process.start_ns, now + kLookNs) : INT64_MAX;
}

// Brings a process to where it is to be; when it is to be looked at next.
std::int64_t keep(Process& process, std::int64_t now) noexcept {
  std::int64_t next_ns = process.is_expected ? await_end(process, now) : INT64_MAX;
  for (Hold& hold : process.holds) {
    if (hold.is_used && hold.until_ns <= now) hold = {};
  }
  if (process.crash != 0 && !process.is_expected) {
    if (process.start_ns > now) return process.start_ns;
    if (!has_ended(process)) return now + kLookNs;  // its memory is being torn down
    process.is_stopped = false;
    if (!process.stays_dead) restart(process);
    process.crash = 0;  // afterwards: who goes on with this does it again rather than not at all
  }
  const bool stands = is_to_stand(process, now, next_ns);
  if (stands && !process.is_stopped) {
    process.is_stopped = true;  // first: the witness lets go of whom it finds so
    if (!signal(process, SIGSTOP)) process.is_stopped = false;
  } else if (!stands && process.is_stopped && signal(process, SIGCONT)) {
    process.is_stopped = false;
  }
  return next_ns;
}

void release(Process& process, std::uint64_t injection, bool all) noexcept {
  for (Hold& hold : process.holds) {
    if (hold.is_used && (all || hold.injection == injection)) hold = {};
  }
  const bool is_its = process.crash != 0 && (all || process.crash == injection);
  if (!is_its) return;
  process.away_ns = 1;  // if it ends after all it is started at once
  process.start_ns = process.is_expected ? std::min(process.start_ns, now_ns() + kLastMomentNs) : 0;
}

Errc add(Processes& processes, const Request& request, int pidfd, std::uint32_t& key) noexcept {
  if (pidfd < 0) return Errc::invalid_argument;
  const auto free = std::find_if(processes.begin(), processes.end(),
                                 [](const Process& one) { return !one.is_used; });
  if (free == processes.end()) {
    ::close(pidfd);
    return Errc::capacity;
  }
  *free = {};
  free->pidfd = pidfd;
  free->process = request.process;
  free->command = request.command;
  free->command_bytes = request.command_bytes;
  // A system call: what stands above is written before what stands below, for who finds it here
  // after our death.
  static_cast<void>(signal(*free, 0));
  free->is_used = true;
  key = static_cast<std::uint32_t>(free - processes.begin());
  return Errc::ok;
}

Errc hold(Process& process, const Request& request) noexcept {
  const bool is_dead = process.crash != 0 && !process.is_expected;
  if (is_dead || has_ended(process)) return Errc::not_found;
  for (Hold& hold : process.holds) {
    const bool is_this = hold.is_used && hold.injection == request.injection;
    if (!is_this) continue;
    hold.until_ns = request.at_ns;
    hold.factor_milli = request.factor_milli;
    return Errc::ok;
  }
  for (Hold& hold : process.holds) {
    if (hold.is_used) continue;
    hold = {request.injection, request.at_ns, request.factor_milli, true};
    return Errc::ok;
  }
  return Errc::capacity;
}

Errc crash(Process& process, const Request& request) noexcept {
  const bool is_for_good = request.is_for_good != 0;
  if (process.command_bytes == 0 && !is_for_good) return Errc::unsupported;
  if (process.crash == request.injection) return Errc::ok;
  const bool is_there = process.crash == 0 && !has_ended(process);
  if (!is_there || !signal(process, SIGKILL)) return Errc::not_found;
  process.crash = request.injection;
  process.start_ns = request.at_ns;
  process.stays_dead = is_for_good;
  return Errc::ok;
}

Errc expect(Process& process, const Request& request) noexcept {
  const bool is_for_good = request.is_for_good != 0;
  if (process.command_bytes == 0 && !is_for_good) return Errc::unsupported;
  if (process.crash == request.injection) return Errc::ok;
  if (process.crash != 0 || has_ended(process)) return Errc::not_found;
  process.start_ns = request.at_ns;
  process.away_ns = request.away_ns;
  process.stays_dead = is_for_good;
  process.is_expected = true;
  process.crash = request.injection;
  return Errc::ok;
}

std::uint32_t held(const Processes& processes, std::uint64_t injection) noexcept {
  std::uint32_t count = 0;
  for (const Process& one : processes) {
    const bool is_held = std::any_of(one.holds.begin(), one.holds.end(), [&](const Hold& hold) {
      return hold.is_used && hold.injection == injection;
    });
    count += one.is_used && (is_held || one.crash == injection) ? 1U : 0U;
  }
  return count;
}

Reply answer(Processes& processes, const Request& request, int pidfd) noexcept {
  Reply reply;
  Errc code = Errc::ok;
  const bool is_key = request.key < processes.size() && processes[request.key].is_used;
  Process& process = processes[is_key ? request.key : 0];
  switch (request.verb) {
    case Verb::add:
      code = add(processes, request, pidfd, reply.count);
      break;
    case Verb::hold:
      code = is_key ? hold(process, request) : Errc::not_found;
      break;
    case Verb::crash:
      code = is_key ? crash(process, request) : Errc::not_found;
      break;
    case Verb::expect:
      code = is_key ? expect(process, request) : Errc::not_found;
      break;
    case Verb::release:
      for (Process& one : processes) release(one, request.injection, false);
      break;
    case Verb::held:
      reply.count = held(processes, request.injection);
      break;
    case Verb::witness:
    case Verb::end:
      break;
    case Verb::state:
      if (!is_key) code = Errc::not_found;
      reply.process = process.process;
      reply.is_running = (process.crash == 0 || process.is_expected) && !has_ended(process) ? 1 : 0;
      reply.is_stopped = process.is_stopped ? 1 : 0;
      break;
  }
  reply.code = static_cast<std::int32_t>(code);
  return reply;
}

// False: the other side has gone.
bool read(int socket, Request& request, int& pidfd) noexcept {
  iovec part{&request, sizeof request};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(sizeof request)) return false;
  const cmsghdr* const carried = CMSG_FIRSTHDR(&message);
  if (carried != nullptr && carried->cmsg_type == SCM_RIGHTS)
    std::memcpy(&pidfd, CMSG_DATA(carried), sizeof pidfd);
  request.command.back() = '\0';
  request.command_bytes = std::min<std::uint32_t>(
      request.command_bytes, static_cast<std::uint32_t>(request.command.size()));
  return true;
}

std::int64_t keep_all(Processes& processes) noexcept {
  std::int64_t next_ns = INT64_MAX;
  const std::int64_t now = now_ns();
  for (Process& process : processes) {
    if (process.is_used) next_ns = std::min(next_ns, keep(process, now));
  }
  return next_ns;
}

// What was stopped goes on, what was killed is started once it has ended. What is to end by itself
// may do so as long as nobody takes its fault away: nobody is left who could, where `waits`.
void let_go_of_all(Processes& processes, bool waits) noexcept {
  std::int64_t until_ns = now_ns();
  for (Process& process : processes) {
    const std::int64_t expected_ns = process.is_used && process.is_expected ? process.start_ns : 0;
    release(process, 0, true);
    if (!waits || expected_ns == 0) continue;
    process.start_ns = expected_ns;
    until_ns = std::max(until_ns, expected_ns);
  }
  until_ns += kEndNs;
  for (;;) {
    keep_all(processes);
    const bool is_done = std::none_of(processes.begin(), processes.end(), [](const Process& one) {
      return one.is_used && one.crash != 0;
    });
    if (is_done || now_ns() > until_ns) return;
    const timespec patience{0, kLookNs};
    ::nanosleep(&patience, nullptr);
  }
}

// Nothing of the parent's stays open: whoever waits for the other end of it to close must see that.
void prepare(int socket, int harness) noexcept {
  ::setsid();
  ::prctl(PR_SET_NAME, "mesh-guard");
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) std::signal(number, SIG_IGN);
  // Away from the places first.
  const int kept_socket = ::fcntl(socket, F_DUPFD, kSelf + 1);
  const int kept_harness = ::fcntl(harness, F_DUPFD, kSelf + 1);
  ::dup2(kept_socket, kSocket);
  ::dup2(kept_harness, kHarness);
  ::dup2(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)), kSelf);
  ::syscall(SYS_close_range, static_cast<unsigned>(kSelf + 1), ~0U, 0U);
}

// The guard has ended, in order or not: what is left to do is done.
[[noreturn]] void run_witness(Processes& processes) noexcept {
  ::prctl(PR_SET_NAME, "mesh-witness");
  pollfd guard{kSelf, POLLIN, 0};
  while (::poll(&guard, 1, -1) <= 0) {
  }
  ::shutdown(kSocket, SHUT_RDWR);  // whoever asks learns now that nobody answers
  let_go_of_all(processes, true);
  ::_exit(0);  // tidy: allow(abort) the end of a child that runs no destructors
}

struct Witness {
  pid_t process = 0;
  int pidfd = -1;
};
// It has our descriptors, also those that come later: pidfds mean the same to both.
void start_witness(Witness& witness, Processes& processes) noexcept {
  if (witness.pidfd >= 0) ::close(witness.pidfd);
  witness.process = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (witness.process == 0) run_witness(processes);
  witness.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, witness.process, 0));
}

}  // namespace

void run_guard(int socket, int harness, Processes& processes) noexcept {
  prepare(socket, harness);
  Witness witness;
  start_witness(witness, processes);
  bool goes_on = true;
  bool has_gone = false;
  while (goes_on) {
    const std::int64_t next_ns = keep_all(processes);
    const std::int64_t wait_ns =
        next_ns == INT64_MAX ? kNsPerSecond : std::max<std::int64_t>(next_ns - now_ns(), 0);
    std::array<pollfd, 3> look{
        {{kSocket, POLLIN, 0}, {kHarness, POLLIN, 0}, {witness.pidfd, POLLIN, 0}}};
    const timespec patience{wait_ns / kNsPerSecond, wait_ns % kNsPerSecond};
    if (::ppoll(look.data(), look.size(), &patience, nullptr) <= 0) continue;
    if (look[2].revents != 0) start_witness(witness, processes);
    if (look[0].revents == 0 && look[1].revents == 0) continue;
    Request request;
    int pidfd = -1;
    has_gone = look[1].revents != 0 || !read(kSocket, request, pidfd);
    if (has_gone) break;
    Reply reply = answer(processes, request, pidfd);
    if (request.verb == Verb::witness) reply.process = witness.process;
    keep_all(processes);  // done before it is said to be
    goes_on = request.verb != Verb::end && ::send(kSocket, &reply, sizeof reply, MSG_NOSIGNAL) ==
                                               static_cast<ssize_t>(sizeof reply);
  }
  let_go_of_all(processes, has_gone);
  ::_exit(0);  // tidy: allow(abort) the end of the guard, a fork that runs no destructors
}

}  // namespace mesh::engine::guard
