#include "engine/loop/escalations.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using EscalationText = std::array<char, kErrorTextBytes>;

std::string_view escalation_in(const EscalationText& text, int size) noexcept {
  return {text.data(), std::min(static_cast<std::size_t>(std::max(size, 0)), text.size() - 1)};
}

void escalate_silence(EngineLoop::State& loop, const health::MeshWatch::Silence& silence) noexcept {
  ++loop.counters.silences_escalated;
  const AgentIndex last = agent_index(silence.last);
  const NameBytes name = loop.registry->name_of(last);
  EscalationText text;
  const int size = std::snprintf(
      text.data(), text.size(),
      "cluster %u: '%.*s' left three messages in a row unanswered; so do %u of %u agents there",
      silence.cluster, static_cast<int>(name.length()), name.view().data(), silence.silent,
      silence.active);
  const std::string_view says = escalation_in(text, size);
  const HostTime now = from_ns(loop.now_ns);
  loop.accounts.errors->note(
      {.code = Errc::timed_out, .about = kPlacesAbout + silence.cluster, .text = says}, now);
  loop.accounts.events->note({.at = now,
                              .kind = EventKind::silent,
                              .place = silence.cluster,
                              .before = silence.active,
                              .after = silence.silent,
                              .agent = loop.registry->id_of(last)});
  tell_coordinator(loop, loop.topology->sector_of(silence.cluster), says);
}

void escalate_cascade(EngineLoop::State& loop, std::uint32_t sector) noexcept {
  EscalationText text;
  const int size =
      std::snprintf(text.data(), text.size(),
                    "sector %u: its failures doubled over three windows running; its breaker "
                    "opens",
                    sector);
  const std::string_view says = escalation_in(text, size);
  loop.accounts.errors->note({.code = Errc::open, .about = kPlacesAbout + sector, .text = says},
                             from_ns(loop.now_ns));
}

}  // namespace

// As EscalateJob does it from outside the loop.
void tell_coordinator(EngineLoop::State& loop, std::uint32_t sector,
                      std::string_view text) noexcept {
  const AgentIndex leader = loop.topology->coordinator(sector);
  if (leader == kNoAgent || loop.check_target(leader, {}) != Errc::ok) return;
  const std::span<const std::byte> body = std::as_bytes(std::span(text.data(), text.size()));
  sched::MessageHeader header = loop.own_header(AgentId{}, body);
  header.verb = sched::Verb::decide;
  header.priority = sched::Priority::high;
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)), body};
  static_cast<void>(loop.post_new({.priority = header.priority,
                                   .target = loop.registry->id_of(leader),
                                   .id = header.id,
                                   .body_bytes = header.body_bytes},
                                  parts));
}

void follow_failures(EngineLoop::State& loop) noexcept {
  const health::MeshWatch& watch = *loop.gate.watch;
  for (const std::uint32_t sector : watch.failures().cascading()) escalate_cascade(loop, sector);
  for (const health::MeshWatch::Silence& silence : watch.silences_to_tell())
    escalate_silence(loop, silence);
}

}  // namespace mesh::engine
