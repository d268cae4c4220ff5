// Records of a registry: their text, the index by type, the digests, what watchers are told.
#include <algorithm>

#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {
namespace {

constexpr std::size_t kHeadBytes = 2 * (sizeof(std::uint32_t) + kNameBytesMax);

bool is_text(std::string_view text, std::size_t bytes_max) noexcept {
  return text.size() <= bytes_max && is_utf8(text);
}
std::string_view text_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
template <std::size_t N>
std::uint64_t checksum_of(const std::array<std::uint64_t, N>& words) noexcept {
  return checksum(std::as_bytes(std::span(words)));
}

bool are_attributes(std::span<const Attribute> attributes) noexcept {
  std::size_t size_bytes = 0;
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    const Attribute& one = attributes[i];
    size_bytes += one.key.size() + one.value.size();
    const bool is_double =
        std::any_of(attributes.begin(), attributes.begin() + static_cast<std::ptrdiff_t>(i),
                    [&](const Attribute& other) { return other.key == one.key; });
    if (is_double || !is_name(one.key) || !is_utf8(one.value)) return false;
  }
  return size_bytes <= kAttributeBytesMax;
}

}  // namespace

std::strong_ordering compare(const RecordOrder& a, const RecordOrder& b) noexcept {
  if (const auto incarnation = a.incarnation <=> b.incarnation; incarnation != 0) {
    return incarnation;
  }
  if (a.is_tombstone != b.is_tombstone) {
    return a.is_tombstone ? std::strong_ordering::greater : std::strong_ordering::less;
  }
  if (const auto sequence = a.sequence <=> b.sequence; sequence != 0) return sequence;
  if (a.owner == b.owner) return std::strong_ordering::equal;
  return hash_of(a.owner, 0) <=> hash_of(b.owner, 0);
}

void ServiceDiscovery::Text::set(std::string_view text) noexcept {
  size = static_cast<std::uint32_t>(std::min(text.size(), bytes.size()));
  std::copy_n(text.begin(), size, bytes.begin());
}

bool ServiceDiscovery::TypeName::parse(std::string_view type) noexcept {
  if (!is_name(type)) return false;
  is_prefix = type == "*" || type.ends_with(".*");
  if (is_prefix) type.remove_suffix(1);
  if (is_prefix && type.empty()) return true;
  char before = '.';
  for (const char c : type) {
    const bool is_start = before == '.';
    if (c == '*' || (is_start && c == '.')) return false;
    before = c;
    if (is_start && c == '_') {
      before = '_';  // of a DNS-SD label; one without anything behind it ends in '.' or here
      continue;
    }
    bytes[size++] = c;
  }
  const bool ends_well = is_prefix ? before == '.' : before != '.';
  return ends_well && size != 0 && view().find("..") == std::string_view::npos &&
         view().front() != '.' && (is_prefix || view().back() != '.');
}

bool ServiceDiscovery::TypeName::covers(std::string_view type) const noexcept {
  return is_prefix ? type.starts_with(view()) : type == view();
}

// --- what is offered ---------------------------------------------------------------------------

ServiceDiscovery::Offered ServiceDiscovery::offered(const ServiceContent& content) noexcept {
  return {content.instance, content.type,    content.name,      content.agent,
          content.endpoint, content.version, &content.locality, content.attributes,
          content.weight,   content.status,  content.load_ppm,  content.lease.count()};
}

Errc ServiceDiscovery::judge(const Offered& offer) noexcept {
  const Locality& at = *offer.locality;
  for (const auto& text : {offer.name, offer.agent, std::string_view(at.region),
                           std::string_view(at.zone), std::string_view(at.rack)}) {
    if (!is_text(text, kNameBytesMax)) return Errc::invalid_id;
  }
  if (!is_text(offer.endpoint, kEndpointBytesMax)) return Errc::invalid_id;
  Semver version;
  const bool is_version =
      offer.version.size() <= kVersionBytesMax && coordination::parse(offer.version, version);
  const bool has_zone = at.rack.empty() || !at.zone.empty();
  const bool has_region = at.zone.empty() || !at.region.empty();
  const bool is_number =
      offer.weight >= 1 && offer.weight <= kLoadFull && offer.load_ppm <= kLoadFull;
  const bool is_sound = is_version && has_zone && has_region && is_number &&
                        offer.attributes.size() <= kAttributesMax &&
                        are_attributes(offer.attributes);
  return is_sound ? Errc::ok : Errc::invalid_argument;
}

void ServiceDiscovery::write_text(const Offered& offer) noexcept {
  scratch_.clear();  // keeps what it has reserved
  for (const auto text :
       {offer.instance, offer.type, offer.name, offer.agent, offer.endpoint, offer.version}) {
    scratch_.put(text);
  }
  const bool has_place = offer.locality != nullptr;
  for (const auto* part :
       {has_place ? &offer.locality->region : nullptr, has_place ? &offer.locality->zone : nullptr,
        has_place ? &offer.locality->rack : nullptr}) {
    scratch_.put(part == nullptr ? std::string_view() : std::string_view(*part));
  }
  scratch_.put(static_cast<std::uint32_t>(offer.attributes.size()));
  for (const auto& one : offer.attributes) {
    scratch_.put(one.key);
    scratch_.put(one.value);
  }
}

