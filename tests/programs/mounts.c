// Paths that lead to a volume, away from it and back, while mounts come and go: mounts FOLDER, which is a mount point.
#include <emscripten.h>
#include <emscripten/wasmfs.h>
#include <sabfs.h>

#include "check.h"

static dev_t device_of(const char *path) {
  struct stat status;
  CHECK(stat(path, &status) == 0);
  return status.st_dev;
}

int main(int argc, char **argv) {
  CHECK(argc == 2 && !strcmp(argv[1], "/opfs"));
  dev_t volume = device_of("/opfs");
  CHECK(mkdir("/opfs/d", 0777) == 0 && put_text("/opfs/d/f", "f") == 0 && device_of("/opfs/d/f") == volume);

  // All ways to one file.
  CHECK(symlink("/opfs/d", "/opfs/link") == 0 && symlink("d", "/outside") == 0 && symlink("f", "/opfs/d/last") == 0);
  CHECK(has_text("/opfs/link/f", "f") && has_text("/opfs/./d//f", "f") && has_text("/opfs/d/../d/f", "f"));
  CHECK(has_text("//opfs/d/f", "f") && has_text("/opfs/d/last", "f") && !exists("/outside/f"));
  CHECK(chdir("/opfs/d") == 0 && has_text("f", "f") && has_text("../../opfs/link/last", "f") && chdir("/") == 0);
  FAILS(ENOTDIR, unlink("/opfs/d/f/g"));
  FAILS(ENOENT, unlink("/opfs/e/g"));
  FAILS(EISDIR, unlink("/opfs/d"));
  FAILS(ENOTDIR, rename("/opfs/d/f/g", "/opfs/g"));
  CHECK(rename("/opfs/link/f", "/opfs/d/g") == 0 && rename("/opfs/d/g", "/opfs/link/f") == 0);
  FAILS(ENOTDIR, rename("/opfs/d/f", "/opfs/d/"));
  FAILS(EEXIST, open("/opfs/d/f", O_CREAT | O_EXCL | O_RDWR, 0666));
  FAILS(ELOOP, open("/opfs/d/last", O_RDONLY | O_NOFOLLOW));
  CHECK(chmod("/opfs/d", 0555) == 0);
  FAILS(EACCES, unlink("/opfs/d/f"));
  FAILS(EACCES, rename("/opfs/d/f", "/opfs/f"));
  CHECK(chmod("/opfs/d", 0777) == 0 && chmod("/opfs/d/f", 0444) == 0);
  FAILS(EACCES, open("/opfs/d/f", O_RDWR));
  CHECK(chmod("/opfs/d/f", 0222) == 0);
  FAILS(EACCES, open("/opfs/d/f", O_RDONLY));
  CHECK(chmod("/opfs/d/f", 0666) == 0 && has_text("/opfs/d/f", "f"));
  CHECK(unlink("/opfs/link") == 0 && unlink("/outside") == 0 && unlink("/opfs/d/last") == 0);

  // A second mount of the volume, taken away by each of three calls. What is there then is not the volume's.
  for (int way = 0; way < 3; way++) {
    CHECK(sabfs_mount("/second", NULL) == 0 && has_text("/second/d/f", "f") && device_of("/second/d") == volume);
    CHECK(put_text("/second/d/g", "g") == 0 && has_text("/opfs/d/g", "g") && rename("/second/d/g", "/second/d/h") == 0);
    CHECK(exists("/opfs/d/h") && unlink("/second/d/h") == 0 && !exists("/opfs/d/h"));
    if (way == 0) CHECK(wasmfs_unmount("/second") == 0);
    if (way == 1) EM_ASM({ FS.unmount('/second'); });
    if (way == 2) {
      CHECK(unlink("/opfs/d/f") == 0 && rmdir("/opfs/d") == 0 && rmdir("/second") == 0);
    }
    FAILS(ENOENT, open("/second/d/f", O_RDONLY));
    CHECK(mkdir("/second", 0777) == 0 && put_text("/second/own", "own") == 0 && device_of("/second/own") != volume);
    CHECK(!exists("/opfs/own") && unlink("/second/own") == 0 && rmdir("/second") == 0);
    if (way < 2) CHECK(has_text("/opfs/d/f", "f"));
  }

  // Another file system on the volume.
  CHECK(mkdir("/opfs/d", 0777) == 0 && put_text("/opfs/d/f", "f") == 0);
  CHECK(wasmfs_create_directory("/opfs/d/inside", 0777, wasmfs_create_memory_backend()) == 0);
  CHECK(put_text("/opfs/d/inside/f", "inside") == 0 && has_text("/opfs/d/inside/f", "inside"));
  CHECK(device_of("/opfs/d/inside/f") != volume && device_of("/opfs/d/f") == volume);
  CHECK(rename("/opfs/d/inside/f", "/opfs/d/inside/g") == 0 && !exists("/opfs/d/inside/f"));
  FAILS(EXDEV, rename("/opfs/d/inside/g", "/opfs/d/g"));
  CHECK(unlink("/opfs/d/inside/g") == 0 && wasmfs_unmount("/opfs/d/inside") == 0 && !exists("/opfs/d/inside"));
  CHECK(unlink("/opfs/d/f") == 0 && rmdir("/opfs/d") == 0 && count_names("/opfs") == 0);
  printf("mounts: %d failures\n", failures);
  return failures != 0;
}
