// mesh agent: an agent of one shell command.
#include <condition_variable>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/station/station.hpp"
#include "tools/agent_context.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/shell_command.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_agent {
namespace {

constexpr const char* kFooter = R"(
Attaches one agent and runs CMD by /bin/sh for each message, one after another: the
message is its standard input, its standard output (at most 56 KiB) the answer's body.
Messages wait for their turn, 65536 at most; more are declined.
Exit code 0 answers READY; any other answers CONFLICT with that number; a command that a
signal killed declines the message. Without --exec each message is printed, and
answered READY. An empty message of verb sync, by which the mesh looks how long an answer
takes, is answered READY without CMD. It runs until Ctrl-C; a command that is running then
is waited for. An engine that was killed is waited for as well, for a minute: nothing is
lost meanwhile.
With --context FILE the agent hands that file over as its context, at the start and after
each message that has changed it; a context that was kept is loaded by writing it there,
or by CMD of --load-context, which has it as its standard input and ends with 0.
mesh who says which message its command works on, since when, and, with --waiting-on,
on whom that waits.

Examples:
  mesh agent --name printer
  mesh agent --name counter --exec 'wc -c'
  mesh agent --name checker --class B --exec 'grep -q ready'
  mesh agent --name planner --exec ./plan --context plan.json
)";

constexpr Nanos kLookAtSignals{100 * kNsPerMs};
constexpr Nanos kAttachPatience{5 * kNsPerSecond};
constexpr Nanos kEnginePatience{60 * kNsPerSecond};             // while it is started again
constexpr std::size_t kAnswerBytesMax = std::size_t{56} << 10;  // the engine keeps 60 of each
constexpr std::size_t kDeliveriesATurn = 64;
constexpr std::size_t kJobsMost = 65'536;

struct Options {
  std::string agent;
  std::string command;
  std::string agent_class = "A";
  std::string waiting_on;  // while its command runs
  std::vector<std::string> capabilities;
  AgentContextOptions context;
  std::string directory;
  std::string name = kDefaultMeshName;
};

struct Job {
  std::vector<std::byte> body;
  engine::Reply reply;
};

// The first line of a message, as far as a task may be long.
std::string task_of(std::span<const std::byte> body) {
  std::string text(reinterpret_cast<const char*>(body.data()),
                   std::min<std::size_t>(body.size(), kAgentNameBytes));
  text.resize(std::min(text.find_first_of("\r\n"), text.size()));
  while (!text.empty() && !is_utf8(text)) text.pop_back();  // a letter that was cut
  for (char& letter : text)
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) letter = ' ';
  return text.empty() ? "a message of " + std::to_string(body.size()) + " bytes" : text;
}

// Runs the command for one message after another, so that the pump goes on meanwhile.
class Worker {
 public:
  explicit Worker(std::string command)
      : command_(std::move(command)), thread_([this] { work(); }) {}
  // Those that wait are dropped, and so declined.
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void push(Job job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }
  // The message that its command works on, if that has changed since this was asked last.
  [[nodiscard]] bool take_change(std::string& task) {
    const std::lock_guard lock(mutex_);
    task = task_;
    return std::exchange(has_changed_, false);
  }
  [[nodiscard]] std::size_t waiting() {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (ending_) return;
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      set_task(task_of(job.body));
      lock.unlock();
      run(job);
      lock.lock();
      set_task({});
    }
  }
  void set_task(std::string task) {  // locked
    task_ = std::move(task);
    has_changed_ = true;
  }
  void run(Job& job) const {
    const auto ran =
        run_shell_command({.command = command_, .input = job.body, .output_max = kAnswerBytesMax});
    if (!ran || ran->killed_by != 0) return;  // the Reply declines by going
    if (ran->exit_code == 0) {
      job.reply.answer(engine::Answer::ready(ran->output));
    } else {
      job.reply.answer(engine::Answer::in_conflict(sched::ConflictType::other,
                                                   {0, static_cast<std::uint64_t>(ran->exit_code)},
                                                   ran->output));
    }
  }

  const std::string command_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::string task_;  // empty: it waits for a message
  bool has_changed_ = false;
  bool ending_ = false;
  std::thread thread_;
};

class ShellAgent {
 public:
  struct Of {
    engine::Station& station;
    AgentId id{};
    AgentContext& context;
  };
  ShellAgent(const Of& of, const Options& options, Console& console)
      : station_(of.station),
        id_(of.id),
        context_(of.context),
        waiting_on_(options.waiting_on),
        console_(console) {
    if (!options.command.empty()) worker_.emplace(options.command);
  }

