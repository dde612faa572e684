// What every way of linking has to give: a volume at /opfs, calls that WasmFS alone would answer otherwise, threads where
// there are any, and files that the next start finds.
//
//   program write | read
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sabfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __EMSCRIPTEN_PTHREADS__
#include <pthread.h>
#endif

#define CHECK(what)                                                                \
  do {                                                                             \
    if (!(what)) {                                                                 \
      printf("line %d: %s (errno %d: %s)\n", __LINE__, #what, errno, strerror(errno)); \
      exit(1);                                                                     \
    }                                                                              \
  } while (0)

enum { SIZE = 70000, THREADS = 3 };

static char expected[SIZE];

static void fill(int seed) {
  for (int i = 0; i < SIZE; i++) expected[i] = (char)(i * 31 + i / 257 + seed);
}

static void writeFile(const char *path) {
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
  CHECK(fd >= 0);
  CHECK(write(fd, expected, SIZE) == SIZE);
  CHECK(fsync(fd) == 0);
  CHECK(close(fd) == 0);
}

static void readFile(const char *path) {
  char *found = malloc(SIZE + 1);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, found, SIZE + 1) == SIZE);
  CHECK(memcmp(found, expected, SIZE) == 0);
  CHECK(close(fd) == 0);
  free(found);
}

// Modes, links, numbers and room: WasmFS has none of them, so they show that the calls are wrapped.
static void writeTree(void) {
  CHECK(mkdir("/opfs/folder", 0750) == 0);
  writeFile("/opfs/folder/file");
  CHECK(link("/opfs/folder/file", "/opfs/second") == 0);
  CHECK(symlink("folder/file", "/opfs/symbolic") == 0);
  CHECK(chmod("/opfs/second", 0640) == 0);
  struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
  CHECK(utimensat(AT_FDCWD, "/opfs/second", times, 0) == 0);
  int fd = open("/opfs/folder", O_RDONLY | O_DIRECTORY);
  CHECK(fd >= 0);
  CHECK(fsync(fd) == 0);
  CHECK(close(fd) == 0);
}

static void readTree(void) {
  struct stat file, second;
  CHECK(stat("/opfs/folder/file", &file) == 0);
  CHECK(stat("/opfs/second", &second) == 0);
  CHECK(file.st_ino == second.st_ino);
  CHECK(file.st_nlink == 2);
  CHECK(file.st_mode == (S_IFREG | 0640));
  CHECK(file.st_mtim.tv_sec == 1100000000);
  CHECK(file.st_mtim.tv_nsec == 987654321);
  readFile("/opfs/symbolic");
  CHECK(mkdir("/opfs/folder", 0777) == -1 && errno == EEXIST);
  CHECK(rmdir("/opfs/folder") == -1 && errno == ENOTEMPTY);
  struct statvfs room;
  CHECK(statvfs("/opfs", &room) == 0);
  CHECK(room.f_bfree > 0 && room.f_bfree < room.f_blocks);
  struct sabfs_metrics metrics;
  CHECK(sabfs_metrics("/opfs", &metrics) == 0);
  CHECK(metrics.keeper_up);
}

#ifdef __EMSCRIPTEN_PTHREADS__
static void path(char *text, int number) { sprintf(text, "/opfs/thread-%d", number); }

static void *writeInThread(void *number) {
  char text[32];
  path(text, *(int *)number);
  writeFile(text);
  return NULL;
}

static void writeInThreads(void) {
  pthread_t threads[THREADS];
  int numbers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    CHECK(pthread_create(&threads[i], NULL, writeInThread, &numbers[i]) == 0);
  }
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}
#endif

#ifdef THROWS
int thrown(const char *path);
#endif

int main(int argc, char **argv) {
  CHECK(argc == 2);
  fill(7);
  if (!strcmp(argv[1], "write")) {
    CHECK(access("/opfs/folder", F_OK) == -1 && errno == ENOENT);
    writeTree();
#ifdef __EMSCRIPTEN_PTHREADS__
    writeInThreads();
#endif
  } else {
#ifdef __EMSCRIPTEN_PTHREADS__
    for (int i = 0; i < THREADS; i++) {
      char text[32];
      path(text, i);
      readFile(text);
    }
#endif
  }
  readTree();
#ifdef THROWS
  CHECK(thrown("/opfs/missing") == ENOENT);
#endif
  printf("%s: whole\n", argv[1]);
  return 0;
}
