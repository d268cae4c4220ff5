#include "engine/coordination/blocks/wide_math.hpp"

#include <array>
#include <bit>

namespace mesh::coordination {
namespace {

// 512 bits, least significant word first. Products of what the callers pass never leave them.
struct Big {
  std::array<std::uint64_t, 8> words{};

  Big() = default;
  explicit Big(U128 value) {
    words[0] = static_cast<std::uint64_t>(value);
    words[1] = static_cast<std::uint64_t>(value >> 64);
  }
  [[nodiscard]] bool fits_128() const {
    for (std::size_t i = 2; i < words.size(); ++i) {
      if (words[i] != 0) return false;
    }
    return true;
  }
  [[nodiscard]] U128 low() const { return U128{words[1]} << 64 | words[0]; }
  [[nodiscard]] bool is_zero() const { return fits_128() && low() == 0; }
};

bool less(const Big& a, const Big& b) {
  for (std::size_t i = a.words.size(); i-- != 0;) {
    if (a.words[i] != b.words[i]) return a.words[i] < b.words[i];
  }
  return false;
}

Big sub(const Big& a, const Big& b) {
  Big out;
  std::uint64_t borrow = 0;
  for (std::size_t i = 0; i < out.words.size(); ++i) {
    const U128 taken = U128{b.words[i]} + borrow;
    borrow = U128{a.words[i]} < taken ? 1 : 0;
    out.words[i] = static_cast<std::uint64_t>(U128{a.words[i]} - taken);
  }
  return out;
}

Big mul(const Big& a, const Big& b) {
  Big out;
  for (std::size_t i = 0; i < a.words.size(); ++i) {
    if (a.words[i] == 0) continue;
    std::uint64_t carry = 0;
    for (std::size_t k = 0; i + k < out.words.size(); ++k) {
      const U128 sum = U128{a.words[i]} * b.words[k] + out.words[i + k] + carry;
      out.words[i + k] = static_cast<std::uint64_t>(sum);
      carry = static_cast<std::uint64_t>(sum >> 64);
    }
  }
  return out;
}

Big power(const Big& base, unsigned degree) {
  Big out = base;
  for (unsigned i = 1; i < degree; ++i) out = mul(out, base);
  return out;
}

unsigned bits_of(const Big& a) {
  for (std::size_t i = a.words.size(); i-- != 0;) {
    if (a.words[i] != 0) {
      return static_cast<unsigned>(i * 64 + static_cast<unsigned>(std::bit_width(a.words[i])));
    }
  }
  return 0;
}

struct Division {
  Big quotient;
  bool is_exact = true;
};

// By shifting and subtracting, from the first bit of a.
Division divide(const Big& a, const Big& b) {
  Division out;
  Big rest;
  for (unsigned bit = bits_of(a); bit-- != 0;) {
    for (std::size_t i = rest.words.size(); i-- != 0;) {
      rest.words[i] = rest.words[i] << 1 | (i == 0 ? 0 : rest.words[i - 1] >> 63);
    }
    rest.words[0] |= a.words[bit / 64] >> (bit % 64) & 1U;
    if (less(rest, b)) continue;
    rest = sub(rest, b);
    out.quotient.words[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
  out.is_exact = rest.is_zero();
  return out;
}

WideResult rounded(const Division& division, Rounding rounding) {
  const U128 value = division.quotient.low();
  const bool is_up = rounding == Rounding::up && !division.is_exact;
  const bool fits = division.quotient.fits_128() && !(is_up && value == ~U128{0});
  return {is_up ? value + 1 : value, fits};
}

U128 root(const Big& n, unsigned degree) {
  U128 out = 0;
  for (unsigned bit = bits_of(n) / degree + 1; bit-- != 0;) {
    if (bit >= 128) continue;
    const U128 tried = out | U128{1} << bit;
    if (!less(n, power(Big(tried), degree))) out = tried;
  }
  return out;
}

// The product of two in Q1.127, and a number with its top bit at 127 brought there.
U128 mul_q127(U128 a, U128 b) {
  const Big product = mul(Big(a), Big(b));
  return product.low() >> 127 | (U128{product.words[3]} << 64 | product.words[2]) << 1;
}

// 2^(2^-i) in Q1.127, i = 1..64: each the root of the one before.
const std::array<U128, 65>& roots_of_two() {
  static const std::array<U128, 65> kRoots = [] {
    std::array<U128, 65> all{};
    Big last;  // 2 in Q2.254
    last.words[3] = std::uint64_t{1} << 63;
    all[0] = ~U128{0};
    for (std::size_t i = 1; i < all.size(); ++i) {
      all[i] = root(last, 2);
      last = mul(Big(all[i]), Big(U128{1} << 127));
    }
    return all;
  }();
  return kRoots;
}

}  // namespace

WideResult mul_div(U128 a, U128 b, U128 c, Rounding rounding) noexcept {
  if ((a | b) >> 64 == 0) {
    const U128 product = a * b;
    const U128 up = rounding == Rounding::up && product % c != 0 ? 1 : 0;
    return {product / c + up, true};
  }
  return rounded(divide(mul(Big(a), Big(b)), Big(c)), rounding);
}

U128 root_of_product(U128 a, U128 b) noexcept { return root(mul(Big(a), Big(b)), 2); }

U128 grown(U128 s, U128 r1, U128 more, unsigned degree) noexcept {
  const Big target = divide(mul(power(Big(s), degree), Big(r1 + more)), Big(r1)).quotient;
  return root(target, degree);
}

WideResult cost_of_growth(U128 s, U128 r, U128 t, unsigned degree) noexcept {
  const Big before = power(Big(s), degree);
  const Big added = sub(power(Big(s + t), degree), before);
  return rounded(divide(mul(added, Big(r)), before), Rounding::up);
}

U128 worth_of_shrinking(U128 s, U128 r, U128 t, unsigned degree) noexcept {
  const Big before = power(Big(s), degree);
  const Big removed = sub(before, power(Big(s - t), degree));
  return divide(mul(removed, Big(r)), before).quotient.low();
}

WideResult power_q64(U128 a, U128 b, std::uint32_t num, std::uint32_t den) noexcept {
  // a / b = mantissa * 2^whole, the mantissa in Q1.127.
  const Big scaled =
      divide(mul(Big(a), mul(Big(U128{1} << 127), Big(U128{1} << 64))), Big(b)).quotient;
  const unsigned bits = bits_of(scaled);  // 1 in Q1.191 has 192
  const unsigned whole = bits - 192;
  Big shift;
  shift.words[(bits - 128) / 64] = std::uint64_t{1} << ((bits - 128) % 64);
  U128 mantissa = divide(scaled, shift).quotient.low();
  U128 log2 = U128{whole} << 64;
  for (unsigned bit = 64; bit-- != 0;) {
    // Squared in Q2.126: from 2 on there is a bit, and the mantissa is halved.
    const Big square = mul(Big(mantissa), Big(mantissa));
    const U128 high = U128{square.words[3]} << 64 | square.words[2];
    if (high >> 127 != 0) {
      log2 |= U128{1} << bit;
      mantissa = high;
    } else {
      mantissa = mul_q127(mantissa, mantissa);
    }
  }
  const WideResult exponent = mul_div(log2, num, den, Rounding::down);
  const auto integer = static_cast<unsigned>(exponent.value >> 64);
  if (!exponent.fits || integer >= 60) return {0, false};
  U128 out = U128{1} << 127;
  for (unsigned bit = 64; bit-- != 0;) {
    if ((exponent.value >> bit & 1U) != 0) out = mul_q127(out, roots_of_two()[64 - bit]);
  }
  return {out >> (63 - integer), true};
}

}  // namespace mesh::coordination
