// mmap(), munmap(), msync(), mprotect() of files on a volume. Wrapped as in sabfs_syscalls.cpp.
//
// A mapping is a copy in the program's memory. Shared ones of one file are one copy, a region, so that they show the same.
// What is stored there nobody hears of: a region that may be written has a second copy, of what the file had, and what
// differs is put into the file before the file is read or changed otherwise, by msync(), by munmap(), and when the program
// ends. What the program writes into the file otherwise is put into the regions at once. So all of one program agree.
//
// Other programs see what was put into the file. A file that one program maps to share what it stores there no other one
// can map (ENODEV): it could not be shown what the first one stores. What other programs write into a file that is mapped
// only to be read is seen when the program takes a lock of it.
//
// Locks: `mutex`, then whatever the store has. Nobody waits for another program under it but by the store's gate.

#include "sabfs_maps.h"

#include "sabfs_calls.h"
#include "sabfs_channels.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vector>

using namespace wasmfs;

namespace sabfs {

std::atomic<int> sharedRegions{0};

namespace {

// Where mappings may begin in a file, and where they end in memory.
constexpr size_t PAGE = 4096;
// As WasmFS aligns them.
constexpr size_t ALIGNMENT = 65536;
// A file up to this is one region from its start on, whatever part of it is mapped.
constexpr size_t WHOLE_MAX = 1 << 20;
// What differs is looked for in pieces of this size, and written byte for byte.
constexpr size_t PIECE = 256;

struct Region {
  const SabfsBackend &backend;
  const uint32_t ino;
  const off_t start; // in the file
  const size_t size;
  uint8_t *const memory;
  const bool shared;
  bool writes = false;
  std::vector<uint8_t> known; // what the file had, if it may be written
  int users = 0;

  Region(const SabfsBackend &backend, uint32_t ino, off_t start, size_t size, uint8_t *memory, bool shared)
    : backend(backend), ino(ino), start(start), size(size), memory(memory), shared(shared) {}
  Region(const Region &) = delete;
  ~Region() {
    backend.v.forget(backend.volume, ino);
    free(memory);
  }

  bool isOf(const SabfsBackend &other, uint32_t file) const {
    return backend.volume == other.volume && ino == file;
  }
  bool overlaps(off_t at, size_t count) const { return start < at + off_t(count) && at < start + off_t(size); }
  bool contains(off_t at, size_t count) const { return start <= at && at + off_t(count) <= start + off_t(size); }

  // Takes what the file has, of which the end is zeros.
  int load() {
    size_t done = 0;
    while (done < size) {
      auto got = backend.v.read(backend.volume, ino, memory + done, size - done, uint64_t(start) + done);
      if (got < 0) return int(got);
      if (got == 0) break;
      done += size_t(got);
    }
    memset(memory + done, 0, size - done);
    if (writes) known.assign(memory, memory + size);
    return 0;
  }

