// Jobs of Engine's calls: each has a future that the caller waits for.
//
// Callers     made by any thread; run and done as scheduler_thread.hpp says.
// If the      engine stops: the promise is broken, which the caller is told as `closed`.
// other side
// dies
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/control_server.hpp"
#include "engine/engine.hpp"
#include "engine/loop/pipelines.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {

// A job whose result a waiting thread gets. Destroyed before it is done, it breaks the promise.
template <class T>
class CallJob : public Job {
 public:
  std::future<Result<T>> future() { return promise_.get_future(); }
  void done() final { promise_.set_value(std::move(result_)); }

 protected:
  Result<T> result_{fail(Errc::closed, "the engine stopped first")};

 private:
  std::promise<Result<T>> promise_;
};

template <class T, class Run>
class RunJob final : public CallJob<T> {
 public:
  explicit RunJob(Run run) : run_(std::move(run)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    this->result_ = run_(scheduler, now);
    return std::nullopt;
  }

 private:
  Run run_;
};

// Through the scheduler thread, to be done on the control thread.
class WhoJob final : public Job {
 public:
  WhoJob(const ControlServer& control, const WhoWanted& wanted)
      : control_(control), wanted_(wanted) {}
  std::future<Result<WhoReport>> future() { return promise_.get_future(); }
  std::optional<OperationId> run(SchedulerThread& /*scheduler*/, HostTime /*now*/) override {
    return std::nullopt;
  }
  void done() override { promise_.set_value(control_.who(wanted_)); }

 private:
  const ControlServer& control_;
  const WhoWanted& wanted_;  // the caller's, who waits
  std::promise<Result<WhoReport>> promise_;
};

class ScatterJob final : public CallJob<OperationReport> {
 public:
  ScatterJob(const OperationRequest& request, bool with_trace)
      : request_(request), with_trace_(with_trace) {
    request_.with_trace = with_trace;
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = scheduler.loop().open(request_, now);
    if (opened) return *opened;
    result_ = tl::unexpected<Error>(opened.error());
    return std::nullopt;
  }
  void on_finished(SchedulerThread& scheduler, const FinishedOperation& finished) override {
    OperationReport report{finished, {}};
    if (with_trace_) report.trace = scheduler.loop().trace(finished.id);
    result_ = std::move(report);
  }

 private:
  OperationRequest request_;
  bool with_trace_;
};

class CascadeJob final : public CallJob<CascadeReport> {
 public:
  explicit CascadeJob(const CascadeRequest& request) : request_(request) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = scheduler.loop().open_cascade(request_, now);
    if (opened) return *opened;
    result_ = tl::unexpected<Error>(opened.error());
    return std::nullopt;
  }
  void on_cascade(SchedulerThread& scheduler, const FinishedCascade& finished) override {
    result_ = CascadeReport{finished, scheduler.loop().missed_units(finished.id)};
  }

 private:
  CascadeRequest request_;
};

class QuorumJob final : public CallJob<QuorumReport> {
 public:
  explicit QuorumJob(const QuorumRequest& request) : request_(request) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = scheduler.loop().open_cascade(cascade_of(request_), now);
    if (opened) return *opened;
    result_ = tl::unexpected<Error>(opened.error());
    return std::nullopt;
  }
  void on_cascade(SchedulerThread& scheduler, const FinishedCascade& finished) override {
    result_ = quorum_report(scheduler.loop(), finished);
  }

 private:
  QuorumRequest request_;
};

class PipelineJob final : public CallJob<FinishedPipeline> {
 public:
  explicit PipelineJob(const PipelineRequest& request) : request_(request) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = open_pipeline(scheduler.loop(), request_, now);
    if (opened) return *opened;
    result_ = tl::unexpected<Error>(opened.error());
    return std::nullopt;
  }
  void on_pipeline(SchedulerThread& /*scheduler*/, const FinishedPipeline& finished) override {
    result_ = finished;
  }

 private:
  PipelineRequest request_;
};

class AskJob final : public CallJob<AnsweredMessage> {
 public:
  struct Question {
    AgentId target{};
    std::span<const std::byte> body{};  // the caller's, who waits
    Nanos patience{};
  };
  explicit AskJob(const Question& question) : question_(question) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto posted =
        scheduler.loop().post({.target = question_.target, .body = question_.body}, now);
    if (posted) {
      scheduler.await_answer(*posted, now + question_.patience);
    } else {
      result_ = tl::unexpected<Error>(posted.error());
    }
    return std::nullopt;
  }
  void on_answered(SchedulerThread& /*scheduler*/, const AnsweredMessage* answered) override {
    if (answered != nullptr) {
      result_ = *answered;
    } else {
      result_ =
          fail(Errc::timed_out, "ask: no answer within " +
                                    std::to_string(question_.patience.count() / kNsPerMs) + " ms");
    }
  }

 private:
  Question question_;
};

}  // namespace mesh::engine
