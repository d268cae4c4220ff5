#include "engine/loop/spikes.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>
#include <string_view>

#include "engine/loop/escalations.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using SpikeText = std::array<char, kErrorTextBytes>;

std::string_view text_of_spikes(SpikeText& text, const EngineLoop::State& loop,
                                const health::MeshWatch::Spikes& spikes) noexcept {
  const NameBytes name = loop.registry->name_of(agent_index(spikes.last));
  const int size = std::snprintf(
      text.data(), text.size(),
      "cluster %u: the impedance of %u of %u agents is over twice their own of the last hour; the "
      "last of them is '%.*s'",
      spikes.cluster, spikes.spiking, spikes.active, static_cast<int>(name.length()),
      name.view().data());
  return {text.data(), std::min(static_cast<std::size_t>(std::max(size, 0)), text.size() - 1)};
}

void escalate_spikes(EngineLoop::State& loop, const health::MeshWatch::Spikes& spikes) noexcept {
  ++loop.counters.spikes_escalated;
  SpikeText text;
  const std::string_view says = text_of_spikes(text, loop, spikes);
  const HostTime now = from_ns(loop.now_ns);
  loop.accounts.errors->note(
      {.code = Errc::impedance_spike, .about = kPlacesAbout + spikes.cluster, .text = says}, now);
  loop.accounts.events->note({.at = now,
                              .kind = EventKind::spikes,
                              .place = spikes.cluster,
                              .before = spikes.active,
                              .after = spikes.spiking});
  tell_coordinator(loop, loop.topology->sector_of(spikes.cluster), says);
}

}  // namespace

// All of them are known to be held before anybody is promoted.
void follow_spikes(EngineLoop::State& loop) noexcept {
  const health::MeshWatch& watch = *loop.gate.watch;
  for (const health::MeshWatch::SpikeChange& change : watch.spike_changes()) {
    if (change.begins) {
      take_hold(loop, change.row, kSpiking);
      static_cast<void>(loop.topology->refresh(agent_index(change.row)));
    } else {
      release_hold(loop, change.row, kSpiking);
    }
  }
  for (const health::MeshWatch::SpikeChange& change : watch.spike_changes()) {
    if (change.begins) loop.topology->fill(loop.topology->refresh(agent_index(change.row)));
  }
  for (const health::MeshWatch::Spikes& spikes : watch.spikes_to_tell())
    escalate_spikes(loop, spikes);
}

}  // namespace mesh::engine
