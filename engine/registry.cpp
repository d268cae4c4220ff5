#include "engine/registry.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "sched/lead_time.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

AgentPriors priors_of(sched::AgentClass agent_class) noexcept {
  const sched::NominalPlan plan =
      sched::nominal({.agent_class = agent_class,
                      .latency_ms = sched::prior_latency_ms(agent_class),
                      .drift = sched::kPriorDrift,
                      .reliability = sched::kPriorReliability},
                     {});
  return {static_cast<float>(sched::prior_latency_ms(agent_class)),
          static_cast<float>(sched::base_processing_ms(agent_class)),
          static_cast<std::uint16_t>(std::clamp(std::round(plan.lead_ms), 0.0, 1'000.0)),
          sched::confidence_bits(plan.confidence)};
}

namespace registry_rows_detail {
tl::unexpected<Error> corrupt_row(std::size_t row, const std::string& what) {
  return fail(Errc::corrupt, "table agent row " + std::to_string(row) + ": " + what,
              static_cast<std::int64_t>(row));
}
}  // namespace registry_rows_detail
using registry_rows_detail::corrupt_row;

Registry::Registry(const AgentRows<HostMemory>& agents, const OwnerRows<HostMemory>& owners,
                   const RegistryOptions& options)
    : rows_(agents, owners),
      options_(options),
      live_(agents.rows()),
      free_(agents.rows()),
      index_(agents.rows(), options.hash_seed),
      nodes_(agents.rows() + 1 + kMaxStations) {
  for (std::uint32_t node = 0; node < nodes_.size(); ++node) nodes_[node] = {node, node};
}

Result<Registry> Registry::create(const AgentRows<HostMemory>& agents,
                                  const OwnerRows<HostMemory>& owners,
                                  const RegistryOptions& options) {
  if (agents.rows() < 1 || agents.rows() > kMaxAgents || agents.rows() != owners.rows()) {
    return fail(Errc::invalid_argument,
                "registry: " + std::to_string(agents.rows()) + " rows in the table and " +
                    std::to_string(owners.rows()) + " in `engine`; both have the same, 1 to " +
                    std::to_string(kMaxAgents));
  }
  Registry registry(agents, owners, options);
  MESH_CHECK_OK(registry.set_agent_ttl(options.agent_ttl));
  MESH_CHECK_OK(registry.rebuild());
  return registry;
}

Status Registry::set_agent_ttl(Nanos ttl) {
  if (ttl < Nanos{0}) {
    return fail(Errc::invalid_argument,
                "registry: agent_ttl is " + std::to_string(ttl.count()) + " ns");
  }
  options_.agent_ttl = ttl;
  return {};
}

// From the columns alone: a name twice, which no death leaves behind, is corrupt.
Status Registry::rebuild() {
  std::vector<std::uint32_t> offline;
  for (std::uint32_t row = 0; row < rows(); ++row) {
    MESH_TRY(const RecoveredRow kind, rows_.recover(row));
    if (kind == RecoveredRow::kFree) {
      free_.insert(row);
      continue;
    }
    const NameBytes name = rows_.name_of(row);
    const std::uint32_t key = index_.key(name.view());
    if (const std::uint32_t other = find_row(name.view(), key); other != NameIndex::kNone) {
      return corrupt_row(row, "its name " + std::string(name.view()) + " is row " +
                                  std::to_string(other) + "'s too");
    }
    index_.insert(key, row);
    live_[row] = rows_.id_of(row);
    if (rows_.station_of(row) != kNoStation) {
      link_last(head_of(rows_.station_of(row)), row);
    } else {
      offline.push_back(row);
    }
  }
  std::stable_sort(offline.begin(), offline.end(), [&](std::uint32_t a, std::uint32_t b) {
    return rows_.offline_since_ns_of(a) < rows_.offline_since_ns_of(b);
  });
  for (const std::uint32_t row : offline) link_last(head_of(kNoStation), row);
  offline_ = offline.size();
  if (!offline.empty()) latest_ = from_ns(rows_.offline_since_ns_of(offline.back()));
  return {};
}

Status Registry::check(const Enrolment& enrolment) const {
  MESH_CHECK_OK(check_name("enrol an agent", enrolment.name));
  const Attachment& attachment = enrolment.attachment;
  if (attachment.station == kNoStation || !sched::is_known(attachment.agent_class)) {
    return fail(Errc::invalid_argument,
                "enrol " + std::string(enrolment.name) + ": station " +
                    std::to_string(static_cast<unsigned>(attachment.station)) + ", class " +
                    std::to_string(static_cast<unsigned>(attachment.agent_class)) +
                    "; stations are numbered from 1, classes 0 to " +
                    std::to_string(sched::kAgentClassCount - 1));
  }
  const std::uint32_t row = find_row(enrolment.name, index_.key(enrolment.name));
  if (row == NameIndex::kNone || rows_.uid_of(row) == enrolment.uid) return {};
  // Whose it is, is none of the asker's business.
  return fail(Errc::name_taken,
              "enrol " + std::string(enrolment.name) + ": the name belongs to another user");
}

Result<Enrolled> Registry::enrol(const Enrolment& enrolment) {
  MESH_CHECK_OK(check(enrolment));
  const Attachment& attachment = enrolment.attachment;
  const std::uint32_t key = index_.key(enrolment.name);
  if (const std::uint32_t row = find_row(enrolment.name, key); row != NameIndex::kNone)
    return come_back(row, enrolment);
  const std::uint32_t row = free_.lowest();
  if (row == RowSet::kNone) {
    return fail(Errc::capacity,
                "enrol " + std::string(enrolment.name) + ": all " + std::to_string(rows()) +
                    " rows of this mesh are taken",
                static_cast<std::int64_t>(rows()));
  }
  live_[row] = rows_.take(row, encode(enrolment.name), enrolment.uid, attachment);
  free_.erase(row);
  index_.insert(key, row);
  link_last(head_of(attachment.station), row);
  return Enrolled{live_[row], 1, kNoStation};
}

Result<AgentId> Registry::expect(const Enrolment& enrolment, HostTime now) {
  MESH_CHECK_OK(check_name("expect an agent", enrolment.name));
  const std::string who = "expect " + std::string(enrolment.name) + ": ";
  if (!sched::is_known(enrolment.attachment.agent_class))
    return fail(Errc::invalid_argument, who + "it is of an unknown class");
  const std::uint32_t key = index_.key(enrolment.name);
  if (find_row(enrolment.name, key) != NameIndex::kNone)
    return fail(Errc::name_taken, who + "an agent has this name");
  const std::uint32_t row = free_.lowest();
  if (row == RowSet::kNone)
    return fail(Errc::capacity,
                who + "all " + std::to_string(rows()) + " rows of this mesh are taken",
                static_cast<std::int64_t>(rows()));
  live_[row] = rows_.expect(row, encode(enrolment.name), enrolment.uid,
                            {enrolment.attachment, to_ns(not_before(now))});
  free_.erase(row);
  index_.insert(key, row);
  link_last(head_of(kNoStation), row);
  ++offline_;
  return live_[row];
}

Enrolled Registry::come_back(std::uint32_t row, const Enrolment& enrolment) noexcept {
  const StationId before = rows_.station_of(row);
  if (before == kNoStation) --offline_;
  rows_.attach(row, enrolment.attachment);
  unlink(row);
  link_last(head_of(enrolment.attachment.station), row);
  return {live_[row], rows_.incarnation_of(row), before};
}

Result<AgentId> Registry::forget(std::string_view name) {
  const std::uint32_t row = find_row(name, index_.key(name));
  if (row == NameIndex::kNone) {
    MESH_CHECK_OK(check_name("forget an agent", name));
    return fail(Errc::no_such_agent, "forget " + std::string(name) + ": no agent has this name");
  }
  if (const StationId station = rows_.station_of(row); station != kNoStation) {
    return fail(Errc::not_ready, "forget " + std::string(name) + ": it is attached, by station " +
                                     std::to_string(static_cast<unsigned>(station)));
  }
  return release(row);
}

Registry::Detached Registry::detach(StationId station, HostTime now,
                                    std::span<AgentIndex> rows) noexcept {
  MESH_ASSERT(station != kNoStation);
  const std::int64_t now_ns = to_ns(not_before(now));
  const std::uint32_t head = head_of(station);
  std::size_t count = 0;
  for (; count < rows.size() && nodes_[head].next != head; ++count) {
    const std::uint32_t row = nodes_[head].next;
    rows_.detach(row, now_ns);
    unlink(row);
    link_last(head_of(kNoStation), row);
    rows[count] = agent_index(row);
  }
  offline_ += count;
  return {count, nodes_[head].next != head};
}

std::size_t Registry::expire(HostTime now, std::span<AgentId> freed) noexcept {
  const std::int64_t now_ns = to_ns(not_before(now));
  const std::uint32_t head = head_of(kNoStation);
  std::size_t count = 0;
  for (std::uint32_t looked = 0; looked < kUpkeepRowsPerTick && count < freed.size(); ++looked) {
    const std::uint32_t row = nodes_[head].next;
    if (row == head) break;
    if (now_ns - rows_.offline_since_ns_of(row) < options_.agent_ttl.count()) break;
    if (rows_.state_of(row) == AgentState::quarantined ||
        (rows_.routing_of(row) & ~(kNewcomer | kSpiking)) != 0) {
      rows_.detach(row, now_ns);  // offline from now: looked at again after another agent_ttl
      unlink(row);
      link_last(head, row);
      continue;
    }
    freed[count++] = release(row);
  }
  return count;
}

AgentId Registry::release(std::uint32_t row) noexcept {
  MESH_ASSERT(rows_.station_of(row) == kNoStation);
  const AgentId id = live_[row];
  const NameBytes name = rows_.name_of(row);
  rows_.release(row);
  index_.erase(index_.key(name.view()), row);
  live_[row] = AgentId{0};
  unlink(row);
  --offline_;
  free_.insert(row);
  return id;
}

Result<AgentIndex> Registry::find(AgentId id) const {
  const AgentIndex row = resolve(id);
  if (row != kNoAgent) return row;
  const std::string who = "agent " + std::to_string(row_of(index_of(id))) + " of generation " +
                          std::to_string(static_cast<std::uint64_t>(generation_of(id)));
  return fail(Errc::no_such_agent, who + ": no agent has this handle, or none has it any more");
}

std::optional<AgentId> Registry::find(std::string_view name) const noexcept {
  const std::uint32_t row = find_row(name, index_.key(name));
  if (row == NameIndex::kNone) return std::nullopt;
  return live_[row];
}

std::uint32_t Registry::find_row(std::string_view name, std::uint32_t key) const noexcept {
  if (name.empty() || name.size() > kAgentNameBytes) return NameIndex::kNone;
  return index_.find(key, [&](std::uint32_t row) { return rows_.has_name(row, name); });
}

// Those offline stand in the order of their times; a clock that went back must not break it.
HostTime Registry::not_before(HostTime now) noexcept {
  latest_ = std::max(latest_, now);
  return latest_;
}

void Registry::unlink(std::uint32_t node) noexcept {
  nodes_[nodes_[node].previous].next = nodes_[node].next;
  nodes_[nodes_[node].next].previous = nodes_[node].previous;
  nodes_[node] = {node, node};
}

void Registry::link_last(std::uint32_t head, std::uint32_t node) noexcept {
  MESH_DCHECK(nodes_[node].next == node);
  const std::uint32_t last = nodes_[head].previous;
  nodes_[node] = {head, last};
  nodes_[last].next = node;
  nodes_[head].previous = node;
}

Status Registry::verify_row(std::uint32_t row) const {
  if (rows_.is_half_written(row)) return corrupt_row(row, "its sequence is odd");
  const NameBytes name = rows_.name_of(row);
  if ((name.length() == 0) != free_.contains(row)) {
    return corrupt_row(row, "its name has " + std::to_string(name.length()) +
                                " bytes, and among the free rows it " +
                                (free_.contains(row) ? "is" : "is not"));
  }
  if (name.length() == 0) {
    if (rows_.state_of(row) != AgentState::free) return corrupt_row(row, "free, its state is not");
    if (live_[row] != AgentId{0}) return corrupt_row(row, "free, and a handle resolves to it");
    return {};
  }
  MESH_CHECK_OK(decode("table agent.name row " + std::to_string(row), name.words));
  if (live_[row] != rows_.id_of(row)) return corrupt_row(row, "its handle is not its id");
  if (row_of(index_of(live_[row])) != row) return corrupt_row(row, "its id names another row");
  if (rows_.state_of(row) == AgentState::free) return corrupt_row(row, "taken, its state is not");
  if (find_row(name.view(), index_.key(name.view())) != row) {
    return corrupt_row(row, "its name " + std::string(name.view()) + " leads elsewhere");
  }
  return {};
}

Status Registry::verify_lists() const {
  std::size_t listed = 0;
  std::size_t offline = 0;
  for (std::uint32_t number = 0; number <= kMaxStations; ++number) {
    const auto station = static_cast<StationId>(number);
    const std::uint32_t head = head_of(station);
    std::int64_t since_ns = INT64_MIN;
    for (std::uint32_t row = nodes_[head].next; row != head; row = nodes_[row].next, ++listed) {
      if (row >= rows() || listed > rows()) return corrupt_row(row, "a list runs astray there");
      if (nodes_[nodes_[row].next].previous != row) return corrupt_row(row, "its list is broken");
      if (rows_.station_of(row) != station) {
        return corrupt_row(row, "it stands in the list of station " + std::to_string(number));
      }
      if (station != kNoStation) continue;
      ++offline;
      if (rows_.offline_since_ns_of(row) < since_ns) return corrupt_row(row, "listed too late");
      since_ns = rows_.offline_since_ns_of(row);
    }
  }
  if (listed != taken() || offline != offline_) {
    return fail(Errc::corrupt, "registry: " + std::to_string(listed) + " rows in lists, " +
                                   std::to_string(taken()) + " taken; " + std::to_string(offline) +
                                   " offline, counted " + std::to_string(offline_));
  }
  return {};
}

Status Registry::verify() const {
  for (std::uint32_t row = 0; row < rows(); ++row) MESH_CHECK_OK(verify_row(row));
  if (index_.count() != taken()) {
    return fail(Errc::corrupt, "registry: " + std::to_string(index_.count()) +
                                   " names in the index, " + std::to_string(taken()) +
                                   " rows taken");
  }
  return verify_lists();
}

}  // namespace mesh::engine
