// What most files include, compiled once for the boxes below the engine's loop. Each file includes
// for itself what it uses, as `./dev lint` compiles it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
