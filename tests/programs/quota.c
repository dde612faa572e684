// Writes files of 1 MiB and syncs each until the origin's quota is used up, and looks what is left of them.
//
//   quota FOLDER delete         fills; deletes half of the files, then as much has to fit again, time after time
//   quota FOLDER wait           fills; says so and tries until a file fits, which it does when the quota is raised
//   quota FOLDER over           syncs three files, then one that is too large; deletes that one, then it works again
//   quota FOLDER hang           as over, but stays with the file that cannot be synced
//   quota FOLDER find N [only]  looks whether the first N files are there, only they, and whether there is room again
#include <time.h>

#include "operations.h"

enum { SIZE = 1 << 20, MOST = 200 };
static const char *root;
static unsigned char piece[SIZE], seen[SIZE];

static void pattern(int file) {
  for (int i = 0; i < SIZE; i++) piece[i] = (unsigned char)(file + i / 4096 + i * 31);
}

// Writes and syncs one file; 0 or the errno. The test reads the line.
static int store(int file) {
  PATH(path, "%s/%d", root, file);
  pattern(file);
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0666), error = 0;
  const char *doing = "open";
  if (fd < 0) return errno;
  for (int done = 0; done < SIZE && !error;) {
    ssize_t count = write(fd, piece + done, (size_t)(SIZE - done));
    doing = "write";
    if (count < 0) error = errno;
    else done += (int)count;
  }
  if (!error) {
    doing = "fsync";
    if (fsync(fd)) error = errno;
  }
  close(fd);
  if (error) printf("full: %s of file %d, %s\n", doing, file, error == EDQUOT ? "EDQUOT" : strerror(error));
  return error;
}

static int is_whole(int file) {
  PATH(path, "%s/%d", root, file);
  pattern(file);
  int fd = open(path, O_RDONLY), done = 0;
  if (fd < 0) return 0;
  for (ssize_t count; done < SIZE && (count = read(fd, seen + done, (size_t)(SIZE - done))) > 0;) done += (int)count;
  close(fd);
  return done == SIZE && !memcmp(piece, seen, SIZE);
}

// How long it takes until the folder can be synced, or -1.
static int sync_in(int limit_ms) {
  struct timespec start, now, pause = {0, 20000000};
  clock_gettime(CLOCK_MONOTONIC, &start);
  int fd = open(root, O_RDONLY), error;
  for (int ms = 0;; nanosleep(&pause, NULL)) {
    error = fsync(fd) ? errno : 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ms = (int)((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000);
    if (!error || ms > limit_ms) {
      close(fd);
      return error ? -1 : ms;
    }
    CHECK(error == EDQUOT || error == ENOSPC);
    errno = 0;
  }
}

// Fills until the quota is used up; the number of files that are synced. The one that found no room is removed.
static int fill(void) {
  for (int file = 0; file < MOST; file++) {
    int error = store(file);
    if (!error) continue;
    CHECK(error == EDQUOT || error == ENOSPC);
    errno = 0;
    PATH(path, "%s/%d", root, file);
    CHECK(unlink(path) == 0 || errno == ENOENT);
    errno = 0;
    CHECK(sync_in(5000) >= 0);
    return file;
  }
  CHECK(!"the quota is never used up");
  return 0;
}

// Writes more than there is room for before anything tells so: it is in the store, but cannot be synced.
static void overfill(void) {
  PATH(path, "%s/large", root);
  for (int file = 0; file < 3; file++) CHECK(store(file) == 0);
  int fd = open(path, O_CREAT | O_WRONLY, 0666);
  CHECK(fd >= 0);
  pattern(0);
  for (int i = 0; i < 24; i++) CHECK(write(fd, piece, SIZE) == SIZE);
  for (int i = 0; i < 3; i++) {
    CHECK(fsync(fd) == -1 && (errno == EDQUOT || errno == ENOSPC));
    printf("fsync: %s\n", errno == EDQUOT ? "EDQUOT" : strerror(errno));
    errno = 0;
  }
  close(fd);
  // What is in the store can be read, the device may take it or not.
  for (int file = 0; file < 3; file++) CHECK(is_whole(file));
}

int main(int argc, char **argv) {
  root = argc > 1 ? argv[1] : "/opfs";
  const char *what = argc > 2 ? argv[2] : "delete";
  // The test reads along.
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!strcmp(what, "find")) {
    int least = argc > 3 ? atoi(argv[3]) : 0;
    CHECK(least > 0);
    for (int file = 0; file < least; file++) CHECK(is_whole(file));
    if (argc > 4) CHECK(count_names(root) == least);
    CHECK(store(least) == 0 && is_whole(least));
  } else if (!strcmp(what, "wait")) {
    int synced = fill(), error = EDQUOT;
    printf("waiting: %d files synced\n", synced);
    struct timespec pause = {0, 100000000};
    int tries = 0;
    for (; error && tries < 150; tries++) {
      nanosleep(&pause, NULL);
      error = store(synced);
      CHECK(!error || error == EDQUOT || error == ENOSPC);
      errno = 0;
    }
    printf("fits: after %d tries\n%d files kept\n", tries, synced + 1);
    CHECK(!error);
  } else if (!strcmp(what, "over") || !strcmp(what, "hang")) {
    overfill();
    printf("waiting: 3 files synced\n");
    if (!strcmp(what, "hang")) {
      CHECK(sync_in(15000) == -1);
    } else {
      PATH(path, "%s/large", root);
      CHECK(unlink(path) == 0 && sync_in(5000) >= 0);
      CHECK(store(3) == 0 && store(4) == 0);
      printf("5 files kept\n");
    }
  } else {
    int synced = fill(), kept = synced / 2;
    printf("deleting: %d files synced\n", synced);
    for (int round = 0; round < 3; round++) {
      for (int file = kept; file < synced; file++) {
        PATH(path, "%s/%d", root, file);
        CHECK(unlink(path) == 0);
      }
      // Without a sync in between: writing waits for what the deletions free.
      for (int file = kept; file < synced; file++) CHECK(store(file) == 0 && is_whole(file));
    }
    printf("%d files kept\n", synced);
  }
  printf("%s: %d failures\n", what, failures);
  return failures != 0;
}
