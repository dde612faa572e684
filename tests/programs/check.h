// What the test programs share: a check that says where it failed, and small helpers on files.
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Threads count too, so that one program tells all that is wrong.
static _Atomic int failures;

#define CHECK(condition)                                                                                 \
  do {                                                                                                   \
    if (!(condition)) {                                                                                  \
      failures++;                                                                                        \
      fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, strerror(errno)); \
    }                                                                                                    \
  } while (0)

// The expression fails with this errno.
#define FAILS(number, expression) CHECK((long)(expression) == -1 && errno == (number))

static inline int exists(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

// Writes a whole file; 0 or -1 with errno.
static inline int put(const char *path, const void *bytes, size_t count) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0666);
  if (fd < 0) return -1;
  size_t done = 0;
  int error = 0;
  // A volume that runs full takes a part first and says so at the next write.
  while (done < count && !error) {
    ssize_t written = write(fd, (const char *)bytes + done, count - done);
    if (written < 0) error = errno;
    else done += (size_t)written;
  }
  close(fd);
  errno = error;
  return error ? -1 : 0;
}

static inline int put_text(const char *path, const char *text) { return put(path, text, strlen(text)); }

// Whether the file holds exactly this text.
static inline int has_text(const char *path, const char *text) {
  char buffer[256];
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t count = read(fd, buffer, sizeof buffer);
  close(fd);
  return count == (ssize_t)strlen(text) && memcmp(buffer, text, (size_t)count) == 0;
}

// Number of names in a directory, "." and ".." not counted; -1 when it cannot be read.
static inline int count_names(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return -1;
  int count = 0;
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) count++;
  }
  closedir(dir);
  return count;
}

// Removes a directory with all that is in it.
static inline void remove_all(const char *path) {
  DIR *dir = opendir(path);
  if (dir) {
    char child[4096];
    for (struct dirent *entry; (entry = readdir(dir));) {
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
      snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
      struct stat status;
      if (lstat(child, &status) == 0 && S_ISDIR(status.st_mode)) remove_all(child);
      else unlink(child);
    }
    closedir(dir);
  }
  rmdir(path);
}

#endif
