#include "examples/document_mill_host.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/coordination/blocks/hash_chain.hpp"

namespace mill {
namespace {

using namespace mesh;
using namespace mesh::coordination;
using mesh::tasks::DependencyGraph;
using mesh::tasks::DependencyGraphConfig;
using mesh::tasks::EventBus;
using mesh::tasks::EventBusConfig;
using mesh::tasks::EventName;
namespace graph = mesh::tasks::graph;

constexpr std::uint32_t kDeathsMax = 16;  // of one seat: then it stays empty
constexpr Nanos kPatience{60 * kNsPerSecond};
constexpr Nanos kBidding{kNsPerSecond};  // who is dead is not waited for, who has stopped is

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr std::uint64_t bit(Kind kind) { return std::uint64_t{1} << static_cast<unsigned>(kind); }

DependencyGraphConfig graph_config() {
  DependencyGraphConfig config;
  config.tasks_max = 4'096;
  config.edges_max = 16'384;
  return config;
}
LockManagerConfig lock_config(const Plan& plan) {
  auto config = LockManagerConfig::preset("fast-locks").value();
  config.lease_ns = ms(plan.lease_ms);
  config.resources_max = config.locks_max = 4'096;
  return config;
}
ExactlyOnceQueueConfig queue_config(const Plan& plan) {
  ExactlyOnceQueueConfig config;
  config.capacity = config.dedup_capacity = 2'048;
  config.expected_rate_per_s = 0;
  config.visibility_ns = ms(plan.lease_ms);
  config.attempts_max = 20;
  config.poison_stations = 0;  // a crash says more of a worker than of its task, here
  config.store_bytes = 1U << 20;
  return config;
}
EventBusConfig bus_config() {
  EventBusConfig config;
  config.records_max = 4'096;
  config.names_max = 1'024;
  return config;
}
TaskAuctionConfig auction_config() {
  auto config = TaskAuctionConfig::preset("fast-dispatch").value();
  config.rules.timeout_ns = kBidding;
  config.terms.w_latency = 0;
  return config;
}

// What is a mistake in this program, and no news of the world.
void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "document_mill: %s\n", what);
  std::exit(3);
}

}  // namespace

