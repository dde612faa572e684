// Space, holes and copies: statfs(), fallocate(), lseek() to data and holes, copy_file_range(), sendfile(), syncfs().
//
// WasmFS invents the space of every file system, fills what is to be reserved with zeros, and knows no holes. The
// wrapping works as in sabfs_syscalls.cpp. Of the other calls the C library has at most a declaration: here they
// serve files of all backends.

#include "sabfs_calls.h"
#include "sabfs_channels.h"
#include "sabfs_inotify.h"
#include "sabfs_maps.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <vector>

using namespace wasmfs;
using namespace sabfs;

namespace {

// "SABF".
constexpr unsigned long MAGIC = 0x46424153;
// As on Linux: 2 GiB less a page in one call.
constexpr size_t COUNT_MAX = 0x7ffff000;
// Emscripten's headers lack lseek()'s.
constexpr int SEEK_TO_DATA = 3, SEEK_TO_HOLE = 4;
constexpr size_t BUFFER_BYTES = 64 << 10;

int fillStatfs(SabfsBackend &backend, size_t size, struct statfs *buffer) {
  // Only a whole one is known, as WasmFS says.
  if (size != sizeof(struct statfs)) return -EINVAL;
  sabfs_space space;
  if (int error = backend.v.statfs(backend.volume, &space)) return error;
  *buffer = {};
  buffer->f_type = MAGIC;
  buffer->f_bsize = buffer->f_frsize = space.block_size_bytes;
  buffer->f_blocks = space.blocks;
  buffer->f_bfree = buffer->f_bavail = space.free_blocks;
  buffer->f_files = space.inodes;
  buffer->f_ffree = space.free_inodes;
  buffer->f_fsid.__val[0] = int(backend.device);
  buffer->f_namelen = space.name_max;
  buffer->f_flags = space.read_only ? ST_RDONLY : 0;
  return 0;
}

int resize(SabfsBackend &backend, const std::shared_ptr<File> &file, off_t size, bool byPath) {
  if (file->is<Directory>()) return -EISDIR;
  sabfs_attr attr;
  uint32_t ino = SabfsBackend::node(file).ino;
  if (int error = backend.v.getattr(backend.volume, ino, &attr)) return error;
  if (!S_ISREG(attr.mode)) return -EINVAL;
  constexpr mode_t WRITE = 0222;
  if (byPath && !(attr.mode & WRITE)) return -EACCES;
  sabfs_set_attr set = {};
  set.which = SABFS_SET_SIZE;
  set.size_bytes = uint64_t(size);
  ChangesFile changes(backend, ino);
  return backend.v.setattr(backend.volume, ino, &set, &attr);
}

// Where a copy reads or writes: at a place of its own, or at the open file's, which moves on.
struct Place {
  const Descriptor &open;
  off_t *given;
  off_t at;

  Place(const Descriptor &open, off_t *given) : open(open), given(given), at(given ? *given : position()) {}
  void advance(size_t count) {
    at += off_t(count);
    if (given) *given = at;
    else open.state->locked().setPosition(at);
  }

private:
  off_t position() { return open.state->locked().getPosition(); }
};

// Whether bytes of a file can be copied; as Linux answers, for the source first.
int copyable(const Descriptor &open) {
  if (open.file->is<Directory>()) return -EISDIR;
  return open.file->is<DataFile>() && open.file->isSeekable() ? 0 : -EINVAL;
}

// Copies through a buffer, by calls that any file has. A write that does less than it should ends it.
template<class Read, class Write> ssize_t copyBytes(size_t count, Read read, Write write) {
  std::vector<char> buffer(std::min(count, BUFFER_BYTES));
  size_t done = 0;
  while (done < count) {
    ssize_t got = read(buffer.data(), std::min(buffer.size(), count - done), done);
    ssize_t put = got > 0 ? write(buffer.data(), size_t(got), done) : got;
    if (put < 0 && done == 0) return -errno;
    if (put <= 0) break;
    done += size_t(put);
    if (put < got) break;
  }
  return ssize_t(done);
}

ssize_t copyRange(int in, off_t *inOffset, int out, off_t *outOffset, size_t count) {
  Descriptor from(in), to(out);
  if (!from.state || !to.state) return -EBADF;
  if (int error = copyable(from)) return error;
  if (int error = copyable(to)) return error;
  if (!from.reads() || !to.writes() || to.flags & O_APPEND) return -EBADF;
  Place source(from, inOffset), target(to, outOffset);
  for (off_t at : {source.at, target.at}) {
    if (uint64_t(at) + count < uint64_t(at)) return -EOVERFLOW;
  }
  if (source.at < 0 || target.at < 0) return -EINVAL;
  count = std::min(count, COUNT_MAX);
  ssize_t done;
  if (from.backend && from.backend == to.backend) {
    auto &backend = *from.backend;
    flushMaps(backend, from.ino());
    ChangesFile changes(backend, to.ino());
    done = ssize_t(backend.v.copy_range(backend.volume, from.ino(), uint64_t(source.at), to.ino(), uint64_t(target.at), count));
    if (done > 0) noteUse(backend, from.ino(), IN_ACCESS);
  } else {
    if (from.file == to.file && source.at < target.at + off_t(count) && target.at < source.at + off_t(count)) return -EINVAL;
    done = copyBytes(
      count, [&](char *bytes, size_t most, size_t at) { return pread(in, bytes, most, source.at + off_t(at)); },
      [&](const char *bytes, size_t most, size_t at) { return pwrite(out, bytes, most, target.at + off_t(at)); });
  }
  if (done > 0) {
    source.advance(size_t(done));
    target.advance(size_t(done));
  }
  return done;
}

ssize_t sendFile(int out, int in, off_t *offset, size_t count) {
  Descriptor from(in), to(out);
  if (!from.state || !to.state || !from.reads() || !to.writes()) return -EBADF;
  if (from.file->is<Directory>() || to.flags & O_APPEND) return -EINVAL;
  if (copyable(from)) return offset ? -ESPIPE : -EINVAL;
  Place source(from, offset);
  if (source.at < 0) return -EINVAL;
  ssize_t done = copyBytes(
    std::min(count, COUNT_MAX),
    [&](char *bytes, size_t most, size_t at) { return pread(in, bytes, most, source.at + off_t(at)); },
    [&](const char *bytes, size_t most, size_t) { return write(out, bytes, most); });
  if (done > 0) source.advance(size_t(done));
  return done;
}

} // namespace

