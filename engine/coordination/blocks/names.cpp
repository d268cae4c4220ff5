#include "engine/coordination/blocks/names.hpp"

#include <cstdint>
#include <cstring>
#include <string>

namespace mesh::coordination {
namespace {

struct Sequence {
  std::size_t size = 0;  // 0: no sequence starts with this byte
  std::uint32_t bits = 0;
  std::uint32_t least = 0;  // below it the form is overlong
};

Sequence sequence_of(unsigned char first) noexcept {
  if (first < 0x80) return {1, first, 0};
  if ((first & 0xE0U) == 0xC0) return {2, first & 0x1FU, 0x80};
  if ((first & 0xF0U) == 0xE0) return {3, first & 0x0FU, 0x800};
  if ((first & 0xF8U) == 0xF0) return {4, first & 0x07U, 0x1'0000};
  return {};
}

// The size of the character at the start of `text`, or 0.
std::size_t character_size(std::string_view text) noexcept {
  const Sequence sequence = sequence_of(static_cast<unsigned char>(text.front()));
  if (sequence.size == 0 || sequence.size > text.size()) return 0;
  std::uint32_t point = sequence.bits;
  for (const char next : text.substr(1, sequence.size - 1)) {
    const auto byte = static_cast<unsigned char>(next);
    if ((byte & 0xC0U) != 0x80) return 0;
    point = (point << 6) | (byte & 0x3FU);
  }
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  return point < sequence.least || point > 0x10'FFFF || surrogate ? 0 : sequence.size;
}

// Eight bytes at a time: nearly every name is nothing else.
bool is_ascii(std::string_view text) noexcept {
  constexpr std::uint64_t kNotAscii = 0x8080'8080'8080'8080U;
  std::uint64_t seen = 0;
  while (text.size() >= sizeof(seen)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof(word));
    seen |= word;
    text.remove_prefix(sizeof(word));
  }
  std::uint64_t rest = 0;
  for (const char byte : text) rest |= static_cast<unsigned char>(byte);
  return ((seen | rest) & kNotAscii) == 0;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  if (is_ascii(text)) return true;
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

bool is_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kNameBytesMax && is_utf8(name);
}

Status check_name(std::string_view what, std::string_view name) {
  const std::string who(what);
  if (name.empty()) return fail(Errc::invalid_id, who + ": the name is empty");
  if (name.size() > kNameBytesMax) {
    return fail(Errc::invalid_id,
                who + ": a name of " + std::to_string(name.size()) + " bytes; at most " +
                    std::to_string(kNameBytesMax),
                static_cast<std::int64_t>(kNameBytesMax));
  }
  if (!is_utf8(name)) return fail(Errc::invalid_id, who + ": the name is not UTF-8");
  return {};
}

}  // namespace mesh::coordination
