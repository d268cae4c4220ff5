// What a disk keeps when the power goes: an SQLite VFS that writes down what is written and synced,
// and builds the files as they might be found afterwards. Of what was not synced any sector may be
// there or not, in any order.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::testing {

// Stands before the system's VFS, as SQLite's default, for its life. One at a time.
class PowerCut {
 public:
  PowerCut() {
    current_ = this;
    real_ = sqlite3_vfs_find(nullptr);
    vfs_ = *real_;
    vfs_.zName = "power_cut";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = &PowerCut::open;
    vfs_.xDelete = &PowerCut::note_remove;
    EXPECT_EQ(sqlite3_vfs_register(&vfs_, 1), SQLITE_OK);
  }
  ~PowerCut() {
    stop();
    sqlite3_vfs_unregister(&vfs_);
  }
  PowerCut(const PowerCut&) = delete;
  PowerCut& operator=(const PowerCut&) = delete;

  // What is opened from now on is not watched; what is open stays.
  void stop() { sqlite3_vfs_register(real_, 1); }
  // So many writes, truncations and syncs so far.
  [[nodiscard]] std::size_t count() const { return operations_.size(); }

  // The files in `folder` as they may be when the power goes after `cut` operations.
  void leave(std::size_t cut, const std::string& folder, coordination::Rng& rng,
             std::uint64_t kept_percent) const {
    std::map<std::string, std::size_t> synced;  // of the file, its last sync before the cut
    std::size_t folder_synced = 0;
    for (std::size_t i = 0; i < cut; ++i) {
      if (operations_[i].kind == Kind::sync) synced[operations_[i].file] = i;
      if (operations_[i].is_of_folder) folder_synced = i;
    }
    std::map<std::string, std::string> files;
    for (std::size_t i = 0; i < cut; ++i) {
      const Operation& one = operations_[i];
      const auto last = synced.find(one.file);
      const bool is_safe = last != synced.end() && i < last->second;
      const auto keeps = [&] { return is_safe || rng.below(100) < kept_percent; };
      if (one.kind == Kind::remove) {
        if (i <= folder_synced || rng.below(100) < kept_percent) files.erase(one.file);
        continue;
      }
      std::string& file = files[one.file];
      if (one.kind == Kind::truncate && keeps()) file.resize(one.at);
      if (one.kind == Kind::write) write(file, one, keeps);
    }
    for (const auto& [name, content] : files) {
      std::ofstream(folder + "/" + name, std::ios::binary | std::ios::trunc) << content;
    }
  }

