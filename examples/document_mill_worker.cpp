// A worker of the document mill: bids for what it is offered, and does what it has won.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <span>
#include <sstream>

#include <sys/socket.h>
#include <unistd.h>

#include "engine/coordination/blocks/hash_chain.hpp"
#include "examples/document_mill_terms.hpp"

namespace mill {

bool send_message(int socket, const Message& message) noexcept {
  return ::send(socket, &message, sizeof(message), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof(message));
}

Received receive_message(int socket, Message& message, bool waits) noexcept {
  for (;;) {
    const ssize_t size = ::recv(socket, &message, sizeof(message), waits ? 0 : MSG_DONTWAIT);
    if (size == static_cast<ssize_t>(sizeof(message))) return Received::whole;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::nothing;
    return Received::gone;
  }
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string to_hex(const std::array<std::byte, 32>& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte one : digest) {
    text += kDigits[static_cast<std::size_t>(one >> 4)];
    text += kDigits[static_cast<std::size_t>(one & std::byte{15})];
  }
  return text;
}

namespace {

std::array<std::byte, 32> digest_of(const std::string& text) {
  return mesh::coordination::sha256(std::as_bytes(std::span(text)));
}

// What stands in a document, in numbers and one line.
std::string summary_of(const std::string& text) {
  std::istringstream words(text);
  std::string word;
  std::string longest;
  std::size_t count = 0;
  while (words >> word) {
    ++count;
    if (word.size() > longest.size()) longest = word;
  }
  std::size_t lines = 0;
  for (const char one : text) lines += one == '\n' ? 1U : 0U;
  return std::to_string(lines) + " lines, " + std::to_string(count) + " words, longest \"" +
         longest + "\"; begins: " + text.substr(0, std::min<std::size_t>(40, text.find('\n'))) +
         "\n";
}

class Worker {
 public:
  Worker(const Plan& plan, const Place& place, TrialsDone& trials)
      : plan_(plan), place_(place), trials_(trials) {}

  int live() {
    at(Step::started);
    if (!say({.say = Say::joined})) return 1;
    at(Step::joined);
    Message heard;
    while (receive_message(place_.socket, heard, true) == Received::whole) {
      if (heard.say == Say::quit) return 0;
      if (heard.say == Say::offer) bid_for(heard);
      if (heard.say == Say::work) take(heard);
      if (heard.say == Say::locked) make(heard);
      if (heard.say == Say::committed) at(Step::committed);
    }
    return 1;  // the mill is gone
  }

 private:
  void at(Step step) {
    for (std::size_t i = 0; i < plan_.trials.size(); ++i) {
      const Trial& trial = plan_.trials[i];
      if (trial.kind != place_.kind || trial.step != step) continue;
      // relaxed: it guards nothing but itself
      if (trials_.done[i].exchange(1, std::memory_order_relaxed) != 0) continue;
      ::kill(::getpid(), trial.stops ? SIGSTOP : SIGKILL);
    }
  }
  bool say(const Message& message) { return send_message(place_.socket, message); }

  // The more it has done, the dearer: work goes round. A lower seat is cheaper by a millionth.
  void bid_for(const Message& offer) {
    at(Step::offered);
    Message bid = offer;
    bid.say = Say::bid;
    bid.price = 1'000 * static_cast<std::int64_t>(1 + done_) + place_.seat;
    say(bid);
    at(Step::bid);
  }
  void take(const Message& work) {
    at(Step::assigned);
    Message want = work;
    want.say = Say::want_lock;
    say(want);
  }
  void make(const Message& locked) {
    at(Step::locked);
    const Task task = task_of(locked.task);
    const std::string content = content_of(task);
    at(Step::read);
    Message told = locked;
    told.say = place_.fails ? Say::failed : Say::done;
    if (!place_.fails) {
      std::ofstream part(plan_.part(task, locked.token), std::ios::binary | std::ios::trunc);
      part << content.substr(0, content.size() / 2) << std::flush;
      at(Step::half_written);
      part << content.substr(content.size() / 2) << std::flush;
      at(Step::written);
      told.digest = digest_of(content);
    }
    ++done_;
    say(told);
    at(Step::reported);
  }

  [[nodiscard]] std::string made(const Task& task) const {
    return read_file(plan_.output / plan_.output_name(task));
  }
  [[nodiscard]] std::string content_of(const Task& task) const {
    if (task.kind == Kind::binder && task.document == plan_.count()) return index();
    const std::string& name = plan_.names.at(task.document);
    if (task.kind == Kind::binder) {
      return name + "\n" + made({Kind::hasher, task.document}) +
             made({Kind::summariser, task.document}) + "\n";
    }
    const std::string text = read_file(plan_.documents / name);
    if (task.kind == Kind::summariser) return summary_of(text);
    return to_hex(digest_of(text)) + ", " + std::to_string(text.size()) + " bytes\n";
  }
  [[nodiscard]] std::string index() const {
    std::string text = std::to_string(plan_.count()) + " documents\n\n";
    for (std::uint32_t i = 0; i < plan_.count(); ++i) text += made({Kind::binder, i});
    return text;
  }

  const Plan& plan_;
  Place place_;
  TrialsDone& trials_;
  std::uint64_t done_ = 0;
};

}  // namespace

int work(const Plan& plan, const Place& place, TrialsDone& trials) {
  return Worker(plan, place, trials).live();
}

}  // namespace mill
