// CrashMemory: the memory policy that dies. Every access to a shared word or to published data, and
// every named point, is a site; the armed site kills, exits, faults or stops the process just
// before it is carried out.
//
// Enumeration: run once unarmed to count the sites of an operation, then fork once for each site.
// The death is real; what the survivors find in the mapping is what they would find in production.
#pragma once

#include <csignal>
#include <cstdint>
#include <set>
#include <string>

#include <unistd.h>

#include "shm/base/word.hpp"

namespace mesh::testing {

enum class Death : std::uint8_t { kKill, kExit, kFault, kStop };

struct CrashPlan {
  std::uint64_t sites = 0;  // passed so far
  std::uint64_t at = 0;     // dies before carrying out this one, counted from 1; 0: never
  Death death = Death::kKill;
  std::set<std::string>* names = nullptr;  // named points reached, when asked for
};
inline CrashPlan crash_plan;

inline void crash_site() noexcept {
  if (++crash_plan.sites != crash_plan.at) return;
  switch (crash_plan.death) {
    case Death::kKill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Death::kExit:
      ::_exit(77);
    case Death::kFault:
      std::signal(SIGSEGV, SIG_DFL);
      ::raise(SIGSEGV);
      break;
    case Death::kStop:
      ::raise(SIGSTOP);
      break;
  }
}

struct CrashMemory {
  template <class T>
  struct Word {
    ShmWord<T> word;
    [[nodiscard]] T load_relaxed() const noexcept { return crash_site(), word.load_relaxed(); }
    [[nodiscard]] T load_acquire() const noexcept { return crash_site(), word.load_acquire(); }
    [[nodiscard]] T load_seq_cst() const noexcept { return crash_site(), word.load_seq_cst(); }
    void store_relaxed(T value) noexcept { crash_site(), word.store_relaxed(value); }
    void store_release(T value) noexcept { crash_site(), word.store_release(value); }
    void store_seq_cst(T value) noexcept { crash_site(), word.store_seq_cst(value); }
  };
  template <class T>
  struct Plain {
    ShmPlain<T> plain;
    [[nodiscard]] T get() const noexcept { return crash_site(), plain.get(); }
    void set(T value) noexcept { crash_site(), plain.set(value); }
  };
  static constexpr bool kNoThrow = true;
  static void point(const char* name) noexcept {
    if (crash_plan.names != nullptr) crash_plan.names->insert(name);
    crash_site();
  }
};

}  // namespace mesh::testing
