// Two stations of a mesh in plain memory, and what they say to each other.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine {

using sched::Priority;
using sched::RecordKind;
using sched::Strategy;
using sched::TrinaryState;
using testing::LoopFixture;
using testing::must;
using testing::RawStation;

inline constexpr std::int64_t kMs = kNsPerMs;

inline std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::uint64_t to(AgentId id) { return static_cast<std::uint64_t>(id); }

template <class T>
T as(std::string_view body) {
  T value{};
  EXPECT_GE(body.size(), sizeof value);
  std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
  return value;
}
inline Errc code_of(const sched::DeliveryRecord& report) {
  const sched::BareBody bare = sched::bare_body(report);
  return static_cast<Errc>(
      as<sched::ReportBody>({reinterpret_cast<const char*>(bare.bytes), bare.size_bytes}).code);
}

// alice on station 1, bob and carol on station 2.
struct Pair : LoopFixture {
  explicit Pair(const LoopOptions& loop_options = {})
      : LoopFixture(10, 3, loop_options), alice(add(1, 1, "alice")), bob(add(2, 2, "bob")) {}
  RawStation::Message message(std::string_view body = "hello") {
    return {
        .source = ids[1][0], .target = to(ids[2][0]), .created_ns = now_ns, .body = bytes(body)};
  }
  RawStation& alice;
  RawStation& bob;
};

inline RawStation::Message to_all(LoopFixture& mesh, std::string_view body = "all") {
  return {.source = mesh.ids[1][0],
          .target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::all)),
          .is_selector = true,
          .strategy = Strategy::scatter_gather,
          .created_ns = mesh.now_ns,
          .arrive_ns = mesh.now_ns + 500 * kMs,
          .body = bytes(body)};
}

}  // namespace mesh::engine
