#include "engine/store/spill_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>

#include "shm/hash.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

// A page for the header, then entries at multiples of 8. Of this host's byte order: a spill file
// does not travel.
constexpr std::uint64_t kSpillMagic = 0x3150'5343'4552'4853;  // "SHRECSP1"
constexpr std::uint32_t kEntryMagic = 0x5245'4331;            // "1CER"
constexpr std::uint32_t kSpillVersion = 1;
constexpr std::uint64_t kEntriesAt = 4'096;

struct Header {
  std::uint64_t magic = kSpillMagic;
  std::uint32_t version = kSpillVersion;
  std::uint32_t reserved = 0;
  std::uint64_t generation = 0;  // entries of an earlier one are where they belong
  std::uint64_t checksum = 0;    // XXH3 of the bytes before it
};
struct EntryHead {
  std::uint32_t magic = kEntryMagic;
  std::uint32_t size_bytes = 0;  // of the record that follows
  std::uint64_t generation = 0;
  std::uint64_t number = 0;    // 1, 2, ... within its generation
  std::uint64_t checksum = 0;  // XXH3 of the bytes before it, exclusive-or XXH3 of the record
};
static_assert(sizeof(Header) == 32 && sizeof(EntryHead) == 32);

constexpr std::uint64_t padded(std::uint64_t size_bytes) noexcept {
  return (size_bytes + 7) & ~7ULL;
}

template <class T>
std::span<const std::byte> without_checksum(const T& value) noexcept {
  return std::as_bytes(std::span(&value, 1)).first(sizeof(T) - sizeof(std::uint64_t));
}
std::uint64_t checksum_of(const EntryHead& head, std::span<const std::byte> record) noexcept {
  return shm::hash64(without_checksum(head)) ^ shm::hash64(record);
}

// The whole entry at `offset`, if there is one.
std::optional<EntryHead> entry_at(std::span<const std::byte> file, std::uint64_t offset) {
  EntryHead head;
  if (offset + sizeof head > file.size()) return {};
  std::memcpy(&head, file.data() + offset, sizeof head);
  if (head.magic != kEntryMagic || head.size_bytes > file.size() - offset - sizeof head) return {};
  if (checksum_of(head, file.subspan(offset + sizeof head, head.size_bytes)) != head.checksum)
    return {};
  return head;
}

struct Found {
  std::uint64_t offset = 0;
  EntryHead head;
};
// The next whole entry of this generation at or after `offset`, or nothing.
std::optional<Found> next_entry(std::span<const std::byte> file, std::uint64_t offset,
                                std::uint64_t generation) {
  for (; offset + sizeof(EntryHead) <= file.size(); offset += 8) {
    const auto head = entry_at(file, offset);
    if (head && head->generation == generation) return Found{offset, *head};
  }
  return {};
}

std::uint64_t newest_generation(std::span<const std::byte> file) {
  std::uint64_t newest = 0;
  for (std::uint64_t offset = kEntriesAt; offset + sizeof(EntryHead) <= file.size(); offset += 8) {
    const auto head = entry_at(file, offset);
    if (head) newest = std::max(newest, head->generation);
  }
  return newest;
}

Result<std::vector<std::byte>> read_all(int fd, std::uint64_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  for (std::uint64_t at = 0; at < size_bytes;) {
    const ssize_t got = ::pread(fd, bytes.data() + at, size_bytes - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return shm::system_failure("read the spill file", errno);
    if (got == 0) return fail(Errc::truncated, "spill file: shorter than it was");
    at += static_cast<std::uint64_t>(got);
  }
  return bytes;
}

}  // namespace

