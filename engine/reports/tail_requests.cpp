#include "engine/reports/tail_requests.hpp"

#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>
#include <utility>

#include "engine/reports/replay.hpp"
#include "engine/reports/tail_page.hpp"

namespace mesh::engine::reports {
namespace {

constexpr double kSpeedMin = 1e-3;
constexpr double kSpeedMax = 1e6;
constexpr std::uint64_t kTimeoutMsMax = 86'400'000;

Nanos steady_ns() {
  return std::chrono::duration_cast<Nanos>(std::chrono::steady_clock::now().time_since_epoch());
}

// {"3": 17, ...}, as "next" of the page before says.
Status read_since(const RequestObject& object, TailWanted& wanted) {
  const auto since = object.find("since");
  if (since == object.end()) return {};
  const char* const expected = "an object of stations' positions, as \"next\" says";
  if (!since->is_object()) return wrong_field("since", *since, expected);
  InboxTail::Positions positions;
  for (const auto& [key, value] : since->items()) {
    std::uint16_t station = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), station);
    const bool is_station = error == std::errc{} && end == key.data() + key.size();
    if (!is_station || !value.is_number_unsigned()) return wrong_field("since", *since, expected);
    positions[station] = value.get<std::uint64_t>();
  }
  wanted.since = std::move(positions);
  return {};
}

Result<TailWanted> tail_wanted(const RequestObject& object) {
  TailWanted wanted;
  MESH_TRY(wanted.agent, text_field_or(object, "agent"));
  MESH_TRY(wanted.count, whole_field_or(object, {"count", 1, kTailCountMax}, wanted.count));
  MESH_TRY(const std::uint64_t wait_ms,
           whole_field_or(object, {"wait_ms", 0, kTailWaitMsMax}, 1'000));
  wanted.wait = Nanos{static_cast<std::int64_t>(wait_ms) * kNsPerMs};
  MESH_CHECK_OK(read_since(object, wanted));
  return wanted;
}

ReportRequest page_request(TailWanted wanted) {
  ReportRequest request;
  request.step = [page = std::make_shared<TailPage>(std::move(wanted))](
                     const ReportOn& on) -> Result<ReportStep> {
    MESH_TRY(auto answer, page->step(on.mesh.directory(), steady_ns()));
    return ReportStep{.answer = std::move(answer), .again = kTailLookAgain};
  };
  return request;
}

Result<double> speed_of(const RequestObject& object) {
  const auto speed = object.find("speed");
  if (speed == object.end()) return 1;
  const bool is_one = speed->is_number() && std::isfinite(speed->get<double>()) &&
                      speed->get<double>() >= kSpeedMin && speed->get<double>() <= kSpeedMax;
  if (!is_one) return wrong_field("speed", *speed, "a number from 0.001 to 1000000");
  return speed->get<double>();
}

// The lines of a recording, from its first.
Result<Recording> recording_of(const RequestObject& object) {
  const auto lines = object.find("lines");
  if (lines == object.end() || !lines->is_array() || lines->empty())
    return wrong_field("lines", lines == object.end() ? RequestObject() : *lines,
                       "a list of a recording's lines, from its first");
  std::stringstream text;
  for (const RequestObject& line : *lines) {
    if (!line.is_string()) return wrong_field("lines", line, "a line of a recording");
    text << line.get_ref<const std::string&>() << '\n';
  }
  return read_recording(text, "lines");
}

}  // namespace

Result<ReportRequest> tail_request(const RequestObject& object) {
  MESH_CHECK_OK(only_fields(object, {"agent", "count", "wait_ms", "since"}));
  MESH_TRY(TailWanted wanted, tail_wanted(object));
  return page_request(std::move(wanted));
}

Result<ReportRequest> record_request(const RequestObject& object) {
  MESH_CHECK_OK(only_fields(object, {"agent", "count", "wait_ms", "since", "check"}));
  MESH_TRY(TailWanted wanted, tail_wanted(object));
  MESH_TRY(wanted.check, text_field_or(object, "check"));
  return page_request(std::move(wanted));
}

Result<ReportRequest> replay_request(const RequestObject& object) {
  MESH_CHECK_OK(only_fields(object, {"lines", "speed", "timeout_ms"}));
  MESH_TRY(const double speed, speed_of(object));
  MESH_TRY(const std::uint64_t timeout_ms,
           whole_field_or(object, {"timeout_ms", 0, kTimeoutMsMax}, 5'000));
  MESH_TRY(Recording recording, recording_of(object));
  ReportRequest request{.by = ReportThread::player};
  request.step = [recording = std::move(recording), speed,
                  patience = Nanos{static_cast<std::int64_t>(timeout_ms) * kNsPerMs}](
                     const ReportOn& on) -> Result<ReportStep> {
    const auto stopped = [&on] {
      return on.is_stopping.load(std::memory_order_relaxed);  // relaxed: it is looked at again
    };
    MESH_TRY(const ReplayResult result,
             replay(recording, {on.mesh.directory(), speed, patience}, stopped));
    return ReportStep{.answer = replay_json(result, recording)};
  };
  return request;
}

}  // namespace mesh::engine::reports
