#include "tools/progress_bar.hpp"

#include <algorithm>
#include <ostream>
#include <string>

#include <fmt/format.h>

namespace mesh::tools {
namespace {

constexpr std::uint64_t kCells = 30;
constexpr std::string_view kClearLine = "\r\x1b[K";

}  // namespace

ProgressBar::~ProgressBar() {
  if (shown_) *terminal_ << kClearLine << std::flush;
}

void ProgressBar::show(std::uint64_t done, std::uint64_t of, std::string_view what) {
  if (terminal_ == nullptr) return;
  shown_ = true;
  const std::uint64_t cells = of == 0 ? 0 : std::min(done, of) * kCells / of;
  *terminal_ << kClearLine
             << fmt::format("[{}{}] {}", std::string(cells, '#'), std::string(kCells - cells, '.'),
                            what)
             << std::flush;
}

}  // namespace mesh::tools
