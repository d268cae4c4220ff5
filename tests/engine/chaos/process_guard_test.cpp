// The guard of processes: whom it hits, what it does to them, and that it lets go, whoever dies.
#include "engine/chaos/process_guard.hpp"

#include <atomic>

#include <fcntl.h>
#include <sys/file.h>

#include "tests/engine/chaos/live_kit.hpp"
#include "tests/engine/test_table.hpp"

namespace mesh::testing {
namespace of_process_guard_test {

using engine::GuardedProcess;
using engine::ProcessGuard;

// Does nothing but run.
int spin(const Channel&) {
  for (std::atomic<bool> ends{false}; !ends.load(std::memory_order_relaxed);) {
  }
  return 0;
}
// Does nothing, and lives.
int idle(const Channel& channel) {
  (void)channel.hear();
  return 0;
}
GuardedProcess chosen(const Child& child, std::vector<std::string> command = {}) {
  return {child.process(), engine::process_start(child.process()).value(), std::move(command)};
}
ProcessGuard::Hold stopped(std::uint64_t injection, std::uint32_t key,
                           std::int64_t for_ms = 600'000) {
  return {injection, key, 0, Nanos{monotonic_ns() + for_ms * kNsPerMs}};
}

TEST(ProcessGuard, RefusesAProcessThatIsNotTheOneThatWasChosen) {
  const Child child(idle);
  auto guard = ProcessGuard::start().value();
  GuardedProcess process = chosen(child);
  ++process.started;  // the number was given to another one
  const auto added = guard.add(process);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Errc::not_yours);
}

TEST(ProcessGuard, RefusesOneThatHasEndedAndACommandThatIsNoPath) {
  auto guard = ProcessGuard::start().value();
  GuardedProcess gone;
  {
    const Child child(idle);
    gone = chosen(child);
  }
  EXPECT_EQ(guard.add(gone).error().code, Errc::not_found);
  const Child child(idle);
  EXPECT_EQ(guard.add(chosen(child, {"sleep", "60"})).error().code, Errc::invalid_argument);
  EXPECT_EQ(guard.add(chosen(child, {"/bin/" + std::string(3'000, 'x')})).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(guard.hold(stopped(1, 7)).error().code, Errc::not_found);
  EXPECT_EQ(guard.state(7).error().code, Errc::not_found);
}

TEST(ProcessGuard, KnowsAProcessByItsPidfdWhateverGetsItsNumber) {
  auto guard = ProcessGuard::start().value();
  std::uint32_t key = 0;
  {
    const Child child(idle);
    key = guard.add(chosen(child)).value();
  }
  EXPECT_EQ(guard.hold(stopped(1, key)).error().code, Errc::not_found);
  EXPECT_FALSE(guard.state(key)->is_running);
}

TEST(ProcessGuard, StopsAProcessAndLetsItGoOnceItIsReleasedHoweverOften) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold(stopped(1, key)));
  ASSERT_TRUE(guard.hold(stopped(1, key))) << "given again";
  EXPECT_TRUE(eventually([&] { return is_stopped(child.process()); }));
  EXPECT_TRUE(guard.state(key)->is_stopped);
  EXPECT_EQ(guard.held(1).value(), 1U);
  ASSERT_TRUE(guard.release(1));
  EXPECT_EQ(guard.held(1).value(), 0U);
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.process()); }));
  EXPECT_TRUE(guard.release(1));
  EXPECT_TRUE(guard.release(99)) << "one that never was";
}

TEST(ProcessGuard, LetsGoAtItsTimeByItself) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold(stopped(1, key, 200)));
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.process()); }));
  EXPECT_TRUE(eventually([&] { return guard.held(1).value() == 0; }));
}

TEST(ProcessGuard, AProcessThatTwoHoldIsFreeWhenBothHaveLetGo) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold(stopped(1, key)));
  ASSERT_TRUE(guard.hold(stopped(2, key)));
  ASSERT_TRUE(guard.release(1));
  EXPECT_TRUE(guard.state(key)->is_stopped);
  ASSERT_TRUE(guard.release(2));
  EXPECT_FALSE(guard.state(key)->is_stopped);
}

TEST(ProcessGuard, RefusesFactorsThatSlowNothing) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  for (const std::uint32_t factor : {1U, 999U, 1'000U, 100'001U}) {
    EXPECT_EQ(guard.hold({1, key, factor, in_seconds(600)}).error().code, Errc::invalid_argument);
  }
}

std::int64_t ran_ns(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/schedstat");
  std::int64_t ns = -1;
  file >> ns;
  return ns;
}

