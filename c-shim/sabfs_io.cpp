// Reading, writing and closing.
//
// WasmFS holds the locks of the open file and of the file while the backend reads, so threads that read one file
// would wait for each other although the store lets them read at once. Here a read takes neither, where it can: see
// docs/design.md ("Threads that read one file"). As in sabfs_syscalls.cpp, __real_NAME serves the files of other
// backends.

#include "sabfs_io.h"

#include "sabfs_channels.h"
#include "sabfs_inotify.h"
#include "sabfs_maps.h"

#include <atomic>
#include <cstdint>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <optional>
#include <string.h>
#include <sys/inotify.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

using namespace wasmfs;
using sabfs::Channel;
using sabfs::SabfsBackend;
using sabfs::SabfsFile;

namespace {

// How many calls have begun that take the file from a descriptor or put another one in its place, and how many are
// over. Each on a cache line of its own, which all threads read and few write.
struct alignas(64) Count {
  std::atomic<uint64_t> value{0};
};
Count begun, ended;

// What a thread remembers of a descriptor that it has read by: the file, which may be read until another such call
// begins. Nothing is held by this, and looking costs no write to memory that others use.
struct Known {
  const SabfsBackend *backend; // null: nothing is remembered
  uint64_t begun;
  int fd;
  uint32_t ino;
};
constexpr int KNOWN = 4;
__thread Known known[KNOWN];

bool isTrue(const Known &place) {
  // What was read before is not to be looked at after this.
  std::atomic_thread_fence(std::memory_order_acquire);
  return begun.value.load() == place.begun;
}

std::shared_ptr<OpenFileState> openFile(int fd) { return wasmFS.getFileTable().locked().getEntry(fd); }

// The file of an open file if it is a file of ours that was opened for this; null if WasmFS is to answer.
// `refused` is the access mode that does not allow it.
SabfsFile *ours(OpenFileState::Handle &handle, oflags_t refused) {
  auto &file = handle.getFile();
  if (!file->is<DataFile>() || !SabfsBackend::of(file)) return nullptr;
  return handle.getFlags() & O_PATH || (handle.getFlags() & O_ACCMODE) == refused ? nullptr : static_cast<SabfsFile *>(file.get());
}

// Looks a descriptor up and remembers it; false when WasmFS is to answer.
bool learn(Known &place, int fd) {
  place.backend = nullptr;
  // In this order: if they are equal no such call was under way in between.
  uint64_t over = ended.value.load();
  if (begun.value.load() != over) return false;
  auto open = openFile(fd);
  if (!open) return false;
  auto handle = open->locked();
  auto *file = ours(handle, O_WRONLY);
  if (!file) return false;
  place = {&file->node.backend, over, fd, file->node.ino};
  return true;
}

// The parts of one call, in turn. `one` does a part at an offset and gives the bytes done or a negative errno.
template<class Part, class One>
__wasi_errno_t eachPart(const Part *parts, size_t count, uint64_t offset, size_t *done, One one) {
  if (count > IOV_MAX || offset > uint64_t(INT64_MAX)) return __WASI_ERRNO_INVAL;
  size_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (!parts[i].buf && parts[i].buf_len) return __WASI_ERRNO_FAULT;
    auto result = one(parts[i].buf, parts[i].buf_len, offset + sum);
    if (result < 0) {
      // What was done before is told; the error comes again with the next call.
      if (sum) break;
      return __wasi_errno_t(-result);
    }
    sum += size_t(result);
    if (size_t(result) < parts[i].buf_len) break;
  }
  *done = sum;
  return __WASI_ERRNO_SUCCESS;
}

__wasi_errno_t readParts(const SabfsBackend &backend, uint32_t ino, const __wasi_iovec_t *parts, size_t count,
                         uint64_t offset, size_t *done) {
  sabfs::flushMaps(backend, ino);
  auto error = eachPart(parts, count, offset, done, [&](uint8_t *buffer, size_t bytes, uint64_t at) {
    return backend.v.read(backend.volume, ino, buffer, bytes, at);
  });
  if (!error && *done) sabfs::noteUse(backend, ino, IN_ACCESS);
  return error;
}

template<class Part> ssize_t sizeOf(const Part *parts, size_t count) {
  if (count > IOV_MAX) return -EINVAL;
  size_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (__builtin_add_overflow(sum, parts[i].buf_len, &sum) || sum > size_t(SSIZE_MAX)) return -EINVAL;
    if (!parts[i].buf && parts[i].buf_len) return -EFAULT;
  }
  return ssize_t(sum);
}

// The bytes of all parts in a row, which are copied only if there are several.
class Gathered {
  std::vector<uint8_t> copy;
  const uint8_t *start;

public:
  Gathered(const __wasi_ciovec_t *parts, size_t count, size_t size) : start(count ? parts[0].buf : nullptr) {
    if (count < 2) return;
    copy.reserve(size);
    for (size_t i = 0; i < count; i++) copy.insert(copy.end(), parts[i].buf, parts[i].buf + parts[i].buf_len);
    start = copy.data();
  }
  const uint8_t *bytes() const { return start; }
};

