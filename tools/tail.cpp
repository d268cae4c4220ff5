// mesh tail: deliveries as they pass.
#include <memory>
#include <ostream>
#include <string>

#include <poll.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/reports/inbox_tail.hpp"
#include "engine/reports/tail_json.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_tail {
namespace {

using engine::reports::InboxTail;
using engine::reports::Json;
using engine::reports::passed_json;
using engine::reports::PassedDelivery;

constexpr const char* kFooter = R"(
Every delivery that passes from now on, until Ctrl-C or --count of them: messages,
replies, results and reports, with sender, target and body. They are seen in the
inboxes of the stations, whose files are mapped read-only: neither the engine nor a
station knows or is slowed. What passes faster than it can be shown is counted as
missed. Only the owner of the mesh's directory can look, and sees every body.

Exit code 0: --count were seen, or it was stopped. 3: there is no mesh.

Examples:
  mesh tail
  mesh tail --agent printer --count 10
  mesh tail --json
)";

constexpr int kLookMs = 5;
constexpr int kLooksARefresh = 20;
constexpr std::size_t kBodyShown = 80;

struct Options {
  WhichMesh which;
  std::string agent;
  std::string count = "0";
  bool json = false;
};

std::string_view again_text(const sched::DeliveryRecord& record) {
  return sched::has(record.flags, sched::RecordFlags::redelivered) ? "again" : "";
}

std::string text_of(const PassedDelivery& passed) {
  const sched::DeliveryRecord& record = passed.record;
  const bool is_bare = sched::has(record.flags, sched::RecordFlags::bare);
  std::string text =
      fmt::format("station {:<4} {:<8} {} -> {}  {} B", passed.station, sched::name_of(record.kind),
                  passed.source.empty() ? std::string("the engine") : printable(passed.source),
                  printable(passed.target), record.body_bytes);
  if (!is_bare && record.operation != OperationId{0}) {
    text += fmt::format("  operation {}", static_cast<std::uint64_t>(record.operation));
  }
  if (!is_bare && record.arrive_ns != 0) {
    text += fmt::format("  {:.3f} ms before T",
                        static_cast<double>(record.arrive_ns - record.sent_ns) / kNsPerMs);
  }
  if (const std::string_view again = again_text(record); !again.empty()) {
    text += fmt::format("  {}", again);
  }
  const bool is_text = record.kind == sched::RecordKind::message;
  if (is_text && passed.body && is_utf8(*passed.body)) {
    const std::string shown = printable(passed.body->substr(0, kBodyShown));
    text += fmt::format("  {}{}", shown, passed.body->size() > kBodyShown ? "..." : "");
  }
  return text;
}

// Shows what it was asked for, until it has shown enough.
class Shower {
 public:
  Shower(const Options& options, std::uint64_t count, std::ostream& out)
      : options_(options), count_(count), out_(out) {}

  void show(const PassedDelivery& passed) {
    if (is_done()) return;
    const std::string& agent = options_.agent;
    if (!agent.empty() && passed.source != agent && passed.target != agent) return;
    ++shown_;
    if (options_.json) {
      out_ << passed_json(passed).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    } else {
      out_ << text_of(passed) << '\n';
    }
  }
  void show_missed(std::uint64_t missed) {
    if (missed == 0) return;
    if (options_.json) {
      out_ << Json{{"missed", missed}}.dump() << '\n';
    } else {
      out_ << fmt::format("... {} passed too fast to be seen\n", missed);
    }
  }
  [[nodiscard]] bool is_done() const noexcept { return count_ != 0 && shown_ >= count_; }

 private:
  const Options& options_;
  std::uint64_t count_;
  std::ostream& out_;
  std::uint64_t shown_ = 0;
};

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const std::uint64_t count, whole_number({"--count", 0, 1'000'000'000}, options.count));
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(InboxTail tail, InboxTail::open(directory));
  Shower shower(options, count, console.out);
  for (int look = 1; !stop.requested() && !shower.is_done(); ++look) {
    shower.show_missed(tail.poll([&](const PassedDelivery& passed) { shower.show(passed); }));
    console.out.flush();
    if (!console.out) return fail(Errc::io_error, "standard output cannot be written");
    pollfd end{stop.fd(), POLLIN, 0};
    ::poll(&end, 1, kLookMs);
    if (look % kLooksARefresh == 0) MESH_CHECK_OK(tail.refresh());
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_option("--agent", options->agent, "only from or to this one; default: all")
      ->type_name("NAME");
  command.add_option("--count", options->count, "deliveries to show; 0: until Ctrl-C")
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--json", options->json, "a JSON object a line");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_tail

Verb tail_verb() { return {"tail", "deliveries as they pass", &of_tail::declare}; }

}  // namespace mesh::tools
