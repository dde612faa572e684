// readdir() and its positions, while names come and go.
#include "posix.h"
#include <dirent.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// All names from the position on, sorted, with their kinds.
static void list(const char *what, DIR *dir) {
  char *names[400];
  size_t count = 0;
  struct dirent *entry;
  errno = 0;
  while (count < 400 && (entry = readdir(dir))) {
    struct stat st;
    char line[300];
    // Names that are gone can still be listed.
    int there = !fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
    int above = !strcmp(entry->d_name, "..");
    snprintf(line, sizeof line, "%s %d%s", entry->d_name, entry->d_type, !there ? " gone" : above || st.st_ino == entry->d_ino ? "" : " another inode");
    names[count++] = strdup(line);
  }
  say("%s: %zu names, %s", what, count, errno ? error_word(errno) : "ok");
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; i++) {
    say("  %s", names[i]);
    free(names[i]);
  }
}

static void kinds(void) {
  close(make_file("all/file", 1));
  mkdir("all/folder", 0755);
  symlink("file", "all/link");
  mkfifo("all/fifo", 0644);
  DIR *dir = opendir("all");
  list("kinds", dir);
  close(make_file("all/added", 1));
  list("at the end", dir);
  rewinddir(dir);
  list("again", dir);
  unlink("all/added");
  unlink("all/fifo");
  rewinddir(dir);
  list("once more", dir);
  say("at start: %ld", (rewinddir(dir), telldir(dir)));
  CALL(closedir(dir));
  CALL(opendir("all/file") ? 0 : -1);
  CALL(opendir("missing") ? 0 : -1);
  CALL(fdopendir(999) ? 0 : -1);
  int fd = open("all/file", O_RDONLY);
  CALL(fdopendir(fd) ? 0 : -1);
}

static void positions(void) {
  enum { COUNT = 150 };
  char name[64], *first[COUNT + 2];
  long at[COUNT + 2];
  for (int i = 0; i < COUNT; i++) {
    snprintf(name, sizeof name, "many/a name of some length %03d", i);
    close(open(name, O_CREAT | O_WRONLY, 0644));
  }
  DIR *dir = opendir("many"), *other = opendir("many");
  size_t count = 0;
  for (struct dirent *entry; count < COUNT + 2; count++) {
    at[count] = telldir(dir);
    if (!(entry = readdir(dir))) break;
    first[count] = strdup(entry->d_name);
  }
  say("%zu names", count);
  size_t same = 0;
  // In a mixed order, while others are removed and added.
  for (size_t i = 0; i < count; i++) {
    size_t pick = i * 37 % count;
    if (i == 50) close(open("many/new", O_CREAT | O_WRONLY, 0644));
    seekdir(dir, at[pick]);
    if (telldir(dir) != at[pick]) say("telldir after seekdir differs");
    struct dirent *entry = readdir(dir);
    same += entry && !strcmp(entry->d_name, first[pick]);
  }
  say("%zu names at their positions", same);
  // Removing while reading, as rm -r does.
  size_t removed = 0;
  for (struct dirent *entry; (entry = readdir(other));) {
    if (entry->d_name[0] != '.') removed += !unlinkat(dirfd(other), entry->d_name, 0);
  }
  say("%d removed", removed >= COUNT);
  rewinddir(other);
  list("left", other);
  closedir(other);
  closedir(dir);
  unlink("many/new");
  dir = opendir("many");
  CALL(rmdir("many"));
  list("removed", dir);
  closedir(dir);
  // The same open file by two descriptors has one position.
  int fd = open("all", O_RDONLY), copy = dup(fd);
  DIR *one = fdopendir(fd);
  list("first", one);
  DIR *two = fdopendir(copy);
  list("second", two);
  CALL(lseek(copy, 0, SEEK_SET));
  list("second again", two);
  for (size_t i = 0; i < count; i++) free(first[i]);
}

void directories_part(void) {
  mkdir("all", 0755);
  mkdir("many", 0755);
  kinds();
  positions();
}
