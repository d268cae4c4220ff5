// One script of a service run three ways: alone; hosted in another process, which journals it in a
// file, with commands and replies crossing as bytes; and the same with that process killed half
// way and another one opening its journal. Every reply must be the same, byte for byte, and every
// check on the service holds where it stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/store/journal_disk.hpp"

namespace mesh::coordination::testing {

template <DurableService Service>
class Script {
 public:
  using Config = typename Service::Config;
  using Command = typename Service::Command;
  using Reply = typename Service::Reply;
  using Actions = typename Service::Actions;
  using Replies = std::vector<Reply>;  // one a step; of a tick an empty one
  using Seen = std::function<void(const Service&, const Reply&)>;
  using Ticked = std::function<void(const Service&, const Actions&)>;

  explicit Script(Config config) : config_(std::move(config)) {}

  void say(Nanos now, std::function<Command(const Replies&)> command, Seen check = {}) {
    steps_.push_back({now, std::move(command), std::move(check), {}});
  }
  void say(Nanos now, const Command& command, Seen check = {}) {
    say(
        now, [command](const Replies&) { return command; }, std::move(check));
  }
  void tick(Nanos now, Ticked check = {}) { steps_.push_back({now, {}, {}, std::move(check)}); }
  // Replies so far, for a command that needs one.
  [[nodiscard]] std::size_t next() const { return steps_.size(); }

  // All three. The third dies after each step in turn, or after so many of them, evenly.
  void run(std::size_t deaths_max = 12) const {
    ASSERT_FALSE(steps_.empty());
    const auto valid = Service::validate(config_);
    ASSERT_TRUE(valid) << valid.error().sentence;
    const std::vector<Bytes> alone = run_alone();
    ASSERT_FALSE(::testing::Test::HasFailure()) << "alone";
    EXPECT_EQ(run_hosted(steps_.size()), alone) << "hosted";
    ASSERT_FALSE(::testing::Test::HasFailure()) << "hosted";
    const std::size_t deaths = std::min(deaths_max, steps_.size() - 1);
    for (std::size_t i = 1; i <= deaths; ++i) {
      const std::size_t at = i * steps_.size() / (deaths + 1);
      EXPECT_EQ(run_hosted(at), alone) << "killed after step " << at;
      ASSERT_FALSE(::testing::Test::HasFailure()) << "killed after step " << at;
    }
  }

 private:
  using Bytes = std::vector<std::byte>;
  struct Step {
    Nanos now{0};
    std::function<Command(const Replies&)> command;  // none: a tick
    Seen check;
    Ticked ticked;
  };

  static Bytes bytes_of(const Reply& reply) {
    StateWriter writer;
    Service::encode(reply, writer);
    return writer.take();
  }
  std::vector<Bytes> run_alone() const {
    Service service(config_, kSeed);
    Replies replies;
    std::vector<Bytes> bytes;
    for (const Step& step : steps_) {
      Actions actions{};
      replies.push_back({});
      if (step.command) {
        replies.back() = service.apply(step.command(replies), step.now);
      } else {
        service.tick(step.now, actions);
      }
      look(step, service, replies.back(), actions);
      bytes.push_back(bytes_of(replies.back()));
    }
    const auto sound = service.verify();
    EXPECT_TRUE(sound) << sound.error().sentence;
    return bytes;
  }
  static void look(const Step& step, const Service& service, const Reply& reply,
                   const Actions& actions) {
    if (step.check) step.check(service, reply);
    if (step.ticked) step.ticked(service, actions);
  }

  // --- the client's side ---

