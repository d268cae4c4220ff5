// The part of a document that a verb prints: between two marker lines, everything else is people's.
//
// Callers     main(), once a verb.
// Errors      bad_input: the markers are not there once, in order, or the file cannot be read;
//             io_error: it cannot be written.
#pragma once

#include <string>
#include <string_view>

#include "shm/base/result.hpp"

namespace mesh::tools {

inline constexpr std::string_view kGeneratedEnd = "<!-- end of generated part -->\n";

// `begin`: its first marker, a line.
struct GeneratedPart {
  std::string_view begin;
  std::string text;
};
Result<std::string> replace_generated(std::string_view document, const GeneratedPart& part);
Status update_document(const std::string& path, const GeneratedPart& part);

}  // namespace mesh::tools
