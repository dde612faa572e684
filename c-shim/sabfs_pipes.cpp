// Pipes: pipe(), and what reads and writes do with one.
//
// WasmFS's never block, know no end, and are not safe among threads. Here a pipe has 16 pages; in a program without
// threads nobody could make room or write while a call waits, so there a pipe holds whatever is written, and reading
// an empty one gives EAGAIN.

#include "sabfs_pipes.h"

#include "sabfs_calls.h"
#include "sabfs_descriptors.h"

#include <algorithm>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

using namespace wasmfs;

namespace sabfs {

std::mutex Monitor::mutex;
std::condition_variable Monitor::waiters;

bool Monitor::wait(int most_ms) {
#ifdef __EMSCRIPTEN_PTHREADS__
  if (most_ms < 0) {
    waiters.wait(lock);
  } else {
    waiters.wait_for(lock, std::chrono::milliseconds(most_ms));
  }
  return true;
#else
  if (most_ms < 0) return false;
  usleep(useconds_t(most_ms) * 1000);
  return true;
#endif
}

namespace {

constexpr bool THREADS =
#ifdef __EMSCRIPTEN_PTHREADS__
  true;
#else
  false;
#endif

// Only its address counts: channels lie on no file system.
class Nowhere final : public wasmfs::Backend {
  std::shared_ptr<DataFile> createFile(mode_t) override { return nullptr; }
  std::shared_ptr<Directory> createDirectory(mode_t) override { return nullptr; }
  std::shared_ptr<Symlink> createSymlink(std::string) override { return nullptr; }
};

wasmfs::Backend *nowhere() {
  // Never destroyed, as files are closed until the very end.
  static auto &backend = *new Nowhere;
  return &backend;
}

} // namespace

Channel::Channel(mode_t shown) : DataFile(shown & S_IALLUGO, nowhere()), shown(shown) { seekable = false; }

Channel *Channel::of(const std::shared_ptr<File> &file) {
  return file && file->getBackend() == nowhere() ? static_cast<Channel *>(file.get()) : nullptr;
}

// --- the pages

size_t Pipe::size() const {
  size_t sum = 0;
  for (auto &part : parts) sum += part.size();
  return sum;
}

size_t Pipe::merge(const uint8_t *bytes, size_t count) {
  // Only the part of a write that fills no page, and only as a whole.
  size_t rest = count % PAGE;
  if (parts.empty() || !rest) return 0;
  auto &last = parts.back();
  if (!last.grows || last.bytes.size() + rest > PAGE) return 0;
  last.bytes.insert(last.bytes.end(), bytes, bytes + rest);
  return rest;
}

void Pipe::add(const uint8_t *bytes, size_t count, bool grows) {
  Part part{{}, 0, grows};
  part.bytes.reserve(grows ? PAGE : count);
  part.bytes.assign(bytes, bytes + count);
  parts.push_back(std::move(part));
}

size_t Pipe::take(uint8_t *buffer, size_t count) {
  size_t done = 0;
  while (done < count && !parts.empty()) {
    auto &first = parts.front();
    size_t some = std::min(count - done, first.size());
    memcpy(buffer + done, first.bytes.data() + first.start, some);
    first.start += some;
    done += some;
    if (!first.size()) parts.pop_front();
  }
  return done;
}

// --- the ends

PipeEnd::PipeEnd(std::shared_ptr<Pipe> pipe, bool writes)
  : Channel(S_IFIFO | 0600), pipe(std::move(pipe)), writes(writes) {}

PipeEnd *PipeEnd::of(const std::shared_ptr<File> &file) {
  auto *channel = Channel::of(file);
  return channel && S_ISFIFO(channel->shown) ? static_cast<PipeEnd *>(channel) : nullptr;
}

int PipeEnd::open(oflags_t) {
  Monitor monitor;
  ++(writes ? pipe->writers : pipe->readers);
  return 0;
}

int PipeEnd::close() {
  Monitor monitor;
  --(writes ? pipe->writers : pipe->readers);
  monitor.changed();
  return 0;
}

int PipeEnd::waitForData(Monitor &monitor, bool waits) {
  while (pipe->parts.empty()) {
    if (!pipe->writers) return 0;
    if (!waits || !monitor.wait(-1)) return -EAGAIN;
  }
  return 1;
}

int PipeEnd::waitForRoom(Monitor &monitor, bool waits) {
  for (;;) {
    if (!pipe->readers) return -EPIPE;
    if (!pipe->isFull() || (waits && !THREADS)) return 0;
    if (!waits) return -EAGAIN;
    monitor.wait(-1);
  }
}

ssize_t PipeEnd::receive(uint8_t *buffer, size_t count, bool waits) {
  if (!count) return 0;
  Monitor monitor;
  int found = waitForData(monitor, waits);
  if (found <= 0) return found;
  size_t done = pipe->take(buffer, count);
  monitor.changed();
  return ssize_t(done);
}

ssize_t PipeEnd::send(const uint8_t *bytes, size_t count, bool waits) {
  if (!count) return 0;
  size_t done = 0;
  {
    Monitor monitor;
    // Up to a page goes in as a whole: what does not merge takes one.
    if (pipe->readers) done = pipe->merge(bytes, count);
    while (done < count) {
      // Who reads has to hear of what is there before this one sleeps.
      if (done) monitor.changed();
      int error = waitForRoom(monitor, waits);
      if (error) {
        if (done) break;
        if (error != -EPIPE) return error;
        done = 0;
        count = 0;
        break;
      }
      size_t some = std::min(count - done, Pipe::PAGE);
      pipe->add(bytes + done, some, true);
      done += some;
    }
    if (done) monitor.changed();
  }
  // Not under the monitor, as a handler may use the pipe.
  return count ? ssize_t(done) : brokenPipe();
}

int PipeEnd::ready() {
  if (writes) return (pipe->isFull() ? 0 : POLLOUT | POLLWRNORM) | (pipe->readers ? 0 : POLLERR);
  return (pipe->parts.empty() ? 0 : POLLIN | POLLRDNORM) | (pipe->writers ? 0 : POLLHUP);
}

int brokenPipe() {
  raise(SIGPIPE);
  return -EPIPE;
}

} // namespace sabfs

using namespace sabfs;

extern "C" {

int __wrap___syscall_pipe2(int descriptors[2], int flags) {
  if (flags & ~(O_CLOEXEC | O_NONBLOCK)) return -EINVAL;
  auto pipe = std::make_shared<Pipe>();
  int found[2];
  for (int i = 0; i < 2; i++) {
    std::shared_ptr<OpenFileState> open;
    oflags_t access = i ? O_WRONLY : O_RDONLY;
    (void)OpenFileState::create(std::make_shared<PipeEnd>(pipe, i == 1), access | (flags & O_NONBLOCK), open);
    found[i] = addDescriptor(open, flags & O_CLOEXEC);
    if (found[i] < 0) {
      if (i) closeDescriptor(found[0]);
      return found[i];
    }
  }
  descriptors[0] = found[0];
  descriptors[1] = found[1];
  return 0;
}

} // extern "C"
