// Writes blocks that carry their step's number and syncs them, and marks when a step begins and when it is
// acknowledged. tests/kill/order.test.mjs compares that with the calls of the device.
//
//   sync_order FOLDER STEPS
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
// More than a commit puts into its record: they go to the image first.
#define MANY_BLOCKS 400
#define SOME_BLOCKS 40

// sync_order.js. Returns when the mark is set, so that it lies before whatever comes next.
extern void order_begin(int step);
extern void order_acknowledge(int step);

static uint64_t blocks[MANY_BLOCKS][BLOCK / 8];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void put(int file, int count, off_t at) {
  if (pwrite(file, blocks, (size_t)count * BLOCK, at) != (ssize_t)count * BLOCK) fail("pwrite");
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  char path[256], other[256];
  snprintf(path, sizeof path, "%s/steps", argv[1]);
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
  const int folder = open(argv[1], O_RDONLY | O_DIRECTORY);
  if (file < 0 || folder < 0) fail("open");
  off_t end = SOME_BLOCKS * BLOCK;
  const int steps = atoi(argv[2]);
  for (int step = 1; step <= steps; step++) {
    for (int i = 0; i < MANY_BLOCKS; i++) {
      // No block is another one's copy.
      for (int j = 0; j < BLOCK / 8; j++) blocks[i][j] = (uint64_t)step << 32 | (uint64_t)(i << 16) | (uint64_t)j;
      // The pattern that order.test.mjs looks for.
      blocks[i][0] = 0x5abf50000d0e0000 + (uint64_t)step;
    }
    order_begin(step);
    switch (step % 4) {
    case 0: // a block written over
      put(file, 1, 0);
      if (fsync(file) != 0) fail("fsync");
      break;
    case 1: // many new blocks
      put(file, MANY_BLOCKS, end);
      end += MANY_BLOCKS * BLOCK;
      if (fdatasync(file) != 0) fail("fdatasync");
      break;
    case 2: { // a new file, renamed; the folder's fsync stands for all of it
      snprintf(path, sizeof path, "%s/new", argv[1]);
      snprintf(other, sizeof other, "%s/step-%d", argv[1], step);
      const int fresh = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
      if (fresh < 0) fail(path);
      put(fresh, 3, 0);
      if (close(fresh) != 0 || rename(path, other) != 0 || fsync(folder) != 0) fail(other);
      break;
    }
    case 3: // some blocks written over
      put(file, SOME_BLOCKS, 0);
      if (fsync(file) != 0) fail("fsync");
      break;
    }
    order_acknowledge(step);
  }
  return 0;
}