  // Puts into the file what was stored here. What lies behind the end of the file is nobody's.
  int flush() {
    if (!writes) return 0;
    sabfs_attr attr;
    if (int error = backend.v.getattr(backend.volume, ino, &attr)) return error;
    size_t most = attr.size_bytes <= uint64_t(start) ? 0 : size_t(std::min(attr.size_bytes - uint64_t(start), uint64_t(size)));
    for (size_t at = 0; at < most; at += PIECE) {
      size_t count = std::min(PIECE, most - at);
      if (!memcmp(memory + at, known.data() + at, count)) continue;
      for (size_t i = at; i < at + count;) {
        size_t end = i;
        while (end < at + count && memory[end] != known[end]) end++;
        if (end == i) {
          i++;
          continue;
        }
        std::copy(memory + i, memory + end, known.begin() + ptrdiff_t(i));
        auto put = backend.v.write(backend.volume, ino, known.data() + i, end - i, uint64_t(start) + i);
        if (put < 0) return int(put);
        i = end;
      }
    }
    return 0;
  }
};

struct Mapping {
  uint8_t *address;
  size_t length;
  Region *region;
  bool mayWrite; // whether the descriptor was open for writing, so that it may be made writable
};

std::mutex mutex;

struct Maps {
  std::list<Region> regions;
  std::vector<Mapping> mappings;
};

// Never destroyed: mappings last until the very end.
Maps &maps() {
  static auto &all = *new Maps;
  return all;
}

size_t roundUp(size_t count, size_t unit) { return (count + unit - 1) / unit * unit; }

void flushAll() {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &region : maps().regions) (void)region.flush();
}

// Says in the store how this program maps a file by now; -ENODEV when another program's mapping is in the way.
int note(const SabfsBackend &backend, uint32_t ino) {
  bool mapped = false, writes = false;
  for (auto &region : maps().regions) {
    if (!region.shared || !region.isOf(backend, ino)) continue;
    mapped = true;
    writes |= region.writes;
  }
  sabfs_lock lock = {};
  lock.flags = SABFS_LOCK_MAPPING | (writes ? SABFS_LOCK_EXCLUSIVE : 0);
  return mapped ? backend.v.lock(backend.volume, ino, &lock) : backend.v.unlock(backend.volume, ino, &lock);
}

void drop(std::list<Region>::iterator place) {
  std::list<Region> gone;
  gone.splice(gone.begin(), maps().regions, place);
  auto &region = gone.front();
  if (!region.shared) return;
  sharedRegions--;
  (void)note(region.backend, region.ino);
}

// Makes a region one that may be written.
int allowWrites(Region &region) {
  if (region.writes) return 0;
  for (auto &other : maps().regions) {
    bool beside = &other != &region && other.shared && other.isOf(region.backend, region.ino);
    // Two copies of the same bytes could not show each other what is stored.
    if (beside && other.overlaps(region.start, region.size)) return -ENODEV;
  }
  region.writes = true;
  if (int error = note(region.backend, region.ino)) {
    region.writes = false;
    return error;
  }
  region.known.assign(region.memory, region.memory + region.size);
  static bool registered = !atexit(flushAll);
  (void)registered;
  return 0;
}

// The region for a new mapping; null and `error` when there cannot be one.
Region *regionFor(const SabfsBackend &backend, const sabfs_attr &attr, off_t at, size_t length, bool shared, bool writes, int &error) {
  auto &all = maps().regions;
  if (shared) {
    for (auto &region : all) {
      if (!region.shared || !region.isOf(backend, attr.ino)) continue;
      if (region.contains(at, length)) {
        error = writes ? allowWrites(region) : 0;
        return error ? nullptr : &region;
      }
      if (region.overlaps(at, length) && (writes || region.writes)) {
        error = -ENODEV;
        return nullptr;
      }
    }
  }
  off_t start = at;
  size_t size = roundUp(length, PAGE);
  if (shared && attr.size_bytes <= WHOLE_MAX && uint64_t(at) + length <= WHOLE_MAX) {
    bool alone = std::none_of(all.begin(), all.end(), [&](auto &region) { return region.shared && region.isOf(backend, attr.ino); });
    if (alone) {
      start = 0;
      size = roundUp(std::max(size_t(attr.size_bytes), size_t(at) + length), PAGE);
    }
  }
  auto *memory = static_cast<uint8_t *>(aligned_alloc(ALIGNMENT, roundUp(size, ALIGNMENT)));
  error = memory ? backend.v.hold(backend.volume, attr.ino, attr.generation) : -ENOMEM;
  if (error) {
    free(memory);
    return nullptr;
  }
  auto &region = all.emplace_back(backend, attr.ino, start, size, memory, shared);
  if (shared) {
    sharedRegions++;
    error = note(backend, attr.ino);
  }
  if (!error) error = region.load();
  if (!error && shared && writes) error = allowWrites(region);
  if (!error) return &region;
  drop(std::prev(all.end()));
  return nullptr;
}

void dropUser(Region *region) {
  if (--region->users) return;
  auto &all = maps().regions;
  drop(std::find_if(all.begin(), all.end(), [&](auto &one) { return &one == region; }));
}

// Whether a range of memory lies in mappings of ours alone.
bool covers(uintptr_t start, size_t length) {
  uintptr_t at = start;
  for (bool found = true; found && at < start + length;) {
    found = false;
    for (auto &mapping : maps().mappings) {
      auto first = uintptr_t(mapping.address);
      if (first <= at && at < first + mapping.length) {
        at = first + mapping.length;
        found = true;
        break;
      }
    }
  }
  return at >= start + length;
}

bool touches(const Mapping &mapping, uintptr_t start, size_t length) {
  auto first = uintptr_t(mapping.address);
  return first < start + length && start < first + mapping.length;
}

intptr_t map(const Descriptor &open, size_t length, int protection, int flags, off_t at) {
  int type = flags & MAP_TYPE;
  bool shared = type != MAP_PRIVATE, writes = shared && protection & PROT_WRITE;
  // There is one place for a mapping: where there is room.
  if (flags & MAP_FIXED) return -EINVAL;
  if (at < 0 || __builtin_add_overflow(at, off_t(length), &at)) return -EOVERFLOW;
  at -= off_t(length);
  if (writes && !open.writes()) return -EACCES;
  if (!open.reads()) return -EACCES;
  if (!open.file->is<DataFile>() || !open.backend) return -ENODEV;
  auto &backend = *open.backend;
  sabfs_attr attr;
  if (int error = backend.v.getattr(backend.volume, open.ino(), &attr)) return error;
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &region : maps().regions) {
    if (region.isOf(backend, attr.ino)) (void)region.flush();
  }
  int error = 0;
  auto *region = regionFor(backend, attr, at, roundUp(length, PAGE), shared, writes, error);
  if (!region) return error;
  region->users++;
  auto *address = region->memory + (at - region->start);
  maps().mappings.push_back({address, roundUp(length, PAGE), region, open.writes()});
  return intptr_t(address);
}

} // namespace

