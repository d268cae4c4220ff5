// MESH_MUTANT("service.check"): a safety check that a test can switch off, to see that some other
// test then fails. False in every library: the compiler drops it. The program of the mutants alone
// is built with MESH_MUTANTS, and switches off the one that it was started for.
//
//   if (probes_out_ >= most && !MESH_MUTANT("breaker.probe_limit")) return reject();
//
// Callers     .cpp files of services only: a header would mean two things in that program.
// Source      mutation analysis (DeMillo, Lipton & Sayward 1978), by hand: one for each check.
#pragma once

#ifdef MESH_MUTANTS
#include <string_view>

namespace mesh::coordination {
[[nodiscard]] bool is_mutant(std::string_view name) noexcept;
}
#define MESH_MUTANT(name) ::mesh::coordination::is_mutant(name)
#else
#define MESH_MUTANT(name) false
#endif
