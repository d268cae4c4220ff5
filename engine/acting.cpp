#include "engine/acting.hpp"

#include <algorithm>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/console_view.hpp"
#include "engine/delegate_reputation.hpp"
#include "engine/scheduler_thread.hpp"
#include "engine/station/delivery.hpp"

namespace mesh::engine {
namespace {

using console::AnswerKind;
using console::AttemptEnd;

constexpr double kUnknownReputation = 0.5;  // the prior's

struct Outcome {
  AttemptEnd end = AttemptEnd::timed_out;
  std::optional<AnsweredMessage> answer;
  std::string sentence;
};

// One message and its answer. What came of it goes to `then`, on the control thread.
class QuestionJob final : public Job {
 public:
  struct What {
    AgentId target{};
    std::shared_ptr<const std::string> body;
    Nanos patience{};
    CapabilitySet required{};
  };
  using Then = std::function<void(Outcome)>;
  QuestionJob(What what, Then then) : what_(std::move(what)), then_(std::move(then)) {}

  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto posted = scheduler.loop().post({.target = what_.target,
                                               .ttl = what_.patience,
                                               .capabilities = what_.required,
                                               .body = std::as_bytes(std::span(*what_.body))},
                                              now);
    if (posted) {
      scheduler.await_answer(*posted, now + what_.patience);
    } else {
      outcome_ = {AttemptEnd::refused, std::nullopt, posted.error().sentence};
    }
    return std::nullopt;
  }
  void on_answered(SchedulerThread& /*scheduler*/, const AnsweredMessage* answered) override {
    if (answered == nullptr) return;
    outcome_.answer = *answered;
    if (answered->expired) {
      outcome_.end = AttemptEnd::expired;
    } else if (answered->state == sched::TrinaryState::ready) {
      outcome_.end = AttemptEnd::done;
    } else {
      outcome_.end = answered->state == sched::TrinaryState::conflict ? AttemptEnd::conflict
                                                                      : AttemptEnd::declined;
    }
  }
  void done() override { then_(std::move(outcome_)); }
  void refuse(std::string sentence) {
    then_({AttemptEnd::refused, std::nullopt, std::move(sentence)});
  }

 private:
  What what_;
  Then then_;
  Outcome outcome_;
};

void ask_one(const ActingOn& mesh, QuestionJob::What what, QuestionJob::Then then) {
  auto back = mesh.post(std::make_unique<QuestionJob>(std::move(what), std::move(then)));
  if (back != nullptr)
    static_cast<QuestionJob&>(*back).refuse("the engine has too much to do, or stops");
}

std::int64_t now_ns() { return sched::HostCounters::monotonic_ns(); }

// Kept alive by the attempt that is under way.
class Delegating : public std::enable_shared_from_this<Delegating> {
 public:
  struct Work {
    std::vector<console::Delegate> agents;
    CapabilitySet required{};
  };
  Delegating(ActingOn mesh, const DelegateRequest& request, Work work)
      : mesh_(std::move(mesh)),
        task_(std::make_shared<const std::string>(request.task)),
        patience_(request.patience),
        required_(work.required),
        delegation_(std::move(work.agents), now_ns()) {}

  void start(std::function<void(DelegateReport)> done) {
    done_ = std::move(done);
    give_to_next();
  }

 private:
  void give_to_next() {
    const console::Delegate* const next = delegation_.next(now_ns());
    if (next == nullptr) return finish();
    ask_one(mesh_, {next->id, task_, patience_now(), required_},
            [self = shared_from_this()](Outcome outcome) {
              self->delegation_.ended(outcome.end, now_ns(), std::move(outcome.sentence));
              self->note();
              self->answer_ = std::move(outcome.answer);
              self->give_to_next();  // at most kAttemptsMax deep, where all are refused at once
            });
  }
  // Retry timeouts are doubled while the mesh is degraded (mesh.md part 12).
  [[nodiscard]] Nanos patience_now() const {
    const auto view = ConsoleView::over(mesh_.size, mesh_.table);
    const auto mode = view ? view->mode() : std::nullopt;
    return health::retry_timeout(mode.value_or(health::OperatingMode::full), patience_);
  }
  void note() {
    const console::Attempt& attempt = delegation_.attempts().back();
    if (mesh_.reputation != nullptr)
      mesh_.reputation->record(attempt.agent.id, attempt, Nanos{now_ns()});
  }
  void finish() {
    done_({delegation_.is_done(), delegation_.attempts(), std::move(answer_),
           Nanos{delegation_.took_ns()}});
  }

  ActingOn mesh_;
  std::shared_ptr<const std::string> task_;
  Nanos patience_;
  CapabilitySet required_;
  console::Delegation delegation_;
  std::optional<AnsweredMessage> answer_;
  std::function<void(DelegateReport)> done_;
};

// Kept alive by the questions that are out. What is refused for want of room ends on the thread
// that asks, the rest on the control thread.
struct Sampling {
  std::mutex mutex;
  SampleReport report;
  std::uint32_t left = 0;
  std::int64_t started_ns = 0;
  std::function<void(SampleReport)> done;

