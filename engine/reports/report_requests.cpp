#include "engine/reports/report_requests.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "engine/reports/request_fields.hpp"
#include "engine/reports/tail_requests.hpp"
#include "engine/station/control_protocol.hpp"

namespace mesh::engine::reports {
namespace {

using Object = RequestObject;
constexpr std::uint64_t kSecondsMost = 4'000'000'000;

// One of several names; none: the field is not there.
template <class Named>
Status choose(const Object& object, const char* key, Named (*named)(std::string_view) noexcept,
              Named& chosen) {
  MESH_TRY(const std::string name, text_field_or(object, key));
  if (!object.contains(key)) return {};
  chosen = named(name);
  return chosen ? Status() : wrong_field(key, object[key], "one of its names");
}

Status read_skip(const Object& object, ReportRequest& request) {
  MESH_TRY(request.skip,
           whole_field_or(object, {"skip", 0, std::numeric_limits<std::uint32_t>::max()}, 0));
  return {};
}

// A report that is made in one step.
template <class Make>
auto at_once(Make make) {
  return [make = std::move(make)](const ReportOn& on) -> Result<ReportStep> {
    MESH_TRY(Json answer, make(on.mesh));
    return ReportStep{.answer = std::move(answer)};
  };
}

Result<ReportRequest> stat_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"pattern", "skip"}));
  ReportRequest request{.lists = {"counters"}};
  MESH_CHECK_OK(read_skip(object, request));
  MESH_TRY(const std::string pattern, text_field_or(object, "pattern"));
  request.step = at_once([pattern](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const CounterReport report, mesh.counters(pattern));
    return counters_json(report);
  });
  return request;
}

// Two looks, and between them nobody waits.
struct RatesLook {
  RatesWanted wanted;
  Nanos interval{};
  std::optional<SeenMesh> seen{};
  std::optional<MeshCounters> before{};
  int more = 0;

  Result<ReportStep> step(const MeshReports& mesh) {
    constexpr Nanos kMore{100 * kNsPerMs};
    constexpr int kMoreMax = 15;  // an engine that runs has written by then
    if (!seen) {
      MESH_TRY(seen, SeenMesh::open(mesh.directory()));
      MESH_TRY(before, read_counters(seen->table));
      MESH_CHECK_OK(check_pattern(*before, wanted.pattern));
      return ReportStep{.again = interval};
    }
    MESH_TRY(const MeshCounters after, read_counters(seen->table));
    if (after.at == before->at && more++ < kMoreMax) return ReportStep{.again = kMore};
    return ReportStep{.answer = rates_json(*before, after, wanted)};
  }
};

Result<ReportRequest> hz_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"pattern", "interval_ms", "all", "skip"}));
  ReportRequest request{.lists = {"rates"}};
  MESH_CHECK_OK(read_skip(object, request));
  auto look = std::make_shared<RatesLook>();
  MESH_TRY(look->wanted.pattern, text_field_or(object, "pattern"));
  MESH_TRY(look->wanted.all, flag_field(object, "all"));
  MESH_TRY(const std::uint64_t interval_ms,
           whole_field_or(object,
                          {"interval_ms", kRatesIntervalMin.count() / kNsPerMs,
                           kRatesIntervalMax.count() / kNsPerMs},
                          1'000));
  look->interval = Nanos{static_cast<std::int64_t>(interval_ms) * kNsPerMs};
  request.step = [look](const ReportOn& on) { return look->step(on.mesh); };
  return request;
}

Result<ReportRequest> errors_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"skip"}));
  ReportRequest request{.lists = {"errors"}};
  MESH_CHECK_OK(read_skip(object, request));
  request.step = at_once([](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const ErrorReport report, mesh.errors());
    return errors_json(report);
  });
  return request;
}

Result<ReportRequest> kpi_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {}));
  ReportRequest request;
  request.step = at_once([](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const KpiReport report, mesh.kpis());
    return kpi_json(report);
  });
  return request;
}

Result<ReportRequest> health_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"sector", "hours", "skip"}));
  HealthWanted wanted;
  MESH_TRY(const auto sector, whole_field(object, {"sector", 0, kHistorySectorMax}));
  if (sector) wanted.sector = static_cast<std::uint32_t>(*sector);
  MESH_TRY(const std::uint64_t hours,
           whole_field_or(object, {"hours", 1, kNightHoursMax}, wanted.hours));
  wanted.hours = static_cast<std::uint32_t>(hours);
  ReportRequest request{.lists = {sector ? "clusters" : "sectors"}};
  MESH_CHECK_OK(read_skip(object, request));
  request.step = at_once([wanted](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const HealthReport report, mesh.health(wanted));
    return health_json(report);
  });
  return request;
}

