// What an engine may find in its directory: a mesh to go on with, halves, and what is neither. It
// says what it found, and deletes nothing that could be a mesh.
#include "engine/adoption.hpp"

#include <fstream>
#include <random>

#include <sys/stat.h>

#include "engine/engine.hpp"
#include "shm/base/point.hpp"
#include "shm/hash.hpp"
#include "tests/engine/engine_process.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_adoption_test {

namespace fs = std::filesystem;
using engine::Engine;
using engine::EngineOptions;
using ::testing::HasSubstr;

const std::vector<std::string> kMemories = {"table", "payload", "engine", "station-1.in"};

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Leaves the mesh of a killed engine that had one station and one agent, both gone.
void leave_a_mesh(const std::string& directory) {
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineProcess engine(engine_options(directory));
  ASSERT_EQ(engine.hear(), "up");
  alice.tell(directory);
  ASSERT_EQ(alice.hear(), "enrolled");
  engine.kill();
}

class Adoption : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(leave_a_mesh(directory_.path())); }

  [[nodiscard]] std::string file(const std::string& name) const { return directory_.file(name); }
  [[nodiscard]] shm::MappingHeader header_of(const std::string& name) const {
    shm::MappingHeader header{};
    std::ifstream in(file(name), std::ios::binary);
    in.read(reinterpret_cast<char*>(&header), sizeof header);
    return header;
  }
  // Where something stands, behind the header.
  [[nodiscard]] std::vector<std::uint64_t> written_bytes_of(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
    std::vector<std::uint64_t> written;
    for (std::uint64_t at = sizeof(shm::MappingHeader); at < bytes.size(); ++at)
      if (bytes[at] != 0) written.push_back(at);
    if (written.empty()) written.push_back(bytes.size() - 1);
    return written;
  }
  void write_header(const std::string& name, const shm::MappingHeader& header) const {
    std::fstream out(file(name), std::ios::binary | std::ios::in | std::ios::out);
    out.write(reinterpret_cast<const char*>(&header), sizeof header);
  }
  // A header that is whole, and says something else.
  template <class Change>
  void forge(const std::string& name, const Change& change) const {
    shm::MappingHeader header = header_of(name);
    change(header);
    header.checksum = 0;
    header.checksum = shm::hash64(std::as_bytes(std::span(&header, 1)));
    write_header(name, header);
  }
  [[nodiscard]] Error refusal(const EngineOptions& options) const {
    const auto engine = Engine::start(options);
    EXPECT_FALSE(engine.has_value());
    return engine ? Error{} : engine.error();
  }
  // start() refuses with `code`, names the file and what to do, and leaves everything there.
  void refuses(const std::string& name, Errc code, const std::string& part) const {
    SCOPED_TRACE(name);
    const auto before = files_in(directory_.path());
    const Error error = refusal(engine_options(directory_.path()));
    EXPECT_EQ(name_of(error.code), name_of(code)) << error.sentence;
    EXPECT_THAT(error.sentence, HasSubstr(name + ": "));
    EXPECT_THAT(error.sentence, HasSubstr(part));
    EXPECT_THAT(error.sentence, HasSubstr("--fresh"));
    EXPECT_EQ(files_in(directory_.path()), before);
  }
  void adopts() const {
    EngineProcess engine(engine_options(directory_.path()));
    ASSERT_EQ(engine.hear(), "up");
    EXPECT_EQ(engine.status()["adopted"]["agents"], 1);
    EXPECT_EQ(engine.status()["awaited"][0]["station"], 1);
    EXPECT_EQ(engine.status()["awaited"][0]["name"], "of alice");
    engine.kill();
  }

  const ScratchDirectory directory_;
};

TEST_F(Adoption, RefusesAHeaderOfWhichAnyFieldIsDamaged) {
  constexpr std::size_t kFields[] = {
      offsetof(shm::MappingHeader, magic),        offsetof(shm::MappingHeader, byte_order),
      offsetof(shm::MappingHeader, abi_version),  offsetof(shm::MappingHeader, checksum),
      offsetof(shm::MappingHeader, layout_hash),  offsetof(shm::MappingHeader, layout_version),
      offsetof(shm::MappingHeader, kind),         offsetof(shm::MappingHeader, page_bytes),
      offsetof(shm::MappingHeader, header_bytes), offsetof(shm::MappingHeader, total_bytes),
      offsetof(shm::MappingHeader, created_ns),   offsetof(shm::MappingHeader, mesh_uuid),
      offsetof(shm::MappingHeader, boot_id),      offsetof(shm::MappingHeader, instance),
      offsetof(shm::MappingHeader, parameters),   offsetof(shm::MappingHeader, reserved)};
  for (const std::string& name : kMemories) {
    const shm::MappingHeader sound = header_of(name);
    for (const std::size_t at : kFields) {
      shm::MappingHeader damaged = sound;
      reinterpret_cast<unsigned char*>(&damaged)[at] ^= 0x41;
      write_header(name, damaged);
      const Errc code = at == offsetof(shm::MappingHeader, magic)         ? Errc::bad_magic
                        : at == offsetof(shm::MappingHeader, abi_version) ? Errc::version_skew
                                                                          : Errc::corrupt;
      SCOPED_TRACE(at);
      refuses(name, code, "");
    }
    write_header(name, sound);
  }
  adopts();
}

