// inotify: what is told of which changes.
#include "posix.h"
#include <dirent.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#ifndef NOTHREADS
#include <pthread.h>
#endif

static const struct { const char *name; unsigned mask; } words[] = {
  {"MODIFY", IN_MODIFY}, {"ATTRIB", IN_ATTRIB}, {"CLOSE_WRITE", IN_CLOSE_WRITE}, {"CLOSE_NOWRITE", IN_CLOSE_NOWRITE}, {"OPEN", IN_OPEN},
  {"MOVED_FROM", IN_MOVED_FROM}, {"MOVED_TO", IN_MOVED_TO}, {"CREATE", IN_CREATE}, {"DELETE", IN_DELETE}, {"DELETE_SELF", IN_DELETE_SELF},
  {"MOVE_SELF", IN_MOVE_SELF}, {"ISDIR", IN_ISDIR}, {"IGNORED", IN_IGNORED}, {"Q_OVERFLOW", IN_Q_OVERFLOW}, {"UNMOUNT", IN_UNMOUNT}};

enum { ALL = IN_ALL_EVENTS & ~IN_ACCESS };

static void told(const char *what, int fd) {
  static char buffer[65536] __attribute__((aligned(8)));
  struct pollfd one = {fd, POLLIN, 0};
  int ready = poll(&one, 1, 0), size = 0;
  ioctl(fd, FIONREAD, &size);
  errno = 0;
  ssize_t got = read(fd, buffer, sizeof buffer);
  say("%s: %d, %x, %d, %zd %s", what, ready, one.revents, size, got, got < 0 ? error_word(errno) : "");
  unsigned cookie = 0;
  for (ssize_t at = 0; at < got;) {
    const struct inotify_event *event = (const void *)(buffer + at);
    char text[200] = "";
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
      if (event->mask & words[w].mask) strcat(strcat(text, " "), words[w].name);
    }
    const char *moves = !event->cookie ? "" : event->mask & IN_MOVED_FROM ? ", moves" : event->cookie == cookie ? ", the same" : ", another";
    cookie = event->cookie;
    say("  %d:%s '%s' %u%s", event->wd, text, event->len ? event->name : "", event->len, moves);
    at += (ssize_t)(sizeof *event + event->len);
  }
}

static void of_directory(unsigned mask) {
  char text[80];
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  say("mask %x", mask);
  CALL(inotify_add_watch(fd, "dir", mask));
#define TOLD(call) (void)(call), told(#call, fd)
  TOLD(close(open("dir/file", O_WRONLY | O_CREAT, 0644)));
  int file = open("dir/file", O_RDWR);
  told("open", fd);
  TOLD(write(file, "abc", 3));
  TOLD(write(file, "abc", 3));
  TOLD(ftruncate(file, 1));
  TOLD(fchmod(file, 0600));
  TOLD(close(file));
  TOLD(close(open("dir/file", O_RDONLY)));
  TOLD(close(open("dir/file", O_WRONLY | O_TRUNC)));
  TOLD(chmod("dir/file", 0644));
  TOLD(utimensat(AT_FDCWD, "dir/file", NULL, 0));
  TOLD(rename("dir/file", "dir/renamed"));
  TOLD(rename("dir/renamed", "out"));
  TOLD(truncate("out", 10));
  TOLD(rename("out", "dir/in"));
  TOLD(link("dir/in", "dir/second"));
  TOLD(link("dir/in", "outside"));
  TOLD(unlink("outside"));
  TOLD(unlink("dir/second"));
  TOLD(symlink("in", "dir/sym"));
  TOLD(unlink("dir/sym"));
  TOLD(mkdir("dir/sub", 0755));
  TOLD(chmod("dir/sub", 0700));
  TOLD(close(open("dir/sub/below", O_WRONLY | O_CREAT, 0644)));
  TOLD(unlink("dir/sub/below"));
  TOLD(rename("dir/sub", "dir/moved"));
  TOLD(rmdir("dir/moved"));
  TOLD(mkfifo("dir/fifo", 0644));
  TOLD(unlink("dir/fifo"));
  close(open("dir/target", O_WRONLY | O_CREAT, 0644));
  told("target", fd);
  TOLD(rename("dir/in", "dir/target"));
  TOLD(unlink("dir/target"));
  TOLD(chmod("dir", 0711));
  TOLD(chmod("dir", 0755));
  snprintf(text, sizeof text, "dir/a name of %s", "some more bytes");
  TOLD(close(open(text, O_WRONLY | O_CREAT, 0644)));
  TOLD(unlink(text));
  TOLD(rename("dir", "dir2"));
  TOLD(rename("dir2", "dir"));
  close(fd);
}