Mill::Mill(const Plan& plan)
    : plan_(plan),
      graph_(graph_config()),
      auction_(auction_config()),
      locks_(lock_config(plan)),
      bus_(bus_config()) {
  void* const shared = ::mmap(nullptr, sizeof(TrialsDone), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  expect(shared != MAP_FAILED, "no memory");
  trials_ = new (shared) TrialsDone;
  std::filesystem::create_directories(plan_.output / "parts");
  for (Line& one : lines_) one.queue.emplace(queue_config(plan_));
  for (const auto name : kKindNames) {
    auction_.apply(auction::AddCapability{std::string(name)}, now());
  }
  static_cast<void>(bus_.on("*", [this](const tasks::EventRecord& event, std::string_view) {
    ++heard_[std::string(tasks::name_of(static_cast<EventName>(event.kind)))];
  }));
}

Mill::~Mill() {
  for (const Seat& seat : seats_) {
    if (seat.pid == 0) continue;
    ::kill(seat.pid, SIGKILL);
    ::waitpid(seat.pid, nullptr, 0);
  }
  ::munmap(trials_, sizeof(TrialsDone));
}

Nanos Mill::now() const {
  return std::chrono::duration_cast<Nanos>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string Mill::name_of(const Seat& seat) const {
  return std::string(kKindNames[static_cast<std::size_t>(seat.kind)]) + "-" +
         std::to_string(number(seat) % plan_.workers_each + 1);
}

void Mill::emit(EventName name, const Seat* seat, std::uint64_t task) {
  EventBus::Note note;
  note.name = name;
  note.source = seat == nullptr ? 0 : number(*seat);
  note.a = task;
  expect(bus_.emit(note, now()).code == Errc::ok, "an event was refused");
}

// --- tasks -------------------------------------------------------------------------------------

// Of each document a hash and a summary, a page of both, and an index of all pages.
void Mill::add_tasks() {
  std::vector<std::uint64_t> pages;
  for (std::uint32_t i = 0; i < plan_.count(); ++i) {
    const auto hash = id_of({Kind::hasher, i});
    const auto summary = id_of({Kind::summariser, i});
    pages.push_back(id_of({Kind::binder, i}));
    for (const auto id : {hash, summary}) graph_.apply(graph::AddTask{id, {}}, now());
    graph_.apply(graph::AddTask{pages.back(), {hash, summary}}, now());
  }
  const auto index = id_of({Kind::binder, plan_.count()});
  const auto added = graph_.apply(graph::AddTask{index, pages}, now());
  expect(added.code == Errc::ok, "the graph has no room for the tasks");
  for (const auto task : graph_.ready()) accept(task);
}

void Mill::accept(std::uint64_t task) {
  once::Enqueue order;
  order.id = plan_.output_name(task_of(task));
  order.payload.resize(sizeof(task));
  std::memcpy(order.payload.data(), &task, sizeof(task));
  const auto reply = line(task_of(task).kind).queue->apply(order, now());
  expect(reply.code == Errc::ok, "a task was not accepted, or came twice");
  emit(EventName::task_created, nullptr, task);
}

bool Mill::is_done() const { return graph_.stats().completed == graph_.stats().tasks; }

// --- workers -----------------------------------------------------------------------------------

void Mill::start(Seat& seat) {
  std::array<int, 2> ends{};
  expect(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()) == 0, "no sockets left");
  const pid_t mill = ::getpid();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  expect(pid >= 0, "no processes left");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != mill) std::_Exit(1);
    ::close(ends[0]);
    for (const Seat& other : seats_) {
      if (other.socket >= 0) ::close(other.socket);
    }
    const bool fails = plan_.failing == static_cast<std::int32_t>(seat.kind) &&
                       number(seat) % plan_.workers_each == 0;
    std::_Exit(work(plan_, {seat.kind, number(seat), ends[1], fails}, *trials_));
  }
  ::close(ends[1]);
  seat.pid = pid;
  seat.socket = ends[0];
  seat.station = ++last_station_;
  seat.state = State::joining;
  seat.breaker.emplace(CircuitBreakerConfig::preset("agent-call").value());
  auction_.apply(auction::SetAgent{number(seat), bit(seat.kind), 0}, now());
}

// It is dead, whatever it was doing: nothing of it stays but its part file, which nobody reads.
void Mill::bury(Seat& seat) {
  ::close(seat.socket);
  ::waitpid(seat.pid, nullptr, 0);
  seat.pid = 0;
  seat.socket = -1;
  if (ending_) return;
  ++seat.deaths;
  emit(EventName::agent_unregistered, &seat, seat.task);
  Line& its = line(seat.kind);
  if (seat.state == State::bidding && its.awaited != 0) --its.awaited;
  if (seat.state == State::working) emit(EventName::task_retried, &seat, seat.task);
  free(seat, CallOutcome::fail);
  seat.state = State::away;
  its.queue->apply(once::StationClosed{seat.station}, now());
  hear_locks(locks_.apply(lock::StationClosed{seat.station}, now()).news);
  if (seat.deaths < kDeathsMax) start(seat);
}

// Its call is over; who holds nothing is idle again.
void Mill::free(Seat& seat, CallOutcome outcome) {
  if (seat.state == State::working) {
    const auto before = seat.breaker->state();
    seat.breaker->apply(breaker::Record{seat.permit, outcome, ms(1), Nanos{0}}, now());
    if (seat.breaker->state() != before) {
      emit(EventName::circuitbreaker_state_change, &seat, seat.task);
    }
  }
  seat.state = State::idle;
  seat.task = seat.fence = seat.lock_ticket = seat.lock_grant = 0;
}

// --- who does what -----------------------------------------------------------------------------

bool Mill::is_eligible(const Seat& seat, Kind kind) const {
  return seat.kind == kind && seat.state == State::idle && seat.breaker->view().is_passable();
}

