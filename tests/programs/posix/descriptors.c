// dup(), dup2(), dup3(), fcntl() of descriptors and of open files, readv() and the like.
#include "posix.h"
#include <limits.h>
#include <sys/uio.h>

static void duplicates(void) {
  static const int flags[] = {0, O_CLOEXEC, O_NONBLOCK, O_CLOEXEC | O_APPEND};
  int file = make_file("file", 100), other = make_file("other", 7);
  enum { FREE = 700, NONE = 701, FAR = 1 << 30 };
  const struct { const char *name; int fd; } from[] = {{"file", file}, {"other", other}, {"none", NONE}, {"-1", -1}, {"far", FAR}},
    to[] = {{"file", file}, {"free", FREE}, {"-1", -1}, {"far", FAR}};
  for (size_t a = 0; a < sizeof from / sizeof *from; a++) {
    for (size_t b = 0; b < sizeof to / sizeof *to; b++) {
      int second = from[a].fd == file && to[b].fd == file ? file : to[b].fd == file ? 702 : to[b].fd;
      if (second == 702) dup2(file, 702);
      char what[80];
      snprintf(what, sizeof what, "dup2 %s to %s", from[a].name, to[b].name);
      errno = 0;
      went(what, dup2(from[a].fd, second));
      for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
        snprintf(what, sizeof what, "dup3 %s to %s, %zu", from[a].name, to[b].name, f);
        errno = 0;
        int got = dup3(from[a].fd, second, flags[f]);
        went(what, got);
        if (got >= 0) say("  closes on exec: %d, at %lld", fcntl(got, F_GETFD), (long long)lseek(got, 0, SEEK_CUR));
      }
      if (second != file) close(second);
    }
  }
  WENT(dup(file));
  WENT(dup(NONE));
  WENT(dup(-1));
  WENT(close(NONE));
  WENT(close(-1));
  int shared = dup(file);
  CALL(lseek(shared, 10, SEEK_SET));
  CALL(lseek(file, 0, SEEK_CUR));
  CALL(fcntl(shared, F_SETFL, O_APPEND));
  CALL(fcntl(file, F_GETFL) & O_APPEND ? 1 : 0);
  CALL(fcntl(file, F_SETFL, 0));
  CALL(close(file));
  CALL(lseek(shared, 0, SEEK_CUR));
  CALL(lseek(file, 0, SEEK_CUR));
  // A file lives as long as a descriptor leads to it, also one that was put in another's place.
  CALL(unlink("file"));
  CALL(dup2(other, shared) == shared);
  CALL(lseek(shared, 0, SEEK_END));
}

static void controls(void) {
  int fd = make_file("controlled", 10), reader = open("controlled", O_RDONLY | O_CLOEXEC), writer = open("controlled", O_WRONLY | O_NONBLOCK | O_APPEND);
  int folder = open(".", O_RDONLY | O_DIRECTORY);
  const int fds[] = {fd, reader, writer, folder};
  for (size_t i = 0; i < 4; i++) {
    int got = fcntl(fds[i], F_GETFL);
    say("flags of %zu: access %d, APPEND %d, NONBLOCK %d, CREAT %d, TRUNC %d, CLOEXEC %d", i, got & 3, !!(got & O_APPEND), !!(got & O_NONBLOCK),
        !!(got & O_CREAT), !!(got & O_TRUNC), !!(got & O_CLOEXEC));
    say("closes on exec %zu: %d", i, fcntl(fds[i], F_GETFD));
    for (int set = 0; set < 3; set++) {
      char what[40];
      snprintf(what, sizeof what, "F_SETFD %zu, %d", i, set);
      went(what, fcntl(fds[i], F_SETFD, set));
      say("  %d", fcntl(fds[i], F_GETFD));
    }
    static const int sets[] = {0, O_APPEND, O_NONBLOCK, O_APPEND | O_NONBLOCK, O_RDWR, O_CREAT | O_TRUNC | O_APPEND, O_SYNC};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
      char what[40];
      snprintf(what, sizeof what, "F_SETFL %zu, %zu", i, s);
      went(what, fcntl(fds[i], F_SETFL, sets[s]));
      got = fcntl(fds[i], F_GETFL);
      say("  access %d, APPEND %d, NONBLOCK %d, SYNC %d", got & 3, !!(got & O_APPEND), !!(got & O_NONBLOCK), !!(got & (O_SYNC ^ O_DSYNC)));
    }
    WENT(fcntl(fds[i], F_SETFL, 0));
    int copy = fcntl(fds[i], F_DUPFD, 300);
    CALL(copy);
    CALL(fcntl(copy, F_GETFD));
    int second = fcntl(fds[i], F_DUPFD_CLOEXEC, 300);
    CALL(second);
    CALL(fcntl(second, F_GETFD));
    CALL(close(copy));
    CALL(fcntl(fds[i], F_DUPFD, 300));
    close(300);
    close(second);
    WENT(fcntl(fds[i], F_DUPFD, -1));
    WENT(fcntl(fds[i], F_DUPFD, 1 << 30));
    WENT(fcntl(fds[i], F_GETPIPE_SZ));
    WENT(fcntl(fds[i], 9999));
  }
  WENT(fcntl(999, F_GETFD));
  WENT(fcntl(999, F_SETFD, 1));
  WENT(fcntl(999, F_GETFL));
  WENT(fcntl(999, F_DUPFD, 0));
  WENT(fcntl(-1, F_GETFL));
  int closed = dup(fd);
  fcntl(closed, F_SETFD, FD_CLOEXEC);
  close(closed);
  int again = dup(fd);
  CALL(again == closed);
  CALL(fcntl(again, F_GETFD));
  int sync = open("controlled", O_WRONLY | O_SYNC), dsync = open("controlled", O_WRONLY | O_DSYNC);
  CALL((fcntl(sync, F_GETFL) & O_SYNC) == O_SYNC);
  CALL((fcntl(dsync, F_GETFL) & O_SYNC) == O_DSYNC);
  CALL(write(sync, "synchronous", 11));
  CALL(write(dsync, "s", 1));
}

