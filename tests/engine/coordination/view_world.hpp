// A network of members with a plain consensus on top, some of them faulty: messages are lost,
// doubled, late and out of order until an instant that nobody knows; from then on each arrives
// within delta. Everything follows from the plan and its seed.
//
// What is watched from outside: no honest member enters a view without a certificate that votes or
// timeouts which really left could make; none goes back; none says two things.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/coordination/view_kit.hpp"

namespace mesh::coordination::testing {

struct ViewPlan {
  std::uint64_t members = 4;
  std::uint64_t faulty = 1;
  bool is_noisy = true;              // the faulty ones lie; else they are silent
  Nanos stable{3'000'000'000};       // from here on all is well
  std::uint32_t loss_ppm = 500'000;  // before
  std::uint32_t loss_after_ppm = 0;  // for ever
  std::uint32_t deaths_ppm = 0;      // of a command, or a tick
  std::uint64_t seed = 1;
  ViewSyncConfig config;
};

// A member as a host runs it, with deaths at the steps of its commit.
class MortalViews {
 public:
  using Journaled = JournaledService<ViewSynchronizer>;

  MortalViews(const ViewSyncConfig& config, std::uint64_t seed) : config_(config), seed_(seed) {
    open();
  }
  // Empty: it died, and is back; the command has left its traces or has not.
  std::optional<ViewReply> apply(const ViewCommand& command, Nanos now, std::size_t death) {
    left_ = death;
    try {
      auto reply = views_->execute({{1, ++sequence_}, command}, now).value();
      if (sequence_ % 50 == 0) {
        EXPECT_TRUE(views_->checkpoint());
      }
      left_ = 0;
      return reply;
    } catch (const Death&) {
      die();
    }
    return std::nullopt;
  }
  bool tick(Nanos now, ViewSyncActions& out, std::size_t death) {
    left_ = death;
    try {
      EXPECT_TRUE(views_->tick(now, out));
      left_ = 0;
      return true;
    } catch (const Death&) {
      die();
    }
    return false;
  }
  [[nodiscard]] const ViewSynchronizer& service() const { return views_->service(); }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  void die() {
    ++deaths_;
    left_ = 0;
    journal_->crash(journal_->unsynced_bytes() / 2);
    open();
  }
  void open() {
    JournalOptions options;
    options.seed = seed_;
    options.replies_max = 16;
    options.context = this;
    options.at_step = [](void* self, CommitStep) {
      auto& left = static_cast<MortalViews*>(self)->left_;
      if (left != 0 && --left == 0) throw Death{};
    };
    auto opened = Journaled::open(config_, *journal_, options);
    ASSERT_TRUE(opened) << opened.error().sentence;
    views_.emplace(std::move(*opened));
  }

  ViewSyncConfig config_;
  std::uint64_t seed_;
  std::unique_ptr<MemoryJournal> journal_ = std::make_unique<MemoryJournal>();
  std::optional<Journaled> views_;
  std::uint64_t sequence_ = 0;
  std::size_t left_ = 0;
  std::uint64_t deaths_ = 0;
};

class ViewWorld {
 public:
  explicit ViewWorld(const ViewPlan& plan);

