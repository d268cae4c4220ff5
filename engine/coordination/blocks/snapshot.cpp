#include "engine/coordination/blocks/snapshot.hpp"

#include <string>

namespace mesh::coordination {
namespace {
constexpr std::uint64_t kSnapshotMagic = 0x3150'414E'5348'534D;  // "MSHSNAP1" backwards
constexpr std::size_t kHeaderBytes = 32;

std::uint64_t name_hash(std::string_view name) noexcept {
  return checksum(std::as_bytes(std::span(name)));
}
}  // namespace

Snapshot seal_snapshot(const SnapshotKind& kind, std::span<const std::byte> body) {
  StateWriter writer;
  writer.put(kSnapshotMagic);
  writer.put(name_hash(kind.service));
  writer.put(kind.version);
  writer.put(static_cast<std::uint32_t>(body.size()));
  writer.put(checksum(body));
  writer.append(body);
  return {writer.take()};
}

Result<std::span<const std::byte>> open_snapshot(const SnapshotKind& kind,
                                                 std::span<const std::byte> bytes) {
  const std::string who = "snapshot of " + std::string(kind.service);
  StateReader reader(bytes);
  const auto magic = reader.get<std::uint64_t>();
  const auto service = reader.get<std::uint64_t>();
  const auto version = reader.get<std::uint32_t>();
  const auto size = reader.get<std::uint32_t>();
  const auto sum = reader.get<std::uint64_t>();
  if (reader.failed() || magic != kSnapshotMagic) return fail(Errc::corrupt, who + ": no header");
  if (service != name_hash(kind.service)) {
    return fail(Errc::invalid_argument, who + ": it is another service's");
  }
  if (version != kind.version) {
    return fail(Errc::version_skew,
                who + ": version " + std::to_string(version) + ", this binary knows " +
                    std::to_string(kind.version),
                version);
  }
  const auto body = bytes.subspan(kHeaderBytes);
  if (body.size() != size) {
    return fail(Errc::corrupt,
                who + ": " + std::to_string(body.size()) + " bytes of " + std::to_string(size));
  }
  if (checksum(body) != sum) return fail(Errc::corrupt, who + ": wrong checksum");
  return body;
}

}  // namespace mesh::coordination
