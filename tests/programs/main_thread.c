// A program whose main() runs on the main thread of a page, and has to wait there.
//
//   main_thread FOLDER queue     for a thread that has locked the store and waits for the main thread in its turn
//   main_thread FOLDER lock      for a lock that is kept for too long
//   main_thread FOLDER fsync     for a keeper that does not come to commit
//   main_thread FOLDER suspend   for a keeper that comes when the page goes on (-sASYNCIFY, -sJSPI)
#include <emscripten.h>

#include "check.h"

#ifndef NOTHREADS
#include <emscripten/threading.h>
#include <pthread.h>
#endif

// JavaScript (gate.js): the store's gate is closed, so that nothing can be changed or committed, and opened again.
void gate_close(void);
void gate_open(void);
void gate_open_later(int ms);
int gate_timers(void);

static char kept[128], made[128];
static char bytes[4096];

#ifndef NOTHREADS
enum { START, CLOSED, OPEN };
static _Atomic int stage;

static void *keep_closed(void *asks) {
  gate_close();
  stage = CLOSED;
  if (asks) MAIN_THREAD_EM_ASM({ Module.asked = true; });
  else while (stage == CLOSED) usleep(1000);
  gate_open();
  stage = OPEN;
  return NULL;
}

static pthread_t close_in_thread(int asks) {
  pthread_t thread;
  stage = START;
  CHECK(pthread_create(&thread, NULL, keep_closed, asks ? &stage : NULL) == 0);
  // Not in a lock of Emscripten's, in which it would do what the thread asks for.
  while (stage == START) {
  }
  return thread;
}

static void open_again(pthread_t thread) {
  stage = OPEN;
  pthread_join(thread, NULL);
}

static void test_queue(void) {
  pthread_t thread = close_in_thread(1);
  CHECK(put_text(made, "made") == 0 && has_text(made, "made"));
  CHECK(EM_ASM_INT({ return Module.asked; }) == 1);
  pthread_join(thread, NULL);
}

static void test_lock(void) {
  pthread_t thread = close_in_thread(0);
  FAILS(EAGAIN, open(made, O_CREAT | O_WRONLY, 0666));
  FAILS(EAGAIN, unlink(kept));
  FAILS(EAGAIN, chmod(kept, 0600));
  // Nothing has happened, and looking needs no lock.
  struct stat status;
  CHECK(!exists(made) && stat(kept, &status) == 0 && status.st_size == sizeof bytes);
  open_again(thread);
  CHECK(put_text(made, "made") == 0 && has_text(made, "made") && chmod(kept, 0600) == 0);
}

static void test_fsync(void) {
  int fd = open(kept, O_RDWR);
  CHECK(fd >= 0 && pwrite(fd, "changed", 7, 0) == 7);
  pthread_t thread = close_in_thread(0);
  FAILS(EIO, fsync(fd));
  FAILS(EAGAIN, pwrite(fd, "changed", 7, 0));
  open_again(thread);
  CHECK(pwrite(fd, "changed", 7, 0) == 7 && fsync(fd) == 0);
  CHECK(pwrite(fd, "again", 5, 0) == 5 && close(fd) == 0);
}
#endif

static void test_suspend(void) {
  int fd = open(kept, O_RDWR);
  CHECK(fd >= 0 && pwrite(fd, "changed", 7, 0) == 7);
  gate_close();
  gate_open_later(50);
  CHECK(fsync(fd) == 0);
  CHECK(gate_timers() == 1);
  int synchronous = open(kept, O_RDWR | O_DSYNC);
  CHECK(synchronous >= 0 && pwrite(synchronous, "changed", 7, 0) == 7);
  CHECK(close(synchronous) == 0 && close(fd) == 0);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : "/opfs", *what = argc > 2 ? argv[2] : "";
  snprintf(kept, sizeof kept, "%s/kept", folder);
  snprintf(made, sizeof made, "%s/made", folder);
  CHECK(put(kept, bytes, sizeof bytes) == 0);
  if (!strcmp(what, "suspend")) test_suspend();
#ifndef NOTHREADS
  else if (!strcmp(what, "queue")) test_queue();
  else if (!strcmp(what, "lock")) test_lock();
  else if (!strcmp(what, "fsync")) test_fsync();
#endif
  else CHECK(!"there is no such test");
  printf("%s: %d failures\n", what, failures);
  return failures != 0;
}
