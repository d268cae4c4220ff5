#include "engine/reports/tail_page.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include "engine/reports/tail_json.hpp"

namespace mesh::engine::reports {
namespace {

constexpr int kLooksARefresh = 20;
constexpr std::size_t kBodyBytesMax = 16U << 10;  // as JSON
constexpr std::size_t kRestOfLine = 256;          // of a recorded message, its body apart

// A body that alone would fill a packet is cut: it has fewer bytes than `body_bytes` says.
Json cut_json(const PassedDelivery& passed) {
  Json json = passed_json(passed);
  if (!passed.body) return json;
  std::size_t kept = passed.body->size();
  while (text_of(json["body"]).size() > kBodyBytesMax) {
    kept /= 2;
    json["body"] = passed.body->substr(0, kept);
  }
  return json;
}

std::string started_text() { return utc_text(unix_now_ns()); }

}  // namespace

Status TailPage::open(const std::string& directory) {
  MESH_TRY(InboxTail tail, InboxTail::open(directory));
  if (wanted_.since) MESH_CHECK_OK(tail.go_on_from(*wanted_.since));
  tail_.emplace(std::move(tail));
  return {};
}

bool TailPage::is_meant(const PassedDelivery& passed) const {
  const std::string& agent = wanted_.agent;
  if (!agent.empty() && passed.source != agent && passed.target != agent) return false;
  return !wanted_.check || passed.record.kind == sched::RecordKind::message;
}

// False: it is for the next page.
bool TailPage::take(const PassedDelivery& passed) {
  if (!is_meant(passed)) return true;
  if (is_full_ || taken_ == wanted_.count) return false;
  if (wanted_.check) {
    auto message = recorded(passed);
    if (!message) {
      ++bodies_gone_;
      return true;
    }
    const std::size_t bytes =
        2 * message->body.size() + message->from.size() + message->to.size() + kRestOfLine;
    if (bytes > wanted_.bytes_max) {  // no page holds it
      ++bodies_gone_;
      return true;
    }
    is_full_ = bytes_ + bytes > wanted_.bytes_max;
    if (is_full_) return false;
    bytes_ += bytes;
    messages_.push_back(std::move(*message));
  } else {
    Json json = cut_json(passed);
    const std::size_t bytes = text_of(json).size() + 1;
    is_full_ = taken_ != 0 && bytes_ + bytes > wanted_.bytes_max;
    if (is_full_) return false;
    bytes_ += bytes;
    passed_.push_back(std::move(json));
  }
  ++taken_;
  return true;
}

Json TailPage::page() {
  Json next = Json::object();
  for (const auto& [station, position] : tail_->positions())
    next[std::to_string(station)] = position;
  if (!wanted_.check)
    return {{"passed", std::move(passed_)}, {"missed", missed_}, {"next", std::move(next)}};
  std::ostringstream out;
  RecordingWriter writer = wanted_.check->empty()
                               ? RecordingWriter(out, tail_->directory(), started_text())
                               : RecordingWriter(out, *wanted_.check);
  for (const RecordedMessage& message : messages_) writer.add(message);
  writer.add_missed(missed_ + bodies_gone_);
  Json lines = Json::array();
  std::istringstream in(out.str());
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return {{"lines", std::move(lines)},
          {"messages", writer.messages()},
          {"missed", writer.missed()},
          {"check", writer.check()},
          {"next", std::move(next)}};
}

Result<std::optional<Json>> TailPage::step(const std::string& directory, Nanos now) {
  if (!tail_) {
    MESH_CHECK_OK(open(directory));
    until_ = now + wanted_.wait;
  }
  const std::size_t stations = std::max<std::size_t>(tail_->positions().size(), 1);
  const std::uint64_t share = std::max<std::uint64_t>(wanted_.count / stations, 1);
  std::uint64_t before = 0;
  do {
    before = taken_;
    missed_ += tail_->poll_some(share, [this](const PassedDelivery& one) { return take(one); });
  } while (taken_ != before && taken_ < wanted_.count && !is_full_);
  if (taken_ != 0 || missed_ + bodies_gone_ != 0 || now >= *until_) return std::optional(page());
  if (++looks_ % kLooksARefresh == 0) MESH_CHECK_OK(tail_->refresh());
  return std::optional<Json>();
}

}  // namespace mesh::engine::reports
