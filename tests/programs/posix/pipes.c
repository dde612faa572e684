// Pipes: how much they hold, their ends, splice(), tee(), vmsplice(), poll(); with threads what waits.
#include "posix.h"
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>
#ifndef NOTHREADS
#include <pthread.h>
#endif

static char bytes[200000];

static void nonblocking(int pipes[2]) {
  if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC)) say("pipe2: %s", error_word(errno));
}

static void closed(int pipes[2]) {
  close(pipes[0]);
  close(pipes[1]);
}

static int available(int fd) {
  int number = -1;
  ioctl(fd, FIONREAD, &number);
  return number;
}

static void state(const char *what, int pipes[2]) {
  struct pollfd polls[2] = {{pipes[0], POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM, 0}, {pipes[1], POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0}};
  int ready = poll(polls, 2, 0);
  say("  %s: %d bytes, %d ready, %x %x", what, available(pipes[0]), ready, polls[0].revents, polls[1].revents);
}

// What fits into a pipe depends on the sizes of the writes: pages are shared by small ones.
static void room(void) {
  static const size_t sizes[] = {1, 7, 100, 1000, 4095, 4096, 4097, 5000, 8192, 10000, 65535, 65536, 65537, 100000};
  for (size_t first = 0; first < sizeof sizes / sizeof *sizes; first++) {
    for (size_t then = 0; then < sizeof sizes / sizeof *sizes; then++) {
      int pipes[2];
      nonblocking(pipes);
      char what[80];
      snprintf(what, sizeof what, "write %zu", sizes[first]);
      errno = 0;
      if (then == 0) answered(what, write(pipes[1], bytes, sizes[first]));
      else if (write(pipes[1], bytes, sizes[first]) < 0) say("write: %s", error_word(errno));
      int writes = 0;
      long long sum = 0;
      ssize_t put;
      while ((put = write(pipes[1], bytes, sizes[then])) > 0) sum += put, writes++;
      say("%zu and then %zu: %d times, %lld bytes, %s", sizes[first], sizes[then], writes, sum, error_word(errno));
      state("full", pipes);
      say("  read %lld", (long long)read(pipes[0], bytes, sizes[then]));
      state("read", pipes);
      put = write(pipes[1], bytes, sizes[first]);
      say("  write %lld", (long long)put);
      sum = 0;
      while ((put = read(pipes[0], bytes, 3001)) > 0) sum += put;
      say("  %lld left, %s", sum, error_word(errno));
      closed(pipes);
    }
  }
}

static void ends(void) {
  int pipes[2];
  char text[100];
  struct stat st;
  nonblocking(pipes);
  state("new", pipes);
  CALL(fcntl(pipes[0], F_GETFD));
  CALL(fcntl(pipes[1], F_GETFL) & O_NONBLOCK ? 1 : 0);
  CALL(fcntl(pipes[0], F_GETFL) & 3);
  CALL(fcntl(pipes[1], F_GETFL) & 3);
  CALL(fstat(pipes[0], &st));
  say("  %o, %lld bytes, %d names", st.st_mode, (long long)st.st_size, (int)st.st_nlink);
  CALL(read(pipes[0], text, 10));
  CALL(read(pipes[0], text, 0));
  CALL(write(pipes[1], text, 0));
  CALL(write(pipes[0], text, 1));
  CALL(read(pipes[1], text, 1));
  CALL(lseek(pipes[0], 0, SEEK_SET));
  CALL(lseek(pipes[1], 0, SEEK_CUR));
  CALL(pread(pipes[0], text, 1, 0));
  CALL(pwrite(pipes[1], text, 1, 0));
  CALL(ftruncate(pipes[1], 0));
  CALL(fallocate(pipes[1], 0, 0, 10));
  CALL(fsync(pipes[1]));
  CALL(fchdir(pipes[0]));
  CALL(write(pipes[1], "0123456789", 10));
  struct iovec out[3] = {{"abc", 3}, {"", 0}, {"defg", 4}};
  CALL(writev(pipes[1], out, 3));
  state("written", pipes);
  struct iovec in[3] = {{text, 4}, {text + 4, 8}, {text + 12, 20}};
  memset(text, 0, sizeof text);
  CALL(readv(pipes[0], in, 3));
  say("  %s", text);
  int copy = dup(pipes[1]);
  CALL(close(pipes[1]));
  CALL(read(pipes[0], text, 1));
  CALL(write(copy, "last", 4));
  CALL(dup2(pipes[0], copy) == copy);
  say("  replaced: %d", available(pipes[0]));
  CALL(read(pipes[0], text, 10));
  CALL(read(pipes[0], text, 10));
  struct pollfd one = {pipes[0], POLLIN, 0};
  CALL(poll(&one, 1, -1));
  say("  %x", one.revents);
  close(copy);
  close(pipes[0]);
  signal(SIGPIPE, SIG_IGN);
  nonblocking(pipes);
  CALL(write(pipes[1], "abc", 3));
  CALL(close(pipes[0]));
  CALL(write(pipes[1], "abc", 3));
  CALL(write(pipes[1], "", 0));
  one = (struct pollfd){pipes[1], POLLOUT, 0};
  CALL(poll(&one, 1, -1));
  say("  %x", one.revents);
  close(pipes[1]);
  WENT(pipe2(pipes, O_APPEND));
  WENT(pipe2(pipes, 1));
}

