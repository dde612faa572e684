// One of several programs on a store, which unpacks an archive again and again and removes what it has unpacked before
// (lock_worker.mjs gives the orders). The archive lies on the volume, too. tree_unpack.c does the work: its main() is called
// tree_unpack() here.
#define _GNU_SOURCE
#include <emscripten.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tree_input.h"
#undef main

int tree_unpack(int argc, char **argv);

static int archive = -1;

size_t tree_input_read(char *to, size_t length) {
  const ssize_t count = read(archive, to, length);
  if (count < 0) {
    perror("read the archive");
    exit(1);
  }
  return (size_t)count;
}

/* Unpacks into a new folder; what goes wrong ends the program. */
EMSCRIPTEN_KEEPALIVE int call_unpack(const char *path, const char *destination) {
  archive = open(path, O_RDONLY);
  if (archive < 0) return -errno;
  char *arguments[] = {"tree_unpack", (char *)destination, NULL};
  const int code = tree_unpack(2, arguments);
  close(archive);
  // Nobody is in what is to be removed.
  return chdir("/") ? -errno : code;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where) {
  (void)status, (void)where;
  return kind == FTW_DP ? rmdir(path) : unlink(path);
}

/* Removes a folder with all that is in it. */
EMSCRIPTEN_KEEPALIVE int call_remove(const char *path) { return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) ? -errno : 0; }

int main(void) { return 0; }
