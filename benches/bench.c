// What a program pays for its file operations, as it sees them through libc.
//
//   bench MOUNT NAMES                          waits for commands of the page (bench_start)
//   bench MOUNT NAMES STEP ROUNDS BATCH_MS     measures one step and prints the best round, in ns
//
// The same source is built once for each file system that is compared. Every step works in a folder of its own thread
// (MOUNT/0, MOUNT/1 ...), so that a second thread's figures show what the file system shares, not what the test does;
// but for pread-4k-one, for which all threads have one file and one descriptor.
#include <dirent.h>
#include <emscripten.h>
#include <emscripten/threading.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef BENCH_OPFS
#include <emscripten/wasmfs.h>
#endif

enum { THREADS_MAX = 3, FILE_BLOCKS = 64, BLOCK_BYTES = 4096, SMALL_BYTES = 1024, PATH_BYTES = 96 };

// Which names the folder `churn` has at present.
enum names { NAMES_UNKNOWN, NAMES_NONE, NAMES_CREATED, NAMES_RENAMED };

struct worker {
  // On a cache line of its own, as each thread counts here.
  _Alignas(128) int id;
  int fd;
  int listed;
  enum names names;
  // Goes on from batch to batch, so that every batch touches the whole file or folder in turn.
  unsigned at;
};

static const char *mount;
static unsigned names_count;
static struct worker workers[THREADS_MAX];
static _Alignas(16) char block[BLOCK_BYTES];
static _Alignas(128) char blocks_read[THREADS_MAX][BLOCK_BYTES];

_Noreturn static void fail(const char *what, const char *path) {
  fprintf(stderr, "bench: %s %s: %s\n", what, path, strerror(errno));
  // exit() would wait for threads that wait for this one.
  abort();
}

#define CHECK(condition, path) \
  do { \
    if (!(condition)) fail(#condition, path); \
  } while (0)

static void path_of(char *path, const struct worker *w, const char *folder, char kind, unsigned index) {
  // By hand: snprintf would cost as much as some of the calls that are measured.
  char *end = path + strlen(mount);
  memcpy(path, mount, (size_t)(end - path));
  *end++ = '/';
  *end++ = (char)('0' + w->id);
  *end++ = '/';
  size_t length = strlen(folder);
  memcpy(end, folder, length);
  end += length;
  *end++ = '/';
  *end++ = kind;
  for (unsigned digit = 1000; digit; digit /= 10) *end++ = (char)('0' + index / digit % 10);
  *end = 0;
}

static void make_folder(const char *path) {
  if (mkdir(path, 0777) != 0 && errno != EEXIST) fail("mkdir", path);
}

static void create_file(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
  CHECK(fd >= 0, path);
  CHECK(write(fd, block, SMALL_BYTES) == SMALL_BYTES, path);
  CHECK(close(fd) == 0, path);
}

// --- the steps: `prepare` is not measured, `run` is

static void prepare_data(struct worker *w) {
  if (w->fd >= 0) return;
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "%s/%d/data", mount, w->id);
  w->fd = open(path, O_RDWR | O_CREAT, 0666);
  CHECK(w->fd >= 0, path);
  for (int i = 0; i < FILE_BLOCKS; i++) {
    CHECK(pwrite(w->fd, block, BLOCK_BYTES, (off_t)i * BLOCK_BYTES) == BLOCK_BYTES, path);
  }
  CHECK(fsync(w->fd) == 0, path);
}

static off_t next_offset(struct worker *w) {
  return (off_t)(w->at++ % FILE_BLOCKS) * BLOCK_BYTES;
}

__attribute__((noinline)) static void run_pread(struct worker *w, unsigned count, unsigned bytes) {
  char *buffer = blocks_read[w->id];
  while (count--) CHECK(pread(w->fd, buffer, bytes, next_offset(w)) == (ssize_t)bytes, "data");
}

static void prepare_one(struct worker *w) {
  prepare_data(&workers[0]);
}

