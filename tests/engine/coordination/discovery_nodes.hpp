// Nodes of a service registry, what they register, and word between them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination::testing::nodes {

using Discovery = ServiceDiscovery;

constexpr Nanos seconds(double count) {
  return Nanos{static_cast<std::int64_t>(count * static_cast<double>(kNsPerSecond))};
}

inline DiscoveryConfig small_config(std::uint64_t self = 1) {
  DiscoveryConfig config;
  config.self = self;
  config.instances_max = 16;
  config.types_max = 4;
  config.peers_max = 4;
  config.changes_max = 8;
  config.store_bytes = 16'000;
  config.events_max = 16;
  return config;
}

inline discovery::Register offer(std::string instance, std::string type = "agent.compute") {
  discovery::Register one;
  one.instance = std::move(instance);
  one.type = std::move(type);
  one.name = "GPT Worker";
  one.endpoint = "tls://10.0.0.7:4433";
  one.version = "1.2.0";
  one.locality = {"us-east", "a", ""};
  return one;
}

inline ServiceRecord record(std::string instance, const RecordOrder& order,
                            std::uint32_t load_ppm = 0) {
  ServiceRecord one;
  one.content.instance = std::move(instance);
  one.content.type = "agent.compute";
  one.order = order;
  one.left = seconds(15);
  if (order.is_tombstone) return one;
  one.content.version = "1.2.0";
  one.content.load_ppm = load_ppm;
  one.content.lease = seconds(15);
  return one;
}

inline discovery::Hear delta(std::uint64_t peer, std::vector<ServiceRecord> records) {
  discovery::Hear heard;
  heard.peer = peer;
  heard.message.kind = SyncKind::delta;
  heard.message.records = std::move(records);
  return heard;
}

struct Exchange {
  std::size_t messages = 0;
  std::size_t digests = 0;
  std::size_t records = 0;
};
// `a` compares itself with `b`, and both talk until there is nothing to say.
inline Exchange exchange(Discovery& a, Discovery& b, Nanos now) {
  Exchange done;
  SyncMessage message;
  message.kind = SyncKind::root;
  message.root = a.digest();
  Discovery* from = &a;
  Discovery* to = &b;
  while (message.kind != SyncKind::none && done.messages < 10'000) {
    ++done.messages;
    done.digests += message.kind == SyncKind::root ? 1U : 0U;
    done.digests += message.rows.size() * MerkleMap::kFan;
    done.records += message.records.size();
    const auto reply = to->apply(discovery::Hear{from->config().self, std::move(message)}, now);
    EXPECT_EQ(name_of(reply.code), "ok");
    message = reply.answer;
    std::swap(from, to);
  }
  return done;
}

}  // namespace mesh::coordination::testing::nodes
