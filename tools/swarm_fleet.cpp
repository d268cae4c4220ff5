#include "tools/swarm_fleet.hpp"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shm/base/limits.hpp"
#include "shm/system_error.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

Status poll_all(std::span<pollfd> all) {
  while (poll(all.data(), all.size(), -1) < 0) {
    if (errno != EINTR) return shm::system_failure("poll", errno);
  }
  return {};
}

// More of what the child writes: 0 at its end.
Result<std::size_t> read_more(int fd, std::span<std::byte> room) {
  for (;;) {
    const ssize_t got = read(fd, room.data(), room.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return shm::system_failure("read a child's report", errno);
  }
}

}  // namespace

void declare_swarm_options(CLI::App& command, SwarmCommandText& text) {
  command.add_option("--agents", text.agents, fmt::format("how many, 1 to {}", kMaxAgents))
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--processes", text.processes,
                  fmt::format("over which they are spread, 1 to {}", kSwarmProcessesMax))
      ->capture_default_str()
      ->type_name("P");
  command.add_option("--profile", text.profile, "mixed or local")
      ->capture_default_str()
      ->type_name("PROFILE");
  command.add_option("--seed", text.seed, "what is drawn follows from it")
      ->capture_default_str()
      ->type_name("SEED");
}

Result<SwarmCommand> read_swarm_command(const SwarmCommandText& text) {
  SwarmCommand command;
  MESH_TRY(const std::uint64_t agents, whole_number({"--agents", 1, kMaxAgents}, text.agents));
  command.agents = static_cast<std::uint32_t>(agents);
  MESH_TRY(const std::uint64_t processes,
           whole_number({"--processes", 1, std::min(command.agents, kSwarmProcessesMax)},
                        text.processes));
  command.processes = static_cast<std::uint32_t>(processes);
  MESH_TRY(command.seed, whole_number({"--seed", 0, UINT64_MAX}, text.seed));
  const auto profile = swarm_profile_of(text.profile);
  if (!profile) {
    return fail(Errc::bad_input,
                fmt::format("--profile {}: is mixed or local", in_quotes(text.profile)));
  }
  command.profile = *profile;
  return command;
}

Result<SwarmFleet> SwarmFleet::start(const SwarmCommand& command, const FleetOptions& options) {
  std::vector<ChildProcess> children;
  for (std::uint32_t share = 0; share < command.processes; ++share) {
    std::vector<std::string> arguments = {"swarm",
                                          fmt::format("--agents={}", command.agents),
                                          fmt::format("--processes={}", command.processes),
                                          fmt::format("--profile={}", name_of(command.profile)),
                                          fmt::format("--seed={}", command.seed),
                                          fmt::format("--change-at={}", options.change_at),
                                          fmt::format("--prefix={}", options.prefix),
                                          fmt::format("--dir={}", options.directory),
                                          fmt::format("--share={}", share),
                                          fmt::format("--parent={}", getpid())};
    if (options.engine_cpu) {
      arguments.push_back(fmt::format("--avoid-cpu={}", *options.engine_cpu));
    }
    MESH_TRY(ChildProcess child, ChildProcess::spawn(arguments));
    children.push_back(std::move(child));
  }
  return SwarmFleet(command, std::move(children));
}

SwarmFleet::SwarmFleet(const SwarmCommand& command, std::vector<ChildProcess> children)
    : command_(command), children_(std::move(children)) {}

Result<std::vector<AgentId>> SwarmFleet::wait_for_ids(int stop_fd) {
  std::vector<AgentId> ids(command_.agents);
  std::span<std::byte> room = std::as_writable_bytes(std::span(ids));
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const SwarmShare share =
        swarm_share(command_.agents, command_.processes, static_cast<std::uint32_t>(i));
    std::size_t left = share.count * sizeof(AgentId);
    while (left > 0) {
      MESH_TRY(const Seen seen, wait_for(i, stop_fd));
      if (seen == Seen::kStop) return std::vector<AgentId>();
      // A child that has ended may have written all before: what it wrote decides.
      MESH_TRY(const std::size_t got, read_more(children_[i].report(), room.first(left)));
      if (got == 0) {
        children_[i].stop(kChildPatience);
        return tl::unexpected<Error>(end_of(i));
      }
      left -= got;
      room = room.subspan(got);
    }
  }
  return ids;
}

Result<SwarmFleet::Seen> SwarmFleet::wait_for(std::size_t child, int stop_fd) {
  pollfd both[] = {{stop_fd, POLLIN, 0}, {children_[child].report(), POLLIN, 0}};
  MESH_CHECK_OK(poll_all(both));
  return both[0].revents != 0 ? Seen::kStop : Seen::kReport;
}

Status SwarmFleet::wait_for_an_end(std::span<const int> stop_fds) {
  std::vector<pollfd> all;
  for (const ChildProcess& child : children_) all.push_back({child.fd(), POLLIN, 0});
  for (const int fd : stop_fds) all.push_back({fd, POLLIN, 0});
  MESH_CHECK_OK(poll_all(all));
  for (std::size_t i = children_.size(); i < all.size(); ++i) {
    if (all[i].revents != 0) return {};
  }
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (all[i].revents != 0 && children_[i].has_ended()) return tl::unexpected<Error>(end_of(i));
  }
  return fail(Errc::system_error, "poll named a swarm process that has not ended");
}

Error SwarmFleet::end_of(std::size_t child) const {
  return {Errc::closed, static_cast<std::int64_t>(child),
          fmt::format("swarm process {} of {} ended by itself: {}", child + 1, children_.size(),
                      children_[child].ending())};
}

void SwarmFleet::stop() noexcept {
  for (ChildProcess& child : children_) child.ask_to_stop();
  for (ChildProcess& child : children_) child.stop(kChildPatience);
}

}  // namespace mesh::tools
