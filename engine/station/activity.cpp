#include "engine/station/activity.hpp"

#include "engine/memory_map.hpp"

namespace mesh::engine {
namespace {

using Stores = shm::RowStores<HostMemory>;
using Loads = shm::RowLoads<HostMemory>;
using Words = std::array<std::uint64_t, kNameWords>;

// A text a row, as words; `Bytes` is const on the reading side.
template <class Text, class Bytes>
Status bind_text(const shm::Layout& layout, Bytes out, std::string_view name, Text& text) {
  const std::string region = "activity." + std::string(name);
  const shm::Region* const found = layout.find(region);
  if (found == nullptr || found->element_bytes != kNameBytes)
    return fail(Errc::layout_mismatch, layout.name() + " has no texts in " + region);
  MESH_TRY(const auto bytes,
           shm::resolve(out, shm::Offset<std::byte>{found->offset}, found->size_bytes));
  MESH_TRY(text, Text::over(bytes, found->count * kNameWords));
  return {};
}

template <class Columns, class Bytes>
Result<Columns> bind(const shm::Layout& layout, Bytes out) {
  Columns bound;
  MESH_TRY(bound.sequence, layout.column<std::uint32_t>(out, "activity.sequence"));
  MESH_TRY(bound.agent, layout.column<AgentId>(out, "activity.agent"));
  MESH_TRY(bound.since_ns, layout.column<std::int64_t>(out, "activity.since_ns"));
  MESH_CHECK_OK(bind_text(layout, out, "task", bound.task));
  MESH_CHECK_OK(bind_text(layout, out, "waiting_on", bound.waiting_on));
  return bound;
}

// None: bytes that are no text. Nothing is a text too.
std::optional<std::string> text_of(const Words& words) {
  if (NameBytes::length_of(words[0]) == 0) return std::string();
  const auto text = decode("activity", words);
  if (!text) return std::nullopt;
  return std::string(text->view());
}

}  // namespace

Status check(const Activity& activity, HostTime now) {
  if (activity.task.empty()) {
    if (activity.waiting_on.empty()) return {};
    return fail(Errc::invalid_argument, "activity: it waits for something and has no task");
  }
  MESH_CHECK_OK(check_name("an activity's task", activity.task));
  if (!activity.waiting_on.empty())
    MESH_CHECK_OK(check_name("what an activity waits for", activity.waiting_on));
  if (activity.since >= now - kActivityAgeMax && activity.since <= now) return {};
  return fail(Errc::invalid_argument,
              "activity: since " + std::to_string(to_ns(activity.since)) +
                  " ns, which is not within ten years before now, " + std::to_string(to_ns(now)),
              to_ns(activity.since));
}

Result<ActivityColumns> ActivityColumns::over(const shm::Layout& layout, std::span<std::byte> out) {
  return bind<ActivityColumns>(layout, out);
}

void ActivityColumns::write(std::size_t place, AgentId who, const Activity& activity,
                            std::int64_t began_ns) const noexcept {
  const NameBytes what = encode(activity.task);
  const NameBytes whom = encode(activity.waiting_on);
  shm::RowWriter<HostMemory>(sequence).write(place, [&](const Stores& row) {
    row.store(agent, who);
    row.store(since_ns, began_ns);
    for (std::size_t i = 0; i < kNameWords; ++i) {
      const Stores word(place * kNameWords + i);
      word.store(task, what.words[i]);
      word.store(waiting_on, whom.words[i]);
    }
  });
}

Result<ActivityViews> ActivityViews::over(std::uint32_t agents, std::span<const std::byte> out) {
  MESH_TRY(const shm::Layout layout, station_out_layout(agents));
  return bind<ActivityViews>(layout, out);
}

std::optional<SeenActivity> ActivityViews::read(std::size_t place) const {
  SeenActivity seen;
  Words what{};
  Words whom{};
  const auto status = shm::RowReader<HostMemory>(sequence).read(place, [&](const Loads& row) {
    seen.agent = row.load(agent);
    seen.since_ns = row.load(since_ns);
    for (std::size_t i = 0; i < kNameWords; ++i) {
      const Loads word(place * kNameWords + i);
      what[i] = word.load(task);
      whom[i] = word.load(waiting_on);
    }
  });
  if (status != shm::ReadStatus::kRead || seen.agent == AgentId{0}) return std::nullopt;
  auto said = text_of(what);
  auto awaited = text_of(whom);
  if (!said || said->empty() || !awaited) return std::nullopt;
  seen.task = std::move(*said);
  seen.waiting_on = std::move(*awaited);
  return seen;
}

}  // namespace mesh::engine
