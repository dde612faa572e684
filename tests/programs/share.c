// One of several programs on one store, which may be ended at any moment while the others go on.
//
//   share FOLDER PLACE NUMBER SEED     works until it is told to stop; what it reads is compared with what it wrote
//   share FOLDER PLACE NUMBER 0        aborts, with a file open that has no name
//
// It works in FOLDER/NUMBER, which is its own, and moves files to FOLDER/common, where it reads those of others. Each
// operation is told to share_tick(PLACE) (share.js), which says whether to go on.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 12
#define COMMON 8
#define SIZE_MAX_BYTES 40000
/* Files that are open and have no name any more. */
#define NAMELESS 3
/* Emscripten's headers have it only with some macros set. */
#ifndef F_OFD_SETLKW
#define F_OFD_SETLKW 38
#endif

int share_tick(int place);

static char folder[100], common[100];
static int id, failures;
static uint32_t seed;
static int sizes[FILES];
static uint32_t versions[FILES];
static int nameless[NAMELESS] = {-1, -1, -1};

static uint32_t next(uint32_t limit) {
  seed = seed * 1664525 + 1013904223;
  return (uint32_t)(((uint64_t)seed * limit) >> 32);
}

static void fail(const char *doing, const char *what) {
  printf("share %d: cannot %s %s: %s\n", id, doing, what, strerror(errno));
  failures++;
}

/* What lies at one place of a version of a file. */
static unsigned char byte_of(uint32_t version, int at) { return version * 31 + at % 251; }

static const char *name(int file) {
  static char path[2][200];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/file%d", folder, file);
  return path[turn];
}

static const char *shared_name(int file) {
  static char path[200];
  snprintf(path, sizeof path, "%s/shared%d", common, file);
  return path;
}

/* The first byte tells the version. */
static int check(const char *path, int fd, int size) {
  static unsigned char bytes[SIZE_MAX_BYTES + 1];
  ssize_t count = pread(fd, bytes, sizeof bytes, 0);
  if (count < 0 || (size >= 0 && count != size)) {
    printf("share %d: %s has %zd bytes, not %d\n", id, path, count, size);
    failures++;
    return -1;
  }
  for (ssize_t at = 1; at < count; at++) {
    if ((unsigned char)(bytes[at] - bytes[0]) != (unsigned char)(at % 251)) {
      printf("share %d: byte %zd of %zd of %s is wrong\n", id, at, count, path);
      failures++;
      return -1;
    }
  }
  return count ? bytes[0] : -1;
}

static int put(int fd, uint32_t version, int from, int to) {
  static unsigned char bytes[SIZE_MAX_BYTES];
  for (int at = from; at < to; at++) bytes[at] = byte_of(version, at);
  return pwrite(fd, bytes + from, to - from, from) == to - from ? 0 : -1;
}

static void create(int file) {
  int fd = open(name(file), O_CREAT | O_TRUNC | O_RDWR, 0644);
  if (fd < 0) return fail("create", name(file));
  versions[file]++;
  sizes[file] = 1 + next(next(3) ? 3000 : SIZE_MAX_BYTES - 1);
  if (put(fd, versions[file], 0, sizes[file])) fail("write", name(file));
  if (next(12) == 0 && fsync(fd)) fail("sync", name(file));
  close(fd);
}

static void append(int file) {
  int to = sizes[file] + 1 + next(5000);
  if (to > SIZE_MAX_BYTES) return;
  int fd = open(name(file), O_RDWR);
  if (fd < 0) return fail("open", name(file));
  if (put(fd, versions[file], sizes[file], to)) fail("append to", name(file));
  sizes[file] = to;
  close(fd);
}

static void read_back(int file) {
  int fd = open(name(file), O_RDONLY);
  if (fd < 0) return fail("open", name(file));
  int first = check(name(file), fd, sizes[file]);
  if (first >= 0 && first != byte_of(versions[file], 0)) {
    printf("share %d: %s is another version\n", id, name(file));
    failures++;
  }
  close(fd);
}

