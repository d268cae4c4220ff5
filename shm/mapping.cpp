#include "shm/mapping.hpp"

#include <atomic>
#include <cerrno>
#include <exception>
#include <new>

#include <sys/mman.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>

#include "shm/system_error.hpp"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22  // Linux 5.14
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace mesh::shm {
namespace {

namespace interprocess = boost::interprocess;

// What mapped_region asks of a thing that can be mapped. ipcdetail is not a public name: it stands
// in this file and nowhere else.
class MappableFd {
 public:
  explicit MappableFd(int fd) : fd_(fd) {}
  [[nodiscard]] interprocess::mapping_handle_t get_mapping_handle() const {
    return interprocess::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

void touch(std::byte* first, std::size_t size_bytes, Access access) noexcept {
  const std::size_t page_bytes = system_page_bytes();
  for (std::size_t offset = 0; offset < size_bytes; offset += page_bytes) {
    std::atomic_ref<std::byte> byte(first[offset]);
    if (access == Access::kReadOnly) {
      static_cast<void>(byte.load(std::memory_order_relaxed));  // relaxed: only the fault matters
    } else {
      // An exchange of a byte for itself: the page is made writable, and a restarted owner's words
      // stay, because nobody else writes this memory.
      std::byte same = byte.load(std::memory_order_relaxed);  // relaxed: only the fault matters
      byte.compare_exchange_strong(same, same, std::memory_order_relaxed);  // relaxed: as above
    }
  }
}

Status prefault(std::span<std::byte> bytes, const MappingOptions& options) {
  if (options.prefault == Prefault::kPopulate) {
    const int advice =
        options.access == Access::kReadOnly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    int result = 0;
    do {
      result = madvise(bytes.data(), bytes.size(), advice);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return {};
    if (errno != EINVAL) return system_failure("prefault '" + options.name + "'", errno);
  }
  touch(bytes.data(), bytes.size(), options.access);
  return {};
}

}  // namespace

Mapping::Mapping(std::unique_ptr<interprocess::mapped_region> region, Access access)
    : region_(std::move(region)), size_bytes_(region_->get_size()), access_(access) {}
Mapping::Mapping(Mapping&&) noexcept = default;
Mapping& Mapping::operator=(Mapping&&) noexcept = default;
Mapping::~Mapping() = default;

Result<Mapping> Mapping::map(int fd, const MappingOptions& options) {
  if (options.size_bytes == 0) {
    return fail(Errc::invalid_argument, "map '" + options.name + "': 0 bytes");
  }
  // mapped_region accepts a size past the end of the file; touching it would be SIGBUS.
  MESH_CHECK_OK(check_size(fd, options.size_bytes, options.name));
  const auto mode =
      options.access == Access::kReadOnly ? interprocess::read_only : interprocess::read_write;
  try {
    auto region =
        std::make_unique<interprocess::mapped_region>(MappableFd(fd), mode, 0, options.size_bytes);
    Mapping mapping(std::move(region), options.access);
    MESH_CHECK_OK(mapping.advise(options));
    return mapping;
  } catch (const interprocess::interprocess_exception& error) {
    const int native = static_cast<int>(error.get_native_error());
    return system_failure("map '" + options.name + "' " +
                              (options.access == Access::kReadOnly ? "read-only" : "read-write"),
                          native);
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory, "map '" + options.name + "': out of memory");
  }
}

Status Mapping::advise(const MappingOptions& options) {
  std::byte* const first = static_cast<std::byte*>(region_->get_address());
  // A child that writes after its parent's death is a zombie writer: refused, not wished.
  if (madvise(first, size_bytes_, MADV_DONTFORK) != 0) {
    return system_failure("hide '" + options.name + "' from forked children", errno);
  }
  outcome_.hidden_from_children = true;
  if (options.exclude_from_dumps) {
    outcome_.excluded_from_dumps = madvise(first, size_bytes_, MADV_DONTDUMP) == 0;
  }
  if (options.prefault != Prefault::kNone) {
    MESH_CHECK_OK(prefault({first, size_bytes_}, options));
    outcome_.prefaulted = true;
  }
  if (options.lock) {
    // ONFAULT: what is resident is locked, what is not is locked when it comes; no page is read in.
    outcome_.locked = mlock2(first, size_bytes_, MLOCK_ONFAULT) == 0;
    outcome_.lock_errno = outcome_.locked ? 0 : errno;
  }
  return {};
}

std::span<const std::byte> Mapping::bytes() const noexcept {
  if (!region_) return {};
  return {static_cast<const std::byte*>(region_->get_address()), size_bytes_};
}

std::span<std::byte> Mapping::writable_bytes() const noexcept {
  if (!region_ || access_ == Access::kReadOnly) return {};
  return {static_cast<std::byte*>(region_->get_address()), size_bytes_};
}

std::size_t system_page_bytes() noexcept {
  static const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return page_bytes;
}

}  // namespace mesh::shm
