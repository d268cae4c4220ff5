#include "engine/coordination/blocks/semver.hpp"

#include <algorithm>

namespace mesh::coordination {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_numeric(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}
bool is_identifier_byte(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

// What stands before the first `mark`, which is taken off too; all of it where there is none.
std::string_view take_until(std::string_view& text, char mark) noexcept {
  const std::size_t at = text.find(mark);
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return head;
}

bool parse_number(std::string_view text, std::uint32_t& number) noexcept {
  if (!is_numeric(text) || text.size() > 10 || (text.size() > 1 && text[0] == '0')) return false;
  std::uint64_t value = 0;
  for (const char c : text) value = 10 * value + static_cast<std::uint64_t>(c - '0');
  number = static_cast<std::uint32_t>(value);
  return value <= UINT32_MAX;
}

// Identifiers with dots between them; a number among those of a pre-release has no leading zero.
bool are_identifiers(std::string_view text, bool zeros_allowed) noexcept {
  if (text.empty() || text.back() == '.') return false;
  while (!text.empty()) {
    const std::string_view one = take_until(text, '.');
    if (one.empty() || !std::all_of(one.begin(), one.end(), is_identifier_byte)) return false;
    if (!zeros_allowed && is_numeric(one) && one.size() > 1 && one[0] == '0') return false;
  }
  return true;
}

std::strong_ordering order(int sign) noexcept { return sign <=> 0; }

std::strong_ordering compare_identifiers(std::string_view a, std::string_view b) noexcept {
  const bool a_numeric = is_numeric(a);
  const bool b_numeric = is_numeric(b);
  if (a_numeric != b_numeric) {
    return a_numeric ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  if (a_numeric && a.size() != b.size()) return a.size() <=> b.size();  // no leading zeros
  return order(a.compare(b));
}

std::strong_ordering compare_pre(std::string_view a, std::string_view b) noexcept {
  if (a.empty() || b.empty()) return static_cast<int>(a.empty()) <=> static_cast<int>(b.empty());
  while (!a.empty() && !b.empty()) {
    const auto one = compare_identifiers(take_until(a, '.'), take_until(b, '.'));
    if (one != 0) return one;
  }
  return static_cast<int>(!a.empty()) <=> static_cast<int>(!b.empty());  // the longer is greater
}

}  // namespace

bool parse(std::string_view text, Semver& version) noexcept {
  version = {};
  if (const std::size_t plus = text.find('+'); plus != std::string_view::npos) {
    if (!are_identifiers(text.substr(plus + 1), true)) return false;
    text = text.substr(0, plus);
  }
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    const std::string_view pre = text.substr(dash + 1);
    if (pre.size() > Semver::kPreBytes || !are_identifiers(pre, false)) return false;
    std::copy(pre.begin(), pre.end(), version.pre_bytes.begin());
    version.pre_size = static_cast<std::uint32_t>(pre.size());
    text = text.substr(0, dash);
  }
  if (std::count(text.begin(), text.end(), '.') != 2) return false;
  const std::string_view major = take_until(text, '.');
  const std::string_view minor = take_until(text, '.');
  return parse_number(major, version.major) && parse_number(minor, version.minor) &&
         parse_number(text, version.patch);
}

std::strong_ordering compare_pre(const Semver& a, const Semver& b) noexcept {
  return compare_pre(a.pre(), b.pre());
}

bool SemverRange::add(Op op, const Semver& version) noexcept {
  if (count_ == kComparators) return false;
  comparators_[count_++] = {op, version};
  return true;
}

// From `least` to below the next version that may break what it promises.
bool SemverRange::add_span(char kind, const Semver& least) noexcept {
  Semver end;
  end.pre_bytes[0] = '0';  // before every pre-release of that version
  end.pre_size = 1;
  end.major = least.major;
  end.minor = least.minor;
  std::uint32_t* next = &end.minor;
  if (kind == '^') {
    next = least.major != 0 ? &end.major : least.minor != 0 ? &end.minor : &end.patch;
    if (next == &end.major) end.minor = 0;
    if (next == &end.patch) end.patch = least.patch;
  }
  if (*next == UINT32_MAX) return false;
  ++*next;
  return add(Op::greater_or_equal, least) && add(Op::less, end);
}

bool SemverRange::add_token(std::string_view token) noexcept {
  if (token == "*") return true;
  Semver version;
  const char first = token.front();
  if (first == '^' || first == '~') {
    return mesh::coordination::parse(token.substr(1), version) && add_span(first, version);
  }
  Op op = Op::equal;
  const bool or_equal = token.size() > 1 && token[1] == '=';
  if (first == '<') op = or_equal ? Op::less_or_equal : Op::less;
  if (first == '>') op = or_equal ? Op::greater_or_equal : Op::greater;
  if (first == '<' || first == '>') {
    token.remove_prefix(or_equal ? 2 : 1);
  } else if (first == '=') {
    token.remove_prefix(1);
  }
  return mesh::coordination::parse(token, version) && add(op, version);
}

bool SemverRange::parse(std::string_view text) noexcept {
  count_ = 0;
  while (!text.empty()) {
    const std::string_view token = take_until(text, ' ');
    if (!token.empty() && !add_token(token)) return false;
  }
  return true;
}

bool SemverRange::contains(const Semver& version) const noexcept {
  for (std::size_t i = 0; i < count_; ++i) {
    const auto order = compare(version, comparators_[i].version);
    const Op op = comparators_[i].op;
    const bool holds = op == Op::equal           ? order == 0
                       : op == Op::less          ? order < 0
                       : op == Op::less_or_equal ? order <= 0
                       : op == Op::greater       ? order > 0
                                                 : order >= 0;
    if (!holds) return false;
  }
  return true;
}

}  // namespace mesh::coordination
