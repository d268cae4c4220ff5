#include "tools/portable_math.hpp"

#include <array>
#include <cmath>

#include "shm/base/assert.hpp"

namespace mesh::tools {
namespace {

// ln 2 in two parts: the first has few enough bits that its product with an exponent is exact.
constexpr double kLn2High = 0x1.62e42feep-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1;

using Coefficients = std::array<double, 8>;

double polynomial(const Coefficients& coefficients, double x) noexcept {
  double sum = 0;
  for (auto c = coefficients.rbegin(); c != coefficients.rend(); ++c) sum = sum * x + *c;
  return sum;
}

struct Rational {
  Coefficients above;
  Coefficients below;
  [[nodiscard]] double at(double x) const noexcept {
    return polynomial(above, x) / polynomial(below, x);
  }
};

// The published coefficients: the middle, the tails, and beyond p = e^-25.
constexpr Rational kCentre = {
    {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
     1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
     3.3430575583588128105e+4, 2.5090809287301226727e+3},
    {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
     5.2264952788528545610e+3}};
constexpr Rational kTail = {
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9}};
constexpr Rational kFarTail = {
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15}};

}  // namespace

double portable_exp(double x) noexcept {
  MESH_ASSERT(x >= -700 && x <= 700);
  const double exponent = std::floor(x / (kLn2High + kLn2Low) + 0.5);
  const double rest = (x - exponent * kLn2High) - exponent * kLn2Low;
  // |rest| <= ln(2) / 2: the first term left out is below 1e-19.
  double sum = 1;
  for (int n = 16; n >= 1; --n) sum = 1 + sum * rest / n;
  return std::ldexp(sum, static_cast<int>(exponent));
}

double portable_log(double x) noexcept {
  MESH_ASSERT(x > 0);
  MESH_ASSERT(std::isfinite(x));
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < kSqrtHalf) {
    mantissa *= 2;
    --exponent;
  }
  // log m = 2 atanh t, |t| <= 0.172: the first term left out is below 1e-20.
  const double t = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int n = 25; n >= 1; n -= 2) sum = sum * t * t + 1.0 / n;
  return exponent * kLn2High + (2 * t * sum + exponent * kLn2Low);
}

double normal_quantile(double probability) noexcept {
  MESH_ASSERT(probability > 0);
  MESH_ASSERT(probability < 1);
  const double q = probability - 0.5;
  if (std::fabs(q) <= 0.425) return q * kCentre.at(0.180625 - q * q);
  const double r = std::sqrt(-portable_log(q < 0 ? probability : 1 - probability));
  const double x = r <= 5 ? kTail.at(r - 1.6) : kFarTail.at(r - 5);
  return q < 0 ? -x : x;
}

}  // namespace mesh::tools
