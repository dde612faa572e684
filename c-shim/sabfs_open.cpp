// open() with all its flags, wrapped as in sabfs_syscalls.cpp.
//
// The usual cases are done in the store itself (sabfs_paths.h). WasmFS does the rest but for what it does not know:
// O_PATH, O_TMPFILE, O_SYNC, and what it takes for the same as something else.

#include "sabfs_calls.h"
#include "sabfs_descriptors.h"
#include "sabfs_inotify.h"
#include "sabfs_open.h"
#include "sabfs_paths.h"

#include <cstring>
#include <optional>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/stat.h>

using namespace wasmfs;

namespace sabfs {

namespace {

constexpr mode_t READ = 0444, WRITE = 0222;
// How many symlinks in a row are followed, as on Linux.
constexpr int LINKS_MAX = 40;

// Lets an open file remember flags that WasmFS does not know.
void remember(const std::shared_ptr<OpenFileState> &open, oflags_t flags) {
  auto handle = open->locked();
  handle.setFlags(handle.getFlags() | flags);
}

bool isAccess(oflags_t access) { return access == O_RDONLY || access == O_WRONLY || access == O_RDWR; }

// 0, or why the mode's bits do not let it be opened.
int mayOpen(mode_t mode, oflags_t flags) {
  auto access = flags & O_ACCMODE;
  if (access != O_WRONLY && !(mode & READ)) return -EACCES;
  if ((access != O_RDONLY || flags & O_TRUNC) && !(mode & WRITE)) return -EACCES;
  return 0;
}

// Opens a regular file, and creates it if need be. -ESTALE: once more, nothing: for WasmFS.
std::optional<int> openFile(const Place &place, oflags_t flags, mode_t mode) {
  constexpr oflags_t KNOWN = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_LARGEFILE | O_NOFOLLOW | O_CLOEXEC |
                             O_NONBLOCK | O_SYNC;
  if (flags & ~KNOWN || !isAccess(flags & O_ACCMODE)) return {};
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
    if (flags & O_CREAT && flags & O_EXCL) return -EEXIST;
    if (!S_ISREG(attr.mode)) return {};
    if ((error = mayOpen(attr.mode, flags))) return error;
  }
  auto file = backend.intern(place.directory, attr);
  if (!file) return -ESTALE;
  if (!creates) {
    auto handle = file->locked();
    static_cast<SabfsFile &>(*file).refresh(attr);
  }
  std::shared_ptr<OpenFileState> open;
  if ((error = OpenFileState::create(file, flags & ~O_SYNC, open))) return error;
  noteUse(file, IN_OPEN);
  if (!creates && flags & O_TRUNC) {
    // As WasmFS does, silently.
    (void)file->cast<DataFile>()->locked().setSize(0);
  }
  if (flags & O_SYNC) remember(open, flags & O_SYNC);
  return addDescriptor(open, flags & O_CLOEXEC);
}

// O_TMPFILE: `path` is a directory.
int openUnnamed(int dirfd, const char *path, oflags_t flags, mode_t mode) {
  if (flags & O_CREAT || (flags & O_ACCMODE) == O_RDONLY || !isAccess(flags & O_ACCMODE)) return -EINVAL;
  sabfs_attr attr;
  SabfsBackend *backend = nullptr;
  auto ours = [&](SabfsBackend &found, const std::shared_ptr<File> &file) {
    if (!file->is<Directory>()) return -ENOTDIR;
    backend = &found;
    mode_t given = mode & S_IALLUGO & ~maskOf(wasmFS, 0);
    return int(found.v.create_unnamed(found.volume, SabfsBackend::node(file).ino, given, &attr));
  };
  if (int error = withFile(dirfd, path, 0, ours, [] { return -EOPNOTSUPP; })) return error;
  auto file = backend->intern(SabfsBackend::NOWHERE, attr);
  std::shared_ptr<OpenFileState> open;
  int error = file ? OpenFileState::create(file, flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), open) : -ENOMEM;
  // It was held when it was made; now the open file holds it.
  backend->v.forget(backend->volume, attr.ino);
  if (error) return error;
  // O_EXCL forbids linkat() to give it a name.
  remember(open, flags & (O_SYNC | O_TMPFILE | O_EXCL));
  return addDescriptor(open, flags & O_CLOEXEC);
}

