// Compares a tree with a manifest, the test's input (tree_input.h), one line per name:
//
//   KIND MODE SECONDS.NANOSECONDS SIZE HASH PATH        KIND: f (file), d (folder), l (symbolic link)
//
// The hash is a file's SHA-256, or that of a link's target; `-` for a folder. A folder's size and a link's mode are
// not compared. Nothing else may be in the tree.
//
//   tree_verify FOLDER [GRANULARITY OF TIMES IN NS]
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree_input.h"
#include "tree_sha256.h"

#define LONGEST 4096

static int problems;
static long granularity = 1;
static size_t files, folders, links;
static long long bytes;

static void problem(const char *path, const char *what) {
  problems++;
  if (problems <= 20) fprintf(stderr, "%s: %s\n", path, what);
}

// Reads a line without its end; 0 at the end of the input.
static int read_line(char *line, size_t size) {
  size_t length = 0, have;
  for (;;) {
    const char *from = input_some(1, &have);
    if (have == 0) return 0;
    if (*from == '\n') break;
    if (length + 1 < size) line[length++] = *from;
  }
  line[length] = 0;
  return 1;
}

static void hash_file(const char *path, char hex[65]) {
  static char buffer[1 << 16];
  struct sha256 state;
  sha256_start(&state);
  const int fd = open(path, O_RDONLY);
  if (fd < 0) {
    snprintf(hex, 65, "open: %s", strerror(errno));
    return;
  }
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    sha256_add(&state, buffer, (size_t)got);
    bytes += got;
  }
  close(fd);
  sha256_end(&state, hex);
  if (got < 0) snprintf(hex, 65, "read: %s", strerror(errno));
}

static void compare(const char *line) {
  char kind, expected_hash[65], path[LONGEST], hash[65] = "-", text[200];
  unsigned mode;
  long long seconds, size;
  long nanoseconds;
  if (sscanf(line, "%c %o %lld.%9ld %lld %64s %4095[^\n]", &kind, &mode, &seconds, &nanoseconds, &size, expected_hash,
             path) != 7) {
    problem(line, "the manifest's line is damaged");
    return;
  }
  struct stat info;
  if (lstat(path, &info) != 0) {
    problem(path, strerror(errno));
    return;
  }
  const unsigned type = kind == 'd' ? S_IFDIR : kind == 'l' ? S_IFLNK : S_IFREG;
  if ((info.st_mode & S_IFMT) != type) {
    problem(path, "is of another kind");
    return;
  }
  if (kind != 'l' && (info.st_mode & 07777) != mode) {
    snprintf(text, sizeof text, "mode %o, not %o", info.st_mode & 07777, mode);
    problem(path, text);
  }
  if (info.st_mtim.tv_sec != seconds ||
      info.st_mtim.tv_nsec / granularity != nanoseconds / granularity) {
    snprintf(text, sizeof text, "mtime %lld.%09ld, not %lld.%09ld", (long long)info.st_mtim.tv_sec,
             info.st_mtim.tv_nsec, seconds, nanoseconds);
    problem(path, text);
  }
  if (kind != 'd' && info.st_size != size) {
    snprintf(text, sizeof text, "%lld bytes, not %lld", (long long)info.st_size, size);
    problem(path, text);
  }
  if (kind == 'f') {
    hash_file(path, hash);
    files++;
  } else if (kind == 'l') {
    char target[LONGEST];
    const ssize_t length = readlink(path, target, sizeof target);
    struct sha256 state;
    sha256_start(&state);
    if (length > 0) sha256_add(&state, target, (size_t)length);
    sha256_end(&state, hash);
    links++;
  } else {
    folders++;
  }
  if (strcmp(hash, expected_hash) != 0) {
    snprintf(text, sizeof text, "SHA-256 %s, not %s", hash, expected_hash);
    problem(path, text);
  }
}

// How many names are below the folder.
static size_t count(const char *folder) {
  DIR *dir = opendir(folder);
  if (dir == NULL) {
    problem(folder, strerror(errno));
    return 0;
  }
  size_t found = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    found++;
    char path[LONGEST];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) found += count(path);
  }
  closedir(dir);
  return found;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  if (argc > 2) granularity = atol(argv[2]);
  if (chdir(argv[1]) != 0) {
    perror(argv[1]);
    return 1;
  }
  static char line[2 * LONGEST];
  size_t lines = 0;
  for (; read_line(line, sizeof line); lines++) compare(line);
  const size_t found = count(".");
  if (found != lines) {
    char text[80];
    snprintf(text, sizeof text, "%zu names in the tree, %zu in the manifest", found, lines);
    problem(argv[1], text);
  }
  printf("verified %zu files (%lld bytes), %zu links, %zu folders: %d problems\n", files, bytes, links, folders,
         problems);
  return problems != 0;
}