TEST(ProcessGuard, ASlowedProcessRunsItsShareOfTheTime) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold({1, key, 8'000, in_seconds(600)}));  // an eighth
  const std::int64_t start = monotonic_ns();
  const std::int64_t ran = ran_ns(child.process());
  int stops = 0;
  bool was_stopped = false;
  EXPECT_TRUE(eventually([&] {
    const bool stands = is_stopped(child.process());
    stops += stands && !was_stopped ? 1 : 0;
    was_stopped = stands;
    return stops == 12;
  }));
  const auto took = static_cast<double>(monotonic_ns() - start);
  const auto share = static_cast<double>(ran_ns(child.process()) - ran) / took;
  EXPECT_GT(share, 0) << "it goes on";
  EXPECT_LT(share, 0.3);
  ASSERT_TRUE(guard.release(1));
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.process()); }));
}

TEST(ProcessGuard, KillsOnlyWhatCanBeStartedAnewAndStartsItAtItsTime) {
  const Child mortal(idle);
  const Child other(idle);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(mortal, {"/bin/sleep", "600"})).value();
  const std::uint32_t last = guard.add(chosen(other)).value();
  EXPECT_EQ(guard.crash({1, last, in_seconds(600)}).error().code, Errc::unsupported);
  ASSERT_TRUE(guard.crash({2, key, in_seconds(600)}));
  EXPECT_TRUE(eventually([&] { return state_of(mortal.process()) == 'Z'; }));
  EXPECT_EQ(guard.held(2).value(), 1U);
  EXPECT_FALSE(guard.state(key)->is_running);
  EXPECT_EQ(guard.hold(stopped(3, key)).error().code, Errc::not_found) << "it is dead";
  ASSERT_TRUE(guard.release(2));
  const auto after = guard.state(key).value();
  EXPECT_TRUE(after.is_running);
  EXPECT_NE(after.process, mortal.process());
  EXPECT_EQ(guard.held(2).value(), 0U);
  ASSERT_TRUE(guard.crash({4, key, Nanos{monotonic_ns() + 50 * kNsPerMs}}));
  EXPECT_TRUE(eventually([&] { return guard.state(key)->is_running; })) << "by itself";
  EXPECT_NE(guard.state(key)->process, after.process);
  ::kill(guard.state(key)->process, SIGKILL);
}

TEST(ProcessGuard, WhatIsKilledForGoodStaysDeadAndNeedsNoCommand) {
  const Child child(idle);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.crash({1, key, in_seconds(600), true}));
  EXPECT_TRUE(eventually([&] { return state_of(child.process()) == 'Z'; }));
  EXPECT_EQ(guard.held(1).value(), 1U);
  ASSERT_TRUE(guard.release(1));
  EXPECT_TRUE(eventually([&] { return guard.held(1).value() == 0; }));
  EXPECT_FALSE(guard.state(key)->is_running);
  EXPECT_EQ(guard.state(key)->process, child.process());
  EXPECT_EQ(guard.crash({2, key, in_seconds(600), true}).error().code, Errc::not_found);
}

// Ends when it is told to.
ProcessGuard::End expected(std::uint64_t injection, std::uint32_t key,
                           std::int64_t for_ms = 600'000) {
  return {injection, key, Nanos{monotonic_ns() + for_ms * kNsPerMs}, Nanos{20 * kNsPerMs}};
}

TEST(ProcessGuard, StartsAnewWhoEndsByItselfAsItWasToldToExpect) {
  const Child mortal(idle);
  const Child other(idle);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(mortal, {"/bin/sleep", "600"})).value();
  const std::uint32_t last = guard.add(chosen(other)).value();
  EXPECT_EQ(guard.expect(expected(1, last)).error().code, Errc::unsupported) << "no command";
  ASSERT_TRUE(guard.expect(expected(2, key)));
  ASSERT_TRUE(guard.expect(expected(2, key))) << "given again";
  EXPECT_EQ(guard.expect(expected(3, key)).error().code, Errc::not_found) << "it is to die already";
  EXPECT_TRUE(guard.state(key)->is_running);
  EXPECT_EQ(guard.held(2).value(), 1U);
  ASSERT_TRUE(guard.hold(stopped(4, key))) << "alive, it can be stopped";
  ASSERT_TRUE(guard.release(4));
  EXPECT_TRUE(eventually([&] { return !is_stopped(mortal.process()); }));
  ::kill(mortal.process(), SIGKILL);  // as if by itself
  EXPECT_TRUE(eventually([&] { return guard.held(2).value() == 0; }));
  const auto after = guard.state(key).value();
  EXPECT_TRUE(after.is_running);
  EXPECT_NE(after.process, mortal.process());
  ::kill(after.process, SIGKILL);
}