bool ServiceDiscovery::has_room(const Offered& offer, std::uint32_t slot) noexcept {
  write_text(offer);
  const bool is_new = slot == kNone;
  if (is_new && free_.empty()) return false;
  const bool is_live = offer.locality != nullptr;  // a tombstone stands in no type's index
  if (is_live && free_types_.empty() && find_type(offer.type) == kNone) return false;
  const std::size_t freed = is_new ? 0 : ChunkStore::chunks_for(slots_[slot].text.size_bytes);
  return ChunkStore::chunks_for(scratch_.bytes().size()) <= store_.free_count() + freed;
}

// --- slots and types ---------------------------------------------------------------------------

std::uint32_t ServiceDiscovery::take_slot(const IdHash& id) noexcept {
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  slots_[slot] = Slot{};
  slots_[slot].id = id;
  slots_[slot].is_used = true;
  ids_.set(id, slot);
  return slot;
}

void ServiceDiscovery::link(std::uint32_t slot, std::string_view type) noexcept {
  std::uint32_t row = find_type(type);
  if (row == kNone) {
    row = free_types_.back();
    free_types_.pop_back();
    types_[row].name.set(type);
    types_[row].id = hash_of(type);
    type_ids_.set(types_[row].id, row);
  }
  slots_[slot].type = row;
  slots_[slot].place = index_.append(types_[row].list, row_of(slot));
  ++live_;
}

void ServiceDiscovery::unlink(std::uint32_t slot) noexcept {
  Slot& one = slots_[slot];
  TypeRow& row = types_[one.type];
  slots_[index_.erase(row.list, one.place)].place = one.place;
  --live_;
  if (row.list.count == 0) {
    type_ids_.erase(row.id);
    free_types_.push_back(one.type);  // reserved
    row = TypeRow{};
  }
  one.type = kNone;
  one.place = kNone;
}

ServiceRow ServiceDiscovery::row_of(std::uint32_t slot) const noexcept {
  const Slot& one = slots_[slot];
  return {one.id,       one.expires_ns, one.region,  one.zone,       one.rack,  one.health,
          one.load_ppm, slot,           one.version, one.latency_ns, one.status};
}

void ServiceDiscovery::publish(std::uint32_t slot) noexcept {
  if (slots_[slot].is_live()) index_[slots_[slot].place] = row_of(slot);
}

ServiceIndex::List ServiceDiscovery::rows_of(std::string_view type) const noexcept {
  const std::uint32_t row = find_type(type);
  return row == kNone ? ServiceIndex::List{} : types_[row].list;
}

void ServiceDiscovery::sum_up(Slot& slot) const noexcept {
  slot.sum = checksum_of(std::array<std::uint64_t, 5>{
      slot.text_sum, slot.weight, static_cast<std::uint64_t>(slot.status), slot.load_ppm,
      static_cast<std::uint64_t>(slot.lease_ns)});
}

void ServiceDiscovery::store_facts(Slot& one, const Offered& offer) noexcept {
  one.region = hash_or_none(offer.locality->region);
  one.zone = hash_or_none(offer.locality->zone);
  one.rack = hash_or_none(offer.locality->rack);
  static_cast<void>(coordination::parse(offer.version, one.version));  // judged before
}

void ServiceDiscovery::store(std::uint32_t slot, const Offered& offer,
                             std::int64_t now_ns) noexcept {
  Slot& one = slots_[slot];
  const std::uint64_t before = one.sum;
  bool is_new = !one.is_live();
  if (!is_new && types_[one.type].name.view() != offer.type) {
    tell(ChangeKind::removed, slot, now_ns);
    unlink(slot);
    is_new = true;
  }
  if (is_new) link(slot, offer.type);
  const std::uint64_t text_sum = checksum(scratch_.bytes());
  if (is_new || text_sum != one.text_sum) {
    store_.free(one.text);
    one.text = store_.put(scratch_.bytes());
    one.text_sum = text_sum;
    store_facts(one, offer);
  }
  one.weight = offer.weight;
  one.status = one.declared = offer.status;
  one.load_ppm = offer.load_ppm;
  one.lease_ns = offer.lease_ns;
  publish(slot);
  sum_up(one);
  if (is_new || one.sum != before) {
    tell(is_new ? ChangeKind::added : ChangeKind::updated, slot, now_ns);
  }
}

