#include "engine/reports/recording.hpp"

#include <algorithm>
#include <istream>
#include <ostream>
#include <utility>

#include <fmt/format.h>

#include "shm/hash.hpp"

namespace mesh::engine::reports {
namespace {

constexpr std::size_t kLineBytesMax = std::size_t{4} << 20;

std::string check_of(const std::string& before, const std::string& line) {
  return fmt::format("{:016x}", shm::hash64(before + line));
}
std::string hex_of(const std::string& bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    text += fmt::format("{:02x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
  }
  return text;
}
std::optional<std::string> bytes_of(const std::string& hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string bytes;
  for (std::size_t at = 0; at < hex.size(); at += 2) {
    const int high = digit(hex[at]);
    const int low = digit(hex[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

// Types and ranges; what a file says is input.
std::optional<RecordedMessage> message_of(const Json& line) {
  RecordedMessage message;
  const auto is_count = [&](const char* key, std::uint64_t most) {
    return line.contains(key) && line[key].is_number_unsigned() && line[key] <= most;
  };
  const auto is_text = [&](const char* key) { return line.contains(key) && line[key].is_string(); };
  const bool is_one = is_count("at_ns", INT64_MAX) && is_text("from") && is_text("to") &&
                      is_count("verb", 6) && line["verb"] >= 1 && is_count("priority", 3) &&
                      is_count("ttl_ms", UINT32_MAX) && line.contains("weight") &&
                      line["weight"].is_number() && line.contains("bare") &&
                      line["bare"].is_boolean() && is_text("body");
  if (!is_one) return std::nullopt;
  const auto body = bytes_of(line["body"].get<std::string>());
  if (!body) return std::nullopt;
  message.at_ns = line["at_ns"].get<std::int64_t>();
  message.from = line["from"].get<std::string>();
  message.to = line["to"].get<std::string>();
  message.verb = line["verb"].get<std::uint8_t>();
  message.priority = line["priority"].get<std::uint8_t>();
  message.ttl_ms = line["ttl_ms"].get<std::uint32_t>();
  message.weight = line["weight"].get<float>();
  message.bare = line["bare"].get<bool>();
  message.body = *body;
  return message;
}

// One whose checksum holds. What is wrong with it, or null.
const char* take(const Json& line, bool is_first, Recording& recording) {
  if (is_first) {
    recording.mesh = line.value("mesh", Json()).is_string() ? line["mesh"] : Json("");
    recording.started = line.value("started", Json()).is_string() ? line["started"] : Json("");
    return line.value("mesh30k_recording", Json()) == 1 ? nullptr : "this is no recording";
  }
  if (line.contains("end")) {
    recording.has_end = true;
    return nullptr;
  }
  if (line.contains("missed")) {
    if (!line["missed"].is_number_unsigned()) return "it is no count";
    recording.missed += line["missed"].get<std::uint64_t>();
    return nullptr;
  }
  const auto message = message_of(line);
  if (!message) return "it is no message";
  recording.messages.push_back(*message);
  return nullptr;
}

}  // namespace

RecordingWriter::RecordingWriter(std::ostream& out, const std::string& mesh,
                                 const std::string& started)
    : out_(out) {
  put({{"mesh30k_recording", 1}, {"mesh", mesh}, {"started", started}});
}

RecordingWriter::RecordingWriter(std::ostream& out, std::string check)
    : out_(out), check_(std::move(check)) {}

void RecordingWriter::put(Json line) {
  check_ = check_of(check_, text_of(line));
  line["check"] = check_;
  out_ << text_of(line) << '\n';
}

void RecordingWriter::add(const RecordedMessage& message) {
  ++messages_;
  put({{"at_ns", static_cast<std::uint64_t>(message.at_ns)},
       {"from", message.from},
       {"to", message.to},
       {"verb", message.verb},
       {"priority", message.priority},
       {"ttl_ms", message.ttl_ms},
       {"weight", message.weight},
       {"bare", message.bare},
       {"body", hex_of(message.body)}});
}

void RecordingWriter::add_missed(std::uint64_t count) {
  if (count == 0) return;
  missed_ += count;
  put({{"missed", count}});
}

void RecordingWriter::end() {
  put({{"end", true}, {"messages", messages_}, {"missed", missed_}});
  out_.flush();
}

Result<Recording> read_recording(std::istream& in, const std::string& name) {
  Recording recording;
  std::string check;
  std::string text;
  std::size_t number = 0;
  const auto wrong = [&](const char* what) {
    return fail(Errc::bad_input, fmt::format("\"{}\": line {}: {}", name, number, what),
                static_cast<std::int64_t>(number));
  };
  while (std::getline(in, text)) {
    ++number;
    if (recording.has_end) return wrong("it stands behind the end");
    if (text.size() > kLineBytesMax) return wrong("it is longer than any that is written");
    Json line = Json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("check")) return wrong("it is no line of a recording");
    const Json claimed = line["check"];
    line.erase("check");
    check = check_of(check, text_of(line));
    if (claimed != check) return wrong("its checksum does not hold: it, or one before it, changed");
    if (const char* const what = take(line, number == 1, recording)) return wrong(what);
  }
  if (number == 0) return wrong("it is empty");
  return recording;
}

std::optional<RecordedMessage> recorded(const PassedDelivery& passed) {
  if (passed.record.kind != sched::RecordKind::message || !passed.body) return std::nullopt;
  RecordedMessage message;
  message.at_ns = passed.record.sent_ns;
  message.from = passed.source;
  message.to = passed.target;
  message.bare = sched::has(passed.record.flags, sched::RecordFlags::bare);
  message.body = *passed.body;
  if (message.bare) return message;  // what its header would say is not kept with it
  const sched::MessageHeader& header = passed.header;
  message.verb = static_cast<std::uint8_t>(header.verb);
  message.priority = static_cast<std::uint8_t>(header.priority);
  message.weight = header.weight();
  if (header.expires_ns > header.created_ns) {
    message.ttl_ms = static_cast<std::uint32_t>(
        std::min<std::int64_t>((header.expires_ns - header.created_ns) / kNsPerMs, UINT32_MAX));
  }
  return message;
}

std::vector<Nanos> due_after_start(const std::vector<RecordedMessage>& messages, double speed) {
  std::vector<Nanos> due;
  std::int64_t first = INT64_MAX;
  for (const RecordedMessage& message : messages) first = std::min(first, message.at_ns);
  for (const RecordedMessage& message : messages) {
    due.emplace_back(static_cast<std::int64_t>(static_cast<double>(message.at_ns - first) / speed));
  }
  return due;
}

}  // namespace mesh::engine::reports
