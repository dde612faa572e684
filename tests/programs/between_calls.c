// Calls by which one program learns of what another one does, for a test that gives orders to several programs on one store
// (lock_worker.mjs). A number is what the C library's call gives, or the error's number as a negative one.
#define _GNU_SOURCE
#include <emscripten.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int answer(int result) { return result < 0 ? -errno : result; }

EMSCRIPTEN_KEEPALIVE int call_open(const char *path) { return answer(open(path, O_RDWR | O_CREAT, 0644)); }
EMSCRIPTEN_KEEPALIVE int call_close(int fd) { return answer(close(fd)); }
EMSCRIPTEN_KEEPALIVE int call_mkdir(const char *path) { return answer(mkdir(path, 0755)); }
EMSCRIPTEN_KEEPALIVE int call_rename(const char *from, const char *to) { return answer(rename(from, to)); }
EMSCRIPTEN_KEEPALIVE int call_unlink(const char *path) { return answer(unlink(path)); }
EMSCRIPTEN_KEEPALIVE int call_chmod(const char *path, int mode) { return answer(chmod(path, (mode_t)mode)); }
EMSCRIPTEN_KEEPALIVE int call_write(int fd, const char *text) { return answer((int)pwrite(fd, text, strlen(text), 0)); }

// --- inotify

EMSCRIPTEN_KEEPALIVE int call_watch(const char *path) {
  int fd = inotify_init();
  int watch = inotify_add_watch(fd, path, IN_ALL_EVENTS & ~(IN_OPEN | IN_CLOSE));
  return watch < 0 ? -errno : fd;
}

/* Waits until something has been told, and gives all of it, an event like "CREATE name" after the other. */
EMSCRIPTEN_KEEPALIVE const char *call_told_text(int fd) {
  static const struct { const char *name; unsigned mask; } words[] = {
    {"MODIFY", IN_MODIFY}, {"ATTRIB", IN_ATTRIB}, {"MOVED_FROM", IN_MOVED_FROM}, {"MOVED_TO", IN_MOVED_TO}, {"CREATE", IN_CREATE},
    {"DELETE", IN_DELETE}, {"Q_OVERFLOW", IN_Q_OVERFLOW}};
  static char buffer[16384] __attribute__((aligned(8))), text[16384];
  size_t length = 0;
  ssize_t got = read(fd, buffer, sizeof buffer);
  if (got < 0) return strerror(errno);
  for (ssize_t at = 0; at < got;) {
    const struct inotify_event *event = (const void *)(buffer + at);
    const char *word = "another event";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
      if (event->mask & words[i].mask) word = words[i].name;
    }
    length += (size_t)snprintf(text + length, sizeof text - length, "%s%s %s", length ? ", " : "", word, event->len ? event->name : "");
    at += (ssize_t)(sizeof *event + event->len);
  }
  return text;
}

/* Whether there is something to be told. */
EMSCRIPTEN_KEEPALIVE int call_poll(int fd) {
  struct pollfd one = {fd, POLLIN, 0};
  return answer(poll(&one, 1, 0));
}

// --- appending

enum { RECORD_BYTES = 16 };

/* Appends records that say whose they are and which, in one part or in three. */
EMSCRIPTEN_KEEPALIVE int call_append(const char *path, int who, int count) {
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0) return -errno;
  for (int i = 0; i < count; i++) {
    char record[RECORD_BYTES + 1];
    snprintf(record, sizeof record, "%4d %9d.\n", who, i);
    struct iovec parts[3] = {{record, 5}, {record + 5, 9}, {record + 14, 2}};
    ssize_t put = i % 2 ? write(fd, record, RECORD_BYTES) : writev(fd, parts, 3);
    if (put != RECORD_BYTES) return put < 0 ? -errno : -EIO;
  }
  return answer(close(fd));
}

/* How many records of `programs` writers a file has, if all are whole, and each one's in its order; else the place of the first
   that is not, as a negative number. */
EMSCRIPTEN_KEEPALIVE int call_records(const char *path, int programs) {
  FILE *file = fopen(path, "r");
  if (!file) return -errno;
  int next[16] = {0}, count = 0;
  char record[RECORD_BYTES + 1] = "";
  size_t got;
  while ((got = fread(record, 1, RECORD_BYTES, file)) > 0) {
    int who = -1, number = -1, end = 0;
    bool whole = got == RECORD_BYTES && sscanf(record, "%4d %9d.\n%n", &who, &number, &end) == 2 && end == RECORD_BYTES;
    if (!whole || who < 0 || who >= programs || number != next[who]++) {
      fclose(file);
      return -1 - count;
    }
    count++;
  }
  fclose(file);
  return count;
}

// --- mapping

static const char *map;

EMSCRIPTEN_KEEPALIVE int call_map(int fd) {
  void *made = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (made == MAP_FAILED) return -errno;
  map = made;
  return 0;
}

EMSCRIPTEN_KEEPALIVE const char *call_mapped_text(void) { return map; }

EMSCRIPTEN_KEEPALIVE int call_lock(int fd, int locks) {
  struct flock lock = {.l_type = locks ? F_RDLCK : F_UNLCK, .l_whence = SEEK_SET};
  return answer(fcntl(fd, F_SETLK, &lock));
}

int main(void) { return 0; }
