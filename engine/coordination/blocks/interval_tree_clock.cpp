#include "engine/coordination/blocks/interval_tree_clock.hpp"

#include <algorithm>

namespace mesh::coordination {

struct IntervalTreeClock::Grown {
  CountPtr count;
  std::uint64_t cost = 0;
};

struct IntervalTreeClock::Trees {
  static constexpr std::uint64_t kNewLevel = std::uint64_t{1} << 32;  // dearer than any path

  // --- identities ------------------------------------------------------------------------------

  static PartPtr whole(bool is_owned) {
    return std::make_shared<const Part>(Part{is_owned, nullptr, nullptr});
  }
  static bool is_leaf(const PartPtr& part) { return part->left == nullptr; }
  static bool is_none(const PartPtr& part) { return is_leaf(part) && !part->is_owned; }
  static bool is_all(const PartPtr& part) { return is_leaf(part) && part->is_owned; }
  static PartPtr halves(PartPtr left, PartPtr right) {
    const bool is_one = is_leaf(left) && is_leaf(right) && left->is_owned == right->is_owned;
    if (is_one) return left;
    return std::make_shared<const Part>(Part{false, std::move(left), std::move(right)});
  }
  static std::pair<PartPtr, PartPtr> split(const PartPtr& part) {
    const PartPtr none = whole(false);
    if (is_none(part)) return {part, part};
    if (is_all(part)) return {halves(whole(true), none), halves(none, whole(true))};
    if (is_none(part->left)) {
      const auto [one, other] = split(part->right);
      return {halves(none, one), halves(none, other)};
    }
    if (is_none(part->right)) {
      const auto [one, other] = split(part->left);
      return {halves(one, none), halves(other, none)};
    }
    return {halves(part->left, none), halves(none, part->right)};
  }
  // Null: both own some part.
  static PartPtr sum(const PartPtr& a, const PartPtr& b) {
    if (is_none(a)) return b;
    if (is_none(b)) return a;
    if (is_leaf(a) || is_leaf(b)) return nullptr;
    auto left = sum(a->left, b->left);
    auto right = sum(a->right, b->right);
    if (left == nullptr || right == nullptr) return nullptr;
    return halves(std::move(left), std::move(right));
  }
  static unsigned depth(const PartPtr& part) {
    return is_leaf(part) ? 0 : 1 + std::max(depth(part->left), depth(part->right));
  }

  // --- counts ----------------------------------------------------------------------------------

  static CountPtr flat(std::uint64_t base) {
    return std::make_shared<const Count>(Count{base, nullptr, nullptr});
  }
  static bool is_leaf(const CountPtr& count) { return count->left == nullptr; }
  static CountPtr lift(const CountPtr& count, std::uint64_t by) {
    if (by == 0) return count;
    return std::make_shared<const Count>(Count{count->base + by, count->left, count->right});
  }
  static CountPtr sink(const CountPtr& count, std::uint64_t by) {
    if (by == 0) return count;
    return std::make_shared<const Count>(Count{count->base - by, count->left, count->right});
  }
  static std::uint64_t most(const CountPtr& count) {
    if (is_leaf(count)) return count->base;
    return count->base + std::max(most(count->left), most(count->right));
  }
  // In normal form the least of a tree is its base.
  static CountPtr normal(std::uint64_t base, const CountPtr& left, const CountPtr& right) {
    const bool is_one = is_leaf(left) && is_leaf(right) && left->base == right->base;
    if (is_one) return flat(base + left->base);
    const std::uint64_t least = std::min(left->base, right->base);
    return std::make_shared<const Count>(
        Count{base + least, sink(left, least), sink(right, least)});
  }
  // Halves of a leaf: nothing above its base.
  static std::pair<CountPtr, CountPtr> halves_of(const CountPtr& count) {
    if (!is_leaf(count)) return {count->left, count->right};
    return {flat(0), flat(0)};
  }
  static bool at_most(const CountPtr& a, std::uint64_t above_a, const CountPtr& b,
                      std::uint64_t above_b) {
    const std::uint64_t base_a = above_a + a->base;
    const std::uint64_t base_b = above_b + b->base;
    if (base_a > base_b) return false;
    if (is_leaf(a)) return true;
    if (is_leaf(b)) {
      return at_most(a->left, base_a, b, above_b) && at_most(a->right, base_a, b, above_b);
    }
    return at_most(a->left, base_a, b->left, base_b) && at_most(a->right, base_a, b->right, base_b);
  }
  static CountPtr merge(const CountPtr& a, const CountPtr& b) {
    if (is_leaf(a) && is_leaf(b)) return a->base >= b->base ? a : b;
    if (a->base > b->base) return merge(b, a);
    const std::uint64_t by = b->base - a->base;
    const auto [left_a, right_a] = halves_of(a);
    const auto [left_b, right_b] = halves_of(b);
    return normal(a->base, merge(left_a, lift(left_b, by)), merge(right_a, lift(right_b, by)));
  }

