#include "engine/context_sync.hpp"

#include <memory>
#include <utility>

#include "engine/loop/context_holds.hpp"
#include "shm/sealed_bytes.hpp"

namespace mesh::engine {
namespace {

constexpr std::uint32_t kLoadsMax = 3;  // of an agent that goes on handing over newer ones

class LoopJob final : public Job {
 public:
  LoopJob(std::function<void(EngineLoop&, HostTime)> what, std::function<void()> then)
      : what_(std::move(what)), then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    what_(scheduler.loop(), now);
    return std::nullopt;
  }
  void done() override { then_(); }

 private:
  std::function<void(EngineLoop&, HostTime)> what_;
  std::function<void()> then_;
};

std::string not_loaded(const std::string& why) { return "no context loaded: " + why; }

}  // namespace

// One process's agents; the one at `said.size()` has its turn.
struct ContextSync::Syncing {
  std::vector<Result<EngineLoop::KnownAgent>> known;
  std::vector<AgentId> agents;
  std::vector<bool> awaiting;  // of each, whether what is for it waits
  std::vector<std::string> said;
  std::uint32_t loads = 0;  // of the one whose turn it is
  Done done;

  [[nodiscard]] const EngineLoop::KnownAgent& present() const { return *known[said.size()]; }
};

bool ContextSync::on_loop(std::function<void(EngineLoop&, HostTime)> what,
                          std::function<void()> then) {
  auto job = std::make_unique<LoopJob>(std::move(what), std::move(then));
  return uses_.scheduler->post(std::move(job)) == nullptr;
}

void ContextSync::sync(const std::vector<LostAgent>& agents, Done done) {
  auto syncing = std::make_shared<Syncing>();
  for (const LostAgent& agent : agents) syncing->agents.push_back(agent.id);
  syncing->done = std::move(done);
  const auto look = [syncing](EngineLoop& loop, HostTime) {
    for (const AgentId id : syncing->agents) {
      syncing->known.push_back(loop.known(id));
      syncing->awaiting.push_back(awaits_context(loop, id));
    }
  };
  if (on_loop(look, [this, syncing] { next(syncing); })) return;
  syncing->done(std::vector<std::string>(agents.size(), not_loaded("the engine is too busy")));
}

// Of the one whose turn it is: it has its context, or will not get it. What waited for it goes on
// its way; where the loop has no room for that, once LoopOptions::context_wait has passed.
void ContextSync::say(Syncing& syncing, std::string text) {
  const std::size_t at = syncing.said.size();
  if (syncing.awaiting[at])
    on_loop(
        [agent = syncing.agents[at]](EngineLoop& loop, HostTime now) {
          static_cast<void>(release_for_context(loop, agent, now));
        },
        [] {});
  syncing.said.push_back(std::move(text));
  syncing.loads = 0;
}

// Why nothing is to be loaded into it; nothing: something is.
std::optional<std::string> ContextSync::needs_none(
    const Result<EngineLoop::KnownAgent>& known) const {
  if (!known) return not_loaded(known.error().sentence);
  if (known->context_hash == 0) return not_loaded(kNoContextKept);
  if (known->said_hash == known->context_hash) return "it has its context already";
  const std::optional<bool> loads = uses_.loads_context(known->station);
  if (!loads) return not_loaded("its process is away");
  if (!*loads) return not_loaded("its process loads none: it has no handler");
  return std::nullopt;
}

void ContextSync::next(const std::shared_ptr<Syncing>& syncing) {
  while (syncing->said.size() < syncing->known.size()) {
    auto none = needs_none(syncing->known[syncing->said.size()]);
    if (!none) return list(syncing);
    say(*syncing, std::move(*none));
  }
  syncing->done(std::move(syncing->said));
}

void ContextSync::list(const std::shared_ptr<Syncing>& syncing) {
  const EngineLoop::KnownAgent& agent = syncing->present();
  uses_.contexts->list({agent.name, agent.uid}, [this, syncing](auto versions) {
    if (versions && !versions->empty()) return load(syncing, std::move(versions->front()));
    say(*syncing, not_loaded(versions ? "none of it is kept" : versions.error().sentence));
    next(syncing);
  });
}

void ContextSync::load(const std::shared_ptr<Syncing>& syncing, ContextVersion context) {
  auto sealed = shm::seal_bytes("context", std::as_bytes(std::span(context.bytes)));
  if (!sealed) {
    say(*syncing, not_loaded(sealed.error().sentence));
    return next(syncing);
  }
  ++syncing->loads;
  const auto kept = std::make_shared<const ContextVersion>(std::move(context));
  uses_.load({.agent = syncing->agents[syncing->said.size()],
              .station = syncing->present().station,
              .hash = kept->hash,
              .bytes = std::move(*sealed),
              .done = [this, syncing, kept](const Status& status) {
                if (status) return loaded(syncing, *kept);
                say(*syncing, not_loaded(status.error().sentence));
                next(syncing);
              }});
}

// What it handed over meanwhile is newer than what it was given.
void ContextSync::loaded(const std::shared_ptr<Syncing>& syncing, const ContextVersion& context) {
  uses_.contexts->list(context.owner, [this, syncing, context](auto versions) {
    const bool is_newest = !versions || versions->empty() ||
                           versions->front().hash == context.hash || syncing->loads == kLoadsMax;
    if (is_newest) return expect(syncing, context);
    load(syncing, std::move(versions->front()));
  });
}

// What it is to be from now on is what it has loaded.
void ContextSync::expect(const std::shared_ptr<Syncing>& syncing, const ContextVersion& context) {
  auto status = std::make_shared<Status>();
  const bool is_posted = on_loop(
      [status, agent = syncing->agents[syncing->said.size()], hash = context.hash](
          EngineLoop& loop, HostTime) { *status = loop.expect_context(agent, hash); },
      [this, syncing, status, version = context.version] {
        say(*syncing, *status ? "version " + std::to_string(version) + " of its context loaded"
                              : not_loaded(status->error().sentence));
        next(syncing);
      });
  if (is_posted) return;
  say(*syncing, "version " + std::to_string(context.version) + " of its context loaded");
  next(syncing);
}

}  // namespace mesh::engine
