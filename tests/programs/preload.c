// Files that the program brings along, put onto the volume before main(): preload FOLDER. The volume keeps a count of
// the runs and what earlier runs have changed beside the file.
#include "check.h"

int main(int argc, char **argv) {
  char path[64], text[64] = "";
  const char *root = argc > 1 ? argv[1] : "/opfs";
  snprintf(path, sizeof path, "%s/brought/text", root);
  CHECK(has_text(path, "a file that came with the program\n"));
  struct stat status;
  CHECK(stat(path, &status) == 0 && S_ISREG(status.st_mode));
  // It is the volume's file, not one of WasmFS in memory.
  char other[64];
  snprintf(other, sizeof other, "%s/link", root);
  CHECK(link(path, other) == 0 || errno == EEXIST);

  snprintf(path, sizeof path, "%s/count", root);
  int runs = 0, fd = open(path, O_RDWR | O_CREAT, 0666);
  if (read(fd, text, sizeof text - 1) > 0) runs = atoi(text);
  snprintf(text, sizeof text, "%d", ++runs);
  CHECK(pwrite(fd, text, strlen(text), 0) > 0 && fsync(fd) == 0);
  close(fd);
  printf("run %d: %d failures\n", runs, failures);
  return failures != 0;
}