Result<ReportRequest> top_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"skip"}));
  ReportRequest request{.lists = {"sectors", "errors", "breakers_not_closed", "operations"}};
  MESH_CHECK_OK(read_skip(object, request));
  struct Look {
    std::optional<TopSight> sight;
    int looks = 0;
  };
  request.step = [look = std::make_shared<Look>()](const ReportOn& on) -> Result<ReportStep> {
    if (!look->sight) look->sight.emplace(on.mesh.directory());
    MESH_TRY(const TopSnapshot seen, look->sight->look());
    const bool is_over =
        look->sight->has_rates() || seen.engine_running != true || look->looks++ >= kTopLooksMax;
    if (!is_over) return ReportStep{.again = kTopLookAgain};
    return ReportStep{.answer = top_json(seen)};
  };
  return request;
}

Result<ReportRequest> doctor_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {}));
  ReportRequest request;
  request.step = at_once([](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const DoctorReport report, mesh.doctor());
    return doctor_json(report);
  });
  return request;
}

Result<ReportRequest> verify_request(const Object& object) {
  MESH_CHECK_OK(only_fields(object, {"what", "head"}));
  MESH_TRY(const std::string said, text_field_or(object, "head"));
  std::optional<ChainHead> kept;
  if (!said.empty()) {
    MESH_TRY(kept, chain_head_of(said));
  }
  ReportRequest request{.by = ReportThread::store};
  request.step = at_once([kept](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const Verification verification, mesh.verify_conflicts(kept));
    return verification_json(verification);
  });
  return request;
}

Status read_time(const Object& object, const char* key, std::optional<WireTime>& at) {
  MESH_TRY(const auto seconds, whole_field(object, {key, 0, kSecondsMost}));
  if (seconds) at = static_cast<WireTime>(static_cast<std::int64_t>(*seconds) * kNsPerSecond);
  return {};
}

Result<ReportRequest> conflicts_request(const Object& object) {
  MESH_TRY(const std::string what, text_field_or(object, "what", "list"));
  if (what == "verify") return verify_request(object);
  if (what != "list") return wrong_field("what", object["what"], "list or verify");
  MESH_CHECK_OK(
      only_fields(object, {"what", "agent", "type", "state", "from", "until", "limit", "skip"}));
  RecordQuery query;
  MESH_TRY(const auto agent,
           whole_field(object, {"agent", 0, std::numeric_limits<std::uint64_t>::max()}));
  if (agent) query.agent = AgentId{*agent};
  MESH_CHECK_OK(choose(object, "type", &conflict_type_of, query.type));
  MESH_CHECK_OK(choose(object, "state", &conflict_state_of, query.state_now));
  MESH_CHECK_OK(read_time(object, "from", query.from));
  MESH_CHECK_OK(read_time(object, "until", query.until));
  MESH_TRY(const std::uint64_t limit, whole_field_or(object, {"limit", 1, kQueryLimitMax}, 50));
  query.limit = static_cast<std::uint32_t>(limit);
  ReportRequest request{.lists = {"conflicts"}, .by = ReportThread::store};
  MESH_CHECK_OK(read_skip(object, request));
  request.step = at_once([query](const MeshReports& mesh) -> Result<Json> {
    MESH_TRY(const auto conflicts, mesh.conflicts(query));
    return conflicts_json(conflicts);
  });
  return request;
}

Status read_history(const Object& object, HistoryWanted& wanted) {
  MESH_TRY(wanted.since_min,
           whole_field_or(object, {"since_min", 1, kHistoryMinutesMax}, wanted.since_min));
  MESH_TRY(wanted.step_min,
           whole_field_or(object, {"step_min", 1, kHistoryMinutesMax}, wanted.step_min));
  MESH_TRY(wanted.limit, whole_field_or(object, {"limit", 1, kQueryLimitMax}, wanted.limit));
  MESH_TRY(wanted.sector, whole_field(object, {"sector", 0, kHistorySectorMax}));
  MESH_TRY(wanted.cluster, whole_field(object, {"cluster", 0, kHistoryClusterMax}));
  MESH_CHECK_OK(choose(object, "kind", &result_kind_of, wanted.kind));
  MESH_CHECK_OK(choose(object, "verdict", &result_verdict_of, wanted.verdict));
  return validate(wanted);
}

