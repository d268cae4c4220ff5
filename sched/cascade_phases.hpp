// The phases of a priority_first cascade: which class goes when, and how many of it must be READY.
//
// A phase below its threshold is a degradation, noted, and the next one runs. Data alone: who runs
// them is the engine.
//
// Units       shares in millionths.
#pragma once

#include "sched/agent_class.hpp"
#include "sched/share.hpp"

namespace mesh::sched {

struct CascadePhase {
  AgentClass agent_class = AgentClass::edge;
  Share ready_min;
  bool needs_time = false;  // only if T leaves it the time
};

inline constexpr CascadePhase kPriorityFirst[] = {
    {AgentClass::gpu, {990'000}},        {AgentClass::persistent, {980'000}},
    {AgentClass::serverless, {950'000}}, {AgentClass::edge, {900'000}},
    {AgentClass::local, {850'000}},      {AgentClass::human, {500'000}, true},
};

}  // namespace mesh::sched
