// Layout: what stands where in one kind of mapping, and who writes it.
//
// A layout is computed from a few numbers (agents, slots) by the process that creates a mapping and
// again by each that attaches. The hash of its canonical text tells whether the two agree. Pointers
// are made here, at the edge, with bounds and alignment checked, and are never stored.
//
// Callers     any thread; building and look-up at set-up only. A Layout is immutable.
// Units       offsets and sizes in bytes from the start of the mapping.
// Layout      the header, then the regions in the order they were added, each from an isolation
//             boundary (kIsolation) and padded to whole cache lines; the total is whole pages. So a
//             column is padded for vector passes, and no two writers share a line.
// Errors      build() -> invalid_argument, capacity. Access -> not_found, layout_mismatch (both
//             types), truncated (both sizes), misaligned, corrupt (an offset out of bounds).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/columns.hpp"
#include "shm/describe.hpp"

namespace mesh::shm {

inline constexpr std::size_t kMaxRegions = 256;
inline constexpr std::size_t kMaxMappingBytes = std::size_t{1} << 40;
inline constexpr std::size_t kMaxRegionAlignment = 1U << 16;

struct RegionOptions {
  std::string name{};  // [a-z0-9_.], unique in its layout
  std::string type{};  // "u32", "Delivery"
  std::size_t element_bytes = 0;
  std::size_t count = 0;
  std::size_t alignment = kIsolation;  // at least; a power of two
  std::string writer{};                // which thread of which process
  std::uint32_t version = 1;           // meaning changed, bytes did not
  std::string meaning{};
  const StructDescription* element = nullptr;  // fields, for structs; must outlive the layout
};

// A region of `count` values of T; the rest is filled in by the caller.
template <class T>
RegionOptions region_of(std::string name, std::size_t count, std::string writer) {
  static_assert(std::is_trivially_copyable_v<T>);
  RegionOptions options;
  options.name = std::move(name);
  options.type = std::string(kTypeName<T>);
  options.element_bytes = sizeof(T);
  options.count = count;
  options.writer = std::move(writer);
  return options;
}
// A region of described structs.
inline RegionOptions region_of(const StructDescription& element, std::string name,
                               std::size_t count, std::string writer) {
  RegionOptions options;
  options.name = std::move(name);
  options.type = std::string(element.name);
  options.element_bytes = element.size_bytes;
  options.count = count;
  options.writer = std::move(writer);
  options.element = &element;
  return options;
}

struct Region : RegionOptions {
  std::size_t offset = 0;
  std::size_t size_bytes = 0;  // element_bytes * count, padded to whole cache lines
};

// A place in a mapping, as it may stand in shared memory: bytes from the mapping's start.
template <class T>
struct Offset {
  std::uint64_t bytes;
};

namespace layout_detail {
// The one place where a number from shared memory becomes an address.
struct Elements {
  std::uint64_t count;
  std::uint64_t size_bytes;  // of each
  std::uint64_t alignment;
};
Status check_span(std::span<const std::byte> mapping, std::uint64_t offset,
                  const Elements& elements);
template <class T>
constexpr Elements elements_of(std::size_t count) noexcept {
  return {.count = count, .size_bytes = sizeof(T), .alignment = alignof(T)};
}
}  // namespace layout_detail

template <class T>
Result<std::span<T>> resolve(std::span<std::byte> mapping, Offset<T> offset, std::size_t count) {
  MESH_CHECK_OK(
      layout_detail::check_span(mapping, offset.bytes, layout_detail::elements_of<T>(count)));
  return std::span<T>(reinterpret_cast<T*>(mapping.data() + offset.bytes), count);
}
template <class T>
Result<std::span<const T>> resolve(std::span<const std::byte> mapping, Offset<T> offset,
                                   std::size_t count) {
  MESH_CHECK_OK(
      layout_detail::check_span(mapping, offset.bytes, layout_detail::elements_of<T>(count)));
  return std::span<const T>(reinterpret_cast<const T*>(mapping.data() + offset.bytes), count);
}

class Layout {
 public:
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint32_t kind() const noexcept { return kind_; }
  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  [[nodiscard]] std::size_t page_bytes() const noexcept { return page_bytes_; }
  [[nodiscard]] std::size_t total_bytes() const noexcept { return total_bytes_; }
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  // In the order of their offsets, the header first: what documents are generated from.
  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] const Region* find(std::string_view name) const noexcept;
  // What is hashed: one line a region and a field. Two binaries that disagree can compare it.
  [[nodiscard]] std::string canonical_text() const;

  // The region's elements in a mapping of this layout. T's size must be the element's.
  template <class T>
  Result<std::span<T>> array(std::span<std::byte> mapping, std::string_view region) const {
    MESH_TRY(const Region* const found, check_region(region, sizeof(T)));
    return resolve(mapping, Offset<T>{found->offset}, found->count);
  }
  template <class T>
  Result<std::span<const T>> array(std::span<const std::byte> mapping,
                                   std::string_view region) const {
    MESH_TRY(const Region* const found, check_region(region, sizeof(T)));
    return resolve(mapping, Offset<T>{found->offset}, found->count);
  }
  template <class T>
  Result<Column<HostMemory, T>> column(std::span<std::byte> mapping,
                                       std::string_view region) const {
    MESH_TRY(const Region* const found, check_region(region, sizeof(T)));
    MESH_TRY(const auto bytes,
             resolve(mapping, Offset<std::byte>{found->offset}, found->size_bytes));
    return Column<HostMemory, T>::over(bytes, found->count);
  }
  template <class T>
  Result<ColumnView<HostMemory, T>> column(std::span<const std::byte> mapping,
                                           std::string_view region) const {
    MESH_TRY(const Region* const found, check_region(region, sizeof(T)));
    MESH_TRY(const auto bytes,
             resolve(mapping, Offset<std::byte>{found->offset}, found->size_bytes));
    return ColumnView<HostMemory, T>::over(bytes, found->count);
  }

 private:
  friend class LayoutBuilder;
  Layout() = default;
  [[nodiscard]] Result<const Region*> check_region(std::string_view name,
                                                   std::size_t element_bytes) const;

  std::string name_;
  std::uint32_t kind_ = 0;
  std::uint32_t version_ = 0;
  std::size_t page_bytes_ = 0;
  std::size_t total_bytes_ = 0;
  std::uint64_t hash_ = 0;
  std::vector<Region> regions_;
};

struct LayoutOptions {
  std::string name{};  // "table"
  std::uint32_t kind = 0;
  std::uint32_t version = 1;
  std::size_t page_bytes = 0;  // 0: this machine's
};

// Region by region; what is wrong with any of them is said by build().
class LayoutBuilder {
 public:
  explicit LayoutBuilder(LayoutOptions options) : options_(std::move(options)) {}
  LayoutBuilder& add(RegionOptions region) {
    regions_.push_back(std::move(region));
    return *this;
  }
  [[nodiscard]] Result<Layout> build() const;

 private:
  LayoutOptions options_;
  std::vector<RegionOptions> regions_;
};

}  // namespace mesh::shm