static void of_itself(void) {
  int fd = inotify_init1(IN_NONBLOCK), file = open("file", O_RDWR | O_CREAT, 0644);
  CALL(inotify_add_watch(fd, "file", ALL));
  CALL(inotify_add_watch(fd, "gone", ALL));
  TOLD(write(file, "abc", 3));
  TOLD(link("file", "other name"));
  TOLD(rename("file", "moved"));
  TOLD(unlink("moved"));
  TOLD(unlink("other name"));
  TOLD(close(file));
  TOLD(rmdir("gone"));
  // Whatever is put in its place is another file.
  file = open("file", O_RDWR | O_CREAT, 0644);
  TOLD(write(file, "abc", 3));
  CALL(inotify_add_watch(fd, "file", IN_MODIFY));
  TOLD(write(file, "abc", 3));
  CALL(inotify_add_watch(fd, "file", IN_ATTRIB | IN_MASK_ADD));
  TOLD(fchmod(file, 0600));
  TOLD(write(file, "abc", 3));
  CALL(inotify_add_watch(fd, "file", IN_ATTRIB));
  TOLD(write(file, "abc", 3));
  CALL(inotify_add_watch(fd, "file", IN_ATTRIB | IN_MASK_CREATE));
  CALL(inotify_add_watch(fd, "file", IN_ATTRIB | IN_ONESHOT));
  TOLD(fchmod(file, 0644));
  TOLD(fchmod(file, 0600));
  int second = open("replaced", O_RDWR | O_CREAT, 0644);
  close(second);
  int watch = inotify_add_watch(fd, "replaced", ALL);
  TOLD(rename("file", "replaced"));
  CALL(inotify_rm_watch(fd, watch));
  unlink("replaced");
  close(file);
  told("after", fd);
  close(fd);
}

// Reading, of files and of directories.
static void of_reading(void) {
  char text[8];
  struct iovec parts[2] = {{text, 2}, {text + 2, 2}};
  int fd = inotify_init1(IN_NONBLOCK), file = open("read", O_RDWR | O_CREAT, 0644), empty = open("dir/empty", O_RDWR | O_CREAT, 0644);
  int below = open("dir/below", O_RDWR | O_CREAT, 0644);
  write(file, "abcdef", 6);
  write(below, "abcdef", 6);
  CALL(inotify_add_watch(fd, "read", IN_ACCESS | IN_MODIFY));
  CALL(inotify_add_watch(fd, "dir", IN_ACCESS));
  TOLD(pread(file, text, 4, 0));
  TOLD(pread(file, text, 4, 0) + pread(file, text, 2, 2));
  TOLD(read(file, text, 4));
  TOLD(lseek(file, 0, SEEK_SET));
  TOLD(read(file, text, 4) + (int)write(file, "gh", 2) + (int)lseek(file, 0, SEEK_SET) + (int)readv(file, parts, 2));
  TOLD(preadv(file, parts, 2, 1));
  TOLD(read(empty, text, 4));
  TOLD(pread(below, text, 0, 0));
  TOLD(pread(below, text, 4, 100));
  TOLD(pread(below, text, 4, 2));
  DIR *names = opendir("dir");
  told("opendir", fd);
  while (readdir(names)) {}
  told("readdir", fd);
  closedir(names);
  told("closedir", fd);
  CALL(inotify_rm_watch(fd, 1));
  told("rm_watch", fd);
  TOLD(read(file, text, 1));
  close(empty);
  close(below);
  close(file);
  unlink("dir/empty");
  unlink("dir/below");
  unlink("read");
  close(fd);
}

