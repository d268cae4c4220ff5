// What a delivery that passes is as JSON, for people and foreign clients (mesh.md part 6): of a
// message what COORDINATE says (which message, T, lead, verb, body), of a reply what ACK says (of
// which message, by whom, state, processing time). The other three protocol messages are none on
// one host: a heartbeat is a store (mesh inspect agents), a breaker and a freeze are words of the
// table (mesh health, mesh status).
//
// Callers     any thread, cold.
// Units       ns and us as in the records; ids as 32 hexadecimal digits.
// If the      wrote anything at all: what cannot be named is its number as text; a reply too short
// other side  for its head has no answer.
// lies
#pragma once

#include "engine/reports/inbox_tail.hpp"
#include "engine/reports/report_json.hpp"

namespace mesh::engine::reports {

[[nodiscard]] Json passed_json(const PassedDelivery& passed);

}  // namespace mesh::engine::reports
