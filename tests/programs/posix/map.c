// mmap(), msync(), munmap(), mprotect() of files.
#include "posix.h"
#include <sys/mman.h>

enum { PAGE = 65536, SIZE = 3 * PAGE };

static unsigned sum(const char *bytes, size_t count) {
  unsigned sum = 0;
  for (size_t i = 0; i < count; i++) sum = sum * 31 + (unsigned char)bytes[i];
  return sum;
}

static void *mapped(const char *what, size_t length, int protection, int flags, int fd, off_t offset) {
  errno = 0;
  void *found = mmap(NULL, length, protection, flags, fd, offset);
  went(what, found == MAP_FAILED ? -1 : 0);
  return found == MAP_FAILED ? NULL : found;
}

static void refusals(void) {
  int both = make_file("file", 100), reader = open("file", O_RDONLY), writer = open("file", O_WRONLY), folder = open(".", O_RDONLY), path = open("file", O_PATH), pipes[2];
  WENT(pipe(pipes));
  const struct { const char *name; int fd; } fds[] = {{"both", both}, {"reader", reader}, {"writer", writer}, {"folder", folder}, {"path", path}, {"pipe", pipes[0]}, {"none", 999}, {"-1", -1}};
  static const int protections[] = {PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE};
  static const int types[] = {0, MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE};
  static const size_t lengths[] = {0, 1, 4096, PAGE};
  static const off_t offsets[] = {0, 1, PAGE};
  for (size_t f = 0; f < sizeof fds / sizeof *fds; f++) {
    for (size_t p = 0; p < 4; p++) {
      for (size_t t = 0; t < 4; t++) {
        for (size_t l = 0; l < 4; l++) {
          for (size_t o = 0; o < 3; o++) {
            // Of a call that is wrong in several ways only one is told, and which one is nobody's business.
            if (f > 1 && (l == 0 || o == 1 || t == 0)) continue;
            char what[80];
            snprintf(what, sizeof what, "%s, protection %zu, type %zu, %zu at %lld", fds[f].name, p, t, lengths[l], (long long)offsets[o]);
            errno = 0;
            void *found = mmap(NULL, lengths[l], protections[p], types[t], fds[f].fd, offsets[o]);
            went(what, found == MAP_FAILED ? -1 : 0);
            if (found == MAP_FAILED) continue;
            if (protections[p] & PROT_READ && offsets[o] == 0) say("  %08x", sum(found, lengths[l] < 4096 ? lengths[l] : 4096));
            CALL(munmap(found, lengths[l]));
          }
        }
      }
    }
  }
}

static void coherent(void) {
  int fd = make_file("shared", SIZE), other = open("shared", O_RDWR);
  char text[64];
  char *whole = mapped("whole", SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *again = mapped("again", SIZE, PROT_READ, MAP_SHARED, other, 0);
  char *part = mapped("part", PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, PAGE), *own = mapped("private", PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
  if (!whole || !again || !part || !own) return;
  CALL(close(fd));
  say("%08x %08x %08x %08x", sum(whole, SIZE), sum(again, SIZE), sum(part, PAGE), sum(own, PAGE));
  memcpy(part + 10, "stored in a part", 16);
  say("%.16s %.16s", whole + PAGE + 10, again + PAGE + 10);
  CALL(pread(other, text, 16, PAGE + 10));
  say("  %.16s", text);
  CALL(pwrite(other, "written", 7, PAGE + 14));
  say("%.16s %.16s %.16s", whole + PAGE + 10, again + PAGE + 10, part + 10);
  memcpy(own + 10, "private", 7);
  say("%.16s", part + 10);
  whole[5] = '5';
  CALL(pwrite(other, "4", 1, 4));
  CALL(pwrite(other, "6", 1, 6));
  CALL(pread(other, text, 3, 4));
  say("  %.3s %.3s", text, again + 4);
  CALL(msync(whole, SIZE, MS_SYNC));
  CALL(msync(whole, SIZE, MS_ASYNC));
  CALL(msync(whole, PAGE, MS_SYNC | MS_ASYNC));
  CALL(msync(whole, PAGE, 1024));
  CALL(msync(whole + 1, PAGE, MS_SYNC));
  CALL(msync(whole, 0, MS_SYNC));
  CALL(msync(own, PAGE, MS_SYNC));
  show_file("shared");
  CALL(munmap(part, PAGE));
  memcpy(whole + 2 * PAGE, "third page", 10);
  CALL(munmap(whole, PAGE));
  CALL(munmap(whole + 2 * PAGE, PAGE));
  CALL(pread(other, text, 10, 2 * PAGE));
  say("  %.10s", text);
  whole[PAGE] = '!';
  say("%c", again[PAGE]);
  CALL(munmap(whole + PAGE, PAGE));
  CALL(munmap(again, SIZE));
  CALL(munmap(own, PAGE));
  show_file("shared");
  CALL(munmap(own, 0));
  close(other);
}

static void ends(void) {
  int fd = make_file("short", 100);
  char *map = mapped("behind the end", PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (!map) return;
  say("%d %d %d", map[99], map[100], map[4095]);
  map[200] = 'x';
  CALL(msync(map, PAGE, MS_SYNC));
  show_file("short");
  CALL(ftruncate(fd, 50));
  say("%d %d", map[49] != 0, map[50]);
  CALL(pwrite(fd, "longer", 6, 90));
  say("%.6s %d", map + 90, map[60]);
  map[60] = '6';
  CALL(close(fd));
  CALL(unlink("short"));
  map[61] = '1';
  CALL(msync(map, PAGE, MS_SYNC));
  CALL(munmap(map, PAGE));
  fd = make_file("growing", 10);
  map = mapped("reading", PAGE, PROT_READ, MAP_SHARED, fd, 0);
  if (!map) return;
  CALL(mprotect(map, PAGE, PROT_READ | PROT_WRITE));
  map[3] = '!';
  CALL(mprotect(map, PAGE, PROT_READ));
  char text[10];
  CALL(pread(fd, text, 10, 0));
  say("  %.10s", text);
  CALL(munmap(map, PAGE));
  int reader = open("growing", O_RDONLY);
  map = mapped("reader", PAGE, PROT_READ, MAP_SHARED, reader, 0);
  CALL(mprotect(map, PAGE, PROT_READ | PROT_WRITE));
  CALL(munmap(map, PAGE));
  map = mapped("anonymous", PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!map) return;
  memset(map, 'a', PAGE);
  CALL(msync(map, PAGE, MS_SYNC));
  CALL(munmap(map, PAGE));
  CALL(mlock(text, sizeof text));
  CALL(munlock(text, sizeof text));
  // What is mapped when the program ends is in the file all the same: nothing to be seen here.
  show_file("growing");
}

void map_part(void) {
  refusals();
  coherent();
  ends();
}
