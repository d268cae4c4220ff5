#include "engine/rules_keeper.hpp"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "engine/backup/backup_status.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kJournalBytesMax = std::size_t{64} << 20;

}  // namespace

Result<std::unique_ptr<RulesKeeper>> RulesKeeper::open(const std::string& directory) {
  const std::string path = directory + "/" + kRulesJournal;
  shm::Descriptor journal(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  const int why = errno;
  std::unique_ptr<RulesKeeper> made(new RulesKeeper(path, std::move(journal)));
  if (made->journal_) {
    MESH_CHECK_OK(made->read());
  } else if (why != ENOENT) {
    return shm::system_failure("open '" + path + "'", why);
  }
  return made;
}

// With the first rule: a mesh without rules has no file of them.
Status RulesKeeper::make_journal() {
  if (journal_) return {};
  journal_ =
      shm::Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (journal_) return {};
  return shm::system_failure("create '" + path_ + "'", errno);
}

Status RulesKeeper::read() {
  std::string text;
  char part[4'096];
  for (ssize_t size = 0; (size = ::read(journal_.get(), part, sizeof part)) != 0;) {
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return shm::system_failure("read '" + path_ + "'", errno);
    text.append(part, static_cast<std::size_t>(size));
    if (text.size() > kJournalBytesMax)
      return fail(Errc::invalid_config, "'" + path_ + "': it is longer than any journal of ours");
  }
  std::size_t number = 0;
  auto rules = std::make_shared<console::RoutingRules>();
  for (std::size_t end = 0; (end = text.find('\n', bytes_)) != std::string::npos;) {
    ++number;
    const Status applied = rules->apply_line(std::string_view(text).substr(bytes_, end - bytes_));
    if (!applied)
      return fail(Errc::invalid_config, "'" + path_ + "' line " + std::to_string(number) + ": " +
                                            applied.error().sentence);
    bytes_ = end + 1;
  }
  rules_ = std::move(rules);
  if (::ftruncate(journal_.get(), static_cast<off_t>(bytes_)) != 0)
    return shm::system_failure("shorten '" + path_ + "'", errno);
  return {};
}

std::shared_ptr<const console::RoutingRules> RulesKeeper::rules() const {
  const std::lock_guard lock(mutex_);
  return rules_;
}

Result<bool> RulesKeeper::change(console::RuleChange what, console::RoutingRule rule) {
  const std::lock_guard lock(changing_);
  auto changed = std::make_shared<console::RoutingRules>(*rules_);
  const std::string line = console::RoutingRules::line_of(what, rule);
  MESH_TRY(const bool is_change, changed->change(what, std::move(rule)));
  if (!is_change) return false;
  MESH_CHECK_OK(append(line + "\n"));
  const std::lock_guard swap(mutex_);
  rules_ = std::move(changed);
  return true;
}

// Where the last line failed halfway the next one takes its place.
Status RulesKeeper::append(const std::string& line) {
  MESH_CHECK_OK(make_journal());
  const auto at = static_cast<off_t>(bytes_);
  const ssize_t wrote = ::pwrite(journal_.get(), line.data(), line.size(), at);
  if (wrote != static_cast<ssize_t>(line.size()) || ::fdatasync(journal_.get()) != 0) {
    const int why = errno;
    static_cast<void>(::ftruncate(journal_.get(), at));
    return shm::system_failure("write '" + path_ + "'", wrote < 0 ? why : ENOSPC);
  }
  bytes_ += line.size();
  return {};
}

void drop_console_files(const std::string& directory) noexcept {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const std::string name = entry.path().filename().string();
    const bool is_snapshot = name.starts_with("frozen-") && name.find(".snapshot") != name.npos;
    if (is_snapshot || name == kRulesJournal || name == kBackupStatusFile)
      ::unlink(entry.path().c_str());
  }
}

}  // namespace mesh::engine
