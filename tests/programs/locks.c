// What fcntl() and flock() answer, step by step, for a comparison with Linux: this program runs on a volume and, compiled
// for the host, on the host's file system, and both have to print the same.
//
//   locks FOLDER
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Emscripten's headers have them only with some macros set. */
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

static char file[200], other[200];

/* Numbers of errors differ, words do not. */
static const char *word(int result) {
  if (result >= 0) return "ok";
  switch (errno) {
    case EACCES: case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case EDEADLK: return "EDEADLK";
    case EINTR: return "EINTR";
    case EINVAL: return "EINVAL";
    case ENOLCK: return "ENOLCK";
    case EOVERFLOW: return "EOVERFLOW";
    default: return strerror(errno);
  }
}

static struct flock range(int type, int whence, off_t start, off_t length) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = type;
  lock.l_whence = whence;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

static void set(const char *what, int fd, int command, int type, int whence, off_t start, off_t length) {
  struct flock lock = range(type, whence, start, length);
  printf("%s: %s\n", what, word(fcntl(fd, command, &lock)));
}

/* What would be in the way of a lock of the open file. */
static void get(const char *what, int fd, int command, int type, off_t start, off_t length) {
  struct flock lock = range(type, SEEK_SET, start, length);
  int result = fcntl(fd, command, &lock);
  if (result < 0) {
    printf("%s: %s\n", what, word(result));
  } else if (lock.l_type == F_UNLCK) {
    printf("%s: nothing\n", what);
  } else {
    printf("%s: %s %lld+%lld whence %d of %s\n", what, lock.l_type == F_WRLCK ? "write" : "read", (long long)lock.l_start,
           (long long)lock.l_len, lock.l_whence, lock.l_pid == -1 ? "an open file" : "a process");
  }
}

static int opened(const char *path, int flags) {
  int fd = open(path, flags, 0644);
  if (fd < 0) printf("cannot open %s: %s\n", path, strerror(errno));
  return fd;
}

static void processes(void) {
  int a = opened(file, O_RDWR), b = opened(file, O_RDWR);
  set("a process locks", a, F_SETLK, F_WRLCK, SEEK_SET, 10, 20);
  set("its own locks are not in its way", b, F_SETLK, F_WRLCK, SEEK_SET, 0, 100);
  get("nor does it see them", b, F_GETLK, F_WRLCK, 0, 0);
  get("an open file does", b, F_OFD_GETLK, F_RDLCK, 0, 0);
  set("and cannot lock", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 50, 1);
  set("a part is unlocked", a, F_SETLK, F_UNLCK, SEEK_SET, 40, 20);
  get("which makes two", b, F_OFD_GETLK, F_WRLCK, 0, 0);
  get("and a gap", b, F_OFD_GETLK, F_WRLCK, 40, 20);
  get("and what is behind it", b, F_OFD_GETLK, F_WRLCK, 59, 10);
  set("a part is shared", a, F_SETLK, F_RDLCK, SEEK_SET, 0, 5);
  set("by an open file, too", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 5);
  set("then it stays shared", a, F_SETLK, F_WRLCK, SEEK_SET, 0, 5);
  int c = opened(file, O_RDONLY);
  close(c);
  get("closing any descriptor unlocks", b, F_OFD_GETLK, F_WRLCK, 0, 0);
  close(a);
  close(b);
}

static void places(void) {
  int a = opened(file, O_RDWR), b = opened(file, O_RDWR);
  ftruncate(a, 100);
  lseek(a, 30, SEEK_SET);
  set("from the position", a, F_SETLK, F_WRLCK, SEEK_CUR, 5, 5);
  get("that is", b, F_OFD_GETLK, F_WRLCK, 0, 0);
  set("all is unlocked", a, F_SETLK, F_UNLCK, SEEK_SET, 0, 0);
  set("from the end", a, F_SETLK, F_RDLCK, SEEK_END, -10, 0);
  get("that is", b, F_OFD_GETLK, F_WRLCK, 0, 0);
  set("all is unlocked", a, F_SETLK, F_UNLCK, SEEK_SET, 0, 0);
  set("backwards", a, F_SETLK, F_WRLCK, SEEK_SET, 50, -20);
  get("that is", b, F_OFD_GETLK, F_WRLCK, 0, 0);
  set("before the start", a, F_SETLK, F_WRLCK, SEEK_SET, 5, -6);
  set("at a negative place", a, F_SETLK, F_WRLCK, SEEK_SET, -1, 1);
  set("up to the last byte", a, F_SETLK, F_WRLCK, SEEK_SET, 0x7ffffffffffffff0, 0);
  set("behind it", a, F_SETLK, F_WRLCK, SEEK_SET, 0x7ffffffffffffff0, 0x100);
  set("whence unknown", a, F_SETLK, F_WRLCK, 7, 0, 1);
  set("type unknown", a, F_SETLK, 9, SEEK_SET, 0, 1);
  get("looking for nothing", a, F_GETLK, F_UNLCK, 0, 1);
  close(a);
  close(b);
  int reading = opened(file, O_RDONLY), writing = opened(file, O_WRONLY);
  set("a write lock needs writing", reading, F_SETLK, F_WRLCK, SEEK_SET, 0, 1);
  set("a read lock reading", writing, F_SETLK, F_RDLCK, SEEK_SET, 0, 1);
  set("unlocking neither", writing, F_SETLK, F_UNLCK, SEEK_SET, 0, 1);
  struct flock owned = range(F_RDLCK, SEEK_SET, 0, 1);
  owned.l_pid = 1;
  printf("an open file's lock with a process: %s\n", word(fcntl(reading, F_OFD_SETLK, &owned)));
  close(reading);
  close(writing);
  set("a closed descriptor", reading, F_SETLK, F_RDLCK, SEEK_SET, 0, 1);
}

