// ClockPublisher, ClockReader: one clock a host.
//
// The engine calibrates the cycle counter (TSC; CNTVCT_EL0 on ARM) against CLOCK_MONOTONIC and
// publishes a line {tick0, ns0, mult, shift}: now = ns0 + ((tick - tick0) * mult >> shift).
// Everyone else reads time through that line and never calibrates: two calibrations 1 ppm apart
// differ by 3.6 ms after an hour. Once a second the engine starts a new line where the old one
// stands, with the rate just measured and a bounded correction toward CLOCK_MONOTONIC. So the time
// never steps back and never jumps, by construction: each line begins on its predecessor and no
// line falls.
//
// Callers     publish: the engine, one thread, about once a second. now: one reader object a
//             thread, any process, on read-only words.
// Progress    publish: wait-free. now: wait-free (64 tries, then the last good line).
// Ordering    fields stored before the even sequence happen-before the now() that loads it.
//             SYNC clock.published, clock.fields. No fences: TSan models this.
// Cost        now: 2 loads of one line and one read of the counter. No system call where the
//             counter is ticks.
// Units       nanoseconds of CLOCK_MONOTONIC, slewed by at most ClockOptions::slew_ppm_max.
// If the      is away: readers go on with the last line (rate known to about 0.1 ppm after two
// other side  publications, 5 ppm before). died within a publication: the same; its successor takes
// dies,       the published time over. Words that cannot be (mult 0, shift over 63, a rate no
// or lies     counter has) are input: CLOCK_MONOTONIC is read instead. One reader never steps back,
//             whatever the words say. Two readers agree except while the publisher is suspended
//             inside a publication: then by the slew over that time (4 us for 4 ms).
// Layout      ClockWords, 128 bytes, pinned below. ClockReport: which counter, why not ticks.
// Source      seqlock without fences: Boehm, "Can seqlocks get along with programming language
//             memory models?", 2012; calibration and its jitter: firedancer
//             src/tango/tempo/fd_tempo.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/word.hpp"

namespace mesh::sched {

enum class ClockCounter : std::uint32_t {
  none = 0,       // nothing published: read CLOCK_MONOTONIC
  ticks = 1,      // TSC, CNTVCT_EL0
  monotonic = 2,  // CLOCK_MONOTONIC is the counter; the same line slews it
};

template <class Memory = HostMemory>
struct alignas(kIsolation) BasicClockWords {
  template <class T>
  using Word = typename Memory::template Word<T>;

  Word<std::uint64_t> sequence;  // odd: being written. 2 a second: lasts for ever
  Word<std::uint64_t> tick0;
  Word<std::int64_t> ns0;
  Word<std::uint64_t> mult;
  Word<std::uint32_t> shift;
  Word<ClockCounter> counter;
  Word<std::int64_t> error_ns;  // CLOCK_MONOTONIC - published, at the last publication
  std::uint64_t reserved[10];   // zero
};
using ClockWords = BasicClockWords<>;

static_assert(sizeof(ClockWords) == kIsolation);
static_assert(alignof(ClockWords) == kIsolation);
static_assert(offsetof(ClockWords, error_ns) == 40 && offsetof(ClockWords, reserved) == 48);
static_assert(std::is_trivial_v<ClockWords> && std::is_standard_layout_v<ClockWords>);
static_assert(std::has_unique_object_representations_v<ClockWords>);

// A private copy of the words.
struct ClockLine {
  std::uint64_t tick0 = 0;
  std::int64_t ns0 = 0;
  std::uint64_t mult = 0;
  std::uint32_t shift = 0;
  ClockCounter counter = ClockCounter::none;
};
// A counter between 1 kHz and 1 THz, a time that exists.
[[nodiscard]] bool plausible(const ClockLine& line) noexcept;

inline constexpr std::int64_t kNoTime = -1;
// The line's time at `tick`. A tick before tick0 (another core, a hair behind) is ns0, which no
// earlier line has passed. A time over int64 is kNoTime: lines that live readers follow stay below
// it for 292 years.
[[nodiscard]] inline std::int64_t time_at(const ClockLine& line, std::uint64_t tick) noexcept {
  __extension__ typedef unsigned __int128 Wide;
  const auto elapsed = static_cast<std::int64_t>(tick - line.tick0);  // right across a wrap of 2^64
  if (elapsed <= 0) return line.ns0;
  const Wide ns = (static_cast<Wide>(elapsed) * line.mult) >> line.shift;
  if (ns > static_cast<Wide>(INT64_MAX - line.ns0)) return kNoTime;
  return line.ns0 + static_cast<std::int64_t>(ns);
}

// The machine's own counters. Tests put a manual source in its place.
struct HostCounters {
  static std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    std::uint64_t value;
    asm volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return 0;
#endif
  }
  static std::int64_t monotonic_ns() noexcept;
  // The counter runs at one rate in every power state (CPUID 0x80000007 EDX bit 8; on ARM always).
  static bool ticks_invariant() noexcept;
  static void wait(std::int64_t duration_ns) noexcept;
};