  std::vector<Bytes> run_hosted(std::size_t killed_after) const {
    const mesh::testing::ScratchDirectory folder;
    auto host = std::make_unique<Host>(*this, folder.file("journal.db"));
    Replies replies;
    std::vector<Bytes> bytes;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (i == killed_after) {
        host.reset();  // SIGKILL
        host = std::make_unique<Host>(*this, folder.file("journal.db"));
      }
      StateWriter request;
      request.put(static_cast<std::uint32_t>(i));
      replies.push_back({});
      if (steps_[i].command) Service::encode(steps_[i].command(replies), request);
      const Bytes answer = host->ask(request.bytes());
      StateReader reader(answer);
      EXPECT_FALSE(reader.get<bool>()) << "a check failed in the host, step " << i;
      replies.back() = Service::decode_reply(reader);
      const auto whole = reader.finish("answer");
      EXPECT_TRUE(whole) << whole.error().sentence << ", step " << i;
      bytes.push_back(bytes_of(replies.back()));
      if (::testing::Test::HasFailure()) break;
    }
    return bytes;
  }

  // Another process, by its two pipes. Killed when it goes.
  class Host {
   public:
    Host(const Script& script, const std::string& where) {
      int to[2];
      int from[2];
      EXPECT_EQ(::pipe(to), 0);
      EXPECT_EQ(::pipe(from), 0);
      child_ = ::fork();
      if (child_ == 0) {
        ::close(to[1]);
        ::close(from[0]);
        ::_exit(script.serve(where, to[0], from[1]));
      }
      ::close(to[0]);
      ::close(from[1]);
      to_ = to[1];
      from_ = from[0];
    }
    ~Host() {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
      ::close(to_);
      ::close(from_);
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    Bytes ask(std::span<const std::byte> request) {
      send(to_, request);
      return receive(from_).value_or(Bytes{});
    }

   private:
    pid_t child_ = 0;
    int to_ = -1;
    int from_ = -1;
  };

  // --- the host's side ---

  int serve(const std::string& where, int requests, int answers) const {
    auto journal = engine::SqliteJournal::open({.where = where, .service = "test"}).value();
    JournalOptions options;
    options.seed = kSeed;
    auto service = JournaledService<Service>::open(config_, *journal, options).value();
    while (const auto request = receive(requests)) {
      StateReader reader(*request);
      const auto index = reader.get<std::uint32_t>();
      const Step& step = steps_.at(index);
      Actions actions{};
      Reply reply{};
      if (step.command) {
        const Command command = Service::decode_command(reader);
        EXPECT_TRUE(reader.finish("request"));
        reply = service.execute({{1, index + 1}, command}, step.now).value();
      } else {
        EXPECT_TRUE(service.tick(step.now, actions));
      }
      if (index % 5 == 4) {
        EXPECT_TRUE(service.checkpoint());
      }
      look(step, service.service(), reply, actions);
      EXPECT_TRUE(service.service().verify());
      StateWriter answer;
      answer.put(::testing::Test::HasFailure());
      Service::encode(reply, answer);
      send(answers, answer.bytes());
    }
    return 0;
  }

  static void send(int pipe, std::span<const std::byte> bytes) {
    StateWriter sized;
    sized.put(bytes);
    std::span<const std::byte> left = sized.bytes();
    while (!left.empty()) {
      const ssize_t sent = ::write(pipe, left.data(), left.size());
      if (sent <= 0) return;
      left = left.subspan(static_cast<std::size_t>(sent));
    }
  }
  static bool fill(int pipe, std::span<std::byte> into) {
    while (!into.empty()) {
      const ssize_t got = ::read(pipe, into.data(), into.size());
      if (got <= 0) return false;
      into = into.subspan(static_cast<std::size_t>(got));
    }
    return true;
  }
  static std::optional<Bytes> receive(int pipe) {
    std::uint32_t size = 0;
    if (!fill(pipe, std::as_writable_bytes(std::span(&size, 1)))) return std::nullopt;
    Bytes bytes(size);
    if (!fill(pipe, bytes)) return std::nullopt;
    return bytes;
  }

  static constexpr std::uint64_t kSeed = 11;
  Config config_;
  std::vector<Step> steps_;
};

}  // namespace mesh::coordination::testing
