// exp, log and the normal quantile, the same to the last bit on every machine: a seed then draws
// the same population everywhere. Those of libm and the distributions of the standard library
// differ from one to the next.
//
// Callers     any thread; pure functions of + - * / and sqrt, which IEEE 754 fixes, built without
//             contraction (tools/cmake/mesh_build.cmake).
// Error       relative, at most 1e-14: exp in [-700, 700], log of a normal number, the quantile
//             in (0, 1).
// Source      log: atanh series; exp: Taylor after reduction by ln 2; quantile: Wichura, algorithm
//             AS 241 (PPND16), Applied Statistics 37 (1988).
#pragma once

namespace mesh::tools {

[[nodiscard]] double portable_exp(double x) noexcept;
[[nodiscard]] double portable_log(double x) noexcept;
// x such that a standard normal is below it with `probability`.
[[nodiscard]] double normal_quantile(double probability) noexcept;

}  // namespace mesh::tools
