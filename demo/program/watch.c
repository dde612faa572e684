// A thread that walks the tree again and again and tells the page when something has changed: names, sizes, times.
#include <dirent.h>
#include <emscripten/threading.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "page.h"

// More would be of no use on a screen.
#define MOST 500
#define LONGEST 1024

static char top[LONGEST];
static _Atomic uint32_t pokes;
static _Atomic int is_busy;

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// Appends the folder's entries, each as [depth, name, type, mode, size, mtime in ms, link's target]; returns how many
// there are in all, with those that are left out.
static int list(sqlite3_str *to, const char *folder, int depth, int count) {
  DIR *dir = opendir(folder);
  if (dir == NULL) return count;
  char *names[MOST];
  int found = 0, more = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (found == MOST) more++;
    else if ((names[found] = sqlite3_mprintf("%s", entry->d_name)) != NULL) found++;
  }
  closedir(dir);
  qsort(names, (size_t)found, sizeof *names, compare);
  for (int i = 0; i < found; i++) {
    char path[LONGEST];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    // A file may be gone since it was listed: SQLite's journal often is.
    if (lstat(path, &info) == 0) {
      const int is_folder = S_ISDIR(info.st_mode), is_link = S_ISLNK(info.st_mode);
      if (count < MOST) {
        sqlite3_str_appendf(to, "%s[%d,", count ? "," : "", depth);
        page_quote(to, names[i], (int)strlen(names[i]));
        sqlite3_str_appendf(to, ",\"%s\",%d,%lld,%.3f", is_folder ? "dir" : is_link ? "link" : "file",
                            (int)(info.st_mode & 07777), (long long)info.st_size,
                            (double)info.st_mtim.tv_sec * 1e3 + (double)info.st_mtim.tv_nsec / 1e6);
        char target[LONGEST];
        const ssize_t length = is_link ? readlink(path, target, sizeof target) : -1;
        if (length >= 0) {
          sqlite3_str_appendchar(to, 1, ',');
          page_quote(to, target, (int)length);
        }
        sqlite3_str_appendchar(to, 1, ']');
      }
      count++;
      if (is_folder) count = list(to, path, depth + 1, count);
    }
    sqlite3_free(names[i]);
  }
  return count + more;
}

static void *watch(void *unused) {
  char *last = NULL;
  for (;;) {
    const uint32_t seen = atomic_load(&pokes);
    sqlite3_str *message = page_message("tree");
    sqlite3_str_appendall(message, ",\"entries\":[");
    const int count = list(message, top, 0, 0);
    sqlite3_str_appendf(message, "],\"count\":%d", count);
    struct statvfs space;
    if (statvfs(top, &space) == 0) {
      sqlite3_str_appendf(message, ",\"space\":{\"total\":%lld,\"free\":%lld}",
                          (long long)space.f_blocks * (long long)space.f_frsize,
                          (long long)space.f_bfree * (long long)space.f_frsize);
    }
    sqlite3_str_appendchar(message, 1, '}');
    char *text = sqlite3_str_finish(message);
    if (text && (last == NULL || strcmp(text, last) != 0)) {
      sqlite3_str *copy = sqlite3_str_new(NULL);
      sqlite3_str_appendall(copy, text);
      page_send(copy);
      sqlite3_free(last);
      last = text;
    } else {
      sqlite3_free(text);
    }
    // Others may change the tree too (another thread, the page), so it is looked at even when nobody pokes.
    emscripten_futex_wait(&pokes, seen, atomic_load(&is_busy) ? 100 : 700);
  }
  return unused;
}

void page_watch(const char *folder) {
  snprintf(top, sizeof top, "%s", folder);
  pthread_t thread;
  if (pthread_create(&thread, NULL, watch, NULL) == 0) pthread_detach(thread);
}

void page_watch_busy(int busy) {
  atomic_store(&is_busy, busy);
  atomic_fetch_add(&pokes, 1);
  emscripten_futex_wake(&pokes, 1);
}
