// RelacyMemory: the memory policy that a model checker drives, and the check that every ordering is
// needed.
//
// A model test includes the header under test and every standard header first, then this file:
// relacy defines memory_order_*, new, delete, malloc and assert as macros. It is a program of its
// own with a plain main, without gtest. ShmWord's method names, so one header is shipped and
// model-checked.
//
// Every acquire, release or seq_cst access knows the line it was written on. weaken(site) turns the
// accesses of one such line into relaxed ones at run time; a model test that still passes then does
// not check that line, or the line does not need its order. Relaxed accesses have nothing to
// weaken.
//
//   int main() { return mesh::testing::check_every_order<RowTest>(20'000); }
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <iostream>
#include <memory>
#include <new>
#include <source_location>
#include <string_view>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mesh::testing {

struct OrderSite {
  const char* file;
  unsigned line;
  unsigned column;
  bool operator==(const OrderSite& other) const {
    return std::string_view(file) == other.file && line == other.line && column == other.column;
  }
};

// The lines that ordered accesses were seen on, and the one that is weakened. relacy runs fibres of
// one thread.
class OrderSites {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};

  // True: this access keeps its order. Fixed storage: `new` belongs to relacy while a model runs.
  bool keeps_order(const std::source_location& at) {
    const OrderSite site{at.file_name(), at.line(), at.column()};
    const auto end = sites_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto found = std::find(sites_.begin(), end, site);
    const auto index = static_cast<std::size_t>(found - sites_.begin());
    if (found == end && count_ < sites_.size()) sites_[count_++] = site;
    return index != weakened_;
  }
  void weaken(std::size_t index) { weakened_ = index; }
  std::size_t count() const { return count_; }
  const OrderSite& at(std::size_t index) const { return sites_[index]; }

 private:
  std::array<OrderSite, 64> sites_{};
  std::size_t count_ = 0;
  std::size_t weakened_ = kNone;
};

// Shared with the children that run the models. The file names in it are constants of this program:
// the same address in a forked child.
inline OrderSites& order_sites() {
  static OrderSites* const sites = [] {
    void* const room = mmap(nullptr, sizeof(OrderSites), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) _exit(2);
    return ::new (room) OrderSites;
  }();
  return *sites;
}

inline constexpr int kModelHolds = 0;
inline constexpr int kModelFails = 1;

}  // namespace mesh::testing

// Last of all includes: from here on `new`, `delete`, `malloc` and memory_order_* are relacy's
// macros.
#include <relacy/relacy.hpp>

namespace mesh::testing {

struct RelacyMemory {
  template <class T>
  struct Word {
    using At = std::source_location;

    T load_relaxed(At at = At::current()) const { return raw.load(rl::mo_relaxed, info(at)); }
    T load_acquire(At at = At::current()) const {
      return raw.load(order(at, rl::mo_acquire), info(at));
    }
    T load_seq_cst(At at = At::current()) const {
      return raw.load(order(at, rl::mo_seq_cst), info(at));
    }
    void store_relaxed(T value, At at = At::current()) {
      raw.store(value, rl::mo_relaxed, info(at));
    }
    void store_release(T value, At at = At::current()) {
      raw.store(value, order(at, rl::mo_release), info(at));
    }
    void store_seq_cst(T value, At at = At::current()) {
      raw.store(value, order(at, rl::mo_seq_cst), info(at));
    }

    rl::atomic<T> raw;

   private:
    static rl::debug_info info(const At& at) {
      return rl::debug_info(at.function_name(), at.file_name(), at.line());
    }
    static rl::memory_order order(const At& at, rl::memory_order wanted) {
      return order_sites().keeps_order(at) ? wanted : rl::mo_relaxed;
    }
  };

  // Data that a Word publishes: relacy reports two accesses without an order between them.
  template <class T>
  struct Plain {
    using At = std::source_location;

    T get(At at = At::current()) const {
      return const_cast<rl::var<T>&>(raw)(
          rl::debug_info(at.function_name(), at.file_name(), at.line()));
    }
    void set(T value, At at = At::current()) {
      raw(rl::debug_info(at.function_name(), at.file_name(), at.line())) = value;
    }

    rl::var<T> raw;
  };

  static void point(const char*) noexcept {}
};

// Runs one model in a process of its own: relacy replaces operator new and never frees its fibres'
// stacks. The sites are shared with the child. True when relacy found nothing; anything but an
// answer ends the program.
template <class Test>
bool model_holds(unsigned iterations, bool quiet) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (quiet) {
      const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(nowhere, STDOUT_FILENO);
    }
    rl::test_params parameters;
    parameters.iteration_count = iterations;
    parameters.search_type = rl::random_scheduler_type;
    const bool holds = rl::simulate<Test>(parameters);
    std::cout.flush();
    _exit(holds ? kModelHolds : kModelFails);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
      (WEXITSTATUS(status) != kModelHolds && WEXITSTATUS(status) != kModelFails)) {
    std::printf("FAILED: the model's process gave no answer (wait status %d)\n", status);
    _exit(2);
  }
  return WEXITSTATUS(status) == kModelHolds;
}

// The model holds as written, and fails with any one of its orders taken away. Sites whose file
// name ends with one of `seen_elsewhere` belong to another header, which has its own model. Returns
// the exit status of main().
template <class Test>
int check_every_order(unsigned iterations,
                      std::initializer_list<std::string_view> seen_elsewhere = {}) {
  OrderSites& sites = order_sites();
  sites.weaken(OrderSites::kNone);
  if (!model_holds<Test>(iterations, false)) {
    std::printf("FAILED: the model does not hold as written\n");
    return 1;
  }
  if (sites.count() == 0) {
    std::printf("FAILED: no ordered access was seen, nothing was checked\n");
    return 1;
  }
  int missed = 0;
  for (std::size_t site = 0; site < sites.count(); ++site) {
    const OrderSite& at = sites.at(site);
    const auto ends = [&](std::string_view end) {
      return std::string_view(at.file).ends_with(end);
    };
    if (std::any_of(seen_elsewhere.begin(), seen_elsewhere.end(), ends)) continue;
    sites.weaken(site);
    const bool caught = !model_holds<Test>(iterations, true);
    std::printf("%s:%u:%u relaxed: %s\n", at.file, at.line, at.column,
                caught ? "caught" : "NOT CAUGHT");
    if (!caught) ++missed;
  }
  sites.weaken(OrderSites::kNone);
  std::printf("%zu ordered accesses, %d not caught, %u iterations each\n", sites.count(), missed,
              iterations);
  return missed == 0 ? 0 : 1;
}

}  // namespace mesh::testing
