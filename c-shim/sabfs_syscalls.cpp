// System calls that WasmFS answers without asking the backend, or without its error.
//
// Linked with `-Wl,--wrap=NAME` for every NAME here (emscripten/link makes all that carries the
// flags), a call of NAME comes to __wrap_NAME, and __real_NAME is WasmFS's own, which serves all files
// of other backends. A program linked without the flags does not take this file from the archive: it
// works, but st_ino, hard links, modes, times and the reasons of failures are WasmFS's.

#include "sabfs_calls.h"
#include "sabfs_channels.h"
#include "sabfs_paths.h"

#include <algorithm>
#include <cstring>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

using namespace wasmfs;
using namespace sabfs;

namespace {

timespec toTimespec(int64_t ns) {
  int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
  if (rest < 0) seconds--, rest += 1000000000;
  timespec time = {};
  time.tv_sec = time_t(seconds);
  time.tv_nsec = long(rest);
  return time;
}

int attributes(SabfsBackend &backend, const std::shared_ptr<File> &file, sabfs_attr *attr) {
  const auto &node = SabfsBackend::node(file);
  int error = backend.v.getattr(backend.volume, node.ino, attr);
  return error ? error : attr->generation == node.generation ? 0 : -ENOENT;
}

int fillStat(SabfsBackend &backend, const sabfs_attr &attr, struct stat *buffer) {
  *buffer = {};
  buffer->st_dev = backend.device;
  buffer->st_ino = attr.ino;
  buffer->st_mode = attr.mode;
  buffer->st_nlink = attr.nlink;
  buffer->st_uid = attr.uid;
  buffer->st_gid = attr.gid;
  buffer->st_rdev = dev_t(attr.rdev);
  buffer->st_size = off_t(attr.size_bytes);
  buffer->st_blksize = 4096;
  buffer->st_blocks = blkcnt_t(attr.blocks * 8);
  buffer->st_atim = toTimespec(attr.atime_ns);
  buffer->st_mtim = toTimespec(attr.mtime_ns);
  buffer->st_ctim = toTimespec(attr.ctime_ns);
  return 0;
}

statx_timestamp toTimestamp(int64_t ns) {
  timespec time = toTimespec(ns);
  statx_timestamp stamp = {};
  stamp.tv_sec = time.tv_sec;
  stamp.tv_nsec = uint32_t(time.tv_nsec);
  return stamp;
}

int fillStatx(SabfsBackend &backend, const sabfs_attr &attr, struct statx *buffer) {
  *buffer = {};
  buffer->stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  buffer->stx_blksize = 4096;
  buffer->stx_nlink = attr.nlink;
  buffer->stx_uid = attr.uid;
  buffer->stx_gid = attr.gid;
  buffer->stx_mode = uint16_t(attr.mode);
  buffer->stx_ino = attr.ino;
  buffer->stx_size = attr.size_bytes;
  buffer->stx_blocks = attr.blocks * 8;
  buffer->stx_atime = toTimestamp(attr.atime_ns);
  buffer->stx_btime = toTimestamp(attr.btime_ns);
  buffer->stx_ctime = toTimestamp(attr.ctime_ns);
  buffer->stx_mtime = toTimestamp(attr.mtime_ns);
  buffer->stx_rdev_major = uint32_t(major(dev_t(attr.rdev)));
  buffer->stx_rdev_minor = uint32_t(minor(dev_t(attr.rdev)));
  buffer->stx_dev_major = uint32_t(major(backend.device));
  buffer->stx_dev_minor = uint32_t(minor(backend.device));
  return 0;
}

// Pipes have no size and no blocks; their object's address tells one from another.
int fillChannel(Channel &channel, struct stat *buffer) {
  auto handle = static_cast<File &>(channel).locked();
  *buffer = {};
  buffer->st_dev = 2;
  buffer->st_ino = channel.getIno();
  buffer->st_mode = channel.shown;
  buffer->st_nlink = 1;
  buffer->st_blksize = 4096;
  buffer->st_atim = toTimespec(int64_t(handle.getATime() * 1e6));
  buffer->st_mtim = toTimespec(int64_t(handle.getMTime() * 1e6));
  buffer->st_ctim = toTimespec(int64_t(handle.getCTime() * 1e6));
  return 0;
}

// Gives `fill` the attributes of the file that a path leads to.
template<class Fill, class Others>
int withAttributes(int dirfd, const char *path, int flags, Fill fill, Others others) {
  sabfs_attr attr;
  Place place;
  if (walk(path, place) && !place.lookup(&attr) && (flags & AT_SYMLINK_NOFOLLOW || !S_ISLNK(attr.mode)))
    return fill(*place.backend, attr);
  auto ours = [&](auto &backend, auto &file) {
    int error = attributes(backend, file, &attr);
    return error ? error : fill(backend, attr);
  };
  return withFile(dirfd, path, flags, ours, others);
}

// Changes attributes of a file of ours. The object shows the change at once, as WasmFS looks at the
// mode without asking for the size first.
int setAttributes(SabfsBackend &backend, const std::shared_ptr<File> &file, const sabfs_set_attr &set) {
  sabfs_attr attr;
  int error = backend.v.setattr(backend.volume, SabfsBackend::node(file).ino, &set, &attr);
  if (error) return error;
  auto handle = file->locked();
  handle.setMode(attr.mode);
  handle.setATime(toMs(attr.atime_ns));
  handle.setMTime(toMs(attr.mtime_ns));
  handle.setCTime(toMs(attr.ctime_ns));
  return 0;
}

sabfs_set_attr modeOf(mode_t mode) {
  sabfs_set_attr set = {};
  set.which = SABFS_SET_MODE;
  set.mode = mode;
  return set;
}

// Name of a mount point in a directory that is not ours. WasmFS's getName() knows no mounts, but
// their names come with the entries, where objects are named by their addresses.
std::string nameIn(const std::shared_ptr<Directory> &parent, const std::shared_ptr<File> &child) {
  auto name = parent->locked().getName(child);
  if (!name.empty()) return name;
  auto entries = parent->locked().getEntries();
  if (entries.getError()) return "";
  for (const auto &entry : *entries) {
    if (entry.ino == child->getIno()) return entry.name;
  }
  return "";
}

} // namespace

