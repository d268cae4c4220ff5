// SharedLog: a payload log in memory that survives fork, with bodies whose every byte follows from
// their number, and a list of what was told to readers.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "queues/payload_log.hpp"
#include "tests/queues/ring_fixture.hpp"

namespace mesh::testing {

using HostLog = queues::PayloadLog<HostMemory>;
using CrashLog = queues::PayloadLog<CrashMemory>;
static_assert(sizeof(CrashLog::Word) == sizeof(HostLog::Word));
static_assert(sizeof(CrashLog::Header) == sizeof(HostLog::Header));

// Where 32-, 44-, 63- and 64-bit arithmetic would break.
inline constexpr std::uint64_t kLogStarts[] = {
    0, (std::uint64_t{1} << 32) - 64, (std::uint64_t{1} << 44) - 64, (std::uint64_t{1} << 63) - 64,
    std::uint64_t{0} - 64};

inline std::vector<std::byte> make_body(std::uint64_t number, std::uint32_t length) {
  std::vector<std::byte> body(length);
  for (std::uint32_t i = 0; i < length; ++i)
    body[i] = static_cast<std::byte>(word_of(number, i / 8) >> (i % 8 * 8));
  return body;
}

inline bool is_body(std::span<const std::byte> bytes, std::uint64_t number) {
  const auto right = make_body(number, static_cast<std::uint32_t>(bytes.size()));
  return std::equal(bytes.begin(), bytes.end(), right.begin(), right.end());
}

struct Told {
  std::uint64_t position;
  std::uint32_t length;
  std::uint32_t number;  // the entry's kind, and what its bytes follow from
};

class SharedLog {
 public:
  static constexpr std::size_t kToldMax = 1024;
  // What a child tells its parent, whatever kills it.
  struct Report {
    volatile std::uint64_t freed;    // by an advance_tail that returned
    volatile std::uint64_t freeing;  // by one that was called
    volatile std::uint64_t sites;
    volatile std::uint64_t count;
    Told told[kToldMax];
  };

  explicit SharedLog(std::size_t capacity, std::uint64_t start = 0)
      : capacity_(capacity), bytes_(capacity + kRegion) {
    base_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::runtime_error("mmap");
    reset(start);
  }
  ~SharedLog() { ::munmap(base_, bytes_); }
  SharedLog(const SharedLog&) = delete;
  SharedLog& operator=(const SharedLog&) = delete;

  void reset(std::uint64_t start) {
    std::memset(base_, 0, bytes_);
    if (start != 0) HostLog::format(header<HostLog>(), start);
    report().freed = start;
    report().freeing = start;
  }

  template <class Log = HostLog>
  std::span<typename Log::Word> words() {
    return {reinterpret_cast<typename Log::Word*>(at(kRegion)), capacity_ / 8};
  }
  template <class Log = HostLog>
  typename Log::Header& header() {
    return *reinterpret_cast<typename Log::Header*>(at(0));
  }
  Report& report() { return *reinterpret_cast<Report*>(at(4096)); }
  template <class Log = HostLog>
  auto take_over() {
    return Log::Writer::take_over(words<Log>(), &header<Log>());
  }
  template <class Log = HostLog>
  auto attach() {
    return Log::Reader::attach(words<Log>(), &header<Log>());
  }

  // Appends the next body; when there is no room, frees what it must and not an entry more.
  template <class Writer>
  void append(Writer& writer, std::uint32_t length) {
    const auto number = static_cast<std::uint32_t>(report().count);
    const auto body = make_body(number, length);
    auto done = writer.append(body, number);
    if (done.status == queues::AppendStatus::kFull) {
      const auto walked = writer.walk(writer.tail() + done.bytes_short, [](const auto&) {});
      MESH_ASSERT(walked.status == queues::WalkStatus::kDone);
      free(writer, walked.position);
      done = writer.append(body, number);
    }
    MESH_ASSERT(done.status == queues::AppendStatus::kOk);
    MESH_ASSERT(number < kToldMax);
    report().told[number] = {done.position, length, number};
    report().count = number + 1;
  }
  template <class Writer>
  void free(Writer& writer, std::uint64_t position) {
    report().freeing = position;
    MESH_ASSERT(writer.advance_tail(position));
    report().freed = position;
  }

 private:
  static constexpr std::size_t kRegion = 32768;
  static_assert(sizeof(Report) <= kRegion - 4096);

  std::byte* at(std::size_t offset) { return static_cast<std::byte*>(base_) + offset; }

  std::size_t capacity_;
  std::size_t bytes_;
  void* base_ = nullptr;
};

}  // namespace mesh::testing
