// Commands that agents run, and processes that a verb starts.
#include "tools/shell_command.hpp"

#include <csignal>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/child_process.hpp"

namespace mesh::testing {
namespace of_shell_command_test {

using tools::ChildProcess;
using tools::run_shell_command;
using tools::ShellResult;

constexpr std::size_t kMuch = std::size_t{1} << 20;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(const ShellResult& result) {
  return {reinterpret_cast<const char*>(result.output.data()), result.output.size()};
}
ShellResult run(const std::string& command, const std::string& input = "",
                std::size_t output_max = kMuch) {
  auto result =
      run_shell_command({.command = command, .input = bytes_of(input), .output_max = output_max});
  EXPECT_TRUE(result) << (result ? "" : result.error().sentence);
  return result ? std::move(*result) : ShellResult{-1, 0, {}};
}

TEST(ShellCommand, GivesItsExitCode) {
  EXPECT_EQ(run("exit 0").exit_code, 0);
  EXPECT_EQ(run("exit 37").exit_code, 37);
  EXPECT_EQ(run("exit 200").exit_code, 200);
  EXPECT_EQ(run("exit 200").killed_by, 0);
  EXPECT_EQ(run("no-such-command-at-all 2>/dev/null").exit_code, 127);
}
TEST(ShellCommand, SaysWhichSignalKilledIt) { EXPECT_EQ(run("kill -9 $$").killed_by, SIGKILL); }
TEST(ShellCommand, PassesInputAndOutputOn) {
  const std::string input = std::string("a\0b\n", 4) + "c";
  EXPECT_EQ(text_of(run("cat", input)), input);
  EXPECT_EQ(text_of(run("echo said; cat", "")), "said\n");
}
TEST(ShellCommand, TakesMoreThanPipesHold) {
  const std::string input(1'000'000, 'x');
  EXPECT_EQ(text_of(run("cat", input)), input);
}
TEST(ShellCommand, DropsOutputBeyondItsMostAndStillEnds) {
  EXPECT_EQ(text_of(run("head -c 300000 /dev/zero | tr '\\0' y", "", 5)), "yyyyy");
  EXPECT_EQ(run("cat", std::string(300'000, 'x'), 0).output.size(), 0U);
}
TEST(ShellCommand, MayLeaveItsInputUnread) {
  const auto former = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(run("exit 3", std::string(1'000'000, 'x')).exit_code, 3);
  EXPECT_EQ(run("kill -PIPE $$").killed_by, SIGPIPE) << "a command has it as shells do";
  std::signal(SIGPIPE, former);
}

TEST(ChildProcess, EndsWithItsObjectAndIsReaped) {
  pid_t pid = 0;
  {
    auto child = ChildProcess::spawn({"--gtest_list_tests"});
    ASSERT_TRUE(child);
    pid = child->pid();
  }
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}
TEST(ChildProcess, SaysHowItEnded) {
  auto child = ChildProcess::spawn({"--gtest_list_tests"});
  ASSERT_TRUE(child);
  pollfd ended{child->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, -1), 1);
  EXPECT_TRUE(child->has_ended());
  EXPECT_EQ(child->ending(), "exit code 0");
}
TEST(ChildProcess, ReportEndsWithTheChild) {
  auto child = ChildProcess::spawn({"--gtest_list_tests"});
  ASSERT_TRUE(child);
  char none = 0;
  EXPECT_EQ(read(child->report(), &none, 1), 0);
}

}  // namespace of_shell_command_test
}  // namespace mesh::testing
