// AgentContext: the context of a `mesh agent`: a file that it hands over whenever that has changed,
// and how it is made again what it was.
//
// Callers     the station's pump.
// Progress    file work, and what Station::set_context waits for; load() waits for its command.
// Errors      bad_input: the file cannot be read, or is longer than a context may be.
//             callback_failed: the command says that it could not. system_error: the file cannot be
//             written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/station/station.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

struct AgentContextOptions {
  std::string file{};          // empty: it has no context
  std::string load_command{};  // empty: the file is written
};

class AgentContext {
 public:
  explicit AgentContext(AgentContextOptions options) : options_(std::move(options)) {}

  [[nodiscard]] bool hands_over() const noexcept { return !options_.file.empty(); }
  [[nodiscard]] bool loads() const noexcept {
    return hands_over() || !options_.load_command.empty();
  }
  // If the file is another than the engine knows. Nothing there yet: nothing is handed over.
  // The next engine may have kept nothing: to it the file is handed over again.
  Status hand_over(engine::Station& station, AgentId agent);
  Status load(std::span<const std::byte> context);

 private:
  AgentContextOptions options_;
  std::optional<std::uint64_t> known_;  // hash of what was handed over or loaded last
  std::uint64_t reattached_ = 0;
};

}  // namespace mesh::tools