  Status run(const StopSignals& stop) {
    MESH_CHECK_OK(context_.hand_over(station_, id_));
    for (std::uint64_t returns = 0; !stop.requested();) {
      report();
      if (std::exchange(returns, station_.reattached()) != station_.reattached()) hand_over();
      // Always: a station that leaves its inbox unread is evicted.
      const std::size_t polled = station_.poll(
          kDeliveriesATurn, [&](const engine::Delivery& delivery, engine::Reply reply) {
            take(delivery, std::move(reply));
          });
      if (polled > 0) continue;
      if (station_.is_lost()) return tl::unexpected<Error>(station_.lost_reason());
      station_.wait(station_.now() + kLookAtSignals);
    }
    worker_.reset();
    station_.poll(0, [](const engine::Delivery&, engine::Reply) {});  // its last answers leave
    return {};
  }

 private:
  void report() {
    std::string task;
    if (!worker_ || !worker_->take_change(task)) return;
    if (task.empty()) hand_over();
    const std::string_view on = task.empty() ? std::string_view() : waiting_on_;
    // A text that cannot be said, a C1 control for one, is not.
    if (!station_.report(id_, {.task = task, .waiting_on = on}))
      static_cast<void>(station_.report(id_, {.task = "a message", .waiting_on = on}));
  }
  // What cannot be handed over now may be after the next message.
  void hand_over() {
    if (const Status done = context_.hand_over(station_, id_); !done)
      console_.err << fmt::format("mesh agent: {}\n", printable(done.error().sentence));
  }
  void take(const engine::Delivery& delivery, engine::Reply reply) {
    if (!reply) return;
    if (delivery.verb == sched::Verb::sync && delivery.body.empty())
      return reply.answer(engine::Answer::ready());  // the mesh looks how long that takes
    if (worker_) {
      if (worker_->waiting() >= kJobsMost) return;  // declined
      worker_->push({{delivery.body.begin(), delivery.body.end()}, std::move(reply)});
      return;
    }
    console_.out << printable(delivery.text()) << '\n';
    console_.out.flush();
    reply.answer(engine::Answer::ready());
  }

  engine::Station& station_;
  AgentId id_;
  AgentContext& context_;
  std::string waiting_on_;
  Console& console_;
  std::optional<Worker> worker_;
};

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const sched::AgentClass agent_class, class_letter("--class", options.agent_class));
  if (options.agent.empty() || options.agent.size() > kAgentNameBytes || !is_utf8(options.agent)) {
    return fail(Errc::bad_input, fmt::format("--name {}: must be 1 to {} bytes of UTF-8",
                                             in_quotes(options.agent), kAgentNameBytes));
  }
  if (!options.waiting_on.empty())
    MESH_CHECK_OK(engine::check_name("--waiting-on", options.waiting_on));
  MESH_TRY(const std::string directory, mesh_directory(options.directory, options.name));
  std::signal(SIGPIPE, SIG_IGN);  // a command may end before it has read its message
  AgentContext context(options.context);
  engine::StationOptions attaching{.name = options.agent,
                                   .connect = {.patience = kAttachPatience},
                                   .engine_patience = kEnginePatience};
  if (context.loads())
    attaching.load_context = [&context](AgentId, std::span<const std::byte> bytes) {
      return context.load(bytes);
    };
  MESH_TRY(const auto station, engine::Station::attach(directory, attaching));
  // Not before: until it has attached a signal may end it at once.
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(const auto ids, station->enrol(std::vector<engine::AgentDeclaration>{
                               {.name = options.agent,
                                .agent_class = agent_class,
                                .capabilities = options.capabilities}}));
  console.err << fmt::format("mesh agent: {} is in the mesh at {}\n", printable(options.agent),
                             printable(directory));
  MESH_CHECK_OK(ShellAgent({*station, ids.front(), context}, options, console).run(stop));
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("--name", options->agent, "of the agent: UTF-8, 1 to 63 bytes")
      ->required()
      ->type_name("NAME");
  command
      .add_option("--exec", options->command,
                  "run for each message; default: it is printed, and READY")
      ->type_name("CMD");
  command
      .add_option("--capability", options->capabilities,
                  "what it can do, a name; may be given again; default: none")
      ->type_name("NAME");
  command
      .add_option(
          "--waiting-on", options->waiting_on,
          "whom its command waits on while it runs: an agent's name, or words; default: nobody")
      ->type_name("NAME");
  command
      .add_option("--context", options->context.file,
                  "its context, a file of at most 1 MiB; default: it has none")
      ->type_name("FILE");
  command
      .add_option("--load-context", options->context.load_command,
                  "loads a context that was kept; default: the file is written")
      ->type_name("CMD");
  command.add_option("--class", options->agent_class, "A to F")
      ->capture_default_str()
      ->type_name("CLASS");
  command.add_option("--dir", options->directory, "the mesh's directory; default: that of --mesh")
      ->type_name("DIR");
  command.add_option("--mesh", options->name, "the mesh's name, where --dir is not given")
      ->capture_default_str()
      ->type_name("MESH");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_agent

Verb agent_verb() {
  return {"agent", "an agent whose work is a shell command", &of_agent::declare};
}

}  // namespace mesh::tools