struct ClockOptions {
  bool allow_ticks = true;
  std::int64_t calibration_ns = 10 * kNsPerMs;  // start-up waits this long, three times at most
  std::uint32_t slew_ppm_max = 500;             // what adjtime() allows itself
};

enum class ClockFallback : std::uint8_t {
  none,           // ticks are used
  not_allowed,    // by option
  not_invariant,  // the processor does not promise one rate
  disagrees,      // ticks and CLOCK_MONOTONIC measured two rates
  went_back,      // ticks went back after start-up
};
[[nodiscard]] std::string_view name_of(ClockFallback reason) noexcept;

struct ClockReport {
  ClockCounter counter = ClockCounter::none;
  ClockFallback fallback = ClockFallback::none;
  double counter_hz = 0;
  std::int64_t error_ns = 0;  // before the last correction
  double slew_ppm = 0;        // the correction in force
  std::uint64_t published = 0;
  std::uint64_t skipped = 0;  // no quiet moment to measure in; the last line goes on
};

// What the publisher computes, apart from when: no words, no counters, no waiting.
class ClockDiscipline {
 public:
  struct Sample {
    std::uint64_t tick = 0;
    std::int64_t ns = 0;
    std::uint64_t width_ticks = 0;  // the true tick lies within half of this
  };
  enum class Verdict : std::uint8_t { kFollow, kSkip, kDisagrees, kWentBack };

  explicit ClockDiscipline(std::uint32_t slew_ppm_max) noexcept : slew_ppm_max_(slew_ppm_max) {
    MESH_ASSERT(slew_ppm_max <= 100'000);  // a line must rise
  }

  // If the rates of [a, b] and [b, c] agree, that of [a, c] is the counter's.
  [[nodiscard]] bool calibrate(const Sample& a, const Sample& b, const Sample& c) noexcept;
  // CLOCK_MONOTONIC is the counter: exactly one nanosecond a tick.
  void use_monotonic() noexcept;
  // Measures rate and error against `line`. Unless kFollow, nothing is changed but the skips.
  [[nodiscard]] Verdict observe(const ClockLine& line, const Sample& sample) noexcept;
  // The line that goes on from (tick, ns) with the rate and correction last computed.
  [[nodiscard]] ClockLine line_from(std::uint64_t tick, std::int64_t ns) const noexcept;
  void set_start(const Sample& sample) noexcept { last_ = sample; }
  void correct(std::int64_t error_ns) noexcept;

  [[nodiscard]] ClockCounter counter() const noexcept { return counter_; }
  [[nodiscard]] std::int64_t error_ns() const noexcept { return error_ns_; }
  [[nodiscard]] double slew_ppm() const noexcept;
  [[nodiscard]] double counter_hz() const noexcept;

 private:
  ClockCounter counter_ = ClockCounter::none;
  std::uint32_t slew_ppm_max_;
  std::uint32_t skips_in_a_row_ = 0;
  std::uint64_t rate_ = 0;       // ns a tick, in 2^-kShift
  std::int64_t correction_ = 0;  // added to rate_
  std::int64_t error_ns_ = 0;
  Sample last_;
};

template <class Source = HostCounters, class Memory = HostMemory>
class ClockPublisher {
 public:
  using Words = BasicClockWords<Memory>;

  // Calibrates, waiting for up to three calibration_ns, and publishes the first line. If `words`
  // hold a plausible time near CLOCK_MONOTONIC, a dead engine's, it goes on from that.
  explicit ClockPublisher(Words& words, const ClockOptions& options = {},
                          Source source = {}) noexcept
      : words_(&words), source_(source), discipline_(options.slew_ppm_max) {
    // relaxed: the only writer is this process; whoever wrote before it is dead.
    sequence_ = words.sequence.load_relaxed();
    choose_counter(options);
    const Sample sample = measure();
    discipline_.set_start(sample);
    const std::int64_t behind_ns = adopt_predecessor(sample.ns);
    discipline_.correct(behind_ns);
    begin_line(line_.counter == ClockCounter::none ? sample.ns : 0);
  }
  ClockPublisher(const ClockPublisher&) = delete;
  ClockPublisher& operator=(const ClockPublisher&) = delete;

