// Several services at work together, over real files and real processes: three kinds of workers
// hash and summarise a folder of documents and bind what they made into an index.
//
//     document_mill --help
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>

#include <unistd.h>

#include "examples/document_mill_host.hpp"

namespace {

using namespace mill;

constexpr const char* kHelp =
    "document_mill: workers hash and summarise a folder of documents, and bind an index\n"
    "\n"
    "  --documents DIR    the documents: its regular files, at most 999 (default: eight are made)\n"
    "  --output DIR       where the results go; a new folder (default: a temporary one, removed)\n"
    "  --workers N        of each kind, 1..8 (default 2)\n"
    "  --lease-ms N       of a task and of the lock of its output (default 5000)\n"
    "  --kill KIND:STEP   the first worker of this kind that comes to this step is killed there\n"
    "  --stop KIND:STEP   the same, but it stops, and says what it has to say when all is done\n"
    "  --fail KIND        the first worker of this kind fails at everything: its breaker opens\n"
    "\n"
    "  KIND  hasher summariser binder\n"
    "  STEP  started joined offered bid assigned locked read half_written written reported\n"
    "        committed\n"
    "\n"
    "What waits for what is a DependencyGraph's; a task is accepted once, leased under a fence "
    "and\n"
    "completed once by an ExactlyOnceQueue; who gets it is decided in a TaskAuction among idle\n"
    "workers with a closed CircuitBreaker; outputs are written under a LockManager's token; an\n"
    "EventBus carries what happened. Ends with 0 where every result is there, once.\n";

template <std::size_t N>
std::optional<std::uint32_t> find(const std::array<std::string_view, N>& names,
                                  std::string_view name) {
  for (std::uint32_t i = 0; i < N; ++i) {
    if (names[i] == name) return i;
  }
  return {};
}

bool add_trial(Plan& plan, std::string_view text, bool stops) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || plan.trials.size() == kTrialsMax) return false;
  const auto kind = find(kKindNames, text.substr(0, colon));
  const auto step = find(kStepNames, text.substr(colon + 1));
  if (!kind || !step) return false;
  plan.trials.push_back({static_cast<Kind>(*kind), static_cast<Step>(*step), stops});
  return true;
}

bool set_number(std::int64_t& value, const char* text, std::int64_t least, std::int64_t most) {
  char* end = nullptr;
  value = std::strtoll(text, &end, 10);
  return *text != '\0' && *end == '\0' && value >= least && value <= most;
}

bool set_option(Plan& plan, std::string_view name, const char* value) {
  std::int64_t number = 0;
  if (name == "--documents") plan.documents = value;
  if (name == "--output") plan.output = value;
  if (name == "--documents" || name == "--output") return true;
  if (name == "--kill" || name == "--stop") return add_trial(plan, value, name == "--stop");
  if (name == "--workers" && set_number(number, value, 1, 8)) {
    plan.workers_each = static_cast<std::uint32_t>(number);
    return true;
  }
  if (name == "--lease-ms") return set_number(plan.lease_ms, value, 10, 3'600'000);
  const auto kind = find(kKindNames, value);
  if (name != "--fail" || !kind) return false;
  plan.failing = static_cast<std::int32_t>(*kind);
  return true;
}

void make_documents(const std::filesystem::path& folder) {
  constexpr std::array<std::string_view, 8> kNames{"alder", "birch", "cedar", "elm",
                                                   "fir",   "hazel", "oak",   "willow"};
  std::filesystem::create_directories(folder);
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    std::ofstream file(folder / (std::string(kNames[i]) + ".txt"));
    file << "On the " << kNames[i] << "\n";
    for (std::size_t line = 0; line < 20 * (i + 1); ++line) {
      file << "Line " << line << " says of the " << kNames[i] << " what line " << line * i
           << " left out.\n";
    }
  }
}

void list_documents(Plan& plan) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(plan.documents, failed)) {
    if (entry.is_regular_file()) plan.names.push_back(entry.path().filename());
  }
  std::sort(plan.names.begin(), plan.names.end());
}

// A folder that is gone when the program ends. Throws where none can be made.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = std::filesystem::temp_directory_path() / "document_mill.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::filesystem::filesystem_error("no temporary folder", name,
                                              std::error_code(errno, std::generic_category()));
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

int run(Plan& plan) {
  const TemporaryFolder temporary;
  if (plan.documents.empty()) make_documents(plan.documents = temporary.path() / "documents");
  if (plan.output.empty()) plan.output = temporary.path() / "output";
  list_documents(plan);
  if (plan.names.empty() || plan.count() > kDocumentsMax) {
    std::fprintf(stderr, "document_mill: %s holds %u documents; 1 to %u can be milled\n",
                 plan.documents.c_str(), plan.count(), kDocumentsMax);
    return 2;
  }
  if (std::filesystem::exists(plan.output / "ledger.txt")) {
    std::fprintf(stderr, "document_mill: %s has results already\n", plan.output.c_str());
    return 2;
  }
  Mill mill(plan);
  const bool is_good = mill.run();
  std::filesystem::remove_all(plan.output / "parts");  // what the dead had begun
  mill.print();
  return is_good ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  Plan plan;
  for (int i = 1; i < count; i += 2) {
    if (std::strcmp(words[i], "--help") == 0) {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (i + 1 == count || !set_option(plan, words[i], words[i + 1])) {
      std::fprintf(stderr, "document_mill: %s%s%s is not understood; --help says what is\n",
                   words[i], i + 1 == count ? "" : " ", i + 1 == count ? "" : words[i + 1]);
      return 2;
    }
  }
  try {
    return run(plan);
  } catch (const std::filesystem::filesystem_error& error) {  // what() names the folder
    std::fprintf(stderr, "document_mill: %s\n", error.what());
    return 2;
  }
}