  // --- an event: fill what is owned up to what is known around it, or else grow ------------------

  static CountPtr fill(const PartPtr& part, const CountPtr& count) {
    if (is_none(part) || is_leaf(count)) return count;
    if (is_all(part)) return flat(most(count));
    if (is_all(part->left)) {
      const auto right = fill(part->right, count->right);
      return normal(count->base, flat(std::max(most(count->left), right->base)), right);
    }
    if (is_all(part->right)) {
      const auto left = fill(part->left, count->left);
      return normal(count->base, left, flat(std::max(most(count->right), left->base)));
    }
    return normal(count->base, fill(part->left, count->left), fill(part->right, count->right));
  }
  static Grown grow(const PartPtr& part, const CountPtr& count) {
    if (is_all(part) && is_leaf(count)) return {flat(count->base + 1), 0};
    const auto [left, right] = halves_of(count);
    const std::uint64_t more = is_leaf(count) ? kNewLevel : 1;
    const auto with = [&](const CountPtr& l, const CountPtr& r) {
      return std::make_shared<const Count>(Count{count->base, l, r});
    };
    if (is_none(part->left)) {
      const auto grown = grow(part->right, right);
      return {with(left, grown.count), grown.cost + more};
    }
    if (is_none(part->right)) {
      const auto grown = grow(part->left, left);
      return {with(grown.count, right), grown.cost + more};
    }
    const auto one = grow(part->left, left);
    const auto other = grow(part->right, right);
    if (one.cost < other.cost) return {with(one.count, right), one.cost + more};
    return {with(left, other.count), other.cost + more};
  }
  template <class Tree>
  static std::size_t leaves(const Tree& tree) {
    return is_leaf(tree) ? 1 : leaves(tree->left) + leaves(tree->right);
  }
};

IntervalTreeClock::IntervalTreeClock() : part_(Trees::whole(true)), count_(Trees::flat(0)) {}

Result<std::pair<IntervalTreeClock, IntervalTreeClock>> IntervalTreeClock::fork() const {
  if (Trees::depth(part_) >= kDepthMax) {
    return fail(Errc::capacity, "interval tree clock: an identity was split 64 times");
  }
  const auto [one, other] = Trees::split(part_);
  return std::pair(IntervalTreeClock(one, count_), IntervalTreeClock(other, count_));
}

Result<IntervalTreeClock> IntervalTreeClock::join(const IntervalTreeClock& other) const {
  auto both = Trees::sum(part_, other.part_);
  if (both == nullptr) return fail(Errc::conflict, "interval tree clock: both own the same part");
  return IntervalTreeClock(std::move(both), Trees::merge(count_, other.count_));
}

Result<IntervalTreeClock> IntervalTreeClock::event() const {
  if (is_anonymous()) return fail(Errc::invalid_argument, "interval tree clock: no identity");
  if (Trees::most(count_) == UINT64_MAX) {
    return fail(Errc::overflow, "interval tree clock: at its end");
  }
  auto filled = Trees::fill(part_, count_);
  const bool is_same = Trees::at_most(filled, 0, count_, 0);  // filling takes nothing away
  return IntervalTreeClock(part_, is_same ? Trees::grow(part_, count_).count : std::move(filled));
}

IntervalTreeClock IntervalTreeClock::peek() const {
  return IntervalTreeClock(Trees::whole(false), count_);
}

bool IntervalTreeClock::is_anonymous() const noexcept { return Trees::is_none(part_); }
std::size_t IntervalTreeClock::leaves() const noexcept {
  return Trees::leaves(part_) + Trees::leaves(count_);
}

CausalOrder compare(const IntervalTreeClock& a, const IntervalTreeClock& b) noexcept {
  const bool a_in_b = IntervalTreeClock::Trees::at_most(a.count_, 0, b.count_, 0);
  const bool b_in_a = IntervalTreeClock::Trees::at_most(b.count_, 0, a.count_, 0);
  return order_of(!b_in_a, !a_in_b);
}

}  // namespace mesh::coordination
