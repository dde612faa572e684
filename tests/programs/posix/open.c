// open() with its flags over all kinds of paths, O_TMPFILE, O_PATH, O_APPEND.
#include "posix.h"
#include <sys/ioctl.h>
#include <sys/uio.h>

// Emscripten's flags have other numbers, and a mask for them of its own.
static const struct flag { const char *name; int value; } flags[] = {
  {"CREAT", O_CREAT}, {"EXCL", O_EXCL}, {"TRUNC", O_TRUNC}, {"DIRECTORY", O_DIRECTORY}, {"NOFOLLOW", O_NOFOLLOW}, {"APPEND", O_APPEND},
};
static const struct flag accesses[] = {{"RDONLY", O_RDONLY}, {"WRONLY", O_WRONLY}, {"RDWR", O_RDWR}};
static const char *const kinds[] = {"missing", "file", "folder", "to-file", "to-folder", "dangling", "loop", "file/below", "folder/new", "folder/"};

static void tree(void) {
  unlink("folder/new");
  unlink("missing");
  unlink("nowhere");
  close(make_file("file", 10));
}

static void show(const char *path) {
  struct stat st;
  if (lstat(path, &st)) return;
  say("  %s: %o, %lld bytes", path, st.st_mode, S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size);
}

static void combinations(void) {
  enum { FLAGS = sizeof flags / sizeof *flags };
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    for (size_t a = 0; a < 3; a++) {
      for (unsigned set = 0; set < 1U << FLAGS; set++) {
        tree();
        int all = accesses[a].value;
        char what[160];
        int end = snprintf(what, sizeof what, "%s, %s", kinds[k], accesses[a].name);
        for (size_t f = 0; f < FLAGS; f++) {
          if (!(set & 1U << f)) continue;
          all |= flags[f].value;
          end += snprintf(what + end, sizeof what - (size_t)end, "|%s", flags[f].name);
        }
        errno = 0;
        int fd = open(kinds[k], all, 0640);
        went(what, fd);
        if (fd < 0) continue;
        if (accesses[a].value != O_RDONLY && write(fd, "xyz", 3) < 0) say("  write: %s", error_word(errno));
        show("file");
        show("folder/new");
        show("missing");
        show("nowhere");
        close(fd);
      }
    }
  }
  tree();
}

static void unnamed(void) {
  struct stat st;
  char path[64], text[16] = "";
  WENT(open(".", O_TMPFILE | O_RDONLY, 0600));
  WENT(open("file", O_TMPFILE | O_RDWR, 0600));
  WENT(open("missing", O_TMPFILE | O_RDWR, 0600));
  WENT(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600));
  WENT(open(".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
  int fd = open("folder", O_TMPFILE | O_RDWR, 0666), only = open("folder", O_TMPFILE | O_WRONLY | O_EXCL, 0600);
  went("O_TMPFILE", fd);
  went("O_TMPFILE|O_EXCL", only);
  CALL(fstat(fd, &st));
  say("  %o, %d names", st.st_mode, (int)st.st_nlink);
  CALL(write(fd, "unnamed", 7));
  CALL(pread(fd, text, sizeof text, 0));
  CALL(linkat(only, "", AT_FDCWD, "folder/only", AT_EMPTY_PATH));
  CALL(linkat(fd, "", AT_FDCWD, "folder/named", AT_EMPTY_PATH));
  CALL(linkat(fd, "", AT_FDCWD, "folder/named", AT_EMPTY_PATH));
  CALL(linkat(fd, "", AT_FDCWD, "folder/again", 0));
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  CALL(linkat(AT_FDCWD, path, AT_FDCWD, "folder/again", AT_SYMLINK_FOLLOW));
  CALL(fstat(fd, &st));
  say("  %o, %d names", st.st_mode, (int)st.st_nlink);
  show_file("folder/named");
  show_file("folder/again");
  int more = open(path, O_RDONLY);
  went("open of what a descriptor names", more);
  CALL(read(more, text, sizeof text));
  say("  %s", text);
  CALL(close(fd));
  CALL(close(only));
  CALL(unlink("folder/named"));
  CALL(unlink("folder/again"));
  fd = open("folder", O_TMPFILE | O_RDWR, 0600);
  CALL(close(fd));
  CALL(rmdir("folder"));
  mkdir("folder", 0755);
}

static void places(void) {
  static const int with[] = {0, O_NOFOLLOW, O_DIRECTORY, O_NOFOLLOW | O_DIRECTORY};
  char bytes[100];
  struct stat st;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    for (size_t w = 0; w < 4; w++) {
      tree();
      char what[80];
      snprintf(what, sizeof what, "O_PATH %s, %zu", kinds[k], w);
      errno = 0;
      int fd = open(kinds[k], O_PATH | with[w]);
      went(what, fd);
      if (fd < 0) continue;
#define ON(call) errno = 0, snprintf(what, sizeof what, "%s, %zu: %s", kinds[k], w, #call), went(what, (long long)(call))
      ON(read(fd, bytes, 10));
      ON(pread(fd, bytes, 10, 0));
      ON(write(fd, bytes, 10));
      ON(pwrite(fd, bytes, 10, 0));
      ON(lseek(fd, 0, SEEK_SET));
      ON(ftruncate(fd, 3));
      ON(fsync(fd));
      ON(fchown(fd, 0, 0));
      ON(ioctl(fd, FIONREAD, bytes));
      ON(fstat(fd, &st));
      say("  %o", st.st_mode & S_IFMT);
      ON(fstatat(fd, "", &st, AT_EMPTY_PATH));
      ON(fstatat(fd, "new", &st, 0));
      ON(close(openat(fd, "new", O_RDONLY | O_CREAT, 0600)));
      ON(readlinkat(fd, "", bytes, sizeof bytes));
      ON(readlinkat(fd, "new", bytes, sizeof bytes));
      ON(fcntl(fd, F_SETFL, O_APPEND));
      ON(fcntl(fd, F_GETFD));
      int got = fcntl(fd, F_GETFL);
      say("  flags %d %d %d", !!(got & O_PATH), !!(got & O_DIRECTORY), !!(got & O_NOFOLLOW));
      ON(fchdir(fd));
      if (S_ISDIR(st.st_mode)) fchdir(open("..", O_RDONLY));
      int copy = dup(fd);
      went("dup", copy);
      close(copy);
      ON(close(fd));
    }
  }
  tree();
}

