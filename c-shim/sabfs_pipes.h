// Pipes as Linux has them: a ring of pages, of which each holds the bytes of one write or a part of them.
#pragma once

#include "sabfs_channels.h"

#include <deque>
#include <vector>

namespace sabfs {

// All of it under the monitor.
class Pipe {
public:
  // A page, or a part of one.
  struct Part {
    std::vector<uint8_t> bytes;
    size_t start; // of what has not been read
    bool grows;   // whether the next write may go on in it
    size_t size() const { return bytes.size() - start; }
  };
  static constexpr size_t PAGE = 4096;
  static constexpr size_t PARTS = 16, PARTS_MAX = 256; // 64 KiB, as long as nobody changes it; 1 MiB

  std::deque<Part> parts;
  size_t most = PARTS;
  int readers = 0, writers = 0;

  bool isFull() const { return parts.size() >= most; }
  size_t size() const;
  // Takes what a write of so many bytes in all puts into the last page; the bytes done.
  size_t merge(const uint8_t *bytes, size_t count);
  // Adds a part, for which there has to be room.
  void add(const uint8_t *bytes, size_t count, bool grows);
  // Takes up to `count` bytes away into a buffer.
  size_t take(uint8_t *buffer, size_t count);
};

class PipeEnd final : public Channel {
public:
  const std::shared_ptr<Pipe> pipe;
  const bool writes;

  PipeEnd(std::shared_ptr<Pipe> pipe, bool writes);
  // The end of a pipe that a file is; null when it is none.
  static PipeEnd *of(const std::shared_ptr<wasmfs::File> &file);

  ssize_t receive(uint8_t *buffer, size_t count, bool waits) override;
  ssize_t send(const uint8_t *bytes, size_t count, bool waits) override;
  int ready() override;
  int pending() override { return int(pipe->size()); }

  // Waits until there is something to read: 1, or 0 when nobody will write any more, or a negative errno.
  int waitForData(Monitor &monitor, bool waits);
  // Waits until there is room for a page: 0 or a negative errno, -EPIPE when nobody reads.
  int waitForRoom(Monitor &monitor, bool waits);

private:
  int open(wasmfs::oflags_t flags) override;
  int close() override;
};

// Linux ends who writes and has no reader, if he does not mind the signal.
int brokenPipe();

} // namespace sabfs
