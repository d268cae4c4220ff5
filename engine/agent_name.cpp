#include "engine/agent_name.hpp"

#include <algorithm>

namespace mesh::engine {
namespace {

constexpr std::size_t kWhole = ~std::size_t{0};  // nothing wrong

unsigned byte_at(std::string_view text, std::size_t at) noexcept {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the character that begins at `at`; 0: none does. Table 3-7 of the Unicode standard: the
// bounds of the second byte shut out overlong forms, surrogates and what lies beyond U+10FFFF.
std::size_t character_bytes(std::string_view text, std::size_t at) noexcept {
  const unsigned first = byte_at(text, at);
  if (first < 0x80) return first < 0x20 || first == 0x7F ? 0 : 1;  // no control characters
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t bytes = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (bytes > text.size() - at) return 0;
  const unsigned second = byte_at(text, at + 1);
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (second < least || second > most) return 0;
  if (first == 0xC2 && second < 0xA0) return 0;  // U+0080 to U+009F: control characters too
  for (std::size_t i = 2; i < bytes; ++i) {
    if ((byte_at(text, at + i) & 0xC0) != 0x80) return 0;
  }
  return bytes;
}

std::size_t first_bad_byte(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character_bytes(text, at);
    if (bytes == 0) return at;
    at += bytes;
  }
  return kWhole;
}

std::string hex(unsigned byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 0xF]};
}

}  // namespace

Status check_name(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > kAgentNameBytes) {
    return fail(Errc::invalid_argument,
                std::string(what) + ": its name has " + std::to_string(name.size()) +
                    " bytes, a name has 1 to " + std::to_string(kAgentNameBytes),
                kAgentNameBytes);
  }
  if (const std::size_t at = first_bad_byte(name); at != kWhole) {
    return fail(Errc::invalid_argument,
                std::string(what) + ": byte " + std::to_string(at) + " of its name, " +
                    hex(byte_at(name, at)) + ", begins no printable UTF-8 character",
                static_cast<std::int64_t>(at));
  }
  return {};
}

Result<NameBytes> decode(std::string_view where,
                         const std::array<std::uint64_t, kNameWords>& words) {
  const NameBytes bytes{words};
  const auto* const raw = reinterpret_cast<const char*>(words.data());
  const std::string_view all(raw, kNameBytes);
  const std::size_t length = bytes.length();
  if (length == 0 || length > kAgentNameBytes) {
    return fail(Errc::corrupt,
                std::string(where) + ": length " + std::to_string(length) + ", a name has 1 to " +
                    std::to_string(kAgentNameBytes) + " bytes",
                static_cast<std::int64_t>(length));
  }
  if (const std::size_t at = first_bad_byte(bytes.view()); at != kWhole) {
    return fail(Errc::corrupt,
                std::string(where) + ": byte " + std::to_string(at) + ", " +
                    hex(byte_at(bytes.view(), at)) + ", begins no printable UTF-8 character",
                static_cast<std::int64_t>(at));
  }
  if (all.find_first_not_of('\0', 1 + length) != std::string_view::npos) {
    return fail(Errc::corrupt, std::string(where) + ": not zero behind its " +
                                   std::to_string(length) + " bytes of text");
  }
  return bytes;
}

}  // namespace mesh::engine