// O_PATH: a place in the tree, of any kind.
int openPlace(int dirfd, const char *path, oflags_t flags) {
  flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
  std::shared_ptr<File> found;
  auto take = [&](auto &, const std::shared_ptr<File> &file) {
    found = file;
    return 0;
  };
  auto others = [&] {
    auto parsed = path::getFileAt(dirfd, path, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0);
    if (auto error = parsed.getError()) return int(error);
    found = parsed.getFile();
    return 0;
  };
  if (int error = withFile(dirfd, path, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0, take, others)) return error;
  if (flags & O_DIRECTORY && !found->is<Directory>()) return -ENOTDIR;
  std::shared_ptr<OpenFileState> open;
  if (int error = OpenFileState::create(found, flags & ~O_CLOEXEC, open)) return error;
  return addDescriptor(open, flags & O_CLOEXEC);
}

// What has the name of a descriptor: another open file of the same file. Nothing: for WasmFS.
std::optional<int> openAgain(int fd, oflags_t flags) {
  Descriptor named(fd, Descriptor::PATHS);
  if (!named.state) return -ENOENT;
  if (!named.backend || !isAccess(flags & O_ACCMODE)) return {};
  if (flags & O_NOFOLLOW) return -ELOOP;
  if (flags & O_CREAT && flags & O_EXCL) return -EEXIST;
  if (flags & O_DIRECTORY && !named.file->is<Directory>()) return -ENOTDIR;
  if (named.file->is<Directory>() && (flags & O_CREAT || (flags & O_ACCMODE) != O_RDONLY)) return -EISDIR;
  if (named.file->is<Symlink>()) return -ELOOP;
  if (int error = mayOpen(named.file->locked().getMode(), flags)) return error;
  std::shared_ptr<OpenFileState> open;
  if (int error = OpenFileState::create(named.file, flags & ~(O_SYNC | O_CLOEXEC), open)) return error;
  noteUse(named.file, IN_OPEN);
  if (flags & O_TRUNC && named.file->is<DataFile>()) (void)named.file->cast<DataFile>()->locked().setSize(0);
  if (flags & O_SYNC) remember(open, flags & O_SYNC);
  return addDescriptor(open, flags & O_CLOEXEC);
}

// What WasmFS would judge otherwise than Linux; 0 when it may go on. `path` leads to a file of ours or to nothing.
int checkForm(int dirfd, const char *path, oflags_t flags) {
  if (flags & O_DIRECTORY && flags & O_CREAT) return -EINVAL;
  bool exclusive = flags & O_CREAT && flags & O_EXCL, slash = endsWithSlash(path);
  bool follows = !exclusive && !(flags & O_NOFOLLOW);
  if (follows && !slash && !(flags & O_CREAT)) return 0;
  lastError = 0;
  // A symlink at the end is not followed where something new is asked for, whatever is behind it.
  auto parsed = path::getFileAt(dirfd, path, follows || slash ? 0 : AT_SYMLINK_NOFOLLOW);
  auto error = parsed.getError();
  if (!error && !SabfsBackend::of(parsed.getFile())) return 0;
  if (flags & O_CREAT && slash && (!error || error == -ENOENT)) return -EISDIR;
  if (error) return 0;
  if (exclusive) return -EEXIST;
  bool directory = parsed.getFile()->is<Directory>();
  if ((slash || (flags & O_DIRECTORY && !follows)) && !directory) return -ENOTDIR;
  return 0;
}

// Whether a path leads to a file of ours that may be made empty.
bool isFile(int dirfd, const char *path) {
  auto parsed = path::getFileAt(dirfd, path, 0);
  if (parsed.getError() || !SabfsBackend::of(parsed.getFile()) || !parsed.getFile()->is<DataFile>()) return false;
  return parsed.getFile()->locked().getMode() & WRITE;
}

