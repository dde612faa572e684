// What is open and lies on no file system: the ends of pipes, and watchers of names.
//
// To WasmFS they are files of a backend of their own. Its calls hold the locks of the open file and of the file while
// they read, which must not be as long as a reader waits: all calls on channels are wrapped (sabfs_io.cpp,
// sabfs_descriptors.cpp, sabfs_poll.cpp), and only the counting of open files is WasmFS's.
//
// The state of all channels is guarded by one mutex: whoever waits for several (poll) sees them at one moment, and what
// is done under it is short.
#pragma once

#include "sabfs_backend.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

namespace sabfs {

// The mutex of all channels, and what those sleep on who wait for one.
class Monitor {
public:
  Monitor() : lock(mutex) {}
  // Sleeps until a channel has changed, or for about `most_ms` (-1: for any time); false when nobody could change one.
  bool wait(int most_ms);
  // Something has changed.
  static void changed() { waiters.notify_all(); }

private:
  static std::mutex mutex;
  static std::condition_variable waiters;
  std::unique_lock<std::mutex> lock;
};

class Channel : public wasmfs::DataFile {
public:
  // The channel that a file is; null when it is another one.
  static Channel *of(const std::shared_ptr<wasmfs::File> &file);

  // A call of read() or write(): all of its bytes, waiting or not. Bytes done or a negative errno.
  virtual ssize_t receive(uint8_t *buffer, size_t count, bool waits) = 0;
  virtual ssize_t send(const uint8_t *bytes, size_t count, bool waits) = 0;
  // POLLIN and so on, all that is true. Under the monitor.
  virtual int ready() = 0;
  // Bytes that can be read (FIONREAD); under the monitor.
  virtual int pending() = 0;
  // Whether it changes without anybody calling Monitor::changed(), because other programs change it.
  virtual bool isWatched() const { return false; }
  // The kind and the permissions that fstat() shows.
  const mode_t shown;

protected:
  explicit Channel(mode_t shown);

  // What WasmFS would call.
  ssize_t read(uint8_t *buffer, size_t count, off_t) override { return receive(buffer, count, false); }
  ssize_t write(const uint8_t *bytes, size_t count, off_t) override { return send(bytes, count, false); }
  int setSize(off_t) override { return -EINVAL; }
  off_t getSize() override { return 0; }
  int flush() override { return -EINVAL; }
};

// How often those look again who wait for something that other programs change.
constexpr int LOOK_MS = 10;

} // namespace sabfs
