// Station: contexts of its agents, handed over and loaded again.
#include <exception>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/handed_over.hpp"
#include "engine/station/station.hpp"
#include "shm/hash.hpp"
#include "shm/sealed_bytes.hpp"

namespace mesh::engine {

using nlohmann::json;

// While neither side can know which of two contexts it is, the agent does not say.
Result<ContextReceipt> Station::set_context(AgentId agent, std::span<const std::byte> context) {
  if (context.size() > kContextBytesMost)
    return fail(Errc::truncated,
                "context: " + std::to_string(context.size()) + " bytes, at most " +
                    std::to_string(kContextBytesMost) + " are kept",
                static_cast<std::int64_t>(kContextBytesMost));
  MESH_CHECK_OK(core_->say_context(agent, 0));
  const std::uint64_t hash = shm::hash64(context);
  MESH_TRY(const shm::Descriptor sealed, shm::seal_bytes("context", context));
  const std::string request =
      json{{"op", "context"}, {"agent", static_cast<std::uint64_t>(agent)}, {"hash", hash}}.dump();
  const int passed = sealed.get();
  MESH_TRY(const std::string answer, ask(request, std::span(&passed, 1)));
  const json object = json::parse(answer, nullptr, false);
  ContextReceipt receipt{.hash = hash};
  MESH_TRY(receipt.version, number_in(object, "version"));
  receipt.in_store = object.value("in_store", false);
  MESH_CHECK_OK(core_->say_context(agent, hash));
  return receipt;
}

// The hash of what is loaded now.
Result<std::uint64_t> Station::load(const ControlAnswer& question) {
  const json object = json::parse(question.json, nullptr, false);
  MESH_TRY(const std::uint64_t id, number_in(object, "agent"));
  MESH_TRY(const std::uint64_t hash, number_in(object, "hash"));
  if (question.descriptors.size() != 1)
    return fail(Errc::wrong_descriptor_count, "load context: the question carries " +
                                                  std::to_string(question.descriptors.size()) +
                                                  " descriptors, agreed was 1");
  MESH_TRY(const std::string bytes,
           shm::read_sealed(question.descriptors.front().get(), kContextBytesMost));
  const AgentId agent{id};
  if (shm::hash64(bytes) != hash)
    return fail(Errc::corrupt, "load context: the bytes are not those that were kept");
  if (!options_.load_context)
    return fail(Errc::unsupported, "load context: this station has no handler for it");
  MESH_CHECK_OK(core_->say_context(agent, 0));
  try {
    MESH_CHECK_OK(options_.load_context(agent, std::as_bytes(std::span(bytes))));
  } catch (const std::exception& error) {
    return fail(Errc::callback_failed,
                std::string("load context: the handler threw: ") + error.what());
  } catch (...) {
    return fail(Errc::callback_failed, "load context: the handler threw");
  }
  MESH_CHECK_OK(core_->say_context(agent, hash));
  return hash;
}

void Station::answer_questions() {
  std::vector<ControlAnswer> questions;
  questions.swap(questions_);
  for (const ControlAnswer& question : questions) {
    const json object = json::parse(question.json, nullptr, false);
    const auto ask = object.find("ask");
    if (ask == object.end() || *ask != "load_context") continue;  // of a newer engine
    json reply = {{"op", "loaded"}, {"number", object.value("number", json(0))}};
    if (const auto hash = load(question)) {
      reply["hash"] = *hash;
    } else {
      reply["error"] = {{"code", name_of(hash.error().code)},
                        {"detail", hash.error().detail},
                        {"sentence", hash.error().sentence.substr(0, 1'024)}};
    }
    // Words of a handler may be no text.
    control_.say(reply.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

}  // namespace mesh::engine
