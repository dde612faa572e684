// Extended attributes.
#include "posix.h"
#include <sys/xattr.h>

static int order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// The names that are the program's own, in order: file systems may add some.
static void list(const char *path) {
  char names[8192], *found[100];
  ssize_t size = llistxattr(path, names, sizeof names);
  if (size < 0) {
    say("  names of %s: %s", path, error_word(errno));
    return;
  }
  int count = 0;
  for (char *name = names; name < names + size; name += strlen(name) + 1) {
    if (!strncmp(name, "user.", 5) || !strncmp(name, "trusted.", 8)) found[count++] = name;
  }
  qsort(found, (size_t)count, sizeof *found, order);
  say("  names of %s: %d", path, count);
  for (int i = 0; i < count; i++) say("    %s", found[i]);
}

void xattr_part(void) {
  int fd = make_file("file", 10), folder = open(".", O_RDONLY);
  char value[5000], name[400];
  memset(value, 'v', sizeof value);
  WENT(mkdir("sub", 0755));
  WENT(symlink("file", "link"));
  WENT(symlink("nowhere", "dangling"));
  static const int flags[] = {0, XATTR_CREATE, XATTR_REPLACE, XATTR_CREATE | XATTR_REPLACE, 8};
  for (size_t first = 0; first < sizeof flags / sizeof *flags; first++) {
    for (size_t second = 0; second < sizeof flags / sizeof *flags; second++) {
      removexattr("file", "user.flags");
      char what[64];
      snprintf(what, sizeof what, "set with %d, then with %d", flags[first], flags[second]);
      errno = 0;
      answered(what, setxattr("file", "user.flags", "one", 3, flags[first]));
      errno = 0;
      answered(what, setxattr("file", "user.flags", "other", 5, flags[second]));
      errno = 0;
      answered(what, getxattr("file", "user.flags", value, sizeof value));
    }
  }
  static const char *const names[] = {"", "user", "user.", "user.x", "users.x", "trusted.", "trusted.x", "nonsense", "nonsense.x", ".x"};
  static const char *const paths[] = {"file", "sub", "link", "dangling", "missing", "file/below", ""};
  for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
      char what[64];
      snprintf(what, sizeof what, "%s of %s", names[n], paths[p]);
#define EACH(call) errno = 0, say("%s: %s: %s", what, #call, (call) < 0 ? error_word(errno) : "ok")
      EACH(getxattr(paths[p], names[n], value, sizeof value));
      EACH(setxattr(paths[p], names[n], "value", 5, 0));
      EACH(lgetxattr(paths[p], names[n], value, sizeof value));
      EACH(lsetxattr(paths[p], names[n], "value", 5, 0));
      EACH(removexattr(paths[p], names[n]));
      EACH(lremovexattr(paths[p], names[n]));
    }
    list(paths[p]);
  }
  CALL(fsetxattr(fd, "user.by descriptor", "abc", 3, 0));
  CALL(fgetxattr(fd, "user.by descriptor", value, 0));
  CALL(fgetxattr(fd, "user.by descriptor", value, 2));
  CALL(fgetxattr(fd, "user.by descriptor", value, 3));
  CALL(getxattr("link", "user.by descriptor", value, 3));
  CALL(lgetxattr("link", "user.by descriptor", value, 3));
  CALL(flistxattr(fd, value, 1));
  CALL(fremovexattr(fd, "user.by descriptor"));
  CALL(fremovexattr(fd, "user.by descriptor"));
  CALL(fsetxattr(folder, "user.of a folder", "", 0, 0));
  CALL(fgetxattr(folder, "user.of a folder", value, 10));
  CALL(fremovexattr(folder, "user.of a folder"));
  CALL(fsetxattr(999, "user.x", "", 0, 0));
  CALL(fgetxattr(999, "user.x", value, 1));
  CALL(flistxattr(999, value, 1));
  CALL(fremovexattr(999, "user.x"));
  memset(name, 'n', sizeof name);
  memcpy(name, "user.", 5);
  name[255] = 0;
  CALL(setxattr("file", name, "long", 4, 0));
  CALL(getxattr("file", name, value, 10));
  CALL(removexattr("file", name));
  name[255] = 'n', name[256] = 0;
  CALL(setxattr("file", name, "long", 4, 0));
  CALL(getxattr("file", name, value, 10));
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "user.%02d", i);
    if (setxattr("file", name, value, (size_t)(i * 7), 0)) say("%s: %s", name, error_word(errno));
  }
  list("file");
  snprintf(name, sizeof name, "user.%02d", 13);
  CALL(getxattr("file", name, NULL, 0));
}
