#include "tools/agent_context.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "shm/hash.hpp"
#include "shm/system_error.hpp"
#include "tools/read_file.hpp"
#include "tools/shell_command.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

constexpr std::size_t kWordsMax = 512;  // of a command that could not

// Aside, then renamed: who reads the file meanwhile sees the one or the other.
Status write_file(const std::string& path, std::span<const std::byte> bytes) {
  const std::string aside = path + ".loading";
  std::ofstream out(aside, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return fail(Errc::system_error, fmt::format("{} cannot be written", in_quotes(aside)));
  if (std::rename(aside.c_str(), path.c_str()) != 0)
    return shm::system_failure(fmt::format("rename {}", in_quotes(aside)), errno);
  return {};
}

}  // namespace

Status AgentContext::hand_over(engine::Station& station, AgentId agent) {
  std::error_code error;
  if (!hands_over() || !std::filesystem::exists(options_.file, error)) return {};
  MESH_TRY(const std::string bytes, read_file(options_.file));
  if (std::exchange(reattached_, station.reattached()) != station.reattached()) known_.reset();
  const std::uint64_t hash = shm::hash64(bytes);
  if (known_ == hash) return {};
  MESH_TRY(const engine::ContextReceipt receipt,
           station.set_context(agent, std::as_bytes(std::span(bytes))));
  known_ = receipt.hash;
  return {};
}

Status AgentContext::load(std::span<const std::byte> context) {
  if (options_.load_command.empty()) {
    MESH_CHECK_OK(write_file(options_.file, context));
  } else {
    MESH_TRY(const ShellResult ran,
             run_shell_command(
                 {.command = options_.load_command, .input = context, .output_max = kWordsMax}));
    if (ran.killed_by != 0 || ran.exit_code != 0) {
      const std::string words(reinterpret_cast<const char*>(ran.output.data()), ran.output.size());
      return fail(
          Errc::callback_failed,
          ran.killed_by != 0
              ? fmt::format("--load-context: signal {} killed it", ran.killed_by)
              : fmt::format("--load-context: exit code {}: {}", ran.exit_code, printable(words)));
    }
  }
  known_ = shm::hash64(context);
  return {};
}

}  // namespace mesh::tools
