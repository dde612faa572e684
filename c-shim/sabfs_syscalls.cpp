// System calls that WasmFS answers without asking the backend, or without its error.
//
// Linked with `-Wl,--wrap=NAME` for every NAME here (emscripten/sabfs.py and dist/sabfs.rsp carry the
// flags), a call of NAME comes to __wrap_NAME, and __real_NAME is WasmFS's own, which serves all files
// of other backends. A program linked without the flags does not take this file from the archive: it
// works, but st_ino, hard links, modes, times and the reasons of failures are WasmFS's.

#include "sabfs_backend.h"

#include "paths.h"

#include <cstring>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

using namespace wasmfs;
using sabfs::lastError;
using sabfs::SabfsBackend;

namespace {

timespec toTimespec(int64_t ns) {
  int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
  if (rest < 0) seconds--, rest += 1000000000;
  timespec time = {};
  time.tv_sec = time_t(seconds);
  time.tv_nsec = long(rest);
  return time;
}

int fillStat(SabfsBackend &backend, const std::shared_ptr<File> &file, struct stat *buffer) {
  sabfs_attr attr;
  const auto &node = SabfsBackend::node(file);
  int error = backend.v.getattr(backend.volume, node.ino, &attr);
  if (error) return error;
  if (attr.generation != node.generation) return -ENOENT;
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

// Changes attributes of a file of ours. The object shows the change at once, as WasmFS looks at the
// mode without asking for the size first.
int setAttributes(SabfsBackend &backend, const std::shared_ptr<File> &file, const sabfs_set_attr &set) {
  sabfs_attr attr;
  int error = backend.v.setattr(backend.volume, SabfsBackend::node(file).ino, &set, &attr);
  if (error) return error;
  auto handle = file->locked();
  handle.setMode(attr.mode);
  handle.setATime(sabfs::toMs(attr.atime_ns));
  handle.setMTime(sabfs::toMs(attr.mtime_ns));
  handle.setCTime(sabfs::toMs(attr.ctime_ns));
  return 0;
}

// WasmFS reports every failed insertion as EIO or EPERM, and every failed lookup as ENOENT.
int withReason(int result, int vague) {
  return (result == vague || result == -ENOENT) && lastError ? lastError : result;
}

// Runs an operation on the file that a path leads to. When the file has lost its last name in between,
// the name may stand for another file by now, and the path is walked again. `others` serves files of
// other backends.
template<class Ours, class Others>
int withFile(int dirfd, const char *path, int flags, Ours ours, Others others) {
  int error = -ENOENT;
  for (int tries = 0; tries < sabfs::TRIES && error == -ENOENT; tries++) {
    lastError = 0;
    auto parsed = path::getFileAt(dirfd, path, flags);
    if (long missing = parsed.getError()) return withReason(int(missing), -ENOENT);
    auto *backend = SabfsBackend::of(parsed.getFile());
    if (!backend) return others();
    error = ours(*backend, parsed.getFile());
    // A descriptor leads to the same file for ever.
    if (!*path) break;
  }
  return error;
}

sabfs_set_attr modeOf(mode_t mode) {
  sabfs_set_attr set = {};
  set.which = SABFS_SET_MODE;
  set.mode = mode;
  return set;
}

std::shared_ptr<File> fileOf(int fd) {
  auto open = wasmFS.getFileTable().locked().getEntry(fd);
  return open ? open->locked().getFile() : nullptr;
}

bool toString(void *sink, const char *text, size_t length, uint32_t, uint32_t) {
  static_cast<std::string *>(sink)->assign(text, length);
  return true;
}

// Whether any file was ever opened for synchronous writes: most programs open none, and pay a load.
std::atomic<bool> anySynchronous{false};

// Lets an open file remember its O_SYNC or O_DSYNC.
void setSynchronous(int fd, oflags_t flags) {
  auto open = wasmFS.getFileTable().locked().getEntry(fd);
  if (!open) return;
  auto handle = open->locked();
  handle.setFlags(handle.getFlags() | flags);
  anySynchronous = true;
}

// The open file behind a descriptor if its writes are synchronous and it is ours. Asked before the write,
// as another thread may close the descriptor meanwhile.
std::shared_ptr<OpenFileState> synchronous(int fd) {
  if (!anySynchronous) return nullptr;
  auto open = wasmFS.getFileTable().locked().getEntry(fd);
  if (!open) return nullptr;
  auto handle = open->locked();
  return handle.getFlags() & O_DSYNC && SabfsBackend::of(handle.getFile()) ? open : nullptr;
}

// Ends a synchronous write. No lock of WasmFS is held meanwhile.
__wasi_errno_t makeDurable(const std::shared_ptr<OpenFileState> &open) {
  auto file = open->locked().getFile();
  auto *backend = SabfsBackend::of(file);
  return __wasi_errno_t(-backend->v.sync_durably(backend->volume));
}

// Whether `directory` lies above `file`.
bool isAbove(const std::shared_ptr<Directory> &directory, std::shared_ptr<Directory> file) {
  auto root = wasmFS.getRootDirectory();
  while (file && file != root) {
    file = file->locked().getParent();
    if (file == directory) return true;
  }
  return false;
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
  auto others = [&] { return __real___syscall_newfstatat(dirfd, path, buffer, flags); };
  if (flags & ~(AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW)) return others();
  auto ours = [&](auto &backend, auto &file) { return fillStat(backend, file, buffer); };
  return withFile(dirfd, path, flags, ours, others);
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
  auto file = fileOf(fd);
  auto *backend = file ? SabfsBackend::of(file) : nullptr;
  if (!backend) return __real___syscall_fchmod(fd, mode);
  return setAttributes(*backend, file, modeOf(mode));
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
  return __wrap___syscall_fchownat(fd, "", owner, group, AT_EMPTY_PATH);
}

int __real___syscall_utimensat(int, const char *, const struct timespec[2], int);
int __wrap___syscall_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
  auto others = [&] { return __real___syscall_utimensat(dirfd, path, times, flags); };
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return others();
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  sabfs_set_attr set = {};
  for (int i = 0; i < 2; i++) {
    timespec time = times ? times[i] : now;
    if (times && time.tv_nsec == UTIME_OMIT) continue;
    if (times && time.tv_nsec == UTIME_NOW) time = now;
    if (time.tv_nsec < 0 || time.tv_nsec > 999999999) return -EINVAL;
    int64_t ns;
    // Nanoseconds since 1970 reach to the year 2262.
    if (__builtin_mul_overflow(int64_t(time.tv_sec), int64_t(1000000000), &ns) ||
        __builtin_add_overflow(ns, int64_t(time.tv_nsec), &ns))
      return -EINVAL;
    set.which |= i ? SABFS_SET_MTIME : SABFS_SET_ATIME;
    (i ? set.mtime_ns : set.atime_ns) = ns;
  }
  auto ours = [&](auto &backend, auto &file) { return set.which ? setAttributes(backend, file, set) : 0; };
  // Linux's call takes no path to mean the descriptor itself.
  return withFile(dirfd, path ? path : "", flags | AT_EMPTY_PATH, ours, others);
}

// --- names

int __real___syscall_openat(int, const char *, int, ...);
int __wrap___syscall_openat(int dirfd, const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  int result = -ESTALE;
  // See SabfsFile::open(). WasmFS does not know O_SYNC and stops at it where it checks its assumptions.
  for (int tries = 0; tries < sabfs::TRIES && result == -ESTALE; tries++) {
    lastError = 0;
    result = __real___syscall_openat(dirfd, path, flags & ~O_SYNC, mode);
  }
  if (result >= 0 && flags & O_SYNC) setSynchronous(result, flags & O_SYNC);
  return result < 0 ? withReason(result, -EIO) : result;
}

int __real___syscall_mknodat(int, const char *, mode_t, dev_t);
int __wrap___syscall_mknodat(int dirfd, const char *path, mode_t mode, dev_t device) {
  lastError = 0;
  return withReason(__real___syscall_mknodat(dirfd, path, mode, device), -EIO);
}

int __real___syscall_mkdirat(int, const char *, mode_t);
int __wrap___syscall_mkdirat(int dirfd, const char *path, mode_t mode) {
  lastError = 0;
  return withReason(__real___syscall_mkdirat(dirfd, path, mode), -EIO);
}

int __real___syscall_symlinkat(const char *, int, const char *);
int __wrap___syscall_symlinkat(const char *target, int dirfd, const char *path) {
  lastError = 0;
  return withReason(__real___syscall_symlinkat(target, dirfd, path), -EPERM);
}

int __real___syscall_linkat(int, const char *, int, const char *, int);
int __wrap___syscall_linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  lastError = 0;
  int follow = flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
  auto old = path::getFileAt(olddirfd, oldpath, (flags & AT_EMPTY_PATH) | follow);
  if (long error = old.getError()) return withReason(int(error), -ENOENT);
  auto parsed = path::parseParent(newpath, newdirfd);
  if (long error = parsed.getError()) return withReason(int(error), -ENOENT);
  auto &[parent, name] = parsed.getParentChild();
  auto *backend = SabfsBackend::of(parent);
  if (SabfsBackend::of(old.getFile()) != backend) return -EXDEV;
  if (!backend) return __real___syscall_linkat(olddirfd, oldpath, newdirfd, newpath, flags);
  if (name == "." || name == ".." || parent->locked().getChild(std::string(name))) return -EEXIST;
  return backend->v.link(backend->volume, SabfsBackend::node(old.getFile()).ino, SabfsBackend::node(parent).ino,
                         name.data(), name.size());
}

