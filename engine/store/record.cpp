#include "engine/store/record.hpp"

#include "engine/coordination/blocks/hash_chain.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

static_assert(std::is_same_v<ChainHash, coordination::Digest>);

// Byte by byte, so that the same record has the same hash on every machine.
template <class T>
void put(std::vector<std::byte>& out, T value) {
  for (unsigned at = 0; at < sizeof(T); ++at)
    out.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * at)));
}
void put(std::vector<std::byte>& out, const sched::MessageId& id) {
  put(out, id.high);
  put(out, id.low);
}
void put(std::vector<std::byte>& out, const std::string& text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  T number() {
    std::uint64_t value = 0;
    if (rest_.size() < sizeof(T)) {
      whole_ = false;
      return T{};
    }
    for (unsigned at = 0; at < sizeof(T); ++at)
      value |= static_cast<std::uint64_t>(rest_[at]) << (8 * at);
    rest_ = rest_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  sched::MessageId id() {
    const auto high = number<std::uint64_t>();
    const auto low = number<std::uint64_t>();
    return {high, low};
  }
  std::string text() {
    const auto size_bytes = number<std::uint32_t>();
    if (!whole_ || size_bytes > rest_.size()) {
      whole_ = false;
      return {};
    }
    std::string value(size_bytes, '\0');
    for (std::size_t at = 0; at < size_bytes; ++at) value[at] = static_cast<char>(rest_[at]);
    rest_ = rest_.subspan(size_bytes);
    return value;
  }
  [[nodiscard]] bool is_done() const { return whole_ && rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  bool whole_ = true;
};

bool is_known(const Record& record) {
  const auto kind = static_cast<unsigned>(record.kind);
  return kind >= static_cast<unsigned>(StoredKind::conflict) &&
         kind <= static_cast<unsigned>(StoredKind::notice) &&
         static_cast<unsigned>(record.type) <= static_cast<unsigned>(sched::ConflictType::other) &&
         static_cast<unsigned>(record.state) <= static_cast<unsigned>(ConflictState::resolved);
}

}  // namespace

Status validate(const Record& record) {
  if (record.subject == SubjectId{})
    return fail(Errc::invalid_argument, "record: its subject is 0, which names nothing");
  if (!is_known(record))
    return fail(Errc::invalid_argument, "record " + name_of(record.subject) +
                                            ": a kind, type or state that does not exist");
  for (const std::string* text : {&record.expected, &record.received, &record.detail}) {
    if (text->size() > kRecordTextBytesMax)
      return fail(Errc::invalid_argument,
                  "record " + name_of(record.subject) + ": " + std::to_string(text->size()) +
                      " bytes of text, at most " + std::to_string(kRecordTextBytesMax),
                  static_cast<std::int64_t>(kRecordTextBytesMax));
  }
  return {};
}

std::size_t encoded_bytes(const Record& record) noexcept {
  return kEncodedHeadBytes + 3 * sizeof(std::uint32_t) + record.expected.size() +
         record.received.size() + record.detail.size();
}

void encode(const Record& record, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  out.reserve(start + encoded_bytes(record));
  put(out, record.subject);
  put(out, record.message);
  put(out, record.at);
  put(out, record.agent);
  put(out, record.operation);
  put(out, record.context_hash);
  put(out, record.step);
  put(out, record.kind);
  put(out, record.type);
  put(out, record.state);
  put(out, record.priority);
  put(out, record.strategy);
  out.insert(out.end(), 3, std::byte{0});
  MESH_ASSERT(out.size() - start == kEncodedHeadBytes);
  put(out, record.expected);
  put(out, record.received);
  put(out, record.detail);
}

Result<Record> decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  Record record;
  record.subject = reader.id();
  record.message = reader.id();
  record.at = reader.number<WireTime>();
  record.agent = reader.number<AgentId>();
  record.operation = reader.number<OperationId>();
  record.context_hash = reader.number<std::uint64_t>();
  record.step = reader.number<std::uint32_t>();
  record.kind = reader.number<StoredKind>();
  record.type = reader.number<sched::ConflictType>();
  record.state = reader.number<ConflictState>();
  record.priority = reader.number<std::uint8_t>();
  record.strategy = reader.number<std::uint8_t>();
  for (int i = 0; i < 3; ++i) {
    if (reader.number<std::uint8_t>() != 0)
      return fail(Errc::corrupt, "record: reserved bytes are used");
  }
  record.expected = reader.text();
  record.received = reader.text();
  record.detail = reader.text();
  if (!reader.is_done() || !validate(record))
    return fail(Errc::corrupt, "record: " + std::to_string(bytes.size()) + " bytes are no record");
  return record;
}

ChainHash hash_of(std::string_view bytes) {
  return coordination::sha256(std::as_bytes(std::span(bytes)));
}

ChainHead chained(const ChainHead& previous, const Record& record) {
  std::vector<std::byte> body;
  encode(record, body);
  const auto end = coordination::chain_on({previous.position, previous.hash}, body);
  return {.position = end.position, .hash = end.digest};
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[static_cast<std::size_t>(byte >> 4)];
    text += kDigits[static_cast<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

std::string name_of(const SubjectId& subject) {
  std::vector<std::byte> bytes;
  for (const std::uint64_t word : {subject.high, subject.low}) {
    for (int at = 7; at >= 0; --at) bytes.push_back(static_cast<std::byte>(word >> (8 * at)));
  }
  return to_hex(bytes);
}

std::string_view name_of(ConflictState state) noexcept {
  switch (state) {
    case ConflictState::none:
      return "none";
    case ConflictState::open:
      return "open";
    case ConflictState::resolving:
      return "resolving";
    case ConflictState::for_person:
      return "for_person";
    case ConflictState::resolved:
      return "resolved";
  }
  return "unknown";
}

std::string_view name_of(StoredKind kind) noexcept {
  switch (kind) {
    case StoredKind::conflict:
      return "conflict";
    case StoredKind::step:
      return "step";
    case StoredKind::result:
      return "result";
    case StoredKind::notice:
      return "notice";
  }
  return "unknown";
}

}  // namespace mesh::engine
