// SpillFile: where records wait while their store is down or full. Of a fixed size, allocated in
// full when it is made, so that a disk that fills up later takes nothing from it.
//
// Callers     one thread, one process: the file is locked (OFD lock).
// Progress    system calls. append syncs once, however many records.
// Ordering    records are read in the order of their appends.
// Units       bytes; an entry is 32 bytes and the encoded record, rounded up to 8.
// If the      process dies in append: the records of that append may be there or not; those before
// other side  it are. An entry written in part is not an entry: what follows the last whole one is
// dies,       cut off. A whole entry behind a damaged one is found and kept: damage in the middle
// or lies     costs what was damaged, is counted, and is no reason to stop.
// Errors      append -> no_space (full: nothing of these records is kept), io_error: a write or
//             fdatasync failed. After that the file takes nothing more (not_ready): what a failed
//             sync left in the page cache proves nothing. open -> busy (locked), bad_magic,
//             version_skew, no_space.
// Layout      beside the constants in spill_file.cpp.
// Source      fdatasync is never tried again on the same file: Rebello et al., USENIX ATC 2020.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/store/record.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

// The places of an append where a death is tried. Null in production.
enum class SpillStep : std::uint8_t { half_written, before_sync, after_sync, before_clear };

struct SpillOptions {
  std::string path;
  std::uint64_t size_bytes = 64U << 20;
  std::function<void(SpillStep)> at_step{};
};
inline constexpr std::uint64_t kSpillBytesMin = 64U << 10;

class SpillFile {
 public:
  // Opens the file and finds what waits in it, or makes it.
  static Result<SpillFile> open(const SpillOptions& options);

  // All of them, synced, or none.
  Status append(std::span<const Record> records);
  // How many of these records, from the first, there is room for.
  [[nodiscard]] std::size_t room_for(std::span<const Record> records) const noexcept;
  // The oldest `count_max` after the first `skip` that wait.
  [[nodiscard]] Result<std::vector<Record>> read(std::size_t skip, std::size_t count_max) const;
  // Everything has got where it belongs: begins anew.
  Status clear();

  [[nodiscard]] std::size_t waiting() const noexcept { return entries_.size(); }
  [[nodiscard]] std::uint64_t bytes_used() const noexcept { return tail_; }
  [[nodiscard]] std::uint64_t bytes_max() const noexcept { return size_bytes_; }
  // Found damaged when it was opened, with whole entries behind them.
  [[nodiscard]] std::uint64_t damaged_bytes() const noexcept { return damaged_bytes_; }
  [[nodiscard]] bool has_failed() const noexcept { return failed_; }

 private:
  struct Entry {
    std::uint64_t offset = 0;  // of the record
    std::uint32_t size_bytes = 0;
  };
  SpillFile(shm::Descriptor file, const SpillOptions& options)
      : file_(std::move(file)), size_bytes_(options.size_bytes), at_step_(options.at_step) {}

  Status format();
  Status find_entries(bool is_new);
  Status write_header();
  Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  Status failed(const std::string& what, int error);
  void reached(SpillStep step) const {
    if (at_step_) at_step_(step);
  }

  shm::Descriptor file_;
  std::uint64_t size_bytes_;
  std::function<void(SpillStep)> at_step_;
  std::vector<Entry> entries_;
  std::uint64_t generation_ = 1;  // of the entries; grows with each clear
  std::uint64_t number_ = 0;      // of the last entry of this generation
  std::uint64_t tail_ = 0;
  std::uint64_t damaged_bytes_ = 0;
  bool failed_ = false;
};

}  // namespace mesh::engine
