// Every operation of the file system in a folder of its own. Paths are absolute, so that threads can do this side by
// side: the working directory belongs to the whole program.
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "check.h"

#define PATH(name, ...)              \
  char name[1024];                   \
  snprintf(name, sizeof name, __VA_ARGS__)

static void test_files(const char *at) {
  PATH(file, "%s/file", at);
  int fd = open(file, O_CREAT | O_EXCL | O_RDWR, 0640);
  CHECK(fd >= 0);
  FAILS(EEXIST, open(file, O_CREAT | O_EXCL | O_RDWR, 0640));
  CHECK(write(fd, "0123456789", 10) == 10);
  CHECK(lseek(fd, 0, SEEK_END) == 10);
  char buffer[64] = "";
  CHECK(pread(fd, buffer, 4, 3) == 4 && !memcmp(buffer, "3456", 4));
  CHECK(pwrite(fd, "ab", 2, 4) == 2);
  CHECK(lseek(fd, 2, SEEK_SET) == 2 && read(fd, buffer, 5) == 5 && !memcmp(buffer, "23ab6", 5));
  CHECK(pread(fd, buffer, 10, 10) == 0);
  CHECK(ftruncate(fd, 4) == 0 && pread(fd, buffer, 64, 0) == 4);
  CHECK(ftruncate(fd, 8) == 0 && pread(fd, buffer, 64, 0) == 8 && !memcmp(buffer, "0123\0\0\0\0", 8));
  CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
  CHECK(close(fd) == 0);
  FAILS(EBADF, write(fd < 0 ? 99 : 4000, "x", 1));

  fd = open(file, O_WRONLY | O_APPEND);
  CHECK(write(fd, "+", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 9);
  close(fd);
  CHECK(truncate(file, 1) == 0 && has_text(file, "0"));
  CHECK(put_text(file, "rewritten") == 0 && has_text(file, "rewritten"));
  FAILS(ENOTDIR, open(file, O_RDONLY | O_DIRECTORY));
  PATH(below, "%s/file/x", at);
  FAILS(ENOTDIR, open(below, O_RDONLY));
  FAILS(ENOENT, open("/nowhere/at/all", O_RDONLY));
  FAILS(EISDIR, open(at, O_WRONLY));

  // A pattern over block borders, read back in odd pieces.
  enum { SIZE = 300000 };
  unsigned char *bytes = malloc(SIZE), *back = malloc(SIZE);
  for (int i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 7 + i / 4096);
  CHECK(put(file, bytes, SIZE) == 0);
  fd = open(file, O_RDONLY);
  for (int i = 0; i < SIZE;) {
    ssize_t count = read(fd, back + i, i % 5000 + 1);
    if (count <= 0) break;
    i += (int)count;
  }
  CHECK(!memcmp(bytes, back, SIZE));
  close(fd);
  free(bytes);
  free(back);
  CHECK(unlink(file) == 0 && !exists(file));
  FAILS(ENOENT, unlink(file));
}

static void test_names(const char *at) {
  char name[257];
  memset(name, 'n', 256);
  name[256] = 0;
  PATH(longer, "%s/%s", at, name);
  FAILS(ENAMETOOLONG, open(longer, O_CREAT | O_WRONLY, 0666));
  FAILS(ENAMETOOLONG, mkdir(longer, 0777));
  name[255] = 0;
  PATH(longest, "%s/%s", at, name);
  CHECK(put_text(longest, "x") == 0 && has_text(longest, "x"));
  DIR *dir = opendir(at);
  int seen = 0;
  for (struct dirent *entry; (entry = readdir(dir));) seen += !strcmp(entry->d_name, name);
  closedir(dir);
  CHECK(seen == 1);
  CHECK(unlink(longest) == 0);
  const char *odd[] = {"with space", "\xe2\x82\xac\xf0\x9f\x98\x80", "\xff\xfe", "-", "a\nb", "...", "*"};
  for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
    PATH(path, "%s/%s", at, odd[i]);
    CHECK(put_text(path, odd[i]) == 0 && has_text(path, odd[i]) && unlink(path) == 0);
  }
}

