#include "engine/coordination/lock_manager.hpp"

#include <algorithm>
#include <map>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/lock_kit.hpp"

namespace mesh::coordination {
namespace of_lock_manager_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::small_locks;
using testing::want;
using enum LockMode;

constexpr std::array kModes{is, ix, s, six, x};

LockMode mode_named(const std::string& name) {
  for (std::size_t i = 1; i < kLockModes; ++i) {
    if (to_string(static_cast<LockMode>(i)) == name) return static_cast<LockMode>(i);
  }
  return none;
}

LockReply take(LockManager& locks, const lock::Acquire& wanted, Nanos now = Nanos{0}) {
  return locks.apply(wanted, now);
}
// Of the news those of one kind: their agents.
std::vector<std::uint32_t> told(const std::vector<LockNews>& news, LockNotice kind) {
  std::vector<std::uint32_t> agents;
  for (const auto& one : news) {
    if (one.kind == kind) agents.push_back(one.agent);
  }
  return agents;
}

// --- goldens -----------------------------------------------------------------------------------

TEST(LockModes, StandTogetherAsTheGoldenTableSays) {
  const auto [inputs, expected] = golden("lock_manager", "compatibility");
  Json actual = Json::array();
  for (const auto a : kModes) {
    Json row = Json::array();
    for (const auto b : kModes) row.push_back(compatible(a, b) ? 1 : 0);
    actual.push_back(row);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(LockModes, BecomeTheirGoldenSupremum) {
  const auto [inputs, expected] = golden("lock_manager", "supremum");
  Json actual = Json::array();
  for (const auto a : kModes) {
    Json row = Json::array();
    for (const auto b : kModes) row.push_back(std::string(to_string(supremum(a, b))));
    actual.push_back(row);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(LockModes, ASupremumAllowsWhatBothAllowAndCompatibilityIsSymmetric) {
  for (std::uint8_t a = 0; a < kLockModes; ++a) {
    for (std::uint8_t b = 0; b < kLockModes; ++b) {
      const auto one = static_cast<LockMode>(a);
      const auto two = static_cast<LockMode>(b);
      EXPECT_EQ(compatible(one, two), compatible(two, one)) << a << ' ' << b;
      for (std::uint8_t c = 0; c < kLockModes; ++c) {
        const auto other = static_cast<LockMode>(c);
        EXPECT_EQ(compatible(supremum(one, two), other),
                  compatible(one, other) && compatible(two, other))
            << int{a} << ' ' << int{b} << ' ' << int{c};
      }
    }
  }
}

// Plays the steps of a golden lock table: agents by name, a lock by agent and resource.
class Table {
 public:
  explicit Table(const std::string& prevention)
      : locks_(
            small_locks(prevention == "wound_wait" ? Prevention::wound_wait : Prevention::none)) {}
  Json play(const Json& step) {
    const std::string verb = step.at(0);
    if (verb == "acquire") return acquire(step);
    if (verb == "release") return release(step);
    if (verb == "validate") {
      const auto reply = locks_.apply(lock::Validate{step.at(1), step.at(2)}, Nanos{0});
      return {{"status", name_of(reply.code)}};
    }
    const auto reply = locks_.apply(lock::Detect{}, Nanos{0});
    if (reply.cycle.empty()) return {{"victim", nullptr}};
    Json cycle = Json::array();
    for (const auto agent : reply.cycle) cycle.push_back(names_[agent]);
    const auto victims = told(reply.news, LockNotice::victim);
    return {{"victim", names_[victims.at(0)]}, {"cycle", cycle}};
  }

 private:
  Json acquire(const Json& step) {
    const auto agent = number_of(step.at(1));
    const auto reply =
        locks_.apply(want(agent, step.at(2), mode_named(step.at(3)), step.at(4)), Nanos{0});
    note(reply, agent, step.at(2));
    if (reply.ticket == 0) return {{"status", "ok"}, {"fence", reply.fence}};
    Json json{{"status", to_string(reply.refusal)}};
    Json wounded = Json::array();
    for (const auto one : told(reply.news, LockNotice::wounded)) wounded.push_back(names_[one]);
    if (!wounded.empty()) json["wounded"] = wounded;
    const Json granted = grants(reply);
    if (!granted.empty()) json["granted"] = granted;
    return json;
  }
  Json release(const Json& step) {
    const auto key = std::pair{number_of(step.at(1)), step.at(2).get<std::string>()};
    const auto reply = locks_.apply(lock::Release{grants_[key], 0}, Nanos{0});
    note(reply, key.first, key.second);
    if (reply.code != Errc::ok) return {{"status", name_of(reply.code)}};
    return {{"status", "ok"}, {"granted", grants(reply)}};
  }
  Json grants(const LockReply& reply) {
    Json granted = Json::array();
    for (const auto& one : reply.news) {
      if (one.kind != LockNotice::granted) continue;
      granted.push_back({{"agent", names_[one.agent]}, {"fence", one.fence}});
    }
    return granted;
  }
  void note(const LockReply& reply, std::uint32_t agent, const std::string& resource) {
    if (reply.ticket == 0 && reply.grant != 0) grants_[{agent, resource}] = reply.grant;
    for (const auto& one : reply.news) {
      if (one.kind == LockNotice::granted) grants_[{one.agent, resource}] = one.grant;
    }
  }
  std::uint32_t number_of(const std::string& name) {
    const auto known = std::find(names_.begin(), names_.end(), name);
    if (known != names_.end()) return static_cast<std::uint32_t>(known - names_.begin());
    names_.push_back(name);
    return static_cast<std::uint32_t>(names_.size() - 1);
  }

  LockManager locks_;
  std::vector<std::string> names_;
  std::map<std::pair<std::uint32_t, std::string>, std::uint64_t> grants_;
};

TEST(LockManager, PlaysTheGoldenTraces) {
  for (const char* name : {"fence_and_handoff", "intention_modes", "conversion_deadlock",
                           "cycle_of_three", "wound_wait", "no_barging"}) {
    SCOPED_TRACE(name);
    auto [inputs, expected] = golden("lock_manager", name);
    if (inputs.is_object()) {
      inputs = Json::array({inputs});
      expected = Json::array({expected});
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Table table(inputs[i].at("prevention"));
      Json actual = Json::array();
      for (const auto& step : inputs[i].at("steps")) actual.push_back(table.play(step));
      EXPECT_TRUE(matches(expected[i], actual)) << actual.dump();
    }
  }
}

// --- refusals ----------------------------------------------------------------------------------

TEST(LockManager, RefusesBadInputAndChangesNothing) {
  LockManager locks(small_locks());
  const auto parent = take(locks, want(0, "p", s));
  const auto child = take(locks, want(0, "p/c", s));
  take(locks, want(1, "q", x));
  const auto waits = take(locks, want(2, "q", x));
  auto strange = want(3, "z", static_cast<LockMode>(9));
  auto urgent = want(3, "z", x);
  urgent.priority = 101;
  auto long_lease = want(3, "z", x);
  long_lease.lease = Nanos{1'000'000'000'000};
  auto early = want(3, "z", x, -1);
  testing::expect_all_refused<LockManager>(
      locks, {{"empty name", want(3, "", x), Errc::invalid_id},
              {"oversize name", want(3, std::string(129, 'a'), x), Errc::invalid_id},
              {"name that is not UTF-8", want(3, "\xff", x), Errc::invalid_id},
              {"empty level", want(3, "a//b", x), Errc::invalid_id},
              {"level before the first", want(3, "/a", x), Errc::invalid_id},
              {"nine levels", want(3, "a/b/c/d/e/f/g/h/i", x), Errc::invalid_id},
              {"agent that is not there", want(8, "z", x), Errc::no_such_agent},
              {"no mode", want(3, "z", none)},
              {"mode that is not there", strange},
              {"priority that is not there", urgent},
              {"lease above the largest", long_lease},
              {"timestamp before all time", early},
              {"time below zero", want(3, "z", x), Errc::invalid_argument, Nanos{-1}},
              {"a second wait", want(2, "z", x), Errc::wrong_state},
              {"release of nothing", lock::Release{0, 0}, Errc::not_owner},
              {"release of another's number", lock::Release{child.grant + 1, 0}, Errc::not_owner},
              {"release by another station", lock::Release{child.grant, 7}, Errc::not_authorized},
              {"parent before its child", lock::Release{parent.grant, 0}, Errc::wrong_state},
              {"renewal above the largest", lock::Renew{child.grant, Nanos{1'000'000'000'000}, 0}},
              {"renewal below zero", lock::Renew{child.grant, Nanos{-1}, 0}},
              {"renewal of nothing", lock::Renew{77, Nanos{0}, 0}, Errc::not_owner},
              {"cancel of another's ticket", lock::Cancel{2, waits.ticket + 1, 0}, Errc::not_found},
              {"cancel by nobody", lock::Cancel{9, waits.ticket, 0}, Errc::no_such_agent},
              {"cancel by another station", lock::Cancel{2, waits.ticket, 9}, Errc::not_authorized},
              {"token of nothing", lock::Validate{"nothing", 1}, Errc::not_found},
              {"token for no name", lock::Validate{"", 1}, Errc::invalid_id},
              {"token from the future", lock::Validate{"q", 2}, Errc::stale_token},
              {"token 0", lock::Validate{"p", 0}, Errc::stale_token},
              {"version that does not stand", lock::RaiseVersion{"v", 3}, Errc::conflict},
              {"version of no name", lock::RaiseVersion{"", 0}, Errc::invalid_id},
              {"death of nobody", lock::AgentDead{8}, Errc::no_such_agent},
              {"station 0", lock::StationClosed{0}}});
}

TEST(LockManager, NamesTheFieldThatIsOutOfRange) {
  const auto refuses = [](auto change, std::string_view name) {
    LockManagerConfig config;
    change(config);
    const auto judged = LockManager::validate(config);
    ASSERT_FALSE(judged) << name;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(name), std::string::npos) << judged.error().sentence;
  };
  refuses([](auto& c) { c.lease_ns = Nanos{0}; }, "lease_ns");
  refuses([](auto& c) { c.lease_ns = c.lease_ns_max + Nanos{1}; }, "lease_ns_max");
  refuses([](auto& c) { c.timeout_ns = Nanos::max(); }, "timeout_ns");
  refuses([](auto& c) { c.fairness = Fairness::fifo; }, "wound_wait");
  refuses([](auto& c) { c.prevention = Prevention::wait_die; }, "wait_die");
  refuses([](auto& c) { c.detection_ns = Nanos{0}; }, "detection_ns");
  refuses([](auto& c) { c.aging_ns = Nanos::max(); }, "aging_ns");
  refuses([](auto& c) { c.agents_max = 0; }, "agents_max");
  refuses([](auto& c) { c.locks_max = 300'000; }, "locks_max");
  refuses([](auto& c) { c.resources_max = 7; }, "resources_max");
  refuses([](auto& c) { c.fault = LockFault::asks_holders_alone; }, "fault");
}

TEST(LockManager, RefusesWhatIsFullWithoutForgettingWhatLives) {
  auto config = small_locks();
  config.queue_max = 1;
  config.resources_max = 8;
  LockManager locks(config);
  take(locks, want(0, "r", x));
  take(locks, want(1, "r", x));
  testing::expect_all_refused<LockManager>(
      locks, {{"queue full", want(2, "r", x), Errc::capacity},
              {"more levels than resources", want(2, "a/b/c/d/e/f/g/h", x), Errc::capacity}});
  for (int i = 0; i < 7; ++i) {
    ASSERT_NE(take(locks, want(2, "l" + std::to_string(i), x)).grant, 0U);
  }
  testing::expect_all_refused<LockManager>(locks,
                                           {{"no resource left", want(3, "m", x), Errc::capacity}});
  EXPECT_EQ(locks.counters().forgotten, 0U);
}

TEST(LockManager, RefusesMoreLocksThanAnAgentMayHold) {
  auto config = small_locks();
  config.locks_per_agent_max = 3;
  LockManager locks(config);
  take(locks, want(0, "a/b/c", x));
  testing::expect_all_refused<LockManager>(locks,
                                           {{"the fourth", want(0, "d", x), Errc::capacity}});
  EXPECT_EQ(locks.locks_of(0), 3U);
}

}  // namespace of_lock_manager_test
}  // namespace mesh::coordination
