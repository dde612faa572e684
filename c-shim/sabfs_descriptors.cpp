// dup(), dup2(), dup3(), the flags of descriptors and of open files, ioctl().
//
// WasmFS does not close what dup2() replaces, has no flags of descriptors, and knows ioctl() of terminals only. The
// wrapping works as in sabfs_syscalls.cpp; descriptors of all backends are served.

#include "sabfs_descriptors.h"

#include "sabfs_calls.h"
#include "sabfs_inotify.h"
#include "sabfs_io.h"
#include "sabfs_pipes.h"

#include <atomic>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

using namespace wasmfs;

namespace sabfs {

namespace {

std::atomic<bool> closesOnExec[WASMFS_FD_MAX];

// Flags that open() is told and that are nobody's business afterwards.
constexpr oflags_t OF_OPENING = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

// Linux's FICLONE and FICLONERANGE, which Emscripten's headers lack.
constexpr unsigned CLONE = 0x40049409, CLONE_RANGE = 0x4020940d;

// Closes what WasmFS's table has just given up, and gave `file` for if it was the last descriptor of a file.
void close(const std::shared_ptr<OpenFileState> &open, const std::shared_ptr<DataFile> &file) {
  if (!open) return;
  std::shared_ptr<File> closed = file;
  // Directories it does not tell of.
  if (!closed && open.use_count() == 1) closed = open->locked().getFile();
  if (!closed) return;
  auto flags = open->locked().getFlags();
  bool writes = (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
  if (!(flags & O_PATH)) noteUse(closed, writes ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
  if (file) (void)file->locked().close();
}

int duplicate(int fd, int lowest, bool closeOnExec) {
  if (lowest < 0 || lowest >= WASMFS_FD_MAX) return -EINVAL;
  auto table = wasmFS.getFileTable().locked();
  auto open = table.getEntry(fd);
  if (!open) return -EBADF;
  for (int other = lowest; other < WASMFS_FD_MAX; other++) {
    if (table.getEntry(other)) continue;
    (void)table.setEntry(other, open);
    setCloseOnExec(other, closeOnExec);
    return other;
  }
  return -EMFILE;
}

// FICLONE and FICLONERANGE: files share no blocks here, which Linux says of such file systems after it has looked at
// the descriptors.
int cloneAnswer(const Descriptor &to, int source) {
  const Descriptor from(source);
  if (!from.state) return -EBADF;
  if (to.backend != from.backend) return -EXDEV;
  for (const auto *open : {&from, &to}) {
    if (open->file->is<Directory>()) return -EISDIR;
  }
  if (!from.reads() || !to.writes() || to.flags & O_APPEND) return -EBADF;
  return -EOPNOTSUPP;
}

// F_GETPIPE_SZ and F_SETPIPE_SZ: bytes that a pipe holds, whole pages, a power of two.
int pipeSize(const Descriptor &open, int command, size_t wanted) {
  auto *end = PipeEnd::of(open.file);
  if (!end) return -EBADF;
  Monitor monitor;
  auto &pipe = *end->pipe;
  if (command == F_SETPIPE_SZ) {
    size_t parts = 1;
    if (wanted > size_t(1) << 31) return -EINVAL;
    while (parts * Pipe::PAGE < wanted) parts *= 2;
    if (parts > Pipe::PARTS_MAX) return -EPERM;
    if (parts < pipe.parts.size()) return -EBUSY;
    pipe.most = parts;
    monitor.changed();
  }
  return int(pipe.most * Pipe::PAGE);
}

} // namespace

int addDescriptor(const std::shared_ptr<OpenFileState> &open, bool closeOnExec, int lowest) {
  {
    auto table = wasmFS.getFileTable().locked();
    for (int fd = lowest; fd < WASMFS_FD_MAX; fd++) {
      if (table.getEntry(fd)) continue;
      (void)table.setEntry(fd, open);
      setCloseOnExec(fd, closeOnExec);
      return fd;
    }
  }
  close(open, open->locked().getFile()->dynCast<DataFile>());
  return -EMFILE;
}

bool isTableFull() {
  auto table = wasmFS.getFileTable().locked();
  for (int fd = 0; fd < WASMFS_FD_MAX; fd++) {
    if (!table.getEntry(fd)) return false;
  }
  return true;
}

int closeDescriptor(int fd) {
  std::shared_ptr<OpenFileState> open;
  std::shared_ptr<DataFile> file;
  {
    auto table = wasmFS.getFileTable().locked();
    open = table.getEntry(fd);
    if (!open) return -EBADF;
    file = table.setEntry(fd, nullptr);
    setCloseOnExec(fd, false);
  }
  close(open, file);
  return 0;
}

int replaceDescriptor(int from, int to, int flags) {
  if (flags & ~O_CLOEXEC || from == to) return -EINVAL;
  if (to < 0 || to >= WASMFS_FD_MAX) return -EBADF;
  std::shared_ptr<OpenFileState> before;
  std::shared_ptr<DataFile> file;
  {
    auto table = wasmFS.getFileTable().locked();
    auto open = table.getEntry(from);
    if (!open) return -EBADF;
    before = table.getEntry(to);
    file = table.setEntry(to, open);
    setCloseOnExec(to, flags & O_CLOEXEC);
  }
  close(before, file);
  return to;
}

void setCloseOnExec(int fd, bool closes) {
  if (fd >= 0 && fd < WASMFS_FD_MAX) closesOnExec[fd].store(closes, std::memory_order_relaxed);
}

extern "C" int __real___syscall_fcntl64(int, int, ...);

int controlDescriptor(int fd, int command, void *argument) {
  Descriptor open(fd, Descriptor::PATHS);
  if (!open.state) return -EBADF;
  int number = int(intptr_t(argument));
  switch (command) {
    case F_DUPFD: case F_DUPFD_CLOEXEC: return duplicate(fd, number, command == F_DUPFD_CLOEXEC);
    case F_GETFD: return closesOnExec[fd] ? FD_CLOEXEC : 0;
    case F_SETFD: setCloseOnExec(fd, number & FD_CLOEXEC); return 0;
    case F_GETFL: return int(open.flags & ~OF_OPENING);
  }
  if (open.flags & O_PATH) return -EBADF;
  if (command == F_GETPIPE_SZ || command == F_SETPIPE_SZ) return pipeSize(open, command, size_t(number));
  return __real___syscall_fcntl64(fd, command, argument);
}

} // namespace sabfs

using namespace sabfs;

extern "C" {

int __wrap___syscall_dup(int fd) { return duplicate(fd, 0, false); }

int __real___syscall_ioctl(int, int, ...);
int __wrap___syscall_ioctl(int fd, int request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  Descriptor open(fd);
  if (!open.state) return -EBADF;
  // Files of other backends, terminals among them, but for what any open file can be told.
  auto *channel = Channel::of(open.file);
  bool ours = channel || open.backend;
  switch (unsigned(request)) {
    case FIONBIO: {
      auto handle = open.state->locked();
      auto flags = handle.getFlags();
      handle.setFlags(*static_cast<int *>(argument) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
      return 0;
    }
    case FIOCLEX: setCloseOnExec(fd, true); return 0;
    case FIONCLEX: setCloseOnExec(fd, false); return 0;
    case FIONREAD:
      if (channel) {
        Monitor monitor;
        *static_cast<int *>(argument) = channel->pending();
        return 0;
      }
      if (!open.backend) break;
      if (!open.file->is<DataFile>()) return -ENOTTY;
      {
        sabfs_attr attr;
        if (int error = open.backend->v.getattr(open.backend->volume, open.ino(), &attr)) return error;
        *static_cast<int *>(argument) = int(off_t(attr.size_bytes) - open.state->locked().getPosition());
      }
      return 0;
    case FIOQSIZE:
      if (!ours || channel) break;
      {
        sabfs_attr attr;
        if (int error = open.backend->v.getattr(open.backend->volume, open.ino(), &attr)) return error;
        *static_cast<int64_t *>(argument) = int64_t(attr.size_bytes);
      }
      return 0;
    case CLONE: return open.backend ? cloneAnswer(open, int(intptr_t(argument))) : -EOPNOTSUPP;
    // The first member is the source.
    case CLONE_RANGE: return open.backend ? cloneAnswer(open, int(*static_cast<int64_t *>(argument))) : -EOPNOTSUPP;
  }
  return ours ? -ENOTTY : __real___syscall_ioctl(fd, request, argument);
}

} // extern "C"
