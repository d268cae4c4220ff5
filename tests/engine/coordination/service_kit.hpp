// What is asked of every service alike: bad input refused, replay exact, damaged snapshots refused,
// a crash at any step harmless.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "engine/coordination/blocks/memory_journal.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/journaled_service.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination::testing {

inline std::vector<std::byte> bytes(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

template <CoordinationService Service>
struct BadInput {
  std::string name;
  typename Service::Command command;
  Errc code = Errc::invalid_argument;
  Nanos now{0};
};

// Exactly one refusal: its code, the state's hash as before, `refused` + 1, no event above debug.
template <CoordinationService Service>
void expect_refused(Service& service, const BadInput<Service>& bad) {
  SCOPED_TRACE(bad.name);
  const std::uint64_t hash = service.state_hash();
  const auto before = service.counters();
  const std::uint64_t events = service.events().last_sequence();
  const auto reply = service.apply(bad.command, bad.now);
  EXPECT_EQ(name_of(reply.code), name_of(bad.code));
  EXPECT_EQ(service.state_hash(), hash) << "a refused command changed the state";
  EXPECT_EQ(service.counters().refused, before.refused + 1);
  EXPECT_EQ(service.counters().commands, before.commands + 1);
  service.events().after(events, [](const EventRecord& event) {
    EXPECT_EQ(event.severity, Severity::debug) << "kind " << event.kind;
  });
  const auto sound = service.verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
}

template <CoordinationService Service>
void expect_all_refused(Service& service, const std::vector<BadInput<Service>>& bad) {
  ASSERT_FALSE(bad.empty());
  for (const auto& one : bad) expect_refused(service, one);
}

template <class Command>
struct Timed {
  Nanos now{0};
  Command command;
};

// Same commands, same bytes; and a machine that is restored again and again ends with the same
// bytes too.
template <CoordinationService Service>
void expect_replays(const typename Service::Config& config,
                    const std::vector<Timed<typename Service::Command>>& commands) {
  constexpr std::uint64_t kSeed = 7;
  Service first(config, kSeed);
  Service second(config, kSeed);
  auto restored = Service::restore(config, Service(config, kSeed).snapshot());
  ASSERT_TRUE(restored) << restored.error().sentence;
  const auto play = [&](Service& service, std::size_t i) {
    typename Service::Actions actions{};
    service.apply(commands[i].command, commands[i].now);
    service.tick(commands[i].now, actions);
  };
  for (std::size_t i = 0; i < commands.size(); ++i) {
    play(first, i);
    play(second, i);
    play(*restored, i);
    if (i % 7 == 6) {
      restored = Service::restore(config, restored->snapshot());
      ASSERT_TRUE(restored) << restored.error().sentence;
    }
  }
  EXPECT_EQ(first.snapshot(), second.snapshot());
  EXPECT_EQ(first.snapshot(), restored->snapshot()) << "restored it went another way";
  const auto sound = first.verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
}

// Cut anywhere or with any byte changed a snapshot is refused.
template <CoordinationService Service>
void expect_damage_found(const Service& service, const typename Service::Config& config) {
  const Snapshot whole = service.snapshot();
  ASSERT_TRUE(Service::restore(config, whole));
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    Snapshot cut{{whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(size)}};
    ASSERT_FALSE(Service::restore(config, cut)) << "cut to " << size;
  }
  for (std::size_t at = 0; at < whole.bytes.size(); ++at) {
    Snapshot flipped = whole;
    flipped.bytes[at] ^= std::byte{0x40};
    ASSERT_FALSE(Service::restore(config, flipped)) << "byte " << at;
  }
}

struct Death {};  // thrown where the process would have died

// What a service's life is given: the journal, what to call at each step, and whom to tell that
// another command is answered.
using Answered = std::function<void()>;
using Life = std::function<void(Journal&, const JournalOptions&, const Answered&)>;

// A journal in memory, and a death by exception. SqliteDisk (tests/engine/store) is its like.
class MemoryDisk {
 public:
  // Of the bytes that were not synced so many per cent survive.
  static constexpr std::array<unsigned, 3> kKept{0, 50, 100};

  explicit MemoryDisk(unsigned kept_percent) : kept_percent_(kept_percent) {}

  // Runs `life` until its step `at`; true: it died there. `answered` counts what was answered.
  bool run(std::size_t at, const Life& life, std::size_t& answered) {
    left_ = at;
    JournalOptions options;
    options.at_step = &MemoryDisk::step;
    options.context = this;
    try {
      life(journal_, options, [&] { ++answered; });
    } catch (const Death&) {
      journal_.crash(journal_.unsynced_bytes() * kept_percent_ / 100);
      return true;
    }
    return false;
  }
  Journal& reopened() { return journal_; }

 private:
  static void step(void* context, CommitStep) {
    auto& self = *static_cast<MemoryDisk*>(context);
    if (self.left_ != 0 && --self.left_ == 0) throw Death{};
  }

  unsigned kept_percent_;
  std::size_t left_ = 0;
  MemoryJournal journal_;
};

