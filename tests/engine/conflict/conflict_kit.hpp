// What the tests of the conflict handler share: small configs, reports in one line, random
// histories.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/conflict/conflict_handler.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::tasks::testing {

using coordination::testing::Timed;

constexpr Nanos conflict_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos conflict_s(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

inline constexpr Nanos kNow = conflict_ms(1);
inline const std::vector<Participant> kTwo{{.agent = 0}, {.agent = 1}};

inline std::uint64_t reported(ConflictHandler& handler, const conflict::Report& report,
                              Nanos now = kNow) {
  const auto reply = handler.apply(report, now);
  EXPECT_EQ(name_of(reply.code), name_of(Errc::ok));
  return reply.conflict;
}

inline ConflictConfig small_conflicts() {
  ConflictConfig config;
  config.conflicts_max = 12;
  config.participants_max = 4;
  config.unlogged_max = 64;
  config.pairs_max = 8;
  config.agents_max = 8;
  config.events_max = 32;
  return config;
}

inline conflict::Report report_of(ConflictKind kind, std::string subject,
                                  std::vector<Participant> participants) {
  conflict::Report report;
  report.kind = kind;
  report.subject = std::move(subject);
  report.participants = std::move(participants);
  return report;
}
inline conflict::Resolve resolve_by(std::uint64_t conflict, ResolutionStrategy strategy,
                                    Evidence evidence = {}) {
  conflict::Resolve order;
  order.conflict = conflict;
  order.strategy = strategy;
  order.evidence = std::move(evidence);
  return order;
}
inline conflict::Resolve person_says(std::uint64_t conflict, std::uint32_t winner) {
  conflict::Resolve order;
  order.conflict = conflict;
  order.strategy = ResolutionStrategy::manual;
  order.winner = winner;
  return order;
}
inline std::vector<ConflictNews> ticked(ConflictHandler& handler, Nanos now) {
  ConflictActions actions;
  handler.tick(now, actions);
  return actions.news;
}

// Evidence that may concern agents 0..3, in a random order.
inline Evidence some_evidence(Rng& rng, std::uint32_t agents) {
  Evidence evidence;
  const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
  for (std::uint64_t i = rng.below(5); i != 0; --i) {
    evidence.votes.push_back({number(6), number(agents), 1 + number(3)});
  }
  for (std::uint64_t i = rng.below(5); i != 0; --i) {
    evidence.origins.push_back({number(agents), number(6), number(1'000'001), number(4) != 0});
  }
  if (rng.below(3) == 0) return evidence;
  for (std::uint32_t agent = 0; agent < agents; ++agent) {
    ClaimClock clock{agent, {{agent, 1 + rng.below(3)}}};
    if (rng.below(2) == 0) clock.entries.push_back({(agent + 1) % 4U, rng.below(3)});
    evidence.clocks.push_back(clock);
  }
  return evidence;
}

inline ConflictCommand some_report(Rng& rng) {
  const auto kind = static_cast<ConflictKind>(1 + rng.below(kConflictKinds - 1));
  std::vector<Participant> all;
  const auto agents = static_cast<std::uint32_t>(2 + (rng.below(3) == 0 ? rng.below(3) : 0));
  for (std::uint32_t agent = 0; agent < agents; ++agent) {
    Participant one{.agent = agent};
    if (rng.below(4) != 0) one.priority = static_cast<std::int64_t>(rng.below(4));
    if (rng.below(4) != 0) one.timestamp = 1 + rng.below(5);
    if (rng.below(2) != 0) one.bid = static_cast<std::int64_t>(rng.below(4));
    if (rng.below(2) != 0) one.reputation_ppm = static_cast<std::uint32_t>(rng.below(4));
    all.push_back(one);
  }
  auto report = report_of(kind, "s" + std::to_string(rng.below(4)), std::move(all));
  report.depth = static_cast<std::uint32_t>(rng.below(20));
  report.affected = static_cast<std::uint32_t>(rng.below(200));
  report.attempt = static_cast<std::uint32_t>(rng.below(5));
  return report;
}

// Commands of all kinds, some of which are refused.
inline std::vector<Timed<ConflictCommand>> conflict_trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<ConflictCommand>> commands;
  Nanos now{0};
  std::uint64_t reports = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t what = rng.below(20);
    const std::uint64_t which = 1 + rng.below(reports + 1);
    ConflictCommand command = conflict::Query{which};
    if (what < 7) {
      command = some_report(rng);
      ++reports;
    } else if (what < 11) {
      command = conflict::AutoResolve{which, some_evidence(rng, 2)};
    } else if (what < 15) {
      auto order = resolve_by(which, static_cast<ResolutionStrategy>(1 + rng.below(11)),
                              some_evidence(rng, 2));
      if (rng.below(3) == 0) order.winner = static_cast<std::uint32_t>(rng.below(4));
      command = order;
    } else if (what < 17) {
      command = conflict::AssignManual{which, static_cast<std::uint32_t>(rng.below(3)), "look"};
    } else if (what < 19) {
      command = conflict::Logged{rng.below(2 * i + 1)};
    }
    commands.push_back({now, command});
    now += conflict_s(static_cast<std::int64_t>(rng.below(90)));
  }
  return commands;
}

}  // namespace mesh::tasks::testing
