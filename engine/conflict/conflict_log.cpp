#include "engine/conflict/conflict_log.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace mesh::tasks {
namespace {

Status broken(std::uint64_t position, const char* what) {
  return fail(Errc::corrupt, "conflict log: record " + std::to_string(position) + " " + what,
              static_cast<std::int64_t>(position));
}

// Checks each record against those before it.
class Walker final : public JournalVisitor {
 public:
  explicit Walker(const ConflictLog::Visit* visit) : visit_(visit) {}
  Status visit(std::uint64_t sequence, std::span<const std::byte> record) override {
    Digest digest{};
    if (record.size() < digest.size()) return broken(sequence, "is cut off");
    std::copy_n(record.begin(), digest.size(), digest.begin());
    const auto body = record.subspan(digest.size());
    const ChainEnd next = chain_on(end, body);
    if (next.position != sequence) return broken(sequence, "is not at its place");
    if (next.digest != digest) return broken(sequence, "is not what was written there");
    end = next;
    if (visit_ == nullptr) return {};
    MESH_TRY(const ConflictRecord decoded, decode_record(body));
    return (*visit_)(sequence, decoded);
  }
  ChainEnd end;

 private:
  const ConflictLog::Visit* visit_;
};

}  // namespace

Result<ConflictRecord> decode_record(std::span<const std::byte> body) {
  StateReader reader(body);
  ConflictRecord record;
  get_fields(record, reader);
  MESH_CHECK_OK(reader.finish("conflict record"));
  return record;
}

Result<ConflictLog> ConflictLog::open(Journal& journal) {
  ConflictLog log(journal);
  Walker walker(nullptr);
  MESH_CHECK_OK(journal.replay(0, walker));
  log.end_ = walker.end;
  return log;
}

Result<std::uint64_t> ConflictLog::keep(const ConflictHandler& handler) {
  bool is_new = false;
  for (std::size_t i = 0; i < handler.unlogged(); ++i) {
    const auto one = handler.unlogged(i);
    if (one.end.position < end_.position) continue;
    if (one.end.position == end_.position) {
      if (one.end == end_) continue;
      return tl::make_unexpected(broken(one.end.position, "is another handler's").error());
    }
    if (chain_on(end_, one.body) != one.end) {
      return tl::make_unexpected(broken(one.end.position, "does not follow").error());
    }
    std::vector<std::byte> record(one.end.digest.begin(), one.end.digest.end());
    record.insert(record.end(), one.body.begin(), one.body.end());
    MESH_TRY(const std::uint64_t sequence, journal_->append(record));
    if (sequence != one.end.position) {
      return tl::make_unexpected(broken(sequence, "was written by somebody else").error());
    }
    end_ = one.end;
    is_new = true;
  }
  if (is_new) MESH_CHECK_OK(journal_->sync());
  return end_.position;
}

Status ConflictLog::walk(const Visit& visit) const {
  Walker walker(&visit);
  return journal_->replay(0, walker);
}

}  // namespace mesh::tasks
