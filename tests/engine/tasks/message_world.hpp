// Hosts with a router each, their agents, and a network between them that loses, repeats and turns
// round, on virtual time: what the properties of messages are asserted over.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/engine/tasks/message_kit.hpp"

namespace mesh::tasks::testing {

struct Weather {
  std::uint32_t lost_percent = 0;
  std::uint32_t repeated_percent = 0;
  std::uint32_t refused_percent = 0;  // by its receiver
  std::int64_t delay_ms_max = 50;
  std::uint32_t deaths_percent = 0;  // of a router, each turn
};

class MessageWorld {
 public:
  static constexpr std::uint32_t kHosts = 3;

  MessageWorld(MessageRouterConfig config, const Weather& weather, std::uint64_t seed)
      : weather_(weather), config_(config), rng_(seed) {
    for (std::uint32_t host = 0; host < kHosts; ++host) {
      config_.host = host;
      configs_.push_back(config_);
      routers_.emplace_back(config_, seed + host);
      for (std::uint32_t agent = 0; agent < config.agents_max; ++agent) {
        routers_[host].apply(resident(agent, host_of(agent) == host), now_);
      }
    }
  }

  // `sends` messages at random, as time goes on; then as long until all are done.
  void run(std::size_t sends) {
    for (std::size_t i = 0; i < sends; ++i) {
      const auto agents = std::uint64_t{config_.agents_max};
      auto one = letter(static_cast<std::uint32_t>(rng_.below(agents)),
                        static_cast<std::uint32_t>(rng_.below(agents)), i,
                        static_cast<std::uint32_t>(rng_.below(4)));
      const auto reply = apply(host_of(one.from), one);
      if (reply.refusal == Refusal::none) sent_.insert(reply.id.number);
      turn();
    }
    for (int i = 0; i < 4'000 && !is_quiet(); ++i) turn();
  }
  [[nodiscard]] bool is_quiet() const {
    for (const auto& router : routers_) {
      if (router.in_flight() != 0) return false;
    }
    return on_the_way_.empty();
  }
  // The first thing that must hold and does not; empty: all does.
  [[nodiscard]] std::string judge() const {
    if (!broken_.empty()) return broken_;
    std::uint64_t sent = 0;
    for (const auto& router : routers_) {
      const auto sound = router.verify();
      if (!sound) return sound.error().sentence;
      sent += router.counters().sent;
    }
    if (sent != sent_.size()) return "a message was counted that nobody sent";
    for (const std::uint64_t number : sent_) {
      const auto ended = ended_.find(number);
      const bool is_acked = ended == ended_.end();
      if (!is_acked && ended->second != 1) return "an end was told twice";
      if (!is_acked) continue;
      const auto handed = handed_.find(number);
      if (handed == handed_.end()) return "acknowledged, and never handed over";
      if (handed->second.hands != handed->second.refusals + 1) {
        return "acknowledged, and handed over twice";
      }
      if (!handed->second.acked) return "acknowledged by nobody";
    }
    return "";
  }
  [[nodiscard]] std::uint64_t acked() const { return sent_.size() - ended_.size(); }
  [[nodiscard]] const MessageRouter& router(std::uint32_t host) const { return routers_[host]; }
  [[nodiscard]] std::uint64_t duplicates() const {
    std::uint64_t sum = 0;
    for (const auto& router : routers_) sum += router.counters().duplicates;
    return sum;
  }
  [[nodiscard]] Nanos now() const { return now_; }

 private:
  using Parcel = std::variant<MessageTransfer, MessageAnswer>;
  struct Hands {
    std::uint32_t hands = 0;
    std::uint32_t refusals = 0;
    bool acked = false;
  };
  static std::uint32_t host_of(std::uint32_t agent) { return agent % kHosts; }
  bool happens(std::uint32_t percent) { return rng_.below(100) < percent; }

  MessageReply apply(std::uint32_t host, const MessageCommand& command) {
    MessageReply reply = routers_[host].apply(command, now_);
    note(reply.news);
    for (const auto& answer : reply.answers) post(MessageRouter::host_of(answer.number), answer);
    return reply;
  }
  void note(const std::vector<MessageNews>& news) {
    for (const auto& one : news) ++ended_[one.number];
  }
  void post(std::uint32_t host, const Parcel& parcel) {
    if (happens(weather_.lost_percent)) return;
    for (int copies = happens(weather_.repeated_percent) ? 2 : 1; copies != 0; --copies) {
      const auto delay = rng_.below(static_cast<std::uint64_t>(weather_.delay_ms_max) + 1);
      const Nanos at = now_ + post_ms(static_cast<std::int64_t>(delay));
      on_the_way_.emplace(at, std::pair{host, parcel});
    }
  }
  // One dies, and is there again from its snapshot.
  void restart(std::uint32_t host) {
    auto again = MessageRouter::restore(configs_[host], routers_[host].snapshot());
    if (!again) {
      broken_ = again.error().sentence;
      return;
    }
    routers_[host] = std::move(*again);
  }
  void turn() {
    if (happens(weather_.deaths_percent)) {
      restart(static_cast<std::uint32_t>(rng_.below(kHosts)));
    }
    now_ += post_ms(1 + static_cast<std::int64_t>(rng_.below(30)));
    while (!on_the_way_.empty() && on_the_way_.begin()->first <= now_) {
      const auto [host, parcel] = on_the_way_.begin()->second;
      on_the_way_.erase(on_the_way_.begin());
      if (const auto* transfer = std::get_if<MessageTransfer>(&parcel)) {
        apply(host, message::Receive{*transfer});
      } else {
        apply(host, message::Hear{std::get<MessageAnswer>(parcel)});
      }
    }
    for (std::uint32_t host = 0; host < kHosts; ++host) {
      MessageRouterActions actions;
      routers_[host].tick(now_, actions);
      note(actions.news);
      for (const auto& one : actions.transfers) post(host_of(one.to), one);
      for (const auto& one : actions.answers) post(MessageRouter::host_of(one.number), one);
    }
    for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) serve(agent);
  }
  void serve(std::uint32_t agent) {
    const auto reply = apply(host_of(agent), message::Poll{agent, 4});
    for (const auto& one : reply.deliveries) {
      Hands& hands = handed_[one.id.number];
      if (hands.hands++ == 0) expect_order(one);
      if (happens(weather_.refused_percent)) {
        ++hands.refusals;
        apply(host_of(agent), message::Nack{agent, one.id.number, false});
      } else {
        hands.acked = true;
        apply(host_of(agent), message::Ack{agent, one.id.number});
      }
    }
  }
  void expect_order(const MessageDelivery& one) {
    if (config_.order == MessageOrder::none) return;
    const std::uint32_t lane = config_.order == MessageOrder::causal ? 0 : one.priority;
    std::uint64_t& last = last_[{one.from, one.to, lane}];
    if (one.sequence <= last) broken_ = "a pair's later message came first";
    last = one.sequence;
  }

  Weather weather_;
  MessageRouterConfig config_;
  std::vector<MessageRouterConfig> configs_;
  Rng rng_;
  Nanos now_{0};
  std::vector<MessageRouter> routers_;
  std::multimap<Nanos, std::pair<std::uint32_t, Parcel>> on_the_way_;
  std::set<std::uint64_t> sent_;
  std::map<std::uint64_t, std::uint32_t> ended_;  // told to be dead or expired, how often
  std::map<std::uint64_t, Hands> handed_;
  std::map<std::array<std::uint32_t, 3>, std::uint64_t> last_;  // sequence, of each pair
  std::string broken_;
};

}  // namespace mesh::tasks::testing
