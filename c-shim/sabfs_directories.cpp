// Reading directories: getdents64(), and by it readdir(), seekdir() and the like. Wrapped as in sabfs_syscalls.cpp.
//
// A position is a number in a list of names, which is read when a directory is read from its start: so a position stays
// what it was however names come and go, and rewinddir() shows what there is. (The store's own positions are hashes,
// which are too long for telldir().) WasmFS never reads anew, and knows three kinds of files.

#include "sabfs_calls.h"
#include "sabfs_inotify.h"

#include <algorithm>
#include <dirent.h>
#include <mutex>
#include <stddef.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <vector>

using namespace wasmfs;
using namespace sabfs;

namespace {

struct Name {
  std::string name;
  ino_t ino;
  uint8_t type;
};

struct Listing {
  std::weak_ptr<OpenFileState> open;
  std::vector<Name> names;
};

std::mutex listingsMutex;

// Never destroyed, as threads may read until the very end.
std::vector<Listing> &listings() {
  static auto &all = *new std::vector<Listing>;
  return all;
}

int read(const Descriptor &directory, std::vector<Name> &names) {
  auto &backend = *directory.backend;
  uint32_t ino = directory.ino();
  sabfs_attr attr;
  if (int error = backend.v.getattr(backend.volume, ino, &attr)) return error;
  // Removed.
  if (!attr.nlink) return -ENOENT;
  ino_t above = ino;
  if (ino == SABFS_INO_ROOT) {
    auto parent = directory.file->locked().getParent();
    if (parent) above = parent->getIno();
  } else {
    uint32_t parent;
    if (int error = backend.v.parent(backend.volume, ino, &parent)) return error;
    above = parent;
  }
  names = {{".", ino, DT_DIR}, {"..", above, DT_DIR}};
  auto add = [](void *sink, const char *name, size_t length, uint32_t kind, uint32_t ino) {
    static_cast<std::vector<Name> *>(sink)->push_back({std::string(name, length), ino, uint8_t(IFTODT(kind))});
    return true;
  };
  return backend.v.read_dir(backend.volume, ino, &names, add);
}

// Puts as many names into the buffer as it has room for; the bytes, and where the next call goes on.
int put(const std::vector<Name> &names, uint8_t *buffer, size_t size, off_t &at) {
  size_t done = 0;
  for (; at < off_t(names.size()); at++) {
    auto &entry = names[size_t(at)];
    constexpr size_t HEAD = offsetof(struct dirent, d_name), UNIT = alignof(struct dirent);
    size_t length = (HEAD + entry.name.size() + 1 + UNIT - 1) / UNIT * UNIT;
    if (done + length > size) return done ? int(done) : -EINVAL;
    auto *out = reinterpret_cast<struct dirent *>(buffer + done);
    out->d_ino = entry.ino;
    out->d_off = at + 1;
    out->d_reclen = uint16_t(length);
    out->d_type = entry.type;
    memcpy(out->d_name, entry.name.c_str(), entry.name.size() + 1);
    done += length;
  }
  return int(done);
}

} // namespace

extern "C" {

int __real___syscall_getdents64(int, void *, size_t);
int __wrap___syscall_getdents64(int fd, void *buffer, size_t size) {
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  if (!open.backend) return __real___syscall_getdents64(fd, buffer, size);
  if (!open.file->is<Directory>()) return -ENOTDIR;
  auto handle = open.state->locked();
  off_t at = handle.getPosition();
  std::vector<Name> names;
  bool reads = at == 0;
  if (reads) {
    if (int error = read(open, names)) return error;
  }
  std::lock_guard<std::mutex> lock(listingsMutex);
  auto &all = listings();
  all.erase(std::remove_if(all.begin(), all.end(), [](auto &listing) { return listing.open.expired(); }), all.end());
  Listing *mine = nullptr;
  for (auto &listing : all) {
    if (listing.open.lock() == open.state) mine = &listing;
  }
  if (!mine) {
    // Somebody has moved the position before reading anything.
    if (!reads) {
      if (int error = read(open, names)) return error;
    }
    mine = &all.emplace_back(Listing{open.state, {}});
    reads = true;
  }
  if (reads) mine->names = std::move(names);
  int done = put(mine->names, static_cast<uint8_t *>(buffer), size, at);
  if (done >= 0) {
    handle.setPosition(at);
    noteUse(open.file, IN_ACCESS);
  }
  return done;
}

} // extern "C"
