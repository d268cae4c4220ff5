#include "engine/console/wait_graph.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace mesh::console {

WaitGraph::WaitGraph(std::vector<Doing> agents)
    : agents_(std::move(agents)), by_name_(agents_.size()), held_(agents_.size()) {
  for (std::size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = i;
  std::stable_sort(by_name_.begin(), by_name_.end(), [&](std::size_t a, std::size_t b) {
    return agents_[a].agent < agents_[b].agent;
  });
  for (std::size_t i = 0; i < agents_.size(); ++i) {
    if (agents_[i].waiting_on.empty()) continue;
    held_[i].next = find(agents_[i].waiting_on).value_or(Held::kNobody);
  }
  find_ends();
  count_holders();
}

std::optional<std::size_t> WaitGraph::find(const std::string& name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](std::size_t at, const std::string& n) { return agents_[at].agent < n; });
  if (found == by_name_.end() || agents_[*found].agent != name) return std::nullopt;
  return *found;
}

// Each chain is walked until an end that is known, then back over it once more.
void WaitGraph::find_ends() {
  enum class Seen : std::uint8_t { no, on_this_chain, done };
  std::vector<Seen> seen(agents_.size(), Seen::no);
  std::vector<std::size_t> chain;
  for (std::size_t start = 0; start < agents_.size(); ++start) {
    chain.clear();
    std::size_t at = start;
    while (at != Held::kNobody && seen[at] == Seen::no) {
      seen[at] = Seen::on_this_chain;
      chain.push_back(at);
      at = held_[at].next;
    }
    bool in_circle = false;
    std::size_t holder = chain.empty() ? Held::kNobody : chain.back();
    if (at != Held::kNobody) {  // it leads into itself, or into a chain that was walked before
      in_circle = seen[at] == Seen::on_this_chain || held_[at].in_circle;
      holder = held_[at].holder == Held::kNobody ? at : held_[at].holder;
    }
    for (const std::size_t link : chain) {
      seen[link] = Seen::done;
      held_[link].in_circle = in_circle;
      if (!in_circle && link != holder) held_[link].holder = holder;
    }
  }
}

void WaitGraph::count_holders() {
  std::vector<Holder> all(agents_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].agent = i;
  std::vector<std::size_t> passed(agents_.size(), Held::kNobody);  // by whom last
  for (std::size_t i = 0; i < agents_.size(); ++i) {
    if (held_[i].next != Held::kNobody) ++all[held_[i].next].directly;
    passed[i] = i;
    std::size_t steps = 0;
    for (std::size_t at = held_[i].next;
         at != Held::kNobody && passed[at] != i && steps != kChainMax;
         at = held_[at].next, ++steps) {
      passed[at] = i;
      ++all[at].in_all;
      all[at].oldest_ns = std::max(all[at].oldest_ns, agents_[i].age_ns);
    }
  }
  std::erase_if(all, [](const Holder& holder) { return holder.directly == 0; });
  std::sort(all.begin(), all.end(), [&](const Holder& a, const Holder& b) {
    return std::forward_as_tuple(b.in_all, b.oldest_ns, agents_[a.agent].agent) <
           std::forward_as_tuple(a.in_all, a.oldest_ns, agents_[b.agent].agent);
  });
  holders_ = std::move(all);
}

std::vector<std::vector<std::size_t>> WaitGraph::circles() const {
  std::vector<std::vector<std::size_t>> circles;
  std::vector<std::size_t> walked(agents_.size(), Held::kNobody);  // from which start
  for (std::size_t start = 0; start < agents_.size(); ++start) {
    if (!held_[start].in_circle || walked[start] != Held::kNobody) continue;
    std::vector<std::size_t> chain;
    std::size_t at = start;
    for (; walked[at] == Held::kNobody; at = held_[at].next) {
      walked[at] = start;
      chain.push_back(at);
    }
    if (walked[at] != start) continue;  // it leads into a circle that is listed
    chain.erase(chain.begin(), std::find(chain.begin(), chain.end(), at));
    circles.push_back(std::move(chain));
  }
  return circles;
}

}  // namespace mesh::console
