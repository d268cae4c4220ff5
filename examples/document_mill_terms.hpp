// What the mill and its workers agree on: kinds of workers and tasks, the steps at which a worker
// may be made to die, messages, files.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mill {

enum class Kind : std::uint32_t { hasher, summariser, binder };
inline constexpr std::size_t kKinds = 3;
inline constexpr std::array<std::string_view, kKinds> kKindNames{"hasher", "summariser", "binder"};

// Where a worker stands in its life. Between two of these its death must not hurt.
enum class Step : std::uint32_t {
  started,       // forked, and has said nothing
  joined,        // has said that it is there
  offered,       // has been told of a task, and has not bid
  bid,           // has bid
  assigned,      // has won it
  locked,        // holds the lock of its output
  read,          // has read what it needs
  half_written,  // half of its part file stands
  written,       // all of it
  reported,      // has said so
  committed,     // has been told that it counts
};
inline constexpr std::size_t kSteps = 11;
inline constexpr std::array<std::string_view, kSteps> kStepNames{
    "started", "joined",       "offered", "bid",      "assigned", "locked",
    "read",    "half_written", "written", "reported", "committed"};

// The first worker of this kind that comes to this step dies there, or stops (as a machine that
// swaps does) until the mill wakes it at the end.
struct Trial {
  Kind kind = Kind::hasher;
  Step step = Step::started;
  bool stops = false;
};
inline constexpr std::size_t kTrialsMax = 64;
// In memory that all processes share: which trials have happened.
struct TrialsDone {
  std::array<std::atomic<std::uint32_t>, kTrialsMax> done{};
};

inline constexpr std::uint32_t kDocumentsMax = 999;
// A task is a kind of work on one document; the binder's last one, on no document, is the index.
struct Task {
  Kind kind = Kind::hasher;
  std::uint32_t document = 0;
};
constexpr std::uint64_t id_of(const Task& task) noexcept {
  return static_cast<std::uint64_t>(task.kind) * (kDocumentsMax + 1) + task.document + 1;
}
constexpr Task task_of(std::uint64_t id) noexcept {
  return {static_cast<Kind>((id - 1) / (kDocumentsMax + 1)),
          static_cast<std::uint32_t>((id - 1) % (kDocumentsMax + 1))};
}

struct Plan {
  std::filesystem::path documents;
  std::filesystem::path output;
  std::vector<std::string> names;  // of the documents, sorted
  std::vector<Trial> trials;
  std::uint32_t workers_each = 2;
  std::int64_t lease_ms = 5'000;  // of a task, and of the lock of its output
  std::int32_t failing = -1;      // the first worker of this kind fails at all it does

  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(names.size());
  }
  // The file that a task makes.
  [[nodiscard]] std::string output_name(const Task& task) const {
    if (task.kind == Kind::binder && task.document == count()) return "index.txt";
    constexpr std::array<std::string_view, kKinds> kEndings{".hash", ".summary", ".page"};
    return names.at(task.document) + std::string(kEndings[static_cast<std::size_t>(task.kind)]);
  }
  // Where a worker writes it: the token of its lock is in the name, so two never write one file.
  [[nodiscard]] std::filesystem::path part(const Task& task, std::uint64_t token) const {
    return output / "parts" / (output_name(task) + "." + std::to_string(token));
  }
};

enum class Say : std::uint32_t {
  joined,     // worker
  offer,      // mill: task
  bid,        // worker: task, price
  work,       // mill: task, fence
  want_lock,  // worker: task, fence
  locked,     // mill: task, fence, token
  done,       // worker: task, fence, token, digest of the part file
  failed,     // worker: task, fence, token
  committed,  // mill: it counts
  refused,    // mill: somebody else's counts
  quit,       // mill
};
// One datagram: it arrives whole or not at all.
struct Message {
  Say say = Say::joined;
  std::uint32_t reserved = 0;
  std::uint64_t task = 0;
  std::uint64_t fence = 0;
  std::uint64_t token = 0;
  std::int64_t price = 0;  // millionths
  std::array<std::byte, 32> digest{};
};

// False: the other side is gone.
bool send_message(int socket, const Message& message) noexcept;
enum class Received { whole, gone, nothing };
Received receive_message(int socket, Message& message, bool waits) noexcept;

[[nodiscard]] std::string read_file(const std::filesystem::path& path);
[[nodiscard]] std::string to_hex(const std::array<std::byte, 32>& digest);

// A worker's whole life, in a process of its own; what it exits with.
struct Place {
  Kind kind = Kind::hasher;
  std::uint32_t seat = 0;
  int socket = -1;
  bool fails = false;
};
int work(const Plan& plan, const Place& place, TrialsDone& trials);

}  // namespace mill
