// Watchers of names, as of inotify_init().
#pragma once

#include "sabfs_channels.h"

#include <deque>
#include <map>
#include <vector>

namespace sabfs {

// Opening, reading and closing leave no trace on a volume: these tell the program's own watchers (IN_OPEN, IN_ACCESS,
// IN_CLOSE_...).
bool isAnythingWatched();
void noteUse(const std::shared_ptr<wasmfs::File> &file, uint32_t event);
void noteUse(const SabfsBackend &backend, uint32_t ino, uint32_t event);

class Inotify final : public Channel {
public:
  Inotify() : Channel(0600) {}
  ~Inotify() override;
  // The watcher that a file is; null when it is none.
  static Inotify *of(const std::shared_ptr<wasmfs::File> &file);

  // The watch's number or a negative errno.
  int add(SabfsBackend &backend, const sabfs_attr &attr, uint32_t mask);
  int remove(int number);
  void use(const SabfsBackend &backend, uint32_t ino, uint32_t event);

  ssize_t receive(uint8_t *buffer, size_t count, bool waits) override;
  ssize_t send(const uint8_t *, size_t, bool) override { return -EBADF; }
  int ready() override;
  int pending() override;
  bool isWatched() const override { return true; }

private:
  struct Watch {
    SabfsBackend *backend;
    uint32_t ino, generation, mask;
    bool isDirectory;
  };
  struct Event {
    int watch;
    uint32_t mask, cookie;
    std::string name;
    size_t size() const;
  };
  // Who reads the change log of a volume; several mounts of it have one.
  struct Log {
    SabfsBackend *backend;
    sabfs_watcher *watcher;
  };
  static constexpr size_t EVENTS_MAX = 16384;

  // All of it under the monitor.
  std::map<int, Watch> watches;
  std::deque<Event> events;
  std::vector<Log> logs;
  int newest = 0;
  uint32_t cookies = 0;

  int open(wasmfs::oflags_t) override { return 0; }
  int close() override;
  void put(int watch, uint32_t mask, uint32_t cookie, const std::string &name);
  // The name that the inode of a change had in a directory at that time; empty when it had none.
  std::string nameOf(Log &log, uint32_t directory, const sabfs_change *change);
  // Tells those who watch the directories of a change's inode, and those who watch it.
  void tellOf(Log &log, const sabfs_change *change, uint32_t mask);
  void tellSelf(Log &log, uint32_t ino, uint32_t mask);
  // Tells those who watch a name's directory.
  void tellIn(Log &log, uint32_t directory, uint32_t mask, uint32_t cookie, const std::string &name);
  // Changes in a row begin and end with one of nothing.
  void take(Log &log, const sabfs_change *change);
  void drop(int watch);
  // Tells of inodes that are gone.
  void reap();
  void pump();
};

} // namespace sabfs
