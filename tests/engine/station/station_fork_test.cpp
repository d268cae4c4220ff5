// What a process has of a station that its parent forked it from: nothing, where the library learns
// of the fork, and no way to be taken for the station where it does not (DESIGN.md part 3).
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_station_fork_test {

using engine::Answer;
using engine::Delivery;
using engine::Station;

// What each descriptor of this process is: "socket:[77]", "anon_inode:[eventfd]", a path.
std::map<int, std::string> descriptors() {
  std::map<int, std::string> found;
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* const entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    std::string target(4'096, '\0');
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    if (size <= 0 || fd == ::dirfd(folder)) continue;
    target.resize(static_cast<std::size_t>(size));
    found[fd] = target;
  }
  ::closedir(folder);
  return found;
}

struct Range {
  std::uintptr_t first = 0;
  std::uintptr_t end = 0;
};
// Mappings of the mesh's memories, of which the files are in `directory` and .out is a memfd.
std::vector<Range> mesh_mappings(const std::string& directory) {
  std::vector<Range> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(directory) == line.npos && line.find("memfd:") == line.npos) continue;
    Range range;
    char dash = 0;
    std::istringstream text(line);
    text >> std::hex >> range.first >> dash >> range.end;
    found.push_back(range);
  }
  return found;
}

std::unique_ptr<Station> enrolled(const Channel& channel, const std::string& directory) {
  return attach_with(channel, directory, {"parent"});
}
void answer_until_lost(const Channel& channel, Station& station) {
  serve_until_lost(station, [&](const Delivery& delivery) {
    channel.tell(std::string(delivery.text()));
    return Answer::ready();
  });
}

TEST(StationFork, AChildHasNeitherItsDescriptorsNorItsMemory) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const std::string path = channel.hear();
    const auto before = descriptors();
    const auto station = enrolled(channel, path);
    if (station == nullptr) return 1;
    (void)station->fd();  // which opens more
    if (mesh_mappings(path).size() < 4) channel.tell("the test does not see its own mappings");
    const pid_t forked = ::fork();
    if (forked == 0) {
      std::string kept;
      for (const auto& [fd, target] : descriptors()) {
        const auto found = before.find(fd);
        if (target != "/dev/null" && (found == before.end() || found->second != target))
          kept += " " + target;
      }
      const std::size_t mappings = mesh_mappings(path).size();
      channel.tell("descriptors:" + kept + ", mappings: " + std::to_string(mappings));
      ::_exit(0);
    }
    (void)::waitpid(forked, nullptr, 0);
    answer_until_lost(channel, *station);
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  EXPECT_EQ(child.hear(), "descriptors:, mappings: 0");
  ASSERT_TRUE(engine->send(engine->find("parent").value(), bytes_of("still here")).has_value());
  EXPECT_EQ(child.hear(), "still here");
}

// The numbers of the station's descriptors and the addresses of its mappings are the child's to
// use. That its copy of the Station goes, as when it returns from main(), takes nothing from the
// child, and is not said to the engine.
TEST(StationFork, AChildMayDestroyItsCopyAndKeepsWhatIsItsOwn) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const std::string path = channel.hear();
    auto station = enrolled(channel, path);
    if (station == nullptr) return 1;
    const std::vector<Range> ranges = mesh_mappings(path);
    const pid_t forked = ::fork();
    if (forked == 0) {
      std::set<int> own;
      for (int i = 0; i < 32; ++i) own.insert(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
      for (const Range& range : ranges) {
        void* const wanted = reinterpret_cast<void*>(range.first);
        if (::mmap(wanted, range.end - range.first, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != wanted)
          channel.tell("the child has memory there");
        *static_cast<volatile char*>(wanted) = 'x';
      }
      station.reset();
      bool is_whole = own.count(-1) == 0;
      for (const int fd : own) is_whole = is_whole && ::fcntl(fd, F_GETFD) >= 0;
      for (const Range& range : ranges)
        is_whole = is_whole && *reinterpret_cast<volatile char*>(range.first) == 'x';
      channel.tell(is_whole ? "whole" : "lost what was its own");
      ::_exit(0);
    }
    int status = 0;
    (void)::waitpid(forked, &status, 0);
    if (status != 0) channel.tell("the child died: " + std::to_string(status));
    answer_until_lost(channel, *station);
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "whole");
  EXPECT_EQ(engine->status()->stations, 1U);
  ASSERT_TRUE(engine->send(engine->find("parent").value(), bytes_of("still here")).has_value());
  EXPECT_EQ(child.hear(), "still here");
}