static void sizes(void) {
  static const int wanted[] = {0, 1, 4096, 4097, 8192, 65536, 100000, 1048576, -1};
  for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
    int pipes[2];
    nonblocking(pipes);
    char what[40];
    CALL(fcntl(pipes[0], F_GETPIPE_SZ));
    if (write(pipes[1], bytes, 10000) != 10000) say("write: %s", error_word(errno));
    snprintf(what, sizeof what, "F_SETPIPE_SZ %d", wanted[w]);
    errno = 0;
    answered(what, fcntl(pipes[1], F_SETPIPE_SZ, wanted[w]));
    CALL(fcntl(pipes[0], F_GETPIPE_SZ));
    CALL(write(pipes[1], bytes, 100000));
    state("full", pipes);
    closed(pipes);
  }
}

static void splices(void) {
  int file = make_file("file", 100000), target = open("target", O_RDWR | O_CREAT, 0644), append = open("target", O_WRONLY | O_APPEND), folder = open(".", O_RDONLY);
  static const long long offsets[] = {-2, 0, 100, 4096, 99990, 100000, 200000};
  static const size_t counts[] = {0, 1, 4096, 5000, 65536, 70000};
  for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++) {
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
      int pipes[2], second[2];
      nonblocking(pipes);
      nonblocking(second);
      char what[80];
      off_t at = (off_t)offsets[o];
      off_t *from = offsets[o] == -2 ? NULL : &at;
      if (lseek(file, 10, SEEK_SET) != 10 || ftruncate(target, 0)) return;
      snprintf(what, sizeof what, "splice %lld+%zu", offsets[o], counts[c]);
      errno = 0;
      answered(what, splice(file, from, pipes[1], NULL, counts[c], SPLICE_F_NONBLOCK));
      say("  now at %lld, %lld", (long long)at, (long long)lseek(file, 0, SEEK_CUR));
      state("spliced", pipes);
      answered("tee", tee(pipes[0], second[1], 6000, SPLICE_F_NONBLOCK));
      state("source", pipes);
      state("copy", second);
      answered("between pipes", splice(pipes[0], NULL, second[1], NULL, 3000, SPLICE_F_NONBLOCK));
      state("source", pipes);
      state("target", second);
      off_t put = 50;
      answered("into a file", splice(second[0], NULL, target, &put, 7000, SPLICE_F_NONBLOCK));
      say("  now at %lld", (long long)put);
      answered("at the position", splice(second[0], NULL, target, NULL, 100000, SPLICE_F_NONBLOCK));
      say("  now at %lld", (long long)lseek(target, 0, SEEK_CUR));
      lseek(target, 0, SEEK_SET);
      show_file("target");
      closed(pipes);
      closed(second);
    }
  }
  int pipes[2], second[2];
  nonblocking(pipes);
  nonblocking(second);
  off_t at = 0;
  CALL(splice(file, NULL, target, NULL, 10, 0));
  CALL(splice(pipes[0], &at, target, NULL, 10, 0));
  CALL(splice(file, NULL, pipes[1], &at, 10, 0));
  CALL(splice(folder, NULL, pipes[1], NULL, 10, 0));
  CALL(splice(pipes[0], NULL, append, NULL, 10, 0));
  CALL(splice(pipes[0], NULL, pipes[1], NULL, 10, 0));
  CALL(splice(pipes[1], NULL, target, NULL, 10, 0));
  CALL(splice(file, NULL, pipes[0], NULL, 10, 0));
  CALL(splice(append, NULL, pipes[1], NULL, 10, 0));
  CALL(splice(999, NULL, pipes[1], NULL, 10, 0));
  CALL(splice(file, NULL, 999, NULL, 10, 0));
  CALL(splice(pipes[0], NULL, target, NULL, 10, 0));
  CALL(splice(file, NULL, pipes[1], NULL, 10, 0x1000));
  CALL(splice(file, NULL, pipes[1], NULL, 0, 0x1000));
  at = -1;
  CALL(splice(file, &at, pipes[1], NULL, 10, 0));
  CALL(tee(pipes[0], pipes[1], 10, 0));
  CALL(tee(pipes[0], second[1], 10, 0));
  CALL(tee(file, second[1], 10, 0));
  CALL(tee(pipes[0], target, 10, 0));
  CALL(tee(pipes[1], second[1], 10, 0));
  CALL(tee(999, second[1], 10, 0));
  CALL(tee(pipes[0], second[1], 10, 0x1000));
  struct iovec out[2] = {{"abcdef", 6}, {"ghi", 3}};
  char text[20] = "";
  struct iovec in[2] = {{text, 4}, {text + 4, 10}};
  CALL(vmsplice(pipes[1], out, 2, 0));
  state("memory", pipes);
  CALL(vmsplice(pipes[0], in, 2, 0));
  say("  %s", text);
  CALL(vmsplice(file, out, 2, 0));
  CALL(vmsplice(999, out, 2, 0));
  CALL(vmsplice(pipes[1], out, 0, 0));
  CALL(vmsplice(pipes[1], out, 1, 0x1000));
  close(second[0]);
  CALL(write(pipes[1], "abc", 3));
  CALL(splice(pipes[0], NULL, second[1], NULL, 3, 0));
  CALL(tee(pipes[0], second[1], 3, 0));
  CALL(splice(file, NULL, second[1], NULL, 3, 0));
  CALL(vmsplice(second[1], out, 1, 0));
  closed(pipes);
  close(second[1]);
}