static void test_directories(const char *at) {
  PATH(a, "%s/a", at);
  PATH(deep, "%s/a/b/c", at);
  PATH(b, "%s/a/b", at);
  CHECK(mkdir(a, 0755) == 0 && mkdir(b, 0700) == 0 && mkdir(deep, 0777) == 0);
  FAILS(EEXIST, mkdir(a, 0755));
  FAILS(ENOTEMPTY, rmdir(a));
  FAILS(EISDIR, unlink(a));
  struct stat status, other;
  CHECK(stat(a, &status) == 0 && S_ISDIR(status.st_mode) && (status.st_mode & 0777) == 0755);
  CHECK(status.st_nlink == 3);
  PATH(dots, "%s/a/b/c/../../../a/./b", at);
  CHECK(stat(dots, &status) == 0 && stat(b, &other) == 0 && status.st_ino == other.st_ino);

  // Many names, each listed once, with the inode that stat shows.
  enum { COUNT = 200 };
  for (int i = 0; i < COUNT; i++) {
    PATH(path, "%s/name-%d", deep, i);
    CHECK(put(path, "", 0) == 0);
  }
  char seen[COUNT] = {0};
  DIR *dir = opendir(deep);
  CHECK(dir != NULL);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    int i;
    if (sscanf(entry->d_name, "name-%d", &i) != 1) continue;
    seen[i]++;
    PATH(path, "%s/%s", deep, entry->d_name);
    CHECK(entry->d_type == DT_REG && stat(path, &status) == 0 && status.st_ino == entry->d_ino);
  }
  if (dir) closedir(dir);
  for (int i = 0; i < COUNT; i++) CHECK(seen[i] == 1);
  for (int i = 0; i < COUNT; i++) {
    PATH(path, "%s/name-%d", deep, i);
    CHECK(unlink(path) == 0);
  }
  int fd = open(a, O_RDONLY | O_DIRECTORY);
  CHECK(fd >= 0 && fsync(fd) == 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode));
  CHECK(mkdirat(fd, "by-fd", 0777) == 0 && unlinkat(fd, "by-fd", AT_REMOVEDIR) == 0);
  close(fd);
  CHECK(rmdir(deep) == 0 && rmdir(b) == 0 && rmdir(a) == 0);
  FAILS(ENOENT, rmdir(a));
}

static void test_rename(const char *at) {
  PATH(one, "%s/one", at);
  PATH(two, "%s/two", at);
  PATH(dir, "%s/dir", at);
  PATH(sub, "%s/dir/sub", at);
  PATH(moved, "%s/dir/one", at);
  CHECK(put_text(one, "1") == 0 && put_text(two, "2") == 0 && mkdir(dir, 0777) == 0 && mkdir(sub, 0777) == 0);
  CHECK(rename(one, one) == 0);
  CHECK(rename(one, two) == 0 && !exists(one) && has_text(two, "1"));
  CHECK(rename(two, moved) == 0 && !exists(two) && has_text(moved, "1"));
  CHECK(rename(moved, one) == 0 && has_text(one, "1"));
  FAILS(ENOENT, rename(two, moved));
  FAILS(EISDIR, rename(one, dir));
  FAILS(ENOTDIR, rename(dir, one));
  PATH(inside, "%s/dir/sub/dir", at);
  FAILS(EINVAL, rename(dir, inside));
  PATH(empty, "%s/empty", at);
  CHECK(mkdir(empty, 0777) == 0);
  FAILS(ENOTEMPTY, rename(empty, dir));
  CHECK(rename(dir, empty) == 0 && !exists(dir));
  PATH(sub2, "%s/empty/sub", at);
  CHECK(exists(sub2));
  // ".." of a directory that was moved leads to its new place.
  PATH(up, "%s/sub-moved/..", at);
  PATH(sub3, "%s/sub-moved", at);
  struct stat status, other;
  CHECK(rename(sub2, sub3) == 0 && stat(up, &status) == 0 && stat(at, &other) == 0 && status.st_ino == other.st_ino);
  CHECK(rmdir(sub3) == 0 && rmdir(empty) == 0);
  // An open file stays what it is, whatever happens to its name.
  int fd = open(one, O_RDWR);
  CHECK(put_text(two, "other") == 0 && rename(two, one) == 0);
  char buffer[8];
  CHECK(pread(fd, buffer, 8, 0) == 1 && buffer[0] == '1' && has_text(one, "other"));
  close(fd);
  CHECK(unlink(one) == 0);
}

static void test_links(const char *at) {
  PATH(file, "%s/file", at);
  PATH(dir, "%s/dir", at);
  PATH(hard, "%s/dir/hard", at);
  PATH(soft, "%s/soft", at);
  CHECK(put_text(file, "text") == 0 && mkdir(dir, 0777) == 0);
  CHECK(link(file, hard) == 0);
  struct stat status, other;
  CHECK(stat(file, &status) == 0 && stat(hard, &other) == 0);
  CHECK(status.st_ino == other.st_ino && status.st_dev == other.st_dev && status.st_nlink == 2);
  FAILS(EEXIST, link(file, hard));
  FAILS(ENOENT, link("/nowhere", soft));
  CHECK(put_text(hard, "changed") == 0 && has_text(file, "changed"));
  // Two names of one file: nothing happens.
  CHECK(rename(file, hard) == 0 && exists(file) && exists(hard));
  CHECK(unlink(file) == 0 && has_text(hard, "changed") && stat(hard, &status) == 0 && status.st_nlink == 1);
  CHECK(rename(hard, file) == 0 && has_text(file, "changed"));

  CHECK(symlink("file", soft) == 0 && has_text(soft, "changed"));
  char target[16];
  CHECK(readlink(soft, target, sizeof target) == 4 && !memcmp(target, "file", 4));
  CHECK(lstat(soft, &status) == 0 && S_ISLNK(status.st_mode) && status.st_size == 4);
  FAILS(EINVAL, readlink(file, target, sizeof target));
  FAILS(ELOOP, open(soft, O_RDONLY | O_NOFOLLOW));
  FAILS(EEXIST, symlink("file", soft));
  CHECK(unlink(soft) == 0 && symlink("soft", soft) == 0);
  FAILS(ELOOP, open(soft, O_RDONLY));
  CHECK(unlink(soft) == 0 && exists(file));
  char far[1024];
  memset(far, 'f', sizeof far);
  far[1023] = 0;
  char back[1024];
  CHECK(symlink(far, soft) == 0 && readlink(soft, back, sizeof back) == 1023 && !memcmp(far, back, 1023));
  FAILS(ENAMETOOLONG, open(soft, O_RDONLY));
  CHECK(unlink(soft) == 0 && unlink(file) == 0 && rmdir(dir) == 0);
}