// Runs `requests` through a journaled service that dies at the k-th step, with what the disk keeps
// of the unsynced bytes chosen by `kept`; then opens it again and checks: answered => remembered
// with the same answer; not answered => sent again it ends in the same state as if nothing had
// happened.
template <DurableService Service, class Disk = MemoryDisk>
class CrashSweep {
 public:
  using Journaled = JournaledService<Service>;
  using Request = typename Journaled::Request;

  CrashSweep(typename Service::Config config,
             std::vector<Timed<typename Service::Command>> commands)
      : config_(std::move(config)), commands_(std::move(commands)) {}

  // A tick after each command, at its instant. A second one at that instant must do nothing: it is
  // what happens when a death comes between a tick and the next command.
  void with_ticks() { ticks_ = true; }
  // Every step, each with nothing, half and all of the unsynced bytes kept. Returns the deaths.
  std::size_t run(std::size_t checkpoint_every) {
    checkpoint_every_ = checkpoint_every;
    prepare();
    std::size_t deaths = 0;
    for (std::size_t at = 1;; ++at) {
      for (const unsigned kept_percent : Disk::kKept) {
        if (!dies_at(at, kept_percent)) return deaths;
        ++deaths;
        if (::testing::Test::HasFatalFailure()) return deaths;
      }
    }
  }
  // `count` deaths at random steps in one life after another.
  void run_random(std::size_t count, std::uint64_t seed) {
    prepare();
    Rng rng(seed);
    const std::size_t steps = 4 * commands_.size();
    for (std::size_t i = 0; i < count; ++i) {
      checkpoint_every_ = 1 + rng.below(8);
      dies_at(1 + rng.below(steps), static_cast<unsigned>(rng.below(101)));
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  // These three for what dies by other means: live() once, then resume() from whatever is left of
  // its journal.
  void prepare() { expected_ = undisturbed(); }
  void live(Journal& journal, const JournalOptions& options, const Answered& told) {
    auto service = Journaled::open(config_, journal, options);
    for (std::size_t i = 0; i < commands_.size(); ++i) {
      service->execute(request(i), commands_[i].now).value();
      tick(*service, i);
      told();
      if ((i + 1) % checkpoint_every_ == 0) {
        EXPECT_TRUE(service->checkpoint());
      }
    }
  }
  void resume(Journal& journal, std::size_t answered) {
    auto service = Journaled::open(config_, journal);
    ASSERT_TRUE(service) << service.error().sentence;
    const auto sound = service->service().verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
    const std::uint64_t hash = service->service().state_hash();
    for (std::size_t i = 0; i < answered; ++i) {
      const auto again = service->execute(request(i), commands_[i].now);
      ASSERT_TRUE(again);
      ASSERT_EQ(bytes_of(*again), expected_[i]) << "an answered command was answered anew: " << i;
    }
    ASSERT_EQ(service->service().state_hash(), hash) << "an answered command was lost";
    for (std::size_t i = answered; i < commands_.size(); ++i) {
      const auto reply = service->execute(request(i), commands_[i].now);
      ASSERT_TRUE(reply);
      ASSERT_EQ(bytes_of(*reply), expected_[i]) << "command " << i;
      tick(*service, i);
    }
    ASSERT_EQ(service->service().state_hash(), final_hash_);
  }

 private:
  // What a journaled service answers and ends as without any death.
  std::vector<std::vector<std::byte>> undisturbed() {
    MemoryJournal journal;
    auto service = Journaled::open(config_, journal);
    std::vector<std::vector<std::byte>> replies;
    for (std::size_t i = 0; i < commands_.size(); ++i) {
      replies.push_back(bytes_of(*service->execute(request(i), commands_[i].now)));
      tick(*service, i);
    }
    final_hash_ = service->service().state_hash();
    return replies;
  }
  void tick(Journaled& service, std::size_t i) const {
    typename Service::Actions lost{};
    if (ticks_) {
      EXPECT_TRUE(service.tick(commands_[i].now, lost));
    }
  }
  Request request(std::size_t i) const { return {{1, i + 1}, commands_[i].command}; }
  static std::vector<std::byte> bytes_of(const typename Service::Reply& reply) {
    StateWriter writer;
    Service::encode(reply, writer);
    return writer.take();
  }
  // False: it came through without reaching that many steps.
  bool dies_at(std::size_t at, unsigned kept_percent) {
    SCOPED_TRACE("death at step " + std::to_string(at) + ", " + std::to_string(kept_percent) +
                 " % of the unsynced bytes kept");
    Disk disk(kept_percent);
    std::size_t answered = 0;
    const bool died = disk.run(
        at,
        [this](Journal& journal, const JournalOptions& options, const Answered& told) {
          live(journal, options, told);
        },
        answered);
    resume(disk.reopened(), answered);
    return died;
  }
  typename Service::Config config_;
  std::vector<Timed<typename Service::Command>> commands_;
  std::vector<std::vector<std::byte>> expected_;
  std::uint64_t final_hash_ = 0;
  std::size_t checkpoint_every_ = 3;
  bool ticks_ = false;
};

}  // namespace mesh::coordination::testing
