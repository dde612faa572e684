// renameat2() with its flags over all kinds of sources and targets.
#include "posix.h"

enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };

static const char *const kinds[] = {"nothing", "file", "folder", "full", "link", "fifo"};

static void make(const char *path, const char *kind) {
  char below[64];
  snprintf(below, sizeof below, "%s/below", path);
  unlink(below);
  rmdir(path);
  unlink(path);
  if (!strcmp(kind, "file")) close(make_file(path, strlen(path)));
  if (!strcmp(kind, "folder") || !strcmp(kind, "full")) mkdir(path, 0755);
  if (!strcmp(kind, "full")) close(make_file(below, 3));
  if (!strcmp(kind, "link")) symlink("target", path);
  if (!strcmp(kind, "fifo")) mkfifo(path, 0644);
}

static void show(const char *path) {
  struct stat st;
  if (lstat(path, &st)) say("  %s: %s", path, error_word(errno));
  else say("  %s: %o, %lld bytes, %d names", path, st.st_mode & S_IFMT, S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size, (int)st.st_nlink);
}

void rename_part(void) {
  mkdir("a", 0755);
  mkdir("b", 0755);
  for (int flags = 0; flags < 9; flags++) {
    for (size_t from = 0; from < sizeof kinds / sizeof *kinds; from++) {
      for (size_t to = 0; to < sizeof kinds / sizeof *kinds; to++) {
        make("a/x", kinds[from]);
        make("b/y", kinds[to]);
        char what[80];
        snprintf(what, sizeof what, "flags %d, %s to %s", flags, kinds[from], kinds[to]);
        errno = 0;
        answered(what, renameat2(AT_FDCWD, "a/x", AT_FDCWD, "b/y", (unsigned)flags));
        show("a/x");
        show("b/y");
      }
    }
  }
  make("a/x", "nothing");
  make("b/y", "nothing");
  static const char *const names[] = {".", "..", "a/.", "a/..", "a", "a/s", "a/s/t", "", "missing/x", "a/f/x", "a/l"};
  mkdir("a/s", 0755);
  mkdir("a/s/t", 0755);
  close(make_file("a/f", 3));
  symlink("s", "a/l");
  for (unsigned flags = 0; flags < 3; flags++) {
    for (size_t from = 0; from < sizeof names / sizeof *names; from++) {
      for (size_t to = 0; to < sizeof names / sizeof *names; to++) {
        // What would really move is not wanted here.
        if (from >= 4 && from <= 6 && to >= 8) continue;
        char what[80];
        snprintf(what, sizeof what, "flags %u, '%s' to '%s'", flags, names[from], names[to]);
        struct stat before, after;
        lstat("a/s/t", &before);
        errno = 0;
        int result = renameat2(AT_FDCWD, names[from], AT_FDCWD, names[to], flags);
        answered(what, result);
        if (result == 0 && flags == EXCHANGE) renameat2(AT_FDCWD, names[from], AT_FDCWD, names[to], EXCHANGE);
        if (lstat("a/s/t", &after)) {
          rename(names[to], names[from]);
          say("  moved");
        }
      }
    }
  }
  // Names of an open folder, and what is open while it moves.
  int folder = open("a", O_RDONLY | O_DIRECTORY), fd = make_file("a/open", 10), other = make_file("b/other", 20);
  CALL(renameat2(folder, "open", AT_FDCWD, "b/other", EXCHANGE));
  CALL(pwrite(fd, "moved", 5, 10));
  CALL(pwrite(other, "moved", 5, 20));
  show("a/open");
  show("b/other");
  CALL(renameat2(folder, "open", folder, "open", 0));
  CALL(renameat2(folder, "open", folder, "open", NOREPLACE));
  CALL(renameat2(999, "open", folder, "open", 0));
  CALL(link("a/open", "b/second"));
  CALL(renameat2(AT_FDCWD, "a/open", AT_FDCWD, "b/second", 0));
  CALL(renameat2(AT_FDCWD, "a/open", AT_FDCWD, "b/second", EXCHANGE));
  show("a/open");
  show("b/second");
}