static void test_unlinked(const char *at) {
  PATH(file, "%s/file", at);
  int fd = open(file, O_CREAT | O_RDWR, 0666);
  CHECK(write(fd, "kept", 4) == 4 && unlink(file) == 0 && !exists(file));
  char buffer[8];
  struct stat status;
  CHECK(pread(fd, buffer, 8, 0) == 4 && !memcmp(buffer, "kept", 4));
  CHECK(write(fd, "!", 1) == 1 && fstat(fd, &status) == 0 && status.st_size == 5 && status.st_nlink == 0);
  CHECK(put_text(file, "new") == 0 && has_text(file, "new"));
  CHECK(pread(fd, buffer, 8, 0) == 5);
  CHECK(close(fd) == 0 && unlink(file) == 0);
}

static void test_attributes(const char *at) {
  PATH(file, "%s/file", at);
  CHECK(put_text(file, "x") == 0);
  struct stat status;
  CHECK(chmod(file, 0604) == 0 && stat(file, &status) == 0 && (status.st_mode & 07777) == 0604);
  int fd = open(file, O_RDWR);
  CHECK(fchmod(fd, 0600) == 0 && fstat(fd, &status) == 0 && status.st_mode == (S_IFREG | 0600));
  struct timespec times[2] = {{1000000000, 123456789}, {2000000000, 987654321}};
  CHECK(futimens(fd, times) == 0 && fstat(fd, &status) == 0);
  CHECK(status.st_atim.tv_sec == 1000000000 && status.st_atim.tv_nsec == 123456789);
  CHECK(status.st_mtim.tv_sec == 2000000000 && status.st_mtim.tv_nsec == 987654321);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = 5, times[1].tv_nsec = 6;
  CHECK(utimensat(AT_FDCWD, file, times, 0) == 0 && stat(file, &status) == 0);
  CHECK(status.st_atim.tv_sec == 1000000000 && status.st_mtim.tv_sec == 5 && status.st_mtim.tv_nsec == 6);
  CHECK(write(fd, "yy", 2) == 2 && fstat(fd, &status) == 0 && status.st_mtim.tv_sec > 1000000000);
  close(fd);
  CHECK(chown(file, 7, 8) == 0 && stat(file, &status) == 0 && status.st_uid == 7 && status.st_gid == 8);
  CHECK(chmod(file, 0400) == 0);
  FAILS(EACCES, open(file, O_WRONLY));
  CHECK(status.st_blksize == 4096 && status.st_blocks >= 0);
  CHECK(unlink(file) == 0);
}

static void test_sparse(const char *at) {
  PATH(file, "%s/sparse", at);
  const off_t far = 5LL << 30;
  int fd = open(file, O_CREAT | O_RDWR, 0666);
  CHECK(pwrite(fd, "end", 3, far) == 3);
  struct stat status;
  CHECK(fstat(fd, &status) == 0 && status.st_size == far + 3 && status.st_blocks < 1000);
  char buffer[8192];
  memset(buffer, 1, sizeof buffer);
  CHECK(pread(fd, buffer, sizeof buffer, (3LL << 30) + 5) == sizeof buffer);
  for (unsigned i = 0; i < sizeof buffer; i++) {
    if (buffer[i]) {
      CHECK(!"a hole is not zero");
      break;
    }
  }
  CHECK(pread(fd, buffer, 10, far - 2) == 5 && !memcmp(buffer, "\0\0end", 5));
  CHECK(lseek(fd, -3, SEEK_END) == far);
  CHECK(ftruncate(fd, 10) == 0 && fstat(fd, &status) == 0 && status.st_size == 10);
  close(fd);
  CHECK(unlink(file) == 0);
}

static void test_everything(const char *at) {
  static const struct {
    const char *name;
    void (*run)(const char *);
  } tests[] = {
    {"files", test_files}, {"names", test_names}, {"directories", test_directories}, {"rename", test_rename},
    {"links", test_links}, {"unlinked", test_unlinked}, {"attributes", test_attributes}, {"sparse", test_sparse},
  };
  for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
    PATH(folder, "%s/%s", at, tests[i].name);
    CHECK(mkdir(folder, 0777) == 0);
    tests[i].run(folder);
    CHECK(count_names(folder) == 0);
    CHECK(rmdir(folder) == 0);
  }
}

#endif