void flushMapsSlowly(const SabfsBackend &backend, uint32_t ino) {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &region : maps().regions) {
    if (region.shared && region.isOf(backend, ino)) (void)region.flush();
  }
}

void refreshMapsSlowly(const SabfsBackend &backend, uint32_t ino) {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &region : maps().regions) {
    if (region.shared && region.isOf(backend, ino)) (void)region.load();
  }
}

void refreshReadMapsSlowly(const SabfsBackend &backend, uint32_t ino) {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &region : maps().regions) {
    if (region.shared && !region.writes && region.isOf(backend, ino)) (void)region.load();
  }
}

} // namespace sabfs

using namespace sabfs;

extern "C" {

// `page` counts pages of 4096 bytes.
intptr_t __real___syscall_mmap2(void *, size_t, int, int, int, off_t);
intptr_t __wrap___syscall_mmap2(void *address, size_t length, int protection, int flags, int fd, off_t page) {
  auto others = [&] { return __real___syscall_mmap2(address, length, protection, flags, fd, page); };
  if (flags & MAP_ANONYMOUS) return others();
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  if (!open.backend && !Channel::of(open.file)) return others();
  if (!length) return -EINVAL;
  int type = flags & MAP_TYPE;
  constexpr int KNOWN = MAP_TYPE | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE | MAP_LOCKED | MAP_NONBLOCK | MAP_DENYWRITE | MAP_EXECUTABLE;
  if (type == MAP_SHARED_VALIDATE && flags & ~KNOWN) return -EOPNOTSUPP;
  if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE) return -EINVAL;
  return map(open, length, protection, flags, page * off_t(PAGE));
}

int __real___syscall_munmap(void *, size_t);
int __wrap___syscall_munmap(void *address, size_t length) {
  auto start = uintptr_t(address);
  std::unique_lock<std::mutex> lock(mutex);
  auto &all = maps().mappings;
  bool ours = std::any_of(all.begin(), all.end(), [&](auto &mapping) { return touches(mapping, start, std::max(length, size_t(1))); });
  if (!ours) {
    lock.unlock();
    return __real___syscall_munmap(address, length);
  }
  if (!length || start % PAGE) return -EINVAL;
  uintptr_t end = start + roundUp(length, PAGE);
  for (uintptr_t at = start; at < end;) {
    // Mappings of one part of a file have one address: each page is taken from one of them, the very one if there is.
    auto same = [&](auto &mapping) { return uintptr_t(mapping.address) == at && mapping.length == end - at; };
    auto place = std::find_if(all.begin(), all.end(), same);
    if (place == all.end()) place = std::find_if(all.begin(), all.end(), [&](auto &mapping) { return touches(mapping, at, PAGE); });
    if (place == all.end()) {
      at += PAGE;
      continue;
    }
    Mapping mapping = *place;
    all.erase(place);
    (void)mapping.region->flush();
    auto first = uintptr_t(mapping.address), last = first + mapping.length, cut = std::min(end, last);
    for (auto [from, to] : {std::pair{first, at}, std::pair{cut, last}}) {
      if (from >= to) continue;
      all.push_back({reinterpret_cast<uint8_t *>(from), to - from, mapping.region, mapping.mayWrite});
      mapping.region->users++;
    }
    dropUser(mapping.region);
    at = cut;
  }
  return 0;
}

int __real___syscall_msync(void *, size_t, int);
int __wrap___syscall_msync(void *address, size_t length, int flags) {
  auto start = uintptr_t(address);
  const SabfsBackend *backend = nullptr;
  uint32_t ino = 0;
  {
    std::unique_lock<std::mutex> lock(mutex);
    auto &all = maps().mappings;
    bool ours = std::any_of(all.begin(), all.end(), [&](auto &mapping) { return touches(mapping, start, std::max(length, size_t(1))); });
    if (!ours) {
      lock.unlock();
      return __real___syscall_msync(address, length, flags);
    }
    if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || (flags & MS_ASYNC && flags & MS_SYNC) || start % PAGE) return -EINVAL;
    for (auto &mapping : all) {
      if (!mapping.region->shared || !touches(mapping, start, length)) continue;
      if (int error = mapping.region->flush()) return error;
      backend = &mapping.region->backend;
      ino = mapping.region->ino;
    }
    if (!covers(start, length)) return -ENOMEM;
  }
  // A device's flush must not stop those who map or unmap.
  return backend && flags & MS_SYNC ? backend->v.fsync(backend->volume, ino) : 0;
}

// The C library's own does nothing, and is weak.
int __syscall_mprotect(size_t start, size_t length, int protection) {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &mapping : maps().mappings) {
    if (!mapping.region->shared || !(protection & PROT_WRITE) || !touches(mapping, start, length)) continue;
    if (!mapping.mayWrite) return -EACCES;
    if (int error = allowWrites(*mapping.region)) return error;
  }
  return 0;
}

} // extern "C"
