// RegistryRows: how a row of the table changes hands, store by store.
//
//              take                    detach
//   free ───────────────▶ attached ──────────────▶ offline
//    ▲                       ▲                      │   │
//    │                       └──────────────────────┘   │
//    │                                attach            │
//    └──────────────────────────────────────────────────┘
//                             release
//
// Each change is one write of the row's sequence, so readers see it whole. For a restart it hangs
// on one store besides: take and release on word 0 of the name, which holds its length; attach and
// detach on the station. What stands before that store is overwritten by whoever comes next, what
// stands behind it recover() finishes.
//
// Callers     the engine's scheduler thread, the one writer of these columns.
// Progress    wait-free: some forty stores.
// Ordering    RowWriter's. The columns in `engine` have no reader but a successor, which the death
//             of this process comes before.
// If the      writer dies at any store: recover() makes the row free, or whole as it was or as it
// other side  was to be. An odd sequence becomes even.
// dies
// Errors      recover -> corrupt: what no death leaves behind.
// Layout      column `name` governs who has the row; `id` keeps the generation of the last tenant
//             while the row is free; generation 0 is never given, so AgentId 0 names nobody.
//             44 bits of generations last 55 years at one tenant each 100 us, then come 1, 2 ...
//             `incarnation` has 32 bits: 136 years at one attachment a second, then 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/agent_name.hpp"
#include "engine/agent_rows.hpp"
#include "engine/capabilities.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/point.hpp"
#include "shm/base/result.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

// The generation of a row's next tenant.
constexpr Generation next_tenant(Generation last) noexcept {
  const Generation following = next(last);
  return following == Generation{0} ? Generation{1} : following;
}

// What an agent without history is assumed to be: mesh.md part 4.
struct AgentPriors {
  float latency_ms = 0;
  float processing_ms = 0;
  std::uint16_t score = 0;
  std::uint16_t confidence = 0;
};
[[nodiscard]] AgentPriors priors_of(sched::AgentClass agent_class) noexcept;

// What an agent brings each time it attaches.
struct Attachment {
  StationId station = kNoStation;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  CapabilitySet capabilities{};
  std::uint32_t now_mesh_ms = 0;  // the clock of the heartbeat column
};

enum class RecoveredRow : std::uint8_t { kFree, kTaken };

namespace registry_rows_detail {
tl::unexpected<Error> corrupt_row(std::size_t row, const std::string& what);
}

template <class Memory = HostMemory>
class RegistryRows {
 public:
  using Stores = shm::RowStores<Memory>;

  RegistryRows(const AgentRows<Memory>& agents, const OwnerRows<Memory>& owners) noexcept
      : agents_(agents), owners_(owners), writer_(agents.sequence) {}

  [[nodiscard]] std::size_t rows() const noexcept { return agents_.rows(); }
  [[nodiscard]] const AgentRows<Memory>& agents() const noexcept { return agents_; }

  // A free row becomes the next tenant's: new generation, attached, nothing of the last one left.
  AgentId take(std::size_t row, const NameBytes& name, std::uint32_t uid,
               const Attachment& attachment) const noexcept {
    const AgentId id = agent_id(agent_index(row), next_tenant(generation_of(id_of(row))));
    writer_.write(row, [&](const Stores& stores) {
      stores.store(owners_.uid, uid);
      stores.store(owners_.offline_since_ns, std::int64_t{0});
      stores.store(agents_.id, id);
      store_without_history(stores, attachment.agent_class);
      stores.store(agents_.incarnation, std::uint32_t{1});
      store_attachment(stores, attachment);
      stores.store(agents_.state, state(AgentState::active));
      stores.store(agents_.station, attachment.station);
      for (std::size_t i = kNameWords - 1; i > 0; --i) store_name_word(row, i, name.words[i]);
      MESH_POINT("registry.take:before_length");
      store_name_word(row, 0, name.words[0]);
    });
    return id;
  }

  // The same for a tenant that has not come yet: offline from then.
  struct Absence {
    const Attachment& attachment;
    std::int64_t since_ns = 0;
  };
  AgentId expect(std::size_t row, const NameBytes& name, std::uint32_t uid,
                 const Absence& absence) const noexcept {
    const AgentId id = agent_id(agent_index(row), next_tenant(generation_of(id_of(row))));
    writer_.write(row, [&](const Stores& stores) {
      stores.store(owners_.uid, uid);
      stores.store(owners_.offline_since_ns, absence.since_ns);
      stores.store(agents_.id, id);
      store_without_history(stores, absence.attachment.agent_class);
      stores.store(agents_.incarnation, std::uint32_t{1});  // what waits for it is its
      store_attachment(stores, absence.attachment);
      stores.store(agents_.state, state(AgentState::offline));
      stores.store(agents_.station, kNoStation);
      for (std::size_t i = kNameWords - 1; i > 0; --i) store_name_word(row, i, name.words[i]);
      store_name_word(row, 0, name.words[0]);
    });
    return id;
  }

