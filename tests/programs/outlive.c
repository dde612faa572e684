// One of several programs on one store: each step makes a file durable, and is told when that is done.
//
//   outlive FOLDER PLACE NUMBER
//
// Step N writes N all over FOLDER/NUMBER/(N % FILES), most of the time in place, and tells outlive_step(PLACE) (outlive.js),
// which says how to go on.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 16
#define WORDS 1500

enum { GO_ON, END, ABORT };

int outlive_step(int place);

static int fail(const char *doing, const char *path) {
  printf("outlive: cannot %s %s: %s\n", doing, path, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int place = atoi(argv[2]);
  char folder[100], path[200];
  snprintf(folder, sizeof folder, "%s/%s", argv[1], argv[3]);
  if (mkdir(folder, 0755) && errno != EEXIST) return fail("make", folder);
  printf("ready\n");
  fflush(stdout);
  for (uint32_t step = 1;; step++) {
    static uint32_t words[WORDS], found[WORDS];
    for (int word = 0; word < WORDS; word++) words[word] = step;
    snprintf(path, sizeof path, "%s/%u", folder, step % FILES);
    // A new file each third round, so that blocks come and go.
    if (step / FILES % 3 == 2 && unlink(path)) return fail("unlink", path);
    int fd = open(path, O_CREAT | O_RDWR, 0644);
    if (fd < 0) return fail("open", path);
    if (pwrite(fd, words, sizeof words, 0) != sizeof words) return fail("write", path);
    if (fsync(fd)) return fail("sync", path);
    if (pread(fd, found, sizeof found, 0) != sizeof found || memcmp(words, found, sizeof words)) {
      return fail("read back", path);
    }
    close(fd);
    switch (outlive_step(place)) {
      case END: return 0;
      case ABORT: abort();
    }
  }
}
