#pragma once

#include <optional>

namespace sabfs {

// The descriptor that a path names, as /proc/self/fd/3 does.
std::optional<int> descriptorOf(const char *path);

} // namespace sabfs
