// System calls on names, wrapped as in sabfs_syscalls.cpp.
//
// The usual cases are done in the store itself, whose operations are atomic, without WasmFS's objects (sabfs_paths.h):
// to these that is as if another program had done it. WasmFS does the rest.

#include "sabfs_calls.h"
#include "sabfs_open.h"
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

// What WasmFS would judge otherwise than Linux when a name is taken away: slashes at the end, and last names that stand
// for no entry. 0 when it may go on.
int checkRemoval(int dirfd, const char *path, int flags) {
  auto parsed = path::parseParent(path, dirfd);
  lastError = 0;
  if (long error = parsed.getError()) return withReason(int(error), -ENOENT);
  auto &[parent, view] = parsed.getParentChild();
  if (!SabfsBackend::of(parent)) return 0;
  std::string name(view);
  if (name == ".") return flags ? -EINVAL : -EISDIR;
  if (name == "..") return flags ? -ENOTEMPTY : -EISDIR;
  if (flags || !endsWithSlash(path)) return 0;
  lastError = 0;
  auto child = parent->locked().getChild(name);
  if (!child) return lastError ? lastError : -ENOENT;
  return child->is<Directory>() ? -EISDIR : -ENOTDIR;
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

int __real___syscall_unlinkat(int, const char *, int);
int __wrap___syscall_unlinkat(int dirfd, const char *path, int flags) {
  if (flags & ~AT_REMOVEDIR) return -EINVAL;
  if (Place place; !flags && walk(path, place)) {
    if (auto done = unlinkFile(place)) return *done;
  }
  if (int error = checkRemoval(dirfd, path, flags)) return error;
  lastError = 0;
  int result = withReason(__real___syscall_unlinkat(dirfd, path, flags), -ENOENT);
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
  if (endsWithSlash(path)) {
    lastError = 0;
    if (parent->locked().getChild(std::string(name))) return -EEXIST;
    return lastError ? lastError : -ENOENT;
  }
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
  int result = withReason(__real___syscall_mkdirat(dirfd, path, mode), -EIO);
  if (result != -EIO || lastError) return result;
  // In a directory that was removed it is not even tried.
  auto parsed = path::parseParent(path, dirfd);
  return !parsed.getError() && SabfsBackend::of(parsed.getParentChild().first) ? -ENOENT : result;
}

int __real___syscall_symlinkat(const char *, int, const char *);
int __wrap___syscall_symlinkat(const char *target, int dirfd, const char *path) {
  if (!*target) return -ENOENT;
  lastError = 0;
  if (endsWithSlash(path)) {
    auto found = path::getFileAt(dirfd, path, AT_SYMLINK_NOFOLLOW);
    if (found.getError() == -ENOENT) return -ENOENT;
  }
  return withReason(__real___syscall_symlinkat(target, dirfd, path), -EPERM);
}

int __real___syscall_linkat(int, const char *, int, const char *, int);
int __wrap___syscall_linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  lastError = 0;
  int follow = flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
  if (auto named = flags & AT_SYMLINK_FOLLOW ? descriptorOf(oldpath) : std::nullopt) {
    olddirfd = *named;
    oldpath = "";
    flags |= AT_EMPTY_PATH;
  }
  if (!*oldpath && !(flags & AT_EMPTY_PATH)) return -ENOENT;
  if (flags & AT_EMPTY_PATH && !*oldpath && olddirfd != AT_FDCWD) {
    Descriptor open(olddirfd, Descriptor::PATHS);
    // Made for nobody else.
    if (open.state && (open.flags & O_TMPFILE) == O_TMPFILE && open.flags & O_EXCL) return -ENOENT;
  }
  if (endsWithSlash(oldpath)) follow = 0;
  auto old = path::getFileAt(olddirfd, oldpath, (flags & AT_EMPTY_PATH) | follow);
  if (long error = old.getError()) return withReason(int(error), -ENOENT);
  auto parsed = path::parseParent(newpath, newdirfd);
  if (long error = parsed.getError()) return withReason(int(error), -ENOENT);
  auto &[parent, name] = parsed.getParentChild();
  auto *backend = SabfsBackend::of(parent);
  if (SabfsBackend::of(old.getFile()) != backend) return -EXDEV;
  if (!backend) return __real___syscall_linkat(olddirfd, oldpath, newdirfd, newpath, flags);
  if (name == "." || name == ".." || parent->locked().getChild(std::string(name))) return -EEXIST;
  if (endsWithSlash(newpath)) return -ENOENT;
  if (endsWithSlash(oldpath) && !old.getFile()->is<Directory>()) return -ENOTDIR;
  return backend->v.link(backend->volume, SabfsBackend::node(old.getFile()).ino, SabfsBackend::node(parent).ino,
                         name.data(), name.size());
}

// WasmFS's own locks two directories in the order of the arguments. Where the second lies above the
// first, a lookup that locks them from above meets it half-way, and both wait for ever: without
// WasmFS's cache of names every lookup locks the child. Here the upper one is locked first.
int __real___syscall_renameat(int, const char *, int, const char *);
static int renameWith(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned flags) {
  static std::mutex renames; // others never hold two unrelated directories
  if (endsWithSlash(oldpath) || endsWithSlash(newpath)) {
    // Only a directory has such names.
    auto moved = path::getFileAt(olddirfd, oldpath, AT_SYMLINK_NOFOLLOW);
    if (!moved.getError() && SabfsBackend::of(moved.getFile()) && !moved.getFile()->is<Directory>()) return -ENOTDIR;
  }
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
