// A recorder on virtual time over a real store and a real spill file.
#pragma once

#include <algorithm>
#include <numeric>

#include "engine/store/recorder.hpp"
#include "tests/engine/store/store_fixture.hpp"

namespace mesh::testing {

// Every record of the store, oldest first.
inline std::vector<engine::Record> records_of(engine::Store& store) {
  std::vector<engine::Record> records;
  engine::RecordQuery query{.limit = engine::kQueryLimitMax};
  for (;;) {
    auto page = store.find(query);
    EXPECT_TRUE(page) << page.error().sentence;
    if (!page || page->empty()) break;
    query.before = engine::RecordPlace{page->back().record.at, page->back().at.position};
    for (auto& stored : *page) records.push_back(std::move(stored.record));
  }
  std::reverse(records.begin(), records.end());
  return records;
}
inline std::vector<engine::Record> records_at(const std::string& where) {
  auto store = engine::open_store({.where = where});
  EXPECT_TRUE(store) << store.error().sentence;
  if (!store) return {};
  const auto seen = (*store)->verify({});
  EXPECT_TRUE(seen && seen->whole) << (seen ? seen->sentence : seen.error().sentence);
  return records_of(**store);
}

class RecorderTest : public ::testing::Test {
 protected:
  engine::RecorderOptions options() {
    engine::RecorderOptions options;
    options.open_store = [this]() -> Result<std::unique_ptr<engine::Store>> {
      opened_at_.push_back(now_);
      if (is_down_) return fail(Errc::closed, "down");
      return engine::open_store({.where = where_, .size_bytes_max = store_bytes_max_});
    };
    options.spill = {.path = folder_.file("spill"), .size_bytes = spill_bytes_};
    options.on_durable = [this](std::uint64_t ticket) { durable_.push_back(ticket); };
    options.on_alarm = [this](engine::RecorderAlarm what, const std::string&) {
      alarms_.push_back(what);
    };
    return options;
  }
  void start() { start(options()); }
  void start(engine::RecorderOptions options) {
    recorder_.reset();
    auto made = engine::Recorder::create(std::move(options));
    ASSERT_TRUE(made) << made.error().sentence;
    recorder_ = std::move(*made);
  }
  engine::OfferStatus offer(std::uint64_t number) {
    return recorder_->offer({.record = conflict(number), .ticket = number});
  }
  void offer(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      ASSERT_EQ(offer(first + i), engine::OfferStatus::kTaken);
  }
  bool turn(std::int64_t later_ms = 0) {
    now_ += Nanos{later_ms * kNsPerMs};
    return recorder_->turn(now_);
  }
  void turn_until_done() {
    for (int i = 0; i < 100'000; ++i) {
      turn(1'000);
      if (recorder_->unsettled() == 0 && recorder_->status().waiting == 0) return;
    }
    FAIL() << "records still wait: " << recorder_->status().last_failure;
  }
  std::vector<engine::Record> stored() {
    recorder_.reset();
    return records_at(where_);
  }

  ScratchDirectory folder_;
  std::string where_ = folder_.file("mesh.db");
  std::uint64_t spill_bytes_ = 1U << 20;
  std::uint64_t store_bytes_max_ = 0;
  bool is_down_ = false;
  HostTime now_ = from_ns(kNsPerSecond);
  std::vector<HostTime> opened_at_;
  std::vector<std::uint64_t> durable_;
  std::vector<engine::RecorderAlarm> alarms_;
  std::unique_ptr<engine::Recorder> recorder_;
};

inline std::vector<std::uint64_t> tickets(std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint64_t> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

}  // namespace mesh::testing
