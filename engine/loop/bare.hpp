// The short way of bare messages and their replies: from the slot of an outbox to that of an inbox.
//
// Callers     intake, for each record that is no plain answer to an operation.
// Progress    wait-free. No allocation.
// Cost        bench/engine/switch_bench.cpp --bare. No body, no header, no letter: a record is read
//             once, an entry and a record are written once.
// Unusual     target away, routed around or frozen, inbox full, a mode or a breaker that restricts,
//             limited senders, a second reading: nothing is done, and the long way (intake.cpp,
//             letters.cpp) does all of it.
#pragma once

#include <cstdint>

#include "engine/loop/station_link.hpp"

namespace mesh::engine {

// Whether it was one of these, and is dealt with.
[[nodiscard]] bool take_bare(EngineLoop::State& loop, StationLink& link, const Ring::Record& record,
                             std::uint64_t position) noexcept;

}  // namespace mesh::engine