// WasmFS's own locks two directories in the order of the arguments. Where the second lies above the
// first, a lookup that locks them from above meets it half-way, and both wait for ever: without
// WasmFS's cache of names every lookup locks the child. Here the upper one is locked first.
int __real___syscall_renameat(int, const char *, int, const char *);
int __wrap___syscall_renameat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath) {
  static std::mutex renames; // others never hold two unrelated directories
  lastError = 0;
  auto parsedOld = path::parseParent(oldpath, olddirfd);
  if (long error = parsedOld.getError()) return withReason(int(error), -ENOENT);
  auto parsedNew = path::parseParent(newpath, newdirfd);
  if (long error = parsedNew.getError()) return withReason(int(error), -ENOENT);
  auto &[oldParent, oldView] = parsedOld.getParentChild();
  auto &[newParent, newView] = parsedNew.getParentChild();
  auto *backend = SabfsBackend::of(oldParent);
  if (backend != SabfsBackend::of(newParent)) return -EXDEV;
  if (!backend) return __real___syscall_renameat(olddirfd, oldpath, newdirfd, newpath);
  std::string oldName(oldView), newName(newView);
  for (const auto *name : {&oldName, &newName}) {
    if (*name == "." || *name == "..") return -EBUSY;
  }

  std::lock_guard<std::mutex> guard(renames);
  bool newFirst = isAbove(newParent, oldParent);
  auto upper = (newFirst ? newParent : oldParent)->locked();
  auto lower = (newFirst ? oldParent : newParent)->locked();
  auto &lockedOld = newFirst ? lower : upper, &lockedNew = newFirst ? upper : lower;
  auto oldFile = lockedOld.getChild(oldName);
  if (!oldFile) return withReason(-ENOENT, -ENOENT);
  lastError = 0;
  auto newFile = lockedNew.getChild(newName);
  if (lastError && lastError != -ENOENT) return lastError;
  // A mount point can neither be moved nor replaced.
  if (SabfsBackend::of(oldFile) != backend || (newFile && SabfsBackend::of(newFile) != backend)) return -EBUSY;
  constexpr mode_t WRITE = 0222;
  if (!(lockedOld.getMode() & WRITE) || !(lockedNew.getMode() & WRITE)) return -EACCES;

  uint32_t from = SabfsBackend::node(oldParent).ino, to = SabfsBackend::node(newParent).ino;
  int error = backend->v.rename(backend->volume, from, oldName.data(), oldName.size(), to, newName.data(),
                                newName.size(), 0);
  if (error) return error;
  uint32_t ino = SabfsBackend::node(oldFile).ino;
  if (newFile && SabfsBackend::node(newFile).ino == ino) return 0; // two names of one file: nothing moves
  if (newFile) backend->nameGone(to, SabfsBackend::node(newFile).ino, newFile->is<Directory>());
  backend->moved(from, ino, oldFile->is<Directory>(), newParent);
  return 0;
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
  auto file = fileOf(fd);
  auto *backend = file ? SabfsBackend::of(file) : nullptr;
  if (!backend) return __real___wasi_fd_sync(fd);
  return __wasi_errno_t(-backend->v.fsync(backend->volume, SabfsBackend::node(file).ino));
}