// One auction a kind at a time, for the task that its queue would give out next.
void Mill::offer(Kind kind) {
  Line& its = line(kind);
  const bool any = std::any_of(seats_.begin(), seats_.end(),
                               [&](const Seat& one) { return is_eligible(one, kind); });
  if (!any || its.queue->view().counts.ready == 0) return;
  const std::string id =
      std::string(kKindNames[static_cast<std::size_t>(kind)]) + " " + std::to_string(++its.rounds);
  const auto opened = auction_.apply(auction::Open{id, bit(kind)}, now());
  expect(opened.code == Errc::ok, "an auction could not be opened");
  its.auction = opened.auction;
  its.ends = now() + kBidding;
  its.is_open = true;
  its.awaited = 0;
  emit(EventName::auction_opened, nullptr, its.auction);
  for (Seat& seat : seats_) {
    if (!is_eligible(seat, kind)) continue;
    seat.state = State::bidding;
    ++its.awaited;
    send_message(seat.socket, {.say = Say::offer, .task = its.auction});
  }
}

void Mill::on_bid(Seat& seat, const Message& bid) {
  Line& its = line(seat.kind);
  const bool counts = seat.state == State::bidding && its.is_open && bid.task == its.auction;
  if (seat.state == State::bidding) seat.state = State::idle;
  if (!counts) return;  // it slept through the auction
  --its.awaited;
  ++seat.bids;
  auction_.apply(auction::Bid{its.auction, number(seat), bid.price, Nanos{0}}, now());
  emit(EventName::auction_bid, &seat, its.auction);
}

// Who has not bid by now is left out, and may be gone.
void Mill::settle(Kind kind) {
  Line& its = line(kind);
  if (its.awaited != 0 && now() < its.ends) return;
  const auto reply = auction_.apply(auction::Resolve{its.auction, true}, now());
  auction_.apply(auction::Forget{its.auction}, now());
  its.is_open = false;
  emit(EventName::auction_resolved, nullptr, its.auction);
  if (reply.winners.empty()) return;
  Seat& winner = seats_.at(reply.winners[0].agent);
  if (winner.state == State::idle) award(kind, winner);
}

void Mill::award(Kind kind, Seat& seat) {
  const auto permit = seat.breaker->apply(breaker::Allow{seat.station}, now());
  if (permit.refusal != Refusal::none) return;
  const auto claim =
      line(kind).queue->apply(once::Claim{name_of(seat), seat.station, 1, false}, now());
  if (claim.tasks.empty()) return;
  seat.permit = permit.permit;
  seat.state = State::working;
  std::memcpy(&seat.task, claim.tasks[0].payload.data(), sizeof(seat.task));
  seat.fence = claim.tasks[0].fence;
  ++seat.won;
  emit(EventName::task_assigned, &seat, seat.task);
  send_message(seat.socket, {.say = Say::work, .task = seat.task, .fence = seat.fence});
}

// --- outputs -----------------------------------------------------------------------------------

void Mill::on_lock_wanted(Seat& seat, const Message& want) {
  if (seat.state != State::working || want.fence != seat.fence) return;
  lock::Acquire order;
  order.agent = number(seat);
  order.resource = plan_.output_name(task_of(want.task));
  order.timestamp = now();
  order.station = seat.station;
  const auto reply = locks_.apply(order, now());
  emit(EventName::resource_requested, &seat, want.task);
  hear_locks(reply.news);
  seat.lock_ticket = reply.ticket;
  if (reply.refusal != Refusal::none) return;  // until its holder's lease is over
  const std::array<LockNews, 1> granted{
      {{LockNotice::granted, number(seat), seat.station, 0, reply.grant, reply.fence, {}}}};
  hear_locks(granted);
}

