// Recording: messages that passed, in a file of lines, each a JSON object with a checksum of itself
// and of all lines before it: a line that was changed, left out or moved is found.
//
//     {"mesh30k_recording":1,"mesh":"...","started":"...","check":"..."}
//     {"at_ns":...,"from":"...","to":"...","verb":4,"priority":1,"ttl_ms":0,"weight":1.0,
//      "bare":false,"body":"68656c6c6f","check":"..."}
//     {"missed":3,"check":"..."}                 passed unseen just then
//     {"end":true,"messages":1,"missed":3,"check":"..."}
//
// Callers     one thread, cold.
// Units       at_ns: when it was delivered, HostTime of its mesh; body: hexadecimal; check: XXH3-64
//             of the check before it and the line without its own.
// If the      writer dies: what stands there is whole up to its last line; it has no end.
// other side
// dies
// Errors      read_recording -> bad_input with the line's number. Nothing of a file with one wrong
//             line is used.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "engine/reports/inbox_tail.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

struct RecordedMessage {
  std::int64_t at_ns = 0;
  std::string from;  // empty: the engine
  std::string to;
  std::uint8_t verb = 4;
  std::uint8_t priority = 1;
  std::uint32_t ttl_ms = 0;
  float weight = 1;
  bool bare = false;
  std::string body;
  friend bool operator==(const RecordedMessage&, const RecordedMessage&) = default;
};

class RecordingWriter {
 public:
  RecordingWriter(std::ostream& out, const std::string& mesh, const std::string& started);
  // Goes on behind the line of this check.
  RecordingWriter(std::ostream& out, std::string check);
  void add(const RecordedMessage& message);
  void add_missed(std::uint64_t count);
  void end();
  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  // Of the last line.
  [[nodiscard]] const std::string& check() const noexcept { return check_; }

 private:
  void put(Json line);

  std::ostream& out_;
  std::string check_;
  std::uint64_t messages_ = 0;
  std::uint64_t missed_ = 0;
};

struct Recording {
  std::string mesh;
  std::string started;
  std::vector<RecordedMessage> messages;
  std::uint64_t missed = 0;
  bool has_end = false;
};
Result<Recording> read_recording(std::istream& in, const std::string& name);

// None where the body was gone before it was looked at, or it is no message.
[[nodiscard]] std::optional<RecordedMessage> recorded(const PassedDelivery& passed);

// When each is due after the first, played `speed` times as fast.
[[nodiscard]] std::vector<Nanos> due_after_start(const std::vector<RecordedMessage>& messages,
                                                 double speed);

}  // namespace mesh::engine::reports
