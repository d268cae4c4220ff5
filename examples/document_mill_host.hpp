// The mill: it hosts the services, starts the workers, and is the one place where a result comes to
// count.
//
//   graph: ready --> queue: accepted once --> auction among idle workers --> queue: lease, fence
//     --> lock of the output, token --> part file --> done: token and fence are checked, the part
//     becomes the output, a line in the ledger --> graph: what waited for it is ready
//
// Callers     one thread.
// If the      worker dies anywhere: its socket closes, its lease, lock and bid end at once, its
// other side  task is offered again, and another process takes its seat. It stops: its lease and
// dies        lock run out; what it says later carries an old fence and token, and is refused.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/task_auction.hpp"
#include "engine/tasks/dependency_graph.hpp"
#include "engine/tasks/event_bus.hpp"
#include "examples/document_mill_terms.hpp"

namespace mill {

class Mill {
 public:
  explicit Mill(const Plan& plan);
  ~Mill();
  Mill(const Mill&) = delete;
  Mill& operator=(const Mill&) = delete;

  // True: all is done, once, and every service is sound.
  bool run();
  void print() const;

 private:
  enum class State { away, joining, idle, bidding, working };
  struct Seat {  // of one worker after the other
    Kind kind = Kind::hasher;
    State state = State::away;
    pid_t pid = 0;
    int socket = -1;
    std::uint32_t station = 0;  // a new one a process
    std::optional<mesh::coordination::CircuitBreaker> breaker;
    mesh::coordination::Permit permit;
    std::uint64_t task = 0;
    std::uint64_t fence = 0;
    std::uint64_t lock_ticket = 0;
    std::uint64_t lock_grant = 0;
    std::uint32_t bids = 0, won = 0, done = 0, failed = 0, deaths = 0;
  };
  struct Line {  // of one kind of work
    std::optional<mesh::coordination::ExactlyOnceQueue> queue;
    std::uint32_t auction = 0;
    bool is_open = false;
    std::uint32_t awaited = 0;  // bids
    mesh::Nanos ends{0};
    std::uint32_t rounds = 0;
  };

  void add_tasks();
  void start(Seat& seat);
  void turn();
  void hear(Seat& seat, const Message& message);
  void bury(Seat& seat);
  void offer(Kind kind);
  void settle(Kind kind);
  void award(Kind kind, Seat& seat);
  void on_bid(Seat& seat, const Message& bid);
  void on_lock_wanted(Seat& seat, const Message& want);
  void hear_locks(std::span<const mesh::coordination::LockNews> news);
  void on_done(Seat& seat, const Message& done);
  void on_failed(Seat& seat, const Message& failed);
  void commit(const Message& done);
  void free(Seat& seat, mesh::coordination::CallOutcome outcome);
  void accept(std::uint64_t task);
  void dismiss();
  void emit(mesh::tasks::EventName name, const Seat* seat, std::uint64_t task);
  [[nodiscard]] bool is_eligible(const Seat& seat, Kind kind) const;
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] bool is_sound() const;
  [[nodiscard]] std::string ledger() const;
  [[nodiscard]] Line& line(Kind kind) { return lines_[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] std::uint32_t number(const Seat& seat) const {
    return static_cast<std::uint32_t>(&seat - seats_.data());
  }
  [[nodiscard]] std::string name_of(const Seat& seat) const;
  [[nodiscard]] mesh::Nanos now() const;

  Plan plan_;
  TrialsDone* trials_ = nullptr;
  mesh::tasks::DependencyGraph graph_;
  mesh::coordination::TaskAuction auction_;
  mesh::coordination::LockManager locks_;
  mesh::tasks::EventBus bus_;
  std::array<Line, kKinds> lines_;
  std::vector<Seat> seats_;
  std::map<std::string, std::uint64_t> heard_;  // events by name
  std::map<std::string, std::string> results_;  // output -> digest, as committed
  std::uint32_t last_station_ = 0;
  std::uint64_t committed_ = 0;
  std::uint64_t refused_ = 0;
  bool ending_ = false;
  bool failed_ = false;
};

}  // namespace mill
