// Mappings of files, as of mmap().
#pragma once

#include "sabfs_backend.h"

#include <atomic>

namespace sabfs {

// How many regions of shared mappings there are: who has none pays a load for a read or a write.
extern std::atomic<int> sharedRegions;

// Puts what the program has stored in shared mappings of a file into the file.
void flushMapsSlowly(const SabfsBackend &backend, uint32_t ino);
// Shows in shared mappings of a file what the file has.
void refreshMapsSlowly(const SabfsBackend &backend, uint32_t ino);

// The same, in mappings that are only read: of what other programs have written.
void refreshReadMapsSlowly(const SabfsBackend &backend, uint32_t ino);

// Before a file is read or changed otherwise.
inline void flushMaps(const SabfsBackend &backend, uint32_t ino) {
  if (sharedRegions.load(std::memory_order_relaxed)) flushMapsSlowly(backend, ino);
}

// After a lock was taken.
inline void refreshReadMaps(const SabfsBackend &backend, uint32_t ino) {
  if (sharedRegions.load(std::memory_order_relaxed)) refreshReadMapsSlowly(backend, ino);
}

// Lives while a file is changed otherwise than by a mapping.
class ChangesFile {
public:
  ChangesFile(const SabfsBackend &backend, uint32_t ino) : backend(backend), ino(ino) { flushMaps(backend, ino); }
  ~ChangesFile() {
    if (sharedRegions.load(std::memory_order_relaxed)) refreshMapsSlowly(backend, ino);
  }
  ChangesFile(const ChangesFile &) = delete;
  ChangesFile &operator=(const ChangesFile &) = delete;

private:
  const SabfsBackend &backend;
  const uint32_t ino;
};

} // namespace sabfs
