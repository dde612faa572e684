// Every operation, from the main thread and from eight threads in one tree at once.
//
//   suite FOLDER          all of it
//   suite FOLDER full     until the volume is full, and back (small capacities only)
//   suite FOLDER leave    leaves files with times, modes, links behind
//   suite FOLDER stay     the same, and stays until it is killed
//   suite FOLDER find     looks whether they are there
#ifndef NOTHREADS
#include <pthread.h>
#endif

#include "operations.h"

static const char *root;

static void test_working_directory(void) {
  PATH(dir, "%s/work", root);
  PATH(sub, "%s/work/sub", root);
  char text[1024];
  CHECK(mkdir(dir, 0777) == 0 && mkdir(sub, 0777) == 0);
  CHECK(chdir(sub) == 0 && getcwd(text, sizeof text) && !strcmp(text, sub));
  CHECK(put_text("file", "here") == 0 && has_text("../sub/file", "here"));
  PATH(moved, "%s/moved", root);
  CHECK(rename(dir, moved) == 0);
  PATH(there, "%s/moved/sub", root);
  CHECK(getcwd(text, sizeof text) && !strcmp(text, there));
  CHECK(unlink("file") == 0 && chdir("/") == 0 && rmdir(there) == 0 && rmdir(moved) == 0);
}

// Fills the volume, sees the right error, and gets all of the space back.
static void test_full(void) {
  PATH(dir, "%s/full", root);
  CHECK(mkdir(dir, 0777) == 0);
  char *chunk = malloc(65536);
  memset(chunk, 'f', 65536);
  for (int round = 0; round < 3; round++) {
    int files = 0, error = 0;
    for (; files < 100000 && !error; files++) {
      PATH(path, "%s/%d", dir, files);
      if (put(path, chunk, files % 2 ? 65536 : 100) < 0) error = errno;
    }
    CHECK(error == ENOSPC);
    if (files < 10) CHECK(!"the volume was full at once");
    PATH(more, "%s/more", root);
    int made = mkdir(more, 0777);
    CHECK(made == 0 || errno == ENOSPC);
    rmdir(more);
    for (int i = 0; i < files; i++) {
      PATH(path, "%s/%d", dir, i);
      CHECK(unlink(path) == 0 || errno == ENOENT);
    }
    PATH(again, "%s/again", dir);
    CHECK(put_text(again, "there is room") == 0 && has_text(again, "there is room") && unlink(again) == 0);
  }
  CHECK(rmdir(dir) == 0);
  free(chunk);
}

static void leave(void) {
  PATH(dir, "%s/left", root);
  PATH(file, "%s/left/file", root);
  PATH(hard, "%s/left/hard", root);
  PATH(soft, "%s/left/soft", root);
  CHECK(mkdir(dir, 0711) == 0 && put_text(file, "left behind") == 0 && link(file, hard) == 0);
  CHECK(symlink("file", soft) == 0 && chmod(file, 0640) == 0 && chown(file, 3, 4) == 0);
  struct timespec times[2] = {{11, 12}, {1234567890, 987654321}};
  CHECK(utimensat(AT_FDCWD, file, times, 0) == 0);
  int fd = open(file, O_RDONLY);
  CHECK(fsync(fd) == 0);
  close(fd);
}

static void find(void) {
  PATH(dir, "%s/left", root);
  PATH(file, "%s/left/file", root);
  PATH(hard, "%s/left/hard", root);
  PATH(soft, "%s/left/soft", root);
  struct stat status, other;
  CHECK(stat(dir, &status) == 0 && (status.st_mode & 07777) == 0711);
  CHECK(has_text(file, "left behind") && has_text(soft, "left behind"));
  CHECK(stat(file, &status) == 0 && stat(hard, &other) == 0 && status.st_ino == other.st_ino);
  CHECK(status.st_nlink == 2 && (status.st_mode & 07777) == 0640 && status.st_uid == 3 && status.st_gid == 4);
  CHECK(status.st_mtim.tv_sec == 1234567890 && status.st_mtim.tv_nsec == 987654321);
  CHECK(lstat(soft, &status) == 0 && S_ISLNK(status.st_mode));
}

#ifndef NOTHREADS
enum { THREADS = 8, ROUNDS = 60 };
static _Atomic int created;

// All threads at the same names: of those who create a name one succeeds, what is written is whole, and directories
// move up and down while others walk through them.
static void contend(int thread) {
  for (int round = 0; round < ROUNDS; round++) {
    PATH(shared, "%s/shared/%d", root, round);
    int fd = open(shared, O_CREAT | O_EXCL | O_WRONLY, 0666);
    CHECK(fd >= 0 || errno == EEXIST);
    if (fd >= 0) {
      created++;
      close(fd);
    }
    PATH(mine, "%s/shared/of-%d", root, thread);
    PATH(common, "%s/shared/common", root);
    char text[32];
    snprintf(text, sizeof text, "%d of thread %d", round, thread);
    CHECK(put_text(mine, text) == 0 && rename(mine, common) == 0);
    fd = open(common, O_RDONLY);
    CHECK(fd >= 0);
    char seen[64] = "";
    CHECK(read(fd, seen, sizeof seen) > 0 && strstr(seen, " of thread "));
    close(fd);

    PATH(low, "%s/tree/a/b/x%d", root, thread % 4);
    PATH(high, "%s/tree/x%d", root, thread % 4);
    if (thread < 4) {
      CHECK(rename(low, high) == 0 && rename(high, low) == 0);
    } else {
      struct stat status;
      CHECK(stat(low, &status) == 0 || errno == ENOENT);
      CHECK(stat(high, &status) == 0 || errno == ENOENT);
    }
  }
}

static void *run(void *argument) {
  int thread = (int)(long)argument;
  PATH(own, "%s/thread-%d", root, thread);
  CHECK(mkdir(own, 0777) == 0);
  test_everything(own);
  CHECK(rmdir(own) == 0);
  contend(thread);
  return NULL;
}

static void test_threads(void) {
  PATH(shared, "%s/shared", root);
  PATH(tree, "%s/tree", root);
  PATH(a, "%s/tree/a", root);
  PATH(b, "%s/tree/a/b", root);
  CHECK(mkdir(shared, 0777) == 0 && mkdir(tree, 0777) == 0 && mkdir(a, 0777) == 0 && mkdir(b, 0777) == 0);
  for (int i = 0; i < 4; i++) {
    PATH(dir, "%s/tree/a/b/x%d", root, i);
    CHECK(mkdir(dir, 0777) == 0);
  }
  pthread_t threads[THREADS];
  for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(created == ROUNDS && count_names(shared) == ROUNDS + 1);
  remove_all(shared);
  remove_all(tree);
}
#endif

int main(int argc, char **argv) {
  root = argc > 1 ? argv[1] : "/opfs";
  const char *what = argc > 2 ? argv[2] : "";
  if (!strcmp(what, "full")) {
    test_full();
  } else if (!strcmp(what, "leave")) {
    leave();
  } else if (!strcmp(what, "stay")) {
    leave();
    printf("left: %d failures\n", failures);
    for (;;) sleep(1);
  } else if (!strcmp(what, "find")) {
    find();
  } else {
    PATH(main_folder, "%s/main", root);
    CHECK(mkdir(main_folder, 0777) == 0);
    test_everything(main_folder);
    CHECK(rmdir(main_folder) == 0);
    test_working_directory();
#ifndef NOTHREADS
    test_threads();
#endif
    CHECK(count_names(root) == 0);
  }
  printf("%s %s: %d failures\n", root, what, failures);
  return failures != 0;
}
