// What the files of the engine include, compiled once: four fifths of what most of them cost. Each
// includes for itself what it uses, as `./dev lint` compiles it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "engine/loop/state.hpp"
