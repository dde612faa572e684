// Threads that write blocks with their step's number and sync them, and mark when a step begins and when it is
// acknowledged. tests/kill/order.test.mjs compares that with the calls of the device.
//
//   sync_order FOLDER THREADS STEPS
//
// Thread T (0 on) does the steps T * STEPS + 1 to (T + 1) * STEPS.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
// More than a commit puts into its record: they go to the image first.
#define MANY_BLOCKS 300
#define SOME_BLOCKS 40
// Where new blocks begin, and how many times as many there may be, before the file is made short again.
#define MANY_TIMES 4

// sync_order.js. Returns when the mark is set, so that it lies before whatever comes next.
extern void order_begin(int step);
extern void order_acknowledge(int step);

static const char *root;
static int steps;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t next_random(uint64_t *state) {
  // xorshift
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static void put(int file, const void *blocks, int count, off_t at) {
  if (pwrite(file, blocks, (size_t)count * BLOCK, at) != (ssize_t)count * BLOCK) fail("pwrite");
}

static void *work(void *argument) {
  const int thread = (int)(intptr_t)argument;
  uint64_t state = 0x5ab + (uint64_t)thread;
  char path[256], other[256];
  snprintf(path, sizeof path, "%s/steps-%d", root, thread);
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
  const int folder = open(root, O_RDONLY | O_DIRECTORY);
  if (file < 0 || folder < 0) fail(path);
  uint64_t(*blocks)[BLOCK / 8] = malloc((size_t)MANY_BLOCKS * BLOCK);
  if (!blocks) fail("malloc");
  int many = 0;
  for (int i = 0; i < steps; i++) {
    const int step = thread * steps + i + 1;
    for (int b = 0; b < MANY_BLOCKS; b++) {
      // No block is another one's copy.
      for (int j = 0; j < BLOCK / 8; j++) blocks[b][j] = (uint64_t)step << 32 | (uint64_t)(b << 16) | (uint64_t)j;
      // The pattern that recording-keeper.js looks for.
      blocks[b][0] = 0x5abf50000d0e0000 + (uint64_t)step;
    }
    order_begin(step);
    if (i % 8 == 1) { // many new blocks
      if (many % MANY_TIMES == 0 && ftruncate(file, SOME_BLOCKS * BLOCK) != 0) fail("ftruncate");
      put(file, blocks, MANY_BLOCKS, (off_t)(SOME_BLOCKS + many++ % MANY_TIMES * MANY_BLOCKS) * BLOCK);
      if (fdatasync(file) != 0) fail("fdatasync");
    } else if (i % 4 == 0) { // a block written over
      put(file, blocks, 1, 0);
      if (fsync(file) != 0) fail("fsync");
    } else if (i % 4 == 2) { // a new file, renamed; the folder's fsync stands for all of it
      snprintf(path, sizeof path, "%s/new-%d", root, thread);
      snprintf(other, sizeof other, "%s/step-%d", root, step);
      const int fresh = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
      if (fresh < 0) fail(path);
      put(fresh, blocks, 3, 0);
      if (close(fresh) != 0 || rename(path, other) != 0 || fsync(folder) != 0) fail(other);
    } else { // some blocks written over
      put(file, blocks, SOME_BLOCKS, 0);
      if (fsync(file) != 0) fail("fsync");
    }
    order_acknowledge(step);
    // Sometimes threads meet in one commit, sometimes not.
    if (next_random(&state) % 3 == 0) usleep((useconds_t)(next_random(&state) % 2000));
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  root = argv[1];
  const int threads = atoi(argv[2]);
  steps = atoi(argv[3]);
  pthread_t all[8];
  if (threads > 8) return 2;
  for (intptr_t i = 0; i < threads; i++) {
    if ((errno = pthread_create(&all[i], NULL, work, (void *)i)) != 0) fail("pthread_create");
  }
  for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
  return 0;
}