__attribute__((noinline)) static void run_pread_one(struct worker *w, unsigned count, unsigned bytes) {
  int fd = workers[0].fd;
  char *buffer = blocks_read[w->id];
  while (count--) CHECK(pread(fd, buffer, bytes, next_offset(w)) == (ssize_t)bytes, "data");
}

__attribute__((noinline)) static void run_pwrite(struct worker *w, unsigned count, unsigned bytes) {
  while (count--) CHECK(pwrite(w->fd, block, bytes, next_offset(w)) == (ssize_t)bytes, "data");
}

__attribute__((noinline)) static void run_pwrite_fsync(struct worker *w, unsigned count, unsigned bytes) {
  while (count--) {
    CHECK(pwrite(w->fd, block, bytes, next_offset(w)) == (ssize_t)bytes, "data");
    CHECK(fsync(w->fd) == 0, "data");
  }
}

static void prepare_list(struct worker *w) {
  if (w->listed) return;
  char path[PATH_BYTES];
  for (unsigned i = 0; i < names_count; i++) {
    path_of(path, w, "list", 'f', i);
    create_file(path);
  }
  w->listed = 1;
}

__attribute__((noinline)) static void run_stat(struct worker *w, unsigned count, unsigned bytes) {
  char path[PATH_BYTES];
  struct stat st;
  while (count--) {
    path_of(path, w, "list", 'f', w->at++ % names_count);
    CHECK(stat(path, &st) == 0 && st.st_size == SMALL_BYTES, path);
  }
}

__attribute__((noinline)) static void run_open(struct worker *w, unsigned count, unsigned bytes) {
  char path[PATH_BYTES];
  while (count--) {
    path_of(path, w, "list", 'f', w->at++ % names_count);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0, path);
    CHECK(read(fd, blocks_read[w->id], bytes) == (ssize_t)bytes, path);
    CHECK(close(fd) == 0, path);
  }
}

__attribute__((noinline)) static void run_readdir(struct worker *w, unsigned count, unsigned bytes) {
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "%s/%d/list", mount, w->id);
  while (count--) {
    DIR *folder = opendir(path);
    CHECK(folder, path);
    unsigned found = 0;
    for (struct dirent *entry; (entry = readdir(folder));) found += entry->d_name[0] == 'f';
    CHECK(found == names_count, path);
    CHECK(closedir(folder) == 0, path);
  }
}

__attribute__((noinline)) static void run_create(struct worker *w, unsigned count, unsigned bytes) {
  char path[PATH_BYTES];
  for (unsigned i = 0; i < count; i++) {
    path_of(path, w, "churn", 'f', i);
    create_file(path);
  }
  w->names = NAMES_CREATED;
}

__attribute__((noinline)) static void run_rename(struct worker *w, unsigned count, unsigned bytes) {
  char from[PATH_BYTES], to[PATH_BYTES];
  for (unsigned i = 0; i < count; i++) {
    path_of(from, w, "churn", 'f', i);
    path_of(to, w, "churn", 'r', i);
    CHECK(rename(from, to) == 0, from);
  }
  w->names = NAMES_RENAMED;
}

__attribute__((noinline)) static void run_unlink(struct worker *w, unsigned count, unsigned bytes) {
  char path[PATH_BYTES];
  char kind = w->names == NAMES_RENAMED ? 'r' : 'f';
  for (unsigned i = 0; i < count; i++) {
    path_of(path, w, "churn", kind, i);
    CHECK(unlink(path) == 0, path);
  }
  w->names = NAMES_NONE;
}

static void prepare_nothing(struct worker *w) {}

// A name comes, is looked at, moves and goes.
__attribute__((noinline)) static void run_metadata(struct worker *w, unsigned count, unsigned bytes) {
  char from[PATH_BYTES], to[PATH_BYTES];
  struct stat st;
  while (count--) {
    unsigned index = w->at++ % 1000;
    path_of(from, w, "meta", 'f', index);
    path_of(to, w, "meta", 'r', index);
    int fd = open(from, O_WRONLY | O_CREAT | O_EXCL, 0666);
    CHECK(fd >= 0 && close(fd) == 0, from);
    CHECK(stat(from, &st) == 0, from);
    CHECK(rename(from, to) == 0, from);
    CHECK(unlink(to) == 0, to);
  }
}