static void polls(void) {
  int pipes[2], file = open("file", O_RDONLY), folder = open(".", O_RDONLY), writer = open("file", O_WRONLY), path = open("file", O_PATH);
  nonblocking(pipes);
  static const short events[] = {0, POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM};
  const int fds[] = {file, folder, writer, path, pipes[0], pipes[1], 999, -1};
  for (int filled = 0; filled < 2; filled++) {
    for (size_t f = 0; f < sizeof fds / sizeof *fds; f++) {
      for (size_t e = 0; e < sizeof events / sizeof *events; e++) {
        struct pollfd one = {fds[f], events[e], 77};
        char what[60];
        snprintf(what, sizeof what, "poll %zu for %x, %d", f, events[e], filled);
        errno = 0;
        answered(what, poll(&one, 1, filled ? 0 : 1));
        say("  %x", one.revents);
      }
      // Of what is not open to most calls select() says different things.
      if (fds[f] == path) continue;
      fd_set reads, writes, others;
      FD_ZERO(&reads);
      FD_ZERO(&writes);
      FD_ZERO(&others);
      if (fds[f] >= 0) {
        FD_SET(fds[f], &reads);
        FD_SET(fds[f], &writes);
        FD_SET(fds[f], &others);
      }
      struct timeval zero = {0, 1000};
      char what[60];
      snprintf(what, sizeof what, "select %zu, %d", f, filled);
      errno = 0;
      int got = select(1000, &reads, &writes, &others, &zero);
      answered(what, got);
      if (got >= 0 && fds[f] >= 0) say("  %d %d %d", FD_ISSET(fds[f], &reads) != 0, FD_ISSET(fds[f], &writes) != 0, FD_ISSET(fds[f], &others) != 0);
    }
    if (write(pipes[1], "x", 1) != 1) return;
  }
  struct timespec soon = {0, 1000000};
  struct pollfd two[2] = {{pipes[0], POLLIN, 0}, {file, POLLIN, 0}};
  CALL(ppoll(two, 2, NULL, NULL));
  CALL(ppoll(two, 2, &soon, NULL));
  CALL(poll(NULL, 0, 1));
  CALL(poll(two, 0, 0));
  closed(pipes);
}

#ifndef NOTHREADS
enum { WRITERS = 4, ROUNDS = 200, MESSAGE = 3000 };

static void *write_later(void *fd) {
  usleep(30000);
  if (write(*(int *)fd, "late", 4) != 4) say("late write");
  return NULL;
}

static void *close_later(void *fd) {
  usleep(30000);
  close(*(int *)fd);
  return NULL;
}

static void *read_later(void *fd) {
  usleep(30000);
  static char buffer[70000];
  for (size_t sum = 0; sum < 100000;) {
    ssize_t got = read(*(int *)fd, buffer, sizeof buffer);
    if (got <= 0) break;
    sum += (size_t)got;
  }
  return NULL;
}

struct writer { int fd; char letter; };

static void *write_messages(void *given) {
  struct writer *writer = given;
  char message[MESSAGE];
  memset(message, writer->letter, sizeof message);
  for (int i = 0; i < ROUNDS; i++) {
    if (write(writer->fd, message, sizeof message) != MESSAGE) say("a short message");
  }
  return NULL;
}

