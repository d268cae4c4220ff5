// RulesKeeper: the routing rules of a mesh and their journal, a file in its directory: a line a
// change, on its way to the disk before the change is in force.
//
// Callers     any thread.
// Progress    change: takes a lock, writes and syncs a line. rules: takes one that is held for no
//             longer than a pointer is copied: a job of the scheduler thread may call it.
// If the      dies in between: a line that is not whole was never answered, and is dropped.
// engine
// dies
// Errors      open -> system_error; invalid_config: a line of the journal is no rule. change -> as
//             RoutingRules::change; system_error: the journal cannot be written, and nothing is
//             changed.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "engine/console/routing_rules.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

inline constexpr const char* kRulesJournal = "rules.journal";

class RulesKeeper {
 public:
  static Result<std::unique_ptr<RulesKeeper>> open(const std::string& directory);

  [[nodiscard]] std::shared_ptr<const console::RoutingRules> rules() const;
  // Whether it is a change.
  Result<bool> change(console::RuleChange what, console::RoutingRule rule);

 private:
  RulesKeeper(std::string path, shm::Descriptor journal)
      : path_(std::move(path)), journal_(std::move(journal)) {}
  Status make_journal();
  Status read();
  Status append(const std::string& line);

  std::string path_;
  shm::Descriptor journal_;  // none before the first rule
  std::mutex changing_;
  mutable std::mutex mutex_;  // of the pointer alone
  std::shared_ptr<const console::RoutingRules> rules_ =
      std::make_shared<const console::RoutingRules>();
  std::uint64_t bytes_ = 0;  // of whole lines
};

// What the console has written into a directory whose mesh is gone.
void drop_console_files(const std::string& directory) noexcept;

}  // namespace mesh::engine
