// Threads of one program that read one file at once, while others write it, close it and put others in its place.
//
//   reads FOLDER
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "check.h"

// JavaScript (gate.js): takes the store's gate as if the keeper had it, so that nothing can be changed, and gives it
// back. Whether somebody waits for it meanwhile.
void gate_close(void);
void gate_open(void);
int gate_awaited(void);

enum { BLOCK = 4096, BLOCKS = 32, READERS = 4, ROUNDS = 400 };

static char folder[256];

#define PATH(name, ...)   \
  char name[512];         \
  snprintf(name, sizeof name, __VA_ARGS__)

static pthread_t start(void *(*run)(void *), void *argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run, argument) == 0);
  return thread;
}

// Lets two threads take turns: waits until it is `turn`, so that what each does comes before what the other does next.
static _Atomic int turn;
static void wait_turn(int mine) {
  while (turn != mine) sched_yield();
}

// --- a thread that has read by a descriptor knows what becomes of it

static int watched;

static void *watch_descriptor(void *unused) {
  char text[8];
  wait_turn(1);
  CHECK(pread(watched, text, 5, 0) == 5 && !memcmp(text, "first", 5));
  turn = 2;
  wait_turn(3);
  CHECK(pread(watched, text, 5, 0) == 5 && !memcmp(text, "other", 5));
  turn = 4;
  wait_turn(5);
  FAILS(EBADF, pread(watched, text, 5, 0));
  turn = 6;
  wait_turn(7);
  // The number is another file's now, which may only be written.
  FAILS(EBADF, pread(watched, text, 5, 0));
  turn = 8;
  wait_turn(9);
  CHECK(pread(watched, text, 5, 0) == 5 && !memcmp(text, "third", 5));
  return NULL;
}

static void test_descriptors(void) {
  PATH(first, "%s/first", folder);
  PATH(other, "%s/other", folder);
  PATH(third, "%s/third", folder);
  CHECK(put_text(first, "first") == 0 && put_text(other, "other") == 0 && put_text(third, "third") == 0);
  pthread_t watcher = start(watch_descriptor, NULL);
  char text[8];
  watched = open(first, O_RDONLY);
  CHECK(watched >= 0);
  turn = 1;
  wait_turn(2);
  int fd = open(other, O_RDONLY);
  CHECK(dup2(fd, watched) == watched && close(fd) == 0);
  turn = 3;
  wait_turn(4);
  CHECK(close(watched) == 0);
  turn = 5;
  wait_turn(6);
  CHECK(open(other, O_WRONLY) == watched);
  turn = 7;
  wait_turn(8);
  CHECK(close(watched) == 0 && open(third, O_RDONLY) == watched);
  turn = 9;
  pthread_join(watcher, NULL);

  FAILS(EINVAL, pread(watched, text, 1, -1));
  struct iovec parts[2] = {{text, 2}, {text + 4, 4}};
  CHECK(preadv(watched, parts, 2, 0) == 5 && !memcmp(text, "th", 2) && !memcmp(text + 4, "ird", 3));
  FAILS(EINVAL, preadv(watched, parts, -1, 0));
  FAILS(EBADF, pwrite(watched, text, 1, 0));
  FAILS(EBADF, write(watched, text, 1));
  CHECK(lseek(watched, 1, SEEK_SET) == 1 && readv(watched, parts, 2) == 4 && lseek(watched, 0, SEEK_CUR) == 5);
  CHECK(read(watched, text, 1) == 0 && pread(watched, text, 1, 5) == 0 && pread(watched, text, 0, 0) == 0);
  int folder_fd = open(folder, O_RDONLY);
  CHECK(folder_fd >= 0);
  FAILS(EISDIR, pread(folder_fd, text, 1, 0));
  FAILS(EISDIR, read(folder_fd, text, 1));
  CHECK(close(folder_fd) == 0 && close(watched) == 0);
  CHECK(unlink(first) == 0 && unlink(other) == 0 && unlink(third) == 0);
}

// --- reading does not wait for who writes

static int shared;
static _Atomic int written;

static void *write_behind_gate(void *unused) {
  char bytes[BLOCK];
  memset(bytes, 'n', sizeof bytes);
  CHECK(pwrite(shared, bytes, sizeof bytes, 0) == BLOCK);
  written = 1;
  return NULL;
}

static void *read_beside(void *argument) {
  int fd = *(int *)argument;
  char bytes[BLOCK];
  for (int i = 0; i < ROUNDS; i++) {
    CHECK(pread(fd, bytes, BLOCK, 0) == BLOCK && bytes[0] == 'o' && bytes[BLOCK - 1] == 'o');
  }
  CHECK(read(fd, bytes, BLOCK) == BLOCK && bytes[0] == 'o' && bytes[BLOCK - 1] == 'o');
  return NULL;
}

static void test_beside_writer(void) {
  PATH(path, "%s/beside", folder);
  char bytes[BLOCK];
  memset(bytes, 'o', sizeof bytes);
  CHECK(put(path, bytes, sizeof bytes) == 0);
  shared = open(path, O_RDWR);
  int own = open(path, O_RDONLY);
  CHECK(shared >= 0 && own >= 0);
  gate_close();
  pthread_t writer = start(write_behind_gate, NULL);
  // From now on the write is under way, with all that it holds.
  while (!gate_awaited()) sched_yield();
  pthread_t readers[2] = {start(read_beside, &shared), start(read_beside, &own)};
  for (int i = 0; i < 2; i++) pthread_join(readers[i], NULL);
  CHECK(!written);
  gate_open();
  pthread_join(writer, NULL);
  CHECK(pread(own, bytes, BLOCK, 0) == BLOCK && bytes[0] == 'n' && bytes[BLOCK - 1] == 'n');
  CHECK(close(shared) == 0 && close(own) == 0 && unlink(path) == 0);
}

