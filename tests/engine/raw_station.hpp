// A station by hand, without the library: it can hand back whatever it likes.
#pragma once

#include "engine/station/control_protocol.hpp"
#include "engine/station/handed_over.hpp"
#include "shm/files.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {

class SocketStation {
 public:
  using Json = nlohmann::json;

  explicit SocketStation(const std::string& directory) : directory_(directory) {
    auto client = engine::ControlClient::connect(directory, {.patience = kForEver});
    EXPECT_TRUE(client.has_value()) << client.error().sentence;
    if (!client) return;
    const auto answer = client->request(attach_request());
    EXPECT_TRUE(answer.has_value()) << answer.error().sentence;
    const Json object = Json::parse(answer.value_or("{}"));
    number_ = object.value("station", 0U);
    again_ = engine::request_of("reattach").value();
    for (const char* const key : {"station", "token", "mesh_uuid"}) again_[key] = object[key];
    auto passed = client->receive_descriptors();
    EXPECT_TRUE(passed.has_value()) << passed.error().sentence;
    if (passed) passed_ = std::move(*passed);
    client_.emplace(std::move(*client));
  }

  static std::string attach_request() {
    Json request = engine::request_of("attach").value();
    request["name"] = "raw";
    request["agents"] = 1;
    return engine::text_of(request);
  }

  [[nodiscard]] unsigned number() const { return number_; }
  [[nodiscard]] int out() const {
    return passed_[static_cast<std::size_t>(engine::StationDescriptor::out)].get();
  }
  [[nodiscard]] int wake() const {
    return passed_[static_cast<std::size_t>(engine::StationDescriptor::station_wake)].get();
  }
  [[nodiscard]] std::size_t out_bytes() const {
    return shm::identity_of(out(), "out").value().size_bytes;
  }
  // Whatever it likes, over its own connection. ok: it was done.
  Error ask(const Json& request, const std::vector<int>& descriptors) {
    const auto answer = client_->request_descriptors(engine::text_of(request), descriptors);
    return answer ? Error{} : answer.error();
  }
  void enrol(const std::string& name) {
    const Json request = {{"op", "enrol"}, {"agents", {{{"name", name}}}}};
    const auto answer = client_->request(request.dump());
    EXPECT_TRUE(answer.has_value()) << answer.error().sentence;
  }
  // The refusal; ok: taken back, and the connection is kept.
  Error come_back(const Json& patch, const std::vector<int>& descriptors) {
    auto client = engine::ControlClient::connect(directory_, {.patience = kForEver});
    EXPECT_TRUE(client.has_value()) << client.error().sentence;
    Json request = again_;
    request.update(patch);
    EXPECT_TRUE(client->send(engine::text_of(request), descriptors).has_value());
    std::optional<engine::ControlAnswer> answer;
    Error refusal;
    EXPECT_TRUE(eventually([&] {
      auto received = client->try_receive();
      if (!received) refusal = received.error();
      if (received && *received) answer = std::move(**received);
      return answer.has_value() || refusal.code != Errc::ok;
    }));
    if (answer) {
      EXPECT_EQ(answer->descriptors.size(), engine::kResumeDescriptors);
      client_.emplace(std::move(*client));
    }
    return refusal;
  }
  Error come_back() { return come_back(Json::object(), {out(), wake()}); }
  void leave() { client_.reset(); }

 private:
  std::string directory_;
  unsigned number_ = 0;
  Json again_;
  std::optional<engine::ControlClient> client_;
  std::vector<shm::Descriptor> passed_;
};

}  // namespace mesh::testing
