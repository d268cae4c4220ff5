// How often a random test repeats: `usual`, unless MESH_TEST_REPEATS says otherwise, as the stress
// tier does. That also sets MESH_TEST_SECONDS: after so long no turn of a Repeats begins, but
// never are there fewer than the usual ones. So it ends in known time, whatever else the machine
// does, and says how far it came.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace mesh::testing {

inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

inline std::uint64_t repeats(std::uint64_t usual) {
  return number_from_environment("MESH_TEST_REPEATS", usual);
}

// for (Repeats turns(1'000); turns.next();) ...
class Repeats {
 public:
  explicit Repeats(std::uint64_t usual)
      : usual_(usual),
        wanted_(repeats(usual)),
        seconds_(number_from_environment("MESH_TEST_SECONDS", UINT32_MAX)) {}
  ~Repeats() {
    if (wanted_ == usual_) return;
    std::printf("%llu of %llu repeats in %.0f s\n", static_cast<unsigned long long>(done_),
                static_cast<unsigned long long>(wanted_), elapsed_s());
  }
  Repeats(const Repeats&) = delete;
  Repeats& operator=(const Repeats&) = delete;

  bool next() {
    if (done_ == wanted_) return false;
    if (done_ >= usual_ && elapsed_s() >= static_cast<double>(seconds_)) return false;
    ++done_;
    return true;
  }
  // Begun so far, this one among them.
  [[nodiscard]] std::uint64_t count() const { return done_; }

 private:
  [[nodiscard]] double elapsed_s() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  std::uint64_t usual_, wanted_, seconds_;
  std::uint64_t done_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mesh::testing
