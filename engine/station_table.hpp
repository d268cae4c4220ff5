// StationRows, StationTable: which stations are attached, so that the next engine knows whom to
// wait for and by what it recognises them.
//
//            write                 leave                  free
//    free ───────────▶ attached ───────────▶ leaving ───────────▶ free
//
// A row that is attached stands for a station whose agents may be attached and whose `.in` file is
// whole. One that is leaving is being taken apart: nobody is waited for, what is left is finished.
//
// Callers     the engine's scheduler thread, the one writer. create(): set-up.
// Progress    wait-free: a row is sixteen words. attach looks for a free row: O(rows).
// Ordering    none but program order: the one reader besides is a successor, which the death of
//             this process comes before.
// If the      engine dies at any store: a row's `state` is stored last when it is taken and first
// other side  when it is given up, so each row is free or whole.
// dies
// Errors      create -> corrupt: what no death leaves behind. attach -> capacity, already_exists.
// Layout      region `stations` of `engine`: rows of 128 bytes. A free row keeps the number of its
//             last tenant: numbers only grow, so the highest that any row holds is the last given.
// Invariant   no two rows that are not free have one number; no number is given twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/agent_name.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/point.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/files.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

// 128 bits that a station was given at attach and shows when it comes back.
using AttachToken = std::array<std::uint64_t, 2>;

// Numbers as in the rows. Append only.
enum class StationState : std::uint32_t { free = 0, attached, leaving };

template <class Memory>
struct alignas(kIsolation) BasicStationRow {
  template <class T>
  using Word = typename Memory::template Word<T>;

  Word<StationState> state;
  Word<std::uint32_t> number;
  Word<std::uint32_t> uid;
  Word<std::uint32_t> agents;  // declared at attach
  Word<std::uint64_t> device;  // of station-N.out
  Word<std::uint64_t> inode;
  Word<std::uint64_t> out_bytes;
  Word<std::uint64_t> token[2];
  Word<std::uint64_t> name[kNameWords];
  std::uint64_t reserved;  // zero
};
using StationRow = BasicStationRow<HostMemory>;
static_assert(sizeof(StationRow) == kIsolation);
static_assert(std::is_trivially_copyable_v<StationRow>);
static_assert(std::has_unique_object_representations_v<StationRow>);

// A row as a value.
struct StationEntry {
  std::uint16_t number = 0;
  std::uint32_t uid = 0;
  std::uint32_t agents = 0;
  shm::MemoryIdentity out{};
  AttachToken token{};
  std::string name{};
  friend bool operator==(const StationEntry&, const StationEntry&) = default;
};

// A name of a station is for people alone: what no name may hold is cut away or replaced.
[[nodiscard]] std::string station_name(std::string_view wished);

// The stores, one by one.
template <class Memory = HostMemory>
class StationRows {
 public:
  using Row = BasicStationRow<Memory>;
  explicit StationRows(std::span<Row> rows) noexcept : rows_(rows) {}

  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

  // The state last: whoever finds the row attached finds it whole.
  void write(std::size_t at, const StationEntry& entry) const noexcept {
    Row& row = rows_[at];
    const NameBytes name = encode(entry.name);
    put(row.number, std::uint32_t{entry.number});
    MESH_POINT("stations.write:after_number");
    put(row.uid, entry.uid);
    put(row.agents, entry.agents);
    put(row.device, entry.out.device);
    put(row.inode, entry.out.inode);
    put(row.out_bytes, entry.out.size_bytes);
    for (std::size_t i = 0; i < entry.token.size(); ++i) put(row.token[i], entry.token[i]);
    for (std::size_t i = 0; i < kNameWords; ++i) put(row.name[i], name.words[i]);
    MESH_POINT("stations.write:before_state");
    put(row.state, StationState::attached);
  }
  void leave(std::size_t at) const noexcept {
    put(rows_[at].state, StationState::leaving);
    MESH_POINT("stations.leave:after_state");
  }
  void free(std::size_t at) const noexcept {
    put(rows_[at].state, StationState::free);
    MESH_POINT("stations.free:after_state");
  }

  [[nodiscard]] StationState state_of(std::size_t at) const noexcept {
    return rows_[at].state.load_acquire();  // SYNC station.row acquire: pairs with put()
  }
  [[nodiscard]] std::uint32_t number_of(std::size_t at) const noexcept {
    return rows_[at].number.load_relaxed();  // relaxed: this thread is the only writer
  }
  // Of a row that is not free. corrupt: what write() never leaves.
  [[nodiscard]] Result<StationEntry> read(std::size_t at) const {
    const Row& row = rows_[at];
    const std::string where = "engine stations row " + std::to_string(at);
    const std::uint32_t number = number_of(at);
    if (number == 0 || number > kMaxStations) {
      return fail(Errc::corrupt, where + ": number " + std::to_string(number), number);
    }
    StationEntry entry;
    entry.number = static_cast<std::uint16_t>(number);
    entry.uid = row.uid.load_relaxed();                                // relaxed: as above
    entry.agents = row.agents.load_relaxed();                          // relaxed: as above
    entry.out = {row.device.load_relaxed(), row.inode.load_relaxed(),  // relaxed: as above
                 row.out_bytes.load_relaxed()};                        // relaxed: as above
    for (std::size_t i = 0; i < entry.token.size(); ++i)
      entry.token[i] = row.token[i].load_relaxed();  // relaxed: as above
    std::array<std::uint64_t, kNameWords> words{};
    for (std::size_t i = 0; i < kNameWords; ++i)
      words[i] = row.name[i].load_relaxed();  // relaxed: as above
    MESH_TRY(const NameBytes name, decode(where, words));
    entry.name = std::string(name.view());
    return entry;
  }

 private:
  // Every store a release, which costs nothing here: a row that was given up is free before the
  // first word of its next tenant stands, and that one's words stand before its state.
  template <class Word, class T>
  static void put(Word& word, T value) noexcept {
    word.store_release(value);  // SYNC station.row release: pairs with state_of()
  }

  std::span<Row> rows_;
};

class StationTable {
 public:
  // Goes on from what stands in memory: zeros when it is new.
  static Result<StationTable> create(const shm::Layout& engine_layout,
                                     std::span<std::byte> engine_memory);

  // The scheduler thread's.
  Status attach(const StationEntry& entry);
  // Of a number that is not there: nothing.
  void leave(std::uint16_t number) noexcept;
  void free(std::uint16_t number) noexcept;

  // At set-up: what the last engine left.
  struct Left {
    StationEntry entry;
    StationState state = StationState::attached;
  };
  [[nodiscard]] const std::vector<Left>& left() const noexcept { return left_; }
  // The highest number that was ever given; 0: none.
  [[nodiscard]] std::uint32_t last_number() const noexcept { return last_number_; }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.rows(); }

 private:
  explicit StationTable(std::span<StationRow> rows) noexcept : rows_(rows) {}
  Status recover();
  [[nodiscard]] std::optional<std::size_t> row_of_station(std::uint16_t number) const noexcept;

  StationRows<> rows_;
  std::vector<Left> left_;
  std::uint32_t last_number_ = 0;
};

}  // namespace mesh::engine