extern "C" {

// --- attributes

int __real___syscall_newfstatat(int, const char *, struct stat *, int);
int __wrap___syscall_newfstatat(int dirfd, const char *path, struct stat *buffer, int flags) {
  auto others = [&] {
    if (flags & AT_EMPTY_PATH && !*path) {
      Descriptor open(dirfd);
      if (auto *channel = Channel::of(open.file)) return fillChannel(*channel, buffer);
    }
    return __real___syscall_newfstatat(dirfd, path, buffer, flags);
  };
  if (flags & ~(AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW)) return others();
  return withAttributes(
    dirfd, path, flags, [&](auto &backend, auto &attr) { return fillStat(backend, attr, buffer); }, others);
}

int __wrap___syscall_stat64(const char *path, struct stat *buffer) {
  return __wrap___syscall_newfstatat(AT_FDCWD, path, buffer, 0);
}

int __wrap___syscall_lstat64(const char *path, struct stat *buffer) {
  return __wrap___syscall_newfstatat(AT_FDCWD, path, buffer, AT_SYMLINK_NOFOLLOW);
}

int __wrap___syscall_fstat64(int fd, struct stat *buffer) {
  return __wrap___syscall_newfstatat(fd, "", buffer, AT_EMPTY_PATH);
}

// The C library's own knows no time of creation, and does not look at its flags.
int __real_statx(int, const char *, int, unsigned, struct statx *);
int __wrap_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buffer) {
  constexpr int SYNC = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, KNOWN = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;
  constexpr unsigned RESERVED = 0x80000000;
  if (flags & ~(KNOWN | SYNC) || (flags & SYNC) == SYNC || mask & RESERVED) return answer(-EINVAL);
  // Whether it was another backend's, whose answer is complete.
  bool others = false;
  int result = withAttributes(
    dirfd, path, flags & KNOWN, [&](auto &backend, auto &attr) { return fillStatx(backend, attr, buffer); },
    [&] {
      others = true;
      return __real_statx(dirfd, path, flags & KNOWN, mask, buffer);
    });
  return others ? result : answer(result);
}

