// splice(), tee() and vmsplice(): between pipes, files and memory. The C library declares them and has none.

#include "sabfs_calls.h"
#include "sabfs_pipes.h"

#include <algorithm>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

using namespace wasmfs;
using namespace sabfs;

namespace {

constexpr unsigned KNOWN = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
// As on Linux: 2 GiB less a page in one call.
constexpr size_t COUNT_MAX = 0x7ffff000;

// An end of a splice.
struct End {
  Descriptor open;
  PipeEnd *pipe;

  explicit End(int fd) : open(fd), pipe(open.state ? PipeEnd::of(open.file) : nullptr) {}
  bool waits(unsigned flags) const { return !(open.flags & O_NONBLOCK) && !(flags & SPLICE_F_NONBLOCK); }
};

// From a file into a pipe: one page of the file is one of the pipe.
ssize_t fromFile(const End &from, int fd, off_t *offset, const End &to, size_t count, unsigned flags) {
  if (from.open.file->is<Directory>() || !from.open.file->isSeekable()) return -EINVAL;
  off_t at = offset ? *offset : from.open.state->locked().getPosition();
  if (at < 0) return -EINVAL;
  size_t done = 0;
  ssize_t failure = 0;
  {
    Monitor monitor;
    failure = to.pipe->waitForRoom(monitor, to.waits(flags));
  }
  while (!failure && done < count) {
    uint8_t page[Pipe::PAGE];
    size_t some = std::min(count - done, Pipe::PAGE - size_t(at % off_t(Pipe::PAGE)));
    // Not under the monitor, as the store may let it wait.
    ssize_t got = pread(fd, page, some, at);
    if (got <= 0) {
      failure = got < 0 ? -errno : 0;
      break;
    }
    Monitor monitor;
    auto &pipe = *to.pipe->pipe;
    if (!pipe.readers) {
      failure = -EPIPE;
      break;
    }
    // Somebody was faster, or there is no more room: what is done is told.
    if (pipe.isFull()) break;
    pipe.add(page, size_t(got), false);
    monitor.changed();
    at += got;
    done += size_t(got);
    if (size_t(got) < some) break;
  }
  if (!done) return failure == -EPIPE ? brokenPipe() : failure;
  if (offset) *offset = at;
  else from.open.state->locked().setPosition(at);
  return ssize_t(done);
}

// From a pipe into a file. Whatever cannot be written stays in the pipe.
ssize_t toFile(const End &from, const End &to, int fd, off_t *offset, size_t count, unsigned flags) {
  if (to.open.flags & O_APPEND) return -EINVAL;
  if (to.open.file->is<Directory>() || !to.open.file->isSeekable()) return -EINVAL;
  off_t at = offset ? *offset : to.open.state->locked().getPosition();
  if (at < 0) return -EINVAL;
  size_t done = 0;
  Monitor monitor;
  int found = from.pipe->waitForData(monitor, from.waits(flags));
  if (found <= 0) return found;
  auto &pipe = *from.pipe->pipe;
  while (done < count && !pipe.parts.empty()) {
    auto &first = pipe.parts.front();
    size_t some = std::min(count - done, first.size());
    ssize_t put = pwrite(fd, first.bytes.data() + first.start, some, at);
    if (put < 0 && !done) return -errno;
    if (put <= 0) break;
    first.start += size_t(put);
    if (!first.size()) pipe.parts.pop_front();
    at += put;
    done += size_t(put);
  }
  monitor.changed();
  if (offset) *offset = at;
  else to.open.state->locked().setPosition(at);
  return ssize_t(done);
}

// Moves or, as tee() does, copies from one pipe to another what is there.
ssize_t betweenPipes(const End &from, const End &to, size_t count, unsigned flags, bool moves) {
  auto &source = *from.pipe->pipe, &target = *to.pipe->pipe;
  if (&source == &target) return -EINVAL;
  bool broken = false;
  size_t done = 0;
  {
    Monitor monitor;
    // Either may have changed while the other was waited for.
    for (;;) {
      int found = from.pipe->waitForData(monitor, from.waits(flags) && to.waits(flags));
      if (found <= 0) return found;
      if (!target.readers) {
        broken = true;
        break;
      }
      if (!target.isFull()) break;
      int error = to.pipe->waitForRoom(monitor, from.waits(flags) && to.waits(flags));
      if (error && error != -EPIPE) return error;
    }
    for (size_t i = 0; !broken && done < count && !target.isFull() && i < source.parts.size();) {
      auto &part = source.parts[i];
      size_t some = std::min(count - done, part.size());
      target.add(part.bytes.data() + part.start, some, false);
      done += some;
      if (!moves) {
        i++;
        continue;
      }
      part.start += some;
      if (!part.size()) source.parts.pop_front();
    }
    if (done) monitor.changed();
  }
  return broken ? brokenPipe() : ssize_t(done);
}

ssize_t spliceBetween(int in, off_t *inOffset, int out, off_t *outOffset, size_t count, unsigned flags) {
  if (!count) return 0;
  if (flags & ~KNOWN) return -EINVAL;
  End from(in), to(out);
  if (!from.open.state || !to.open.state) return -EBADF;
  if ((from.pipe && inOffset) || (to.pipe && outOffset)) return -ESPIPE;
  if (!from.open.reads() || !to.open.writes()) return -EBADF;
  count = std::min(count, COUNT_MAX);
  if (from.pipe && to.pipe) return betweenPipes(from, to, count, flags, true);
  if (from.pipe) return toFile(from, to, out, outOffset, count, flags);
  if (to.pipe) return fromFile(from, in, inOffset, to, count, flags);
  return -EINVAL;
}

ssize_t teeBetween(int in, int out, size_t count, unsigned flags) {
  if (flags & ~KNOWN) return -EINVAL;
  if (!count) return 0;
  End from(in), to(out);
  if (!from.open.state || !to.open.state) return -EBADF;
  if (!from.open.reads() || !to.open.writes()) return -EBADF;
  if (!from.pipe || !to.pipe) return -EINVAL;
  return betweenPipes(from, to, std::min(count, COUNT_MAX), flags, false);
}

// Between memory and a pipe: its reading end gives, its writing end takes.
ssize_t spliceMemory(int fd, const struct iovec *parts, size_t count, unsigned flags) {
  if (flags & ~KNOWN) return -EINVAL;
  End end(fd);
  if (!end.open.state) return -EBADF;
  if (!end.pipe) return -EBADF;
  if (count > IOV_MAX) return -EINVAL;
  size_t done = 0;
  bool broken = false;
  {
    Monitor monitor;
    auto &pipe = *end.pipe->pipe;
    for (size_t i = 0; i < count; i++) {
      auto *bytes = static_cast<uint8_t *>(parts[i].iov_base);
      for (size_t at = 0; at < parts[i].iov_len;) {
        size_t some = parts[i].iov_len - at;
        int state = end.pipe->writes ? end.pipe->waitForRoom(monitor, end.waits(flags) && !done)
                    : done && pipe.parts.empty() ? 0
                                                 : end.pipe->waitForData(monitor, end.waits(flags));
        if (end.pipe->writes ? state < 0 : state <= 0) {
          broken = state == -EPIPE && !done;
          if (!done && !broken) return state;
          i = count;
          break;
        }
        if (end.pipe->writes) {
          some = std::min(some, Pipe::PAGE);
          pipe.add(bytes + at, some, false);
        } else {
          some = pipe.take(bytes + at, some);
        }
        at += some;
        done += some;
        monitor.changed();
      }
    }
  }
  return broken ? brokenPipe() : ssize_t(done);
}

} // namespace

extern "C" {

ssize_t splice(int in, off_t *inOffset, int out, off_t *outOffset, size_t count, unsigned flags) {
  return answer(spliceBetween(in, inOffset, out, outOffset, count, flags));
}

ssize_t tee(int in, int out, size_t count, unsigned flags) { return answer(teeBetween(in, out, count, flags)); }

ssize_t vmsplice(int fd, const struct iovec *parts, size_t count, unsigned flags) {
  return answer(spliceMemory(fd, parts, count, flags));
}

} // extern "C"
