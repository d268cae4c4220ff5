// ControlServer: agents' contexts: taken over from stations, looked at by consoles, loaded again.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"
#include "engine/control_orders.hpp"
#include "engine/running_contexts.hpp"
#include "shm/descriptor_passing.hpp"
#include "shm/hash.hpp"
#include "shm/sealed_bytes.hpp"

namespace mesh::engine {

using nlohmann::json;

// What a station handed over: of this agent, if it is that station's.
struct HandedContext {
  AgentId agent{};
  std::uint16_t station = 0;
  std::uint64_t hash = 0;
  std::string bytes;
};

// Who an agent is; what comes next is done on the control thread.
class ControlServer::KnownJob final : public Job {
 public:
  using Find = std::function<Result<EngineLoop::KnownAgent>(EngineLoop&)>;
  using Then = std::function<void(Result<EngineLoop::KnownAgent>)>;
  KnownJob(Find find, Then then) : find_(std::move(find)), then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    known_ = find_(scheduler.loop());
    return std::nullopt;
  }
  void done() override { then_(std::move(known_)); }

 private:
  Find find_;
  Then then_;
  Result<EngineLoop::KnownAgent> known_{fail(Errc::closed, "the engine stopped first")};
};

// What is kept is what the agent's context is to be. Then its station is told.
class ControlServer::ExpectJob final : public RequestJob {
 public:
  struct What {
    AgentId agent{};
    std::uint64_t hash = 0;
    std::uint64_t version = 0;
    bool in_store = false;
  };
  ExpectJob(ControlServer& server, std::uint64_t connection, What what)
      : RequestJob(server, connection), what_(what) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    const Status done = scheduler.loop().expect_context(what_.agent, what_.hash);
    if (!done) fail_with(done.error());
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    return dump({{"ok", true}, {"version", what_.version}, {"in_store", what_.in_store}});
  }
  What what_;
};

// Taken over.

void ControlServer::handle_context(Connection& connection, const json& request,
                                   std::span<shm::Descriptor> carried) {
  if (!connection.is_attached)
    return refuse(connection, {Errc::not_ready, 0, "context: this connection has not attached"});
  const auto agent = count_field(request, "agent");
  if (!agent) return refuse(connection, agent.error());
  const auto hash = count_field(request, "hash");
  if (!hash) return refuse(connection, hash.error());
  if (carried.size() != 1)
    return refuse(connection, {Errc::wrong_descriptor_count, 1,
                               "context: the request carries " + std::to_string(carried.size()) +
                                   " descriptors, agreed was 1"});
  auto bytes = shm::read_sealed(carried.front().get(), kContextBytesMax);
  if (!bytes) return refuse(connection, bytes.error());
  auto handed = std::make_shared<HandedContext>(
      HandedContext{AgentId{*agent}, connection.station, *hash, std::move(*bytes)});
  connection.is_busy = true;
  post(std::make_unique<KnownJob>(
      [id = handed->agent](EngineLoop& loop) { return loop.known(id); },
      [this, number = connection.number, handed](Result<EngineLoop::KnownAgent> known) {
        Connection* const asked = find(number);
        if (asked == nullptr) return;
        if (known && known->station == StationId{handed->station})
          return keep_context(number, *known, handed);
        refuse(*asked, known ? Error{Errc::no_such_agent, 0,
                                     "context: no agent of this station has this handle"}
                             : known.error());
        if (asked->is_broken) drop(number);
      }));
}

void ControlServer::keep_context(std::uint64_t connection, const EngineLoop::KnownAgent& known,
                                 const std::shared_ptr<HandedContext>& handed) {
  const std::uint64_t hash = shm::hash64(handed->bytes);
  if (hash != handed->hash)
    return tell(connection, error_json({Errc::corrupt, 0,
                                        "context: the bytes do not have the hash that is said"}));
  const std::int64_t unix_ns =
      to_ns(clock_->now()) + options_.format.created_ns -
      static_cast<std::int64_t>(
          options_.format.parameters[static_cast<std::size_t>(MemoryParameter::start_ns)]);
  options_.contexts->keep(
      {.owner = {known.name, known.uid},
       .hash = hash,
       .at = static_cast<WireTime>(unix_ns),
       .bytes = std::move(handed->bytes)},
      [this, connection, agent = handed->agent, hash,
       in_store = options_.contexts->is_in_store()](Result<std::uint64_t> version) {
        if (!version) return tell(connection, error_json(version.error()));
        auto job = std::make_unique<ExpectJob>(*this, connection,
                                               ExpectJob::What{agent, hash, *version, in_store});
        if (scheduler_.post(std::move(job)) != nullptr)
          tell(connection, error_json({Errc::busy, 0, "context: the engine has too much to do"}));
      });
}

// Looked at.

