// A first look at a mounted volume: write, read, rename, stat, a symlink, a directory.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      printf("line %d: %s (errno %d, %s)\n", __LINE__, #condition, errno, strerror(errno)); \
      return 1;                                                                           \
    }                                                                                     \
  } while (0)

int main(int argc, char **argv) {
  const char *root = argc > 1 ? argv[1] : "/opfs";
  CHECK(chdir(root) == 0);
  int fd = open("hello.txt", O_CREAT | O_RDWR | O_TRUNC, 0644);
  CHECK(fd >= 0);
  CHECK(write(fd, "hello", 5) == 5);
  CHECK(fsync(fd) == 0);
  char text[16] = "";
  CHECK(pread(fd, text, sizeof text, 0) == 5);
  CHECK(strcmp(text, "hello") == 0);
  CHECK(close(fd) == 0);

  CHECK(rename("hello.txt", "renamed.txt") == 0);
  struct stat status;
  CHECK(stat("hello.txt", &status) == -1 && errno == ENOENT);
  CHECK(stat("renamed.txt", &status) == 0);
  CHECK(status.st_size == 5 && S_ISREG(status.st_mode) && (status.st_mode & 0777) == 0644);
  unlink("link");
  CHECK(symlink("renamed.txt", "link") == 0);
  CHECK(readlink("link", text, sizeof text) == 11);
  CHECK(stat("link", &status) == 0 && status.st_size == 5);
  CHECK(mkdir("folder", 0755) == 0 || errno == EEXIST);
  CHECK(rmdir("folder") == 0);
  printf("hello from %s\n", root);
  return 0;
}
