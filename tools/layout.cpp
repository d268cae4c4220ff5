// mesh layout: what stands where in shared memory. Needs no mesh.
#include <memory>
#include <ostream>
#include <sstream>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/generated_part.hpp"
#include "tools/layout_report.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_layout {
namespace {

constexpr const char* kFooter = R"(
The tables come from the descriptions that the code itself is compiled from. The part
of docs/SHM_LAYOUT.md between its two markers is this verb's --markdown output; after
a change of a layout bring it up to date with --write, and review the difference.

Examples:
  mesh layout
  mesh layout --json
  mesh layout --write docs/SHM_LAYOUT.md
)";

struct Options {
  bool markdown = false;
  bool json = false;
  std::string document;
};

Status update(const std::string& path) {
  std::ostringstream generated;
  MESH_CHECK_OK(write_layout_markdown(generated));
  return update_document(path, {kGeneratedBegin, generated.str()});
}

Result<ExitCode> run(const Options& options, Console& console) {
  if (!options.document.empty()) {
    MESH_CHECK_OK(update(options.document));
  } else if (options.markdown) {
    MESH_CHECK_OK(write_layout_markdown(console.out));
  } else if (options.json) {
    MESH_CHECK_OK(write_layout_json(console.out));
  } else {
    MESH_CHECK_OK(write_layout_text(console.out));
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  CLI::Option* const markdown =
      command.add_flag("--markdown", options->markdown, "as docs/SHM_LAYOUT.md has it");
  CLI::Option* const json =
      command.add_flag("--json", options->json, "one JSON object")->excludes(markdown);
  command
      .add_option("--write", options->document,
                  "replace the generated part of this document; default: of none")
      ->type_name("FILE")
      ->excludes(markdown)
      ->excludes(json);
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_layout

Verb layout_verb() { return {"layout", "what stands where in shared memory", &of_layout::declare}; }

}  // namespace mesh::tools
