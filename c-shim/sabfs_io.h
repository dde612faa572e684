#pragma once

namespace sabfs {

// Lives while a call takes the file from a descriptor or puts another one in its place: what threads remember of
// descriptors is not true any more from its beginning on.
class Replacing {
public:
  Replacing();
  ~Replacing();
  Replacing(const Replacing &) = delete;
  Replacing &operator=(const Replacing &) = delete;
};

} // namespace sabfs
