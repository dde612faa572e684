// Calls that lock, for a test that gives orders to several programs on one store (lock_worker.mjs). Each gives what the C
// library's call gives, or the error's number as a negative one.
#define _GNU_SOURCE
#include <emscripten.h>
#include <errno.h>
#include <fcntl.h>
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

static int answer(int result) { return result < 0 ? -errno : result; }

EMSCRIPTEN_KEEPALIVE int call_open(const char *path) { return answer(open(path, O_RDWR | O_CREAT, 0644)); }

EMSCRIPTEN_KEEPALIVE int call_close(int fd) { return answer(close(fd)); }

/* `operation`: 1 shared, 2 exclusive, 8 none; 4 not to wait. */
EMSCRIPTEN_KEEPALIVE int call_flock(int fd, int operation) { return answer(flock(fd, operation)); }

static int is(const char *given, const char *wanted) { return strcmp(given, wanted) == 0; }

/* `how`: "try", "wait", or for a lock of the open file "ofd try", "ofd wait"; `type`: "read", "write", "unlock". */
EMSCRIPTEN_KEEPALIVE int call_set(int fd, const char *how, const char *type, int start, int length) {
  int command = is(how, "try") ? F_SETLK : is(how, "wait") ? F_SETLKW : is(how, "ofd try") ? F_OFD_SETLK : F_OFD_SETLKW;
  struct flock lock = {.l_whence = SEEK_SET, .l_start = start, .l_len = length};
  lock.l_type = is(type, "read") ? F_RDLCK : is(type, "write") ? F_WRLCK : F_UNLCK;
  return answer(fcntl(fd, command, &lock));
}

/* Whose lock is in the way of a write lock: its process, -1 for an open file, 0 when none is. */
EMSCRIPTEN_KEEPALIVE int call_get(int fd, int start, int length) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  if (fcntl(fd, F_GETLK, &lock)) return -errno;
  return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

int main(void) { return 0; }