  // Until `rounds` more views have succeeded with all honest members in them, or `end`.
  void run(std::uint64_t rounds, Nanos end);
  // Of the first certificate of a view that none was beyond when all was well, after the last
  // message from before had arrived: how long after that instant. None: -1.
  [[nodiscard]] std::int64_t first_qc_ns() const { return first_qc_ns_; }
  [[nodiscard]] std::uint64_t rounds() const { return rounds_; }
  // Messages of the synchronizers alone: timeouts, their certificates, wishes, help.
  [[nodiscard]] std::uint64_t sync_sent() const { return sync_sent_; }
  [[nodiscard]] std::uint64_t certified() const { return certified_.size(); }
  // That a timeout ended, as seen by whoever has seen most of them.
  [[nodiscard]] std::uint64_t lost_views() const;
  [[nodiscard]] std::uint64_t violations() const { return violations_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  [[nodiscard]] std::uint64_t deaths() const;
  [[nodiscard]] std::uint64_t highest_view() const;
  // The same for the same plan: every message that arrives, when and to whom.
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  void verify() const;

 private:
  enum class Kind : std::uint8_t { sync, proposal, vote, qc, new_view };
  struct Packet {
    Kind kind = Kind::sync;
    std::uint64_t from = 0;
    std::uint64_t view = 0;
    BlockHash block{};
    QuorumCertificate qc;
    TimeoutCertificate tc;
    std::vector<std::byte> signature;
    ViewSend sync;
  };
  using Shared = std::shared_ptr<const Packet>;
  struct Event {
    std::int64_t at_ns = 0;
    std::uint64_t order = 0;
    std::uint64_t to = 0;
    Shared packet;                              // none: its timer
    bool operator<(const Event& other) const {  // the earliest is on top
      return std::pair{at_ns, order} > std::pair{other.at_ns, other.order};
    }
  };
  using Voters = std::map<std::uint64_t, std::vector<std::byte>>;
  struct Node {
    bool is_faulty = false;
    std::unique_ptr<ViewSynchronizer> plain;
    std::unique_ptr<MortalViews> views;
    std::uint64_t view = 0;
    std::int64_t timer_ns = -1;
    // What its consensus remembers: lost in a death.
    std::uint64_t proposed = 0;  // view + 1
    Shared proposal;
    std::map<std::pair<std::uint64_t, BlockHash>, Voters> votes;
    // What left it, as the world knows: by level, so view + 1.
    std::uint64_t voted = 0;
    BlockHash voted_block{};
    std::uint64_t gave_up = 0;
    std::uint64_t gave_up_rank = 0;
    // What a faulty one has picked up.
    std::vector<Shared> heard;
    std::map<std::uint64_t, std::map<std::uint64_t, Timeout>> timeouts;
  };

  static const ViewSynchronizer& views(const Node& node);
  std::uint64_t below(std::uint64_t n) { return rng_.below(n); }
  bool chance(std::uint32_t ppm) { return ppm != 0 && below(1'000'000) < ppm; }
  [[nodiscard]] bool is_well() const { return now_ns_ >= plan_.stable.count(); }
  [[nodiscard]] std::uint64_t quorum() const;

  // --- members ---------------------------------------------------------------------------------

  void start(std::uint64_t i);
  // A command, or with none a tick. False: the member died of it.
  bool apply(std::uint64_t i, const ViewCommand& command, std::uint64_t at_ns);
  std::optional<ViewReply> act(std::uint64_t i, const ViewCommand* command);
  std::optional<ViewReply> die(Node& node, std::uint64_t i);
  // What a step has made of a member: what leaves it, where it is now.
  void settle(std::uint64_t i, const std::vector<ViewSend>& sends);
  void look(std::uint64_t i);
  void wake(std::uint64_t i);

  // --- the consensus on top --------------------------------------------------------------------

  void propose(std::uint64_t i);
  void vote(std::uint64_t i, const Packet& proposal);
  void collect(std::uint64_t i, const Packet& vote);
  static QuorumCertificate certificate(std::uint64_t view, const BlockHash& block,
                                       const Voters& voters);

  // --- the network -----------------------------------------------------------------------------

  void broadcast(Packet packet);
  void send(std::uint64_t to, const Shared& packet);
  void arrive(std::uint64_t to, const Shared& packet, std::uint64_t after_ns);
  void deliver(std::uint64_t to, const Shared& packet);

  // --- who lies --------------------------------------------------------------------------------

  void overhear(std::uint64_t i, const Shared& packet);
  std::uint64_t victim();
  void lie(std::uint64_t i);
  Packet sync_packet(std::uint64_t i, ViewSendKind kind) const;
  // In its own name it says whatever it likes.
  void lie_timeout(std::uint64_t i);
  void sign_timeout(Timeout& timeout) const;
  std::vector<std::byte> signature_of(std::uint64_t agent, const SignedBytes& bytes) const;
  [[nodiscard]] std::uint64_t epoch_hash() const;
  // All that are faulty vote for whatever is asked for: a certificate, given to one member alone.
  void tell_one_qc(std::uint64_t i);
  void tell_one_tc(std::uint64_t i);
  // With signers that never signed it, it shows nothing: repeated ones, too few, too much weight.
  void forge(std::uint64_t i);
  void lie_vote(std::uint64_t i);
  // A leader that shows each half another block, or says nothing.
  void two_faced(std::uint64_t i, std::uint64_t view);

  // --- what is watched -------------------------------------------------------------------------

  void note_own_timeout(Node& node, std::uint64_t i);
  void note_timeout(Node& node, const Timeout& timeout);
  // By votes of the view before, or by timeouts of one that leads here, that were really cast.
  [[nodiscard]] bool is_justified(std::uint64_t view) const;
  // Whoever is faulty would have signed that, too.
  [[nodiscard]] std::uint64_t with_faulty(std::set<std::uint64_t> signers) const;
  void note_qc(std::uint64_t i);
  // An honest leader has its quorum: does every honest member stand in its view?
  void note_round(std::uint64_t view);

  ViewPlan plan_;
  Rng rng_;
  std::vector<std::uint64_t> order_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::priority_queue<Event> events_;
  std::uint64_t order_number_ = 0;
  std::int64_t now_ns_ = 0;
  std::map<std::pair<std::uint64_t, BlockHash>, std::set<std::uint64_t>> really_voted_;
  std::map<std::uint64_t, std::set<std::uint64_t>> really_gave_up_;
  std::map<std::uint64_t, std::uint64_t> leaders_;
  std::set<std::uint64_t> certified_;
  bool is_born_ = false;
  bool was_well_ = false;
  std::uint64_t view_when_well_ = 0;
  std::int64_t first_qc_ns_ = -1;
  std::uint64_t rounds_ = 0;
  std::uint64_t sync_sent_ = 0;
  std::uint64_t violations_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t trace_ = 0;
};

}  // namespace mesh::coordination::testing
