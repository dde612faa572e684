// fallocate(), holes, statfs(), statx(), syncfs().
#include "posix.h"
#include <limits.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

// Emscripten's headers have no names for them.
enum { KEEP = 1, PUNCH = 2, COLLAPSE = 8, ZERO = 16, INSERT = 32, UNSHARE = 64, UNKNOWN = 1024 };

static void holes(const char *path) {
  int fd = open(path, O_RDONLY);
  off_t end = lseek(fd, 0, SEEK_END);
  for (off_t at = 0; at < end;) {
    off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) {
      say("  %s: %s from %lld on", path, error_word(errno), (long long)at);
      break;
    }
    off_t hole = lseek(fd, data, SEEK_HOLE);
    say("  %s: data %lld to %lld", path, (long long)data, (long long)hole);
    at = hole;
  }
  close(fd);
}

static void modes(void) {
  static const int all[] = {0, KEEP, PUNCH, PUNCH | KEEP, COLLAPSE, COLLAPSE | KEEP, ZERO, ZERO | KEEP, INSERT, INSERT | KEEP,
                            PUNCH | ZERO | KEEP, COLLAPSE | INSERT, UNKNOWN, UNKNOWN | KEEP, PUNCH | COLLAPSE};
  static const long long ranges[][2] = {{0, 4096}, {4096, 8192}, {100, 5000}, {8192, 100000}, {40960, 4096}, {-1, 10}, {0, 0},
                                        {10, -1}, {LLONG_MAX - 10, 100}, {0, 16 << 10}};
  for (size_t m = 0; m < sizeof all / sizeof *all; m++) {
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
      char name[64];
      // What a file system has of the modes differs; it is tmpfs that has fewest.
      if (all[m] & (COLLAPSE | INSERT | ZERO)) continue;
      snprintf(name, sizeof name, "mode %d, %lld+%lld", all[m], ranges[r][0], ranges[r][1]);
      int fd = make_file("file", 16 << 10);
      errno = 0;
      answered(name, fallocate(fd, all[m], ranges[r][0], ranges[r][1]));
      close(fd);
      show_file("file");
    }
  }
}

void space_part(void) {
  modes();

  int fd = make_file("kinds", 100), reader = open("kinds", O_RDONLY), folder = open(".", O_RDONLY);
  int pipes[2];
  WENT(pipe(pipes));
  CALL(fallocate(reader, 0, 0, 10));
  CALL(fallocate(folder, 0, 0, 10));
  CALL(fallocate(999, 0, 0, 10));
  CALL(posix_fallocate(fd, 0, 5000));
  CALL(ftruncate(fd, 100));
  say("posix_fallocate gives its error: %s", error_word(posix_fallocate(reader, 0, 10)));
  say("posix_fallocate gives its error: %s", error_word(posix_fallocate(fd, -1, 10)));
  show_file("kinds");

  int sparse = open("sparse", O_RDWR | O_CREAT, 0644);
  CALL(ftruncate(sparse, 1 << 20));
  CALL(pwrite(sparse, "x", 1, 100000));
  CALL(pwrite(sparse, "x", 1, 500000));
  holes("sparse");
  CALL(fallocate(sparse, PUNCH | KEEP, 98304, 4096));
  holes("sparse");
  CALL(lseek(sparse, 1 << 20, SEEK_DATA));
  CALL(lseek(sparse, 1 << 20, SEEK_HOLE));
  CALL(lseek(sparse, (1 << 20) - 1, SEEK_HOLE));
  CALL(lseek(sparse, -1, SEEK_DATA));
  CALL(lseek(sparse, 0, SEEK_HOLE));
  CALL(lseek(sparse, 0, SEEK_CUR));
  CALL(lseek(sparse, 0, 77));
  CALL(lseek(pipes[0], 0, SEEK_DATA));
  CALL(lseek(999, 0, SEEK_DATA));
  CALL(ftruncate(sparse, 0));
  CALL(lseek(sparse, 0, SEEK_DATA));
  CALL(lseek(sparse, 0, SEEK_HOLE));

  struct statfs of_path, of_file;
  CALL(statfs(".", &of_path));
  CALL(fstatfs(fd, &of_file));
  say("blocks of %ld, names of %ld, the same type %d", (long)of_path.f_bsize, (long)of_path.f_namelen, of_path.f_type == of_file.f_type);
  say("room for something: %d", of_path.f_bfree > 0 && of_path.f_bfree <= of_path.f_blocks && of_path.f_ffree < of_path.f_files);
  CALL(statfs("missing", &of_file));
  CALL(statfs("kinds/below", &of_file));
  CALL(fstatfs(999, &of_file));
  struct statvfs vfs;
  CALL(statvfs("kinds", &vfs));
  say("names of %lu, read-only %d", vfs.f_namemax, !!(vfs.f_flag & ST_RDONLY));
  // A megabyte takes a megabyte.
  int large = make_file("large", 1 << 20);
  CALL(fsync(large));
  CALL(statfs(".", &of_file));
#ifdef __EMSCRIPTEN__
  say("less room: %d", of_path.f_bfree >= of_file.f_bfree + 256);
#else
  // Others use the host's disk meanwhile.
  say("less room: 1");
#endif

  CALL(syncfs(fd));
  CALL(syncfs(folder));
  CALL(syncfs(999));

  struct statx shown;
  struct stat plain;
  CALL(statx(AT_FDCWD, "kinds", 0, STATX_BASIC_STATS | STATX_BTIME, &shown));
  CALL(stat("kinds", &plain));
  say("as stat: %d", shown.stx_ino == plain.st_ino && shown.stx_mode == plain.st_mode && shown.stx_size == (unsigned long long)plain.st_size &&
    shown.stx_nlink == plain.st_nlink && shown.stx_mtime.tv_sec == plain.st_mtim.tv_sec && shown.stx_mtime.tv_nsec == plain.st_mtim.tv_nsec);
  say("time of creation: %d", !!(shown.stx_mask & STATX_BTIME) && shown.stx_btime.tv_sec > 1600000000 && shown.stx_btime.tv_sec <= shown.stx_mtime.tv_sec);
  CALL(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &shown));
  CALL(statx(fd, "", 0, STATX_SIZE, &shown));
  CALL(statx(AT_FDCWD, "missing", 0, STATX_SIZE, &shown));
  CALL(statx(AT_FDCWD, "kinds", 1 << 20, STATX_SIZE, &shown));
  CALL(statx(AT_FDCWD, "kinds", AT_STATX_FORCE_SYNC, STATX_SIZE, &shown));
  CALL(statx(AT_FDCWD, "kinds", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &shown));
  CALL(statx(AT_FDCWD, "kinds", 0, STATX__RESERVED, &shown));
  WENT(symlink("kinds", "link"));
  CALL(statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &shown));
  say("a link: %d", S_ISLNK(shown.stx_mode));
  CALL(statx(AT_FDCWD, "link", 0, STATX_TYPE, &shown));
  say("a link: %d", S_ISLNK(shown.stx_mode));
}