Result<ReportRequest> history_request(const Object& object) {
  MESH_TRY(const std::string what, text_field_or(object, "what", "operations"));
  const bool is_of_agents = what == "agents";
  if (!is_of_agents && what != "operations")
    return wrong_field("what", object["what"], "operations or agents");
  if (is_of_agents)
    MESH_CHECK_OK(
        only_fields(object, {"what", "since_min", "step_min", "sector", "cluster", "skip"}));
  else
    MESH_CHECK_OK(only_fields(object, {"what", "since_min", "limit", "kind", "verdict", "skip"}));
  HistoryWanted wanted;
  MESH_CHECK_OK(read_history(object, wanted));
  ReportRequest request{.lists = {what}, .by = ReportThread::store};
  MESH_CHECK_OK(read_skip(object, request));
  request.step = at_once([wanted, is_of_agents](const MeshReports& mesh) -> Result<Json> {
    if (is_of_agents) {
      MESH_TRY(const auto rows, mesh.agents(wanted));
      return past_agents_json(rows);
    }
    MESH_TRY(const auto operations, mesh.operations(wanted));
    return past_operations_json(operations);
  });
  return request;
}

using ReadRequest = Result<ReportRequest> (*)(const Object& object);
constexpr std::pair<std::string_view, ReadRequest> kReports[] = {
    {"stat", &stat_request},       {"hz", &hz_request},
    {"errors", &errors_request},   {"kpi", &kpi_request},
    {"health", &health_request},   {"top", &top_request},
    {"doctor", &doctor_request},   {"conflicts", &conflicts_request},
    {"history", &history_request}, {"tail", &tail_request},
    {"record", &record_request},   {"replay", &replay_request}};

ReadRequest reader_of(std::string_view op) noexcept {
  for (const auto& [name, read] : kReports)
    if (name == op) return read;
  return nullptr;
}

}  // namespace

bool is_report(std::string_view op) noexcept { return reader_of(op) != nullptr; }

Result<ReportRequest> request_of(const std::string& op, const nlohmann::json& object) {
  const ReadRequest read = reader_of(op);
  if (read == nullptr) return fail(Errc::bad_input, "op '" + op + "' is no report");
  return read(object);
}

std::string packet_of(Json report, const ReportRequest& request, std::size_t bytes_max) {
  Json object = {{"ok", true}};
  object.update(report);
  std::map<std::string, std::size_t> whole_of;
  for (const std::string& key : request.lists) {
    Json& list = object[key];
    if (!list.is_array()) list = Json::array();
    if (key == request.lists.front()) {
      const auto skipped =
          static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(request.skip, list.size()));
      list.erase(list.begin(), list.begin() + skipped);
    }
    whole_of[key] = list.size();
  }
  for (;;) {
    Json left_out = Json::object();
    for (const auto& [key, count] : whole_of) left_out[key] = count - object[key].size();
    object["left_out"] = std::move(left_out);
    std::string packet = text_of(object);
    if (packet.size() <= bytes_max) return packet;
    // The one that takes most room gives up a quarter of what it has.
    Json* longest = nullptr;
    std::size_t bytes = 0;
    for (const auto& [key, count] : whole_of) {
      const std::size_t its = object[key].empty() ? 0 : text_of(object[key]).size();
      if (its > bytes) {
        bytes = its;
        longest = &object[key];
      }
    }
    if (longest == nullptr) return packet;  // refused as too long by who sends it
    const auto kept = static_cast<std::ptrdiff_t>(longest->size() * 3 / 4);
    longest->erase(longest->begin() + kept, longest->end());
  }
}

Reporter& ReportDesk::reporter_of(ReportThread by) noexcept {
  if (by == ReportThread::store) return of_store_;
  return by == ReportThread::player ? of_player_ : of_table_;
}

void ReportDesk::post(ReportRequest request, Tell tell) {
  Reporter& reporter = reporter_of(request.by);
  reporter.post(
      [this, request = std::move(request), tell = std::move(tell)]() -> std::optional<Nanos> {
        Result<ReportStep> step = request.step({mesh_, is_stopping_});
        if (!step) {
          tell(tl::unexpected<Error>(step.error()));
          return std::nullopt;
        }
        if (!step->answer) return step->again;
        tell(packet_of(std::move(*step->answer), request, kControlPacketBytes));
        return std::nullopt;
      });
}

void ReportDesk::stop() {
  is_stopping_.store(true, std::memory_order_relaxed);  // relaxed: it is looked at again and again
  of_table_.stop();
  of_store_.stop();
  of_player_.stop();
}

}  // namespace mesh::engine::reports