// --- what is read is what somebody has written

static _Atomic int running;

static void *write_stamps(void *argument) {
  static char bytes[READERS][BLOCK];
  int mine = (int)(long)argument;
  for (unsigned round = 0; running; round++) {
    memset(bytes[mine], (int)(1 + (round * READERS + (unsigned)mine) % 255), BLOCK);
    CHECK(pwrite(shared, bytes[mine], BLOCK, (off_t)(round % BLOCKS) * BLOCK) == BLOCK);
  }
  return NULL;
}

static void *read_stamps(void *argument) {
  static char bytes[READERS][BLOCK];
  char *mine = bytes[(long)argument];
  PATH(path, "%s/stamps", folder);
  // Half of them by the descriptor of all, the others by one of their own.
  int fd = (long)argument % 2 ? shared : open(path, O_RDONLY);
  CHECK(fd >= 0);
  for (unsigned round = 0; round < ROUNDS * 8; round++) {
    CHECK(pread(fd, mine, BLOCK, (off_t)(round * 7 % BLOCKS) * BLOCK) == BLOCK);
    CHECK(mine[0] != 0 && !memcmp(mine, mine + 1, BLOCK - 1));
  }
  if (fd != shared) CHECK(close(fd) == 0);
  return NULL;
}

static void test_stamps(void) {
  PATH(path, "%s/stamps", folder);
  char *bytes = malloc(BLOCKS * BLOCK);
  memset(bytes, 1, BLOCKS * BLOCK);
  CHECK(put(path, bytes, BLOCKS * BLOCK) == 0);
  free(bytes);
  shared = open(path, O_RDWR);
  CHECK(shared >= 0);
  running = 1;
  pthread_t readers[READERS], writers[2];
  for (long i = 0; i < 2; i++) writers[i] = start(write_stamps, (void *)i);
  for (long i = 0; i < READERS; i++) readers[i] = start(read_stamps, (void *)i);
  for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
  running = 0;
  for (int i = 0; i < 2; i++) pthread_join(writers[i], NULL);
  CHECK(close(shared) == 0 && unlink(path) == 0);
}

// --- threads that share a position read everything once

static _Atomic unsigned char taken[READERS * ROUNDS];

static void *take_records(void *unused) {
  unsigned record;
  ssize_t count;
  while ((count = read(shared, &record, sizeof record)) == sizeof record) {
    CHECK(record < READERS * ROUNDS);
    if (record < READERS * ROUNDS) taken[record]++;
  }
  CHECK(count == 0);
  return NULL;
}

static void test_position(void) {
  PATH(path, "%s/records", folder);
  unsigned *records = malloc(sizeof *records * READERS * ROUNDS);
  for (unsigned i = 0; i < READERS * ROUNDS; i++) records[i] = i;
  CHECK(put(path, records, sizeof *records * READERS * ROUNDS) == 0);
  free(records);
  shared = open(path, O_RDONLY);
  CHECK(shared >= 0);
  pthread_t readers[READERS];
  for (int i = 0; i < READERS; i++) readers[i] = start(take_records, NULL);
  for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
  for (int i = 0; i < READERS * ROUNDS; i++) CHECK(taken[i] == 1);
  CHECK(close(shared) == 0 && unlink(path) == 0);
}

// --- a closed file's inode may become another file, which nobody reads by the old descriptor

static _Atomic int current;

static void *read_what_is_there(void *argument) {
  char bytes[BLOCK];
  while (running) {
    ssize_t count = (long)argument % 2 ? read(current, bytes, BLOCK) : pread(current, bytes, BLOCK, 0);
    // Closed, or only to be written by now.
    if (count < 0) CHECK(errno == EBADF);
    else if (count > 0) CHECK(bytes[0] == 'r' && bytes[count - 1] == 'r');
  }
  return NULL;
}

static void test_reuse(void) {
  PATH(path, "%s/reused", folder);
  char readable[BLOCK], secret[BLOCK];
  memset(readable, 'r', sizeof readable);
  memset(secret, 's', sizeof secret);
  // There is always a number to read by.
  current = -1;
  running = 1;
  pthread_t readers[READERS];
  for (long i = 0; i < READERS; i++) readers[i] = start(read_what_is_there, (void *)i);
  for (int round = 0; round < ROUNDS; round++) {
    CHECK(put(path, readable, BLOCK) == 0);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && unlink(path) == 0);
    current = fd;
    if (round % 4 == 0) sched_yield();
    CHECK(close(fd) == 0);
    // Likely with the same inode and the same number; nobody may read it.
    CHECK(put(path, secret, BLOCK) == 0 && unlink(path) == 0);
  }
  running = 0;
  for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
}

int main(int argc, char **argv) {
  snprintf(folder, sizeof folder, "%s/reads", argc > 1 ? argv[1] : "/opfs");
  CHECK(mkdir(folder, 0777) == 0);
  test_descriptors();
  test_beside_writer();
  test_stamps();
  test_position();
  test_reuse();
  CHECK(rmdir(folder) == 0);
  printf("reads: %d failures\n", failures);
  return failures != 0;
}
