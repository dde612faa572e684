// System calls on names, wrapped as in sabfs_syscalls.cpp.
//
// The usual cases are done in the store itself, whose operations are atomic, without WasmFS's objects (sabfs_paths.h):
// to these that is as if another program had done it. WasmFS does the rest.

#include "sabfs_calls.h"
#include "sabfs_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <optional>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

using namespace wasmfs;
using namespace sabfs;

namespace {

// Lets an open file remember its O_SYNC or O_DSYNC, which writes look for (sabfs_io.cpp).
void setSynchronous(const std::shared_ptr<OpenFileState> &open, oflags_t flags) {
  auto handle = open->locked();
  handle.setFlags(handle.getFlags() | (flags & O_SYNC));
}

// Opens a regular file, and creates it if need be. -ESTALE: once more, nothing: for WasmFS.
std::optional<int> openFile(const Place &place, oflags_t flags, mode_t mode) {
  constexpr oflags_t KNOWN = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_LARGEFILE | O_NOFOLLOW | O_CLOEXEC |
                             O_NONBLOCK | O_SYNC;
  auto access = flags & O_ACCMODE;
  if (flags & ~KNOWN || (access != O_RDONLY && access != O_WRONLY && access != O_RDWR)) return {};
  auto &backend = *place.backend;
  sabfs_attr attr;
  int error = place.lookup(&attr);
  bool creates = error == -ENOENT && flags & O_CREAT;
  if (creates) {
    mode = (mode & S_IALLUGO & ~maskOf(wasmFS, 0)) | S_IFREG;
    error = backend.v.create(backend.volume, place.directory, place.name.data(), place.name.size(), mode, 0, &attr);
    // Somebody was faster.
    if (error == -EEXIST) error = flags & O_EXCL ? -EEXIST : -ESTALE;
  }
  if (error) return error;
  if (!creates) {
    if (!S_ISREG(attr.mode)) return {};
    if (flags & O_CREAT && flags & O_EXCL) return -EEXIST;
    constexpr mode_t READ = 0444, WRITE = 0222;
    if (access != O_WRONLY && !(attr.mode & READ)) return -EACCES;
    if (access != O_RDONLY && !(attr.mode & WRITE)) return -EACCES;
    if (flags & O_TRUNC && !(attr.mode & WRITE)) return -EACCES;
  }
  auto file = backend.intern(place.directory, attr);
  if (!file) return -ESTALE;
  if (!creates) {
    auto handle = file->locked();
    static_cast<SabfsFile &>(*file).refresh(attr);
  }
  std::shared_ptr<OpenFileState> open;
  if ((error = OpenFileState::create(file, flags & ~O_SYNC, open))) return error;
  if (!creates && flags & O_TRUNC) {
    // As WasmFS does, silently.
    (void)file->cast<DataFile>()->locked().setSize(0);
  }
  if (flags & O_SYNC) setSynchronous(open, flags);
  return int(wasmFS.getFileTable().locked().addEntry(open));
}

// Takes away a name of anything but a directory. Nothing: for WasmFS.
std::optional<int> unlinkFile(const Place &place) {
  sabfs_attr attr;
  if (int error = place.lookup(&attr)) return error;
  if (S_ISDIR(attr.mode)) return {};
  if (int error = place.checkWrite()) return error;
  auto &backend = *place.backend;
  return backend.v.unlink(backend.volume, place.directory, place.name.data(), place.name.size());
}

// Moves a name of anything but a directory. Nothing: for the way with WasmFS's objects.
std::optional<int> renameFile(const Place &from, const Place &to, unsigned flags) {
  if (from.backend != to.backend) return {};
  sabfs_attr attr;
  if (int error = from.lookup(&attr)) return error;
  if (S_ISDIR(attr.mode)) return {};
  int error = to.lookup(&attr);
  if (!error && S_ISDIR(attr.mode)) return {};
  if (error && error != -ENOENT) return error;
  if ((error = from.checkWrite()) || (error = to.checkWrite())) return error;
  auto &backend = *from.backend;
  return backend.v.rename(backend.volume, from.directory, from.name.data(), from.name.size(), to.directory,
                          to.name.data(), to.name.size(), flags);
}

// Whether a directory that a path leads to lies on a volume.
bool isParentOurs(const char *path) {
  auto parsed = path::parseParent(path);
  return !parsed.getError() && SabfsBackend::of(parsed.getParentChild().first);
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

} // namespace

extern "C" {

int __real___syscall_openat(int, const char *, int, ...);
int __wrap___syscall_openat(int dirfd, const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  int result = -ESTALE;
  // See SabfsFile::open().
  for (int tries = 0; tries < TRIES && result == -ESTALE; tries++) {
    if (Place place; walk(path, place)) {
      if (auto done = openFile(place, flags, mode)) {
        result = *done;
        continue;
      }
    }
    lastError = 0;
    // WasmFS does not know O_SYNC and stops at it where it checks its assumptions.
    result = withReason(__real___syscall_openat(dirfd, path, flags & ~O_SYNC, mode), -EIO);
    if (result < 0 || !(flags & O_SYNC)) continue;
    if (auto open = wasmFS.getFileTable().locked().getEntry(result)) setSynchronous(open, flags);
  }
  return result;
}

int __real___syscall_unlinkat(int, const char *, int);
int __wrap___syscall_unlinkat(int dirfd, const char *path, int flags) {
  if (Place place; !flags && walk(path, place)) {
    if (auto done = unlinkFile(place)) return *done;
  }
  int result = __real___syscall_unlinkat(dirfd, path, flags);
  // WasmFS lets rmdir() take an empty mount away.
  if (!result && flags) checkMounts();
  return result;
}

int __real___syscall_mknodat(int, const char *, mode_t, dev_t);
int __wrap___syscall_mknodat(int dirfd, const char *path, mode_t mode, dev_t device) {
  lastError = 0;
  auto parsed = path::parseParent(path, dirfd);
  if (long error = parsed.getError()) return withReason(int(error), -ENOENT);
  auto &[parent, name] = parsed.getParentChild();
  auto *backend = SabfsBackend::of(parent);
  if (!backend) return __real___syscall_mknodat(dirfd, path, mode, device);
  if (S_ISDIR(mode)) return -EPERM;
  if (S_ISLNK(mode)) return -EINVAL;
  if (!(mode & S_IFMT)) mode |= S_IFREG;
  sabfs_attr attr;
  // Devices of Linux are of no use here, but for others who share the volume.
  uint64_t number = S_ISCHR(mode) || S_ISBLK(mode) ? uint64_t(device) : 0;
  return backend->v.create(backend->volume, SabfsBackend::node(parent).ino, name.data(), name.size(), mode & ~maskOf(wasmFS, 0), number,
                           &attr);
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
static int renameWith(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned flags) {
  static std::mutex renames; // others never hold two unrelated directories
  if (Place from, to; walk(oldpath, from) && walk(newpath, to)) {
    if (auto done = renameFile(from, to, flags)) return *done;
  }
  lastError = 0;
  auto parsedOld = path::parseParent(oldpath, olddirfd);
  if (long error = parsedOld.getError()) return withReason(int(error), -ENOENT);
  auto parsedNew = path::parseParent(newpath, newdirfd);
  if (long error = parsedNew.getError()) return withReason(int(error), -ENOENT);
  auto &[oldParent, oldView] = parsedOld.getParentChild();
  auto &[newParent, newView] = parsedNew.getParentChild();
  auto *backend = SabfsBackend::of(oldParent);
  if (backend != SabfsBackend::of(newParent)) return -EXDEV;
  if (!backend) {
    int result = flags ? -EINVAL : __real___syscall_renameat(olddirfd, oldpath, newdirfd, newpath);
    checkMounts();
    return result;
  }
  std::string oldName(oldView), newName(newView);
  for (const auto *name : {&oldName, &newName}) {
    if (*name == "." || *name == "..") return name == &newName && flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
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
                                newName.size(), flags);
  if (error) return error;
  uint32_t ino = SabfsBackend::node(oldFile).ino;
  if (newFile && SabfsBackend::node(newFile).ino == ino) return 0; // two names of one file: nothing moves
  if (newFile && flags & RENAME_EXCHANGE) {
    backend->moved(to, SabfsBackend::node(newFile).ino, newFile->is<Directory>(), oldParent);
  } else if (newFile) {
    backend->nameGone(to, SabfsBackend::node(newFile).ino, newFile->is<Directory>());
  }
  backend->moved(from, ino, oldFile->is<Directory>(), newParent);
  return 0;
}

int __wrap___syscall_renameat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath) {
  return renameWith(olddirfd, oldpath, newdirfd, newpath, 0);
}

// The C library declares it and has none.
int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned flags) {
  bool known = !(flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT));
  bool fits = !(flags & RENAME_EXCHANGE) || !(flags & (RENAME_NOREPLACE | RENAME_WHITEOUT));
  return answer(known && fits ? renameWith(olddirfd, oldpath, newdirfd, newpath, flags) : -EINVAL);
}

// --- mounts

int __real_wasmfs_unmount(const char *);
int __wrap_wasmfs_unmount(const char *path) {
  int result = __real_wasmfs_unmount(path);
  checkMounts();
  return result;
}

int __real_wasmfs_create_directory(char *, mode_t, backend_t);
int __wrap_wasmfs_create_directory(char *path, mode_t mode, backend_t backend) {
  if (isParentOurs(path)) noteMountInside();
  return __real_wasmfs_create_directory(path, mode, backend);
}

int __real_wasmfs_create_file(const char *, mode_t, backend_t);
int __wrap_wasmfs_create_file(const char *path, mode_t mode, backend_t backend) {
  if (isParentOurs(path)) noteMountInside();
  return __real_wasmfs_create_file(path, mode, backend);
}

} // extern "C"
