#include "shm/files.hpp"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shm/system_error.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace mesh::shm {
namespace {

static_assert(sizeof(void*) == 8 && sizeof(off_t) == 8, "a 32-bit process cannot map a mesh");
static_assert(kAgreedSeals == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW));

std::string in_quotes(std::string_view name) {
  return std::string(1, '\'').append(name).append("'");
}

std::string octal(mode_t mode) {
  char text[16];
  const int size = std::snprintf(text, sizeof text, "%04o", mode & 07777U);
  return std::string(text, static_cast<std::size_t>(size));
}

Status check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255 ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    return fail(Errc::invalid_argument,
                "file name " + in_quotes(name) + " is not one path component");
  }
  return {};
}

std::string kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// ENOSPC, EDQUOT and RLIMIT_FSIZE's EFBIG are one thing to the caller: it does not fit, and why.
tl::unexpected<Error> no_space(int fd, std::string_view name, std::size_t needed, int error) {
  struct statvfs room {};
  const bool known = fstatvfs(fd, &room) == 0;
  const std::uint64_t free_bytes = known ? std::uint64_t{room.f_bavail} * room.f_frsize : 0;
  std::string sentence = "allocate " + in_quotes(name) + ": " + std::to_string(needed) +
                         " bytes are needed, " + std::to_string(free_bytes) + " are free";
  sentence += error == EFBIG
                  ? "; the file size limit of this process is lower: raise it (ulimit -f)"
              : error == EDQUOT
                  ? "; the quota of this user is used up: raise it"
                  : "; free some, enlarge the file system (mount -o remount,size=...), choose "
                    "another directory, or ask for fewer agents";
  return fail(Errc::no_space, std::move(sentence), static_cast<std::int64_t>(needed));
}

Status allocate(int fd, std::string_view name, std::size_t size_bytes) {
  if (size_bytes == 0 || size_bytes > static_cast<std::size_t>(INT64_MAX)) {
    return fail(Errc::invalid_argument,
                "allocate " + in_quotes(name) + ": " + std::to_string(size_bytes) + " bytes");
  }
  int error = 0;
  do {  // returns the error, leaves errno alone
    error = posix_fallocate(fd, 0, static_cast<off_t>(size_bytes));
  } while (error == EINTR);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return no_space(fd, name, size_bytes, error);
  }
  if (error != 0) return system_failure("allocate " + in_quotes(name), error);
  return {};
}

}  // namespace

Result<Descriptor> open_directory(const std::string& path) {
  Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) {
    const int error = errno;
    if (error == ENOTDIR || error == ELOOP) {
      return fail(Errc::not_yours, "directory " + in_quotes(path) + ": not a directory itself",
                  error);
    }
    return system_failure("open directory " + in_quotes(path), error);
  }
  struct stat status {};
  if (fstat(directory.get(), &status) != 0)
    return system_failure("fstat " + in_quotes(path), errno);
  if (status.st_uid != geteuid()) {
    return fail(Errc::not_yours, "directory " + in_quotes(path) + ": owned by uid " +
                                     std::to_string(status.st_uid) + ", expected uid " +
                                     std::to_string(geteuid()));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Errc::not_yours, "directory " + in_quotes(path) + ": mode " +
                                     octal(status.st_mode) +
                                     " lets others write, expected at most 0755");
  }
  return directory;
}