extern "C" {

int __real___syscall_statfs64(const char *, size_t, struct statfs *);
int __wrap___syscall_statfs64(const char *path, size_t size, struct statfs *buffer) {
  auto others = [&] { return __real___syscall_statfs64(path, size, buffer); };
  return withFile(AT_FDCWD, path, 0, [&](auto &backend, auto &) { return fillStatfs(backend, size, buffer); }, others);
}

int __real___syscall_fstatfs64(int, size_t, struct statfs *);
int __wrap___syscall_fstatfs64(int fd, size_t size, struct statfs *buffer) {
  Descriptor open(fd, Descriptor::PATHS);
  return open.backend ? fillStatfs(*open.backend, size, buffer) : __real___syscall_fstatfs64(fd, size, buffer);
}

int __real___syscall_truncate64(const char *, off_t);
int __wrap___syscall_truncate64(const char *path, off_t size) {
  if (size < 0) return -EINVAL;
  auto ours = [&](auto &backend, auto &file) { return resize(backend, file, size, true); };
  return withFile(AT_FDCWD, path, 0, ours, [&] { return __real___syscall_truncate64(path, size); });
}

// WasmFS looks at the file's mode instead of what the descriptor was opened for.
int __real___syscall_ftruncate64(int, off_t);
int __wrap___syscall_ftruncate64(int fd, off_t size) {
  if (size < 0) return -EINVAL;
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  if (!open.backend) return Channel::of(open.file) ? -EINVAL : __real___syscall_ftruncate64(fd, size);
  if (!open.file->is<DataFile>() || !open.writes()) return -EINVAL;
  return resize(*open.backend, open.file, size, false);
}

int __real___syscall_fallocate(int, int, off_t, off_t);
int __wrap___syscall_fallocate(int fd, int mode, off_t offset, off_t count) {
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  if (offset < 0 || count <= 0) return -EINVAL;
  if (Channel::of(open.file)) return -ESPIPE;
  // WasmFS stops at a mode where it checks its assumptions, and ignores it elsewhere.
  if (!open.backend) return mode ? -EOPNOTSUPP : __real___syscall_fallocate(fd, mode, offset, count);
  if (!open.writes()) return -EBADF;
  auto &backend = *open.backend;
  ChangesFile changes(backend, open.ino());
  return backend.v.allocate(backend.volume, open.ino(), unsigned(mode), uint64_t(offset), uint64_t(count));
}

// The C library declares it and has none.
int fallocate(int fd, int mode, off_t offset, off_t count) {
  return answer(__wrap___syscall_fallocate(fd, mode, offset, count));
}

__wasi_errno_t __real___wasi_fd_seek(__wasi_fd_t, __wasi_filedelta_t, __wasi_whence_t, __wasi_filesize_t *);
__wasi_errno_t __wrap___wasi_fd_seek(__wasi_fd_t fd, __wasi_filedelta_t offset, __wasi_whence_t whence,
                                     __wasi_filesize_t *result) {
  Descriptor open{int(fd)};
  if (!open.state) return EBADF;
  if (whence != SEEK_TO_DATA && whence != SEEK_TO_HOLE) return __real___wasi_fd_seek(fd, offset, whence, result);
  if (open.file->is<Directory>()) return EINVAL;
  if (!open.file->isSeekable()) return ESPIPE;
  if (offset < 0) return ENXIO;
  int64_t found;
  if (open.backend) {
    found = open.backend->v.seek(open.backend->volume, open.ino(), uint64_t(offset), whence == SEEK_TO_HOLE);
  } else {
    // Data without holes, whose end counts as one.
    off_t size = open.file->locked().getSize();
    found = offset >= size ? -ENXIO : whence == SEEK_TO_HOLE ? size : offset;
  }
  if (found < 0) return __wasi_errno_t(-found);
  open.state->locked().setPosition(found);
  if (result) *result = __wasi_filesize_t(found);
  return 0;
}

ssize_t copy_file_range(int in, off_t *inOffset, int out, off_t *outOffset, size_t count, unsigned flags) {
  return answer(flags ? -EINVAL : copyRange(in, inOffset, out, outOffset, count));
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count) { return answer(sendFile(out, in, offset, count)); }

int syncfs(int fd) {
  Descriptor open(fd);
  if (!open.state) return answer(-EBADF);
  return open.backend ? answer(open.backend->v.fsync(open.backend->volume, SABFS_INO_ROOT)) : 0;
}

} // extern "C"
