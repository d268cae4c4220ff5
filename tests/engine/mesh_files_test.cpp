// Whom a mesh's directory lets in (DESIGN.md part 3): containers are given its sock/ and nothing
// else.
#include "engine/mesh_files.hpp"

#include <cstdlib>
#include <filesystem>

#include <sys/stat.h>

#include "engine/memory_map.hpp"

namespace mesh::engine {
namespace of_mesh_files_test {

// A directory of its own, gone with it; and the process's umask, as it was.
class MeshFilesTest : public ::testing::Test {
 protected:
  MeshFilesTest() : umask_(::umask(0)) {
    ::umask(umask_);
    std::string made = ::testing::TempDir() + "meshXXXXXX";
    if (::mkdtemp(made.data()) == nullptr) throw std::runtime_error("mkdtemp");
    scratch_ = made;
  }
  ~MeshFilesTest() override {
    ::umask(umask_);
    std::error_code ignored;
    std::filesystem::remove_all(scratch_, ignored);
  }
  static unsigned mode_of(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return 0;
    return status.st_mode & 07777U;
  }

  std::string scratch_;

 private:
  mode_t umask_;
};

TEST_F(MeshFilesTest, HaveTheRightsOfTheDesignWhateverTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{022}, mode_t{077}}) {
    const std::string directory = scratch_ + "/mesh" + std::to_string(mask);
    ::umask(mask);
    auto files = MeshFiles::claim(directory);
    ASSERT_TRUE(files) << files.error().sentence;
    const auto layout = table_layout({.agents = 30, .stations = 2});
    ASSERT_TRUE(layout);
    for (const char* const name : {"payload.new", "engine.new", "table.new"}) {
      const auto made = files->create(name, *layout);
      ASSERT_TRUE(made) << made.error().sentence;
    }
    ASSERT_TRUE(files->publish());
    const auto socket = files->listen();
    ASSERT_TRUE(socket) << socket.error().sentence;
    EXPECT_EQ(mode_of(directory), 0711U) << "others reach sock/, and list nothing";
    for (const char* const name : {"/table", "/payload", "/engine"})
      EXPECT_EQ(mode_of(directory + name), 0600U) << name;
    EXPECT_EQ(mode_of(directory + "/lock"), 0600U);
    EXPECT_EQ(mode_of(directory + "/sock"), 0755U);
    EXPECT_EQ(mode_of(directory + "/sock/control.sock"), 0666U) << "who may attach is asked there";
    files->own_mesh();
  }
}

TEST_F(MeshFilesTest, TakesBackRightsThatItsDirectoryHadBefore) {
  const std::string directory = scratch_ + "/mesh";
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(directory.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir((directory + "/sock").c_str(), 0700), 0);
  const auto files = MeshFiles::claim(directory);
  ASSERT_TRUE(files) << files.error().sentence;
  ASSERT_TRUE(files->listen());
  EXPECT_EQ(mode_of(directory), 0711U);
  EXPECT_EQ(mode_of(directory + "/sock"), 0755U);
}

TEST_F(MeshFilesTest, RefusesADirectoryWhoseSocketsNameIsTooLong) {
  const auto files = MeshFiles::claim(scratch_ + "/" + std::string(100, 'm'));
  ASSERT_TRUE(files) << files.error().sentence;
  const auto socket = files->listen();
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, Errc::invalid_argument);
  EXPECT_THAT(socket.error().sentence, ::testing::HasSubstr("at most 107 bytes"));
}

}  // namespace of_mesh_files_test
}  // namespace mesh::engine