// WasmFS keeps the flags of open files, but no write looks at O_SYNC and O_DSYNC.
__wasi_errno_t __real___wasi_fd_write(__wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *parts, size_t count, __wasi_size_t *written) {
  auto open = synchronous(fd);
  auto error = __real___wasi_fd_write(fd, parts, count, written);
  return open && !error && *written ? makeDurable(open) : error;
}

__wasi_errno_t __real___wasi_fd_pwrite(__wasi_fd_t, const __wasi_ciovec_t *, size_t, __wasi_filesize_t, __wasi_size_t *);
__wasi_errno_t __wrap___wasi_fd_pwrite(__wasi_fd_t fd, const __wasi_ciovec_t *parts, size_t count,
                                       __wasi_filesize_t offset, __wasi_size_t *written) {
  auto open = synchronous(fd);
  auto error = __real___wasi_fd_pwrite(fd, parts, count, offset, written);
  return open && !error && *written ? makeDurable(open) : error;
}

// WasmFS's msync() copies a shared mapping into its file, and no more. It tells _msync_js(), which
// munmap() uses too, the file but not what msync() was asked for.
static __thread bool waiting = false;
int __real__msync_js(void *, size_t, int, int, int, off_t);
int __wrap__msync_js(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  int error = __real__msync_js(address, length, protection, flags, fd, offset);
  bool written = (flags & MAP_TYPE) == MAP_SHARED && protection & PROT_WRITE;
  return error || !waiting || !written ? error : -int(__wrap___wasi_fd_sync(fd));
}

int __real___syscall_msync(void *, size_t, int);
int __wrap___syscall_msync(void *address, size_t length, int flags) {
  waiting = flags & MS_SYNC;
  int error = __real___syscall_msync(address, length, flags);
  waiting = false;
  return error;
}

int __wrap___syscall_fdatasync(int fd) { return __wrap___wasi_fd_sync(fd); }

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
