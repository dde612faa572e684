// copy_file_range() and sendfile().
#include "posix.h"
#ifdef __EMSCRIPTEN__
ssize_t sendfile(int, int, off_t *, size_t);
#else
#include <sys/sendfile.h>
#endif

static off_t at(int fd) { return lseek(fd, 0, SEEK_CUR); }

void copy_part(void) {
  int from = make_file("from", 50000), to = make_file("to", 100), reader = open("to", O_RDONLY), writer = open("to", O_WRONLY);
  int append = open("to", O_WRONLY | O_APPEND), folder = open(".", O_RDONLY), pipes[2];
  WENT(pipe(pipes));
  static const long long starts[] = {0, 1, 4096, 10000, 49999, 50000, 60000, -1};
  static const long long counts[] = {0, 1, 4096, 5000, 100000};
  for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
    for (size_t t = 0; t < sizeof starts / sizeof *starts; t += 2) {
      for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        if (ftruncate(to, 100)) return;
        off_t in = starts[s], out = starts[t];
        char name[80];
        snprintf(name, sizeof name, "copy %lld+%lld to %lld", starts[s], counts[c], starts[t]);
        errno = 0;
        answered(name, copy_file_range(from, &in, to, &out, (size_t)counts[c], 0));
        say("  now at %lld and %lld", (long long)in, (long long)out);
      }
    }
    show_file("to");
  }
  CALL(lseek(from, 40000, SEEK_SET));
  CALL(lseek(to, 7, SEEK_SET));
  CALL(copy_file_range(from, NULL, to, NULL, 8000, 0));
  say("  now at %lld and %lld", (long long)at(from), (long long)at(to));
  CALL(copy_file_range(from, NULL, to, NULL, 8000, 0));
  say("  now at %lld and %lld", (long long)at(from), (long long)at(to));
  CALL(copy_file_range(from, NULL, to, NULL, 8000, 0));
  show_file("to");
  off_t in = 0, out = 20000;
  CALL(copy_file_range(from, &in, from, &out, 10000, 0));
  show_file("from");
  in = 0, out = 5000;
  CALL(copy_file_range(from, &in, from, &out, 10000, 0));
  CALL(copy_file_range(from, NULL, to, NULL, 10, 1));
  CALL(copy_file_range(999, NULL, to, NULL, 10, 0));
  CALL(copy_file_range(from, NULL, 999, NULL, 10, 0));
  CALL(copy_file_range(from, NULL, reader, NULL, 10, 0));
  CALL(copy_file_range(writer, NULL, to, NULL, 10, 0));
  CALL(copy_file_range(from, NULL, append, NULL, 10, 0));
  CALL(copy_file_range(folder, NULL, to, NULL, 10, 0));
  CALL(copy_file_range(from, NULL, folder, NULL, 10, 0));
  CALL(copy_file_range(pipes[0], NULL, to, NULL, 10, 0));

  CALL(ftruncate(to, 0));
  CALL(lseek(to, 0, SEEK_SET));
  CALL(lseek(from, 100, SEEK_SET));
  CALL(sendfile(to, from, NULL, 30000));
  say("  now at %lld and %lld", (long long)at(from), (long long)at(to));
  in = 49000;
  CALL(sendfile(to, from, &in, 30000));
  say("  now at %lld, %lld and %lld", (long long)in, (long long)at(from), (long long)at(to));
  CALL(sendfile(to, from, &in, 10));
  in = -1;
  CALL(sendfile(to, from, &in, 10));
  CALL(sendfile(pipes[1], from, NULL, 100));
  show_file("to");
  CALL(sendfile(reader, from, NULL, 10));
  CALL(sendfile(to, writer, NULL, 10));
  CALL(sendfile(append, from, NULL, 10));
  CALL(sendfile(999, from, NULL, 10));
  CALL(sendfile(to, 999, NULL, 10));
  CALL(sendfile(to, folder, NULL, 10));
}
