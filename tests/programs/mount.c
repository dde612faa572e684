// Mounting from C: mount WAY VOLUME [DURABILITY], where WAY is main, thread, threads or backend.
#include <emscripten/wasmfs.h>
#include <sabfs.h>

#include "check.h"

#ifndef NOTHREADS
#include <pthread.h>
#endif

static struct sabfs_options options;
static int result;

static void *mount_it(void *path) {
  int error = sabfs_mount(path, &options);
  if (error) result = error;
  return NULL;
}

static int use(const char *path) {
  char file[64];
  snprintf(file, sizeof file, "%s/file", path);
  CHECK(put_text(file, "mounted from C") == 0 && has_text(file, "mounted from C"));
  int fd = open(file, O_RDONLY);
  CHECK(fd >= 0 && fsync(fd) == 0);
  close(fd);
  return failures;
}

int main(int argc, char **argv) {
  const char *way = argc > 1 ? argv[1] : "main";
  options.volume = argc > 2 ? argv[2] : "default";
  options.capacity_bytes = 32 << 20;
  options.durability = argc > 3 ? (uint32_t)atoi(argv[3]) : SABFS_DEFAULT;
  if (!strcmp(way, "backend")) {
    backend_t backend = wasmfs_create_sabfs_backend();
    if (!backend) {
      printf("no backend: %s\n", strerror(errno));
      return 2;
    }
    CHECK(wasmfs_create_directory("/c", 0777, backend) == 0);
  } else if (!strcmp(way, "main")) {
    mount_it("/c");
#ifndef NOTHREADS
  } else {
    // Both ask at once; one volume serves both mounts.
    pthread_t first, second;
    pthread_create(&first, NULL, mount_it, "/c");
    if (!strcmp(way, "threads")) {
      pthread_create(&second, NULL, mount_it, "/deep/er/d");
      pthread_join(second, NULL);
    }
    pthread_join(first, NULL);
    if (!result && !strcmp(way, "threads")) CHECK(use("/deep/er/d") == 0 && exists("/c/file"));
#endif
  }
  if (result) {
    printf("sabfs_mount: %s\n", strerror(-result));
    return 2;
  }
  CHECK(sabfs_mount("relative", NULL) == -EINVAL && sabfs_mount("/", NULL) == -EINVAL);
  CHECK(sabfs_mount("/c", NULL) < 0);
  use("/c");
  printf("mounted by %s: %d failures\n", way, failures);
  return failures != 0;
}