TEST(ProcessGuard, WhoDoesNotEndWithinItsTimeOrIsReleasedIsLeftAlone) {
  const Child child(idle);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child, {"/bin/sleep", "600"})).value();
  ASSERT_TRUE(guard.expect(expected(1, key, 50)));
  EXPECT_TRUE(eventually([&] { return guard.held(1).value() == 0; })) << "its time is over";
  ASSERT_TRUE(guard.expect(expected(2, key)));
  ASSERT_TRUE(guard.release(2));
  EXPECT_TRUE(eventually([&] { return guard.held(2).value() == 0; }));
  EXPECT_EQ(guard.state(key)->process, child.process());
  EXPECT_TRUE(guard.state(key)->is_running);
}

TEST(ProcessGuard, WhoIsToEndByItselfIsStartedAnewAlsoWhenItsHarnessIsKilled) {
  const ScratchDirectory directory;
  const std::string path = directory.file("again");
  const Child mortal(idle);
  {
    const Child harness([&](const Channel& channel) {
      auto guard = ProcessGuard::start().value();
      const auto key = guard.add(chosen(mortal, {"/bin/sh", "-c", "echo again > " + path}));
      channel.tell(key && guard.expect(expected(1, *key)) ? "expects" : "does not");
      return idle(channel);
    });
    ASSERT_EQ(harness.hear(), "expects");
    ::kill(harness.process(), SIGKILL);
  }
  ::kill(mortal.process(), SIGKILL);
  std::string said;
  EXPECT_TRUE(eventually([&] { return static_cast<bool>(std::ifstream(path) >> said); }));
  EXPECT_EQ(said, "again");
}

// Its command finds the lock free that it held: it is run once the process has ended.
TEST(ProcessGuard, StartsAnewOnlyWhatHasEnded) {
  const ScratchDirectory directory;
  const std::string path = directory.file("lock");
  const Child holder([&](const Channel& channel) {
    const shm::Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const bool is_ours = ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
    // Much to tear down.
    const SharedBytes much(std::size_t{64} << 20);
    std::memset(much.bytes().data(), 1, much.bytes().size());
    channel.tell(is_ours ? "locked" : "not locked");
    return idle(channel);
  });
  ASSERT_EQ(holder.hear(), "locked");
  auto guard = ProcessGuard::start().value();
  const std::string takes =
      "flock -n " + path + " true && echo free > " + path + " || echo taken > " + path;
  const std::uint32_t key = guard.add(chosen(holder, {"/bin/sh", "-c", takes})).value();
  ASSERT_TRUE(guard.crash({1, key, Nanos{monotonic_ns()}}));
  std::string said;
  EXPECT_TRUE(eventually([&] { return static_cast<bool>(std::ifstream(path) >> said); }));
  EXPECT_EQ(said, "free");
}

// A harness that is killed by SIGKILL while it holds a process.
TEST(ProcessGuard, LetsGoWhenItsHarnessIsKilled) {
  const Child held(spin);
  const Child harness([&held](const Channel& channel) {
    auto guard = ProcessGuard::start().value();
    const std::uint32_t key = guard.add(chosen(held)).value();
    const bool is_held = guard.hold(stopped(1, key)).has_value();
    channel.tell(is_held ? std::to_string(guard.process()) : "not held");
    return idle(channel);
  });
  const std::string guard = harness.hear();
  ASSERT_NE(guard, "not held");
  EXPECT_TRUE(eventually([&] { return is_stopped(held.process()); }));
  ::kill(harness.process(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_stopped(held.process()); })) << "in ten minutes";
  EXPECT_TRUE(eventually([&] {
    const char state = state_of(static_cast<pid_t>(std::stoi(guard)));
    return state == ' ' || state == 'Z';
  })) << "the guard stays";
}

// Both stand still first, so that neither sees the other one die: it is one instant to them.
void kill_at_once(pid_t one, pid_t other) {
  for (const int number : {SIGSTOP, SIGKILL}) {
    ::kill(one, number);
    ::kill(other, number);
  }
}

TEST(ProcessGuard, WhatIsStoppedGoesOnWhenHarnessAndGuardAreKilledAtOnce) {
  const Child held(spin);
  const Child harness([&held](const Channel& channel) {
    auto guard = ProcessGuard::start().value();
    const std::uint32_t key = guard.add(chosen(held)).value();
    const bool is_held = guard.hold(stopped(1, key)).has_value();
    channel.tell(is_held ? std::to_string(guard.process()) : "not held");
    return idle(channel);
  });
  const std::string guard = harness.hear();
  ASSERT_NE(guard, "not held");
  EXPECT_TRUE(eventually([&] { return is_stopped(held.process()); }));
  kill_at_once(harness.process(), static_cast<pid_t>(std::stoi(guard)));
  EXPECT_TRUE(eventually([&] { return !is_stopped(held.process()); })) << "in ten minutes";
}

