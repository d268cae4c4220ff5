// What the part of the engine that is not in the loop includes, compiled once. Each file includes
// for itself what it uses, as `./dev lint` compiles it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/engine_state.hpp"
