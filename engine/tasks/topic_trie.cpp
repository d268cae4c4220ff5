#include "engine/tasks/topic_trie.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/names.hpp"

namespace mesh::tasks {
namespace {

constexpr std::size_t kTopicWordsMax = 16;

// The first word, and what follows its dot; no dot: it was the last.
struct TopicSplit {
  std::string_view word;
  std::string_view rest;
  bool is_last = true;
};
TopicSplit split_topic(std::string_view text) noexcept {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return {text, {}, true};
  return {text.substr(0, dot), text.substr(dot + 1), false};
}

bool has_good_words(std::string_view text, bool stars_allowed) noexcept {
  std::size_t words = 0;
  for (bool is_last = false; !is_last; ++words) {
    const TopicSplit split = split_topic(text);
    const bool has_star = split.word.find('*') != std::string_view::npos;
    const bool is_star = split.word == "*" || split.word == "**";
    if (split.word.empty() || (has_star && !(stars_allowed && is_star))) return false;
    text = split.rest;
    is_last = split.is_last;
  }
  return words <= kTopicWordsMax;
}

bool is_of_double_stars(std::string_view pattern) noexcept {
  TopicSplit split = split_topic(pattern);
  while (split.word == "**" && !split.is_last) split = split_topic(split.rest);
  return split.word == "**";
}

tl::unexpected<Error> refuse_pattern(std::string_view pattern) {
  return fail(Errc::invalid_argument,
              "topic pattern \"" + std::string(pattern.substr(0, coordination::kNameBytesMax)) +
                  "\": 1 to 16 words with dots between, a star only as a whole word");
}

}  // namespace

bool is_topic(std::string_view topic) noexcept {
  return coordination::is_name(topic) && has_good_words(topic, false);
}

bool topic_matches(std::string_view pattern, std::string_view topic) noexcept {
  const TopicSplit wanted = split_topic(pattern);
  if (wanted.word == "**") {
    if (wanted.is_last) return true;
    for (TopicSplit split{{}, topic, false}; !split.is_last; split = split_topic(split.rest)) {
      if (topic_matches(wanted.rest, split.rest)) return true;
    }
    return false;
  }
  const TopicSplit got = split_topic(topic);
  if (wanted.word != "*" && wanted.word != got.word) return false;
  if (got.is_last) {  // what is left of the pattern may stand for nothing
    return wanted.is_last || is_of_double_stars(wanted.rest);
  }
  return !wanted.is_last && topic_matches(wanted.rest, got.rest);
}

Status TopicTrie::subscribe(std::string_view pattern, std::uint32_t subscriber) {
  if (!coordination::is_name(pattern) || !has_good_words(pattern, true)) {
    return refuse_pattern(pattern);
  }
  if (count_ == subscriptions_max_) {
    return fail(Errc::capacity,
                "topics: " + std::to_string(subscriptions_max_) + " subscriptions are the limit",
                subscriptions_max_);
  }
  Node* node = &root_;
  for (bool is_last = false; !is_last;) {
    const TopicSplit split = split_topic(pattern);
    node = &node->words.try_emplace(std::string(split.word)).first->second;
    pattern = split.rest;
    is_last = split.is_last;
  }
  auto& list = node->subscribers;
  const auto at = std::lower_bound(list.begin(), list.end(), subscriber);
  if (at != list.end() && *at == subscriber) {
    return fail(Errc::already_exists,
                "topics: " + std::to_string(subscriber) + " has this subscription");
  }
  list.insert(at, subscriber);
  ++count_;
  return {};
}

Status TopicTrie::unsubscribe(std::string_view pattern, std::uint32_t subscriber) {
  Node* node = &root_;
  for (bool is_last = false; !is_last && node != nullptr;) {
    const TopicSplit split = split_topic(pattern);
    const auto next = node->words.find(split.word);
    node = next == node->words.end() ? nullptr : &next->second;
    pattern = split.rest;
    is_last = split.is_last;
  }
  if (node != nullptr && std::erase(node->subscribers, subscriber) != 0) {
    --count_;
    return {};
  }
  return fail(Errc::not_found,
              "topics: " + std::to_string(subscriber) + " has no such subscription");
}

// at_end: no word of the topic is left.
void TopicTrie::gather(const Node& node, std::string_view rest, bool at_end,
                       std::vector<std::uint32_t>& out) {
  if (at_end) out.insert(out.end(), node.subscribers.begin(), node.subscribers.end());
  if (const auto any = node.words.find("**"); any != node.words.end()) {
    // None of what is left, one word of it, two, ...
    gather(any->second, rest, at_end, out);
    for (TopicSplit split{{}, rest, at_end}; !split.is_last;) {
      split = split_topic(split.rest);
      gather(any->second, split.rest, split.is_last, out);
    }
  }
  if (at_end) return;
  const TopicSplit split = split_topic(rest);
  for (const std::string_view word : {split.word, std::string_view("*")}) {
    const auto next = node.words.find(word);
    if (next != node.words.end()) gather(next->second, split.rest, split.is_last, out);
  }
}

std::vector<std::uint32_t> TopicTrie::match(std::string_view topic) const {
  std::vector<std::uint32_t> out;
  if (!is_topic(topic)) return out;
  gather(root_, topic, false, out);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace mesh::tasks
