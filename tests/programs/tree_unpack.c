// Unpacks a tar archive (POSIX pax: a `x` header may give path, linkpath and mtime) and makes it durable.
//
//   tree_unpack DESTINATION [wait]
//
// With `wait` the program stays when all is durable, for a test that kills it. The archive is the test's input
// (tree_input.h).
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tree_input.h"

#define BLOCK 512
#define LONGEST 4096

// What one member is, from its header and the extended header before it.
struct member {
  char path[LONGEST], target[LONGEST];
  struct timespec mtime;
  long long size;
  unsigned mode;
  char type;
};

static void fail(const char *what, const char *path) {
  fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
  exit(1);
}

static void bad(const char *what) {
  fprintf(stderr, "the archive is damaged: %s\n", what);
  exit(1);
}

static void read_exactly(char *to, size_t length) {
  while (length > 0) {
    size_t have;
    const char *from = input_some(length, &have);
    if (have == 0) bad("it ends too early");
    memcpy(to, from, have);
    to += have;
    length -= have;
  }
}

static size_t padded(long long size) { return (size_t)(size + BLOCK - 1) / BLOCK * BLOCK; }

static long long octal(const char *field, size_t width) {
  char text[24] = {0};
  memcpy(text, field, width);
  return strtoll(text, NULL, 8);
}

static void copy_text(char *to, const char *from, size_t length) {
  if (length >= LONGEST) bad("a name is too long");
  memcpy(to, from, length);
  to[length] = 0;
}

// Records of the form `LENGTH KEY=VALUE\n`; LENGTH counts the whole record.
static void take_extended(struct member *m, char *records, size_t size) {
  for (char *end = records + size; records < end;) {
    char *key;
    const size_t length = strtoul(records, &key, 10);
    if (length < 5 || length > (size_t)(end - records) || *key != ' ' || records[length - 1] != '\n') bad("a record");
    key++;
    char *value = memchr(key, '=', (size_t)(records + length - key));
    if (value == NULL) bad("a record without a value");
    *value++ = 0;
    const size_t value_length = (size_t)(records + length - 1 - value);
    if (strcmp(key, "path") == 0) copy_text(m->path, value, value_length);
    if (strcmp(key, "linkpath") == 0) copy_text(m->target, value, value_length);
    if (strcmp(key, "mtime") == 0) {
      char *fraction;
      m->mtime.tv_sec = strtoll(value, &fraction, 10);
      m->mtime.tv_nsec = *fraction == '.' ? strtol(fraction + 1, NULL, 10) : 0;
    }
    records += length;
  }
}

// The next member; 0 at the end of the archive.
static int next_member(struct member *m) {
  char header[BLOCK];
  memset(m, 0, sizeof *m);
  m->mtime.tv_sec = -1;
  for (;;) {
    read_exactly(header, BLOCK);
    if (header[0] == 0) {
      // What is behind the end is nobody's, and the input may be read once more.
      size_t rest;
      do input_some(BLOCK, &rest);
      while (rest > 0);
      return 0;
    }
    if (memcmp(header + 257, "ustar", 5) != 0) bad("not a ustar header");
    m->type = header[156];
    m->size = octal(header + 124, 12);
    if (m->type != 'x') break;
    char records[4 * LONGEST];
    if (m->size > (long long)sizeof records - 1) bad("an extended header is too long");
    read_exactly(records, padded(m->size));
    records[m->size] = 0;
    take_extended(m, records, (size_t)m->size);
  }
  m->mode = (unsigned)octal(header + 100, 8);
  if (m->path[0] == 0) copy_text(m->path, header, strnlen(header, 100));
  if (m->target[0] == 0) copy_text(m->target, header + 157, strnlen(header + 157, 100));
  if (m->mtime.tv_sec < 0) m->mtime.tv_sec = octal(header + 136, 12);
  return 1;
}

static void set_times(const char *path, struct timespec mtime) {
  const struct timespec times[2] = {mtime, mtime};
  if (utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) != 0) fail("utimensat", path);
}

static void unpack_file(const struct member *m, int durable) {
  const int fd = open(m->path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0) fail("open", m->path);
  for (long long left = m->size; left > 0;) {
    size_t have;
    const char *from = input_some((size_t)left, &have);
    if (have == 0) bad("it ends in a file");
    for (size_t at = 0; at < have;) {
      const ssize_t written = write(fd, from + at, have - at);
      if (written <= 0) fail("write", m->path);
      at += (size_t)written;
    }
    left -= (long long)have;
  }
  char rest[BLOCK];
  read_exactly(rest, padded(m->size) - (size_t)m->size);
  if (durable && fsync(fd) != 0) fail("fsync", m->path);
  if (close(fd) != 0) fail("close", m->path);
  if (chmod(m->path, m->mode) != 0) fail("chmod", m->path);
  set_times(m->path, m->mtime);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  if (mkdir(argv[1], 0755) != 0 && errno != EEXIST) fail("mkdir", argv[1]);
  if (chdir(argv[1]) != 0) fail("chdir", argv[1]);
  umask(0);

  // A folder's own mode and time are set when everything is in it.
  struct member *folders = NULL;
  size_t folder_count = 0, files = 0, links = 0;
  static struct member m;
  while (next_member(&m)) {
    switch (m.type) {
      case '0':
        // Now and then a file is made durable by itself, as a careful program would.
        unpack_file(&m, files++ % 100 == 99);
        break;
      case '2':
        if (symlink(m.target, m.path) != 0) fail("symlink", m.path);
        set_times(m.path, m.mtime);
        links++;
        break;
      case '5':
        if (mkdir(m.path, 0700) != 0 && errno != EEXIST) fail("mkdir", m.path);
        folders = realloc(folders, (folder_count + 1) * sizeof *folders);
        if (folders == NULL) fail("realloc", m.path);
        folders[folder_count++] = m;
        break;
      default: bad("an unknown kind of member");
    }
  }
  for (size_t i = folder_count; i-- > 0;) {
    if (chmod(folders[i].path, folders[i].mode) != 0) fail("chmod", folders[i].path);
    set_times(folders[i].path, folders[i].mtime);
  }
  free(folders);

  // Durable, the last changes of names, modes and times too.
  const int root = open(".", O_RDONLY | O_DIRECTORY);
  if (root < 0 || fsync(root) != 0) fail("fsync", argv[1]);
  close(root);
  sync();
  printf("unpacked %zu files, %zu links, %zu folders\n", files, links, folder_count);
  fflush(stdout);
  while (argc > 2) sleep(1000);
  return 0;
}
