// Calls that take paths, over paths of all forms; working directories; names of open directories.
#include "posix.h"
#include <dirent.h>
#include <limits.h>
#include <sys/statfs.h>
#include <time.h>

static char long_name[300];

static void reset(void) {
  unlink("file");
  unlink("new");
  rmdir("new");
  unlink("dir/inside");
  rmdir("dir");
  unlink("link");
  unlink("dlink");
  unlink("dangling");
  unlink("loop");
  unlink("nowhere");
  rmdir("nowhere");
  rmdir("full/sub");
  mkdir("full", 0755);
  mkdir("full/sub", 0755);
  close(make_file("file", 10));
  close(make_file("source", 3));
  mkdir("dir", 0755);
  symlink("file", "link");
  symlink("dir", "dlink");
  symlink("nowhere", "dangling");
  symlink("loop", "loop");
}

static long long do_stat(const char *p) { struct stat s; return stat(p, &s) ? -1 : s.st_mode & S_IFMT; }
static long long do_lstat(const char *p) { struct stat s; return lstat(p, &s) ? -1 : s.st_mode & S_IFMT; }
static long long do_statx(const char *p) { struct statx s; return statx(AT_FDCWD, p, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &s) ? -1 : s.stx_mode & S_IFMT; }
static long long do_access(const char *p) { return access(p, F_OK); }
static long long do_faccessat(const char *p) { return faccessat(AT_FDCWD, p, F_OK, AT_SYMLINK_NOFOLLOW); }
static long long do_open(const char *p) { return close(open(p, O_RDONLY)); }
static long long do_write(const char *p) { return close(open(p, O_WRONLY)); }
static long long do_create(const char *p) { return close(open(p, O_WRONLY | O_CREAT, 0644)); }
static long long do_folder(const char *p) { return close(open(p, O_RDONLY | O_DIRECTORY)); }
static long long do_mkdir(const char *p) { return mkdir(p, 0755); }
static long long do_rmdir(const char *p) { return rmdir(p); }
static long long do_unlink(const char *p) { return unlink(p); }
static long long do_symlink(const char *p) { return symlink("target", p); }
static long long do_link_from(const char *p) { return link(p, "new"); }
static long long do_link_to(const char *p) { return link("source", p); }
static long long do_rename_from(const char *p) { return rename(p, "new"); }
static long long do_rename_to(const char *p) { return rename("source", p); }
static long long do_rename_folder(const char *p) { return rename("dir", p); }
static long long do_chmod(const char *p) { return chmod(p, 0700); }
static long long do_truncate(const char *p) { return truncate(p, 5); }
static long long do_readlink(const char *p) { char text[PATH_MAX]; return readlink(p, text, sizeof text); }
static long long do_chdir(const char *p) { int here = open(".", O_RDONLY), result = chdir(p), error = errno; fchdir(here); close(here); errno = error; return result; }
static long long do_mknod(const char *p) { return mknod(p, S_IFREG | 0644, 0); }
static long long do_mkfifo(const char *p) { return mkfifo(p, 0644); }
static long long do_utimens(const char *p) { return utimensat(AT_FDCWD, p, NULL, 0); }
static long long do_statfs(const char *p) { struct statfs s; return statfs(p, &s); }
static long long do_opendir(const char *p) { DIR *d = opendir(p); return d ? closedir(d) : -1; }
static long long do_chown(const char *p) { return lchown(p, 0, 0); }

static void forms(void) {
  static const char *const paths[] = {"file", "file/", "file/x", "file/.", "dir", "dir/", "dir/.", "dir/..", "dir/x", "dir/x/", "link", "link/", "dlink", "dlink/",
                                      "dlink/.", "dangling", "dangling/", "missing", "missing/", "missing/x", "", ".", "..", "loop", "loop/x", "full", "full/", ".//dir///",
                                      "./file", "dir/../file", "link/..", long_name, long_name + 1};
  static const struct { const char *name; long long (*call)(const char *); int mutates; } calls[] = {
#define DO(name, mutates) {#name, do_##name, mutates}
    DO(stat, 0), DO(lstat, 0), DO(statx, 0), DO(access, 0), DO(faccessat, 0), DO(open, 0), DO(write, 0), DO(create, 1), DO(folder, 0), DO(mkdir, 1), DO(rmdir, 1),
    DO(unlink, 1), DO(symlink, 1), DO(link_from, 1), DO(link_to, 1), DO(rename_from, 1), DO(rename_to, 1), DO(rename_folder, 1), DO(chmod, 0),
    DO(truncate, 0), DO(readlink, 0), DO(chdir, 0), DO(mknod, 1), DO(mkfifo, 1), DO(utimens, 0), DO(statfs, 0), DO(opendir, 0), DO(chown, 0)};
  memset(long_name, 'n', 257);
  for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
      // Nothing above is touched.
      if (calls[c].mutates && (!strcmp(paths[p], "..") || !strcmp(paths[p], "."))) continue;
      char what[120];
      snprintf(what, sizeof what, "%s of '%.20s'", calls[c].name, paths[p]);
      reset();
      errno = 0;
      answered(what, calls[c].call(paths[p]));
      if (calls[c].mutates) unlink(paths[p]), rmdir(paths[p]), unlink("missing"), rmdir("missing"), unlink("dir/x"), rmdir("dir/x"), rename("new/sub", "full/sub");
    }
  }
  reset();
}

