#include "engine/station/reattachment.hpp"

#include <utility>

namespace mesh::engine {

Reattachment::Step Reattachment::refuse(Error reason) {
  client_.reset();
  reason_ = std::move(reason);
  return Step::kRefused;
}

Status Reattachment::connect() {
  MESH_TRY(ControlClient client,
           ControlClient::connect_at_once(options_.directory, options_.connect));
  MESH_CHECK_OK(client.send(options_.request, options_.given_back));
  client_.emplace(std::move(client));
  return {};
}

Reattachment::Step Reattachment::step(std::int64_t now_ns) {
  if (client_) {
    auto answer = client_->try_receive();
    if (answer && *answer) {
      descriptors_ = std::move((*answer)->descriptors);
      return Step::kBack;
    }
    if (!answer) {
      if (!may_pass(answer.error().code)) return refuse(answer.error());
      client_.reset();  // that one died, too
      next_try_ns_ = now_ns + kSeekEvery.count();
    }
  } else if (now_ns >= next_try_ns_) {
    next_try_ns_ = now_ns + kSeekEvery.count();
    const Status connected = connect();
    if (!connected && !may_pass(connected.error().code) &&
        connected.error().code != Errc::not_ready) {
      return refuse(connected.error());
    }
  }
  if (now_ns < options_.until_ns) return Step::kSeeking;
  return refuse(
      {Errc::closed, 0,
       "station: its engine in " + options_.directory + " is gone, and no other came in time"});
}

}  // namespace mesh::engine