static void vectors(void) {
  char a[16], b[16], c[16];
  memset(a, 'a', 16), memset(b, 'b', 16), memset(c, 'c', 16);
  int fd = make_file("vectors", 1000), reader = open("vectors", O_RDONLY), writer = open("vectors", O_WRONLY), folder = open(".", O_RDONLY), pipes[2];
  WENT(pipe(pipes));
  static const long long offsets[] = {0, 5, 990, 1000, 5000, -1, LLONG_MIN, LLONG_MAX - 100};
  static struct iovec many[2000];
  for (size_t i = 0; i < 2000; i++) many[i] = (struct iovec){a, i % 7 == 0};
  const struct { const char *name; struct iovec parts[3]; int count; } sets[] = {
    {"none", {{a, 1}}, 0}, {"one", {{a, 10}}, 1}, {"three", {{a, 3}, {b, 0}, {c, 16}}, 3}, {"empty", {{a, 0}, {b, 0}}, 2}, {"-1", {{a, 1}}, -1}};
  const struct { const char *name; int fd; } fds[] = {{"file", fd}, {"reader", reader}, {"writer", writer}, {"folder", folder}, {"none", 999}};
  for (size_t f = 0; f < sizeof fds / sizeof *fds; f++) {
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
      char what[80];
#define EACH(call) errno = 0, snprintf(what, sizeof what, "%s, %s: %s", fds[f].name, sets[s].name, #call), answered(what, (long long)(call))
      EACH(lseek(fds[f].fd, 20, SEEK_SET));
      EACH(readv(fds[f].fd, sets[s].parts, sets[s].count));
      EACH(writev(fds[f].fd, sets[s].parts, sets[s].count));
      EACH(lseek(fds[f].fd, 0, SEEK_CUR));
      for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++) {
        off_t at = (off_t)offsets[o];
        // The C library of programs takes -1 for something else there.
        EACH(preadv(fds[f].fd, sets[s].parts, sets[s].count, at));
        if (offsets[o] < 6000) EACH(pwritev(fds[f].fd, sets[s].parts, sets[s].count, at));
      }
    }
  }
  CALL(writev(fd, many, 1024));
  CALL(writev(fd, many, 1025));
  CALL(readv(fd, many, 1025));
  CALL(preadv(fd, many, 1024, 0));
  CALL(preadv(pipes[0], many, 1, 0));
  CALL(pwritev(pipes[1], many, 1, 0));
  CALL(read(folder, a, 10));
  CALL(pread(folder, a, 10, 0));
  CALL(write(folder, a, 10));
  CALL(write(reader, a, 10));
  CALL(read(writer, a, 10));
  CALL(lseek(fd, -1, SEEK_SET));
  CALL(lseek(fd, 0, 99));
  CALL(lseek(fd, -2000, SEEK_END));
  CALL(lseek(fd, 10, SEEK_END));
  show_file("vectors");
}

void descriptors_part(void) {
  duplicates();
  controls();
  vectors();
}
