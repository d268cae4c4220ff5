#include "engine/backup/manifest.hpp"

#include <charconv>

#include <nlohmann/json.hpp>

#include "engine/control_json.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "mesh30k-backup-1";

tl::unexpected<Error> damaged(const std::string& how) {
  return fail(Errc::verification_failed, std::string(kManifestFile) + ": " + how);
}

Result<std::uint64_t> hex_field(const json& object, const char* key) {
  MESH_TRY(const std::string text, text_field(object, key));
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const bool is_hex = text.size() > 2 && text.starts_with("0x");  // as hex_of writes it
  if (!is_hex || std::from_chars(text.data() + 2, end, value, 16).ptr != end)
    return damaged(std::string("'") + key + "' is no checksum");
  return value;
}

json store_json(const BackedUpStore& store) {
  return {{"kind", name_of(store.kind)},
          {"records", store.content.records},
          {"history", store.content.history},
          {"snapshots", store.content.snapshots},
          {"contexts", store.content.contexts},
          {"head_position", store.content.head.position},
          {"head_hash", to_hex(store.content.head.hash)}};
}

Result<ChainHash> chain_hash_field(const json& object, const char* key) {
  MESH_TRY(const std::string text, text_field(object, key));
  ChainHash hash{};
  if (text.size() != 2 * hash.size()) return damaged("its chain's hash is none");
  for (std::size_t i = 0; i < hash.size(); ++i) {
    unsigned value = 0;
    const char* const at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, value, 16).ptr != at + 2)
      return damaged("its chain's hash is none");
    hash[i] = static_cast<std::byte>(value);
  }
  return hash;
}

Result<BackedUpStore> store_of(const json& object) {
  BackedUpStore store;
  MESH_TRY(const std::string kind, text_field(object, "kind"));
  if (kind == name_of(StoreKind::postgres))
    store.kind = StoreKind::postgres;
  else if (kind != name_of(StoreKind::sqlite))
    return damaged("its store is of no kind that is known");
  MESH_TRY(store.content.records, count_field(object, "records"));
  MESH_TRY(store.content.history, count_field(object, "history"));
  MESH_TRY(store.content.snapshots, count_field(object, "snapshots"));
  MESH_TRY(store.content.contexts, count_field(object, "contexts"));
  MESH_TRY(store.content.head.position, count_field(object, "head_position"));
  MESH_TRY(store.content.head.hash, chain_hash_field(object, "head_hash"));
  return store;
}

Result<BackedUpFile> file_of(const json& object) {
  BackedUpFile file;
  if (!object.is_object()) return damaged("a file of it is none");
  MESH_TRY(file.name, text_field(object, "name"));
  MESH_TRY(file.size_bytes, count_field(object, "bytes"));
  MESH_TRY(file.hash, hex_field(object, "xxh3"));
  if (file.name.find('/') == std::string::npos && file.name != "..") return file;
  return damaged("it names a file elsewhere");
}

Result<BackupInfo> info_of(const json& object) {
  BackupInfo info;
  MESH_TRY(const std::uint64_t created, count_field(object, "created_unix_ns"));
  info.created_unix_ns = static_cast<std::int64_t>(created);
  MESH_TRY(info.agents, count_field(object, "agents"));
  MESH_TRY(info.rules, count_field(object, "rules"));
  const json files = object.value("files", json());
  if (!files.is_array()) return damaged("it names no files");
  for (const json& one : files) {
    MESH_TRY(BackedUpFile file, file_of(one));
    info.files.push_back(std::move(file));
  }
  const json store = object.value("store", json());
  if (store.is_null()) return info;
  if (!store.is_object()) return damaged("its store is none");
  MESH_TRY(info.store, store_of(store));
  return info;
}

}  // namespace

std::string manifest_of(const BackupInfo& info) {
  json files = json::array();
  for (const BackedUpFile& file : info.files)
    files.push_back({{"name", file.name}, {"bytes", file.size_bytes}, {"xxh3", hex_of(file.hash)}});
  const json what = {{"created_unix_ns", info.created_unix_ns},
                     {"agents", info.agents},
                     {"rules", info.rules},
                     {"files", std::move(files)},
                     {"store", info.store ? store_json(*info.store) : json()}};
  const std::string line = dump(what) + "\n";
  return dump({{"format", kFormat}, {"xxh3", hex_of(shm::hash64(line))}}) + "\n" + line;
}

Result<BackupInfo> read_manifest(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return damaged("it has no first line");
  const json head = json::parse(text.substr(0, end), nullptr, false);
  const std::string_view line = text.substr(end + 1);
  if (!head.is_object()) return damaged("its first line is no JSON");
  if (head.value("format", json()) != kFormat)
    return fail(Errc::version_skew, std::string(kManifestFile) + ": its format is not " + kFormat);
  if (head.value("xxh3", json()) != hex_of(shm::hash64(line)))
    return damaged("its checksum is not what it says");
  const json what = json::parse(line, nullptr, false);
  if (!what.is_object()) return damaged("its second line is no JSON");
  return info_of(what);
}

}  // namespace mesh::engine