static void append(void) {
  char text[64];
  int one = open("appended", O_RDWR | O_CREAT | O_APPEND, 0644), other = open("appended", O_WRONLY | O_APPEND), plain = open("appended", O_RDWR);
  for (int i = 0; i < 3; i++) {
    CALL(write(one, "one", 3));
    CALL(write(other, "other", 5));
    CALL(lseek(one, 0, SEEK_CUR));
    CALL(lseek(other, 0, SEEK_CUR));
  }
  struct iovec parts[3] = {{"a", 1}, {"bc", 2}, {"", 0}};
  CALL(writev(one, parts, 3));
  CALL(pwrite(one, "placed", 6, 1));
  CALL(lseek(one, 0, SEEK_CUR));
  CALL(pwrite(plain, "P", 1, 0));
  CALL(lseek(one, 2, SEEK_SET));
  CALL(read(one, text, 4));
  CALL(write(one, "!", 1));
  CALL(lseek(one, 0, SEEK_CUR));
  CALL(write(one, "", 0));
  CALL(fcntl(one, F_SETFL, 0));
  CALL(lseek(one, 3, SEEK_SET));
  CALL(write(one, "-", 1));
  CALL(fcntl(one, F_SETFL, O_APPEND));
  CALL(write(one, "+", 1));
  CALL(ftruncate(plain, 5));
  CALL(write(other, "5", 1));
  ssize_t got = pread(plain, text, sizeof text - 1, 0);
  text[got < 0 ? 0 : got] = 0;
  say("  %s", text);
  CALL(pwritev2(plain, parts, 2, -1, 0x10));
  CALL(pwritev2(plain, parts, 2, 0, 0x10));
  CALL(lseek(plain, 0, SEEK_CUR));
  CALL(pwritev2(plain, parts, 2, 0, 2));
  CALL(pwritev2(plain, parts, 2, -1, 4));
  CALL(pwritev2(plain, parts, 2, -2, 0));
  CALL(preadv2(plain, parts, 0, 0, 0));
  CALL(pwritev2(plain, parts, 2, 0, 0x40000000));
  show_file("appended");
}

void open_part(void) {
  mkdir("folder", 0755);
  symlink("file", "to-file");
  symlink("folder", "to-folder");
  symlink("nowhere", "dangling");
  symlink("loop", "loop");
  combinations();
  unnamed();
  places();
  append();
}
