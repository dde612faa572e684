// Changes a small tree and makes every step durable, while somebody ends the keeper's worker. What it reads back is
// compared with what it wrote, now and then and at the end.
//
//   failover FOLDER work MS SEED      for so many milliseconds; prints `ready`, `ack N` after each step, `tree HASH` at the end
//   failover FOLDER look              prints `tree HASH` of what it finds
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 20
#define BLOCKS 6
#define BLOCK_BYTES 4096
/* On a slow machine too. */
#define STEPS_MIN 10

/* The version that each block of each file has; 0 while there is no such file. */
static uint32_t versions[FILES][BLOCKS];
static uint32_t next_version = 1;
static const char *folder;
static int failures;

static void fail(const char *doing, int file) {
  printf("file %d: cannot %s: %s\n", file, doing, strerror(errno));
  failures++;
}

static const char *name(int file, int new_one) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s%d", folder, new_one ? "new-" : "", file);
  return path;
}

static void fill(uint32_t *words, int file, uint32_t version) {
  for (int i = 0; i < BLOCK_BYTES / 4; i++) words[i] = version * 64 + file;
}

static int write_block(int fd, int file, int block, uint32_t version) {
  uint32_t words[BLOCK_BYTES / 4];
  fill(words, file, version);
  return pwrite(fd, words, BLOCK_BYTES, (off_t)block * BLOCK_BYTES) == BLOCK_BYTES ? 0 : -1;
}

/* A new file in the place of the old one. */
static void replace(int file) {
  char from[256];
  strcpy(from, name(file, 1));
  int fd = open(from, O_CREAT | O_TRUNC | O_RDWR, 0644);
  if (fd < 0) return fail("create", file);
  uint32_t version = next_version++;
  for (int block = 0; block < BLOCKS; block++) {
    if (write_block(fd, file, block, version)) fail("write", file);
    versions[file][block] = version;
  }
  if (fsync(fd)) fail("sync what is new of", file);
  if (close(fd)) fail("close", file);
  if (rename(from, name(file, 0))) fail("rename", file);
}

static void overwrite(int file, int block) {
  int fd = open(name(file, 0), O_RDWR);
  if (fd < 0) return fail("open", file);
  versions[file][block] = next_version++;
  if (write_block(fd, file, block, versions[file][block])) fail("overwrite", file);
  if (fsync(fd)) fail("sync", file);
  if (close(fd)) fail("close", file);
}

static void take_away(int file) {
  if (unlink(name(file, 0))) fail("unlink", file);
  memset(versions[file], 0, sizeof versions[file]);
}

/* Reads the tree; gives a hash of it. With `compare` it has to be what was written. */
static uint64_t look(int compare) {
  uint64_t hash = 1469598103934665603u;
  for (int file = 0; file < FILES; file++) {
    int fd = open(name(file, 0), O_RDONLY);
    if (fd < 0 && errno != ENOENT) fail("open", file);
    for (int block = 0; block < BLOCKS; block++) {
      uint32_t words[BLOCK_BYTES / 4] = {0}, version = 0;
      if (fd >= 0) {
        if (pread(fd, words, BLOCK_BYTES, (off_t)block * BLOCK_BYTES) != BLOCK_BYTES) fail("read", file);
        version = words[0] / 64;
        for (int i = 0; i < BLOCK_BYTES / 4; i++) {
          if (words[i] != version * 64 + file) {
            printf("file %d: block %d is a mixture\n", file, block);
            failures++;
            break;
          }
        }
      }
      if (compare && version != versions[file][block]) {
        printf("file %d: block %d has version %u, not %u\n", file, block, version, versions[file][block]);
        failures++;
      }
      hash = (hash ^ version) * 1099511628211u;
    }
    if (fd >= 0) close(fd);
  }
  return hash;
}

static void sync_folder(void) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  if (fd < 0 || fsync(fd)) fail("sync the folder of", 0);
  if (fd >= 0) close(fd);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void work(int ms, uint32_t seed) {
  mkdir(folder, 0755);
  printf("ready\n");
  fflush(stdout);
  double end = now_ms() + ms;
  for (int step = 1; (step <= STEPS_MIN || now_ms() < end) && !failures; step++) {
    seed = seed * 1664525 + 1013904223;
    int file = (seed >> 8) % FILES, kind = (seed >> 16) % 10;
    if (!versions[file][0] || kind < 3) replace(file);
    else if (kind < 9) overwrite(file, (seed >> 20) % BLOCKS);
    else take_away(file);
    // Renames and removals are durable with the folder.
    if (step % 8 == 0) sync_folder();
    if (step % 50 == 0) look(1);
    printf("ack %d\n", step);
    fflush(stdout);
  }
  sync_folder();
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  static char place[200];
  snprintf(place, sizeof place, "%s/failover", argv[1]);
  folder = place;
  int working = argc > 4 && !strcmp(argv[2], "work");
  if (working) work(atoi(argv[3]), strtoul(argv[4], NULL, 10));
  printf("tree %016llx\n", (unsigned long long)look(working));
  fflush(stdout);
  return failures != 0;
}
