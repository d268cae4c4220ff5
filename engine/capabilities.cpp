#include "engine/capabilities.hpp"

#include <string>

namespace mesh::engine {

Result<CapabilityTable> CapabilityTable::create(Names names, std::uint64_t hash_seed) {
  if (names.rows() != std::size_t{kCapabilities} * kNameWords) {
    return fail(Errc::invalid_argument,
                "capability_names: " + std::to_string(names.rows()) + " words, a table has " +
                    std::to_string(std::size_t{kCapabilities} * kNameWords));
  }
  CapabilityTable table(names, hash_seed);
  bool ended = false;
  for (std::uint32_t number = 0; number < kCapabilities; ++number) {
    const auto bit = static_cast<CapabilityBit>(number);
    const auto words = capability_name_at<HostMemory>(names.view(), bit);
    if (NameBytes::length_of(words[0]) == 0) {
      ended = true;
      continue;
    }
    const std::string where = "capability_names bit " + std::to_string(number);
    if (ended) return fail(Errc::corrupt, where + ": a name behind a bit that was never given");
    MESH_TRY(const NameBytes name, decode(where, words));
    if (const auto other = table.find(name.view())) {
      return fail(Errc::corrupt, where + ": " + std::string(name.view()) + " is the name of bit " +
                                     std::to_string(static_cast<unsigned>(*other)) + " too");
    }
    table.index_.insert(table.index_.key(name.view()), number);
  }
  return table;
}

Result<CapabilityBit> CapabilityTable::intern(std::string_view name) {
  MESH_CHECK_OK(check_name("a capability", name));
  if (const auto known = find(name)) return *known;
  if (count() == kCapabilities) {
    return fail(Errc::capacity,
                "capability " + std::string(name) + ": a mesh knows at most " +
                    std::to_string(kCapabilities) + " names, and all are given",
                kCapabilities);
  }
  const auto bit = static_cast<CapabilityBit>(count());
  store_capability_name(names_, bit, encode(name));
  index_.insert(index_.key(name), static_cast<std::uint32_t>(bit));
  return bit;
}

std::optional<CapabilityBit> CapabilityTable::find(std::string_view name) const noexcept {
  const NameBytes wanted = encode(name);
  if (wanted.length() == 0) return std::nullopt;
  const std::uint32_t found = index_.find(index_.key(name), [&](std::uint32_t number) {
    return name_of(static_cast<CapabilityBit>(number)) == wanted;
  });
  if (found == NameIndex::kNone) return std::nullopt;
  return static_cast<CapabilityBit>(found);
}

NameBytes CapabilityTable::name_of(CapabilityBit bit) const noexcept {
  return NameBytes{capability_name_at<HostMemory>(names_.view(), bit)};
}

}  // namespace mesh::engine
