// mesh record and mesh replay: messages kept with checksums, and played again.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>

#include <poll.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/reports/recording.hpp"
#include "engine/reports/replay.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_record {
namespace {

using engine::reports::InboxTail;
using engine::reports::Json;
using engine::reports::PassedDelivery;
using engine::reports::read_recording;
using engine::reports::recorded;
using engine::reports::Recording;
using engine::reports::RecordingWriter;
using engine::reports::replay;
using engine::reports::replay_json;
using engine::reports::ReplayOptions;
using engine::reports::ReplayResult;

constexpr const char* kRecordFooter = R"(
Keeps every message that is delivered from now on in FILE, which must not be there yet,
until Ctrl-C, or --count of them, or --seconds: sender, target, when, body, and a
checksum of each line and all before it. Replies, results and reports are what messages
lead to, and are not kept. It looks as mesh tail does: neither the engine nor a station
knows. What passes too fast to be seen is counted in the file as missed.

Exit code 0: nothing was missed. 1: something was, or FILE cannot be written.

Examples:
  mesh record morning.rec --seconds 60
  mesh record one.rec --agent printer --count 10 --json
)";
constexpr const char* kReplayFooter = R"(
Sends each message of FILE once more, to the agent of the same name, at the distances in
time at which they were delivered, or --speed N times as fast; and says how they were
answered. The whole file is checked first: one wrong line, and nothing is sent. The
messages come from an agent of the replay's own. A message of an operation is sent as
one to its target alone.

Exit code 0: all were answered, READY or CONFLICT. 1: not all.

Examples:
  mesh replay morning.rec
  mesh replay morning.rec --speed 10 --json
)";

constexpr int kLookMs = 5;
constexpr int kLooksARefresh = 20;

struct Options {
  WhichMesh which;
  std::string file;
  std::string agent;
  std::string count = "0";
  std::string seconds = "0";
  std::string speed = "1";
  std::string timeout_ms = "5000";
  bool json = false;
};

void write(const Options& options, const Json& report, std::ostream& out) {
  if (options.json) {
    out << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    out << lines_of(report);
  }
}

Result<double> number_of(const char* option, const std::string& text, double most) {
  const auto number = parse_number(text);
  if (number && *number >= 0 && *number <= most) return *number;
  return fail(Errc::bad_input,
              fmt::format("{} {}: is a number from 0 to {}", option, in_quotes(text), most));
}

Result<ExitCode> run_record(const Options& options, Console& console) {
  MESH_TRY(const std::uint64_t count, whole_number({"--count", 0, 1'000'000'000}, options.count));
  MESH_TRY(const double seconds, number_of("--seconds", options.seconds, 1e9));
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  if (std::filesystem::exists(options.file)) {
    return fail(Errc::bad_input, fmt::format("{} is there already; a recording begins anew",
                                             in_quotes(options.file)));
  }
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(InboxTail tail, InboxTail::open(directory));
  std::ofstream file(options.file, std::ios::trunc | std::ios::binary);
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t unix_ns =
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  RecordingWriter writer(file, directory, engine::reports::utc_text(unix_ns));
  const auto is_over = [&] {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return stop.requested() || (count != 0 && writer.messages() >= count) ||
           (seconds > 0 && passed.count() >= seconds);
  };
  for (int look = 1; !is_over() && file; ++look) {
    const std::uint64_t missed = tail.poll([&](const PassedDelivery& passed) {
      if (count != 0 && writer.messages() >= count) return;
      const std::string& agent = options.agent;
      if (!agent.empty() && passed.source != agent && passed.target != agent) return;
      if (passed.record.kind != sched::RecordKind::message) return;
      if (const auto message = recorded(passed)) {
        writer.add(*message);
      } else {
        writer.add_missed(1);  // its body is gone already
      }
    });
    writer.add_missed(missed);
    file.flush();
    pollfd end{stop.fd(), POLLIN, 0};
    ::poll(&end, 1, kLookMs);
    if (look % kLooksARefresh == 0) MESH_CHECK_OK(tail.refresh());
  }
  writer.end();
  if (!file)
    return fail(Errc::io_error, fmt::format("{} cannot be written", in_quotes(options.file)));
  write(options,
        {{"file", options.file}, {"messages", writer.messages()}, {"missed", writer.missed()}},
        console.out);
  return writer.missed() == 0 ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_replay(const Options& options, Console& console) {
  MESH_TRY(const double speed, number_of("--speed", options.speed, 1e6));
  if (speed < 1e-3) return fail(Errc::bad_input, "--speed: at least 0.001");
  MESH_TRY(const std::uint64_t timeout_ms,
           whole_number({"--timeout-ms", 0, 86'400'000}, options.timeout_ms));
  std::ifstream file(options.file, std::ios::binary);
  if (!file) {
    return fail(Errc::bad_input, fmt::format("{} cannot be read", in_quotes(options.file)));
  }
  MESH_TRY(const Recording recording, read_recording(file, options.file));
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(const StopSignals stop, StopSignals::create());
  const ReplayOptions how{directory, speed,
                          Nanos{static_cast<std::int64_t>(timeout_ms) * kNsPerMs}};
  MESH_TRY(const ReplayResult result, replay(recording, how, [&stop] { return stop.requested(); }));
  write(options, replay_json(result, recording), console.out);
  return result.is_whole() ? ExitCode::done : ExitCode::failed;
}

std::shared_ptr<Options> declare_common(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("file", options->file, "the recording")->required()->type_name("FILE");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  return options;
}

RunVerb declare_record(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("--agent", options->agent, "only from or to this one; default: all")
      ->type_name("NAME");
  command.add_option("--count", options->count, "messages; 0: until Ctrl-C")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--seconds", options->seconds, "for so many seconds; 0: until Ctrl-C")
      ->capture_default_str()
      ->type_name("SECONDS");
  command.footer(kRecordFooter);
  return [options](Console& console) { return run_record(*options, console); };
}

RunVerb declare_replay(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("--speed", options->speed, "times as fast as it was")
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--timeout-ms", options->timeout_ms,
                  "for answers, behind the last message, in ms")
      ->capture_default_str()
      ->type_name("MS");
  command.footer(kReplayFooter);
  return [options](Console& console) { return run_replay(*options, console); };
}

}  // namespace
}  // namespace of_record

Verb record_verb() {
  return {"record", "messages as they pass, into a file", &of_record::declare_record};
}
Verb replay_verb() { return {"replay", "a recording, played again", &of_record::declare_replay}; }

}  // namespace mesh::tools