int __real___syscall_fchmodat2(int, const char *, mode_t, int);
int __wrap___syscall_fchmodat2(int dirfd, const char *path, mode_t mode, int flags) {
  auto others = [&] { return __real___syscall_fchmodat2(dirfd, path, mode, flags); };
  if (flags & ~AT_SYMLINK_NOFOLLOW) return others();
  auto ours = [&](auto &backend, auto &file) { return setAttributes(backend, file, modeOf(mode)); };
  return withFile(dirfd, path, flags, ours, others);
}

int __wrap___syscall_chmod(const char *path, mode_t mode) {
  return __wrap___syscall_fchmodat2(AT_FDCWD, path, mode, 0);
}

int __real___syscall_fchmod(int, mode_t);
int __wrap___syscall_fchmod(int fd, mode_t mode) {
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  if (!open.backend) return __real___syscall_fchmod(fd, mode);
  return setAttributes(*open.backend, open.file, modeOf(mode));
}

int __real___syscall_fchownat(int, const char *, uid_t, gid_t, int);
int __wrap___syscall_fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags) {
  auto others = [&] { return __real___syscall_fchownat(dirfd, path, owner, group, flags); };
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return others();
  sabfs_set_attr set = {};
  // -1 leaves a number as it is.
  if (owner != uid_t(-1)) set.which |= SABFS_SET_UID, set.uid = owner;
  if (group != gid_t(-1)) set.which |= SABFS_SET_GID, set.gid = group;
  auto ours = [&](auto &backend, auto &file) { return setAttributes(backend, file, set); };
  return withFile(dirfd, path, flags, ours, others);
}

int __wrap___syscall_fchown32(int fd, uid_t owner, gid_t group) {
  if (!Descriptor(fd).state) return -EBADF;
  return __wrap___syscall_fchownat(fd, "", owner, group, AT_EMPTY_PATH);
}

// Judged by the mode's bits of anybody, as WasmFS does: a program is nobody in particular.
int __real___syscall_faccessat(int, const char *, int, int);
int __wrap___syscall_faccessat(int dirfd, const char *path, int wanted, int flags) {
  if (wanted & ~(R_OK | W_OK | X_OK) || flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  auto fill = [&](auto &, auto &attr) {
    // The bits of a symlink are all set.
    bool link = S_ISLNK(attr.mode);
    if (wanted & R_OK && !link && !(attr.mode & 0444)) return -EACCES;
    if (wanted & W_OK && !link && !(attr.mode & 0222)) return -EACCES;
    if (wanted & X_OK && !link && !(attr.mode & 0111)) return -EACCES;
    return 0;
  };
  auto others = [&] { return __real___syscall_faccessat(dirfd, path, wanted, flags & ~AT_EMPTY_PATH); };
  return withAttributes(dirfd, path, flags & ~AT_EACCESS, fill, others);
}

int __real___syscall_readlinkat(int, const char *, char *, size_t);
int __wrap___syscall_readlinkat(int dirfd, const char *path, char *buffer, size_t size) {
  if (!size || size > size_t(INT_MAX)) return -EINVAL;
  int flags = AT_SYMLINK_NOFOLLOW;
  // Without a path it is a descriptor's, of a symlink opened by O_PATH.
  if (!*path) {
    Descriptor open(dirfd, Descriptor::PATHS);
    if (!open.file || !open.file->is<Symlink>()) return -ENOENT;
    flags |= AT_EMPTY_PATH;
  }
  int count = 0;
  auto ours = [&](auto &, auto &file) {
    auto link = file->template dynCast<Symlink>();
    if (!link) return -EINVAL;
    auto target = link->getTarget();
    count = int(std::min(size, target.size()));
    memcpy(buffer, target.data(), size_t(count));
    return 0;
  };
  auto others = [&] {
    count = __real___syscall_readlinkat(dirfd, path, buffer, size);
    return 0;
  };
  int error = withFile(dirfd, path, flags, ours, others);
  return error ? error : count;
}

int __real___syscall_chdir(const char *);
int __wrap___syscall_chdir(const char *path) {
  lastError = 0;
  return withReason(__real___syscall_chdir(path), -ENOENT);
}

int __real___syscall_utimensat(int, const char *, const struct timespec[2], int);
int __wrap___syscall_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
  // Of nothing to be done nothing is looked at.
  if (times && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT) return 0;
  auto others = [&] { return __real___syscall_utimensat(dirfd, path, times, flags); };
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return others();
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  sabfs_set_attr set = {};
  bool valid = true;
  for (int i = 0; i < 2; i++) {
    timespec time = times ? times[i] : now;
    if (times && time.tv_nsec == UTIME_OMIT) continue;
    if (times && time.tv_nsec == UTIME_NOW) time = now;
    int64_t ns = 0;
    // Nanoseconds since 1970 reach to the year 2262.
    valid &= time.tv_nsec >= 0 && time.tv_nsec <= 999999999 &&
             !__builtin_mul_overflow(int64_t(time.tv_sec), int64_t(1000000000), &ns) &&
             !__builtin_add_overflow(ns, int64_t(time.tv_nsec), &ns);
    set.which |= i ? SABFS_SET_MTIME : SABFS_SET_ATIME;
    (i ? set.mtime_ns : set.atime_ns) = ns;
  }
  // Linux looks at the times when it has found the file.
  auto ours = [&](auto &backend, auto &file) { return valid ? setAttributes(backend, file, set) : -EINVAL; };
  // Linux's call takes no path to mean the descriptor itself.
  return withFile(dirfd, path ? path : "", path ? flags : flags | AT_EMPTY_PATH, ours, others);
}