static void working(void) {
  char path[PATH_MAX], *end;
  struct stat st;
  mkdir("deep", 0755);
  mkdir("deep/er", 0755);
  close(make_file("deep/er/file", 4));
  int top = open(".", O_RDONLY), deep = open("deep", O_RDONLY), file = open("file", O_RDONLY);
#define HERE() (end = getcwd(path, sizeof path), say("  %s", end ? strstr(end, "/paths") : error_word(errno)))
  HERE();
  CALL(chdir("deep/er"));
  HERE();
  CALL(stat("file", &st));
  CALL(stat("../../file", &st));
  CALL(fchdir(deep));
  HERE();
  CALL(fchdir(file));
  CALL(fchdir(999));
  CALL(getcwd(path, 3) ? 0 : -1);
  CALL(getcwd(path, 0) ? 0 : -1);
  CALL(rename("../deep", "../moved"));
  HERE();
  CALL(stat("er/file", &st));
  CALL(fstatat(top, "moved/er/file", &st, 0));
  CALL(fstatat(deep, "er/file", &st, 0));
  CALL(fstatat(file, "er/file", &st, 0));
  CALL(fstatat(999, "er/file", &st, 0));
  CALL(fstatat(deep, "", &st, 0));
  CALL(fstatat(deep, "", &st, AT_EMPTY_PATH));
  CALL(mkdirat(deep, "made", 0755));
  CALL(mkdirat(file, "made", 0755));
  CALL(unlinkat(deep, "made", 0));
  CALL(unlinkat(deep, "made", AT_REMOVEDIR));
  CALL(unlinkat(deep, "made", AT_REMOVEDIR));
  CALL(unlinkat(deep, "made", 12345));
  CALL(symlinkat("er", deep, "sym"));
  CALL(readlinkat(deep, "sym", path, sizeof path));
  CALL(readlinkat(deep, "sym", path, 1));
  CALL(faccessat(deep, "sym", F_OK, 0));
  CALL(faccessat(deep, "sym", R_OK | W_OK | X_OK, AT_EACCESS));
  CALL(faccessat(deep, "sym", 64, 0));
  CALL(linkat(deep, "er/file", top, "hard", 0));
  CALL(linkat(deep, "sym", top, "hardsym", 0));
  CALL(lstat("../hardsym", &st));
  say("  %o", st.st_mode & S_IFMT);
  CALL(linkat(deep, "er/file", top, "hard", 0));
  CALL(linkat(deep, "er", top, "harddir", 0));
  CALL(linkat(deep, "er/file", top, "hard2", 12345));
  CALL(renameat(top, "hard", deep, "hard"));
  CALL(openat(deep, "hard", O_RDONLY) > 0);
  CALL(openat(999, "hard", O_RDONLY));
  CALL(openat(file, "hard", O_RDONLY));
  CALL(unlink("hard"));
  CALL(unlink("sym"));
  CALL(fchdir(top));
  // A directory that is removed while it is somebody's.
  mkdir("gone", 0755);
  CALL(chdir("gone"));
  CALL(rmdir("../gone"));
  CALL(getcwd(path, sizeof path) ? 0 : -1);
  CALL(stat(".", &st));
  say("  %d names", (int)st.st_nlink);
  CALL(open("new", O_RDWR | O_CREAT, 0644));
  CALL(mkdir("new", 0755));
  CALL(fchdir(top));
  HERE();
}

static void masks(void) {
  struct stat st;
  static const mode_t all[] = {0, 022, 077, 0777, 0133};
  for (size_t m = 0; m < sizeof all / sizeof *all; m++) {
    umask(all[m]);
    int fd = open("masked", O_RDWR | O_CREAT, 06777);
    mkdir("maskeddir", 01777);
    mknod("maskednode", S_IFREG | 0666, 0);
    mkfifo("maskedfifo", 0666);
    static const char *const made[] = {"masked", "maskeddir", "maskednode", "maskedfifo"};
    for (size_t i = 0; i < 4; i++) {
      if (lstat(made[i], &st) == 0) say("umask %o: %s %o", (unsigned)all[m], made[i], (unsigned)st.st_mode);
      unlink(made[i]);
      rmdir(made[i]);
    }
    close(fd);
    say("umask was %o", (unsigned)umask(022));
  }
}

static void times(void) {
  struct stat st;
  static const struct timespec sets[][2] = {
    {{1, 2}, {3, 4}}, {{1000000000, 999999999}, {2000000000, 1}}, {{-5, 10}, {-1, 0}}, {{0, UTIME_OMIT}, {77, 7}}, {{77, 8}, {0, UTIME_OMIT}},
    {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, {{1, 1000000000}, {1, 0}}, {{1, 0}, {1, -1}}};
  int fd = open("file", O_RDWR), folder = open("dir", O_RDONLY), reader = open("file", O_RDONLY);
  for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
    CALL(utimensat(AT_FDCWD, "file", sets[s], 0));
    stat("file", &st);
    say("  %lld.%09ld %lld.%09ld", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    CALL(utimensat(AT_FDCWD, "link", sets[s], AT_SYMLINK_NOFOLLOW));
    CALL(utimensat(AT_FDCWD, "dangling", sets[s], 0));
    CALL(utimensat(AT_FDCWD, "missing", sets[s], 0));
    CALL(futimens(fd, sets[s]));
    CALL(futimens(reader, sets[s]));
    CALL(futimens(folder, sets[s]));
    CALL(futimens(999, sets[s]));
    CALL(utimensat(folder, "../file", sets[s], 0));
    CALL(utimensat(AT_FDCWD, "file", sets[s], 9999));
    lstat("link", &st);
    if (s < 2) say("  %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  }
  struct timespec before = st.st_ctim, now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  CALL(utimensat(AT_FDCWD, "file", now, 0));
  stat("file", &st);
  say("  now: %d, changed: %d", st.st_atim.tv_sec > 1000000000, st.st_ctim.tv_sec >= before.tv_sec);
}

void paths_part(void) {
  forms();
  working();
  masks();
  times();
}