TEST(ProcessGuard, WhatWasKilledIsStartedWhenHarnessAndGuardAreKilledAtOnce) {
  const ScratchDirectory directory;
  const std::string path = directory.file("started");
  const Child mortal(idle);
  const Child harness([&](const Channel& channel) {
    auto guard = ProcessGuard::start().value();
    const std::uint32_t key =
        guard.add(chosen(mortal, {"/bin/sh", "-c", "echo anew > " + path})).value();
    const bool is_killed = guard.crash({1, key, in_seconds(600)}).has_value();
    channel.tell(is_killed ? std::to_string(guard.process()) : "not killed");
    return idle(channel);
  });
  const std::string guard = harness.hear();
  ASSERT_NE(guard, "not killed");
  kill_at_once(harness.process(), static_cast<pid_t>(std::stoi(guard)));
  std::string said;
  EXPECT_TRUE(eventually([&] { return static_cast<bool>(std::ifstream(path) >> said); }));
  EXPECT_EQ(said, "anew");
}

TEST(ProcessGuard, AWitnessThatIsKilledHasASuccessorThatDoesTheSame) {
  const Child held(spin);
  const Child harness([&held](const Channel& channel) {
    auto guard = ProcessGuard::start().value();
    const pid_t first = guard.witness().value();
    ::kill(first, SIGKILL);
    const bool is_another = eventually([&] { return guard.witness().value() != first; });
    const std::uint32_t key = guard.add(chosen(held)).value();
    const bool is_held = guard.hold(stopped(1, key)).has_value();
    channel.tell(is_another && is_held ? std::to_string(guard.process()) : "not held");
    return idle(channel);
  });
  const std::string guard = harness.hear();
  ASSERT_NE(guard, "not held");
  EXPECT_TRUE(eventually([&] { return is_stopped(held.process()); }));
  kill_at_once(harness.process(), static_cast<pid_t>(std::stoi(guard)));
  EXPECT_TRUE(eventually([&] { return !is_stopped(held.process()); }));
}

TEST(ProcessGuard, WhenGuardAndWitnessAreKilledTheNextCallLetsGo) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold(stopped(1, key)));
  kill_at_once(guard.process(), guard.witness().value());
  EXPECT_EQ(guard.held(1).error().code, Errc::closed);
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.process()); }));
}

TEST(ProcessGuard, ItsWitnessEndsWithIt) {
  pid_t witness = 0;
  {
    auto guard = ProcessGuard::start().value();
    witness = guard.witness().value();
    EXPECT_NE(state_of(witness), ' ');
  }
  EXPECT_TRUE(eventually([&] {
    const char state = state_of(witness);
    return state == ' ' || state == 'Z';
  }));
}

TEST(ProcessGuard, AHoldThatIsGivenAgainIsAsItWasGivenLast) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold({1, key, 2'000, in_seconds(600)}));
  ASSERT_TRUE(guard.hold(stopped(1, key)));
  EXPECT_TRUE(guard.state(key)->is_stopped);
  ASSERT_TRUE(guard.release(1));
  EXPECT_FALSE(guard.state(key)->is_stopped);
  EXPECT_EQ(guard.held(1).value(), 0U);
}

// Whoever is forked after the guard was has its socket, too.
TEST(ProcessGuard, LetsGoAlsoWhileAChildOfItsHarnessLives) {
  const Child held(spin);
  const Child harness([&held](const Channel& channel) {
    auto guard = ProcessGuard::start().value();
    const std::uint32_t key = guard.add(chosen(held)).value();
    const bool is_held = guard.hold(stopped(1, key)).has_value();
    const pid_t child = ::fork();
    if (child == 0) {
      (void)channel.hear();
      return 0;
    }
    channel.tell(is_held ? "held" : "not held");
    ::pause();
    return 0;
  });
  ASSERT_EQ(harness.hear(), "held");
  EXPECT_TRUE(eventually([&] { return is_stopped(held.process()); }));
  ::kill(harness.process(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_stopped(held.process()); }));
}

TEST(ProcessGuard, WhenTheGuardIsKilledWhatItHeldIsFree) {
  const Child child(spin);
  auto guard = ProcessGuard::start().value();
  const std::uint32_t key = guard.add(chosen(child)).value();
  ASSERT_TRUE(guard.hold(stopped(1, key)));
  ::kill(guard.process(), SIGKILL);
  EXPECT_EQ(guard.held(1).error().code, Errc::closed);
  EXPECT_TRUE(eventually([&] { return !is_stopped(child.process()); }));
}

}  // namespace of_process_guard_test
}  // namespace mesh::testing