// WasmFS gives no name to a mount point, and its parents may be out of date when another program has
// moved a directory: names are asked of the store, up to the mount point.
int __real___syscall_getcwd(char *, size_t);
int __wrap___syscall_getcwd(char *buffer, size_t size) {
  auto directory = wasmFS.getCWD();
  auto *backend = SabfsBackend::of(directory);
  if (!backend) return __real___syscall_getcwd(buffer, size);
  if (!buffer || size == 0) return buffer ? -EINVAL : -EFAULT;
  std::string result;
  for (uint32_t ino = SabfsBackend::node(directory).ino; ino != SABFS_INO_ROOT;) {
    uint32_t parent;
    std::string name;
    int error = backend->v.parent(backend->volume, ino, &parent);
    if (!error) error = backend->v.name_of(backend->volume, parent, ino, &name, toString);
    if (error) return error;
    result = "/" + name + result;
    ino = parent;
  }
  // The objects lead to the mount point, even if not along the path that holds now.
  while (SabfsBackend::of(directory) == backend && SabfsBackend::node(directory).ino != SABFS_INO_ROOT) {
    directory = directory->locked().getParent();
    if (!directory) return -ENOENT;
  }
  while (directory != wasmFS.getRootDirectory()) {
    auto parent = directory->locked().getParent();
    if (!parent) return -ENOENT;
    result = "/" + nameIn(parent, directory) + result;
    directory = parent;
  }
  if (result.size() + 1 > size) return -ERANGE;
  memcpy(buffer, result.c_str(), result.size() + 1);
  return int(result.size() + 1);
}

// --- making durable

// WasmFS does nothing for a directory, but programs rely on it: it makes a rename durable.
__wasi_errno_t __real___wasi_fd_sync(__wasi_fd_t);
__wasi_errno_t __wrap___wasi_fd_sync(__wasi_fd_t fd) {
  Descriptor open{int(fd)};
  if (!open.state) return EBADF;
  if (Channel::of(open.file)) return EINVAL;
  if (!open.backend) return __real___wasi_fd_sync(fd);
  return __wasi_errno_t(-open.backend->v.fsync(open.backend->volume, open.ino()));
}

int __wrap___syscall_fdatasync(int fd) { return -int(__wrap___wasi_fd_sync(__wasi_fd_t(fd))); }

// The C library's own does nothing, and is weak.
int __syscall_sync(void) {
  if (const auto *volume = sabfs_volume_current()) sabfs_get_vtable()->fsync(volume, SABFS_INO_ROOT);
  return 0;
}

// --- before main

int sabfs_js_before_main(void);
void __real_wasmfs_before_preload(void);
// Before files are preloaded, so that --preload-file can place them on the volume.
void __wrap_wasmfs_before_preload(void) {
  sabfs_js_before_main();
  __real_wasmfs_before_preload();
}

} // extern "C"
