// What an fsync costs and how many share a flush, for benches/fsync.mjs.
//
//   fsync MOUNT     waits for commands of the page (bench_start), as bench.c does
//
// Every thread overwrites the first block of a file of its own and makes that durable, back to back. The result is
// JSON: how long each took (of one thread), and what the volume's metrics say.
#include <emscripten.h>
#include <emscripten/threading.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sabfs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 8, BLOCK_BYTES = 4096, COUNT_MAX = 10000 };

static const char *mount;
static int files[THREADS_MAX];
static _Alignas(16) char block[BLOCK_BYTES];
static double times_us[COUNT_MAX];
static unsigned count;
static pthread_barrier_t start;
static _Atomic unsigned command;

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "fsync: %s: %s\n", #condition, strerror(errno)); \
      abort(); \
    } \
  } while (0)

static void overwrite(int id) {
  CHECK(pwrite(files[id], block, BLOCK_BYTES, 0) == BLOCK_BYTES);
  CHECK(fsync(files[id]) == 0);
}

static void *run_beside(void *arg) {
  pthread_barrier_wait(&start);
  for (unsigned i = 0; i < count; i++) overwrite((int)(intptr_t)arg);
  return NULL;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void run_alone(void) {
  double begin = emscripten_get_now();
  for (unsigned i = 0; i < count; i++) {
    overwrite(0);
    double end = emscripten_get_now();
    times_us[i] = (end - begin) * 1e3;
    begin = end;
  }
  qsort(times_us, count, sizeof *times_us, compare);
}

static void run_together(unsigned threads) {
  pthread_t beside[THREADS_MAX];
  pthread_barrier_init(&start, NULL, threads);
  for (unsigned i = 0; i < threads; i++) {
    CHECK(pthread_create(&beside[i], NULL, run_beside, (void *)(intptr_t)i) == 0);
  }
  for (unsigned i = 0; i < threads; i++) pthread_join(beside[i], NULL);
  pthread_barrier_destroy(&start);
}

// Called on the browser's main thread; `kind` is not used, as there is one step only.
EMSCRIPTEN_KEEPALIVE void bench_start(unsigned kind, unsigned threads, unsigned times) {
  atomic_store(&command, 1u << 31 | threads << 16 | times);
  emscripten_futex_wake(&command, 1);
}

int main(int argc, char **argv) {
  mount = argv[1];
  for (int i = 0; i < THREADS_MAX; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/fsync-%d", mount, i);
    files[i] = open(path, O_RDWR | O_CREAT, 0666);
    CHECK(files[i] >= 0);
    overwrite(i);
  }
  MAIN_THREAD_ASYNC_EM_ASM({ Module.benchReady('overwrite-fsync'); });
  for (;;) {
    unsigned word;
    while ((word = atomic_exchange(&command, 0)) == 0) emscripten_futex_wait(&command, 0, INFINITY);
    unsigned threads = word >> 16 & 0xff;
    count = word & 0xffff;
    CHECK(threads >= 1 && threads <= THREADS_MAX && count >= 1 && count <= COUNT_MAX);
    struct sabfs_metrics before, after;
    CHECK(sabfs_metrics(mount, &before) == 0);
    if (threads == 1) run_alone();
    else run_together(threads);
    CHECK(sabfs_metrics(mount, &after) == 0);
    static char result[512];
    snprintf(result, sizeof result,
             "{\"p50_us\":%f,\"p99_us\":%f,\"fsyncs\":%llu,\"commits\":%llu,\"flushes\":%llu,\"journal_bytes\":%llu,"
             "\"commit_p50_us\":%llu}",
             times_us[count / 2], times_us[count * 99 / 100], after.fsyncs - before.fsyncs,
             after.commits - before.commits,
             after.journal_flushes + after.image_flushes - before.journal_flushes - before.image_flushes,
             after.journal_written_bytes - before.journal_written_bytes, after.commit_latency.p50_us);
    MAIN_THREAD_ASYNC_EM_ASM({ Module.benchResult(UTF8ToString($0)); }, result);
  }
}