Result<Descriptor> create_file(const FileOptions& options) {
  MESH_CHECK_OK(check_name(options.name));
  Descriptor file(openat(options.directory, options.name.c_str(),
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) {
    if (errno == ENOSPC)
      return no_space(options.directory, options.name, options.size_bytes, errno);
    return system_failure("create " + in_quotes(options.name), errno);
  }
  auto made = allocate(file.get(), options.name, options.size_bytes);
  // The umask may have taken bits from 0600; open_file() insists on exactly these.
  if (made && fchmod(file.get(), 0600) != 0) {
    made = system_failure("fchmod " + in_quotes(options.name), errno);
  }
  if (!made) {
    unlinkat(options.directory, options.name.c_str(), 0);
    return tl::unexpected<Error>(std::move(made).error());
  }
  return file;
}

Result<Descriptor> open_file(int directory, const std::string& name, Access access) {
  MESH_CHECK_OK(check_name(name));
  const int mode = access == Access::kReadOnly ? O_RDONLY : O_RDWR;
  // O_NONBLOCK: a pipe put in the file's place must not hold us up. It means nothing to files.
  Descriptor file(openat(directory, name.c_str(), mode | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    const int error = errno;
    if (error == ELOOP) {
      return fail(Errc::not_yours,
                  "open " + in_quotes(name) + ": a symbolic link, expected a file");
    }
    if (error == EISDIR || error == ENXIO) {
      return fail(Errc::not_yours, "open " + in_quotes(name) + ": not a regular file");
    }
    return system_failure("open " + in_quotes(name), error);
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return system_failure("fstat " + in_quotes(name), errno);
  const auto refuse = [&name](const std::string& found, const std::string& expected) {
    return fail(Errc::not_yours,
                "open " + in_quotes(name) + ": " + found + ", expected " + expected);
  };
  if (!S_ISREG(status.st_mode)) return refuse(kind_of(status.st_mode), "a regular file");
  if (status.st_uid != geteuid()) {
    return refuse("owned by uid " + std::to_string(status.st_uid),
                  "uid " + std::to_string(geteuid()));
  }
  if ((status.st_mode & 07777U) != 0600) return refuse("mode " + octal(status.st_mode), "0600");
  if (status.st_nlink != 1) return refuse(std::to_string(status.st_nlink) + " links", "1");
  return file;
}

Status remove_file(int directory, const std::string& name) {
  MESH_CHECK_OK(check_name(name));
  if (unlinkat(directory, name.c_str(), 0) != 0) {
    return system_failure("remove " + in_quotes(name), errno);
  }
  return {};
}

Result<MemoryIdentity> identity_of(int fd, std::string_view name) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return system_failure("fstat " + in_quotes(name), errno);
  return MemoryIdentity{status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size)};
}

Result<SealedMemory> create_sealed_memory(const std::string& name, std::size_t size_bytes) {
  Descriptor memory(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!memory && errno == EINVAL) {  // a kernel before 6.3
    memory = Descriptor(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (!memory) return system_failure("create memfd " + in_quotes(name), errno);
  MESH_CHECK_OK(allocate(memory.get(), name, size_bytes));
  // A memfd is born open to all: whoever holds it read-only could reopen it for writing.
  if (fchmod(memory.get(), 0600) != 0)
    return system_failure("fchmod memfd " + in_quotes(name), errno);
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_failure("seal memfd " + in_quotes(name), errno);
  }
  MESH_TRY(const MemoryIdentity identity, identity_of(memory.get(), name));
  return SealedMemory{std::move(memory), identity};
}

Status accept_memfd(int fd, const MemoryIdentity& agreed, std::string_view name) {
  const std::string who = "accept memory " + in_quotes(name) + ": ";
  MESH_TRY(const MemoryIdentity found, identity_of(fd, name));
  if (found.device != agreed.device || found.inode != agreed.inode) {
    return fail(Errc::not_yours, who + "device " + std::to_string(found.device) + " inode " +
                                     std::to_string(found.inode) + ", expected device " +
                                     std::to_string(agreed.device) + " inode " +
                                     std::to_string(agreed.inode));
  }
  struct statfs system {};
  if (fstatfs(fd, &system) != 0) return system_failure(who + "fstatfs", errno);
  // A hugetlb memfd takes the same seals and can still raise SIGBUS in its reader.
  if (static_cast<std::uint64_t>(system.f_type) != TMPFS_MAGIC) {
    return fail(Errc::not_yours, who + "file system type " + std::to_string(system.f_type) +
                                     ", expected tmpfs " + std::to_string(TMPFS_MAGIC));
  }
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (static_cast<unsigned>(seals) & kAgreedSeals) != kAgreedSeals) {
    return fail(Errc::unsealed, who + "seals " + std::to_string(seals) + ", expected at least " +
                                    std::to_string(kAgreedSeals) + " (shrink, grow, seal)");
  }
  // Last: with the seals in place the size that is seen now is the size for ever.
  MESH_TRY(const MemoryIdentity sealed, identity_of(fd, name));
  if (sealed.size_bytes != agreed.size_bytes) {
    const Errc code = sealed.size_bytes < agreed.size_bytes ? Errc::truncated : Errc::not_yours;
    return fail(code,
                who + std::to_string(sealed.size_bytes) + " bytes, expected " +
                    std::to_string(agreed.size_bytes),
                static_cast<std::int64_t>(sealed.size_bytes));
  }
  return {};
}

Status check_size(int fd, std::size_t wanted_bytes, std::string_view name) {
  MESH_TRY(const MemoryIdentity found, identity_of(fd, name));
  if (found.size_bytes == wanted_bytes) return {};
  const Errc code = found.size_bytes < wanted_bytes ? Errc::truncated : Errc::not_yours;
  return fail(code,
              "map " + in_quotes(name) + ": it has " + std::to_string(found.size_bytes) +
                  " bytes, expected " + std::to_string(wanted_bytes),
              static_cast<std::int64_t>(found.size_bytes));
}

}  // namespace mesh::shm
