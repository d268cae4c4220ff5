#include "engine/station/station_core.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kLateAnswersAtOnce = 256;
constexpr std::size_t kRowsAtOnce = 32;
constexpr std::size_t kMeasuredMin = 1'024;
constexpr std::size_t kArenaBytesMin = std::size_t{256} << 10;
constexpr std::uint32_t kAgentsPerOutletMin = 1'024;
constexpr std::uint32_t kAgentsPerOutletMax = 65'536;

// The logs check positions themselves: here only what no log can hold is refused.
constexpr sched::DeliveryRegions kAnywhere{{0, sched::kInPayloadLog}, {0, sched::kInPayloadLog}};

float ms_of(std::int64_t ns) noexcept {
  return static_cast<float>(static_cast<double>(std::max<std::int64_t>(ns, 0)) /
                            static_cast<double>(kNsPerMs));
}

constexpr std::size_t in_lines(std::size_t bytes) noexcept {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace

StationCore::StationCore(const CoreOptions& options) : options_(options) {}

StationCore::~StationCore() {
  if (outlet_ != nullptr) outlet_->close();
}

Result<std::unique_ptr<StationCore>> StationCore::create(const CoreOptions& options) {
  if (options.agents == 0 || options.burst == 0 || options.read_clock == nullptr) {
    return fail(Errc::invalid_argument, "station: " + std::to_string(options.agents) +
                                            " agents, bursts of " + std::to_string(options.burst) +
                                            (options.read_clock == nullptr ? ", no clock" : "") +
                                            ": it has at least one of each");
  }
  std::unique_ptr<StationCore> core(new StationCore(options));
  MESH_CHECK_OK(core->bind());
  return core;
}

Status StationCore::bind() {
  const StationSide& side = options_.side;
  MESH_TRY(reader_, Ring::Reader::attach(side.inbox, side.inbox_reader));
  MESH_TRY(writer_, Ring::Writer::take_over(side.outbox, side.outbox_reader));
  MESH_TRY(inbox_bodies_, BodyLog::Reader::attach(side.in_bodies, side.in_bodies_header));
  MESH_TRY(payload_, BodyLog::Reader::attach(options_.payload.words, options_.payload.header));
  MESH_TRY(outbound_, BodyLog::Writer::take_over(side.out_bodies, side.out_bodies_header));
  if (options_.wake == nullptr) {
    MESH_TRY(shm::EventFd made, shm::EventFd::create());
    options_.wake = std::make_shared<const shm::EventFd>(std::move(made));
  }
  const std::uint32_t waiting =
      std::clamp(2 * options_.agents, kAgentsPerOutletMin, kAgentsPerOutletMax);
  outlet_ = std::make_shared<AnswerOutlet>(waiting, options_.wake);
  gate_ = FaultGate(options_.table.faults, now_ns());
  place_of_row_.assign(options_.mesh_agents, kNoPlace);
  agents_.reserve(options_.agents);
  samples_.resize(options_.agents);
  has_worked_.resize(options_.agents);
  worked_.reserve(options_.agents);
  measured_.reserve(std::max<std::size_t>(options_.agents, kMeasuredMin));
  burst_.reserve(options_.burst);
  arena_.resize(kArenaBytesMin);
  answers_.reserve(std::size_t{2} * options_.burst);
  late_.resize(kLateAnswersAtOnce);
  body_ends_.resize(writer_.capacity());
  return {};
}

Status StationCore::add_agents(std::span<const AgentId> agents,
                               std::span<const std::uint32_t> places) {
  if (places.empty() && agents.size() > options_.agents - agents_.size()) {
    return fail(Errc::capacity,
                "station: " + std::to_string(agents_.size() + agents.size()) +
                    " agents, declared at attach were " + std::to_string(options_.agents),
                options_.agents);
  }
  MESH_ASSERT(places.empty() || places.size() == agents.size());
  for (std::size_t i = 0; i < agents.size(); ++i) {
    const AgentId agent = agents[i];
    const auto row = static_cast<std::size_t>(index_of(agent));
    if (row >= place_of_row_.size()) {
      return fail(Errc::corrupt,
                  "station: the engine gave an agent row " + std::to_string(row) +
                      ", its table has " + std::to_string(place_of_row_.size()),
                  static_cast<std::int64_t>(row));
    }
    const std::size_t place = places.empty() ? agents_.size() : places[i];
    if (place >= options_.agents) {
      return fail(Errc::corrupt, "station: the engine gave an agent place " +
                                     std::to_string(place) + " of " +
                                     std::to_string(options_.agents));
    }
    if (place >= agents_.size()) agents_.resize(place + 1);  // reserved; who is between never came
    if (agents_[place] != agent) samples_[place] = {};
    agents_[place] = agent;
    place_of_row_[row] = static_cast<std::uint32_t>(place);
  }
  return {};
}

std::uint32_t StationCore::place_of(AgentId agent) const noexcept {
  const auto row = static_cast<std::size_t>(index_of(agent));
  const std::uint32_t place = row < place_of_row_.size() ? place_of_row_[row] : kNoPlace;
  return place != kNoPlace && agents_[place] == agent ? place : kNoPlace;
}

Status StationCore::report(AgentId agent, const Activity& activity) {
  const std::uint32_t place = place_of(agent);
  if (place == kNoPlace)
    return fail(Errc::no_such_agent, "report: no agent of this station has this handle");
  const std::int64_t now = now_ns();
  MESH_CHECK_OK(check(activity, from_ns(now)));
  const bool is_now = activity.since == HostTime{};
  options_.side.activity.write(place, agent, activity, is_now ? now : to_ns(activity.since));
  return {};
}

Status StationCore::say_context(AgentId agent, std::uint64_t hash) {
  const std::uint32_t place = place_of(agent);
  if (place == kNoPlace)
    return fail(Errc::no_such_agent, "context: no agent of this station has this handle");
  const shm::RowWriter<HostMemory> rows(options_.side.self.sequence);
  rows.write(place, [&](const shm::RowStores<HostMemory>& row) {
    row.store(options_.side.self.context_hash, hash);
  });
  return {};
}

// Deliveries.

void StationCore::take(std::size_t limit) {
  burst_.clear();
  arena_used_ = 0;
  loaded_ = {};
  // Answers without room come first: who cannot answer takes nothing more.
  if (!stage_late_answers() || !stage_answers()) return;
  if (gate_.is_armed() || !gate_.is_empty()) [[unlikely]]
    return take_under_faults(limit);
  if (!reader_.ready()) return;
  const std::int64_t now_ns = this->now_ns();
  reader_.poll(std::min<std::size_t>(limit, options_.burst), [&](const Ring::Reader::View& view) {
    if (!accept(view.read_as<sched::DeliveryRecord>(), now_ns)) return false;
    ++counters_.taken;
    return true;
  });
}

// False leaves the record in the inbox for the next burst. A delivery is made where it is given to
// the handler from: it is four lines long.
bool StationCore::accept(const sched::DeliveryRecord& record, std::int64_t now_ns) {
  if (sched::validate(record, kAnywhere) != sched::RecordRefusal::none) {
    ++counters_.corrupt;
    return true;
  }
  Delivery& delivery = burst_.emplace_back();  // reserved for all that a burst takes
  delivery.bare = has(record.flags, sched::RecordFlags::bare);
  delivery.received = from_ns(now_ns);
  delivery.target = record.target;
  delivery.kind = record.kind;
  delivery.word = record.message;
  delivery.sent = from_ns(record.sent_ns);
  delivery.redelivered = has(record.flags, sched::RecordFlags::redelivered);
  delivery.agent = place_of(record.target);
  if (delivery.agent == kNoPlace && expects_agents_) {
    burst_.pop_back();
    return false;
  }
  if (!delivery.bare) delivery.operation = record.operation;
  const Accepted accepted = load(record, delivery);
  if (accepted == Accepted::kWhole) return true;
  if (accepted == Accepted::kDeclined && delivery.wants_answer())
    answer(ticket_of(delivery), Answer::declined());
  burst_.pop_back();
  return accepted != Accepted::kNoRoom;
}

// Body, and what is said of it.
StationCore::Accepted StationCore::load(const sched::DeliveryRecord& record, Delivery& delivery) {
  const auto decline = [](std::uint64_t& counter) {
    ++counter;
    return Accepted::kDeclined;
  };
  if (delivery.agent == kNoPlace) return decline(counters_.not_ours);
  std::size_t offset = 0;
  switch (load_body(record, offset)) {
    case BodyFound::kNoRoom:
      return Accepted::kNoRoom;
    case BodyFound::kLost:
      return decline(counters_.bodies_lost);
    case BodyFound::kFound:
      break;
  }
  delivery.confidence = sched::confidence_of(record.confidence);
  std::int64_t expires_ns = 0;
  if (delivery.bare) {
    delivery.body = {arena_.data() + offset, record.body_bytes};
    delivery.id = {0, static_cast<std::uint64_t>(record.message)};
    delivery.source = sched::bare_source(record);
    if (delivery.kind == sched::RecordKind::reply) name_question(delivery);
  } else {
    sched::MessageHeader header;
    std::memcpy(&header, arena_.data() + offset, sizeof header);
    if (header.body_bytes != record.body_bytes) return decline(counters_.bodies_lost);
    delivery.body = {arena_.data() + offset + sizeof header, record.body_bytes};
    describe(record, header, delivery);
    expires_ns = header.expires_ns;
  }
  const DedupWindow::Key key = DedupWindow::key_of(delivery.id, delivery.target);
  if (delivery.redelivered && window_.contains(key)) {
    ++counters_.duplicates;
    if (delivery.wants_answer() && delivery.operation == OperationId{})
      answer_known(ticket_of(delivery));
    return Accepted::kKnown;
  }
  window_.insert(key);
  if (expires_ns != 0 && expires_ns < to_ns(delivery.received)) return decline(counters_.expired);
  return Accepted::kWhole;
}

// What record and header say, the body apart.
void StationCore::describe(const sched::DeliveryRecord& record, const sched::MessageHeader& header,
                           Delivery& delivery) noexcept {
  delivery.id = header.id;
  delivery.causation = header.causation;
  delivery.correlation = header.correlation;
  delivery.hash = header.hash;
  delivery.source = header.source;
  delivery.verb = header.verb;
  delivery.strategy = header.strategy;
  delivery.priority = header.priority;
  delivery.expectation = header.expectation;
  delivery.weight = header.weight();
  delivery.arrive = from_ns(record.arrive_ns);
  delivery.lead = Nanos{std::int64_t{record.lead_us} * kNsPerUs};
  delivery.expected = Nanos{std::int64_t{record.expected_us} * kNsPerUs};
}

// What a bare reply answers stands behind its head; the rest is as in any reply.
void StationCore::name_question(Delivery& delivery) noexcept {
  if (delivery.body.size() != sizeof(sched::BareReplyBody)) return;
  sched::BareReplyBody body{};
  std::memcpy(&body, delivery.body.data(), sizeof body);
  delivery.causation = {0, body.question};
  delivery.correlation = delivery.causation;
  delivery.body = delivery.body.first(sizeof(sched::ReplyHead));
}

// Header and body, or a bare body, into the arena. It moves only while no delivery of this burst
// points into it.
StationCore::BodyFound StationCore::load_body(const sched::DeliveryRecord& record,
                                              std::size_t& offset) {
  const bool bare = has(record.flags, sched::RecordFlags::bare);
  if (!bare && loaded_.bytes != 0 && loaded_.word == record.message) {
    offset = loaded_.offset;
    return loaded_.bytes == sched::kMessageHeaderBytes + record.body_bytes ? BodyFound::kFound
                                                                           : BodyFound::kLost;
  }
  const BodyLog::Reader& log = sched::is_in_payload_log(record.message) ? payload_ : inbox_bodies_;
  const std::size_t bytes =
      bare ? kBareBodyBytes : sched::kMessageHeaderBytes + std::size_t{record.body_bytes};
  if (!bare && bytes > queues::payload_body_bytes_max(log.capacity())) return BodyFound::kLost;
  if (in_lines(bytes) > arena_.size() - arena_used_) {
    if (arena_used_ != 0) return BodyFound::kNoRoom;
    arena_.resize(in_lines(bytes));
  }
  offset = arena_used_;
  const std::span<std::byte> room = std::span(arena_).subspan(offset, bytes);
  if (bare) {
    std::memcpy(room.data(), sched::bare_body(record).bytes, kBareBodyBytes);
  } else {
    const auto copied = log.copy(sched::position_of(record.message), room);
    if (copied.status != queues::BodyStatus::kRead || copied.length != bytes) {
      return BodyFound::kLost;
    }
    loaded_ = {record.message, offset, static_cast<std::uint32_t>(bytes)};
  }
  arena_used_ += in_lines(bytes);
  return BodyFound::kFound;
}

AnswerTicket StationCore::ticket_of(const Delivery& delivery) const noexcept {
  return {delivery.word,        delivery.target,          delivery.operation,
          to_ns(delivery.sent), to_ns(delivery.received), delivery.agent};
}

// Waiting.

bool StationCore::ready() const noexcept { return reader_.ready() || outlet_->bell().raised(); }

bool StationCore::prepare_to_park() noexcept {
  return reader_.prepare_to_park() && !outlet_->bell().raised_ordered();
}

// What the agents measured.

void StationCore::remember_sample(const AnswerTicket& ticket, std::int64_t finished_ns) {
  if (ticket.place >= agents_.size()) return;
  if (worked_.empty() && measured_.empty()) upkeep_due_ns_ = finished_ns + kUpkeepEvery.count();
  if (measured_.size() == measured_.capacity()) count_measured();
  // There and back: the way back is not measured, and is taken to be like the way there.
  measured_.push_back({ticket.place, 2 * ms_of(ticket.received_ns - ticket.sent_ns),
                       ms_of(finished_ns - ticket.received_ns)});
}

void StationCore::count_measured() {
  for (const Measured& measured : measured_) {
    samples_[measured.place].add(measured.latency_ms, measured.processing_ms);
    if (has_worked_[measured.place]) continue;
    has_worked_[measured.place] = true;
    worked_.push_back(measured.place);
  }
  measured_.clear();
}

void StationCore::upkeep_if_due(bool is_idle) {
  const std::int64_t now_ns = this->now_ns();
  if (now_ns < upkeep_due_ns_ + (is_idle ? 0 : kUpkeepGrace.count())) return;
  upkeep(kRowsAtOnce);
  // What was answered meanwhile is the next round's.
  if (worked_.empty()) upkeep_due_ns_ = now_ns + kUpkeepEvery.count();
}

void StationCore::upkeep(std::size_t limit) {
  if (worked_.empty()) count_measured();
  if (worked_.empty()) return;
  const shm::RowWriter<HostMemory> rows(options_.side.self.sequence);
  const OwnColumns& self = options_.side.self;
  const auto mesh_ms =
      static_cast<std::uint32_t>((now_ns() - options_.mesh_start_ns) / kNsPerMs);  // modulo 2^32
  for (; limit != 0 && !worked_.empty(); --limit) {
    const std::uint32_t place = worked_.back();
    worked_.pop_back();
    has_worked_[place] = false;
    const SampleSummary summary = samples_[place].summary();
    rows.write(place, [&](const shm::RowStores<HostMemory>& row) {
      row.store(self.heartbeat_mesh_ms, mesh_ms);
      row.store(self.latency_ms, summary.latency_ms);
      row.store(self.processing_ms, summary.processing_ms);
      row.store(self.drift, summary.drift);
      row.store(self.samples, summary.samples);
    });
  }
}

}  // namespace mesh::engine
