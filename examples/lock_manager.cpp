// Locks in a program of its own: one agent holds, another waits, the lease ends, and what the first
// writes afterwards is refused by its token.
#include "engine/coordination/lock_manager.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  LockManager locks(LockManagerConfig::preset("standard").value());
  const auto at = [](int second) { return Nanos{second * kNsPerSecond}; };

  lock::Acquire first;
  first.agent = 1;
  first.resource = "shared-db";
  first.timestamp = at(0);
  lock::Acquire second = first;
  second.agent = 2;
  second.timestamp = at(1);
  const auto held = locks.apply(first, at(0));
  const auto waits = locks.apply(second, at(1));
  LockActions actions;
  locks.tick(at(30), actions);  // the lease of 30 s is over: handed to the one that waits
  const LockView view = locks.view("shared-db");
  const auto late = locks.apply(lock::Validate{"shared-db", held.fence}, at(31));
  std::printf("token %llu; second %s; after the lease agent %u, token %llu; the old token %s\n",
              static_cast<unsigned long long>(held.fence), to_string(waits.refusal).data(),
              view.first_holder, static_cast<unsigned long long>(view.fence),
              name_of(late.code).data());
  return locks.verify() ? 0 : 1;
}