namespace {

json version_json(const ContextVersion& version) {
  return {{"version", version.version},
          {"hash", hex_of(version.hash)},
          {"bytes", version.bytes.size()},
          {"at_unix_ns", static_cast<std::int64_t>(version.at)}};
}

// All that are kept; or one, with its bytes.
ToldAnswer answer_of(const std::vector<ContextVersion>& versions, const json& about,
                     std::optional<std::uint64_t> wanted) {
  ToldAnswer told;
  json object = about;
  if (!wanted) {
    json list = json::array();
    for (const ContextVersion& version : versions) list.push_back(version_json(version));
    object["versions"] = std::move(list);
    told.json = dump(object);
    return told;
  }
  for (const ContextVersion& version : versions) {
    if (*wanted != 0 && version.version != *wanted) continue;
    auto sealed = shm::seal_bytes("context", std::as_bytes(std::span(version.bytes)));
    if (!sealed) {
      told.json = error_json(sealed.error());
      return told;
    }
    object.update(version_json(version));
    told.json = dump(object);
    told.carried = std::move(*sealed);
    return told;
  }
  told.json =
      error_json({Errc::not_found, 0,
                  "context: " + (*wanted == 0 ? "none" : "no version " + std::to_string(*wanted)) +
                      " of '" + about.value("agent", "") + "' is kept"});
  return told;
}

}  // namespace

Status ControlServer::begin_contexts(const ConsoleRequest& request, const json& object) {
  MESH_TRY(std::string name, text_field(object, "agent"));
  MESH_TRY(const bool with_bytes, flag_field(object, "with_bytes", false));
  std::optional<std::uint64_t> wanted;
  if (with_bytes) {
    MESH_TRY(wanted, object.contains("version") ? count_field(object, "version")
                                                : Result<std::uint64_t>(0));
  }
  post(std::make_unique<KnownJob>(
      [name](EngineLoop& loop) -> Result<EngineLoop::KnownAgent> {
        const auto found = loop.find(name);
        if (!found) return fail(Errc::no_such_agent, "context: no agent is called '" + name + "'");
        return loop.known(*found);
      },
      [this, wanted, number = request.connection](Result<EngineLoop::KnownAgent> known) {
        if (!known) return tell(number, error_json(known.error()));
        const json about = {{"ok", true},
                            {"agent", known->name},
                            {"expected_hash", hex_of(known->context_hash)},
                            {"quarantined", known->is_quarantined},
                            {"loads_context", loads_context(known->station).value_or(false)},
                            {"in_store", options_.contexts->is_in_store()}};
        options_.contexts->list(
            {known->name, known->uid},
            [this, number, about, wanted](Result<std::vector<ContextVersion>> versions) {
              if (!versions) return tell(number, error_json(versions.error()));
              ToldAnswer told = answer_of(*versions, about, wanted);
              told.connection = number;
              tell(std::move(told));
            });
      }));
  return {};
}

// Loaded again.

void ControlServer::load(LoadOrder order) {
  orders_->give(std::move(order));
  static_cast<void>(options_.wake->signal());
}

std::optional<bool> ControlServer::loads_context(StationId station) const {
  return orders_->loads(station);
}

void ControlServer::take_orders() {
  for (LoadOrder& order : orders_->take()) {
    const auto number = static_cast<std::uint16_t>(order.station);
    const auto owner = owners_.find(number);
    Connection* const connection = owner == owners_.end() ? nullptr : find(owner->second);
    if (connection == nullptr || !connection->is_attached) {
      order.done(fail(Errc::closed, "the agent's process is away"));
      continue;
    }
    const std::uint64_t asked = ++orders_->last_number;
    const std::string question = dump({{"ask", "load_context"},
                                       {"agent", static_cast<std::uint64_t>(order.agent)},
                                       {"number", asked},
                                       {"hash", order.hash}});
    const int carried = order.bytes.get();
    const Status sent = shm::send_descriptors(
        connection->socket.get(), std::as_bytes(std::span(question)), std::span(&carried, 1));
    if (!sent) {
      order.done(sent);
      continue;
    }
    orders_->asked.emplace(asked, Orders::Asked{connection->number, std::move(order)});
    static_cast<void>(stations_.at(number)->wake().signal());
  }
}

// What a station says is input; that it loads something else than it was given is no success.
void ControlServer::handle_loaded(const Connection& connection, const json& object) {
  const auto number = count_field(object, "number");
  const auto found = number ? orders_->asked.find(*number) : orders_->asked.end();
  if (found == orders_->asked.end() || found->second.connection != connection.number) return;
  const LoadOrder order = std::move(found->second.order);
  orders_->asked.erase(found);
  const auto error = object.find("error");
  if (error != object.end()) {
    const auto sentence = error->is_object() ? text_field(*error, "sentence")
                                             : Result<std::string>(std::string("it says not why"));
    return order.done(fail(Errc::callback_failed, "the agent's process could not load it: " +
                                                      sentence.value_or("it says not why")));
  }
  const auto hash = count_field(object, "hash");
  if (hash && *hash == order.hash) return order.done({});
  order.done(fail(Errc::verification_failed, "the agent's process loaded something else"));
}

void ControlServer::fail_orders(std::uint64_t connection) {
  std::vector<LoadOrder> failed;
  for (auto it = orders_->asked.begin(); it != orders_->asked.end();) {
    if (it->second.connection == connection) {
      failed.push_back(std::move(it->second.order));
      it = orders_->asked.erase(it);
    } else {
      ++it;
    }
  }
  for (const LoadOrder& order : failed)
    order.done(fail(Errc::closed, "the agent's process went while it loaded"));
}

}  // namespace mesh::engine
