// JournaledService: a durable service as a host runs it: journal, then apply, then answer.
//
// A burst of commands shares one sync. Each command carries {station, sequence}; the answers of the
// last `replies_max` commands are remembered, so that a command sent again after a restart gets its
// first answer and is not applied twice.
//
// Callers     the service thread. It is the one writer of the service and of the journal.
// Ordering    execute(): every record of the burst is synced before the first command is applied.
// If the      process dies at any step: open() gives the newest snapshot and the journal after it.
// other side  What was answered is there; what was not is wholly there or wholly absent.
// dies        The journal fails: the burst is not answered, and nothing more is executed until the
//             service is opened again, because what the journal holds is not known.
// Errors      open -> invalid_config, corrupt, and the journal's. execute -> closed after a
//             failure, invalid_argument (a burst larger than the memory of answers), the journal's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/journal.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

struct CommandSource {
  std::uint32_t station = 0;
  std::uint64_t sequence = 0;
  friend auto operator<=>(const CommandSource&, const CommandSource&) = default;
};

// Between two of these a death must not hurt; tests die at each.
enum class CommitStep : std::uint8_t {
  before_journal,
  journaled,
  synced,
  applied,
  before_snapshot,
  snapshot_taken,
  snapshot_replaced,
};
inline constexpr std::size_t kCommitSteps = 7;

struct JournalOptions {
  std::uint64_t seed = 0;
  std::size_t replies_max = 4'096;
  // Called at each step; a test dies there. Null in a product.
  void (*at_step)(void* context, CommitStep step) = nullptr;
  void* context = nullptr;
};

template <DurableService Service>
class JournaledService final {
 public:
  using Config = typename Service::Config;
  using Command = typename Service::Command;
  using Reply = typename Service::Reply;
  struct Request {
    CommandSource source;
    Command command;
  };

  // The journal must outlive the service.
  static Result<JournaledService> open(const Config& config, Journal& journal,
                                       const JournalOptions& options = {}) {
    MESH_CHECK_OK(Service::validate(config));
    JournaledService self(config, journal, options);
    MESH_TRY(const StoredSnapshot stored, journal.newest_snapshot());
    if (stored.last_sequence != 0) MESH_CHECK_OK(self.load(config, stored));
    Replayer replayer{self};
    MESH_CHECK_OK(journal.replay(self.last_sequence_, replayer));
    MESH_CHECK_OK(self.service_.verify());
    return self;
  }

  // Replies in the order of the requests.
  Result<std::vector<Reply>> execute(std::span<const Request> burst, Nanos now) {
    if (failed_) return fail(Errc::closed, "journaled service: the journal has failed; open again");
    if (burst.size() > options_.replies_max) {
      return fail(Errc::invalid_argument,
                  "journaled service: a burst of " + std::to_string(burst.size()) + "; at most " +
                      std::to_string(options_.replies_max),
                  static_cast<std::int64_t>(options_.replies_max));
    }
    failed_ = true;  // until the burst is through, whatever throws or fails on the way
    std::vector<bool> fresh(burst.size());
    MESH_TRY(const bool any, journal_burst(burst, now, fresh));
    if (any) MESH_CHECK_OK(journal_->sync());
    step(CommitStep::synced);
    std::vector<Reply> replies;
    replies.reserve(burst.size());
    for (std::size_t i = 0; i < burst.size(); ++i) {
      replies.push_back(fresh[i] ? run(burst[i].source, burst[i].command, now)
                                 : remembered(burst[i].source));
    }
    forget_oldest();  // not before: the burst may ask again for one of the oldest
    step(CommitStep::applied);
    failed_ = false;
    return replies;
  }
  Result<Reply> execute(const Request& request, Nanos now) {
    MESH_TRY(std::vector<Reply> replies, execute(std::span(&request, 1), now));
    return std::move(replies.front());
  }
  // Timers change state too: a tick is journaled like a command, and its actions are the host's to
  // perform only when this has returned.
  Status tick(Nanos now, typename Service::Actions& out) {
    if (failed_) return fail(Errc::closed, "journaled service: the journal has failed; open again");
    failed_ = true;
    StateWriter record;
    record.put(RecordKind::tick);
    record.put(now);
    MESH_CHECK_OK(append(record));
    MESH_CHECK_OK(journal_->sync());
    step(CommitStep::synced);
    service_.tick(now, out);
    step(CommitStep::applied);
    failed_ = false;
    return {};
  }
  // Takes a snapshot, so that the journal need not be read from its start.
  Status checkpoint() {
    if (failed_) return fail(Errc::closed, "journaled service: the journal has failed; open again");
    failed_ = true;
    step(CommitStep::before_snapshot);
    StateWriter body;
    body.put(std::span<const std::byte>(service_.snapshot().bytes));
    body.put(static_cast<std::uint32_t>(order_.size()));
    for (const auto& source : order_) {
      body.put(source.station);
      body.put(source.sequence);
      body.put(std::span<const std::byte>(replies_.at(source)));
    }
    const StoredSnapshot stored{last_sequence_, seal_snapshot(kKind, body.bytes())};
    step(CommitStep::snapshot_taken);
    MESH_CHECK_OK(journal_->replace_snapshot(stored));
    step(CommitStep::snapshot_replaced);
    failed_ = false;
    return {};
  }

