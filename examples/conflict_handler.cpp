// Three agents want one file, then two contradict each other about a value. Who wins is decided by
// what they bring, never by who was listed first; what was decided stands in a chained log.
#include "engine/conflict/conflict_handler.hpp"

#include <cstdio>

#include "engine/conflict/conflict_log.hpp"
#include "engine/coordination/blocks/memory_journal.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  ConflictHandler handler(ConflictConfig::preset("standard").value());
  MemoryJournal journal;
  ConflictLog log = ConflictLog::open(journal).value();
  const Nanos now{kNsPerSecond};

  conflict::Report file;
  file.kind = ConflictKind::resource;
  file.subject = "shared-file";
  file.participants = {{.agent = 1, .priority = 10}, {.agent = 2, .priority = 5}, {.agent = 3}};
  const auto first = handler.apply(file, now);
  const auto refused = handler.apply(conflict::AutoResolve{first.conflict, {}}, now);
  conflict::Resolve person;
  person.conflict = first.conflict;
  person.strategy = ResolutionStrategy::manual;
  person.winner = 1;
  const auto chosen = handler.apply(person, now);

  conflict::Report value;
  value.kind = ConflictKind::data_contradiction;
  value.subject = "temperature of hall 4";
  value.participants = {{.agent = 1}, {.agent = 2}};
  const auto second = handler.apply(value, now);
  Evidence evidence;
  evidence.origins = {{1, 40, 600'000}, {2, 41, 900'000}, {2, 42, 800'000}};
  const auto proven = handler.apply(conflict::AutoResolve{second.conflict, evidence}, now);

  const auto kept = log.keep(handler).value();
  handler.apply(conflict::Logged{kept}, now);
  std::printf("agent 3 has no priority: %s; a person chose %d; %s: agent %d; %d records chained\n",
              std::string(name_of(refused.code)).c_str(),
              static_cast<int>(chosen.resolution.winner),
              std::string(to_string(proven.resolution.reason)).c_str(),
              static_cast<int>(proven.resolution.winner), static_cast<int>(kept));
  return handler.verify() && ConflictLog::open(journal) ? 0 : 1;
}
