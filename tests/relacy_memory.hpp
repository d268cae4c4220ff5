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
  const char* function;
  unsigned line;
  unsigned column;
  bool operator==(const OrderSite& other) const {
    return std::string_view(file) == other.file && line == other.line && column == other.column;
  }
};

// What a mutation does to one line: one step is seq_cst to acquire or release; dropped is a store
// left out.
enum class Weakening : std::uint8_t { kNone, kOneStep, kRelaxed, kDropped };

enum class Access : std::uint8_t { kLoad, kRelaxedStore, kStore, kSeqCstLoad, kSeqCstStore };

// The lines that words were accessed on (relaxed loads aside), and the one that is weakened. relacy
// runs fibres of one thread.
class OrderSites {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};

  // What this access keeps of its order. Fixed storage: `new` belongs to relacy while a model runs.
  Weakening weakening_of(const std::source_location& at, Access access) {
    const OrderSite site{at.file_name(), at.function_name(), at.line(), at.column()};
    const auto end = sites_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto found = std::find(sites_.begin(), end, site);
    const auto index = static_cast<std::size_t>(found - sites_.begin());
    if (found == end && count_ < sites_.size()) {
      accesses_[count_] = access;
      sites_[count_++] = site;
    }
    return index == weakened_ ? how_ : Weakening::kNone;
  }
  void weaken(std::size_t index, Weakening how) {
    weakened_ = index;
    how_ = how;
  }
  std::size_t count() const { return count_; }
  Access access(std::size_t index) const { return accesses_[index]; }
  const OrderSite& at(std::size_t index) const { return sites_[index]; }

 private:
  std::array<OrderSite, 64> sites_{};
  std::array<Access, 64> accesses_{};
  std::size_t count_ = 0;
  std::size_t weakened_ = kNone;
  Weakening how_ = Weakening::kNone;
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
    T load_acquire(At at = At::current()) const { return load(Access::kLoad, rl::mo_acquire, at); }
    T load_seq_cst(At at = At::current()) const {
      return load(Access::kSeqCstLoad, rl::mo_seq_cst, at);
    }
    void store_relaxed(T value, At at = At::current()) {
      store(value, Access::kRelaxedStore, rl::mo_relaxed, at);
    }
    void store_release(T value, At at = At::current()) {
      store(value, Access::kStore, rl::mo_release, at);
    }
    void store_seq_cst(T value, At at = At::current()) {
      store(value, Access::kSeqCstStore, rl::mo_seq_cst, at);
    }

    rl::atomic<T> raw;

   private:
    static rl::debug_info info(const At& at) {
      return rl::debug_info(at.function_name(), at.file_name(), at.line());
    }
    T load(Access access, rl::memory_order order, const At& at) const {
      switch (order_sites().weakening_of(at, access)) {
        case Weakening::kNone:
        case Weakening::kDropped:
          break;
        case Weakening::kOneStep:
          order = rl::mo_acquire;
          break;
        case Weakening::kRelaxed:
          order = rl::mo_relaxed;
          break;
      }
      return raw.load(order, info(at));
    }
    void store(T value, Access access, rl::memory_order order, const At& at) {
      switch (order_sites().weakening_of(at, access)) {
        case Weakening::kNone:
          break;
        case Weakening::kOneStep:
          order = rl::mo_release;
          break;
        case Weakening::kRelaxed:
          order = rl::mo_relaxed;
          break;
        case Weakening::kDropped:
          return;
      }
      raw.store(value, order, info(at));
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

  static constexpr bool kNoThrow = true;
  static void point(const char*) noexcept {}
};

struct Search {
  unsigned iterations = 20'000;  // random schedules; with a context bound: at most so many
  unsigned context_bound = 0;    // 0: random; n: every schedule with n preemptions, to the end
};