// No file system at all: what the machine itself makes of a second thread.
__attribute__((noinline)) static void run_compute(struct worker *w, unsigned count, unsigned bytes) {
  unsigned x = w->at | 1;
  for (; count; count--) {
    for (int i = 0; i < 100; i++) {
      x ^= x << 13;
      x ^= x >> 17;
      x ^= x << 5;
    }
  }
  w->at = x;
}

static void prepare_none(struct worker *w) {
  if (w->names == NAMES_CREATED || w->names == NAMES_RENAMED) run_unlink(w, names_count, 0);
}

static void prepare_created(struct worker *w) {
  if (w->names == NAMES_CREATED) return;
  prepare_none(w);
  run_create(w, names_count, SMALL_BYTES);
}

static void prepare_any(struct worker *w) {
  if (w->names != NAMES_RENAMED) prepare_created(w);
}

struct step {
  const char *name;
  unsigned bytes;
  // Runs once over all names of a folder, which is different afterwards.
  int once;
  void (*prepare)(struct worker *);
  void (*run)(struct worker *, unsigned count, unsigned bytes);
};

static const struct step steps[] = {
    {"pread-16", 16, 0, prepare_data, run_pread},
    {"pread-4k", 4096, 0, prepare_data, run_pread},
    {"pwrite-16", 16, 0, prepare_data, run_pwrite},
    {"pwrite-4k", 4096, 0, prepare_data, run_pwrite},
    {"pwrite-fsync-4k", 4096, 0, prepare_data, run_pwrite_fsync},
    {"create-1k", SMALL_BYTES, 1, prepare_none, run_create},
    {"stat", 0, 0, prepare_list, run_stat},
    {"open-read-close-1k", SMALL_BYTES, 0, prepare_list, run_open},
    {"readdir", 0, 0, prepare_list, run_readdir},
    {"rename", 0, 1, prepare_created, run_rename},
    {"unlink", 0, 1, prepare_any, run_unlink},
    // For scaling.mjs.
    {"pread-4k-one", 4096, 0, prepare_one, run_pread_one},
    {"metadata", 0, 0, prepare_nothing, run_metadata},
    {"compute", 0, 0, prepare_nothing, run_compute},
};

enum { STEPS = sizeof steps / sizeof *steps };

// --- measuring

struct batch {
  const struct step *step;
  unsigned count;
  pthread_barrier_t start, end;
  // When each thread began and ended: any of them may be the first to go on behind a barrier, by far.
  double begin_ms[THREADS_MAX], end_ms[THREADS_MAX];
};

static struct batch batch;

static void run_timed(struct worker *w) {
  pthread_barrier_wait(&batch.start);
  batch.begin_ms[w->id] = emscripten_get_now();
  batch.step->run(w, batch.count, batch.step->bytes);
  batch.end_ms[w->id] = emscripten_get_now();
  pthread_barrier_wait(&batch.end);
}

static void *run_beside(void *arg) {
  run_timed(arg);
  return NULL;
}

// Time of one operation when `threads` threads do it at the same time, each `count` times: the whole time divided by
// the operations of all.
static double measure_ns(const struct step *step, unsigned threads, unsigned count) {
  for (unsigned i = 0; i < threads; i++) step->prepare(&workers[i]);
  if (threads == 1) {
    double begin_ms = emscripten_get_now();
    step->run(&workers[0], count, step->bytes);
    return (emscripten_get_now() - begin_ms) * 1e6 / count;
  }
  pthread_t beside[THREADS_MAX];
  batch.step = step;
  batch.count = count;
  pthread_barrier_init(&batch.start, NULL, threads);
  pthread_barrier_init(&batch.end, NULL, threads);
  for (unsigned i = 1; i < threads; i++) {
    CHECK(pthread_create(&beside[i], NULL, run_beside, &workers[i]) == 0, "thread");
  }
  run_timed(&workers[0]);
  for (unsigned i = 1; i < threads; i++) pthread_join(beside[i], NULL);
  double begin_ms = INFINITY, end_ms = 0;
  for (unsigned i = 0; i < threads; i++) {
    begin_ms = fmin(begin_ms, batch.begin_ms[i]);
    end_ms = fmax(end_ms, batch.end_ms[i]);
  }
  return (end_ms - begin_ms) * 1e6 / count / threads;
}