void ServiceDiscovery::settle(std::uint32_t slot, std::int64_t expires_ns) noexcept {
  Slot& one = slots_[slot];
  one.expires_ns = expires_ns;
  if (one.is_live()) index_[one.place].expires_ns = expires_ns;  // all else: publish()
  queue(slot);
  tree_.set(slot, one.id,
            checksum_of(std::array<std::uint64_t, 5>{
                one.order.incarnation, one.order.is_tombstone ? 1U : 0U, one.order.sequence,
                one.order.owner, one.sum}));
  spread(slot);
}

void ServiceDiscovery::change(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Slot& one = slots_[slot];
  ++one.order.sequence;  // one a nanosecond would reach kIncarnationMax in 146 years
  publish(slot);
  sum_up(one);
  tell(ChangeKind::updated, slot, now_ns);
  settle(slot, one.expires_ns);
}

void ServiceDiscovery::bury(std::uint32_t slot, const RecordOrder& order, std::int64_t gone_ns,
                            std::int64_t now_ns) noexcept {
  Slot& one = slots_[slot];
  if (one.is_live()) {
    tell(ChangeKind::removed, slot, now_ns);
    Text instance;
    Text type;
    head_of(one, instance, type);
    write_text({instance.view(), type.view(), {}, {}, {}, {}});
    unlink(slot);
    store_.free(one.text);
    one.text = store_.put(scratch_.bytes());  // no more than it had
  }
  probes_.clear(slot);
  Slot tomb;
  tomb.id = one.id;
  tomb.is_used = true;
  tomb.is_listed = one.is_listed;
  tomb.spread = one.spread;
  tomb.queued_ns = one.queued_ns;
  tomb.order = order;
  tomb.order.is_tombstone = true;
  tomb.text = one.text;
  one = tomb;
  settle(slot, gone_ns);
}

void ServiceDiscovery::drop(std::uint32_t slot) noexcept {
  Slot& one = slots_[slot];
  leases_.clear(slot);
  tree_.erase(slot);
  ids_.erase(one.id);
  if (one.is_listed) spreading_.erase(nodes_, slot);
  store_.free(one.text);
  one = Slot{};
  free_.push_back(slot);  // reserved
}

// --- what it says ------------------------------------------------------------------------------

void ServiceDiscovery::head_of(const Slot& slot, Text& instance, Text& type) const noexcept {
  std::array<std::byte, kHeadBytes> head;
  const std::span<std::byte> bytes(head);
  StateReader reader(bytes.first(store_.copy_head(slot.text, bytes)));
  instance.set(text_of(reader.get_bytes()));
  type.set(text_of(reader.get_bytes()));
}

void ServiceDiscovery::tell(ChangeKind kind, std::uint32_t slot, std::int64_t now_ns) noexcept {
  Change& change = changes_[version_ % changes_.size()];
  ++version_;
  change.kind = kind;
  head_of(slots_[slot], change.instance, change.type);
  const std::uint64_t owner = slots_[slot].order.owner;
  if (kind == ChangeKind::added) emit(Event::added, Severity::info, now_ns, {version_, owner});
  if (kind == ChangeKind::removed) emit(Event::removed, Severity::info, now_ns, {version_, owner});
}

ServiceContent ServiceDiscovery::content_of(const Slot& slot) const {
  ServiceContent content;
  std::array<std::byte, kTextBytesMax> text_bytes;
  const std::span<std::byte> bytes(text_bytes);
  StateReader reader(bytes.first(store_.copy_head(slot.text, bytes)));
  for (auto* text : {&content.instance, &content.type, &content.name, &content.agent,
                     &content.endpoint, &content.version, &content.locality.region,
                     &content.locality.zone, &content.locality.rack}) {
    reader.get(*text);
  }
  content.attributes.resize(reader.get_count(8));
  for (auto& one : content.attributes) {
    reader.get(one.key);
    reader.get(one.value);
  }
  content.weight = slot.weight;
  content.status = slot.status;
  content.load_ppm = slot.load_ppm;
  content.lease = Nanos{slot.lease_ns};
  return content;
}

ServiceRecord ServiceDiscovery::record_of(const Slot& slot, std::int64_t now_ns) const {
  return {content_of(slot), slot.order, Nanos{std::max<std::int64_t>(slot.expires_ns - now_ns, 0)}};
}

std::vector<std::uint32_t> ServiceDiscovery::used_by_id() const {
  std::vector<std::uint32_t> used;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].is_used) used.push_back(i);
  }
  std::sort(used.begin(), used.end(),
            [&](std::uint32_t a, std::uint32_t b) { return slots_[a].id < slots_[b].id; });
  return used;
}

DiscoveryView ServiceDiscovery::view() const noexcept {
  return {version_, live_, slots_.size() - free_.size() - live_, partition_.state()};
}

Result<DiscoveredInstance> ServiceDiscovery::find(std::string_view instance) const {
  const std::uint32_t slot = ids_.find(hash_of(instance));
  if (slot == kNone || !slots_[slot].is_live()) {
    return complain(Errc::not_found, "no such instance");
  }
  return describe(slots_[slot]);
}

}  // namespace mesh::coordination
