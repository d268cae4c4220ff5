#include "engine/coordination/merkle_sync.hpp"

#include <algorithm>
#include <tuple>

namespace mesh::coordination {
namespace {

constexpr std::size_t kRowBytes = 4 + 16 * MerkleMap::kFan;
constexpr std::size_t kStandingBytes = 40;

// Each element of a list has a byte 1 before it, the end a 0: nobody has to count beforehand.
bool another(StateReader& reader) { return reader.get<bool>() && !reader.failed(); }

std::uint64_t sum_of(std::span<const std::byte> value) noexcept { return checksum(value); }

bool read_sync_value(StateReader& reader, SyncValue& value, std::int64_t now_ns) {
  if (!another(reader)) return false;
  value = {};
  value.key = text_in(reader);
  reader.get(value.owner);
  reader.get(value.version);
  value.birth_ns = now_ns - std::int64_t{reader.get<std::uint32_t>()} * kNsPerMs;
  value.value = reader.get_bytes();
  return !reader.failed();
}

}  // namespace

class MerkleSync::Answer {
 public:
  Answer(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept
      : kind_(kind), to_(to), out_(out) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() { finish(); }
  // Where the next element of so many bytes goes; `first` is put at a message's head.
  StateWriter& next(std::size_t bytes, std::uint8_t first = 0) noexcept {
    if (writer_ != nullptr && out_.room(*writer_) < bytes + 2) finish();
    if (writer_ == nullptr) {
      writer_ = &out_.begin(GossipPart::sync, kind_, to_);
      writer_->put(first);
    }
    writer_->put(true);
    return *writer_;
  }
  void finish() noexcept {
    if (writer_ == nullptr) return;
    writer_->put(false);
    out_.end(GossipLane::sync);
    writer_ = nullptr;
  }

 private:
  Kind kind_;
  std::uint64_t to_;
  GossipOutbox& out_;
  StateWriter* writer_ = nullptr;
};

MerkleSync::MerkleSync(const MerkleSyncConfig& config)
    : config_(config),
      tree_(config.entries_max),
      entries_(config.entries_max),
      slots_(config.entries_max),
      index_(config.entries_max),
      store_(config.store_bytes),
      scratch_(config.value_bytes_max) {
  news_.reserve(config.entries_max);
  buckets_.reserve(1'024);
  theirs_.reserve(1'024);
}

// --- values ------------------------------------------------------------------------------------

Errc MerkleSync::judge(const SyncValue& value) const noexcept {
  if (!is_name(value.key)) return Errc::invalid_id;
  const bool is_possible = value.owner != 0 && value.version != 0 && value.version <= kVersionMax &&
                           value.value.size() <= config_.value_bytes_max;
  return is_possible ? Errc::ok : Errc::invalid_argument;
}
bool MerkleSync::is_newer(const Standing& one, const Standing& other) noexcept {
  return std::tie(one.version, one.owner, one.sum) >
         std::tie(other.version, other.owner, other.sum);
}
void MerkleSync::set_tree(std::uint32_t slot) noexcept {
  const Entry& one = entries_[slot];
  const IdHash version = hash_of(one.version, one.owner);
  tree_.set(slot, one.hash, hash_of(version.low, one.sum).low);
}

bool MerkleSync::has_room(const SyncValue& value) const noexcept {
  const std::uint32_t slot = index_.find(hash_of(value.key));
  if (slot == kNone && slots_.left() == 0) return false;
  const std::size_t freed =
      slot == kNone ? 0 : ChunkStore::chunks_for(entries_[slot].value.size_bytes);
  return ChunkStore::chunks_for(value.value.size()) <= store_.free_count() + freed;
}

Errc MerkleSync::put(const SyncValue& value, bool& is_news) noexcept {
  is_news = false;
  const Errc judged = judge(value);
  if (judged != Errc::ok) return judged;
  const IdHash hash = hash_of(value.key);
  const std::uint64_t sum = sum_of(value.value);
  std::uint32_t slot = index_.find(hash);
  const Standing word{hash, value.version, value.owner, sum};
  if (slot != kNone && !is_newer(word, standing(entries_[slot]))) {
    ++counters_.stale;
    return Errc::ok;
  }
  if (!has_room(value)) {
    ++counters_.left_out;
    return Errc::capacity;
  }
  if (slot == kNone) {
    slot = slots_.take();
    entries_[slot] = {};
    entries_[slot].key.assign(value.key);
    entries_[slot].hash = hash;
    index_.set(hash, slot);
  }
  Entry& one = entries_[slot];
  store_.free(one.value);
  one.value = store_.put(value.value);
  one.owner = value.owner;
  one.version = value.version;
  one.sum = sum;
  one.birth_ns = value.birth_ns;
  set_tree(slot);
  ++counters_.merged;
  is_news = true;
  return Errc::ok;
}

std::uint64_t MerkleSync::version_of(std::string_view key) const noexcept {
  const std::uint32_t slot = index_.find(hash_of(key));
  return slot == kNone ? 0 : entries_[slot].version;
}
SyncValue MerkleSync::read(std::uint32_t slot, std::vector<std::byte>& into) const {
  const Entry& one = entries_[slot];
  into.resize(one.value.size_bytes);
  store_.copy_head(one.value, into);
  return {one.key.view(), one.owner, one.version, one.birth_ns, into};
}
bool MerkleSync::find(std::string_view key, SyncValue& found, std::vector<std::byte>& into) const {
  const std::uint32_t slot = index_.find(hash_of(key));
  if (slot == kNone) return false;
  found = read(slot, into);
  return true;
}

// --- an exchange -------------------------------------------------------------------------------

void MerkleSync::begin(std::uint64_t to, GossipOutbox& out) noexcept {
  StateWriter& writer = out.begin(GossipPart::sync, root, to);
  tree_.root().save(writer);
  ++counters_.digests_sent;
  out.end(GossipLane::sync);
}

Errc MerkleSync::hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                      GossipOutbox& out) noexcept {
  news_.clear();
  const std::uint64_t from = envelope.from;
  if (from == config_.self) return Errc::invalid_argument;
  switch (envelope.kind) {
    case root:
      return hear_root(from, reader, out);
    case digests:
      return hear_digests(from, reader, out);
    case keys:
      return hear_keys(from, reader, now_ns, out);
    case values:
      return hear_values(reader, now_ns);
    case wants:
      return hear_wants(from, reader, now_ns, out);
    default:
      return Errc::bad_input;
  }
}

void MerkleSync::put_row(std::uint32_t level, std::uint32_t index, Answer& answer) noexcept {
  StateWriter& writer = answer.next(kRowBytes, static_cast<std::uint8_t>(level));
  writer.put(index);
  for (const IdHash& one : tree_.children(level, index)) one.save(writer);
  counters_.digests_sent += MerkleMap::kFan;
}

Errc MerkleSync::hear_root(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept {
  IdHash theirs;
  theirs.load(reader);
  if (reader.failed() || reader.left() != 0) return Errc::bad_input;
  if (theirs == tree_.root()) {
    ++counters_.roots_equal;
    return Errc::ok;
  }
  ++counters_.roots_different;
  Answer answer(digests, from, out);
  put_row(0, 0, answer);
  return Errc::ok;
}

Errc MerkleSync::hear_digests(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept {
  StateReader trial = reader;
  const auto level = trial.get<std::uint8_t>();
  bool is_possible = level < MerkleMap::kDepth;
  while (another(trial)) {
    is_possible = is_possible && trial.get<std::uint32_t>() < MerkleMap::nodes_of(level);
    for (std::uint32_t i = 0; i < MerkleMap::kFan; ++i) IdHash{}.load(trial);
  }
  if (!is_possible || trial.failed() || trial.left() != 0) return Errc::bad_input;
  compare_rows(from, reader, out);
  return Errc::ok;
}
void MerkleSync::compare_rows(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept {
  const std::uint32_t level = reader.get<std::uint8_t>();
  buckets_.clear();
  Answer answer(digests, from, out);
  while (another(reader)) {
    const auto index = reader.get<std::uint32_t>();
    const MerkleMap::Children mine = tree_.children(level, index);
    for (std::uint32_t i = 0; i < MerkleMap::kFan; ++i) {
      IdHash theirs;
      theirs.load(reader);
      if (theirs == mine[i]) continue;
      const std::uint32_t child = MerkleMap::kFan * index + i;
      if (level + 1 < MerkleMap::kDepth) {
        put_row(level + 1, child, answer);
      } else if (buckets_.size() < buckets_.capacity()) {
        buckets_.push_back(child);
      }
    }
  }
  answer.finish();
  if (!buckets_.empty()) send_keys(from, out);
}

// Which buckets differ, and what is in them here: one list of both, bucket by bucket.
void MerkleSync::send_keys(std::uint64_t to, GossipOutbox& out) noexcept {
  Answer answer(keys, to, out);
  for (const std::uint32_t bucket : buckets_) {
    std::uint32_t count = 0;
    tree_.for_bucket(bucket, [&](std::uint32_t) { ++count; });
    count = std::min<std::uint32_t>(count, 64);
    StateWriter& writer = answer.next(8 + count * kStandingBytes);
    writer.put(bucket);
    writer.put(count);
    tree_.for_bucket(bucket, [&](std::uint32_t slot) {
      if (count == 0) return;
      --count;
      const Standing one = standing(entries_[slot]);
      one.hash.save(writer);
      writer.put(one.version);
      writer.put(one.owner);
      writer.put(one.sum);
    });
  }
}

Errc MerkleSync::hear_keys(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                           GossipOutbox& out) noexcept {
  static_cast<void>(reader.get<std::uint8_t>());
  buckets_.clear();
  theirs_.clear();
  bool is_possible = true;
  while (another(reader)) {
    const auto bucket = reader.get<std::uint32_t>();
    const std::size_t count = reader.get_count(kStandingBytes);
    is_possible = is_possible && bucket < MerkleMap::kBuckets &&
                  theirs_.size() + count <= theirs_.capacity() &&
                  buckets_.size() < buckets_.capacity();
    if (!is_possible) return Errc::bad_input;
    buckets_.push_back(bucket);
    for (std::size_t i = 0; i < count; ++i) {
      Standing one;
      one.hash.load(reader);
      reader.get(one.version);
      reader.get(one.owner);
      reader.get(one.sum);
      theirs_.push_back(one);
    }
  }
  if (reader.failed() || reader.left() != 0) return Errc::bad_input;
  {
    Answer answer(values, from, out);
    for (const std::uint32_t bucket : buckets_) {
      tree_.for_bucket(bucket, [&](std::uint32_t slot) {
        const Standing mine = standing(entries_[slot]);
        const auto known = std::find_if(theirs_.begin(), theirs_.end(),
                                        [&](const Standing& one) { return one.hash == mine.hash; });
        if (known == theirs_.end() || is_newer(mine, *known)) put_value(slot, now_ns, answer);
      });
    }
  }
  Answer answer(wants, from, out);
  for (const Standing& one : theirs_) {
    const std::uint32_t slot = index_.find(one.hash);
    if (slot != kNone && !is_newer(one, standing(entries_[slot]))) continue;
    one.hash.save(answer.next(16));
  }
  return Errc::ok;
}

void MerkleSync::put_value(std::uint32_t slot, std::int64_t now_ns, Answer& answer) noexcept {
  const Entry& one = entries_[slot];
  const std::size_t bytes = 32 + one.key.view().size() + one.value.size_bytes;
  StateWriter& writer = answer.next(bytes);
  writer.put(one.key.view());
  writer.put(one.owner);
  writer.put(one.version);
  const std::int64_t age_ms = (now_ns - one.birth_ns) / kNsPerMs;
  writer.put(static_cast<std::uint32_t>(std::clamp<std::int64_t>(age_ms, 0, UINT32_MAX)));
  const std::size_t size = store_.copy_head(one.value, scratch_);
  writer.put(std::span<const std::byte>(scratch_).first(size));
  ++counters_.values_sent;
}

Errc MerkleSync::hear_values(StateReader& reader, std::int64_t now_ns) noexcept {
  StateReader trial = reader;
  SyncValue value;
  bool is_possible = true;
  static_cast<void>(trial.get<std::uint8_t>());
  while (read_sync_value(trial, value, now_ns)) {
    is_possible = is_possible && judge(value) == Errc::ok;
  }
  if (!is_possible || trial.failed() || trial.left() != 0) return Errc::bad_input;
  static_cast<void>(reader.get<std::uint8_t>());
  while (read_sync_value(reader, value, now_ns)) {
    bool is_news = false;
    static_cast<void>(put(value, is_news));  // what finds no room is counted
    if (is_news && news_.size() < news_.capacity()) {
      news_.push_back(index_.find(hash_of(value.key)));
    }
  }
  return Errc::ok;
}

Errc MerkleSync::hear_wants(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                            GossipOutbox& out) noexcept {
  StateReader trial = reader;
  static_cast<void>(trial.get<std::uint8_t>());
  while (another(trial)) IdHash{}.load(trial);
  if (trial.failed() || trial.left() != 0) return Errc::bad_input;
  static_cast<void>(reader.get<std::uint8_t>());
  Answer answer(values, from, out);
  while (another(reader)) {
    IdHash wanted;
    wanted.load(reader);
    const std::uint32_t slot = index_.find(wanted);
    if (slot != kNone) put_value(slot, now_ns, answer);
  }
  return Errc::ok;
}

// --- state -------------------------------------------------------------------------------------

namespace {

template <class Counters, class Visit>
void words_of_sync(Counters& counters, Visit&& visit) {
  visit(counters.merged);
  visit(counters.stale);
  visit(counters.left_out);
  visit(counters.roots_equal);
  visit(counters.roots_different);
  visit(counters.digests_sent);
  visit(counters.values_sent);
}

}  // namespace

void MerkleSync::save(StateWriter& writer) const {
  words_of_sync(counters_, [&](const auto& value) { writer.put(value); });
  writer.put(slots_.used());
  for (std::uint32_t slot = 0; slot < config_.entries_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Entry& one = entries_[slot];
    writer.put(slot);
    writer.put(one.key.view());
    writer.put(one.owner);
    writer.put(one.version);
    writer.put(one.birth_ns);
    writer.put(std::span<const std::byte>(store_.get(one.value)));
  }
}
void MerkleSync::load(StateReader& reader) {
  words_of_sync(counters_, [&](auto& value) { reader.get(value); });
  const std::size_t count = reader.get_count(36);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Entry& one = entries_[slot] = {};
    const bool has_key = one.key.assign(text_in(reader));
    reader.get(one.owner);
    reader.get(one.version);
    reader.get(one.birth_ns);
    const auto value = reader.get_bytes();
    one.hash = hash_of(one.key.view());
    const bool is_possible = has_key && index_.find(one.hash) == kNone &&
                             value.size() <= config_.value_bytes_max && store_.fits(value.size());
    if (!is_possible) return reader.fail();
    one.sum = sum_of(value);
    one.value = store_.put(value);
    index_.set(one.hash, slot);
    set_tree(slot);
  }
}
bool MerkleSync::is_sound() const noexcept {
  std::size_t chunks = 0;
  for (std::uint32_t slot = 0; slot < config_.entries_max; ++slot) {
    if (slots_.is_used(slot)) chunks += ChunkStore::chunks_for(entries_[slot].value.size_bytes);
  }
  return tree_.is_consistent() && tree_.count() == slots_.used() &&
         index_.count() == slots_.used() && chunks + store_.free_count() == store_.chunk_count();
}

}  // namespace mesh::coordination
