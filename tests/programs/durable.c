// What makes changes durable, one call at a time: durable MOUNT. The volume's metrics tell whether it did.
//
// The keeper's timer may be faster than a call, which then has nothing left to do: so what is compared exactly holds
// in either case. Times are never compared.
#include <sabfs.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "check.h"

#ifndef NOTHREADS
#include <pthread.h>
#endif

enum { BLOCK = 4096, ROUNDS = 10, THREADS = 4 };

static const char *mount;
static char bytes[BLOCK];

static struct sabfs_metrics look(void) {
  struct sabfs_metrics metrics;
  memset(&metrics, 0xff, sizeof metrics);
  CHECK(sabfs_metrics(mount, &metrics) == 0);
  return metrics;
}

static const char *in(const char *name) {
  static char path[2][128];
  static int next;
  next = !next;
  snprintf(path[next], sizeof path[next], "%s/%s", mount, name);
  return path[next];
}

// Whether fsync() has brought everything where the volume's mode wants it; `always`: whether it is durable.
static int is_safe(const struct sabfs_metrics *metrics, int always) {
  if (metrics->durability == SABFS_MEMORY) return metrics->commits == 0;
  if (metrics->durability == SABFS_RELAXED && !always) return metrics->written == metrics->change;
  return metrics->durable == metrics->change && metrics->written == metrics->change;
}

// A call that asks for durability: what was changed before it or by it is safe afterwards, and it is counted once.
#define SAFE(always, call) \
  do { \
    struct sabfs_metrics before = look(); \
    CHECK(call); \
    struct sabfs_metrics after = look(); \
    CHECK(is_safe(&after, always)); \
    CHECK(after.fsyncs == before.fsyncs + 1 && after.fsyncs_failed == before.fsyncs_failed); \
    CHECK(after.fsync_latency.count == before.fsync_latency.count + 1); \
  } while (0)

// A call that changes something and asks for nothing.
#define CHANGES(call) \
  do { \
    struct sabfs_metrics before = look(); \
    CHECK(call); \
    struct sabfs_metrics after = look(); \
    CHECK(after.change != before.change && after.fsyncs == before.fsyncs); \
  } while (0)

static void calls(int fd) {
  CHANGES(pwrite(fd, bytes, BLOCK, 0) == BLOCK);
  SAFE(0, fsync(fd) == 0);
  CHANGES(pwrite(fd, "x", 1, 0) == 1);
  SAFE(0, fdatasync(fd) == 0);
  CHANGES(ftruncate(fd, 3 * BLOCK) == 0);
  SAFE(0, (sync(), 1));
  CHANGES(put_text(in("b"), "b") == 0);
  SAFE(0, syncfs(fd) == 0);

  // Names are made durable through their directory.
  int dir = open(mount, O_RDONLY | O_DIRECTORY);
  CHECK(dir >= 0);
  CHANGES(rename(in("b"), in("c")) == 0);
  SAFE(0, fsync(dir) == 0);
  CHANGES(mkdir(in("folder"), 0777) == 0);
  SAFE(0, syncfs(dir) == 0);
  CHANGES(rmdir(in("folder")) == 0);
  SAFE(0, fdatasync(dir) == 0);
  close(dir);

  char *map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  map[1] = 'y';
  SAFE(0, msync(map, BLOCK, MS_SYNC) == 0);
  map[1] = 'z';
  CHANGES(msync(map, BLOCK, MS_ASYNC) == 0);
  map[2] = 'w';
  CHANGES(munmap(map, BLOCK) == 0);
  SAFE(0, fsync(fd) == 0);
  char three[3];
  CHECK(pread(fd, three, 3, 0) == 3 && !memcmp(three, "xzw", 3));

  errno = 0;
  FAILS(EBADF, syncfs(-1));
  CHECK(syncfs(1) == 0);
}

