// Who: what agents are doing and who holds whom back, as they say it and as the engine counts it.
//
// Callers     the control thread, which alone has the stations' memories.
// Progress    one pass over the table's rows and one over what stations say. No station is asked.
// Ordering    agents are read one after another: of two the one may have gone on meanwhile.
// If the      lies about itself: that is shown as it says it. About another station's agent: it is
// other side  not looked at, for the table says whose an agent is.
// lies
// Errors      no_such_agent: a name that is asked for is nobody's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/console/wait_graph.hpp"
#include "engine/console_view.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class AttachedStation;

// Of all agents those in the scope that wait or have something to answer; or the named ones,
// whatever they do.
struct WhoWanted {
  std::vector<std::string> agents{};
  std::optional<std::uint32_t> sector{};
  std::optional<std::uint32_t> cluster{};
};

struct WhoReport {
  console::WaitGraph graph;        // of all agents
  std::vector<FoundAgent> agents;  // the same, in the same order
  // Those asked for, as they were named; or those that wait, longest first, then those with the
  // most to answer.
  std::vector<std::size_t> asked;
  // All, or those that hold back who was asked for, and these themselves.
  std::vector<console::Holder> holders{};
  std::size_t said = 0;  // how many say what they are doing
};

struct WhoSources {
  MeshSize size;
  std::span<const std::byte> table;
  const std::map<std::uint16_t, std::unique_ptr<AttachedStation>>& stations;
};
Result<WhoReport> look_who(const WhoSources& sources, const WhoWanted& wanted);

}  // namespace mesh::engine
