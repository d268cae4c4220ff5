#include "engine/store/recorder.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <unistd.h>

#include "shm/base/assert.hpp"

namespace mesh::engine {

Result<std::unique_ptr<Recorder>> Recorder::create(RecorderOptions options) {
  if (!options.open_store || options.group_records_max == 0)
    return fail(Errc::invalid_argument, "recorder: it needs a store and room for a record");
  MESH_TRY(SpillFile spill, SpillFile::open(options.spill));
  std::unique_ptr<Recorder> recorder(new Recorder(std::move(options), std::move(spill)));
  if (recorder->spill_.damaged_bytes() != 0)
    recorder->alarm(RecorderAlarm::spill_damaged,
                    "spill file '" + recorder->options_.spill.path +
                        "': " + std::to_string(recorder->spill_.damaged_bytes()) +
                        " damaged bytes between whole records");
  return recorder;
}

Recorder::Recorder(RecorderOptions options, SpillFile spill)
    : options_(std::move(options)),
      queue_(options_.queue_records, options_.lanes, options_.other_threads),
      spill_(std::move(spill)),
      retry_after_(options_.retry_first) {
  status_.waiting = spill_.waiting();
  status_.spill_bytes_max = spill_.bytes_max();
}

OfferStatus Recorder::offer(Offered& offered) noexcept {
  if (!validate(offered.record)) return OfferStatus::kInvalid;
  if (queue_.try_push_from(offered)) return OfferStatus::kTaken;
  refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count, it orders nothing
  return OfferStatus::kFull;
}

std::size_t Recorder::unsettled() const noexcept { return group_.size() + queue_.size_hint(); }

RecorderStatus Recorder::status() const {
  const std::lock_guard lock(mutex_);
  RecorderStatus copy = status_;
  copy.refused = refused_.load(std::memory_order_relaxed);  // relaxed: a count
  return copy;
}

void Recorder::note(const std::function<void(RecorderStatus&)>& change) {
  const std::lock_guard lock(mutex_);
  change(status_);
  status_.waiting = spill_.waiting() - caught_up_;
  status_.in_memory = group_.size();
  status_.spill_bytes = spill_.bytes_used();
  status_.is_store_up = store_ != nullptr;
}

void Recorder::alarm(RecorderAlarm what, const std::string& sentence) {
  if (options_.on_alarm) options_.on_alarm(what, sentence);
}

bool Recorder::turn(HostTime now) {
  if (store_ == nullptr) open_store(now);
  take();
  bool is_busy = !group_.empty() && settle(now);
  if (spill_.waiting() != 0) is_busy = catch_up(now) || is_busy;
  return is_busy;
}

void Recorder::take() {
  constexpr std::size_t kAtOnce = 64;
  std::array<Offered, kAtOnce> room;
  std::size_t size_bytes = 0;
  while (group_.size() < options_.group_records_max && size_bytes < kGroupBytesMax) {
    const std::size_t wanted = std::min(kAtOnce, options_.group_records_max - group_.size());
    const std::size_t count = queue_.pop(std::span(room).first(wanted));
    if (count == 0) return;
    for (std::size_t i = 0; i < count; ++i) {
      size_bytes += encoded_bytes(room[i].record);
      group_.push_back(std::move(room[i].record));
      tickets_.push_back(room[i].ticket);
    }
  }
}

// True: some of the group became durable.
bool Recorder::settle(HostTime now) {
  reached(RecorderStep::before_write);
  const bool is_direct = store_ != nullptr && spill_.waiting() == caught_up_;
  return (is_direct && store_group(now)) || spill_group();
}

bool Recorder::store_group(HostTime now) {
  const auto done = store_->append(group_);
  if (!done) {
    lose_store(now, done.error());
    return false;
  }
  const std::size_t count = group_.size();
  acknowledge(count);
  note([&](RecorderStatus& status) {
    status.durable += count;
    status.stored += done->appended;
    status.repeated += done->repeated;
    ++status.groups;
  });
  is_full_ = false;
  store_works();
  return true;
}

bool Recorder::spill_group() {
  const std::size_t count = spill_.room_for(group_);
  const Status done =
      count == 0 ? Status(fail(Errc::no_space, "spill file '" + options_.spill.path +
                                                   "' is full: new records will be refused"))
                 : spill_.append(std::span<const Record>(group_).first(count));
  if (!done) {
    if (!std::exchange(is_full_, true)) alarm(RecorderAlarm::spill_full, done.error().sentence);
    note([&](RecorderStatus& status) { status.last_failure = done.error().sentence; });
    return false;
  }
  acknowledge(count);
  note([&](RecorderStatus& status) {
    status.durable += count;
    status.spilled += count;
  });
  return true;
}

void Recorder::acknowledge(std::size_t count) {
  reached(RecorderStep::before_acknowledge);
  if (options_.on_durable) std::for_each_n(tickets_.begin(), count, options_.on_durable);
  const auto done = static_cast<std::ptrdiff_t>(count);
  group_.erase(group_.begin(), group_.begin() + done);
  tickets_.erase(tickets_.begin(), tickets_.begin() + done);
}

bool Recorder::open_store(HostTime now) {
  if (now < retry_at_) return false;
  auto opened = options_.open_store();
  if (!opened) {
    lose_store(now, opened.error());
    return false;
  }
  store_ = std::move(*opened);
  note([](RecorderStatus&) {});
  return true;
}

void Recorder::lose_store(HostTime now, const Error& error) {
  store_.reset();  // a new connection: what an old one half did is its own
  retry_at_ = now + retry_after_;
  retry_after_ = std::min(2 * retry_after_, options_.retry_max);
  if (!std::exchange(is_down_, true)) alarm(RecorderAlarm::store_down, error.sentence);
  note([&](RecorderStatus& status) {
    ++status.failures;
    status.last_failure = error.sentence;
  });
}

void Recorder::store_works() {
  retry_after_ = options_.retry_first;
  if (std::exchange(is_down_, false))
    alarm(RecorderAlarm::store_back, "the store takes records again");
}

bool Recorder::catch_up(HostTime now) {
  if (store_ == nullptr) return false;
  if (caught_up_ == spill_.waiting()) {  // it could not be cleared the last time
    drained();
    return false;
  }
  const auto waiting = spill_.read(caught_up_, options_.group_records_max);
  const auto done =
      waiting ? store_->append(*waiting) : Result<Appended>(tl::unexpected(waiting.error()));
  if (!done) {
    lose_store(now, done.error());
    return false;
  }
  reached(RecorderStep::in_catch_up);
  caught_up_ += waiting->size();
  store_works();
  note([&](RecorderStatus& status) {
    status.stored += done->appended;
    status.repeated += done->repeated;
    ++status.groups;
  });
  if (caught_up_ == spill_.waiting()) drained();
  return true;
}

void Recorder::drained() {
  const Status cleared = spill_.clear();
  if (!cleared) {
    // All of it is in the store. The old file takes no more; a new one stands in its place.
    ::unlink(options_.spill.path.c_str());
    auto fresh = SpillFile::open(options_.spill);
    if (fresh) spill_ = std::move(*fresh);
    if (!fresh) alarm(RecorderAlarm::spill_full, fresh.error().sentence);
    if (!fresh) return;  // caught_up_ stands: nothing of it is sent again
  }
  caught_up_ = 0;
  is_full_ = false;
  note([](RecorderStatus&) {});
}

}  // namespace mesh::engine