static void open_files(void) {
  int a = opened(file, O_RDWR), b = opened(file, O_RDWR), more = dup(a);
  set("an open file locks", a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0);
  set("its other descriptor may too", more, F_OFD_SETLK, F_WRLCK, SEEK_SET, 5, 5);
  set("another open file may not", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 5, 5);
  set("nor may the process", b, F_SETLK, F_RDLCK, SEEK_SET, 5, 5);
  get("it sees whose it is", b, F_GETLK, F_RDLCK, 5, 5);
  int c = opened(file, O_RDONLY);
  close(c);
  set("closing something else unlocks nothing", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 5, 5);
  close(a);
  set("nor does closing one of two", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 5, 5);
  int place = opened(other, O_RDWR | O_CREAT);
  dup2(place, more);
  set("putting something in the place of the last does", b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 5, 5);
  close(more);
  close(place);
  close(b);
}

static void whole(const char *what, int fd, int operation) { printf("%s: %s\n", what, word(flock(fd, operation))); }

static void whole_files(void) {
  int a = opened(file, O_RDONLY), b = opened(file, O_RDWR), more = dup(a);
  whole("flock, exclusive", a, LOCK_EX);
  whole("again", more, LOCK_EX | LOCK_NB);
  whole("by another open file", b, LOCK_SH | LOCK_NB);
  set("fcntl does not mind", b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0);
  whole("shared now", a, LOCK_SH);
  whole("then others may share it", b, LOCK_SH | LOCK_NB);
  whole("and nobody has it alone", a, LOCK_EX | LOCK_NB);
  whole("which costs the one who asked", b, LOCK_EX | LOCK_NB);
  whole("unlocked", b, LOCK_UN);
  whole("twice", b, LOCK_UN);
  whole("locked again", a, LOCK_EX);
  close(a);
  whole("one descriptor is left", b, LOCK_EX | LOCK_NB);
  close(more);
  whole("none is", b, LOCK_EX | LOCK_NB);
  whole("neither one nor the other", b, LOCK_SH | LOCK_EX);
  whole("nothing", b, 0);
  close(b);
  whole("a closed descriptor", b, LOCK_SH);
}

static void directories(const char *folder) {
  int a = opened(folder, O_RDONLY | O_DIRECTORY), b = opened(folder, O_RDONLY | O_DIRECTORY);
  whole("flock of a directory", a, LOCK_EX);
  whole("by another", b, LOCK_EX | LOCK_NB);
  set("a read lock", a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 0);
  set("a write lock", a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0);
  close(a);
  whole("when it is closed", b, LOCK_EX | LOCK_NB);
  close(b);
}

#ifndef NOTHREADS
static atomic_int turn;

static void *hold(void *argument) {
  int fd = *(int *)argument;
  while (turn != 1) usleep(1000);
  usleep(60000);
  turn = 2;
  flock(fd, LOCK_UN);
  while (turn != 3) usleep(1000);
  usleep(60000);
  turn = 4;
  struct flock lock = range(F_UNLCK, SEEK_SET, 0, 0);
  fcntl(fd, F_OFD_SETLK, &lock);
  return NULL;
}

static void waiting(void) {
  int a = opened(file, O_RDWR), b = opened(file, O_RDWR);
  pthread_t thread;
  whole("a thread's lock", a, LOCK_EX);
  set("and another", a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0);
  pthread_create(&thread, NULL, hold, &a);
  turn = 1;
  whole("flock waits", b, LOCK_EX);
  printf("until the thread unlocks: %s\n", turn == 2 ? "yes" : "no");
  turn = 3;
  set("fcntl waits", b, F_OFD_SETLKW, F_WRLCK, SEEK_SET, 0, 0);
  printf("until the thread unlocks: %s\n", turn == 4 ? "yes" : "no");
  pthread_join(thread, NULL);
  close(a);
  close(b);
}

static int held, closing;

static void *close_meanwhile(void *unused) {
  usleep(100000);
  close(closing);
  usleep(60000);
  struct flock lock = range(F_UNLCK, SEEK_SET, 0, 0);
  fcntl(held, F_OFD_SETLK, &lock);
  return unused;
}

/* A descriptor is closed by a thread while another one waits for a lock by it: nothing may stay locked. */
static void closed_meanwhile(const char *what, int command) {
  int third = opened(file, O_RDWR);
  pthread_t thread;
  held = opened(file, O_RDWR);
  closing = opened(file, O_RDWR);
  set(what, held, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0);
  pthread_create(&thread, NULL, close_meanwhile, NULL);
  set("its descriptor is closed while it waits", closing, command, F_WRLCK, SEEK_SET, 0, 0);
  pthread_join(thread, NULL);
  get("what is left of it", third, F_OFD_GETLK, F_WRLCK, 0, 0);
  close(held);
  close(third);
}
#endif

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  snprintf(file, sizeof file, "%s/locked", argv[1]);
  snprintf(other, sizeof other, "%s/other", argv[1]);
  close(opened(file, O_RDWR | O_CREAT | O_TRUNC));
  processes();
  places();
  open_files();
  whole_files();
  directories(argv[1]);
#ifndef NOTHREADS
  waiting();
  closed_meanwhile("an open file is to wait", F_OFD_SETLKW);
  closed_meanwhile("a process is to wait", F_SETLKW);
#endif
  unlink(file);
  unlink(other);
  return 0;
}