TEST_F(Adoption, RefusesAHeaderThatIsWholeAndSaysSomethingElseAndNamesBothSides) {
  using Header = shm::MappingHeader;
  for (const std::string& name : kMemories) {
    const Header sound = header_of(name);
    const auto forged = [&](const auto& change, Errc code, const std::string& part) {
      forge(name, change);
      refuses(name, code, part);
      write_header(name, sound);
    };
    forged([](Header& header) { header.byte_order = 0x04030201; }, Errc::endianness_mismatch, "");
    forged([](Header& header) { header.page_bytes = 65'536; }, Errc::page_size_mismatch, "65536");
    forged([](Header& header) { header.kind = 77; }, Errc::layout_mismatch, "kind 77, expected ");
    forged([](Header& header) { header.layout_version = 9; }, Errc::version_skew,
           "layout version 9, this binary knows ");
    forged([](Header& header) { header.layout_hash ^= 1; }, Errc::layout_mismatch,
           "this binary's is 0x");
    forged([](Header& header) { header.boot_id.fill(7); }, Errc::not_yours,
           "written in boot 07070707-0707-0707-0707-070707070707, this is boot ");
    forged([](Header& header) { header.instance += 1; }, Errc::not_yours, "instance ");
    forged([](Header& header) { header.total_bytes += 4'096; }, Errc::truncated, "bytes, it has ");
    if (name == "table") continue;  // the table says which mesh it is, and how big
    forged([](Header& header) { header.mesh_uuid.fill(7); }, Errc::not_yours,
           "mesh 07070707-0707-0707-0707-070707070707, expected ");
    forged([](Header& header) { header.parameters[0] += 1; }, Errc::corrupt, "other sizes");
  }
  adopts();
}

TEST_F(Adoption, RefusesFilesThatAreMissingCutForeignOrNotOursAlone) {
  const ScratchDirectory aside;
  for (const std::string& name : kMemories) {
    const auto size = fs::file_size(file(name));
    fs::copy_file(file(name), aside.file(name));
    for (const std::uintmax_t cut :
         {std::uintmax_t{0}, std::uintmax_t{255}, std::uintmax_t{4'096}, size - 4'096}) {
      SCOPED_TRACE(cut);
      fs::resize_file(file(name), cut);
      refuses(name, Errc::truncated, "");
      fs::copy_file(aside.file(name), file(name), fs::copy_options::overwrite_existing);
    }
    fs::resize_file(file(name), size + 4'096);
    refuses(name, Errc::corrupt, std::to_string(size + 4'096));
    fs::resize_file(file(name), size);

    fs::rename(file(name), aside.file("moved"));
    refuses(name, Errc::not_found, "");
    fs::create_symlink(aside.file("moved"), file(name));
    const Error link = refusal(engine_options(directory_.path()));
    EXPECT_EQ(link.code, Errc::not_yours) << link.sentence;
    fs::remove(file(name));
    fs::rename(aside.file("moved"), file(name));

    ::chmod(file(name).c_str(), 0644);
    refuses(name, Errc::not_yours, "mode 0644, expected 0600");
    ::chmod(file(name).c_str(), 0600);
    fs::create_hard_link(file(name), directory_.file("second"));
    refuses(name, Errc::not_yours, "2 links, expected 1");
    fs::remove(directory_.file("second"));
  }
  const ScratchDirectory foreign;
  ASSERT_NO_FATAL_FAILURE(leave_a_mesh(foreign.path()));
  for (const std::string& name : kMemories) {
    if (name == "table") continue;
    fs::copy_file(foreign.file(name), file(name), fs::copy_options::overwrite_existing);
    refuses(name, Errc::not_yours, "expected ");
    fs::copy_file(aside.file(name), file(name), fs::copy_options::overwrite_existing);
  }
  adopts();
}

TEST_F(Adoption, RefusesAnotherSizeThanTheOneThatIsThere) {
  EngineOptions options = engine_options(directory_.path());
  options.size = {.agents = 128, .stations = 8};
  const Error larger = refusal(options);
  EXPECT_EQ(larger.code, Errc::layout_mismatch);
  EXPECT_THAT(larger.sentence,
              HasSubstr("room for 64 agents and 8 stations, asked for are 128 and 8"));
  options.size = {.agents = 64, .stations = 4};
  EXPECT_THAT(refusal(options).sentence, HasSubstr("asked for are 64 and 4"));
  adopts();
}

TEST_F(Adoption, RefusesATableOfStationsThatNoDeathLeaves) {
  const auto layout = engine::engine_layout(kSmallMesh).value();
  const std::size_t row = layout.find("stations")->offset;
  const auto poke = [&](std::size_t at, std::uint32_t value) {
    std::fstream out(file("engine"), std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(row + at));
    out.write(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto refused = [&](const std::string& part) {
    const Error error = refusal(engine_options(directory_.path()));
    EXPECT_EQ(error.code, Errc::corrupt);
    EXPECT_THAT(error.sentence, HasSubstr(part));
    EXPECT_THAT(error.sentence, HasSubstr("--fresh"));
  };
  poke(offsetof(engine::StationRow, state), 7);
  refused("state 7");
  poke(offsetof(engine::StationRow, state), 1);
  poke(offsetof(engine::StationRow, agents), 65);
  refused("65 agents, this mesh has 64");
  poke(offsetof(engine::StationRow, agents), 1);
  poke(offsetof(engine::StationRow, out_bytes), 4'096);
  refused("a memory of 4096 bytes, expected ");
}

// What no death leaves, but memory gone bad might: it is refused with a sentence, or the mesh goes
// on and answers. Nobody dies of it.
TEST_F(Adoption, OutlivesOrRefusesRandomDamageBehindTheHeaders) {
  const ScratchDirectory aside;
  for (const std::string& name : kMemories) fs::copy_file(file(name), aside.file(name));
  std::mt19937_64 random(seed());
  std::uint64_t refused = 0;
  const std::uint64_t rounds = repeats(20);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::string& name = kMemories[random() % kMemories.size()];
    const std::vector<std::uint64_t> written = written_bytes_of(name);
    std::fstream out(file(name), std::ios::binary | std::ios::in | std::ios::out);
    std::string where;
    for (std::uint64_t bytes = 1 + random() % 16; bytes != 0; --bytes) {
      const std::uint64_t at = written[random() % written.size()];
      where += " " + std::to_string(at);
      out.seekp(static_cast<std::streamoff>(at));
      out.put(static_cast<char>(random()));
    }
    out.close();
    SCOPED_TRACE(::testing::Message() << "round " << round << ": " << name << " at" << where);
    EngineProcess engine(engine_options(directory_.path()));
    const std::string said = engine.hear();
    ASSERT_NE(said, kGone);
    if (said == "up") {
      EXPECT_TRUE(engine.status().contains("adopted"));
    } else {
      EXPECT_THAT(said, HasSubstr(": "));
      ++refused;
    }
    engine.kill();
    for (const std::string& memory : kMemories)
      fs::copy_file(aside.file(memory), file(memory), fs::copy_options::overwrite_existing);
  }
  std::cout << refused << " of " << rounds << " were refused\n";
}

TEST_F(Adoption, BeginsAnewWhenToldAndSaysWhatItDrops) {
  EngineOptions options = engine_options(directory_.path());
  options.fresh = true;
  const auto engine = Engine::start(options);
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  EXPECT_EQ(
      (*engine)->report().dropped,
      (std::vector<std::string>{"engine: dropped", "payload: dropped", "station-1.in: dropped",
                                "table: dropped", "with them went 1 agent"}));
  EXPECT_TRUE((*engine)->report().adopted.empty());
  EXPECT_EQ((*engine)->status()->agents_enrolled, 0U);
}

TEST_F(Adoption, BeginsAnewWhenToldWhateverIsThere) {
  fs::resize_file(file("table"), 100);
  fs::remove(file("payload"));
  EngineOptions options = engine_options(directory_.path());
  options.fresh = true;
  const auto engine = Engine::start(options);
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  EXPECT_EQ((*engine)->report().dropped.back(), "what they held could not be read");
}

TEST_F(Adoption, RemovesTheFilesOfStationsThatAreNotAttached) {
  fs::copy_file(file("station-1.in"), file("station-9.in"));
  const auto engine = Engine::start(engine_options(directory_.path()));
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  ASSERT_EQ((*engine)->report().dropped.size(), 1U);
  EXPECT_THAT((*engine)->report().dropped.front(), HasSubstr("station-9.in"));
  EXPECT_FALSE(fs::exists(file("station-9.in")));
  EXPECT_TRUE(fs::exists(file("station-1.in")));
  EXPECT_THAT((*engine)->report().adopted.front(), HasSubstr("goes on: 1 agent"));
}

// A death at every step of a start, and of an end: what it leaves is no mesh, and nobody's loss.
TEST_F(Adoption, TakesAwayWhatAStartOrAnEndThatDiedHalfwayLeft) {
  const ScratchDirectory aside;
  for (const std::string& name : kMemories) fs::copy_file(file(name), aside.file(name));
  const std::vector<std::vector<std::string>> halves = {
      {"table.new"},
      {"table.new", "payload.new"},
      {"table.new", "payload.new", "engine.new"},
      {"table.new", "payload", "engine.new"},
      {"table.new", "payload", "engine"},
      {"table.down", "payload", "engine", "station-1.in"},
      {"table.down", "engine"},
      {"table.down"},
  };
  for (const auto& half : halves) {
    for (const std::string& name : kMemories) fs::remove(file(name));
    for (const std::string& name : half) {
      std::ofstream(file(name)) << "half";  // whatever: it is not looked into
    }
    auto engine = Engine::start(engine_options(directory_.path()));
    ASSERT_TRUE(engine.has_value()) << half.front() << ": " << engine.error().sentence;
    EXPECT_EQ((*engine)->report().dropped.size(), half.size());
    EXPECT_THAT((*engine)->report().dropped.front(), HasSubstr("halfway"));
    engine->reset();
    EXPECT_EQ(files_in(directory_.path()), std::vector<std::string>{"lock"});
  }
  // What has neither name is a mesh that lost its table.
  fs::copy_file(aside.file("engine"), file("engine"));
  EXPECT_EQ(refusal(engine_options(directory_.path())).code, Errc::not_found);
  EXPECT_TRUE(fs::exists(file("engine")));
}

TEST(AdoptionStart, LeavesNothingWhenANewMeshFailsToStart) {
  const ScratchDirectory directory;
  const std::string deep = directory.file(std::string(100, 'd'));  // too long for a socket's path
  const auto engine = Engine::start(engine_options(deep));
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, Errc::invalid_argument);
  EXPECT_EQ(files_in(deep), std::vector<std::string>{"lock"});
}

TEST_F(Adoption, LeavesEverythingWhenAnAdoptedMeshFailsToStart) {
  EngineOptions options = engine_options(directory_.path());
  options.cpu = 1'022;  // no machine of ours has it
  const auto before = files_in(directory_.path());
  EXPECT_EQ(refusal(options).code, Errc::invalid_argument);
  EXPECT_EQ(files_in(directory_.path()), before);
  adopts();
}

TEST(AdoptionKill, AnyNamedPointOfAStartLeavesADirectoryThatTheNextStartTakes) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS";
  for (const auto& [point, times] : {std::pair{"files.create:after_file", 3U},
                                     {"engine.format:after_engine", 1U},
                                     {"header.format:before_magic", 3U},
                                     {"engine.format:after_table", 1U},
                                     {"files.publish:after_file", 3U}}) {
    for (unsigned count = 1; count <= times; ++count) {
      SCOPED_TRACE(::testing::Message() << point << " " << count);
      const ScratchDirectory directory;
      EngineProcess killed(engine_options(directory.path()), [point = point, count] {
        points::arm(
            point, count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      });
      ASSERT_EQ(killed.hear(), kGone);
      EngineProcess next(engine_options(directory.path()));
      ASSERT_EQ(next.hear(), "up");
    }
  }
}

TEST(AdoptionKill, AnyNamedPointOfAnEndOrADropLeavesADirectoryThatTheNextStartTakes) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS";
  for (unsigned count = 1; count <= 3; ++count) {
    SCOPED_TRACE(count);
    const ScratchDirectory directory;
    EngineProcess ended(engine_options(directory.path()), [count] {
      points::arm(
          "files.drop:after_file", count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
    });
    ASSERT_EQ(ended.hear(), "up");
    EXPECT_TRUE(WIFSIGNALED(ended.end()));
    EngineProcess next(engine_options(directory.path()));
    ASSERT_EQ(next.hear(), "up");
    EXPECT_EQ(next.status()["adopted"], nullptr);
  }
}

// Anywhere in a start, by chance.
TEST(AdoptionKill, RandomMomentsOfAStartLeaveADirectoryThatTheNextStartTakes) {
  const ScratchDirectory directory;
  std::mt19937_64 random(seed());
  for (int kill = 0; kill < 40; ++kill) {
    EngineProcess killed(engine_options(directory.path()));
    for (std::uint64_t turns = random() % 2'000; turns != 0; --turns) ::sched_yield();
    killed.kill();
  }
  EngineProcess next(engine_options(directory.path()));
  EXPECT_EQ(next.hear(), "up");
}

}  // namespace of_adoption_test
}  // namespace mesh::testing
