// What the kernel permits an engine, and that it says what it does not: it runs all the same.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_client.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_rights_test {

// What root may do all the same is given up, too.
bool may_lock_nothing() {
  const rlimit none{0, 0};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) return false;
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  data[CAP_IPC_LOCK / 32].effective &= ~(1U << (CAP_IPC_LOCK % 32));
  return ::syscall(SYS_capset, &header, data) == 0;
}

// The engine's own sentence about its memory, or that it did not start.
std::string said_of_memory(const std::string& directory) {
  const auto engine = start_engine(directory);
  if (engine == nullptr) return "no engine";
  auto client = engine::ControlClient::connect(directory, {});
  if (!client) return client.error().sentence;
  const auto status = client->request(R"({"op":"status"})");
  if (!status) return status.error().sentence;
  const auto missing = nlohmann::json::parse(*status)["missing_rights"];
  for (const std::string& sentence : engine->report().threads) {
    const bool is_missing = std::find(missing.begin(), missing.end(), sentence) != missing.end();
    if (sentence.starts_with("memory lock")) return sentence + (is_missing ? ", missing" : "");
  }
  return "nothing said";
}

TEST(EngineRights, SaysThatItCouldNotLockItsMemoryAndRuns) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const std::string where = channel.hear();
    channel.tell(may_lock_nothing() ? said_of_memory(where) : "not to be forbidden");
    return 0;
  });
  child.tell(directory.path());
  const std::string said = child.hear();
  EXPECT_NE(said.find("refused (errno"), std::string::npos) << said;
  EXPECT_NE(said.find("RLIMIT_MEMLOCK"), std::string::npos) << said;
  EXPECT_TRUE(said.ends_with(", missing")) << said;
}

TEST(EngineRights, LocksItsMemoryWhereItMay) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    channel.tell(said_of_memory(channel.hear()));
    return 0;
  });
  child.tell(directory.path());
  const std::string said = child.hear();
  const bool is_refused = said.find("refused") != std::string::npos;
  EXPECT_TRUE(said.starts_with("memory lock of ")) << said;
  EXPECT_EQ(said.ends_with(", missing"), is_refused) << said;
  EXPECT_EQ(said.ends_with(" MiB"), !is_refused) << said;
  if (::geteuid() == 0) {
    EXPECT_FALSE(is_refused) << said;  // of another user its limit says
  }
}

}  // namespace of_engine_rights_test
}  // namespace mesh::testing
