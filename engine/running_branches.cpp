// RunningSteps: branches of a context, kept, merged and loaded.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/conflict/context_branches.hpp"
#include "engine/control_json.hpp"
#include "engine/running_steps.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {

using nlohmann::json;
using Text = Result<std::string>;

// Branches. The answer's two values are hashes of contexts: the agent's, and that of whom it
// differs with. Both were handed over, and so was the one that they come from.

namespace {

std::string scope_of(const Record& conflict, const char* which) {
  return "conflict " + name_of(conflict.subject) + " " + which;
}

// It stands already where this step is done again.
Status keep_once(Store& store, const Record& conflict, const char* which,
                 const std::string& bytes) {
  const std::string scope = scope_of(conflict, which);
  if (const auto there = store.newest_snapshot(scope);
      there || there.error().code != Errc::not_found)
    return there ? Status() : Status(tl::unexpected(there.error()));
  return store.keep_snapshot({.scope = scope, .at = conflict.at, .bytes = bytes});
}

std::uint64_t number_of(const std::string& text) {
  return text.empty() || text.find_first_not_of("0123456789") != text.npos || text.size() > 20
             ? 0
             : std::strtoull(text.c_str(), nullptr, 10);
}

json named(const ContextVersion& context) {
  return {{"agent", context.owner.name},
          {"uid", context.owner.uid},
          {"version", context.version},
          {"hash", hex_of(context.hash)}};
}

struct Branches {
  ContextVersion ancestor, ours, theirs;
};

// The newest of ours that was theirs, too, before they went apart.
Result<ContextVersion> ancestor_of(Store& store, const Branches& branches) {
  MESH_TRY(const auto ours, store.contexts(branches.ours.owner));
  MESH_TRY(const auto theirs, store.contexts(branches.theirs.owner));
  for (const ContextVersion& one : ours) {
    if (one.version >= branches.ours.version) continue;
    const bool is_theirs =
        std::any_of(theirs.begin(), theirs.end(), [&](const ContextVersion& other) {
          return other.hash == one.hash && other.version < branches.theirs.version;
        });
    if (is_theirs) return one;
  }
  return fail(Errc::not_found, "no context that both come from is kept");
}

Result<ContextEntries> entries_of(const std::string& bytes, const char* which) {
  const json object = json::parse(bytes, nullptr, false);
  if (!object.is_object())
    return fail(Errc::bad_input, std::string(which) + " is no JSON object: it cannot be merged");
  ContextEntries entries;
  for (const auto& [name, value] : object.items()) entries.emplace(name, value.dump());
  return entries;
}

}  // namespace

Text RunningSteps::keep_branches(Store& store, const Record& conflict) {
  const auto agent = view_.agent(index_of(conflict.agent));
  if (!agent || agent->id != conflict.agent) return fail(Errc::no_such_agent, "the agent is gone");
  Branches branches;
  const std::array<std::pair<std::uint64_t, ContextVersion*>, 2> wanted{
      {{number_of(conflict.expected), &branches.ours},
       {number_of(conflict.received), &branches.theirs}}};
  for (const auto& [hash, branch] : wanted) {
    MESH_TRY(auto found, store.contexts_of_hash(hash));
    const bool is_ours = branch == &branches.ours;
    std::erase_if(found, [&](const ContextVersion& one) {
      return (one.owner.name == agent->name) != is_ours;
    });
    if (found.empty())
      return fail(Errc::not_found, std::string("no context of ") +
                                       (is_ours ? "the agent" : "another agent") +
                                       " with the hash " + std::to_string(hash) + " is kept");
    *branch = std::move(found.front());
  }
  MESH_TRY(branches.ancestor, ancestor_of(store, branches));
  MESH_CHECK_OK(keep_once(store, conflict, "ancestor", branches.ancestor.bytes));
  MESH_CHECK_OK(keep_once(store, conflict, "ours", branches.ours.bytes));
  MESH_CHECK_OK(keep_once(store, conflict, "theirs", branches.theirs.bytes));
  return dump({{"ancestor", named(branches.ancestor)},
               {"ours", named(branches.ours)},
               {"theirs", named(branches.theirs)}});
}