 private:
  enum class Kind : std::uint8_t { write, truncate, sync, remove };
  struct Operation {
    Kind kind = Kind::write;
    std::string file;
    std::size_t at = 0;
    std::string bytes;
    bool is_of_folder = false;  // the names in it are synced, too
  };
  struct File {
    sqlite3_file base;
    sqlite3_io_methods methods;
    const char* name;
    bool is_watched;
    bool is_new;
    [[nodiscard]] sqlite3_file* real() {
      return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + sizeof(File));
    }
  };
  static constexpr std::size_t kSector = 512;

  template <class Keeps>
  static void write(std::string& file, const Operation& one, const Keeps& keeps) {
    for (std::size_t done = 0; done < one.bytes.size();) {
      const std::size_t at = one.at + done;
      const std::size_t size = std::min(kSector - at % kSector, one.bytes.size() - done);
      if (keeps()) {
        file.resize(std::max(file.size(), at + size));
        std::memcpy(file.data() + at, one.bytes.data() + done, size);
      }
      done += size;
    }
  }
  void note(const File& file, Operation operation) {
    if (file.is_watched) note(file.name, std::move(operation));
  }
  void note(const char* name, Operation operation) {
    operation.file = std::filesystem::path(name).filename().string();
    operations_.push_back(std::move(operation));
  }

  static File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
    File& self = of(file);
    self.base.pMethods = nullptr;
    const int code = current_->real_->xOpen(current_->real_, name, self.real(), flags, out);
    if (self.real()->pMethods == nullptr) return code;
    self.name = name;
    self.is_watched =
        (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) != 0;
    self.is_new = (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) != 0;
    self.methods = pass_on();
    self.base.pMethods = &self.methods;
    return code;
  }
  static int note_remove(sqlite3_vfs*, const char* name, int is_folder_synced) {
    current_->note(name, {Kind::remove, {}, 0, {}, is_folder_synced != 0});
    return current_->real_->xDelete(current_->real_, name, is_folder_synced);
  }
  static int note_write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 at) {
    current_->note(of(file), {Kind::write,
                              {},
                              static_cast<std::size_t>(at),
                              {static_cast<const char*>(bytes), static_cast<std::size_t>(size)},
                              false});
    return of(file).real()->pMethods->xWrite(of(file).real(), bytes, size, at);
  }
  static int note_truncate(sqlite3_file* file, sqlite3_int64 size) {
    current_->note(of(file), {Kind::truncate, {}, static_cast<std::size_t>(size), {}, false});
    return of(file).real()->pMethods->xTruncate(of(file).real(), size);
  }
  static int note_sync(sqlite3_file* file, int flags) {
    // The first sync of a file that SQLite has made syncs its folder (os_unix.c).
    current_->note(of(file), {Kind::sync, {}, 0, {}, std::exchange(of(file).is_new, false)});
    return of(file).real()->pMethods->xSync(of(file).real(), flags);
  }
  // Version 2: shared memory, no memory-mapped reads.
  static sqlite3_io_methods pass_on() {
    sqlite3_io_methods methods{};
    methods.iVersion = 2;
    methods.xClose = [](sqlite3_file* f) { return of(f).real()->pMethods->xClose(of(f).real()); };
    methods.xRead = [](sqlite3_file* f, void* bytes, int size, sqlite3_int64 at) {
      return of(f).real()->pMethods->xRead(of(f).real(), bytes, size, at);
    };
    methods.xWrite = &PowerCut::note_write;
    methods.xTruncate = &PowerCut::note_truncate;
    methods.xSync = &PowerCut::note_sync;
    methods.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
      return of(f).real()->pMethods->xFileSize(of(f).real(), size);
    };
    methods.xLock = [](sqlite3_file* f, int level) {
      return of(f).real()->pMethods->xLock(of(f).real(), level);
    };
    methods.xUnlock = [](sqlite3_file* f, int level) {
      return of(f).real()->pMethods->xUnlock(of(f).real(), level);
    };
    methods.xCheckReservedLock = [](sqlite3_file* f, int* answer) {
      return of(f).real()->pMethods->xCheckReservedLock(of(f).real(), answer);
    };
    methods.xFileControl = [](sqlite3_file* f, int what, void* argument) {
      return of(f).real()->pMethods->xFileControl(of(f).real(), what, argument);
    };
    methods.xSectorSize = [](sqlite3_file*) { return static_cast<int>(kSector); };
    methods.xDeviceCharacteristics = [](sqlite3_file* f) {
      return of(f).real()->pMethods->xDeviceCharacteristics(of(f).real());
    };
    methods.xShmMap = [](sqlite3_file* f, int page, int size, int flag, void volatile** at) {
      return of(f).real()->pMethods->xShmMap(of(f).real(), page, size, flag, at);
    };
    methods.xShmLock = [](sqlite3_file* f, int offset, int count, int flags) {
      return of(f).real()->pMethods->xShmLock(of(f).real(), offset, count, flags);
    };
    methods.xShmBarrier = [](sqlite3_file* f) {
      of(f).real()->pMethods->xShmBarrier(of(f).real());
    };
    methods.xShmUnmap = [](sqlite3_file* f, int flag) {
      return of(f).real()->pMethods->xShmUnmap(of(f).real(), flag);
    };
    return methods;
  }

  static inline PowerCut* current_ = nullptr;
  sqlite3_vfs* real_ = nullptr;
  sqlite3_vfs vfs_{};
  std::vector<Operation> operations_;
};

}  // namespace mesh::testing