  // The tenant is back, or moves to another station. Quarantine outlasts it.
  void attach(std::size_t row, const Attachment& attachment) const noexcept {
    writer_.write(row, [&](const Stores& stores) {
      stores.store(agents_.incarnation, incarnation_of(row) + 1);
      store_attachment(stores, attachment);
      if (state_of(row) != AgentState::quarantined) {
        stores.store(agents_.state, state(AgentState::active));
      }
      MESH_POINT("registry.attach:before_station");
      stores.store(agents_.station, attachment.station);
    });
  }

  // Its station is gone.
  void detach(std::size_t row, std::int64_t now_ns) const noexcept {
    writer_.write(row, [&](const Stores& stores) {
      stores.store(owners_.offline_since_ns, now_ns);
      MESH_POINT("registry.detach:before_station");
      stores.store(agents_.station, kNoStation);
      MESH_POINT("registry.detach:after_station");
      if (state_of(row) != AgentState::quarantined) {
        stores.store(agents_.state, state(AgentState::offline));
      }
    });
  }

  // Frees the row. The generation stays: the next tenant's is one more.
  void release(std::size_t row) const noexcept {
    writer_.write(row, [&](const Stores& stores) {
      store_name_word(row, 0, 0);
      MESH_POINT("registry.release:after_length");
      stores.store(agents_.state, state(AgentState::free));
      stores.store(agents_.station, kNoStation);
      stores.store(agents_.role, std::uint8_t{0});
      stores.store(agents_.routing, std::uint8_t{0});
      stores.store(agents_.sector, kNoPlace);
      stores.store(agents_.cluster, kNoPlace);
      stores.store(agents_.context_hash, std::uint64_t{0});
      for (std::size_t i = 1; i < kNameWords; ++i) store_name_word(row, i, 0);
    });
  }

  // Makes the row what a predecessor left it to be. Of a row that was never used it stores nothing.
  [[nodiscard]] Result<RecoveredRow> recover(std::size_t row) const {
    const AgentId id = id_of(row);
    const NameBytes name = name_of(row);
    if (id != AgentId{0} && row_of(index_of(id)) != row) {
      return registry_rows_detail::corrupt_row(
          row, "its id names row " + std::to_string(row_of(index_of(id))));
    }
    if (name.length() == 0) {
      if (is_changed(row)) release(row);
      return RecoveredRow::kFree;
    }
    MESH_CHECK_OK(check_taken(row));
    const bool is_detached = station_of(row) == kNoStation;
    const bool counts_as_attached =
        state_of(row) == AgentState::active || state_of(row) == AgentState::degraded;
    if (writer_.is_half_written(row) || (is_detached && counts_as_attached)) {
      writer_.write(row, [&](const Stores& stores) {
        if (is_detached && counts_as_attached) {
          stores.store(agents_.state, state(AgentState::offline));
        }
      });
    }
    return RecoveredRow::kTaken;
  }

  // The writer's own values.
  [[nodiscard]] AgentId id_of(std::size_t row) const noexcept {
    return agents_.id.load_relaxed(row);  // relaxed: this thread is the only writer, here and below
  }
  [[nodiscard]] NameBytes name_of(std::size_t row) const noexcept {
    NameBytes name;
    for (std::size_t i = 0; i < kNameWords; ++i) {
      name.words[i] = agents_.name.load_relaxed(row * kNameWords + i);  // relaxed: as above
    }
    return name;
  }
  // Whether that is the row's name: its bytes compared in place, because nobody else writes them.
  [[nodiscard]] bool has_name(std::size_t row, std::string_view name) const noexcept {
    const char* const bytes =
        reinterpret_cast<const char*>(&agents_.name.values()[row * kNameWords]);
    return static_cast<unsigned char>(bytes[0]) == name.size() &&
           std::memcmp(bytes + 1, name.data(), name.size()) == 0;
  }
  [[nodiscard]] AgentState state_of(std::size_t row) const noexcept {
    return static_cast<AgentState>(agents_.state.load_relaxed(row));  // relaxed: as above
  }
  [[nodiscard]] std::uint8_t routing_of(std::size_t row) const noexcept {
    return agents_.routing.load_relaxed(row);  // relaxed: as above
  }
  [[nodiscard]] StationId station_of(std::size_t row) const noexcept {
    return agents_.station.load_relaxed(row);  // relaxed: as above
  }
  [[nodiscard]] std::uint32_t incarnation_of(std::size_t row) const noexcept {
    return agents_.incarnation.load_relaxed(row);  // relaxed: as above
  }
  [[nodiscard]] std::uint32_t uid_of(std::size_t row) const noexcept {
    return owners_.uid.load_relaxed(row);  // relaxed: as above
  }
  [[nodiscard]] std::int64_t offline_since_ns_of(std::size_t row) const noexcept {
    return owners_.offline_since_ns.load_relaxed(row);  // relaxed: as above
  }
  [[nodiscard]] bool is_half_written(std::size_t row) const noexcept {
    return writer_.is_half_written(row);
  }

