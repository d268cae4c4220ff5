// A journal in a file, and a death by SIGKILL of the process that writes it, at a step of the
// service's commit or of the journal's transaction.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "engine/store/sqlite_journal.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::coordination::testing {

// Ends its own process when so many steps have been reached; 0: never.
class Killer {
 public:
  explicit Killer(std::size_t at) : left_(at) {}
  void reached() {
    if (left_ != 0 && --left_ == 0) ::kill(::getpid(), SIGKILL);
  }
  [[nodiscard]] JournalOptions options() {
    JournalOptions options;
    options.at_step = [](void* self, CommitStep) { static_cast<Killer*>(self)->reached(); };
    options.context = this;
    return options;
  }
  [[nodiscard]] engine::SqliteJournalOptions file(const std::string& where) {
    engine::SqliteJournalOptions options{.where = where, .service = "test"};
    options.at_step = [this](engine::JournalStep) { reached(); };
    return options;
  }

 private:
  std::size_t left_;
};

// As MemoryDisk, for CrashSweep. A killed process loses nothing that the kernel has: how much of
// what was not synced a power cut leaves is PowerCut's (sqlite_journal_power_test).
class SqliteDisk {
 public:
  static constexpr std::array<unsigned, 1> kKept{100};

  explicit SqliteDisk(unsigned) {}

  bool run(std::size_t at, const Life& life, std::size_t& answered) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      Killer killer(at);
      auto journal = engine::SqliteJournal::open(killer.file(where())).value();
      life(*journal, killer.options(), [&] { static_cast<void>(!::write(ends[1], "a", 1)); });
      ::_exit(0);
    }
    ::close(ends[1]);
    for (char byte = 0; ::read(ends[0], &byte, 1) == 1;) ++answered;
    ::close(ends[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    const bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(was_killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
    return was_killed;
  }
  Journal& reopened() {
    journal_.reset();
    journal_ = engine::SqliteJournal::open({.where = where(), .service = "test"}).value();
    return *journal_;
  }

 private:
  [[nodiscard]] std::string where() const { return folder_.file("journal.db"); }

  mesh::testing::ScratchDirectory folder_;
  std::unique_ptr<engine::SqliteJournal> journal_;
};

}  // namespace mesh::coordination::testing