  void ended(const std::string& agent, const Outcome& outcome) {
    {
      const std::lock_guard lock(mutex);
      report.answers.add(kind_of(outcome.end), agent, text_of(outcome));
      if (--left != 0) return;
    }
    report.took = Nanos{now_ns() - started_ns};
    done(std::move(report));
  }
  static AnswerKind kind_of(AttemptEnd end) {
    switch (end) {
      case AttemptEnd::done:
        return AnswerKind::ready;
      case AttemptEnd::conflict:
        return AnswerKind::conflict;
      case AttemptEnd::declined:
        return AnswerKind::declined;
      case AttemptEnd::refused:
        return AnswerKind::refused;
      case AttemptEnd::expired:
      case AttemptEnd::timed_out:
        break;
    }
    return AnswerKind::unanswered;
  }
  // A conflict's body begins with its two values.
  static std::string_view text_of(const Outcome& outcome) {
    if (!outcome.answer) return {};
    std::span<const std::byte> body = outcome.answer->body;
    if (outcome.end == AttemptEnd::conflict && body.size() >= sizeof(ConflictValues))
      body = body.subspan(sizeof(ConflictValues));
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
};

// Of rows whose agent it is still; the others are somebody else's now.
std::function<double(AgentIndex)> reputation_of(const ActingOn& mesh, const ConsoleView& view) {
  if (mesh.reputation == nullptr) return {};
  std::unordered_map<AgentIndex, double> by_row;
  for (const DelegateReputation::Known& one : mesh.reputation->known(Nanos{now_ns()})) {
    const auto found = view.agent(index_of(one.agent));
    if (found && found->id == one.agent) by_row.emplace(found->row, one.reputation);
  }
  if (by_row.empty()) return {};
  return [by_row = std::move(by_row)](AgentIndex row) {
    const auto found = by_row.find(row);
    return found == by_row.end() ? kUnknownReputation : found->second;
  };
}

Result<Delegating::Work> work_of(const ActingOn& mesh, const DelegateRequest& request) {
  MESH_TRY(const ConsoleView view, ConsoleView::over(mesh.size, mesh.table));
  Delegating::Work work;
  MESH_TRY(work.required, view.capabilities(request.capabilities));
  if (!request.agent.empty()) {
    MESH_TRY(const FoundAgent one, view.find(request.agent));
    work.agents.push_back({one.id, one.name});
    return work;
  }
  const health::HealthView::Wanted wanted{.capabilities = work.required,
                                          .count = request.attempts,
                                          .score_max = health::kScoreMax,
                                          .agent_class = request.agent_class,
                                          .reputation = reputation_of(mesh, view)};
  const auto allowed = allowed_by(mesh.rules, request.capabilities);
  const auto may_have_it = [&](const FoundAgent& agent) {
    const bool is_passed_over =
        std::find(request.not_to.begin(), request.not_to.end(), agent.id) != request.not_to.end();
    return !is_passed_over && (!allowed || allowed(agent));
  };
  for (FoundAgent& found : view.find_best(wanted, request.not_to.empty() ? allowed : may_have_it))
    work.agents.push_back({found.id, std::move(found.name)});
  if (!work.agents.empty()) return work;
  return fail(Errc::no_capable_agent, "delegate: no agent that is active and routable fits");
}

}  // namespace

std::function<bool(const FoundAgent&)> allowed_by(
    std::shared_ptr<const console::RoutingRules> rules, std::vector<std::string> capabilities) {
  if (rules == nullptr || rules->list().empty() || capabilities.empty()) return {};
  return [rules = std::move(rules), names = std::move(capabilities)](const FoundAgent& agent) {
    return std::all_of(names.begin(), names.end(), [&](const std::string& capability) {
      return rules->allows(capability, agent.agent_class, agent.name);
    });
  };
}

Status start_delegation(const ActingOn& mesh, const DelegateRequest& request,
                        std::function<void(DelegateReport)> done) {
  if (request.attempts < 1 || request.attempts > kAttemptsMax || request.patience <= Nanos{0})
    return fail(Errc::bad_input, "delegate: " + std::to_string(request.attempts) +
                                     " attempts; 1 to " + std::to_string(kAttemptsMax) +
                                     ", each with some time, are possible");
  MESH_TRY(Delegating::Work work, work_of(mesh, request));
  std::make_shared<Delegating>(mesh, request, std::move(work))->start(std::move(done));
  return {};
}

Status start_sample(const ActingOn& mesh, const SampleRequest& request,
                    std::function<void(SampleReport)> done) {
  if (request.count < 1 || request.count > kSampleMax || request.patience <= Nanos{0})
    return fail(Errc::bad_input, "ask: a sample of " + std::to_string(request.count) + "; 1 to " +
                                     std::to_string(kSampleMax) + " are possible");
  MESH_TRY(const ConsoleView view, ConsoleView::over(mesh.size, mesh.table));
  SampleWanted wanted{.count = request.count, .seed = request.seed};
  MESH_TRY(wanted.capabilities, view.capabilities(request.capabilities));
  const std::vector<FoundAgent> agents =
      view.sample(wanted, allowed_by(mesh.rules, request.capabilities));
  if (agents.empty())
    return fail(Errc::no_capable_agent, "ask: no agent that is active and routable fits");
  const auto body = std::make_shared<const std::string>(request.question);
  const auto sampling = std::make_shared<Sampling>();
  sampling->left = sampling->report.asked = static_cast<std::uint32_t>(agents.size());
  sampling->started_ns = now_ns();
  sampling->done = std::move(done);
  // What is posted from another thread may be over before the next is: `left` counts them all.
  for (const FoundAgent& agent : agents) {
    ask_one(
        mesh, {agent.id, body, request.patience, wanted.capabilities},
        [sampling, name = agent.name](const Outcome& outcome) { sampling->ended(name, outcome); });
  }
  return {};
}

}  // namespace mesh::engine