static void cut(int file) {
  int to = 1 + next(sizes[file]);
  if (truncate(name(file), to)) return fail("cut", name(file));
  sizes[file] = to;
}

/* Away from here, over whatever is there; or a look at what others have moved there. */
static void move(int file) {
  if (next(2)) {
    if (rename(name(file), shared_name(next(COMMON)))) return fail("move", name(file));
    sizes[file] = 0;
    return;
  }
  int fd = open(shared_name(next(COMMON)), O_RDONLY);
  if (fd < 0 && errno != ENOENT) return fail("open", shared_name(0));
  if (fd < 0) return;
  // Others may be at it: whatever it is, it is one version of a file.
  check("a shared file", fd, -1);
  close(fd);
}

static void take_away(int file) {
  int slot = next(NAMELESS);
  if (nameless[slot] >= 0) close(nameless[slot]);
  nameless[slot] = open(name(file), O_RDONLY);
  if (unlink(name(file))) fail("unlink", name(file));
  if (nameless[slot] >= 0) check("a file without a name", nameless[slot], sizes[file]);
  sizes[file] = 0;
}

static void list(void) {
  DIR *dir = opendir(folder);
  if (!dir) return fail("open", folder);
  int count = 0, wanted = 0;
  while (readdir(dir)) count++;
  closedir(dir);
  for (int file = 0; file < FILES; file++) wanted += sizes[file] > 0;
  if (count != wanted + 2) {
    printf("share %d: %d names, not %d\n", id, count, wanted + 2);
    failures++;
  }
}

/* Waits for a lock that others want, too; while it is held what was written under it stays. Whole-file locks and those of bytes do
   not know of each other, so each kind has its place. */
static void lock_others_out(void) {
  char path[200];
  snprintf(path, sizeof path, "%s/locked", common);
  int fd = open(path, O_RDWR | O_CREAT, 0644), whole = next(2), kind = next(2) ? F_SETLKW : F_OFD_SETLKW;
  if (fd < 0) return fail("open", path);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 8};
  if (whole ? flock(fd, LOCK_EX) : fcntl(fd, kind, &lock)) fail("lock", path);
  int place = whole ? 0 : 100;
  uint32_t mine[2] = {id, next(UINT32_MAX)}, found[2];
  if (pwrite(fd, mine, sizeof mine, place) != sizeof mine) fail("write", path);
  for (int look = 0; look < 4; look++) {
    if (pread(fd, found, sizeof found, place) != sizeof found || memcmp(found, mine, sizeof mine)) {
      printf("share %d: program %d has written what is locked\n", id, found[0]);
      failures++;
      break;
    }
  }
  /* Or closing does it. */
  lock.l_type = F_UNLCK;
  if (next(2) && (whole ? flock(fd, LOCK_UN) : fcntl(fd, kind, &lock))) fail("unlock", path);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int place = atoi(argv[2]);
  id = atoi(argv[3]);
  seed = strtoul(argv[4], NULL, 10);
  snprintf(folder, sizeof folder, "%s/%d", argv[1], id);
  snprintf(common, sizeof common, "%s/common", argv[1]);
  if (mkdir(folder, 0755)) fail("make", folder);
  if (mkdir(common, 0755) && errno != EEXIST) fail("make", common);
  printf("ready\n");
  fflush(stdout);
  if (!seed) {
    create(0);
    take_away(0);
    abort();
  }
  while (!failures && share_tick(place)) {
    int file = next(FILES);
    if (!sizes[file]) {
      create(file);
      continue;
    }
    switch (next(9)) {
      case 0: create(file); break;
      case 1: append(file); break;
      case 2: cut(file); break;
      case 3: move(file); break;
      case 4: take_away(file); break;
      case 5: list(); break;
      case 6: lock_others_out(); break;
      default: read_back(file);
    }
  }
  for (int slot = 0; slot < NAMELESS; slot++) {
    if (nameless[slot] >= 0) close(nameless[slot]);
  }
  printf("%d failures\n", failures);
  fflush(stdout);
  return failures != 0;
}