  // Call about once a second; any interval is safe, late calls only correct later.
  void publish() noexcept {
    using Verdict = ClockDiscipline::Verdict;
    const auto sample = measure();
    const Verdict verdict = discipline_.observe(line_, sample);
    if (verdict == Verdict::kSkip) {
      ++report_.skipped;
      return;
    }
    if (verdict == Verdict::kFollow) {
      begin_line(line_.ns0);
      return;
    }
    report_.fallback =
        verdict == Verdict::kWentBack ? ClockFallback::went_back : ClockFallback::disagrees;
    leave_ticks();
  }

  [[nodiscard]] ClockReport report() const noexcept {
    ClockReport report = report_;
    report.counter = discipline_.counter();
    report.counter_hz = discipline_.counter_hz();
    report.error_ns = discipline_.error_ns();
    report.slew_ppm = discipline_.slew_ppm();
    return report;
  }

 private:
  using Sample = ClockDiscipline::Sample;
  static constexpr std::int64_t kAdoptNsMax = 60 * kNsPerSecond;  // further off: not a time of ours
  static constexpr int kMeasurements = 5;

  std::uint64_t read(ClockCounter counter) noexcept {
    return counter == ClockCounter::ticks ? source_.ticks()
                                          : static_cast<std::uint64_t>(source_.monotonic_ns());
  }

  // The quickest of five: what an interrupt stretched is not used. The cost of reading ticks, half
  // a bracket, stays in as a constant error of some ten nanoseconds.
  Sample measure() noexcept {
    if (discipline_.counter() == ClockCounter::monotonic) {
      const std::int64_t ns = source_.monotonic_ns();
      return {static_cast<std::uint64_t>(ns), ns, 0};
    }
    Sample best{0, 0, UINT64_MAX};
    for (int i = 0; i < kMeasurements; ++i) {
      const std::uint64_t before = source_.ticks();
      const std::int64_t ns = source_.monotonic_ns();
      const std::uint64_t width = source_.ticks() - before;
      if (width < best.width_ticks) best = {before + width / 2, ns, width};
    }
    return best;
  }

  void choose_counter(const ClockOptions& options) noexcept {
    report_.fallback = !options.allow_ticks         ? ClockFallback::not_allowed
                       : !source_.ticks_invariant() ? ClockFallback::not_invariant
                                                    : ClockFallback::disagrees;
    // A busy machine can spoil one window; a counter that is no clock spoils all three.
    for (int attempt = 0; attempt < 3 && report_.fallback == ClockFallback::disagrees; ++attempt) {
      const Sample a = measure();
      source_.wait(options.calibration_ns / 2);
      const Sample b = measure();
      source_.wait(options.calibration_ns / 2);
      if (discipline_.calibrate(a, b, measure())) report_.fallback = ClockFallback::none;
    }
    if (report_.fallback != ClockFallback::none) discipline_.use_monotonic();
  }

  // Takes the line of a dead engine over if its time is one of ours; how far it is behind, then.
  std::int64_t adopt_predecessor(std::int64_t now_ns) noexcept {
    // A line that its publisher died within mixes two: CLOCK_MONOTONIC then. relaxed: as above.
    if ((words_->sequence.load_relaxed() & 1) != 0) return 0;
    const ClockLine line{words_->tick0.load_relaxed(), words_->ns0.load_relaxed(),
                         words_->mult.load_relaxed(), words_->shift.load_relaxed(),
                         words_->counter.load_relaxed()};
    if (!plausible(line)) return 0;
    const std::int64_t published = time_at(line, read(line.counter));
    if (published == kNoTime) return 0;
    const std::int64_t behind_ns = now_ns - published;
    if (behind_ns > kAdoptNsMax || behind_ns < -kAdoptNsMax) return 0;
    line_ = line;
    return behind_ns;
  }

  // Ticks are no clock any more (suspend, migration): from here on CLOCK_MONOTONIC is the counter.
  // A time ahead of it is slewed; one behind is brought forward: the one jump there is.
  void leave_ticks() noexcept {
    const std::int64_t ns = source_.monotonic_ns();
    const std::int64_t published = time_at(line_, source_.ticks());
    discipline_.use_monotonic();
    discipline_.set_start({static_cast<std::uint64_t>(ns), ns, 0});
    discipline_.correct(ns - std::max(published, ns));
    begin_line(ns);
  }