Result<SpillFile> SpillFile::open(const SpillOptions& options) {
  const std::string name = "spill file '" + options.path + "'";
  if (options.size_bytes < kSpillBytesMin)
    return fail(Errc::invalid_argument,
                name + ": " + std::to_string(options.size_bytes) + " bytes, at least " +
                    std::to_string(kSpillBytesMin),
                static_cast<std::int64_t>(kSpillBytesMin));
  shm::Descriptor fd(::open(options.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return shm::system_failure("open the " + name, errno);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0)
    return fail(Errc::busy, name + ": another recorder has it", errno);
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return shm::system_failure("look at the " + name, errno);
  SpillFile file(std::move(fd), options);
  const bool is_new = facts.st_size == 0;
  // It keeps the size it was made with: what waits in it matters more than a new wish.
  if (!is_new) file.size_bytes_ = static_cast<std::uint64_t>(facts.st_size);
  MESH_CHECK_OK(is_new ? file.format() : Status{});
  MESH_CHECK_OK(file.find_entries(is_new));
  return file;
}

Status SpillFile::format() {
  const int error = ::posix_fallocate(file_.get(), 0, static_cast<off_t>(size_bytes_));
  if (error == 0) return write_header();
  static_cast<void>(::ftruncate(file_.get(), 0));  // half a file would look like an old one
  return shm::system_failure(
      "allocate " + std::to_string(size_bytes_) + " bytes for the spill file", error);
}

Status SpillFile::write_header() {
  Header header{.generation = generation_};
  header.checksum = shm::hash64(without_checksum(header));
  MESH_CHECK_OK(write_at(0, std::as_bytes(std::span(&header, 1))));
  if (::fdatasync(file_.get()) != 0) return failed("sync the spill file", errno);
  return {};
}

Status SpillFile::find_entries(bool is_new) {
  tail_ = kEntriesAt;
  if (is_new) return {};
  MESH_TRY(const auto bytes, read_all(file_.get(), size_bytes_));
  if (bytes.size() < kSpillBytesMin)
    return fail(Errc::truncated, "spill file: " + std::to_string(bytes.size()) + " bytes long");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const bool is_header_whole = shm::hash64(without_checksum(header)) == header.checksum;
  const std::uint64_t newest = is_header_whole ? 0 : newest_generation(bytes);
  if (is_header_whole && header.magic == kSpillMagic && header.version != kSpillVersion)
    return fail(Errc::version_skew, "spill file: version " + std::to_string(header.version) +
                                        ", this program knows " + std::to_string(kSpillVersion));
  const bool was_never_begun = header.magic == 0 && newest == 0;  // its maker died
  if (!was_never_begun && newest == 0 && (!is_header_whole || header.magic != kSpillMagic))
    return fail(Errc::bad_magic, "spill file: this is none, and no record is in it");
  if (!is_header_whole && newest != 0) damaged_bytes_ += kEntriesAt;
  generation_ = is_header_whole ? header.generation : std::max(newest, std::uint64_t{1});
  while (const auto found = next_entry(bytes, tail_, generation_)) {
    damaged_bytes_ += found->offset - tail_;
    entries_.push_back({found->offset + sizeof(EntryHead), found->head.size_bytes});
    number_ = found->head.number;
    tail_ = found->offset + sizeof(EntryHead) + padded(found->head.size_bytes);
  }
  return is_header_whole ? Status{} : write_header();
}

std::size_t SpillFile::room_for(std::span<const Record> records) const noexcept {
  std::uint64_t end = tail_;
  std::size_t count = 0;
  for (const Record& record : records) {
    end += sizeof(EntryHead) + padded(encoded_bytes(record));
    if (end > size_bytes_) break;
    ++count;
  }
  return count;
}

Status SpillFile::append(std::span<const Record> records) {
  if (failed_) return fail(Errc::not_ready, "spill file: a write failed, it takes no more");
  if (room_for(records) < records.size())
    return fail(Errc::no_space,
                "spill file: full, " + std::to_string(entries_.size()) + " records wait in it",
                static_cast<std::int64_t>(size_bytes_));
  std::vector<std::byte> bytes;
  std::vector<Entry> added;
  std::uint64_t number = number_;
  for (const Record& record : records) {
    const std::size_t start = bytes.size();
    bytes.resize(start + sizeof(EntryHead));
    encode(record, bytes);
    const auto body = std::span(bytes).subspan(start + sizeof(EntryHead));
    EntryHead head{.size_bytes = static_cast<std::uint32_t>(body.size()),
                   .generation = generation_,
                   .number = ++number};
    head.checksum = checksum_of(head, body);
    std::memcpy(bytes.data() + start, &head, sizeof head);
    added.push_back({tail_ + start + sizeof head, head.size_bytes});
    bytes.resize(padded(bytes.size()));
  }
  if (at_step_) {  // a test dies in the middle of the bytes
    MESH_CHECK_OK(write_at(tail_, std::span(bytes).first(bytes.size() / 2)));
    reached(SpillStep::half_written);
  }
  MESH_CHECK_OK(write_at(tail_, bytes));
  reached(SpillStep::before_sync);
  if (::fdatasync(file_.get()) != 0) return failed("sync the spill file", errno);
  reached(SpillStep::after_sync);
  number_ = number;
  tail_ += bytes.size();
  entries_.insert(entries_.end(), added.begin(), added.end());
  return {};
}

Result<std::vector<Record>> SpillFile::read(std::size_t skip, std::size_t count_max) const {
  std::vector<Record> records;
  std::vector<std::byte> bytes;
  const std::size_t end = std::min(entries_.size(), skip + count_max);
  for (std::size_t at = skip; at < end; ++at) {
    bytes.resize(entries_[at].size_bytes);
    const ssize_t got =
        ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(entries_[at].offset));
    if (got != static_cast<ssize_t>(bytes.size()))
      return fail(Errc::io_error, "spill file: entry " + std::to_string(at) + " cannot be read",
                  got < 0 ? errno : 0);
    MESH_TRY(Record record, decode(bytes));
    records.push_back(std::move(record));
  }
  return records;
}

Status SpillFile::clear() {
  reached(SpillStep::before_clear);
  if (failed_) return fail(Errc::not_ready, "spill file: a write failed, it takes no more");
  ++generation_;
  MESH_CHECK_OK(write_header());
  entries_.clear();
  number_ = 0;
  tail_ = kEntriesAt;
  return {};
}

Status SpillFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done =
        ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return failed("write the spill file", done < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

Status SpillFile::failed(const std::string& what, int error) {
  failed_ = true;
  return fail(Errc::io_error, what + ": errno " + std::to_string(error), error);
}

}  // namespace mesh::engine