void Mill::hear_locks(std::span<const LockNews> news) {
  for (const LockNews& one : news) {
    Seat& seat = seats_.at(one.agent);
    const bool is_its = one.kind == LockNotice::granted && seat.station == one.station &&
                        seat.state == State::working && one.ticket == seat.lock_ticket;
    if (!is_its) continue;
    seat.lock_grant = one.grant;
    emit(EventName::resource_acquired, &seat, seat.task);
    send_message(seat.socket,
                 {.say = Say::locked, .task = seat.task, .fence = seat.fence, .token = one.fence});
  }
}

// The one place where a result comes to count. The token says that no later holder of the lock has
// been there, the fence that the task is nobody else's; the digest, that the part file is whole.
void Mill::on_done(Seat& seat, const Message& done) {
  const Task task = task_of(done.task);
  const std::string output = plan_.output_name(task);
  const std::string content = read_file(plan_.part(task, done.token));
  const bool is_whole = sha256(std::as_bytes(std::span(content))) == done.digest;
  Errc code = is_whole ? locks_.apply(lock::Validate{output, done.token}, now()).code
                       : Errc::verification_failed;
  if (code == Errc::ok) {
    const std::vector<std::byte> digest(done.digest.begin(), done.digest.end());
    code = line(task.kind).queue->apply(once::Complete{output, done.fence, digest}, now()).code;
  }
  if (code == Errc::ok) {
    commit(done);
    ++seat.done;
    emit(EventName::task_completed, &seat, done.task);
  } else {
    ++refused_;
    std::filesystem::remove(plan_.part(task, done.token));
  }
  if (seat.fence == done.fence) {
    if (seat.lock_grant != 0) {
      const auto released = locks_.apply(lock::Release{seat.lock_grant, seat.station}, now());
      if (released.code == Errc::ok) emit(EventName::resource_released, &seat, done.task);
      hear_locks(released.news);
    }
    free(seat, code == Errc::ok ? CallOutcome::ok : CallOutcome::timeout);
  }
  send_message(seat.socket, {.say = code == Errc::ok ? Say::committed : Say::refused});
}

void Mill::commit(const Message& done) {
  const Task task = task_of(done.task);
  const std::string output = plan_.output_name(task);
  std::filesystem::rename(plan_.part(task, done.token), plan_.output / output);
  std::ofstream(plan_.output / "ledger.txt", std::ios::app)
      << output << ' ' << to_hex(done.digest) << '\n';
  results_.emplace(output, to_hex(done.digest));
  ++committed_;
  for (const auto next : graph_.apply(graph::MarkCompleted{done.task}, now()).ready) accept(next);
}

void Mill::on_failed(Seat& seat, const Message& failed) {
  if (seat.state != State::working || seat.fence != failed.fence) return;
  const std::string output = plan_.output_name(task_of(failed.task));
  line(seat.kind).queue->apply(once::Nack{output, failed.fence, false, ms(2)}, now());
  hear_locks(locks_.apply(lock::Release{seat.lock_grant, seat.station}, now()).news);
  ++seat.failed;
  emit(EventName::task_failed, &seat, failed.task);
  free(seat, CallOutcome::fail);
}

void Mill::hear(Seat& seat, const Message& message) {
  switch (message.say) {
    case Say::joined:
      emit(EventName::agent_registered, &seat, 0);
      seat.state = State::idle;
      break;
    case Say::bid:
      return on_bid(seat, message);
    case Say::want_lock:
      return on_lock_wanted(seat, message);
    case Say::done:
      return on_done(seat, message);
    case Say::failed:
      return on_failed(seat, message);
    default:
      break;  // not a worker's to say
  }
}

// --- the loop ----------------------------------------------------------------------------------

