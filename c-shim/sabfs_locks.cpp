// Advisory locks: fcntl() and flock() of files on a volume, which all programs of its store share.
//
// WasmFS grants every lock. The wrapping works as in sabfs_syscalls.cpp. A program is one process. Its locks go when
// it closes any descriptor of the file, those of an open file when its last descriptor is closed.

#include "sabfs_backend.h"
#include "sabfs_descriptors.h"
#include "sabfs_io.h"
#include "sabfs_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <unordered_set>

using namespace wasmfs;
using sabfs::closeDescriptor;
using sabfs::controlDescriptor;
using sabfs::replaceDescriptor;
using sabfs::Replacing;
using sabfs::SabfsBackend;

namespace {

// Whether this program ever asked for a lock: who never did pays a load for each close().
std::atomic<bool> anyLocked{false};

// Open files that have had locks of their own. Whether a descriptor was the last one of its open file takes a
// look at all descriptors (WasmFS keeps its count to itself), which only these are worth.
class Lockers {
  std::mutex mutex;
  std::unordered_set<const OpenFileState *> set;

public:

  void add(const OpenFileState *state) {
    std::lock_guard<std::mutex> lock(mutex);
    set.insert(state);
  }
  bool has(const OpenFileState *state) {
    std::lock_guard<std::mutex> lock(mutex);
    return set.count(state);
  }
  void remove(const OpenFileState *state) {
    std::lock_guard<std::mutex> lock(mutex);
    set.erase(state);
  }
};

// Never destroyed, as files are closed until the very end.
Lockers &lockers() {
  static auto &all = *new Lockers;
  return all;
}

// What is behind a descriptor. While this is there the address of the open file stands for no other one; WasmFS
// counts descriptors, so this keeps no file open.
struct Open {
  const int fd;
  std::shared_ptr<OpenFileState> state;
  std::shared_ptr<File> file;
  SabfsBackend *backend = nullptr;
  off_t position = 0;
  oflags_t access = 0;
  bool isPath = false; // opened with O_PATH, which is no open file to most calls

  explicit Open(int fd) : fd(fd), state(wasmFS.getFileTable().locked().getEntry(fd)) {
    if (!state) return;
    auto handle = state->locked();
    file = handle.getFile();
    backend = SabfsBackend::of(file);
    position = handle.getPosition();
    isPath = handle.getFlags() & O_PATH;
    if (isPath) backend = nullptr;
    access = handle.getFlags() & O_ACCMODE;
  }

  uint32_t ino() const { return SabfsBackend::node(file).ino; }

  sabfs_lock lock(uint32_t flags) const {
    sabfs_lock lock = {};
    lock.flags = flags;
    if (flags & SABFS_LOCK_OPEN_FILE) lock.owner = uint64_t(uintptr_t(state.get()));
    return lock;
  }

  // Whether the descriptor still leads here.
  bool isThere() const { return wasmFS.getFileTable().locked().getEntry(fd) == state; }

  bool hasDescriptors() const {
    if (isThere()) return true;
    auto table = wasmFS.getFileTable().locked();
    for (int other = 0; other < WASMFS_FD_MAX; other++) {
      if (table.getEntry(other) == state) return true;
    }
    return false;
  }

  void release(uint32_t flags) const {
    auto owner = lock(flags);
    backend->v.release_locks(backend->volume, ino(), &owner);
  }

  // The last descriptor may be closed while a thread waits for a lock: then both come here, each in its time.
  void releaseIfUnused() const {
    if (hasDescriptors()) return;
    release(SABFS_LOCK_OPEN_FILE);
    lockers().remove(state.get());
  }

  // A descriptor was closed.
  void closed() const {
    if (!backend) return;
    release(0);
    if (lockers().has(state.get())) releaseIfUnused();
  }

