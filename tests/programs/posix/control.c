// ioctl(), sync() and the like, locks of memory.
#include "posix.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#ifndef FICLONE
#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d
#endif
#ifdef __EMSCRIPTEN__
int syncfs(int);
#endif

void control_part(void) {
  int fd = make_file("file", 1000), reader = open("file", O_RDONLY), writer = open("other", O_WRONLY | O_CREAT, 0644), folder = open(".", O_RDONLY), pipes[2];
  int append = open("file", O_RDWR | O_APPEND);
  WENT(pipe(pipes));
  if (write(pipes[1], "12345", 5) != 5) return;
  const struct { const char *name; int fd; } fds[] = {{"file", fd}, {"reader", reader}, {"writer", writer}, {"folder", folder}, {"pipe's reader", pipes[0]},
                                                      {"pipe's writer", pipes[1]}, {"none", 999}, {"-1", -1}, {"append", append}};
  struct termios term;
  struct winsize size;
  struct { long long source; unsigned long long offset, length, target; } range = {fd, 0, 0, 0};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
    char what[80];
    int number = 0, on = 1, off = 0;
#define EACH(call) errno = 0, snprintf(what, sizeof what, "%s: %s", fds[i].name, #call), answered(what, (long long)(call))
    EACH(ioctl(fds[i].fd, TCGETS, &term));
    EACH(ioctl(fds[i].fd, TCSETS, &term));
    EACH(ioctl(fds[i].fd, TCSBRK, 0));
    EACH(ioctl(fds[i].fd, TIOCGWINSZ, &size));
    EACH(ioctl(fds[i].fd, FIONREAD, &number));
    if (fds[i].fd != folder) say("  %d", number);
    if (fds[i].fd == fd) {
      EACH(lseek(fd, 600, SEEK_SET));
      EACH(ioctl(fd, FIONREAD, &number));
      say("  %d", number);
      EACH(lseek(fd, 6000, SEEK_SET));
      EACH(ioctl(fd, FIONREAD, &number));
      say("  %d", number);
    }
    EACH(ioctl(fds[i].fd, FIONBIO, &on));
    if (fds[i].fd < 900 && fds[i].fd >= 0) say("  O_NONBLOCK %d", !!(fcntl(fds[i].fd, F_GETFL) & O_NONBLOCK));
    EACH(ioctl(fds[i].fd, FIONBIO, &off));
    if (fds[i].fd < 900 && fds[i].fd >= 0) say("  O_NONBLOCK %d", !!(fcntl(fds[i].fd, F_GETFL) & O_NONBLOCK));
    EACH(ioctl(fds[i].fd, FIOCLEX, 0));
    EACH(fcntl(fds[i].fd, F_GETFD));
    EACH(ioctl(fds[i].fd, FIONCLEX, 0));
    EACH(fcntl(fds[i].fd, F_GETFD));
    if (fds[i].fd != pipes[0] && fds[i].fd != pipes[1]) {
      EACH(ioctl(writer, FICLONE, fds[i].fd));
      EACH(ioctl(fds[i].fd, FICLONE, fd));
      EACH(ioctl(fds[i].fd, FICLONE, writer));
      EACH(ioctl(fds[i].fd, FICLONE, 999));
      EACH(ioctl(fds[i].fd, FICLONERANGE, &range));
    }
    EACH(ioctl(fds[i].fd, 0x12345678, 0));
    EACH(isatty(fds[i].fd) ? 1 : -1);
    EACH(fsync(fds[i].fd));
    EACH(fdatasync(fds[i].fd));
    if (fds[i].fd != pipes[0] && fds[i].fd != pipes[1]) EACH(syncfs(fds[i].fd));
    EACH(ftruncate(fds[i].fd, 1000));
    EACH(posix_fallocate(fds[i].fd, 0, 0) != 0);
    EACH(flock(fds[i].fd, LOCK_UN));
  }
  sync();
  static char memory[3 * 4096];
  CALL(mlock(memory, sizeof memory));
  CALL(munlock(memory, sizeof memory));
  CALL(mlock(memory, 0));
  show_file("file");
}
