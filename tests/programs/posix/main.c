// What system calls answer, call by call, for a comparison with Linux: this program runs on a volume and, compiled for the host,
// on the host's file system, and both have to print the same.
//
//   posix FOLDER
#include "posix.h"

#define WORDS(W) \
  W(E2BIG) W(EACCES) W(EAGAIN) W(EBADF) W(EBUSY) W(EEXIST) W(EFAULT) W(EFBIG) W(EINVAL) W(EIO) W(EISDIR) W(ELOOP) W(EMFILE) \
  W(EMLINK) W(ENAMETOOLONG) W(ENODATA) W(ENODEV) W(ENOENT) W(ENOLCK) W(ENOSPC) W(ENOSYS) W(ENOTDIR) W(ENOTEMPTY) W(EOPNOTSUPP) \
  W(ENOTTY) W(ENXIO) W(EOVERFLOW) W(EPERM) W(EPIPE) W(ERANGE) W(EROFS) W(ESPIPE) W(ESTALE) W(ETXTBSY) W(EXDEV)

const char *error_word(int number) {
#define WORD(name) if (number == name) return #name;
  WORDS(WORD)
  static char text[32];
  snprintf(text, sizeof text, "errno %d", number);
  return text;
}

void answered(const char *what, long long result) {
  if (result < 0) printf("%s: %s\n", what, error_word(errno));
  else printf("%s: %lld\n", what, result);
}

void went(const char *what, long long result) {
  printf("%s: %s\n", what, result < 0 ? error_word(errno) : "ok");
}

void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  putchar('\n');
}

static void must(int holds, const char *what) {
  if (holds) return;
  printf("posix: %s: %s\n", what, strerror(errno));
  exit(1);
}

int make_file(const char *path, size_t bytes) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  must(fd >= 0, path);
  char *pattern = malloc(bytes + 1);
  for (size_t i = 0; i < bytes; i++) pattern[i] = (char)('a' + (i ^ i >> 9) % 26);
  must(write(fd, pattern, bytes) == (ssize_t)bytes, path);
  free(pattern);
  return fd;
}

void show_file(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) {
    printf("  %s: %s\n", path, error_word(errno));
    return;
  }
  int fd = open(path, O_RDONLY);
  must(fd >= 0, path);
  unsigned sum = 0;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) {
    for (ssize_t i = 0; i < got; i++) sum = sum * 31 + (unsigned char)buffer[i];
  }
  close(fd);
  printf("  %s: %lld bytes, sum %08x\n", path, (long long)st.st_size, sum);
}

static void part(const char *name, void (*run)(void)) {
  must(mkdir(name, 0755) == 0 && chdir(name) == 0, name);
  printf("--- %s\n", name);
  run();
  must(chdir("..") == 0, name);
}

int main(int count, char **arguments) {
  must(count == 2 && chdir(arguments[1]) == 0, "usage: posix FOLDER");
  umask(022);
  part("space", space_part);
  part("copy", copy_part);
  part("xattr", xattr_part);
  part("rename", rename_part);
  part("open", open_part);
  part("descriptors", descriptors_part);
  part("paths", paths_part);
  part("directories", directories_part);
  part("pipes", pipes_part);
  part("control", control_part);
  part("map", map_part);
  part("inotify", inotify_part);
  return 0;
}