  [[nodiscard]] const Service& service() const noexcept { return service_; }
  [[nodiscard]] std::uint64_t last_sequence() const noexcept { return last_sequence_; }

 private:
  static constexpr SnapshotKind kKind{"journaled_service", 1};
  enum class RecordKind : std::uint8_t { command, tick };

  struct Replayer final : JournalVisitor {
    explicit Replayer(JournaledService& target) : self(target) {}
    Status visit(std::uint64_t sequence, std::span<const std::byte> record) override {
      return self.replay(sequence, record);
    }
    JournaledService& self;
  };

  JournaledService(const Config& config, Journal& journal, const JournalOptions& options)
      : options_(options), journal_(&journal), service_(config, options.seed) {}

  void step(CommitStep at) const {
    if (options_.at_step != nullptr) options_.at_step(options_.context, at);
  }
  Status append(const StateWriter& record) {
    step(CommitStep::before_journal);
    MESH_TRY(last_sequence_, journal_->append(record.bytes()));
    step(CommitStep::journaled);
    return {};
  }
  // Which of the burst are new; those are appended, and their place among the replies is taken.
  Result<bool> journal_burst(std::span<const Request> burst, Nanos now, std::vector<bool>& fresh) {
    bool any = false;
    for (std::size_t i = 0; i < burst.size(); ++i) {
      fresh[i] = replies_.try_emplace(burst[i].source).second;
      if (!fresh[i]) continue;
      order_.push_back(burst[i].source);
      any = true;
      StateWriter record;
      record.put(RecordKind::command);
      record.put(now);
      record.put(burst[i].source.station);
      record.put(burst[i].source.sequence);
      Service::encode(burst[i].command, record);
      MESH_CHECK_OK(append(record));
    }
    return any;
  }
  Reply run(const CommandSource& source, const Command& command, Nanos now) {
    Reply reply = service_.apply(command, now);
    StateWriter bytes;
    Service::encode(reply, bytes);
    replies_[source] = bytes.take();
    return reply;
  }
  void forget_oldest() {
    while (order_.size() > 2 * options_.replies_max) {
      const auto keep = order_.size() - options_.replies_max;
      for (std::size_t i = 0; i < keep; ++i) replies_.erase(order_[i]);
      order_.erase(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(keep));
    }
  }
  Reply remembered(const CommandSource& source) const {
    StateReader reader(replies_.at(source));
    return Service::decode_reply(reader);
  }
  Status replay(std::uint64_t sequence, std::span<const std::byte> record) {
    StateReader reader(record);
    const auto kind = reader.get_enum(RecordKind::tick);
    const auto now = reader.get<Nanos>();
    last_sequence_ = sequence;
    if (kind == RecordKind::tick) {
      MESH_CHECK_OK(reader.finish("journal: tick"));
      typename Service::Actions lost{};  // performed before the death, or never promised
      service_.tick(now, lost);
      return {};
    }
    CommandSource source;
    reader.get(source.station);
    reader.get(source.sequence);
    const Command command = Service::decode_command(reader);
    MESH_CHECK_OK(reader.finish("journal: command"));
    if (replies_.try_emplace(source).second) order_.push_back(source);
    run(source, command, now);
    forget_oldest();
    return {};
  }
  Status load(const Config& config, const StoredSnapshot& stored) {
    MESH_TRY(const auto body, open_snapshot(kKind, stored.snapshot.bytes));
    StateReader reader(body);
    Snapshot inner;
    const auto bytes = reader.get_bytes();
    inner.bytes.assign(bytes.begin(), bytes.end());
    const std::size_t count = reader.get_count(16);
    for (std::size_t i = 0; i < count; ++i) {
      CommandSource source;
      reader.get(source.station);
      reader.get(source.sequence);
      const auto reply = reader.get_bytes();
      replies_[source].assign(reply.begin(), reply.end());
      order_.push_back(source);
    }
    MESH_CHECK_OK(reader.finish("journaled service: snapshot"));
    MESH_TRY(service_, Service::restore(config, inner));
    last_sequence_ = stored.last_sequence;
    return {};
  }

  JournalOptions options_;
  Journal* journal_;
  Service service_;
  std::uint64_t last_sequence_ = 0;
  bool failed_ = false;
  std::map<CommandSource, std::vector<std::byte>> replies_;
  std::vector<CommandSource> order_;  // oldest first; at most twice replies_max, and a burst
};

}  // namespace mesh::coordination