  // Takes a lock, or changes its mode. Another thread may close the descriptor meanwhile.
  int acquire(const sabfs_lock &wanted) const {
    anyLocked = true;
    bool openFile = wanted.flags & SABFS_LOCK_OPEN_FILE;
    if (openFile) lockers().add(state.get());
    int error = backend->v.lock(backend->volume, ino(), &wanted);
    if (openFile) {
      releaseIfUnused();
    } else if (!error && !isThere()) {
      // As on Linux: nobody would give it back.
      backend->v.unlock(backend->volume, ino(), &wanted);
      error = -EBADF;
    }
    if (!error) sabfs::refreshReadMaps(*backend, ino());
    return error;
  }
};

// Where `lock` starts, as with SEEK_SET.
int startOf(const Open &open, const struct flock &lock, int64_t *start) {
  int64_t base = 0;
  switch (lock.l_whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = open.position; break;
    case SEEK_END: {
      sabfs_attr attr;
      int error = open.backend->v.getattr(open.backend->volume, open.ino(), &attr);
      if (error) return error;
      base = int64_t(attr.size_bytes);
      break;
    }
    default: return -EINVAL;
  }
  return __builtin_add_overflow(base, int64_t(lock.l_start), start) ? -EOVERFLOW : 0;
}

int getLock(const Open &open, sabfs_lock wanted, struct flock *lock) {
  int found = open.backend->v.test_lock(open.backend->volume, open.ino(), &wanted);
  if (found < 0) return found;
  if (!found) {
    lock->l_type = F_UNLCK;
    return 0;
  }
  lock->l_type = wanted.flags & SABFS_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
  lock->l_whence = SEEK_SET;
  lock->l_start = off_t(wanted.start);
  lock->l_len = off_t(wanted.length);
  lock->l_pid = wanted.pid;
  return 0;
}

int setLock(const Open &open, const sabfs_lock &wanted, int type) {
  auto &backend = *open.backend;
  if (type == F_UNLCK) return backend.v.unlock(backend.volume, open.ino(), &wanted);
  if (open.access == (type == F_RDLCK ? O_WRONLY : O_RDONLY)) return -EBADF;
  return open.acquire(wanted);
}

int fcntlLock(const Open &open, int command, struct flock *lock) {
  bool openFile = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  bool get = command == F_GETLK || command == F_OFD_GETLK;
  if (!lock) return -EFAULT;
  if (openFile && lock->l_pid) return -EINVAL;
  if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK && (get || lock->l_type != F_UNLCK)) return -EINVAL;
  auto wanted = open.lock(openFile ? SABFS_LOCK_OPEN_FILE : 0);
  if (lock->l_type == F_WRLCK) wanted.flags |= SABFS_LOCK_EXCLUSIVE;
  if (command == F_SETLKW || command == F_OFD_SETLKW) wanted.flags |= SABFS_LOCK_WAIT;
  wanted.length = lock->l_len;
  if (int error = startOf(open, *lock, &wanted.start)) return error;
  return get ? getLock(open, wanted, lock) : setLock(open, wanted, lock->l_type);
}

} // namespace

extern "C" {

int __wrap___syscall_fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  switch (command) {
    case F_GETLK: case F_SETLK: case F_SETLKW: case F_OFD_GETLK: case F_OFD_SETLK: case F_OFD_SETLKW: break;
    default: return controlDescriptor(fd, command, argument);
  }
  Open open(fd);
  if (!open.backend) return controlDescriptor(fd, command, argument);
  return fcntlLock(open, command, static_cast<struct flock *>(argument));
}

// The C library's own does nothing, and is weak.
int flock(int fd, int operation) {
  Open open(fd);
  int kind = operation & ~LOCK_NB, error = 0;
  if (!open.state || open.isPath) {
    error = -EBADF;
  } else if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN) {
    error = -EINVAL;
  } else if (auto *backend = open.backend) {
    auto wanted = open.lock(SABFS_LOCK_OPEN_FILE | SABFS_LOCK_WHOLE_FILE);
    if (kind == LOCK_EX) wanted.flags |= SABFS_LOCK_EXCLUSIVE;
    if (!(operation & LOCK_NB)) wanted.flags |= SABFS_LOCK_WAIT;
    error = kind == LOCK_UN ? backend->v.unlock(backend->volume, open.ino(), &wanted) : open.acquire(wanted);
  }
  if (!error) return 0;
  errno = -error;
  return -1;
}

__wasi_errno_t __wrap___wasi_fd_close(__wasi_fd_t fd) {
  Replacing replacing;
  if (!anyLocked) return __wasi_errno_t(-closeDescriptor(int(fd)));
  Open open(fd);
  int error = closeDescriptor(int(fd));
  if (!error) open.closed();
  return __wasi_errno_t(-error);
}

int __wrap___syscall_dup3(int from, int to, int flags) {
  Replacing replacing;
  if (!anyLocked) return replaceDescriptor(from, to, flags);
  Open replaced(to);
  int result = replaceDescriptor(from, to, flags);
  if (result >= 0 && from != to) replaced.closed();
  return result;
}

} // extern "C"
