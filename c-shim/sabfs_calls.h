// What the files with system calls have in common.
#pragma once

#include "sabfs_backend.h"

#include "paths.h"

#include <cstring>
#include <errno.h>
#include <fcntl.h>

namespace sabfs {

// WasmFS reports every failed insertion as EIO or EPERM, and every failed lookup as ENOENT.
inline int withReason(int result, int vague) {
  return (result == vague || result == -ENOENT) && lastError ? lastError : result;
}

// A slash at the end asks for a directory.
inline bool endsWithSlash(const char *path) {
  size_t length = strlen(path);
  return length > 1 && path[length - 1] == '/';
}

// Runs an operation on the file that a path leads to. When the file has lost its last name in between,
// the name may stand for another file by now, and the path is walked again. `others` serves files of
// other backends.
template<class Ours, class Others>
int withFile(int dirfd, const char *path, int flags, Ours ours, Others others) {
  // WasmFS looks for a name in the descriptor then.
  if (!*path && !(flags & AT_EMPTY_PATH)) return -ENOENT;
  int error = -ENOENT;
  for (int tries = 0; tries < TRIES && error == -ENOENT; tries++) {
    lastError = 0;
    // A symlink with a slash behind it is followed.
    bool slash = endsWithSlash(path);
    auto parsed = wasmfs::path::getFileAt(dirfd, path, slash ? flags & ~AT_SYMLINK_NOFOLLOW : flags);
    // A working directory that was removed is still where it was.
    if (parsed.getError() && path[0] == '.' && !path[1]) parsed = wasmfs::path::getFileAt(dirfd, "", flags | AT_EMPTY_PATH);
    if (long missing = parsed.getError()) return withReason(int(missing), -ENOENT);
    auto *backend = SabfsBackend::of(parsed.getFile());
    if (!backend) return others();
    if (slash && !parsed.getFile()->template is<wasmfs::Directory>()) return -ENOTDIR;
    error = ours(*backend, parsed.getFile());
    // A descriptor leads to the same file for ever.
    if (!*path) break;
  }
  return error;
}

// The process's umask; older versions of WasmFS have none.
template<class Fs> auto maskOf(Fs &fs, int) -> decltype(mode_t(fs.getUmask())) { return fs.getUmask(); }
template<class Fs> mode_t maskOf(Fs &, long) { return 0; }

// What is behind a descriptor. Most calls take one that was opened with O_PATH for none.
struct Descriptor {
  enum Kinds { FILES, PATHS };
  std::shared_ptr<wasmfs::OpenFileState> state; // null when it is not open
  std::shared_ptr<wasmfs::File> file;
  SabfsBackend *backend = nullptr; // null for files of other backends
  wasmfs::oflags_t flags = 0;

  explicit Descriptor(int fd, Kinds kinds = FILES) : state(wasmfs::wasmFS.getFileTable().locked().getEntry(fd)) {
    if (!state) return;
    {
      auto handle = state->locked();
      file = handle.getFile();
      flags = handle.getFlags();
    }
    if (kinds == FILES && flags & O_PATH) {
      state = nullptr;
      file = nullptr;
    } else {
      backend = SabfsBackend::of(file);
    }
  }
  bool reads() const { return (flags & O_ACCMODE) != O_WRONLY; }
  bool writes() const { return (flags & O_ACCMODE) != O_RDONLY; }
  uint32_t ino() const { return SabfsBackend::node(file).ino; }
};

inline bool toString(void *sink, const char *text, size_t length, uint32_t, uint32_t) {
  static_cast<std::string *>(sink)->assign(text, length);
  return true;
}

// The answer of a call of the C library.
template<class Number>
Number answer(Number result) {
  if (result >= 0) return result;
  errno = int(-result);
  return -1;
}

} // namespace sabfs