// Without fork()'s handlers, as a process made by a bare system call: it holds the connection, the
// memory that its parent wrote and both eventfds.
pid_t fork_unnoticed() { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

// Everything that it could do with what it holds, apart from what it held `before`. "nothing", or
// what it was let.
std::string act_as_the_station(const std::map<int, std::string>& before) {
  std::string done;
  std::size_t sockets = 0;
  std::size_t signals = 0;
  for (const auto& [fd, target] : descriptors()) {
    if (before.count(fd) != 0) continue;
    if (target == "anon_inode:[eventfd]") {
      const std::uint64_t one = 1;
      for (int i = 0; i < 100; ++i)
        signals += ::write(fd, &one, sizeof one) == sizeof one ? 1U : 0U;
    }
    if (target.rfind("socket:", 0) != 0) continue;
    ++sockets;
    for (const std::string_view request :
         {R"({"op":"enrol","agents":[{"name":"parent"}]})", R"({"op":"leave"})"}) {
      if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) >= 0)
        done += " was heard: " + std::string(request);
    }
  }
  if (sockets == 0) return "holds no connection: nothing is shown by it";
  if (signals == 0) return "holds no eventfd: nothing is shown by it";
  return done.empty() ? "nothing" : done;
}

TEST(StationFork, AChildThatHoldsEverythingIsNotItsDeadParent) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const std::string path = channel.hear();
    const auto before = descriptors();
    const auto station = enrolled(channel, path);
    if (station == nullptr) return 1;
    if (fork_unnoticed() == 0) {
      channel.tell("holds it, mappings: " + std::to_string(mesh_mappings(path).size()));
      while (channel.hear() == "act") channel.tell(act_as_the_station(before));
      ::_exit(0);
    }
    ::pause();
    return 0;
  });
  const Child heir([](const Channel& channel) {
    const auto station = enrolled(channel, channel.hear());
    if (station == nullptr) return 1;
    channel.tell("enrolled");
    answer_until_lost(channel, *station);
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "holds it, mappings: 0");
  ASSERT_TRUE(eventually([&] { return engine->status()->agents_active == 1; }));
  const AgentId to = engine->find("parent").value();
  ASSERT_TRUE(engine->send(to, bytes_of("waits")).has_value());
  ::kill(child.process(), SIGKILL);
  EXPECT_TRUE(eventually(
      [&] { return engine->status()->stations == 0 && engine->status()->connections == 0; }));
  EXPECT_EQ(engine->status()->agents_active, 0U);
  child.tell("act");
  EXPECT_EQ(child.hear(), "nothing");
  EXPECT_EQ(engine->status()->agents_active, 0U);
  EXPECT_EQ(engine->status()->stations, 0U);
  EXPECT_EQ(engine->status()->counters.answers, 0U);
  heir.tell(directory.path());
  ASSERT_EQ(heir.hear(), "enrolled");
  EXPECT_EQ(heir.hear(), "waits");
  child.tell("act");
  EXPECT_EQ(child.hear(), "nothing");
  ASSERT_TRUE(engine->send(to, bytes_of("to the heir")).has_value());
  EXPECT_EQ(heir.hear(), "to the heir");
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == 2; }));
  EXPECT_EQ(engine->status()->counters.duplicates, 0U);
  child.tell("end");
}

}  // namespace of_station_fork_test
}  // namespace mesh::testing
