#include "shm/layout.hpp"

#include <algorithm>
#include <bit>

#include "shm/hash.hpp"
#include "shm/mapping.hpp"
#include "shm/mapping_header.hpp"

namespace mesh::shm {
namespace {

std::string count_text(std::uint64_t number) { return std::to_string(number); }

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}
// One line of the canonical text: no control character may forge another.
bool is_one_line(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::size_t round_up(std::size_t value, std::size_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

Status check_options(const std::string& layout, const RegionOptions& region) {
  const std::string who = "layout " + layout + ": region '" + region.name + "': ";
  if (!is_name(region.name)) return fail(Errc::invalid_argument, who + "not a name");
  if (region.type.empty() || !is_one_line(region.type)) {
    return fail(Errc::invalid_argument, who + "not a type name");
  }
  if (region.writer.empty()) return fail(Errc::invalid_argument, who + "nobody writes it");
  if (region.element_bytes == 0 || region.count == 0) {
    return fail(Errc::invalid_argument, who + count_text(region.count) + " elements of " +
                                            count_text(region.element_bytes) + " bytes");
  }
  if (!std::has_single_bit(region.alignment) || region.alignment > kMaxRegionAlignment) {
    return fail(Errc::invalid_argument, who + "alignment " + count_text(region.alignment) +
                                            " is not a power of two up to " +
                                            count_text(kMaxRegionAlignment));
  }
  if (region.element != nullptr && region.element->size_bytes != region.element_bytes) {
    return fail(Errc::invalid_argument, who + "elements of " + count_text(region.element_bytes) +
                                            " bytes, described as " +
                                            count_text(region.element->size_bytes));
  }
  return {};
}

// Places one region from `end` on and moves `end` behind it.
Result<Region> place(const std::string& layout, const RegionOptions& options, std::size_t& end) {
  std::size_t bytes = 0;
  const bool overflow = __builtin_mul_overflow(options.element_bytes, options.count, &bytes);
  if (overflow || bytes > kMaxMappingBytes || end > kMaxMappingBytes) {
    return fail(Errc::capacity, "layout " + layout + ": region '" + options.name +
                                    "': " + count_text(options.count) + " elements of " +
                                    count_text(options.element_bytes) + " bytes exceed " +
                                    count_text(kMaxMappingBytes) + " bytes");
  }
  Region region{options};
  region.alignment = std::max(options.alignment, kIsolation);
  region.offset = round_up(end, region.alignment);
  region.size_bytes = round_up(bytes, kCacheLine);
  end = region.offset + region.size_bytes;
  return region;
}

}  // namespace

namespace layout_detail {

Status check_span(std::span<const std::byte> mapping, std::uint64_t offset,
                  const Elements& elements) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements.size_bytes, elements.count, &bytes) ||
      offset > mapping.size() || bytes > mapping.size() - offset) {
    return fail(Errc::corrupt, "offset " + count_text(offset) + ": " + count_text(elements.count) +
                                   " elements of " + count_text(elements.size_bytes) +
                                   " bytes do not stand within the mapping's " +
                                   count_text(mapping.size()) + " bytes");
  }
  if ((reinterpret_cast<std::uintptr_t>(mapping.data()) + offset) % elements.alignment != 0) {
    return fail(Errc::misaligned, "offset " + count_text(offset) + ": not on a boundary of " +
                                      count_text(elements.alignment) + " bytes");
  }
  return {};
}

}  // namespace layout_detail

const Region* Layout::find(std::string_view name) const noexcept {
  const auto found = std::find_if(regions_.begin(), regions_.end(),
                                  [name](const Region& region) { return region.name == name; });
  return found == regions_.end() ? nullptr : &*found;
}

Result<const Region*> Layout::check_region(std::string_view name, std::size_t element_bytes) const {
  const Region* const region = find(name);
  if (region == nullptr) {
    return fail(Errc::not_found, "layout " + name_ + " has no region '" + std::string(name) + "'");
  }
  if (region->element_bytes != element_bytes) {
    return fail(Errc::layout_mismatch, "layout " + name_ + ": region '" + region->name +
                                           "' holds " + region->type + " of " +
                                           count_text(region->element_bytes) +
                                           " bytes, asked for as " + count_text(element_bytes));
  }
  return region;
}

std::string Layout::canonical_text() const {
  std::string text = "mesh layout 1\n" + name_ + " kind " + count_text(kind_) + " version " +
                     count_text(version_) + " total " + count_text(total_bytes_) + "\n";
  for (const Region& region : regions_) {
    text += region.name + " offset " + count_text(region.offset) + " size " +
            count_text(region.size_bytes) + " align " + count_text(region.alignment) + " count " +
            count_text(region.count) + " element " + count_text(region.element_bytes) +
            " version " + count_text(region.version) + " type " + region.type + "\n";
    if (region.element == nullptr) continue;
    for (const FieldDescription& field : region.element->fields) {
      text.append("  ").append(field.name);
      text += " offset " + count_text(field.offset) + " size " + count_text(field.size_bytes);
      text.append(" type ").append(field.type).append("\n");
    }
  }
  return text;
}

Result<Layout> LayoutBuilder::build() const {
  Layout layout;
  layout.name_ = options_.name;
  layout.kind_ = options_.kind;
  layout.version_ = options_.version;
  layout.page_bytes_ = options_.page_bytes == 0 ? system_page_bytes() : options_.page_bytes;
  if (!is_name(options_.name)) {
    return fail(Errc::invalid_argument, "layout '" + options_.name + "': not a name");
  }
  if (!std::has_single_bit(layout.page_bytes_) || layout.page_bytes_ < kIsolation ||
      layout.page_bytes_ > kMaxRegionAlignment) {
    return fail(Errc::invalid_argument,
                "layout " + options_.name + ": page size " + count_text(layout.page_bytes_));
  }
  if (regions_.size() + 1 > kMaxRegions) {
    return fail(Errc::capacity, "layout " + options_.name + ": " + count_text(regions_.size() + 1) +
                                    " regions, the limit is " + count_text(kMaxRegions));
  }
  std::size_t end = 0;
  RegionOptions header = region_of(kMappingHeaderDescription, "header", 1, "creator");
  header.meaning = std::string(kMappingHeaderDescription.meaning);
  MESH_TRY(Region first, place(options_.name, header, end));
  layout.regions_.push_back(std::move(first));
  for (const RegionOptions& options : regions_) {
    MESH_CHECK_OK(check_options(options_.name, options));
    if (layout.find(options.name) != nullptr) {
      return fail(Errc::invalid_argument,
                  "layout " + options_.name + ": two regions '" + options.name + "'");
    }
    MESH_TRY(Region region, place(options_.name, options, end));
    layout.regions_.push_back(std::move(region));
  }
  layout.total_bytes_ = round_up(end, layout.page_bytes_);
  if (layout.total_bytes_ > kMaxMappingBytes) {
    return fail(Errc::capacity, "layout " + options_.name + ": " + count_text(layout.total_bytes_) +
                                    " bytes, the limit is " + count_text(kMaxMappingBytes));
  }
  layout.hash_ = hash64(layout.canonical_text());
  return layout;
}

}  // namespace mesh::shm
