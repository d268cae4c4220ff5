// Two processes, one ring: the child polls what the parent publishes. No lock, no system call on
// the way, and a parent killed at any instruction would leave nothing half-done to see.
#include <cstdio>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queues/spsc_ring.hpp"
#include "shm/mapping.hpp"

using Ring = mesh::queues::SpscRing<>;
struct Order {
  std::uint64_t number, price, quantity, rest[4];
};

// 1,024 slots, then the reader's page: in one memory here; in a mesh each side maps the other's
// read-only.
struct Place {
  mesh::shm::Mapping mapping;
  Ring::Slot* slots() { return reinterpret_cast<Ring::Slot*>(mapping.writable_bytes().data()); }
  Ring::ReaderPage* page() { return reinterpret_cast<Ring::ReaderPage*>(slots() + 1024); }
};
Place map(int fd) {
  return {mesh::shm::Mapping::map(
              fd, {.name = "ring", .size_bytes = 69'632, .access = mesh::shm::Access::kReadWrite})
              .value()};
}

int main() {
  const auto memory = mesh::shm::create_sealed_memory("ring", 69'632).value();
  constexpr std::uint64_t kOrders = 100'000;
  if (fork() == 0) {
    Place place = map(memory.descriptor.get());
    auto reader = Ring::Reader::attach({place.slots(), 1024}, place.page()).value();
    std::uint64_t value = 0;
    while (reader.cursor() < kOrders) {
      const auto take = [&](auto view) {
        const auto order = view.template read_as<Order>();  // a private copy: check it, use it
        value += order.price * order.quantity;
      };
      if (reader.poll(256, take) == 0) sched_yield();
    }
    std::printf("%llu orders worth %llu\n", static_cast<unsigned long long>(reader.cursor()),
                static_cast<unsigned long long>(value));
    return 0;
  }
  Place place = map(memory.descriptor.get());
  auto writer = Ring::Writer::take_over({place.slots(), 1024}, place.page()).value();
  while (writer.head() < kOrders) {
    const auto run = writer.claim(std::min<std::uint64_t>(64, kOrders - writer.head()));
    if (run.slots.empty()) sched_yield();  // full: the reader is behind
    writer.fill(run, [](Ring::Slot& slot, std::uint64_t position) {
      mesh::queues::build_in<Order>(slot) = {position, 10, position % 3, {}};  // in its slot
    });
    writer.reveal();  // the whole run at once
  }
  int status = 0;
  wait(&status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
