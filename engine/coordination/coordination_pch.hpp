// What the services include, compiled once. Each file includes for itself what it uses, as
// `./dev lint` compiles it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/service.hpp"