// Descriptors of which WasmFS does not know what they are. The calls give an errno, or -1 when WasmFS is to answer.
struct Special {
  std::shared_ptr<OpenFileState> open;
  std::shared_ptr<File> file;
  Channel *channel = nullptr;
  bool isFolder = false; // one of ours
  oflags_t flags = 0;

  explicit Special(int fd) : open(openFile(fd)) {
    if (!open) return;
    auto handle = open->locked();
    file = handle.getFile();
    flags = handle.getFlags();
    channel = Channel::of(file);
    isFolder = file->is<Directory>() && SabfsBackend::of(file);
  }

  int read(const __wasi_iovec_t *parts, size_t count, size_t *done) const {
    if (!open) return -1;
    if (flags & O_PATH) return EBADF;
    if (isFolder) {
      *done = 0;
      ssize_t size = sizeOf(parts, count);
      return size < 0 ? int(-size) : size ? EISDIR : 0;
    }
    if (!channel) return -1;
    if ((flags & O_ACCMODE) == O_WRONLY) return EBADF;
    ssize_t size = sizeOf(parts, count);
    if (size < 0) return int(-size);
    bool waits = !(flags & O_NONBLOCK);
    std::vector<uint8_t> copy(count > 1 ? size_t(size) : 0);
    ssize_t got = channel->receive(count == 1 ? parts[0].buf : copy.data(), size_t(size), waits);
    if (got < 0) return int(-got);
    *done = size_t(got);
    size_t at = 0;
    for (size_t i = 0; count > 1 && at < size_t(got); i++) {
      size_t some = std::min(parts[i].buf_len, size_t(got) - at);
      memcpy(parts[i].buf, copy.data() + at, some);
      at += some;
    }
    return 0;
  }

  int write(const __wasi_ciovec_t *parts, size_t count, size_t *done) const {
    if (!open) return -1;
    if (flags & O_PATH || isFolder) return EBADF;
    if (!channel) return -1;
    if ((flags & O_ACCMODE) == O_RDONLY) return EBADF;
    ssize_t size = sizeOf(parts, count);
    if (size < 0) return int(-size);
    Gathered all(parts, count, size_t(size));
    ssize_t put = channel->send(all.bytes(), size_t(size), !(flags & O_NONBLOCK));
    if (put < 0) return int(-put);
    *done = size_t(put);
    return 0;
  }

  // At places of their own, which channels have none of.
  int readAt(const __wasi_iovec_t *parts, size_t count, size_t *done) const {
    return open && channel && !(flags & O_PATH) ? ESPIPE : read(parts, count, done);
  }
  int writeAt(const __wasi_ciovec_t *parts, size_t count, size_t *done) const {
    return open && channel && !(flags & O_PATH) ? ESPIPE : write(parts, count, done);
  }
};

// Makes the end of a call a synchronous write's. No lock of WasmFS is held meanwhile.
__wasi_errno_t makeDurable(const SabfsBackend &backend) {
  return __wasi_errno_t(-backend.v.sync_durably(backend.volume));
}

// Writes at the open file's position, or at `*where`. The file's lock makes one write of all parts, also beside
// those that write at the end. -1 when WasmFS is to answer. `asked`: O_APPEND, O_DSYNC for this call alone.
int writeParts(int fd, const __wasi_ciovec_t *parts, size_t count, const __wasi_filesize_t *where, size_t *done,
               oflags_t asked = 0) {
  auto open = openFile(fd);
  if (!open) return -1;
  std::optional<OpenFileState::Handle> handle(open->locked());
  auto *file = ours(*handle, O_RDONLY);
  if (!file) return -1;
  auto &backend = file->node.backend;
  oflags_t flags = handle->getFlags() | asked;
  // As Linux does, also where a place is given.
  bool appends = flags & O_APPEND;
  // Who reads at the position does not wait for a write that leaves it alone.
  if (where) handle.reset();
  {
    auto locked = static_cast<DataFile *>(file)->locked();
    // Another thread has closed it meanwhile.
    if (!file->isOpen()) return __WASI_ERRNO_BADF;
    sabfs::ChangesFile changes(backend, file->node.ino);
    if (appends) {
      // The store knows the end, which other programs move too: all parts are one piece.
      ssize_t size = sizeOf(parts, count);
      if (size < 0) return int(-size);
      Gathered all(parts, count, size_t(size));
      uint64_t at = 0;
      auto put = size ? backend.v.append(backend.volume, file->node.ino, all.bytes(), size_t(size), &at) : 0;
      if (put < 0) return int(-put);
      *done = size_t(put);
      if (put && !where) handle->setPosition(off_t(at + *done));
    } else {
      uint64_t at = where ? *where : uint64_t(handle->getPosition());
      // Without the modification time that WasmFS notes for itself: the store has it.
      auto error = eachPart(parts, count, at, done, [&](const uint8_t *bytes, size_t length, uint64_t offset) {
        return backend.v.write(backend.volume, file->node.ino, bytes, length, offset);
      });
      if (error) return error;
      if (!where) handle->setPosition(off_t(at + *done));
    }
  }
  handle.reset();
  return flags & O_DSYNC && *done ? makeDurable(backend) : 0;
}

} // namespace

