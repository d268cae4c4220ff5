#include "shm/uuid.hpp"

#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "shm/descriptor.hpp"
#include "shm/system_error.hpp"

namespace mesh::shm {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

Result<Uuid> parse(std::string_view text) {
  Uuid uuid{};
  std::size_t digits = 0;
  for (const char letter : text) {
    if (letter == '-') continue;
    const std::size_t value = kDigits.find(letter);
    if (value == std::string_view::npos || digits == 2 * uuid.size()) break;
    uuid[digits / 2] = static_cast<std::uint8_t>(uuid[digits / 2] << 4 | value);
    ++digits;
  }
  if (digits != 2 * uuid.size()) {
    return fail(Errc::bad_input, "boot id: " + std::to_string(digits) + " digits, expected 32");
  }
  return uuid;
}

}  // namespace

std::string to_text(const Uuid& uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[uuid[i] >> 4];
    text += kDigits[uuid[i] & 15U];
  }
  return text;
}

Result<Uuid> random_uuid() {
  Uuid uuid{};
  ssize_t size = 0;
  do {
    size = getrandom(uuid.data(), uuid.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(uuid.size())) return system_failure("getrandom", errno);
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0FU) | 0x40U);
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3FU) | 0x80U);
  return uuid;
}

Result<Uuid> boot_id() {
  const char* const path = "/proc/sys/kernel/random/boot_id";
  const Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return system_failure(std::string("open ") + path, errno);
  char text[40];
  const ssize_t size = read(file.get(), text, sizeof text);
  if (size < 0) return system_failure(std::string("read ") + path, errno);
  return parse({text, static_cast<std::size_t>(size)});
}

}  // namespace mesh::shm