static void waiting(void) {
  int pipes[2];
  pthread_t thread, writers[WRITERS];
  char text[MESSAGE];
  WENT(pipe(pipes));
  pthread_create(&thread, NULL, write_later, &pipes[1]);
  CALL(read(pipes[0], text, sizeof text));
  pthread_join(thread, NULL);
  pthread_create(&thread, NULL, write_later, &pipes[1]);
  struct pollfd one = {pipes[0], POLLIN, 0};
  CALL(poll(&one, 1, -1));
  say("  %x", one.revents);
  pthread_join(thread, NULL);
  CALL(read(pipes[0], text, sizeof text));
  pthread_create(&thread, NULL, write_later, &pipes[1]);
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(pipes[0], &reads);
  struct timeval long_time = {60, 0};
  CALL(select(pipes[0] + 1, &reads, NULL, NULL, &long_time));
  pthread_join(thread, NULL);
  int second[2];
  WENT(pipe(second));
  CALL(splice(pipes[0], NULL, second[1], NULL, 4, 0));
  pthread_create(&thread, NULL, write_later, &pipes[1]);
  CALL(tee(pipes[0], second[1], 100, 0));
  pthread_join(thread, NULL);
  CALL(read(second[0], text, sizeof text));
  CALL(read(pipes[0], text, sizeof text));
  closed(second);
  pthread_create(&thread, NULL, read_later, &pipes[0]);
  CALL(write(pipes[1], bytes, 100000));
  pthread_join(thread, NULL);
  // Who has the other end open as the last one is waited for no longer.
  pthread_create(&thread, NULL, close_later, &pipes[1]);
  CALL(read(pipes[0], text, sizeof text));
  pthread_join(thread, NULL);
  close(pipes[0]);
  WENT(pipe(pipes));
  pthread_create(&thread, NULL, close_later, &pipes[0]);
  CALL(write(pipes[1], bytes, 65536));
  CALL(write(pipes[1], bytes, 1));
  pthread_join(thread, NULL);
  close(pipes[1]);
  // Messages of up to PIPE_BUF bytes are never mixed.
  WENT(pipe(pipes));
  struct writer given[WRITERS];
  for (int i = 0; i < WRITERS; i++) {
    given[i] = (struct writer){pipes[1], (char)('a' + i)};
    pthread_create(&writers[i], NULL, write_messages, &given[i]);
  }
  int mixed = 0, count[WRITERS] = {0};
  for (int i = 0; i < WRITERS * ROUNDS; i++) {
    for (size_t got = 0; got < MESSAGE;) {
      ssize_t more = read(pipes[0], text + got, MESSAGE - got);
      if (more <= 0) break;
      got += (size_t)more;
    }
    for (size_t b = 1; b < MESSAGE; b++) mixed += text[b] != text[0];
    if (text[0] >= 'a' && text[0] < 'a' + WRITERS) count[text[0] - 'a']++;
  }
  for (int i = 0; i < WRITERS; i++) {
    pthread_join(writers[i], NULL);
    say("messages of %c: %d", 'a' + i, count[i]);
  }
  say("mixed: %d, left: %d", mixed, available(pipes[0]));
  closed(pipes);
}

static void *append_lines(void *given) {
  struct writer *writer = given;
  char line[101];
  memset(line, writer->letter, 100);
  line[100] = '\n';
  int fd = open("lines", O_WRONLY | O_APPEND);
  for (int i = 0; i < 100; i++) {
    struct iovec parts[2] = {{line, 50}, {line + 50, 51}};
    ssize_t put = i % 2 ? write(fd, line, 101) : writev(fd, parts, 2);
    if (put != 101) say("a short line");
  }
  close(fd);
  return NULL;
}

static void appending(void) {
  pthread_t threads[WRITERS];
  struct writer given[WRITERS];
  int fd = open("lines", O_RDWR | O_CREAT | O_TRUNC, 0644), broken = 0, lines = 0;
  for (int i = 0; i < WRITERS; i++) {
    given[i] = (struct writer){-1, (char)('a' + i)};
    pthread_create(&threads[i], NULL, append_lines, &given[i]);
  }
  for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
  char line[101];
  while (read(fd, line, 101) == 101) {
    lines++;
    for (int i = 1; i < 100; i++) broken += line[i] != line[0];
    broken += line[100] != '\n';
  }
  say("lines: %d, broken: %d", lines, broken);
  close(fd);
}
#endif

void pipes_part(void) {
  memset(bytes, 'p', sizeof bytes);
  room();
  ends();
  sizes();
  splices();
  polls();
#ifndef NOTHREADS
  waiting();
  appending();
#endif
}
