// Two hosts with an agent each. A request is lost on its way and sent again; the answer comes back;
// a message to an agent that does not poll yet waits for it; subscribers hear of a topic.
#include "engine/tasks/message_router.hpp"

#include <cstdio>

namespace {

using namespace mesh;
using namespace mesh::tasks;

MessageRouter host_of(std::uint32_t host) {
  auto config = MessageRouterConfig::preset("standard").value();
  config.host = host;
  MessageRouter router(config, 7 + host);
  for (std::uint32_t agent = 0; agent < 3; ++agent) {  // agent 0 on host 0, the others on host 1
    message::RegisterAgent one;
    one.agent = agent;
    one.here = (agent == 0) == (host == 0);
    router.apply(one, Nanos{0});
  }
  return router;
}

}  // namespace

int main() {
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  MessageRouter here = host_of(0);
  MessageRouter there = host_of(1);
  MessageRouterActions actions;

  message::Request question;
  question.send.to = 1;
  question.send.payload = 41;
  here.apply(question, ms(0));
  here.tick(ms(0), actions);  // this transfer is lost
  int sent = static_cast<int>(actions.transfers.size());
  here.tick(actions.next_tick, actions);
  sent += static_cast<int>(actions.transfers.size());
  for (int copy = 0; copy < 2; ++copy) {  // and this one comes twice
    there.apply(message::Receive{actions.transfers.at(0)}, ms(1'000));
  }
  const auto asked = there.apply(message::Poll{1, 8}, ms(1'000)).deliveries;
  message::Respond answer;
  answer.send.from = 1;
  answer.send.to = 0;
  answer.send.payload = asked.at(0).payload + 1;
  answer.send.correlation = asked.at(0).id.number;
  there.apply(answer, ms(1'001));
  const auto done = there.apply(message::Ack{1, asked.at(0).id.number}, ms(1'001));
  there.tick(ms(1'001), actions);
  here.apply(message::Hear{done.answers.at(0)}, ms(1'002));
  here.apply(message::Receive{actions.transfers.at(0)}, ms(1'002));
  const auto heard = here.apply(message::Poll{0, 8}, ms(1'002)).deliveries;

  there.apply(message::Subscribe{2, "sector.*.alerts"}, ms(2'000));
  message::Publish alert;
  alert.send.from = 1;
  alert.topic = "sector.7.alerts";
  there.apply(alert, ms(2'000));
  const auto late = there.apply(message::Poll{2, 8}, ms(20'000));
  std::printf("sent %d times, handed over %d time; the answer is %d; polled 18 s later: %d alert\n",
              sent, static_cast<int>(asked.size()), static_cast<int>(heard.at(0).payload),
              static_cast<int>(late.count));
  return here.verify() && there.verify() && here.in_flight() == 0 ? 0 : 1;
}
