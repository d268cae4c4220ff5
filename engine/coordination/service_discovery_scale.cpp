// What a registry does where there are too many to know all of: summaries by type for other
// domains, subsets for clients.
#include <algorithm>

#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {
namespace {

constexpr std::int64_t kSummaryLives = 3;  // intervals of anti-entropy without a newer one

IdHash key_of(std::string_view type, std::uint64_t peer) noexcept {
  return hash_of(hash_of(type).low, peer);
}

}  // namespace

// --- summaries ---------------------------------------------------------------------------------

// All types, to each domain, in as many messages as it takes.
void ServiceDiscovery::send_summaries(std::int64_t now_ns, Actions& out) {
  const auto is_due = [](const Peer& peer) { return peer.summaries_only && peer.is_reachable; };
  if (std::none_of(peers_.begin(), peers_.end(), is_due)) return;
  const auto all = summaries(Nanos{now_ns});
  for (const auto& peer : peers_) {
    if (!is_due(peer)) continue;
    for (std::size_t from = 0; from < all.size(); from += config_.message_records_max) {
      const std::size_t to = std::min<std::size_t>(all.size(), from + config_.message_records_max);
      SyncMessage message;
      message.kind = SyncKind::summaries;
      message.summaries.assign(all.begin() + static_cast<std::ptrdiff_t>(from),
                               all.begin() + static_cast<std::ptrdiff_t>(to));
      out.sends.push_back({peer.id, std::move(message)});
    }
  }
}

bool ServiceDiscovery::is_possible(const TypeSummary& summary) noexcept {
  TypeName type;
  return type.parse(summary.type) && !type.is_prefix && type.view() == summary.type &&
         summary.healthy <= summary.live && summary.load_ppm_mean <= kLoadFull;
}

void ServiceDiscovery::take_summary(std::uint64_t peer, const TypeSummary& summary,
                                    std::int64_t now_ns, Reply& reply) noexcept {
  const IdHash key = key_of(summary.type, peer);
  std::uint32_t at = summary_ids_.find(key);
  if (at == kNone && free_summaries_.empty()) {
    ++reply.left_out;
    return;
  }
  if (at == kNone) {
    at = free_summaries_.back();
    free_summaries_.pop_back();
    summary_ids_.set(key, at);
  }
  HeardSummary& one = heard_summaries_[at];
  one.peer = peer;
  one.type.set(summary.type);
  one.live = summary.live;
  one.healthy = summary.healthy;
  one.load_ppm = summary.load_ppm_mean;
  one.heard_ns = now_ns;
  ++reply.taken;
}

ServiceDiscovery::Reply ServiceDiscovery::hear_summaries(const discovery::Hear& heard,
                                                         std::int64_t now_ns) noexcept {
  const auto& all = heard.message.summaries;
  if (!std::all_of(all.begin(), all.end(), [](const auto& one) { return is_possible(one); })) {
    return refuse(Errc::invalid_argument);
  }
  Reply reply;
  for (const auto& summary : all) take_summary(heard.peer, summary, now_ns, reply);
  reply.version = version_;
  return reply;
}

void ServiceDiscovery::forget_summaries(std::int64_t now_ns) noexcept {
  const std::int64_t life_ns = kSummaryLives * config_.anti_entropy_ns.count();
  for (std::uint32_t at = 0; at < heard_summaries_.size(); ++at) {
    HeardSummary& one = heard_summaries_[at];
    if (one.peer == 0 || now_ns - one.heard_ns < life_ns) continue;
    summary_ids_.erase(key_of(one.type.view(), one.peer));
    one.peer = 0;
    free_summaries_.push_back(at);  // reserved
  }
}

std::vector<DomainSummary> ServiceDiscovery::elsewhere(std::string_view type) const {
  std::vector<DomainSummary> all;
  TypeName wanted;
  if (!wanted.parse(type)) return all;
  for (const auto& one : heard_summaries_) {
    if (one.peer == 0 || !wanted.covers(one.type.view())) continue;
    all.push_back({one.peer,
                   {std::string(one.type.view()), one.live, one.healthy, one.load_ppm},
                   Nanos{one.heard_ns}});
  }
  std::sort(all.begin(), all.end(), [](const DomainSummary& a, const DomainSummary& b) {
    return a.peer != b.peer ? a.peer < b.peer : a.summary.type < b.summary.type;
  });
  return all;
}

void ServiceDiscovery::save_summaries(StateWriter& writer) const {
  writer.put(static_cast<std::uint32_t>(heard_summaries_.size() - free_summaries_.size()));
  for (const auto& one : heard_summaries_) {
    if (one.peer == 0) continue;
    writer.put(one.peer);
    writer.put(one.type.view());
    for (const auto count : {one.live, one.healthy, one.load_ppm}) writer.put(count);
    writer.put(one.heard_ns);
  }
}

void ServiceDiscovery::load_summaries(StateReader& reader) {
  const std::size_t count = reader.get_count(8 + 4 + 12 + 8);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    TypeSummary summary;
    const auto peer = reader.get<std::uint64_t>();
    reader.get(summary.type);
    for (auto* number : {&summary.live, &summary.healthy, &summary.load_ppm_mean}) {
      reader.get(*number);
    }
    const auto heard_ns = reader.get<std::int64_t>();
    const bool has_place = peer != 0 && is_possible(summary) && !free_summaries_.empty();
    if (reader.failed() || !has_place) return reader.fail();
    Reply unused;
    take_summary(peer, summary, heard_ns, unused);
  }
}

// --- subsets -----------------------------------------------------------------------------------

// Clients are dealt out in rounds: in each, all instances are shuffled alike for everybody and cut
// into subsets, and each client of the round takes another one. So every instance has as many
// clients as any other, give or take one round.
Result<std::vector<std::string>> ServiceDiscovery::subset(std::string_view type,
                                                          std::uint64_t client, std::uint32_t size,
                                                          Nanos now) const {
  if (size == 0) return complain(Errc::invalid_argument, "a subset of 0");
  MESH_TRY(const std::int64_t now_ns, instant_of(now));
  TypeName wanted;
  if (!wanted.parse(type) || wanted.is_prefix) {
    return complain(Errc::invalid_id, "no type has the name \"" + std::string(type) + "\"");
  }
  std::vector<std::pair<IdHash, std::uint32_t>> all;  // in the same order on every node
  index_.for_each(rows_of(wanted.view()), [&](const ServiceRow& row) {
    if (is_healthy(row) && now_ns < row.expires_ns) all.emplace_back(row.id, row.record);
  });
  if (all.empty()) return complain(Errc::no_candidate, "nobody offers " + std::string(type));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::uint64_t subsets = std::max<std::uint64_t>(1, all.size() / size);
  Rng rng(client / subsets);
  for (std::size_t i = all.size() - 1; i != 0; --i) std::swap(all[i], all[rng.below(i + 1)]);
  const std::size_t from = static_cast<std::size_t>(client % subsets) * size;
  std::vector<std::string> names;
  for (std::size_t i = from; i < std::min<std::size_t>(all.size(), from + size); ++i) {
    names.push_back(content_of(slots_[all[i].second]).instance);
  }
  return names;
}

}  // namespace mesh::coordination
