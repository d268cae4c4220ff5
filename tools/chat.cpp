// mesh say, mesh chat: plain sentences over the verbs.
#include <istream>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/acting.hpp"
#include "engine/console/conversation.hpp"
#include "tools/console_doer.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_chat {
namespace {

using console::Act;
using console::Conversation;
using console::Turn;
using Json = nlohmann::ordered_json;
using Kind = console::Understanding::Kind;

constexpr const char* kSayFooter = R"(
One plain sentence, understood by a fixed grammar over the verbs: nothing is guessed,
and a sentence that is not understood gets the nearest ones that are. What only looks is
done at once; what changes something is shown, and done with --yes.

Exit code 0: done, 1: it did not succeed, 2: not understood, 4: it needs --yes.

Examples:
  mesh say "what's happening in sector 7?"
  mesh say "route around db-1 and show me what it is stuck on" --yes
  mesh say help
)";

constexpr const char* kChatFooter = R"(
Reads sentences from its standard input, one a line, until "quit" or its end. It knows
what was last spoken of ("them", "it", "there"), shows what would change something, and
does that when told ("do it"). With --json each turn is one line.

Exit code 0: the conversation has ended, 3: there is no mesh.

Examples:
  mesh chat
  echo 'who is stuck?' | mesh chat
)";

struct Options {
  WhichMesh which;
  std::string sentence;
  bool yes = false;
  bool json = false;
};

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::acts:
      return "acts";
    case Kind::yes:
      return "yes";
    case Kind::no:
      return "no";
    case Kind::help:
      return "help";
    case Kind::quit:
      return "quit";
    case Kind::unclear:
      break;
  }
  return "unclear";
}

Json commands_of(const std::vector<Act>& acts) {
  Json list = Json::array();
  for (const Act& act : acts) list.push_back(console::command_of(act));
  return list;
}
std::string lines_of_commands(const std::vector<Act>& acts) {
  std::string text;
  for (const Act& act : acts) {
    text += "  " + printable(console::command_of(act));
    if (act.kind == console::ActKind::ask)  // whoever was said to be asked
      text +=
          fmt::format("  ({} agents, drawn)", act.count.value_or(engine::SampleRequest{}.count));
    text += "\n";
  }
  return text;
}

std::string help_text() {
  std::size_t width = 0;
  for (const console::Example& example : console::examples())
    width = std::max(width, example.sentence.size());
  std::string text = "for example:\n";
  for (const console::Example& example : console::examples())
    text += fmt::format("  {:<{}}  {}\n", example.sentence, width, example.does);
  return text;
}

// What came of one sentence, in both forms.
struct Heard {
  Turn turn;
  Json json;
  std::string text;
  bool has_succeeded = true;
  std::optional<Error> error;  // of the first act that was refused
};

void do_acts(const WhichMesh& which, const std::vector<Act>& acts, Conversation& talk,
             Heard& heard) {
  for (const Act& act : acts) {
    Json one = {{"command", console::command_of(act)}};
    auto done = perform(which, act);
    if (!done) {
      one["error"] = done.error().sentence;
      heard.text += printable(done.error().sentence) + "\n";
      heard.has_succeeded = false;
      if (!heard.error) heard.error = done.error();
    } else {
      one["succeeded"] = done->has_succeeded;
      one["answer"] = std::move(done->answer);
      heard.text += done->text;
      heard.has_succeeded = heard.has_succeeded && done->has_succeeded;
      if (talk.found(act, done->findings))
        heard.text += "this could be done next:\n" + lines_of_commands(talk.awaiting()) +
                      "say \"do it\" to do it\n";
    }
    heard.json["done"].push_back(std::move(one));
  }
}

std::string unclear_text(const Turn& turn) {
  std::string text = printable(turn.why) + "\n";
  if (turn.nearest.empty()) return text;
  text += "the nearest that I understand:\n";
  for (const std::string& sentence : turn.nearest) text += "  " + sentence + "\n";
  return text;
}

Heard hear(const WhichMesh& which, const std::string& sentence, Conversation& talk) {
  Heard heard;
  heard.turn = talk.hear(sentence);
  const Turn& turn = heard.turn;
  heard.json = {{"heard", sentence}, {"kind", name_of(turn.kind)}, {"done", Json::array()}};
  switch (turn.kind) {
    case Kind::unclear:
      heard.json["why"] = turn.why;
      heard.json["nearest"] = turn.nearest;
      heard.text = unclear_text(turn);
      break;
    case Kind::help:
      heard.text = help_text();
      break;
    case Kind::no:
      heard.json["left"] = commands_of(turn.shown);
      heard.text = turn.shown.empty() ? "there was nothing to do\n"
                                      : "not done:\n" + lines_of_commands(turn.shown);
      break;
    case Kind::acts:
    case Kind::yes:
    case Kind::quit:
      do_acts(which, turn.now, talk, heard);
      break;
  }
  heard.json["awaiting"] = commands_of(talk.awaiting());
  return heard;
}

// What it shows and waits with; empty: nothing.
std::string asking_text(const Turn& turn) {
  if (turn.kind != Kind::acts || turn.shown.empty()) return {};
  return "this would be done:\n" + lines_of_commands(turn.shown) +
         "say \"do it\" to do it, or \"no\"\n";
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// With --yes what was shown is done in the same breath.
Result<ExitCode> run_say(const Options& options, Console& console) {
  Conversation talk;
  Heard heard = hear(options.which, options.sentence, talk);
  const bool is_shown = heard.turn.kind == Kind::acts && !heard.turn.shown.empty();
  if (is_shown && options.yes && !heard.error) {
    do_acts(options.which, heard.turn.shown, talk, heard);
    heard.json["awaiting"] = Json::array();
  } else {
    heard.text += asking_text(heard.turn);
  }
  if (heard.error && heard.json["done"].size() == 1) return tl::unexpected<Error>(*heard.error);
  const bool is_unclear = heard.turn.kind == Kind::unclear;
  if (options.json) {
    console.out << heard.json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    (is_unclear ? console.err : console.out) << heard.text;
  }
  if (is_unclear) return ExitCode::bad_input;
  if (is_shown && !options.yes) return ExitCode::refused;
  return heard.has_succeeded ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_chat(const Options& options, Console& console) {
  MESH_TRY(const Json status, ask_engine(options.which, {{"op", "status"}}));
  static_cast<void>(status);
  const bool has_prompt = !options.json && ::isatty(STDIN_FILENO) != 0;
  Conversation talk;
  std::string sentence;
  for (;;) {
    if (has_prompt) console.out << "> ";
    console.out.flush();
    if (!std::getline(console.in, sentence)) break;
    if (sentence.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Heard heard = hear(options.which, sentence, talk);
    console.out << (options.json ? line_of(heard.json) : heard.text + asking_text(heard.turn));
    if (heard.turn.kind == Kind::quit) break;
  }
  return ExitCode::done;
}

RunVerb declare_say(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("sentence", options->sentence, "what is wanted, in plain words")
      ->required()
      ->type_name("SENTENCE");
  command.add_flag("--yes", options->yes, "do what changes something");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kSayFooter);
  return [options](Console& console) { return run_say(*options, console); };
}

RunVerb declare_chat(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object a line");
  command.footer(kChatFooter);
  return [options](Console& console) { return run_chat(*options, console); };
}

}  // namespace
}  // namespace of_chat

Verb say_verb() { return {"say", "one plain sentence over the verbs", &of_chat::declare_say}; }
Verb chat_verb() { return {"chat", "a conversation in plain sentences", &of_chat::declare_chat}; }

}  // namespace mesh::tools
