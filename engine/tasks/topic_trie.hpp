// TopicTrie: who wants messages of which topics. "sector.*.alerts": one word in place of the star;
// "sector.**.alerts": any number of words, none too.
//
// Callers     one thread.  Progress  subscribing allocates; match: the nodes that fit.
// Limits      topics and patterns of 1 to 128 bytes, 16 words at most; the subscriptions of the
//             constructor.
// Errors      subscribe -> invalid_argument (an empty word, a star within a word), capacity,
//             already_exists. unsubscribe -> not_found.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tasks {

[[nodiscard]] bool is_topic(std::string_view topic) noexcept;
[[nodiscard]] bool topic_matches(std::string_view pattern, std::string_view topic) noexcept;

class TopicTrie {
 public:
  explicit TopicTrie(std::uint32_t subscriptions_max) : subscriptions_max_(subscriptions_max) {}

  Status subscribe(std::string_view pattern, std::uint32_t subscriber);
  Status unsubscribe(std::string_view pattern, std::uint32_t subscriber);
  // Ascending, each once, however many of its patterns fit.
  [[nodiscard]] std::vector<std::uint32_t> match(std::string_view topic) const;
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

 private:
  struct Node {
    std::map<std::string, Node, std::less<>> words;
    std::vector<std::uint32_t> subscribers;  // of the pattern that ends here
  };
  static void gather(const Node& node, std::string_view rest, bool at_end,
                     std::vector<std::uint32_t>& out);

  Node root_;
  std::uint32_t subscriptions_max_;
  std::uint32_t count_ = 0;
};

}  // namespace mesh::tasks
