#include "engine/simulation/chaos_repro.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/fields.hpp"

namespace mesh::engine::simulation {
namespace {

using coordination::ChaosFault;
using coordination::ChaosPhase;

constexpr std::string_view kHead = "mesh chaos plan 2\n";
constexpr std::string_view kDigits = "0123456789ABCDEF";

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<std::size_t>(byte) >> 4];
    text += kDigits[std::to_integer<std::size_t>(byte) & 15];
  }
  return text;
}
bool read_hex(std::string_view text, std::vector<std::byte>& bytes) {
  if (text.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const std::size_t high = kDigits.find(text[i]);
    const std::size_t low = kDigits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return false;
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return true;
}

// What stands after a key, on which line; a line beyond the last: there is no such key.
struct Line {
  std::string_view value;
  std::int64_t number = 0;
};
Line line_of(std::string_view text, std::string_view key) {
  Line line{{}, 1};
  for (; !text.empty(); ++line.number) {
    const std::string_view one = text.substr(0, text.find('\n'));
    if (one.size() > key.size() && one.starts_with(key) && one[key.size()] == ' ') {
      line.value = one.substr(key.size() + 1);
      return line;
    }
    text.remove_prefix(std::min(text.size(), one.size() + 1));
  }
  return line;
}

template <class Options, class Visit>
void each_option(Options& options, Visit&& visit) {
  visit(options.agents);
  visit(options.seed);
  visit(options.request_every);
  visit(options.attempt_timeout);
  visit(options.attempts_max);
  visit(options.slots);
  visit(options.waiting_max);
  visit(options.choices);
  visit(options.has_tasks);
  visit(options.guards.retries);
  visit(options.guards.breakers);
  visit(options.guards.dedup);
  visit(options.guards.checks);
  visit(options.guards.waits);
  visit(options.guards.backoff);
  visit(options.guards.weights);
  visit(options.guards.adoption);
  visit(options.guards.grace);
  visit(options.guards.slews);
  visit(options.guards.tasks.journal);
  visit(options.guards.tasks.fences);
  visit(options.guards.tasks.effect_keys);
}

}  // namespace

std::string write_repro(const SimulatedExperiment& experiment) {
  coordination::StateWriter writer;
  put_fields(experiment.plan, writer);
  each_option(experiment.mesh, [&](const auto& option) { writer.put(option); });
  writer.put(experiment.cascade_depth_max);
  writer.put(experiment.give_up);
  std::string text(kHead);
  const auto add_line = [&text](std::string_view key, std::string_view value) {
    text += key;
    text += ' ';
    text += value;
    text += '\n';
  };
  add_line("name", experiment.plan.name);
  add_line("seed", std::to_string(experiment.plan.seed));
  add_line("plan-hash", std::to_string(coordination::plan_hash(experiment.plan)));
  add_line("bytes", hex_of(writer.bytes()));
  return text;
}

Result<SimulatedExperiment> read_repro(std::string_view text) {
  if (!text.starts_with(kHead))
    return fail(Errc::bad_input, "chaos plan: does not begin with \"mesh chaos plan 2\"", 1);
  std::vector<std::byte> bytes;
  const Line body = line_of(text, "bytes");
  if (!read_hex(body.value, bytes) || bytes.empty())
    return fail(Errc::corrupt, "chaos plan: bytes: missing, or no hexadecimal number", body.number);
  coordination::StateReader reader(bytes);
  SimulatedExperiment experiment;
  get_fields(experiment.plan, reader);
  each_option(experiment.mesh, [&](auto& option) { reader.get(option); });
  reader.get(experiment.cascade_depth_max);
  reader.get(experiment.give_up);
  if (const Status whole = reader.finish("chaos plan: bytes"); !whole)
    return fail(Errc::corrupt, whole.error().sentence, body.number);
  const Line said = line_of(text, "plan-hash");
  std::uint64_t hash = 0;
  const auto parsed =
      std::from_chars(said.value.data(), said.value.data() + said.value.size(), hash);
  const bool is_its = parsed.ec == std::errc{} && hash == coordination::plan_hash(experiment.plan);
  if (!is_its)
    return fail(Errc::corrupt, "chaos plan: plan-hash: it is not that of the bytes", said.number);
  return experiment;
}

// --- the least of it ---------------------------------------------------------------------------

namespace {

using Chosen = std::vector<std::size_t>;  // faults, counted through the phases

std::size_t faults_of(const coordination::chaos::Create& plan) {
  std::size_t count = plan.faults.size();
  for (const ChaosPhase& phase : plan.phases) count += phase.faults.size();
  return count;
}

// The same with those faults alone. Phases stay, with their times: what is left happens when it
// did.
SimulatedExperiment only(const SimulatedExperiment& whole, const Chosen& chosen) {
  SimulatedExperiment part = whole;
  // What is left strikes the agents that it struck among all.
  std::uint32_t place = 0;
  for (ChaosPhase& phase : part.plan.phases) {
    for (ChaosFault& fault : phase.faults) {
      ++place;
      if (fault.draw == 0) fault.draw = place;
    }
  }
  std::size_t number = 0;
  const auto keep = [&](std::vector<ChaosFault>& faults) {
    std::erase_if(faults, [&](const ChaosFault&) {
      return !std::binary_search(chosen.begin(), chosen.end(), number++);
    });
  };
  for (ChaosPhase& phase : part.plan.phases) keep(phase.faults);
  return part;
}

Chosen without(const Chosen& all, std::size_t from, std::size_t to) {
  Chosen rest(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(from));
  rest.insert(rest.end(), all.begin() + static_cast<std::ptrdiff_t>(to), all.end());
  return rest;
}

// Faults alone have no phase to stay in: they get one.
SimulatedExperiment in_phases(SimulatedExperiment experiment) {
  auto& plan = experiment.plan;
  if (!plan.phases.empty()) return experiment;
  ChaosPhase phase;
  for (const ChaosFault& fault : plan.faults) {
    phase.duration = std::max(phase.duration, fault.duration);
  }
  phase.faults = std::move(plan.faults);
  plan.faults.clear();
  plan.phases = {std::move(phase)};
  return experiment;
}

}  // namespace

Shrunk shrink(const SimulatedExperiment& experiment, const StillFails& fails) {
  const SimulatedExperiment whole = in_phases(experiment);
  Chosen chosen(faults_of(whole.plan));
  for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = i;
  Shrunk shrunk;
  std::size_t parts = 2;
  while (chosen.size() >= 2) {
    bool is_smaller = false;
    for (std::size_t part = 0; part < parts && !is_smaller; ++part) {
      const std::size_t from = chosen.size() * part / parts;
      const std::size_t to = chosen.size() * (part + 1) / parts;
      const Chosen rest = without(chosen, from, to);
      ++shrunk.runs;
      if (!fails(only(whole, rest))) continue;
      chosen = rest;
      parts = std::max<std::size_t>(2, parts - 1);
      is_smaller = true;
    }
    if (is_smaller) continue;
    if (parts == chosen.size()) break;
    parts = std::min(chosen.size(), 2 * parts);
  }
  shrunk.experiment = only(whole, chosen);
  shrunk.faults = static_cast<std::uint32_t>(chosen.size());
  return shrunk;
}

}  // namespace mesh::engine::simulation
