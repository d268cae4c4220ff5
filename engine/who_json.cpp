#include "engine/who_json.hpp"

#include <nlohmann/json.hpp>

#include "engine/control_json.hpp"
#include "engine/station/control_protocol.hpp"

namespace mesh::engine {
namespace {

using console::Held;
using nlohmann::json;

constexpr std::size_t kListedMax = 256;
constexpr std::size_t kRestOfPacket = 1'024;

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }
json place(std::uint32_t number) { return number == kNoPlace ? json(nullptr) : json(number); }

json state_name(AgentState state) {
  constexpr std::array<const char*, 5> kNames = {"free", "ACTIVE", "DEGRADED", "OFFLINE",
                                                 "QUARANTINED"};
  const auto number = static_cast<std::size_t>(state);
  return number < kNames.size() ? json(kNames[number]) : json(nullptr);
}

json doing_json(const console::Doing& doing) {
  const bool says = !doing.task.empty();
  return {{"agent", doing.agent},
          {"task", text_or_null(doing.task)},
          {"waiting_on", text_or_null(doing.waiting_on)},
          {"age_ms", says ? json(doing.age_ns / kNsPerMs) : json(nullptr)},
          {"depth", doing.depth}};
}

json agent_json(const WhoReport& report, std::size_t at) {
  const Held& held = report.graph.held(at);
  const FoundAgent& agent = report.agents[at];
  json object = doing_json(report.graph.agents()[at]);
  object["on_agent"] = held.next != Held::kNobody;
  object["stuck_on"] =
      held.holder == Held::kNobody ? json(nullptr) : json(report.graph.agents()[held.holder].agent);
  object["in_circle"] = held.in_circle;
  object["state"] = state_name(agent.state);
  object["routed_around"] = agent.is_routed_around;
  object["sector"] = place(agent.sector);
  object["cluster"] = place(agent.cluster);
  object["score"] = agent.score;
  return object;
}

json holder_json(const WhoReport& report, const console::Holder& holder) {
  json object = doing_json(report.graph.agents()[holder.agent]);
  object["holds"] = holder.directly;
  object["holds_in_all"] = holder.in_all;
  object["oldest_ms"] = holder.oldest_ns / kNsPerMs;
  return object;
}

// The first `most` of `all`, each by `one`; and how many more there are.
template <class List, class One>
void put_list(json& object, const char* key, const List& all, std::pair<std::size_t, One> how) {
  json list = json::array();
  for (const auto& item : all) {
    if (list.size() == how.first) break;
    list.push_back(how.second(item));
  }
  object[std::string(key) + "_left_out"] = all.size() - list.size();
  object[key] = std::move(list);
}

}  // namespace

json who_json(const WhoReport& report) {
  const auto circles = report.graph.circles();
  for (std::size_t most = kListedMax;; most /= 2) {
    json object = {{"ok", true}, {"enrolled", report.agents.size()}, {"said", report.said}};
    put_list(object, "agents", report.asked,
             std::pair(most, [&](std::size_t at) { return agent_json(report, at); }));
    put_list(object, "holders", report.holders, std::pair(most, [&](const console::Holder& holder) {
               return holder_json(report, holder);
             }));
    put_list(object, "circles", circles, std::pair(most, [&](const auto& circle) {
               json names = json::array();
               for (const std::size_t at : circle) {
                 if (names.size() == most) break;
                 names.push_back(report.graph.agents()[at].agent);
               }
               return names;
             }));
    if (most == 0 || dump(object).size() <= kControlPacketBytes - kRestOfPacket) return object;
  }
}

}  // namespace mesh::engine