Text RunningSteps::merge_branches(Store& store, const Record& conflict) {
  MESH_TRY(const Snapshot ancestor, store.newest_snapshot(scope_of(conflict, "ancestor")));
  MESH_TRY(const Snapshot ours, store.newest_snapshot(scope_of(conflict, "ours")));
  MESH_TRY(const Snapshot theirs, store.newest_snapshot(scope_of(conflict, "theirs")));
  ContextBranches branches;
  MESH_TRY(branches.ancestor, entries_of(ancestor.bytes, "the ancestor"));
  MESH_TRY(branches.ours, entries_of(ours.bytes, "the agent's context"));
  MESH_TRY(branches.theirs, entries_of(theirs.bytes, "the other agent's context"));
  const MergedContext merged = merge(branches);
  if (!merged.is_whole()) {
    std::string names;
    for (const std::string& name : merged.contradicted) names += (names.empty() ? "" : ", ") + name;
    return fail(Errc::conflict, "both changed, each in its way: " + names);
  }
  json object = json::object();
  for (const auto& [name, value] : merged.merged) object[name] = json::parse(value);
  const std::string bytes = object.dump();
  if (bytes.size() > kContextBytesMax)
    return fail(Errc::truncated, "the merged context has " + std::to_string(bytes.size()) +
                                     " bytes, at most " + std::to_string(kContextBytesMax));
  MESH_CHECK_OK(keep_once(store, conflict, "merged", bytes));
  return dump({{"entries", merged.merged.size()}, {"hash", hex_of(shm::hash64(bytes))}});
}

struct RunningSteps::Merging {
  RunStep step;
  std::string bytes;
  std::vector<ContextOwner> owners;  // that are still to load it
  std::vector<std::string> loaded;
};

std::optional<Text> RunningSteps::load_merged(ConflictOffice& office, const RunStep& step,
                                              const Record& conflict) {
  const auto begin = [&]() -> Result<std::shared_ptr<Merging>> {
    if (office.store() == nullptr) return fail(Errc::not_ready, "the store is away");
    MESH_TRY(const json kept, outcome_of(*office.store(), conflict, ConflictStep::keep_branches));
    MESH_TRY(Snapshot merged, office.store()->newest_snapshot(scope_of(conflict, "merged")));
    auto merging = std::make_shared<Merging>();
    merging->step = step;
    merging->bytes = std::move(merged.bytes);
    for (const char* const which : {"theirs", "ours"}) {
      const json branch = kept.value(which, json::object());
      merging->owners.push_back({branch.value("agent", ""), branch.value("uid", 0U)});
    }
    return merging;
  };
  const auto merging = begin();
  if (!merging) return tl::unexpected(merging.error());
  load_next(office, *merging);
  return std::nullopt;
}

// Kept first, so that it is the agent's last good context whatever comes of the loading.
void RunningSteps::load_next(ConflictOffice& office, const std::shared_ptr<Merging>& merging) {
  const auto then = ends(merging->step);
  if (merging->owners.empty()) {
    std::string names;
    for (const std::string& name : merging->loaded) names += (names.empty() ? "" : ", ") + name;
    return then(office, "the merged context is loaded by " + names);
  }
  const ContextOwner owner = merging->owners.back();
  merging->owners.pop_back();
  on_loop<AgentId>(
      [owner](EngineLoop& loop, HostTime) -> Result<AgentId> {
        const auto found = loop.find(owner.name);
        if (!found) return fail(Errc::no_such_agent, "'" + owner.name + "' is gone");
        MESH_TRY(const EngineLoop::KnownAgent known, loop.known(*found));
        if (known.uid == owner.uid) return *found;
        return fail(Errc::not_yours, "'" + owner.name + "' is another user's now");
      },
      [this, merging, owner](ConflictOffice& at, Result<AgentId> agent) {
        Result<std::uint64_t> kept = fail(Errc::not_ready, "the store is away");
        if (agent && at.store() != nullptr)
          kept = at.store()->keep_context(
              {.owner = owner, .at = uses_.conflicts->wall_now(), .bytes = merging->bytes});
        if (!agent || !kept)
          return ends(merging->step)(at, tl::unexpected(agent ? kept.error() : agent.error()));
        merging->loaded.push_back(owner.name);
        load_merged_into(at, merging, *agent);
      });
}

void RunningSteps::load_merged_into(ConflictOffice& office, const std::shared_ptr<Merging>& merging,
                                    AgentId agent) {
  load_newest({merging->step.subject, merging->step.step, agent},
              [this, merging, agent](ConflictOffice& at, Text text) {
                if (!text) return ends(merging->step)(at, std::move(text));
                after_merge(at, merging, agent);
              });
  static_cast<void>(office);
}

// Loading holds the agent; another conflict may have reason to go on with that.
void RunningSteps::after_merge(ConflictOffice& office, const std::shared_ptr<Merging>& merging,
                               AgentId agent) {
  if (office.desk().has_another(agent, ConflictStrategy::quarantine_and_reload,
                                merging->step.subject))
    return load_next(office, merging);
  on_loop<bool>([agent](EngineLoop& loop, HostTime) { return loop.quarantine(agent, false); },
                [this, merging](ConflictOffice& at, Result<bool>) { load_next(at, merging); });
}

}  // namespace mesh::engine