 private:
  static constexpr std::uint8_t state(AgentState value) noexcept {
    return static_cast<std::uint8_t>(value);
  }

  void store_name_word(std::size_t row, std::size_t word, std::uint64_t value) const noexcept {
    Stores(row * kNameWords + word).store(agents_.name, value);
  }

  void store_attachment(const Stores& stores, const Attachment& attachment) const noexcept {
    stores.store(agents_.agent_class, static_cast<std::uint8_t>(attachment.agent_class));
    stores.store(agents_.heartbeat_mesh_ms, attachment.now_mesh_ms);
    for (std::size_t i = 0; i < kCapabilityWords; ++i) {
      Stores(stores.row() * kCapabilityWords + i)
          .store(agents_.capabilities, attachment.capabilities.words()[i]);
    }
  }

  void store_without_history(const Stores& stores, sched::AgentClass agent_class) const noexcept {
    const AgentPriors priors = priors_of(agent_class);
    stores.store(agents_.role, std::uint8_t{0});
    stores.store(agents_.routing, std::uint8_t{0});
    stores.store(agents_.sector, kNoPlace);
    stores.store(agents_.cluster, kNoPlace);
    stores.store(agents_.latency_ms, priors.latency_ms);
    stores.store(agents_.processing_ms, priors.processing_ms);
    stores.store(agents_.drift, static_cast<float>(sched::kPriorDrift));
    stores.store(agents_.reliability, static_cast<float>(sched::kPriorReliability));
    stores.store(agents_.queue_depth, std::uint32_t{0});
    stores.store(agents_.score, priors.score);
    stores.store(agents_.confidence, priors.confidence);
    stores.store(agents_.confidence_by_t, priors.confidence);
    stores.store(agents_.work_ms, static_cast<float>(sched::base_processing_ms(agent_class)));
    stores.store(agents_.residual_centre_ms, 0.0F);
    stores.store(agents_.residual_by_t_ms, 0.0F);
    stores.store(agents_.history, std::uint8_t{0});
    stores.store(agents_.context_hash, std::uint64_t{0});
  }

  // Whether a row without a name holds more than its last generation.
  [[nodiscard]] bool is_changed(std::size_t row) const noexcept {
    if (writer_.is_half_written(row) || state_of(row) != AgentState::free) return true;
    return name_of(row) != NameBytes{} || station_of(row) != kNoStation;
  }

  [[nodiscard]] Status check_taken(std::size_t row) const {
    if (auto name = decode("table agent.name row " + std::to_string(row), name_of(row).words);
        !name) {
      return tl::unexpected<Error>(std::move(name).error());
    }
    if (generation_of(id_of(row)) == Generation{0}) {
      return registry_rows_detail::corrupt_row(row, "it has a name and generation 0");
    }
    const auto agent_class =
        static_cast<sched::AgentClass>(agents_.agent_class.load_relaxed(row));  // relaxed: own
    if (!sched::is_known(agent_class)) {
      return registry_rows_detail::corrupt_row(
          row, "class " + std::to_string(static_cast<unsigned>(agent_class)));
    }
    if (state_of(row) == AgentState::free || state_of(row) > AgentState::quarantined) {
      return registry_rows_detail::corrupt_row(
          row, "it has a name and state " + std::to_string(state(state_of(row))));
    }
    return {};
  }

  AgentRows<Memory> agents_;
  OwnerRows<Memory> owners_;
  shm::RowWriter<Memory> writer_;
};

}  // namespace mesh::engine