static void synchronous(int plain) {
  static const int kinds[] = {O_SYNC, O_DSYNC};
  for (int i = 0; i < 2; i++) {
    int kind = kinds[i];
    int fd = open(in("sync"), O_RDWR | O_CREAT | O_TRUNC | kind, 0666);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_SYNC) == kind);
    SAFE(1, write(fd, bytes, BLOCK) == BLOCK);
    SAFE(1, pwrite(fd, bytes, 16, 100) == 16);
    struct iovec parts[2] = {{bytes, 10}, {bytes, 20}};
    SAFE(1, writev(fd, parts, 2) == 30);
    // Flags that can be changed leave this one alone, and both descriptors are one open file.
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0 && (fcntl(fd, F_GETFL) & (O_SYNC | O_APPEND)) == (kind | O_APPEND));
    int other = dup(fd);
    SAFE(1, write(other, "end", 3) == 3);
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && status.st_size == BLOCK + 30 + 3);
    // Nothing written, nothing waited for; and other open files of the same inode are as ever.
    struct sabfs_metrics before = look();
    CHECK(write(fd, bytes, 0) == 0);
    CHECK(look().fsyncs == before.fsyncs);
    int beside = open(in("sync"), O_WRONLY);
    CHANGES(write(beside, bytes, 8) == 8);
    CHANGES(pwrite(plain, bytes, 8, 0) == 8);
    close(beside);
    close(other);
    close(fd);
  }
}

// Overwrites that are made durable one after the other: what each costs is exactly known.
static void costs(int fd) {
  CHECK(pwrite(fd, bytes, BLOCK, 0) == BLOCK && fsync(fd) == 0);
  struct sabfs_metrics before = look();
  for (int i = 0; i < ROUNDS; i++) CHECK(pwrite(fd, bytes, BLOCK, 0) == BLOCK && fsync(fd) == 0);
  struct sabfs_metrics after = look();
  CHECK(after.fsyncs == before.fsyncs + ROUNDS);
  CHECK(after.commit_latency.count == after.commits && after.fsync_latency.count == after.fsyncs);
  CHECK(after.failure == 0 && after.last_failure == 0 && after.commits_failed == 0);
  if (after.durability == SABFS_MEMORY) {
    CHECK(after.commits == 0 && after.journal_written_bytes == 0 && after.journal_flushes == 0 && !after.keeper_up);
    return;
  }
  CHECK(after.keeper_up == 1 && after.room_blocks > 0 && after.room_short == 0);
  // A record has a header, the block of data and the inode's.
  CHECK(after.commits == before.commits + ROUNDS);
  CHECK(after.journal_written_bytes == before.journal_written_bytes + ROUNDS * 3 * BLOCK);
  CHECK(after.image_written_bytes == before.image_written_bytes && after.checkpoints == before.checkpoints);
  if (after.durability == SABFS_STRICT) {
    CHECK(after.journal_flushes == before.journal_flushes + ROUNDS && after.image_flushes == before.image_flushes);
    CHECK(after.dirty_blocks == 0 && after.dirty_meta_blocks == 0);
  }
}

#ifndef NOTHREADS
static void *overwrite(void *name) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", mount, (const char *)name);
  int fd = open(path, O_RDWR | O_CREAT, 0666);
  CHECK(fd >= 0);
  for (int i = 0; i < ROUNDS; i++) CHECK(pwrite(fd, bytes, BLOCK, 0) == BLOCK && fsync(fd) == 0);
  close(fd);
  return NULL;
}

static void together(void) {
  static const char *const names[THREADS] = {"t0", "t1", "t2", "t3"};
  pthread_t threads[THREADS];
  struct sabfs_metrics before = look();
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, overwrite, (void *)names[i]) == 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  struct sabfs_metrics after = look();
  CHECK(after.fsyncs == before.fsyncs + THREADS * ROUNDS);
  CHECK(is_safe(&after, 0));
}
#endif

int main(int argc, char **argv) {
  mount = argc > 1 ? argv[1] : "/opfs";
  struct sabfs_metrics other;
  CHECK(sabfs_metrics(NULL, &other) == 0);
  CHECK(sabfs_metrics("/", &other) == -EINVAL);
  CHECK(sabfs_metrics(in("nothing"), &other) == -ENOENT);
  CHECK(sabfs_metrics(mount, NULL) == -EFAULT);
  int fd = open(in("file"), O_RDWR | O_CREAT, 0666);
  CHECK(fd >= 0);
  calls(fd);
  synchronous(fd);
  costs(fd);
#ifndef NOTHREADS
  together();
#endif
  close(fd);
  printf("%s: %d failures\n", mount, failures);
  return failures != 0;
}
