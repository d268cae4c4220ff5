#include "tools/layout_report.hpp"

#include <algorithm>
#include <ostream>
#include <vector>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/memory_map.hpp"
#include "tools/structures.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

struct Table {
  std::string title;
  std::string intro;
  Row heads;
  std::vector<Row> rows;
};

Table table_of(const shm::StructDescription& structure) {
  Table table{fmt::format("{} ({} bytes)", structure.name, structure.size_bytes),
              std::string(structure.meaning) + ".",
              {"offset", "bytes", "field", "type", "meaning"},
              {}};
  for (const shm::FieldDescription& field : structure.fields) {
    table.rows.push_back({fmt::to_string(field.offset), fmt::to_string(field.size_bytes),
                          std::string(field.name), std::string(field.type),
                          std::string(field.meaning)});
  }
  return table;
}

Table table_of(const engine::MemoryPlan& memory) {
  const engine::MemoryDescription& description = *memory.description;
  Table table{
      std::string(description.name),
      fmt::format("Written by: {}. Read by: {}. {}. Holds: {}.", description.writer,
                  description.readers,
                  description.in_directory ? "A file of the mesh's directory" : "A sealed memfd",
                  description.holds),
      {"offset", "bytes", "region", "count", "type", "writer", "meaning"},
      {}};
  for (const shm::Region& region : memory.layout.regions()) {
    table.rows.push_back({fmt::to_string(region.offset), fmt::to_string(region.size_bytes),
                          region.name, fmt::to_string(region.count), region.type, region.writer,
                          region.meaning});
  }
  return table;
}

Result<std::vector<Table>> memory_tables() {
  MESH_TRY(const engine::MemoryMap map, engine::memory_map(engine::kReferenceMesh));
  std::vector<Table> tables;
  for (const engine::MemoryPlan& memory : map.memories) tables.push_back(table_of(memory));
  return tables;
}

std::vector<Table> structure_tables() {
  std::vector<Table> tables;
  for (const shm::StructDescription* const structure : structures()) {
    tables.push_back(table_of(*structure));
  }
  return tables;
}

bool holds_numbers(std::string_view head) noexcept {
  return head == "offset" || head == "bytes" || head == "count";
}

void write_text(const Table& table, std::ostream& out) {
  out << table.title << '\n' << "  " << table.intro << '\n';
  std::vector<std::size_t> widths;
  for (const std::string& head : table.heads) widths.push_back(head.size());
  for (const Row& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto line = [&](const Row& row) {
    std::string text = " ";
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += holds_numbers(table.heads[i]) ? fmt::format(" {:>{}} ", row[i], widths[i])
                                            : fmt::format(" {:<{}} ", row[i], widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out << text << '\n';
  };
  line(table.heads);
  for (const Row& row : table.rows) line(row);
  out << '\n';
}

void write_markdown(const Table& table, std::ostream& out) {
  out << "### " << table.title << "\n\n" << table.intro << "\n\n";
  const auto line = [&](const Row& row) {
    out << '|';
    for (const std::string& cell : row) out << ' ' << cell << (cell.empty() ? "|" : " |");
    out << '\n';
  };
  line(table.heads);
  out << '|';
  for (std::size_t i = 0; i < table.heads.size(); ++i) out << " --- |";
  out << '\n';
  for (const Row& row : table.rows) line(row);
  out << '\n';
}

std::string reference() {
  return fmt::format("{} agents on {} stations", engine::kReferenceMesh.agents,
                     engine::kReferenceMesh.stations);
}

Json json_of(const shm::StructDescription& structure) {
  Json fields = Json::array();
  for (const shm::FieldDescription& field : structure.fields) {
    fields.push_back({{"offset", field.offset},
                      {"bytes", field.size_bytes},
                      {"field", field.name},
                      {"type", field.type},
                      {"meaning", field.meaning}});
  }
  return {{"name", structure.name},
          {"bytes", structure.size_bytes},
          {"meaning", structure.meaning},
          {"fields", std::move(fields)}};
}

Json json_of(const engine::MemoryPlan& memory) {
  Json regions = Json::array();
  for (const shm::Region& region : memory.layout.regions()) {
    regions.push_back({{"offset", region.offset},
                       {"bytes", region.size_bytes},
                       {"region", region.name},
                       {"count", region.count},
                       {"type", region.type},
                       {"writer", region.writer},
                       {"meaning", region.meaning}});
  }
  const engine::MemoryDescription& description = *memory.description;
  return {{"name", description.name},
          {"writer", description.writer},
          {"readers", description.readers},
          {"in_directory", description.in_directory},
          {"bytes", memory.layout.total_bytes()},
          {"layout_version", memory.layout.version()},
          {"layout_hash", fmt::format("{:016x}", memory.layout.hash())},
          {"regions", std::move(regions)}};
}

}  // namespace

Status write_layout_text(std::ostream& out) {
  MESH_TRY(const std::vector<Table> memories, memory_tables());
  for (const Table& table : structure_tables()) write_text(table, out);
  out << "Memories of a mesh of " << reference() << "\n\n";
  for (const Table& table : memories) write_text(table, out);
  return {};
}

Status write_layout_markdown(std::ostream& out) {
  MESH_TRY(const std::vector<Table> memories, memory_tables());
  out << "## Structures\n\n";
  for (const Table& table : structure_tables()) write_markdown(table, out);
  out << "## Memories\n\nOffsets and sizes are those of " << reference()
      << "; any other mesh has the same regions in the same order.\n\n";
  for (const Table& table : memories) write_markdown(table, out);
  return {};
}

Status write_layout_json(std::ostream& out) {
  MESH_TRY(const engine::MemoryMap map, engine::memory_map(engine::kReferenceMesh));
  Json document = {{"structures", Json::array()},
                   {"agents", map.size.agents},
                   {"stations", map.size.stations},
                   {"memories", Json::array()}};
  for (const shm::StructDescription* const structure : structures()) {
    document["structures"].push_back(json_of(*structure));
  }
  for (const engine::MemoryPlan& memory : map.memories) {
    document["memories"].push_back(json_of(memory));
  }
  out << document.dump(2) << '\n';
  return {};
}

}  // namespace mesh::tools
