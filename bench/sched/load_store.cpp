#include "bench/sched/load_store.hpp"

#include <string_view>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/sched/load_store.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mesh::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
HWY_INLINE void loaded(const V& vector) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  asm volatile("" : : "v"(vector.raw));
#else
  asm volatile("" : : "m"(vector));
#endif
}

void load_store_target(const sched::ImpedanceColumns& columns, const sched::PlanColumns& outputs) {
  using Floats = hn::CappedTag<float, sched::kPlanGroupRows>;
  const Floats df;
  const hn::RebindToSigned<Floats> di;
  const hn::RebindToUnsigned<Floats> du;
  const hn::Rebind<std::uint16_t, Floats> halves;
  const hn::Rebind<std::uint8_t, Floats> bytes;
  const sched::ImpedanceColumns in = columns;
  const sched::PlanColumns out = outputs;
  const auto lead = hn::Set(di, 1);
  const auto half = hn::Set(halves, 1);
  for (std::size_t row = 0; row < in.rows; row += hn::Lanes(df)) {
    loaded(hn::Load(df, in.latency_ms + row));
    loaded(hn::Load(df, in.drift + row));
    loaded(hn::Load(df, in.reliability + row));
    loaded(hn::Load(du, in.queue_depth + row));
    loaded(hn::Load(du, in.heartbeat_ms + row));
    loaded(hn::LoadU(bytes, in.agent_class + row));
    hn::Store(lead, di, out.lead + row);
    hn::StoreU(half, halves, out.confidence + row);
    hn::StoreU(half, halves, out.key + row);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace mesh::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace mesh::bench {
namespace {
HWY_EXPORT(load_store_target);
}

void load_store(const sched::ImpedanceColumns& in, const sched::PlanColumns& out) noexcept {
  HWY_DYNAMIC_DISPATCH(load_store_target)(in, out);
}

bool choose_target([[maybe_unused]] const char* name) {
#ifndef HWY_COMPILE_ONLY_STATIC
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (std::string_view(hwy::TargetName(target)) != name) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return true;
  }
#endif
  return false;
}

}  // namespace mesh::bench
#endif  // HWY_ONCE