void Mill::turn() {
  LockActions locked;
  locks_.tick(now(), locked);
  hear_locks(locked.news);
  for (std::size_t kind = 0; kind < kKinds && !ending_; ++kind) {
    ExactlyOnceQueueActions lost;
    lines_[kind].queue->tick(now(), lost);
    failed_ = failed_ || lines_[kind].queue->view().counts.dead != 0;
    if (lines_[kind].is_open) settle(static_cast<Kind>(kind));
    if (!lines_[kind].is_open) offer(static_cast<Kind>(kind));
  }
  std::vector<pollfd> polled;
  for (const Seat& seat : seats_) polled.push_back({seat.socket, POLLIN, 0});
  ::poll(polled.data(), polled.size(), 2);
  for (std::size_t i = 0; i < polled.size(); ++i) {
    if (polled[i].fd < 0 || polled[i].revents == 0) continue;
    Message message;
    const Received got = receive_message(seats_[i].socket, message, false);
    if (got == Received::whole) hear(seats_[i], message);
    if (got == Received::gone) bury(seats_[i]);
  }
  while (bus_.poll([this] { return now(); }) != 0) {
  }
}

// All go home; whoever had stopped is woken, and says what it still has to say.
void Mill::dismiss() {
  ending_ = true;
  for (const Seat& seat : seats_) {
    if (seat.pid == 0) continue;
    send_message(seat.socket, {.say = Say::quit});
    ::kill(seat.pid, SIGCONT);
  }
  const Nanos end = now() + ms(5'000);
  const auto is_there = [](const Seat& seat) { return seat.pid != 0; };
  while (std::any_of(seats_.begin(), seats_.end(), is_there) && now() < end) turn();
}

bool Mill::run() {
  seats_.resize(kKinds * plan_.workers_each);
  for (std::size_t i = 0; i < seats_.size(); ++i) {
    seats_[i].kind = static_cast<Kind>(i / plan_.workers_each);
  }
  for (Seat& seat : seats_) start(seat);
  add_tasks();
  const Nanos end = now() + kPatience;
  while (!is_done() && !failed_ && now() < end) turn();
  const bool all_done = is_done();
  dismiss();
  return all_done && is_sound();
}

// --- what came of it ---------------------------------------------------------------------------

std::string Mill::ledger() const { return read_file(plan_.output / "ledger.txt"); }

bool Mill::is_sound() const {
  std::istringstream lines(ledger());
  std::string output;
  std::string digest;
  std::uint64_t count = 0;
  bool sound = true;
  while (lines >> output >> digest) {
    ++count;
    const auto content = read_file(plan_.output / output);
    const auto found = results_.find(output);
    sound = sound && found != results_.end() && found->second == digest &&
            to_hex(sha256(std::as_bytes(std::span(content)))) == digest;
  }
  std::uint64_t completed = 0;
  for (const Line& one : lines_) {
    completed += one.queue->counters().completed;
    sound = sound && one.queue->verify();
  }
  const std::uint64_t tasks = graph_.stats().tasks;
  return sound && count == tasks && results_.size() == tasks && completed == tasks &&
         graph_.verify() && auction_.verify() && locks_.verify() && bus_.verify();
}

void Mill::print() const {
  std::printf("%u documents, %u tasks: %llu results, each once; %llu late ones refused\n\n",
              plan_.count(), graph_.stats().tasks, static_cast<unsigned long long>(committed_),
              static_cast<unsigned long long>(refused_));
  std::printf("%-14s %6s %6s %6s %7s %7s  %s\n", "worker", "bids", "won", "done", "failed",
              "deaths", "breaker");
  for (const Seat& seat : seats_) {
    std::printf("%-14s %6u %6u %6u %7u %7u  %s\n", name_of(seat).c_str(), seat.bids, seat.won,
                seat.done, seat.failed, seat.deaths,
                std::string(to_string(seat.breaker->state())).c_str());
  }
  std::printf("\n");
  for (const auto& [name, count] : heard_) {
    std::printf("%-28s %6llu\n", name.c_str(), static_cast<unsigned long long>(count));
  }
  std::uint32_t happened = 0;
  for (std::size_t i = 0; i < plan_.trials.size(); ++i) {
    // relaxed: all who write are gone
    happened += trials_->done[i].load(std::memory_order_relaxed);
  }
  std::printf("\n%u of %zu trials happened; %s\n", happened, plan_.trials.size(),
              (plan_.output / "index.txt").c_str());
}

}  // namespace mill
