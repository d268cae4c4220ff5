// What callers and workers of a live experiment have counted, in a file that every process maps: so
// it outlives whoever is killed. Each word has one writer; the test only reads.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/base/word.hpp"
#include "shm/descriptor.hpp"

namespace mesh::testing {

inline constexpr std::size_t kBookedMax = 1U << 15;

struct LiveBooks {
  // The callers'.
  ShmWord<std::uint64_t> sent;
  ShmWord<std::uint64_t> answered;
  ShmWord<std::uint64_t> answered_twice;
  ShmWord<std::uint64_t> overdue;
  ShmWord<std::uint64_t> overdue_given;
  ShmWord<std::uint64_t> refused;  // and sent again
  ShmWord<std::uint64_t> has_ended;
  ShmWord<std::uint64_t> stop;                 // the test's
  ShmWord<std::uint32_t> handled[kBookedMax];  // times that its worker was given a number
};

class BooksFile {
 public:
  // Of zeros where it is new.
  explicit BooksFile(const std::string& path) {
    const shm::Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const bool fits = file && ::ftruncate(file.get(), sizeof(LiveBooks)) == 0;
    void* const at =
        fits ? ::mmap(nullptr, sizeof(LiveBooks), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0)
             : MAP_FAILED;
    if (at == MAP_FAILED) throw std::runtime_error("no books at " + path);
    books_ = static_cast<LiveBooks*>(at);
  }
  ~BooksFile() { ::munmap(books_, sizeof(LiveBooks)); }
  BooksFile(const BooksFile&) = delete;
  BooksFile& operator=(const BooksFile&) = delete;
  LiveBooks* operator->() const { return books_; }

 private:
  LiveBooks* books_ = nullptr;
};

}  // namespace mesh::testing