// Many changes that are read in one go.
static void of_many(void) {
  int fd = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(fd, "dir", ALL & ~(IN_OPEN | IN_CLOSE)));
  for (int i = 0; i < 2; i++) {
    close(open("dir/one", O_WRONLY | O_CREAT, 0644));
    close(open("dir/two", O_WRONLY | O_CREAT, 0644));
    unlink("dir/two");
    rename("dir/one", "dir/two");
    told("unlinked, and another one moved there", fd);
    close(open("dir/one", O_WRONLY | O_CREAT, 0644));
    rename("dir/one", "dir/two");
    told("replaced", fd);
    close(open("dir/one", O_WRONLY | O_CREAT, 0644));
    rename("dir/one", "dir/two");
    unlink("dir/two");
    told("replaced and unlinked", fd);
    int file = open("dir/one", O_WRONLY | O_CREAT, 0644);
    write(file, "abc", 3);
    fchmod(file, 0600);
    rename("dir/one", "dir/two");
    write(file, "def", 3);
    rename("dir/two", "out");
    write(file, "ghi", 3);
    rename("out", "dir/three");
    fchmod(file, 0644);
    unlink("dir/three");
    close(file);
    told("changed under each name", fd);
    close(open("dir/one", O_WRONLY | O_CREAT, 0644));
    truncate("dir/one", 10);
    link("dir/one", "dir/two");
    truncate("dir/one", 20);
    unlink("dir/one");
    truncate("dir/two", 30);
    unlink("dir/two");
    told("under two names", fd);
  }
  close(fd);
}

static void refusals(void) {
  int fd = inotify_init(), none = inotify_init1(IN_NONBLOCK), file = open("some", O_RDWR | O_CREAT, 0644);
  char text[100];
  struct stat st;
  symlink("some", "link");
  symlink("nowhere", "dangling");
  CALL(inotify_init1(12345));
  CALL(fcntl(fd, F_GETFD));
  CALL(fcntl(none, F_GETFL) & O_NONBLOCK ? 1 : 0);
  CALL(fstat(fd, &st));
  CALL(inotify_add_watch(fd, "missing", ALL));
  CALL(inotify_add_watch(fd, "some/x", ALL));
  CALL(inotify_add_watch(fd, "", ALL));
  CALL(inotify_add_watch(fd, "some", 0));
  CALL(inotify_add_watch(fd, "some", IN_ONLYDIR | ALL));
  CALL(inotify_add_watch(fd, "some", IN_MASK_ADD | IN_MASK_CREATE | ALL));
  CALL(inotify_add_watch(fd, "dangling", ALL));
  CALL(inotify_add_watch(fd, "dangling", ALL | IN_DONT_FOLLOW));
  CALL(inotify_add_watch(fd, "link", ALL | IN_DONT_FOLLOW));
  CALL(inotify_add_watch(fd, "link", ALL));
  CALL(inotify_add_watch(fd, "some", ALL));
  CALL(inotify_add_watch(fd, ".", ALL | IN_ONLYDIR));
  CALL(inotify_add_watch(999, "some", ALL));
  CALL(inotify_add_watch(file, "some", ALL));
  CALL(inotify_rm_watch(fd, 77));
  CALL(inotify_rm_watch(999, 1));
  CALL(inotify_rm_watch(file, 1));
  CALL(inotify_rm_watch(fd, 1));
  CALL(inotify_rm_watch(fd, 1));
  CALL(read(fd, text, 4));
  CALL(read(fd, text, 16));
  CALL(read(none, text, 16));
  CALL(write(fd, text, 16));
  CALL(lseek(fd, 0, SEEK_SET) == 0 || errno == ESPIPE);
  CALL(pread(fd, text, 16, 0));
  CALL(close(fd));
  CALL(close(none));
  CALL(read(fd, text, 16));
}

#ifndef NOTHREADS
static void *change_later(void *unused) {
  (void)unused;
  usleep(30000);
  close(open("waited", O_WRONLY | O_CREAT, 0644));
  return NULL;
}

static void waiting(void) {
  static char text[4096] __attribute__((aligned(8)));
  int fd = inotify_init();
  pthread_t thread;
  CALL(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
  pthread_create(&thread, NULL, change_later, NULL);
  CALL(read(fd, text, sizeof text));
  say("  %s", ((struct inotify_event *)text)->name);
  pthread_join(thread, NULL);
  unlink("waited");
  CALL(read(fd, text, sizeof text));
  pthread_create(&thread, NULL, change_later, NULL);
  struct pollfd one = {fd, POLLIN, 0};
  CALL(poll(&one, 1, -1));
  say("  %x", one.revents);
  pthread_join(thread, NULL);
  close(fd);
}
#endif

void inotify_part(void) {
  mkdir("dir", 0755);
  mkdir("gone", 0755);
  static const unsigned masks[] = {ALL, IN_CREATE | IN_DELETE, IN_MOVE, IN_MODIFY | IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVE_SELF | IN_OPEN};
  for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) of_directory(masks[m]);
  of_itself();
  of_reading();
  of_many();
  refusals();
#ifndef NOTHREADS
  waiting();
#endif
}