// Runs one model in a process of its own: relacy replaces operator new and never frees its fibres'
// stacks. The sites are shared with the child. True when relacy found nothing; anything but an
// answer ends the program.
template <class Test>
bool model_holds(Search search, bool quiet) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (quiet) {
      const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(nowhere, STDOUT_FILENO);
    }
    rl::test_params parameters;
    parameters.iteration_count = search.iterations;
    parameters.search_type = rl::random_scheduler_type;
    if (search.context_bound != 0) {
      parameters.search_type = rl::fair_context_bound_scheduler_type;
      parameters.context_bound = search.context_bound;
    }
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

// Every model holds as written over `schedules` random ones, and with any one order taken away at
// least one of them fails within as many: to relaxed, and a seq_cst one also to acquire or release.
// Sites whose file name ends with one of `seen_elsewhere` belong to another header, which has its
// own models. A site whose function's name contains one of `beyond` has an order that relacy, which
// runs one access after the other, cannot show to be needed: the reason stands there. Returns the
// exit status of main().
template <class... Models>
int check_every_order(unsigned schedules,
                      std::initializer_list<std::string_view> seen_elsewhere = {},
                      std::initializer_list<std::string_view> beyond = {}) {
  OrderSites& sites = order_sites();
  sites.weaken(OrderSites::kNone, Weakening::kNone);
  if (!(model_holds<Models>({schedules}, false) && ...)) {
    std::printf("FAILED: a model does not hold as written\n");
    return 1;
  }
  if (sites.count() == 0) {
    std::printf("FAILED: no ordered access was seen, nothing was checked\n");
    return 1;
  }
  int missed = 0;
  const auto try_weaker = [&](std::size_t site, Weakening how, const char* name) {
    const OrderSite& at = sites.at(site);
    sites.weaken(site, how);
    const bool caught = !(model_holds<Models>({schedules}, true) && ...);
    std::printf("%s:%u:%u %s: %s\n", at.file, at.line, at.column, name,
                caught ? "caught" : "NOT CAUGHT");
    if (!caught) ++missed;
  };
  for (std::size_t site = 0; site < sites.count(); ++site) {
    const auto ends = [&](std::string_view end) {
      return std::string_view(sites.at(site).file).ends_with(end);
    };
    const auto contains = [&](std::string_view name) {
      return std::string_view(sites.at(site).function).find(name) != std::string_view::npos;
    };
    if (std::any_of(seen_elsewhere.begin(), seen_elsewhere.end(), ends)) continue;
    if (std::any_of(beyond.begin(), beyond.end(), contains)) continue;
    const Access access = sites.access(site);
    const bool seq_cst = access == Access::kSeqCstLoad || access == Access::kSeqCstStore;
    const bool load = access == Access::kLoad || access == Access::kSeqCstLoad;
    if (access != Access::kRelaxedStore) try_weaker(site, Weakening::kRelaxed, "relaxed");
    if (seq_cst) try_weaker(site, Weakening::kOneStep, "acquire or release");
    if (!load) try_weaker(site, Weakening::kDropped, "left out");
  }
  sites.weaken(OrderSites::kNone, Weakening::kNone);
  std::printf("%zu accesses, %d not caught, %u schedules each\n", sites.count(), missed, schedules);
  return missed == 0 ? 0 : 1;
}

// So many random schedules of the model as it is written. Returns the exit status of main().
template <class Test>
int draw(unsigned schedules) {
  order_sites().weaken(OrderSites::kNone, Weakening::kNone);
  const bool holds = model_holds<Test>({schedules}, false);
  std::printf("%u random schedules: %s\n", schedules, holds ? "hold" : "FAILED");
  return holds ? 0 : 1;
}

// Every schedule with `bound` preemptions, to the end. Returns the exit status of main().
template <class Test>
int search_to_the_end(unsigned bound) {
  order_sites().weaken(OrderSites::kNone, Weakening::kNone);
  const bool holds = model_holds<Test>({4'000'000'000U, bound}, false);
  std::printf("every schedule with at most %u preemptions: %s\n", bound,
              holds ? "holds" : "FAILED");
  return holds ? 0 : 1;
}

}  // namespace mesh::testing
