// What the view synchronizer looks like from outside: presets, the range of its config, the
// published view, bytes, and what must hold.
#include <algorithm>
#include <array>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/view_synchronizer.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"fast-consensus", "byzantine-tolerant",
                                                   "high-throughput"};

}  // namespace

std::string_view to_string(ViewSendKind kind) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"timeout", "tc", "wishes", "want_catch_up",
                                                   "catch_up"};
  const auto index = static_cast<std::size_t>(kind);
  return index < kNames.size() ? kNames[index] : "unknown";
}
std::string_view to_string(ViewOutcome outcome) noexcept {
  constexpr std::array<std::string_view, 7> kNames{
      "none", "ignored", "kept", "duplicate", "entered", "epoch_ahead", "violation"};
  const auto index = static_cast<std::size_t>(outcome);
  return index < kNames.size() ? kNames[index] : "unknown";
}
std::string_view to_string(ViewState state) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"idle", "active", "timed_out", "frozen"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ViewSyncConfig::names() noexcept { return kPresets; }

Result<ViewSyncConfig> ViewSyncConfig::preset(std::string_view name) {
  ViewSyncConfig config;
  if (name == "fast-consensus") {
    config.base_timeout = Nanos{200'000'000};
    config.multiplier_ppm = 1'500'000;
    config.max_timeout = Nanos{5'000'000'000};
    config.catch_up_threshold = 2;
    return config;
  }
  if (name == "byzantine-tolerant") {
    config.leader = LeaderRule::reputation;
    config.quorum = QuorumRule::max_live;
    config.auth = ViewAuth::ed25519;
    config.catch_up_threshold = 5;
    return config;
  }
  if (name == "high-throughput") {
    config.base_timeout = Nanos{500'000'000};
    config.multiplier_ppm = 1'500'000;
    config.max_timeout = Nanos{10'000'000'000};
    config.leader = LeaderRule::sticky;
    return config;
  }
  return unknown_preset("view synchronizer", name, kPresets);
}

Status ViewSynchronizer::validate(const Config& config) {
  const std::array<Check, 11> checks{{
      {config.faults <= FaultModel::crash && config.quorum <= QuorumRule::max_live &&
           config.leader <= LeaderRule::sticky && config.auth <= ViewAuth::ed25519 &&
           config.sync <= SyncMode::epochs,
       "faults, quorum, leader, auth or sync is no value of its enum"},
      {config.self != kEveryone, "self is no id"},
      {is_positive_duration(config.base_timeout) && is_positive_duration(config.max_timeout) &&
           config.base_timeout <= config.max_timeout &&
           config.max_timeout.count() <= kDurationMaxNs / 4,
       "base_timeout is not within 1 ns..max_timeout, or max_timeout above 9 years"},
      {config.multiplier_ppm >= kPpm && config.multiplier_ppm <= 100 * kPpm,
       "multiplier_ppm is outside 1000000..100000000"},
      {config.jitter_ppm <= kPpm / 10, "jitter_ppm is above 100000"},
      {config.sticky_views >= 1 && config.sticky_views <= kPpm,
       "sticky_views is outside 1..1000000"},
      {config.rep_alpha_ppm <= kPpm && config.rep_floor_ppm >= 1 && config.rep_floor_ppm <= kPpm,
       "rep_alpha_ppm is above 1000000, or rep_floor_ppm outside 1..1000000"},
      {config.catch_up_threshold >= 1 && config.max_view_jump >= 1 &&
           config.max_view_jump <= kViewMax,
       "catch_up_threshold or max_view_jump is 0, or max_view_jump above 2^62"},
      {is_positive_duration(config.divergence_window) && is_duration(config.delta) &&
           config.delta.count() <= kDurationMaxNs / 8,
       "divergence_window is outside 1 ns..36 years, or delta outside 0..4 years"},
      {config.history >= 4 && config.history <= 4'096 && config.members_max >= 1 &&
           config.members_max <= kMembersMax && config.sync_views <= kPpm &&
           (config.sync != SyncMode::epochs || config.leader != LeaderRule::sticky),
       "history is outside 4..4096, members_max outside 1..100, sync_views above 1000000, or "
       "leaders are sticky with sync by epochs"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

BftView ViewSynchronizer::view() const noexcept {
  return {view_, leader(view_), high_qc_.block, epoch_, consecutive_, state()};
}

// --- bytes -------------------------------------------------------------------------------------

void ViewSynchronizer::save_state(StateWriter& writer) const {
  rng_.save(writer);
  writer.put(epoch_);
  writer.put(told_epoch_);
  writer.put(running_);
  writer.put(static_cast<std::uint32_t>(members_.size()));
  for (const Member& member : members_) put_fields(member, writer);
  if (!running_) return;
  writer.put(epoch_hash_);
  for (const bool flag : {frozen_, counted_, divergence_told_}) writer.put(flag);
  writer.put(by_);
  for (const auto word : {view_, sent_, voted_, wished_}) writer.put(word);
  for (const auto word : voted_block_) writer.put(word);
  writer.put(consecutive_);
  writer.put(attempt_);
  for (const auto instant : {entered_ns_, timer_ns_, diverged_ns_}) writer.put(instant);
  put_fields(high_qc_, writer);
  put_fields(high_tc_, writer);
  for (const Heard& heard : heard_) put_fields(heard, writer);
  for (const Peer& peer : peers_) put_fields(peer, writer);
  for (const Certified& slot : certified_) put_fields(slot, writer);
  save_reputations(writer);
}

void ViewSynchronizer::save_reputations(StateWriter& writer) const {
  writer.put(commit_count_);
  const std::uint64_t kept = std::min<std::uint64_t>(commit_count_, config_.history);
  for (std::uint64_t at = 0; at < kept; ++at) {
    writer.put(commit_levels_[at]);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      writer.put(values_[at * config_.members_max + i]);
    }
  }
}

void ViewSynchronizer::load_state(StateReader& reader) {
  rng_.load(reader);
  reader.get(epoch_);
  reader.get(told_epoch_);
  reader.get(running_);
  load_members(reader);
  if (reader.failed() || !running_) return;
  forget_views();
  reader.get(epoch_hash_);
  load_views(reader);
  if (!reader.failed()) load_reputations(reader);
}

void ViewSynchronizer::load_members(StateReader& reader) {
  const std::size_t count = reader.get_count(48);
  if (count > config_.members_max) return reader.fail();
  std::uint64_t weight = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Member member;
    get_fields(member, reader);
    const bool is_next = members_.empty() || members_.back().agent < member.agent;
    const bool is_possible =
        is_next && member.agent != kEveryone && member.weight >= 1 && member.weight <= kWeightMax;
    if (!is_possible) return reader.fail();
    members_.push_back(member);
    weight += member.weight;
  }
  if (!running_) return;
  if (members_.empty()) return reader.fail();
  size_ = quorum_size(weight, config_.faults, config_.quorum);
  me_ = index_of(config_.self);
}

void ViewSynchronizer::load_views(StateReader& reader) {
  for (bool* flag : {&frozen_, &counted_, &divergence_told_}) reader.get(*flag);
  by_ = reader.get_enum(By::clock);
  for (auto* word : {&view_, &sent_, &voted_, &wished_}) reader.get(*word);
  for (auto& word : voted_block_) reader.get(word);
  reader.get(consecutive_);
  reader.get(attempt_);
  for (auto* instant : {&entered_ns_, &timer_ns_, &diverged_ns_}) reader.get(*instant);
  get_fields(high_qc_, reader);
  get_fields(high_tc_, reader);
  for (Heard& heard : heard_) get_fields(heard, reader);
  for (Peer& peer : peers_) get_fields(peer, reader);
  for (Certified& slot : certified_) get_fields(slot, reader);
  const std::size_t most = members_.size();
  const bool fits = high_qc_.signers.size() <= most && high_tc_.signers.size() <= most &&
                    high_tc_.ranks.size() == high_tc_.signers.size() &&
                    high_qc_.signatures.size() <= most * kSignatureBytes &&
                    high_tc_.signatures.size() <= most * kSignatureBytes;
  const bool is_possible = view_ <= kViewMax + kPpm && sent_ <= kViewMax + 1 &&
                           voted_ <= view_ + 1 && timer_ns_ >= 0 && entered_ns_ >= 0;
  if (!fits || !is_possible) reader.fail();
}

void ViewSynchronizer::load_reputations(StateReader& reader) {
  reader.get(commit_count_);
  const std::uint64_t kept = std::min<std::uint64_t>(commit_count_, config_.history);
  if (kept == 0) return reader.fail();
  for (std::uint64_t at = 0; at < kept; ++at) {
    reader.get(commit_levels_[at]);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      std::uint32_t& value = values_[at * config_.members_max + i];
      reader.get(value);
      if (value < 1 || value > kPpm) return reader.fail();
    }
  }
}

// --- what must hold ----------------------------------------------------------------------------

Status ViewSynchronizer::verify() const {
  if (!running_) return {};
  Signers voters;
  Signers leavers;
  const bool qc_holds =
      high_qc_.signers.empty() || weigh(high_qc_.signers, high_qc_.weight, size_.quorum, voters);
  const bool tc_holds =
      high_tc_.signers.empty() || weigh(high_tc_.signers, high_tc_.weight, size_.quorum, leavers);
  const std::uint64_t proven = std::max(rank_of(high_qc_), tc_target());
  const bool is_justified =
      view_ == proven || (config_.sync == SyncMode::epochs && view_ > proven &&
                          view_ / stretch() == proven / stretch());
  bool ranks_hold = true;
  for (const auto rank : high_tc_.ranks) ranks_hold = ranks_hold && rank <= rank_of(high_qc_);
  const std::uint64_t mine = is_member() ? heard_[me_].level : 0;
  const Counters& sums = counters_;
  const std::array<Check, 8> checks{{
      {qc_holds, "the highest quorum certificate is no quorum"},
      {tc_holds, "the highest timeout certificate is no quorum"},
      {is_justified, "the view was entered without a certificate"},
      {ranks_hold, "the timeout certificate knows a later block than this member"},
      {mine == sent_, "its own timeout is not the highest that it sent"},
      {voted_ <= view_ + 1, "it has voted in a view that it has not entered"},
      {weight_at(view_) < size_.quorum, "a quorum gave the view up, and it was not left"},
      {sums.duplicates + sums.unproven + sums.votes <= sums.commands,
       "more was counted than commanded"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ViewSynchronizer, ViewSyncConfig, ViewCommand, ViewReply,
                           ViewSyncCounters, ViewSyncActions>;

}  // namespace mesh::coordination