sabfs::Replacing::Replacing() { begun.value.fetch_add(1); }
sabfs::Replacing::~Replacing() { ended.value.fetch_add(1); }

extern "C" {

// --- reading

__wasi_errno_t __real___wasi_fd_pread(__wasi_fd_t, const __wasi_iovec_t *, size_t, __wasi_filesize_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_pread(__wasi_fd_t fd, const __wasi_iovec_t *parts, size_t count,
                                      __wasi_filesize_t offset, __wasi_size_t *done) {
  if (offset > uint64_t(INT64_MAX)) return EINVAL;
  Known &place = known[unsigned(fd) % KNOWN];
  if ((place.backend && place.fd == int(fd) && isTrue(place)) || learn(place, int(fd))) {
    // A copy, as a main thread that waits for the store may run other calls meanwhile.
    const Known file = place;
    auto error = readParts(*file.backend, file.ino, parts, count, offset, done);
    if (isTrue(file)) return error;
    // Some file was closed meanwhile. If it was this one its inode may be another file by now.
  }
  if (auto open = openFile(fd)) {
    SabfsFile *file;
    {
      auto handle = open->locked();
      file = ours(handle, O_WRONLY);
    }
    // The open file keeps the object, the pin the inode.
    if (file) {
      sabfs::Pin pin(*file);
      if (!pin) return __WASI_ERRNO_BADF;
      return readParts(file->node.backend, file->node.ino, parts, count, offset, done);
    }
  }
  int error = Special(int(fd)).readAt(parts, count, done);
  return error >= 0 ? __wasi_errno_t(error) : __real___wasi_fd_pread(fd, parts, count, offset, done);
}

__wasi_errno_t __real___wasi_fd_read(__wasi_fd_t, const __wasi_iovec_t *, size_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_read(__wasi_fd_t fd, const __wasi_iovec_t *parts, size_t count, __wasi_size_t *done) {
  if (auto open = openFile(fd)) {
    // Whoever shares the position waits, nobody else.
    auto handle = open->locked();
    if (auto *file = ours(handle, O_WRONLY)) {
      sabfs::Pin pin(*file);
      if (!pin) return __WASI_ERRNO_BADF;
      off_t at = handle.getPosition();
      auto error = readParts(file->node.backend, file->node.ino, parts, count, uint64_t(at), done);
      if (!error) handle.setPosition(at + off_t(*done));
      return error;
    }
  }
  int error = Special(int(fd)).read(parts, count, done);
  return error >= 0 ? __wasi_errno_t(error) : __real___wasi_fd_read(fd, parts, count, done);
}

// --- writing

__wasi_errno_t __real___wasi_fd_write(__wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *parts, size_t count, __wasi_size_t *done) {
  int error = writeParts(fd, parts, count, nullptr, done);
  if (error < 0) error = Special(int(fd)).write(parts, count, done);
  return error < 0 ? __real___wasi_fd_write(fd, parts, count, done) : __wasi_errno_t(error);
}

__wasi_errno_t __real___wasi_fd_pwrite(__wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_filesize_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_pwrite(__wasi_fd_t fd, const __wasi_ciovec_t *parts, size_t count,
                                       __wasi_filesize_t offset, __wasi_size_t *done) {
  if (offset > uint64_t(INT64_MAX)) return EINVAL;
  int error = writeParts(fd, parts, count, &offset, done);
  if (error < 0) error = Special(int(fd)).writeAt(parts, count, done);
  return error < 0 ? __real___wasi_fd_pwrite(fd, parts, count, offset, done) : __wasi_errno_t(error);
}

// --- with flags

// The C library declares them and has none. Without an offset they are readv() and writev().
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
  // Nothing here is waited for but locks of the store.
  if (flags & ~(RWF_HIPRI | RWF_NOWAIT)) return errno = EOPNOTSUPP, -1;
  return offset == -1 ? readv(fd, parts, count) : preadv(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
  if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)) return errno = EOPNOTSUPP, -1;
  oflags_t asked = (flags & RWF_APPEND ? O_APPEND : 0) | (flags & (RWF_DSYNC | RWF_SYNC) ? O_DSYNC : 0);
  if (offset < -1 || count < 0) return errno = EINVAL, -1;
  auto at = __wasi_filesize_t(offset);
  size_t done = 0;
  // Both are a pointer and a length.
  auto *bytes = reinterpret_cast<const __wasi_ciovec_t *>(parts);
  int error = asked ? writeParts(fd, bytes, size_t(count), offset == -1 ? nullptr : &at, &done, asked) : -1;
  if (error < 0) return offset == -1 ? writev(fd, parts, count) : pwritev(fd, parts, count, offset);
  return error ? (errno = error, -1) : ssize_t(done);
}

} // extern "C"
