// Station: how its agents are enrolled, and what happens where the engine answers too late.
#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/handed_over.hpp"
#include "engine/station/station.hpp"
#include "shm/base/point.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kRequestBytes = kControlPacketBytes - 1'024;

// Of an answer to `enrol`: one for each agent, in the order in which they were asked for.
template <class T>
Result<std::vector<T>> numbers_in(const json& answer, const char* key, std::size_t count) {
  std::vector<T> numbers;
  const auto found = answer.find(key);
  if (found != answer.end() && found->is_array()) {
    for (const json& number : *found) {
      if (!number.is_number_unsigned()) break;
      const auto whole = number.get<std::uint64_t>();
      if (whole > std::numeric_limits<T>::max()) break;
      numbers.push_back(static_cast<T>(whole));
    }
  }
  if (numbers.size() == count) return numbers;
  return fail(Errc::corrupt, std::string("enrol: the engine's answer has ") +
                                 std::to_string(numbers.size()) + " numbers in '" + key + "' for " +
                                 std::to_string(count) + " agents");
}

// A name that is no UTF-8 is refused: replaced, it would be another agent's.
Result<std::string> strict_text(const json& object) {
  try {
    return object.dump();
  } catch (const json::exception& error) {
    return fail(Errc::invalid_argument, std::string("enrol: a name is not UTF-8: ") + error.what());
  }
}

}  // namespace

Result<std::vector<AgentId>> Station::enrol(std::span<const AgentDeclaration> agents) {
  std::vector<AgentId> enrolled;
  while (!agents.empty()) {
    const std::size_t count = std::min(agents.size(), kEnrolAgentsMax);
    json list = json::array();
    std::size_t bytes = 0;
    for (const AgentDeclaration& agent : agents.first(count)) {
      json one = {{"name", agent.name}, {"class", static_cast<unsigned>(agent.agent_class)}};
      if (!agent.capabilities.empty()) one["capabilities"] = agent.capabilities;
      MESH_TRY(const std::string text, strict_text(one));
      bytes += text.size() + 1;
      if (bytes > kRequestBytes) break;  // names full of escapes: fewer a packet
      list.push_back(std::move(one));
    }
    MESH_TRY(const std::string request, strict_text({{"op", "enrol"}, {"agents", list}}));
    MESH_TRY(const std::vector<AgentId> packet, enrol_packet(request, list.size()));
    enrolled.insert(enrolled.end(), packet.begin(), packet.end());
    agents = agents.subspan(packet.size());
  }
  return enrolled;
}

Status Station::require(const std::string& capability, SendOptions& options) {
  MESH_TRY(const std::string request, strict_text({{"op", "capability"}, {"name", capability}}));
  MESH_TRY(const std::string answer, ask(request));
  MESH_TRY(const std::uint64_t bit, number_in(json::parse(answer, nullptr, false), "bit"));
  if (bit >= kCapabilities)
    return fail(Errc::corrupt, "require: the engine named bit " + std::to_string(bit) + " of " +
                                   std::to_string(kCapabilities));
  options.capabilities[bit / 64] |= std::uint64_t{1} << (bit % 64);
  return {};
}

// The names are the same when they are asked for again, and so are the rows.
Result<std::vector<AgentId>> Station::enrol_packet(const std::string& request, std::size_t count) {
  auto answer = ask(request);
  if (!answer) {
    // Whether they are ours is for the engine to say: until then nothing for them is declined.
    if (answer.error().code == Errc::timed_out && control_.overdue() == request)
      core_->expect_agents(true);
    return tl::unexpected<Error>(std::move(answer).error());
  }
  MESH_POINT("station.enrol:before_agents");
  return add_enrolled(*answer, count);
}

Result<std::vector<AgentId>> Station::add_enrolled(const std::string& answer, std::size_t count) {
  const json object = json::parse(answer, nullptr, false);
  MESH_TRY(const auto ids, numbers_in<std::uint64_t>(object, "ids", count));
  MESH_TRY(const auto places, numbers_in<std::uint32_t>(object, "places", count));
  std::vector<AgentId> enrolled;
  enrolled.reserve(count);
  for (const std::uint64_t id : ids) enrolled.push_back(AgentId{id});
  MESH_CHECK_OK(core_->add_agents(enrolled, places));
  return enrolled;
}

// Late answers.

void Station::adopt_late() {
  const std::optional<OverdueAnswer> late = control_.take_answered();
  if (!late || !core_->expects_agents()) return;
  core_->expect_agents(false);
  if (!late->answer) return;  // refused: none of them is ours
  const json request = json::parse(late->request, nullptr, false);
  // An answer that cannot be is told to who asks again.
  static_cast<void>(add_enrolled(*late->answer, request["agents"].size()));
}

// The engine that was asked is gone. It may have enrolled them: its successor then knows them as
// ours, and is asked the same.
void Station::keep_unanswered() {
  if (core_->expects_agents() && !control_.overdue().empty()) unanswered_ = control_.overdue();
}

// One that is gone, too, is found out by the next look.
void Station::ask_unanswered() {
  if (!unanswered_.empty()) static_cast<void>(control_.ask_again(std::exchange(unanswered_, {})));
}

}  // namespace mesh::engine
