#include "engine/running_contexts.hpp"

#include <utility>

namespace mesh::engine {
namespace {

tl::unexpected<Error> is_away() {
  return fail(Errc::not_ready, "context: the store is away; nothing is kept, try again later");
}

}  // namespace

void RunningContexts::keep(ContextVersion context, Kept done) {
  if (conflicts_ == nullptr) return done(shelf_.keep(std::move(context)));
  conflicts_->call([context = std::move(context), done = std::move(done)](ConflictOffice& office,
                                                                          HostTime /*now*/) {
    Store* const store = office.store();
    done(store == nullptr ? Result<std::uint64_t>(is_away()) : store->keep_context(context));
  });
}

void RunningContexts::list(ContextOwner owner, Listed done) {
  if (conflicts_ == nullptr) return done(shelf_.contexts(owner));
  conflicts_->call(
      [owner = std::move(owner), done = std::move(done)](ConflictOffice& office, HostTime /*now*/) {
        Store* const store = office.store();
        done(store == nullptr ? Result<std::vector<ContextVersion>>(is_away())
                              : store->contexts(owner));
      });
}

}  // namespace mesh::engine
