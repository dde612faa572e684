// poll() and, by the C library's own, ppoll(), select() and pselect().
//
// WasmFS's never waits. Here it waits for channels, which other threads and programs change; files of all kinds are
// ready at once. What WasmFS says of the rest, its standard streams, is asked again now and then.

#include "sabfs_calls.h"
#include "sabfs_pipes.h"

#include <emscripten/emscripten.h>
#include <poll.h>
#include <vector>

using namespace wasmfs;
using namespace sabfs;

extern "C" int __real___syscall_poll(struct pollfd *, nfds_t, int);

namespace {

struct Polled {
  // What keeps a channel while it is looked at.
  std::shared_ptr<OpenFileState> open;
  std::shared_ptr<File> file;
  Channel *channel;
  bool ours;
};

// Linux's answer for what has no answer of its own.
constexpr int ALWAYS = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
constexpr int UNASKED = POLLERR | POLLHUP | POLLNVAL;

class Poll {
  struct pollfd *const entries;
  std::vector<Polled> polled;
  bool foreign = false; // whether WasmFS is to be asked

public:
  bool channels = false, watched = false;

  Poll(struct pollfd *entries, nfds_t count) : entries(entries), polled(count) {
    for (nfds_t i = 0; i < count; i++) {
      auto &one = polled[i];
      if (entries[i].fd < 0) continue;
      Descriptor open(entries[i].fd);
      if (!open.state) continue;
      one = {open.state, open.file, Channel::of(open.file), open.backend != nullptr};
      channels |= one.channel != nullptr;
      watched |= one.channel && one.channel->isWatched();
      foreign |= !one.channel && !one.ours;
    }
  }

  bool asksWasmfs() const { return foreign; }

  // How many are ready. Under the monitor.
  int look() {
    int count = 0;
    for (size_t i = 0; i < polled.size(); i++) {
      auto &entry = entries[i];
      auto &one = polled[i];
      entry.revents = 0;
      if (entry.fd < 0) continue;
      int wanted = entry.events | UNASKED;
      if (!one.open) entry.revents = POLLNVAL;
      else if (one.channel) entry.revents = short(one.channel->ready() & wanted);
      else if (one.ours) entry.revents = short(ALWAYS & wanted);
      else if (__real___syscall_poll(&entry, 1, 0) < 0) entry.revents = POLLNVAL;
      if (entry.revents) count++;
    }
    return count;
  }
};

int pollAll(struct pollfd *entries, nfds_t count, int timeout_ms) {
  if (count > WASMFS_FD_MAX) return -EINVAL;
  if (!entries && count) return -EFAULT;
  Poll all(entries, count);
  double end = emscripten_get_now() + timeout_ms;
  Monitor monitor;
  for (;;) {
    int ready = all.look();
    if (ready || timeout_ms == 0) return ready;
    int left = timeout_ms < 0 ? -1 : int(end - emscripten_get_now() + 0.999);
    if (timeout_ms > 0 && left <= 0) return 0;
    // Of these WasmFS never says that they became ready, as long as nobody comes to the event loop.
    if (timeout_ms < 0 && !all.channels && count) return 0;
    bool looks = all.watched || all.asksWasmfs();
    if (looks && (left < 0 || left > LOOK_MS)) left = LOOK_MS;
    if (!monitor.wait(left)) return 0;
  }
}

} // namespace

extern "C" {

int __wrap___syscall_poll(struct pollfd *entries, nfds_t count, int timeout_ms) {
  return pollAll(entries, count, timeout_ms);
}

int __wrap___syscall_poll_nonblocking(struct pollfd *entries, nfds_t count) { return pollAll(entries, count, 0); }

} // extern "C"
