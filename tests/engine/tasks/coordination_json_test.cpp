// A manager's config as JSON and as options: what is taken, and what is refused by name.
#include "engine/tasks/coordination_json.hpp"

#include <gtest/gtest.h>

#include "engine/tasks/coordination_manager.hpp"

namespace mesh::tasks {
namespace of_coordination_json_test {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

std::string refusal_of(std::string_view json, Errc code = Errc::invalid_config) {
  const auto config = coordination_config_of(json);
  if (config) return "taken";
  EXPECT_EQ(config.error().code, code) << json;
  return config.error().sentence;
}
bool has(const std::string& sentence, std::string_view part) {
  return sentence.find(part) != std::string::npos;
}

TEST(CoordinationJson, AnUnknownKeyIsRefusedByName) {
  EXPECT_TRUE(has(refusal_of(R"({"maxRetry": 3})"), "no key maxRetry"));
  EXPECT_TRUE(has(refusal_of(R"({"messages": {"queue_maxx": 3}})"), "no key messages.queue_maxx"));
  EXPECT_TRUE(has(refusal_of(R"({"mesages": {}})"), "no key mesages"));
}

TEST(CoordinationJson, WhatIsOfAnotherTypeOrOutsideItsRangeIsRefusedByName) {
  EXPECT_TRUE(has(refusal_of(R"({"maxRetries": "3"})"), "maxRetries"));
  EXPECT_TRUE(has(refusal_of(R"({"maxRetries": -1})"), "maxRetries"));
  EXPECT_TRUE(has(refusal_of(R"({"maxRetries": 1.5})"), "maxRetries"));
  EXPECT_TRUE(has(refusal_of(R"({"maxRetries": 4294967296})"), "maxRetries"));
  EXPECT_TRUE(has(refusal_of(R"({"maxRetries": 101})"), "retries_max"));
  EXPECT_TRUE(has(refusal_of(R"({"retryDelay": 0})"), "retry_delay_ns"));
  EXPECT_TRUE(has(refusal_of(R"({"retryDelay": 600001})"), "retry_delay_ns"));
  EXPECT_TRUE(has(refusal_of(R"({"deadlockDetection": 1})"), "deadlockDetection"));
  EXPECT_TRUE(has(refusal_of(R"({"messages": {"order": "sometimes"}})"), "messages.order"));
  EXPECT_TRUE(has(refusal_of(R"({"messages": 3})"), "messages"));
  EXPECT_TRUE(has(refusal_of(R"({"messages": {"queue_max": 0}})"), "messages: "));
  EXPECT_TRUE(has(refusal_of(R"({"preset": 3})"), "preset"));
  EXPECT_TRUE(has(refusal_of("[]"), "object"));
  refusal_of(R"({"preset": "moon"})", Errc::unknown_preset);
  refusal_of("{", Errc::bad_input);
}

TEST(CoordinationJson, IsTakenOverItsPreset) {
  const auto config = coordination_config_of(R"({
    "preset": "pi4b", "maxRetries": 5, "retryDelay": 250, "deadlockDetection": false,
    "resourceTimeout": 1000, "messageTimeout": 2000, "drain_ms": 7,
    "tasks": {"strategy": "round-robin", "durable": false},
    "messages": {"order": "causal", "ack": "received", "overflow": "dlq", "ttl_ms": 9}
  })");
  ASSERT_TRUE(config) << config.error().sentence;
  EXPECT_EQ(config->retries_max, 5U);
  EXPECT_EQ(config->retry_delay_ns, ms(250));
  EXPECT_FALSE(config->deadlock_detection);
  EXPECT_EQ(config->resource_timeout_ns, ms(1'000));
  EXPECT_EQ(config->message_timeout_ns, ms(2'000));
  EXPECT_EQ(config->drain_ns, ms(7));
  EXPECT_EQ(config->tasks.strategy, Strategy::round_robin);
  EXPECT_FALSE(config->tasks.durable);
  EXPECT_EQ(config->messages.order, MessageOrder::causal);
  EXPECT_EQ(config->messages.ack, MessageAck::received);
  EXPECT_EQ(config->messages.overflow, MessageOverflow::dlq);
  EXPECT_EQ(config->messages.ttl_ns, ms(9));
  EXPECT_EQ(config->clock_ns, ms(1)) << "of the preset";
  EXPECT_EQ(coordination_config_of("{}")->tasks.tasks_max,
            CoordinationConfig::preset("production")->tasks.tasks_max);
}

TEST(CoordinationJson, AnOptionIsOneKeyAndOneValue) {
  CoordinationConfig config;
  EXPECT_TRUE(set_coordination_option(config, "messages.queue_max=77"));
  EXPECT_TRUE(set_coordination_option(config, "maxRetries=9"));
  EXPECT_TRUE(set_coordination_option(config, "tasks.strategy=least-loaded"));
  EXPECT_EQ(config.messages.queue_max, 77U);
  EXPECT_EQ(config.retries_max, 9U);
  EXPECT_EQ(config.tasks.strategy, Strategy::least_loaded);
  for (const char* wrong : {"maxRetries", "maxRetries=", "maxRetries=x", "a=1", "messages.a=1",
                            "messages.queue_max=0", "tasks.strategy=best"}) {
    const auto status = set_coordination_option(config, wrong);
    ASSERT_FALSE(status) << wrong;
    EXPECT_EQ(status.error().code, Errc::invalid_config) << wrong;
  }
  EXPECT_EQ(config.messages.queue_max, 77U) << "as it was";
}

TEST(CoordinationJson, EveryPresetIsOne) {
  for (const auto name : CoordinationConfig::names()) {
    EXPECT_TRUE(coordination_config_of("{\"preset\": \"" + std::string(name) + "\"}")) << name;
  }
}

}  // namespace of_coordination_json_test
}  // namespace mesh::tasks