  // The tick is read after the sequence turned odd: a reader still on the old line read its tick
  // before, so the old line is left nowhere beyond the point where the new one begins.
  void begin_line(std::int64_t floor_ns) noexcept {
    sequence_ = (sequence_ + 1) | 1;  // odd also after a death within a publication
    // relaxed: the releases below order it before the fields.
    words_->sequence.store_relaxed(sequence_);
    MESH_POINT("clock.publish:odd");
    const std::uint64_t old_tick = read(line_.counter);
    const bool same_counter = line_.counter == discipline_.counter();  // one reading for both lines
    const std::uint64_t tick = same_counter ? old_tick : read(discipline_.counter());
    line_ = discipline_.line_from(tick, std::max(time_at(line_, old_tick), floor_ns));
    words_->tick0.store_release(line_.tick0);                // SYNC clock.fields release
    words_->ns0.store_release(line_.ns0);                    // SYNC clock.fields release
    words_->mult.store_release(line_.mult);                  // SYNC clock.fields release
    words_->shift.store_release(line_.shift);                // SYNC clock.fields release
    words_->counter.store_release(line_.counter);            // SYNC clock.fields release
    words_->error_ns.store_release(discipline_.error_ns());  // SYNC clock.fields release
    MESH_POINT("clock.publish:before_even");
    words_->sequence.store_release(++sequence_);  // SYNC clock.published release
    ++report_.published;
  }

  Words* words_;
  Source source_;
  ClockDiscipline discipline_;
  ClockLine line_;
  std::uint64_t sequence_ = 0;
  ClockReport report_;
};

template <class Source = HostCounters, class Memory = HostMemory>
class ClockReader {
 public:
  using Words = BasicClockWords<Memory>;

  explicit ClockReader(const Words& words, Source source = {}) noexcept
      : words_(&words), source_(source) {}

  [[nodiscard]] HostTime now() noexcept { return from_ns(now_ns()); }
  [[nodiscard]] std::int64_t now_ns() noexcept {
    std::int64_t ns = kNoTime;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const std::uint64_t sequence =
          words_->sequence.load_acquire();  // SYNC clock.published acquire
      if (sequence != sequence_ && !refresh(sequence)) break;
      ns = read();
      // The line was still in force when the counter was read. relaxed: an older value of this word
      // cannot be seen after a newer one, and a newer one is looked at again from the top.
      if (words_->sequence.load_relaxed() == sequence) break;
    }
    if (ns == kNoTime) ns = read();
    last_ns_ = ns > last_ns_ ? ns : last_ns_;
    return last_ns_;
  }

  [[nodiscard]] const ClockLine& line() const noexcept { return line_; }

 private:
  static constexpr int kAttempts = 64;  // a publication takes about 100 ns

  // Copies the words if they stand still. A publisher that died halfway is tried once, not each
  // time.
  bool refresh(std::uint64_t sequence) noexcept {
    if (sequence == stuck_) return false;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      ClockLine line;
      line.tick0 = words_->tick0.load_acquire();      // SYNC clock.fields acquire
      line.ns0 = words_->ns0.load_acquire();          // SYNC clock.fields acquire
      line.mult = words_->mult.load_acquire();        // SYNC clock.fields acquire
      line.shift = words_->shift.load_acquire();      // SYNC clock.fields acquire
      line.counter = words_->counter.load_acquire();  // SYNC clock.fields acquire
      // relaxed: the acquires above keep it below them.
      const std::uint64_t after = words_->sequence.load_relaxed();
      if (sequence == after && sequence % 2 == 0) {
        line_ = plausible(line) ? line : ClockLine{};
        sequence_ = sequence;
        return true;
      }
      sequence = words_->sequence.load_acquire();  // SYNC clock.published acquire
    }
    if ((sequence & 1) != 0)
      stuck_ = sequence;  // a line that was finished meanwhile is for the next call
    return false;
  }

  std::int64_t read() noexcept {
    if (line_.counter == ClockCounter::none) return source_.monotonic_ns();
    const std::uint64_t tick = line_.counter == ClockCounter::ticks
                                   ? source_.ticks()
                                   : static_cast<std::uint64_t>(source_.monotonic_ns());
    const std::int64_t ns = time_at(line_, tick);
    return ns == kNoTime ? source_.monotonic_ns() : ns;
  }

  const Words* words_;
  Source source_;
  ClockLine line_;
  std::uint64_t sequence_ = 1;  // odd: no line was copied yet
  std::uint64_t stuck_ = 0;     // even: no publication was found unfinished
  std::int64_t last_ns_ = 0;
};

}  // namespace mesh::sched
