// Errc: the one list of error codes, the same in every process. Append only: a number is never
// reused.
#pragma once

#include <cstdint>
#include <string_view>

// X(name, number, sentence): the sentence is what to_string() gives; an Error adds who, what and
// which number.
#define MESH_ERRC_LIST(X)                                                            \
  X(ok, 0, "no error")                                                               \
  X(invalid_argument, 1, "an argument is outside its documented range")              \
  X(bad_magic, 2, "the bytes are not what they should be: wrong magic")              \
  X(version_skew, 3, "the layout version is not one this binary knows")              \
  X(layout_mismatch, 4, "the layout hash differs: built from other definitions")     \
  X(endianness_mismatch, 5, "written with the other byte order")                     \
  X(page_size_mismatch, 6, "written for another page size")                          \
  X(truncated, 7, "shorter than its own description says")                           \
  X(corrupt, 8, "the bytes make no sense")                                           \
  X(misaligned, 9, "an address or offset is not aligned as it must be")              \
  X(no_space, 10, "the file system has not enough room")                             \
  X(no_memory, 11, "the system has not enough memory")                               \
  X(not_found, 12, "no such thing")                                                  \
  X(already_exists, 13, "it exists already")                                         \
  X(permission_denied, 14, "the operating system refused access")                    \
  X(system_error, 15, "a system call failed")                                        \
  X(capacity, 16, "a configured limit is reached")                                   \
  X(busy, 17, "it is changing too fast to be read; try again")                       \
  X(closed, 18, "the other side is gone")                                            \
  X(unsealed, 19, "a memfd does not carry the agreed seals")                         \
  X(not_yours, 20, "the memory handed over is not the memory that was agreed")       \
  X(wrong_descriptor_count, 21, "not the number of descriptors that was agreed")     \
  X(unsupported, 22, "this machine or kernel cannot do it")                          \
  X(bad_input, 23, "the input cannot be read")                                       \
  X(io_error, 24, "reading or writing failed")                                       \
  X(no_such_agent, 25, "no agent has this name or handle")                           \
  X(name_taken, 26, "the name belongs to another user")                              \
  X(target_full, 27, "the target's inbox and its pending list are full")             \
  X(evicted, 28, "the engine has dropped this station")                              \
  X(expired, 29, "the time to live has passed")                                      \
  X(no_mesh, 30, "no engine runs in this directory")                                 \
  X(timed_out, 31, "the deadline passed first")                                      \
  X(not_ready, 32, "not in the state that this call needs")                          \
  X(no_schedulable_agents, 33, "of all the targets none could be sent anything")     \
  X(no_responses, 34, "there is no response to judge by")                            \
  X(parked_full, 35, "no room to keep a message until it can be delivered")          \
  X(capability_mismatch, 36, "the target lacks a capability that is asked for")      \
  X(not_routable, 37, "the target is quarantined, or behind an open breaker")        \
  X(invalid_config, 38, "a configuration is outside its documented range")           \
  X(invalid_id, 39, "a name is empty, too long or not UTF-8")                        \
  X(unknown_preset, 40, "no preset has this name")                                   \
  X(cancelled, 41, "it was cancelled before it was done")                            \
  X(insufficient_balance, 42, "the account holds less than is asked for")            \
  X(insufficient_quantity, 43, "less is there than is asked for")                    \
  X(overflow, 44, "the number would not fit")                                        \
  X(wrong_state, 45, "the thing is not in the state that this command needs")        \
  X(not_owner, 46, "it belongs to somebody else, or to nobody")                      \
  X(stale_token, 47, "a newer fencing token has been given out")                     \
  X(duplicate, 48, "the same id has been seen before")                               \
  X(conflict, 49, "it contradicts what stands")                                      \
  X(deadlock_victim, 50, "given up so that others in a deadlock can go on")          \
  X(cycle, 51, "it would depend on itself")                                          \
  X(no_candidate, 52, "nobody fits what is asked for")                               \
  X(verification_failed, 53, "the proof does not prove it")                          \
  X(not_authorized, 54, "the sender may not do this")                                \
  X(callback_failed, 55, "a callback of the caller threw")                           \
  X(open, 80, "a breaker is open: nothing is routed there")                          \
  X(no_capable_agent, 81, "no agent there is active, routable and capable")          \
  X(background_refused, 82, "the mesh is degraded: nothing of background priority")  \
  X(sector_degraded, 83, "the mesh is degraded: healthy sectors only")               \
  X(too_wide, 84, "the mesh is degraded: no operation over 1000 agents")             \
  X(critical_only, 85, "the mesh is degraded: critical priority only")               \
  X(needs_confirmation, 86, "the mesh is degraded: the operator has to confirm it")  \
  X(automatic_stopped, 87, "emergency: only the operator acts")                      \
  X(priority_too_low, 88, "the mesh is degraded: operations of high priority only")  \
  X(throttled, 89, "the engine cannot keep up: over its sector's share of messages") \
  X(impedance_spike, 90, "agents of a cluster are far over their own impedance")

namespace mesh {

enum class Errc : std::int32_t {
#define MESH_ERRC_ENUMERATOR(name, number, sentence) name = number,
  MESH_ERRC_LIST(MESH_ERRC_ENUMERATOR)
#undef MESH_ERRC_ENUMERATOR
};

// The snake_case name that JSON, logs and records carry.
constexpr std::string_view name_of(Errc code) noexcept {
  switch (code) {
#define MESH_ERRC_NAME(name, number, sentence) \
  case Errc::name:                             \
    return #name;
    MESH_ERRC_LIST(MESH_ERRC_NAME)
#undef MESH_ERRC_NAME
  }
  return "unknown";
}

constexpr std::string_view to_string(Errc code) noexcept {
  switch (code) {
#define MESH_ERRC_SENTENCE(name, number, sentence) \
  case Errc::name:                                 \
    return sentence;
    MESH_ERRC_LIST(MESH_ERRC_SENTENCE)
#undef MESH_ERRC_SENTENCE
  }
  return "an error code this binary does not know";
}

}  // namespace mesh