// What a symlink at the end of a path leads to, as a path from the same place; empty when there is none of ours.
std::string behindSymlink(int dirfd, const char *path) {
  auto parsed = path::getFileAt(dirfd, path, AT_SYMLINK_NOFOLLOW);
  if (parsed.getError() || !SabfsBackend::of(parsed.getFile())) return "";
  auto link = parsed.getFile()->dynCast<Symlink>();
  if (!link) return "";
  std::string whole(path), target = link->getTarget();
  size_t slash = whole.rfind('/');
  return target[0] == '/' || slash == whole.npos ? target : whole.substr(0, slash + 1) + target;
}

extern "C" int __real___syscall_openat(int, const char *, int, ...);

int openOnce(int dirfd, const char *path, oflags_t flags, mode_t mode, int links = LINKS_MAX) {
  if (Place place; walk(path, place)) {
    if (auto done = openFile(place, flags, mode)) return *done;
  }
  if (int error = checkForm(dirfd, path, flags)) return error;
  lastError = 0;
  // WasmFS stops at flags that it does not know where it checks its assumptions.
  constexpr oflags_t UNKNOWN = O_SYNC | O_DIRECT | O_NOATIME | O_NOCTTY | O_ASYNC;
  // Who watches is told of the opening before he is told that the file is empty.
  auto later = flags & O_TRUNC && isAnythingWatched() && isFile(dirfd, path) ? O_TRUNC : 0;
  int fd = withReason(__real___syscall_openat(dirfd, path, flags & ~UNKNOWN & ~later, mode), -EIO);
  if (fd == -ENOENT && flags & O_CREAT && !(flags & (O_EXCL | O_NOFOLLOW)) && links > 0) {
    // WasmFS creates nothing behind a symlink.
    auto target = behindSymlink(dirfd, path);
    if (!target.empty()) return openOnce(dirfd, target.c_str(), flags, mode, links - 1);
  }
  if (fd < 0) return fd == -EBADF && isTableFull() ? -EMFILE : fd;
  setCloseOnExec(fd, flags & O_CLOEXEC);
  if (auto open = wasmFS.getFileTable().locked().getEntry(fd)) {
    if (flags & O_SYNC) remember(open, flags & O_SYNC);
    auto file = open->locked().getFile();
    noteUse(file, IN_OPEN);
    if (later && file->is<DataFile>()) (void)file->cast<DataFile>()->locked().setSize(0);
  }
  return fd;
}

} // namespace

std::optional<int> descriptorOf(const char *path) {
  for (const char *folder : {"/proc/self/fd/", "/dev/fd/"}) {
    size_t length = strlen(folder);
    if (strncmp(path, folder, length)) continue;
    const char *digits = path + length;
    int fd = 0;
    if (!*digits || strlen(digits) > 5) return {};
    for (; *digits; digits++) {
      if (*digits < '0' || *digits > '9') return {};
      fd = fd * 10 + (*digits - '0');
    }
    return fd;
  }
  return {};
}

} // namespace sabfs

using namespace sabfs;

extern "C" {

int __wrap___syscall_openat(int dirfd, const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
  mode_t mode = makes ? va_arg(list, mode_t) : 0;
  va_end(list);
  if (flags & O_PATH) return openPlace(dirfd, path, oflags_t(flags));
  constexpr int UNNAMED = O_TMPFILE & ~O_DIRECTORY;
  if (flags & UNNAMED) return flags & O_DIRECTORY ? openUnnamed(dirfd, path, oflags_t(flags), mode) : -EINVAL;
  if (auto named = descriptorOf(path)) {
    if (auto done = openAgain(*named, oflags_t(flags))) return *done;
  }
  int result = -ESTALE;
  // See SabfsFile::open().
  for (int tries = 0; tries < TRIES && result == -ESTALE; tries++) result = openOnce(dirfd, path, oflags_t(flags), mode);
  return result;
}

} // extern "C"
