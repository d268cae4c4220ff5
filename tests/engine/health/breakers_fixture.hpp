// A mesh whose breakers are watched: stations of one cluster each, in two sectors by turns, on
// virtual time; every duration is a hundredth of the specified.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "engine/health/health_view.hpp"
#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::testing {

inline constexpr std::int64_t kMs = kNsPerMs;
inline constexpr std::uint32_t kOfCluster = 30;

class BreakerMesh : public LoopFixture {
 public:
  explicit BreakerMesh(std::uint16_t station_count, const engine::LoopOptions& with = hundredth())
      : LoopFixture(600, 20, with) {
    for (std::uint16_t number = 1; number <= station_count; ++number) come(number);
    run(50 * kMs, kMs);
  }
  static engine::LoopOptions hundredth() {
    engine::LoopOptions options;
    options.upkeep = Nanos{10 * kMs};
    options.watch.modes.enter_after = Nanos{3'600 * kNsPerSecond};  // breakers alone
    options.watch.failures.cascade_window = Nanos{100 * kMs};
    options.watch.breakers = {.window = Nanos{600 * kMs},
                              .open = Nanos{300 * kMs},
                              .probe_retry = Nanos{600 * kMs},
                              .half_open = Nanos{600 * kMs},
                              .crash_grace = Nanos{20 * kMs}};
    return options;
  }
  void come(std::uint16_t number) { add(number, kOfCluster, "s" + std::to_string(number)); }
  [[nodiscard]] RawStation& station(std::uint16_t number) {
    return **std::find_if(stations.begin(), stations.end(),
                          [&](const auto& one) { return one->number == StationId{number}; });
  }
  [[nodiscard]] AgentId agent(std::uint16_t number, std::size_t at) { return ids[number][at]; }

  // What any process sees.
  [[nodiscard]] engine::health::HealthView view() {
    return must(engine::health::HealthView::over(must(engine::table_layout(size)), table.span()));
  }
  [[nodiscard]] std::uint32_t column(const char* name, std::uint16_t number) {
    return must(must(engine::table_layout(size))
                    .column<std::uint32_t>(std::span<const std::byte>(table.span()), name))
        .load_relaxed(static_cast<std::size_t>(index_of(agent(number, 0))));
  }
  [[nodiscard]] std::size_t cluster_place(std::uint16_t number) {
    return view().place_of_cluster(column("agent.cluster", number));
  }
  [[nodiscard]] std::size_t sector_place(std::uint16_t number) {
    return view().place_of_sector(column("agent.sector", number));
  }
  [[nodiscard]] coordination::BreakerView breaker(std::size_t place) {
    return view().breaker(place).value();
  }
  [[nodiscard]] coordination::BreakerState state(std::size_t place) {
    return coordination::BreakerView::state_of(breaker(place).word);
  }
  [[nodiscard]] coordination::BreakerState cluster_state(std::uint16_t number) {
    return state(cluster_place(number));
  }
  [[nodiscard]] std::uint32_t probes_out(std::size_t place) {
    return static_cast<std::uint32_t>(breaker(place).word >> 33) & 0xFFFU;
  }
  // Until a probe of this breaker is out; false: none in the time of a whole round.
  bool await_probe(std::size_t place) {
    for (const std::int64_t end = now_ns + 700 * kMs; now_ns < end; tick(kMs))
      if (probes_out(place) != 0) return true;
    return false;
  }
  bool await_probe_of(std::uint16_t number) { return await_probe(cluster_place(number)); }
  [[nodiscard]] bool is_routable(std::uint16_t number) {
    return view().is_routable(index_of(agent(number, 0)));
  }

  // The engine's own message to one agent of the station.
  Errc post(std::uint16_t number, std::size_t at = 0) {
    const auto sent = loop->post({.target = agent(number, at)}, from_ns(now_ns));
    return sent ? Errc::ok : sent.error().code;
  }
  static bool refuse(RawStation& station, const sched::DeliveryRecord& delivery,
                     std::int64_t finished_ns) {
    sched::AnswerRecord record{};
    record.message = delivery.message;
    record.agent = delivery.target;
    record.operation = RawStation::operation_of(delivery);
    record.received_ns = delivery.sent_ns;
    record.finished_ns = finished_ns;
    record.kind = sched::RecordKind::refusal;
    return station.put(record);
  }
  enum class With : std::uint8_t { ready, conflict, refusal, silence };
  // All that stands in its inbox is answered so. How many there were.
  std::size_t answer(std::uint16_t number, With with) {
    std::size_t count = 0;
    RawStation& its = station(number);
    for (const sched::DeliveryRecord& delivery : its.poll()) {
      if (delivery.kind != sched::RecordKind::message) continue;
      ++count;
      if (with == With::silence) continue;
      if (with == With::refusal)
        refuse(its, delivery, now_ns);
      else
        its.answer(delivery,
                   with == With::ready ? sched::TrinaryState::ready : sched::TrinaryState::conflict,
                   now_ns);
    }
    return count;
  }
  // So many refused messages, seen by upkeep.
  void fail(std::uint16_t number, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) must_be_ok(post(number, i % kOfCluster));
    tick(kMs);
    answer(number, With::refusal);
    settle();
  }
  void settle() { run(12 * kMs, kMs); }
  // A scatter-gather of everybody, or of one station's cluster.
  Errc scatter(std::optional<std::uint16_t> number = {}) {
    engine::OperationRequest request;
    request.at_once = true;
    request.timeout = Nanos{5 * kMs};
    if (number)
      request.targets =
          sched::selector(sched::SelectorKind::cluster, column("agent.cluster", *number));
    const auto opened = loop->open(request, from_ns(now_ns));
    return opened ? Errc::ok : opened.error().code;
  }
  static void must_be_ok(Errc code) {
    if (code != Errc::ok) throw std::runtime_error(std::string(to_string(code)));
  }
};

}  // namespace mesh::testing