// As many operations as fill `batch_ms`, found out once for each step.
static double measure(unsigned index, unsigned threads, double batch_ms) {
  static unsigned counts[STEPS][THREADS_MAX + 1];
  const struct step *step = &steps[index];
  unsigned *count = &counts[index][threads];
  if (step->once) return measure_ns(step, threads, names_count);
  if (*count == 0) {
    unsigned tried = 1;
    for (;; tried *= 2) {
      // The best of three: one that was interrupted would make batches too short for the clock.
      double ms = INFINITY;
      for (int i = 0; i < 3; i++) ms = fmin(ms, measure_ns(step, threads, tried) * tried * threads / 1e6);
      // The second half runs code that the engine has optimized by then.
      if (ms >= batch_ms / 2) {
        *count = (unsigned)fmax(1, tried * batch_ms / ms);
        break;
      }
    }
  }
  return measure_ns(step, threads, *count);
}

// --- commands from the page

static _Atomic unsigned command;

// Called on the browser's main thread: step index and threads in one word, which is not 0.
EMSCRIPTEN_KEEPALIVE void bench_start(unsigned index, unsigned threads, unsigned batch_ms) {
  atomic_store(&command, 1u << 31 | batch_ms << 16 | threads << 8 | index);
  emscripten_futex_wake(&command, 1);
}

static void obey(void) {
  static char list[1024];
  char *end = list;
  for (unsigned i = 0; i < STEPS; i++) end += sprintf(end, "%s%s", i ? " " : "", steps[i].name);
  MAIN_THREAD_ASYNC_EM_ASM({ Module.benchReady(UTF8ToString($0)); }, list);
  for (;;) {
    unsigned word;
    while ((word = atomic_exchange(&command, 0)) == 0) emscripten_futex_wait(&command, 0, INFINITY);
    double ns = measure(word & 0xff, word >> 8 & 0xff, word >> 16 & 0x7fff);
    MAIN_THREAD_ASYNC_EM_ASM({ Module.benchResult($0); }, ns);
  }
}

static int measure_one(const char *name, unsigned rounds, double batch_ms) {
  for (unsigned i = 0; i < STEPS; i++) {
    if (strcmp(steps[i].name, name) != 0) continue;
    double best = INFINITY;
    for (unsigned round = 0; round < rounds; round++) best = fmin(best, measure(i, 1, batch_ms));
    printf("%s %.1f ns\n", name, best);
    return 0;
  }
  fprintf(stderr, "bench: there is no step %s\n", name);
  return 2;
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 6) {
    fprintf(stderr, "usage: bench MOUNT NAMES [STEP ROUNDS BATCH_MS]\n");
    return 2;
  }
  mount = argv[1];
  names_count = (unsigned)atoi(argv[2]);
#ifdef BENCH_OPFS
  CHECK(wasmfs_create_directory(mount, 0777, wasmfs_create_opfs_backend()) == 0, mount);
#else
  make_folder(mount);
#endif
  for (int i = 0; i < THREADS_MAX; i++) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%d", mount, i);
    make_folder(path);
    strcat(path, "/list");
    make_folder(path);
    snprintf(path, sizeof path, "%s/%d/churn", mount, i);
    make_folder(path);
    snprintf(path, sizeof path, "%s/%d/meta", mount, i);
    make_folder(path);
    workers[i] = (struct worker){.id = i, .fd = -1, .names = NAMES_NONE};
  }
  if (argc == 6) return measure_one(argv[3], (unsigned)atoi(argv[4]), atof(argv[5]));
  obey();
}
