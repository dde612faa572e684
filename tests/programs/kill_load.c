// Three loads that are killed at any moment: what the program said to be durable has to be there at its next start.
//
//   kill_load ROOT VOLUME ROUND SEED LOAD… [hasty] [verify]
//
// LOAD is one of
//   counters     3 files, a thread for each: records with the next number, at any of 256 places
//   mail         a spool: written in tmp, synced, renamed to new, the folder synced; now and then some mail is removed
//   ledger=MODE  SQLite: transfers between accounts, whose sum stays (kill_ledger.c)
//
// It first reads what the last start left and says it, one `found …` line for each thing, then `ready`; `verify` ends
// there. Then each load works until the program is killed and says one `ack …` line for each step, after the fsync has
// returned. A thread does one step after the other, so that at a kill one of its steps may be under way, which is there
// or is not. tests/kill/judge.mjs compares. With `hasty` no step is synced.
#include "kill_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTERS 3
#define PLACES 256
// A record lies in two blocks, mostly.
#define STRIDE_BYTES 4500
#define FILLING_BYTES 4000
#define MAILS 40
#define NAME_BYTES 32
#define LONGEST_BYTES 30000
#define PIECE_BYTES 7000

struct kill_plan plan;

// kill_load.js
void kill_say(const char *volume, const char *line);

void say(const char *format, ...) {
  char line[4096];
  va_list list;
  va_start(list, format);
  const int length = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  if (length < 0 || length >= (int)sizeof line) abort();
  kill_say(plan.volume, line);
  puts(line);
}

void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

const char *in_root(char *path, const char *name) {
  snprintf(path, 256, "%s/%s", plan.root, name);
  return path;
}

void make_durable(int file, bool data_only, const char *what) {
  if (plan.hasty) return;
  if ((data_only ? fdatasync(file) : fsync(file)) != 0) fail(what);
}

static void sync_folder(const char *name) {
  char path[256];
  const int folder = open(in_root(path, name), O_RDONLY | O_DIRECTORY);
  if (folder < 0) fail(path);
  make_durable(folder, false, path);
  close(folder);
}

static void make_folder(const char *name) {
  char path[256];
  if (mkdir(in_root(path, name), 0777) != 0 && errno != EEXIST) fail(path);
}

// found entry PATH SIZE: everything that is there, before anybody opens it; what is in the spool's folders read_spool() says.
static int say_entry(const char *path, const struct stat *status, int kind, struct FTW *at) {
  (void)kind;
  const char *name = path + strlen(plan.root) + 1;
  if (at->level > 0 && strncmp(name, "mail/new/", 9) != 0 && strncmp(name, "mail/tmp/", 9) != 0)
    say("found entry %s %lld", name, (long long)status->st_size);
  return 0;
}

// Counters

struct record {
  char magic[8];
  uint32_t counter, place;
  uint64_t number;
  uint64_t filling[FILLING_BYTES / 8];
};
_Static_assert(sizeof(struct record) < STRIDE_BYTES, "records do not touch");

static int counter_files[COUNTERS];
static uint64_t counters[COUNTERS];

static void make_record(struct record *record, uint32_t counter, uint32_t place, uint64_t number) {
  memcpy(record->magic, "COUNTER", 8);
  record->counter = counter;
  record->place = place;
  record->number = number;
  uint64_t state = number << 16 ^ (uint64_t)counter << 8 ^ place;
  for (int i = 0; i < FILLING_BYTES / 8; i++) record->filling[i] = next_random(&state);
}

// What was written at the place: a number, 0 for nothing, or -1 for what was never written like this.
static int64_t number_at(int counter, int place) {
  static struct record found, right;
  static const struct record nothing;
  memset(&found, 0, sizeof found);
  if (pread(counter_files[counter], &found, sizeof found, (off_t)place * STRIDE_BYTES) < 0) fail("read a counter");
  if (memcmp(&found, &nothing, sizeof found) == 0) return 0;
  make_record(&right, (uint32_t)counter, (uint32_t)place, found.number);
  return memcmp(&found, &right, sizeof found) == 0 ? (int64_t)found.number : -1;
}

// found counter COUNTER PLACE:NUMBER…
static void open_counters(void) {
  make_folder("counters");
  for (int i = 0; i < COUNTERS; i++) {
    char name[32], path[256], line[PLACES * 14] = "";
    snprintf(name, sizeof name, "counters/%d", i);
    counter_files[i] = open(in_root(path, name), O_RDWR | O_CREAT, 0666);
    if (counter_files[i] < 0) fail(path);
    int length = 0;
    for (int place = 0; place < PLACES; place++) {
      const int64_t number = number_at(i, place);
      if (number != 0) length += snprintf(line + length, sizeof line - (size_t)length, " %d:%lld", place, (long long)number);
      if (number > (int64_t)counters[i]) counters[i] = (uint64_t)number;
    }
    say("found counter %d%s", i, line);
  }
  sync_folder("counters");
}

static void *count(void *argument) {
  const int counter = (int)(intptr_t)argument;
  uint64_t state = plan.seed + (uint64_t)counter;
  struct record record;
  for (;;) {
    const uint64_t number = ++counters[counter];
    const uint32_t place = (uint32_t)(next_random(&state) % PLACES);
    make_record(&record, (uint32_t)counter, place, number);
    const off_t at = (off_t)place * STRIDE_BYTES;
    if (pwrite(counter_files[counter], &record, sizeof record, at) != (ssize_t)sizeof record) fail("pwrite");
    make_durable(counter_files[counter], number % 2, "fsync");
    say("ack counter %d %u %llu", counter, place, (unsigned long long)number);
  }
  return NULL;
}

// Mail

static char mails[2 * MAILS][NAME_BYTES];
static int mail_count;

// A mail's text follows from its name. Returns its length: up to eight blocks, and every fourth is so short that it
// lies in its inode.
static size_t compose(char *text, const char *name) {
  uint64_t state = 0;
  for (const char *c = name; *c; c++) state = (state ^ (uint64_t)*c) * 0x100000001b3;
  const uint64_t longest = next_random(&state) % 4 ? LONGEST_BYTES : 150;
  const size_t length = next_random(&state) % longest;
  for (size_t i = 0; i < length; i++) text[i] = (char)next_random(&state);
  return length;
}

// found mail|tmp NAME right|wrong: a mail has its text, a draft as many whole pieces of it as were written.
static void read_mail(const char *what, const char *folder, const char *name) {
  static char text[LONGEST_BYTES + 1], wanted[LONGEST_BYTES];
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  const int file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  size_t length = 0;
  for (ssize_t part; (part = read(file, text + length, sizeof text - length)) != 0; length += (size_t)part) {
    if (part < 0) fail(path);
  }
  close(file);
  const size_t whole = compose(wanted, name);
  const bool is_part = strcmp(what, "tmp") == 0 && length < whole && length % PIECE_BYTES == 0;
  const bool right = (length == whole || is_part) && memcmp(text, wanted, length) == 0;
  say("found %s %s %s", what, name, right ? "right" : "wrong");
}

static void read_spool(const char *what, const char *name) {
  char path[256];
  DIR *folder = opendir(in_root(path, name));
  if (!folder) fail(path);
  for (struct dirent *entry; errno = 0, (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    read_mail(what, path, entry->d_name);
    if (strcmp(what, "tmp") == 0) {
      char draft[600];
      snprintf(draft, sizeof draft, "%s/%s", path, entry->d_name);
      if (unlink(draft) != 0) fail(draft);
    } else {
      errno = E2BIG;
      if (mail_count == 2 * MAILS || strlen(entry->d_name) >= NAME_BYTES) fail(path);
      strcpy(mails[mail_count++], entry->d_name);
    }
  }
  if (errno) fail(path);
  closedir(folder);
}

static void open_mail(void) {
  make_folder("mail");
  make_folder("mail/tmp");
  make_folder("mail/new");
  read_spool("mail", "mail/new");
  read_spool("tmp", "mail/tmp");
  for (const char **name = (const char *[]){"mail", "mail/tmp", "mail/new", NULL}; *name; name++) sync_folder(*name);
}

static void deliver_one(const char *name) {
  static char text[LONGEST_BYTES];
  char part[64], from[256], to[256];
  snprintf(part, sizeof part, "mail/tmp/%s", name);
  in_root(from, part);
  snprintf(part, sizeof part, "mail/new/%s", name);
  in_root(to, part);
  const size_t length = compose(text, name);
  const int file = open(from, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (file < 0) fail(from);
  // In pieces, so that a commit of another thread's may come between them.
  for (size_t at = 0; at < length; at += PIECE_BYTES) {
    const size_t piece = length - at < PIECE_BYTES ? length - at : PIECE_BYTES;
    if (write(file, text + at, piece) != (ssize_t)piece) fail(from);
  }
  make_durable(file, false, from);
  if (close(file) != 0 || rename(from, to) != 0) fail(from);
  sync_folder("mail/new");
  say("ack mail %s", name);
}

static void remove_one(uint64_t *state) {
  char *name = mails[next_random(state) % (uint64_t)mail_count];
  char part[64], path[256];
  // From now on it may be there or not.
  say("begin unmail %s", name);
  snprintf(part, sizeof part, "mail/new/%s", name);
  if (unlink(in_root(path, part)) != 0) fail(path);
  sync_folder("mail/new");
  say("ack unmail %s", name);
  memmove(name, mails[--mail_count], NAME_BYTES);
}

static void *deliver(void *unused) {
  uint64_t state = plan.seed;
  for (int number = 0;; number++) {
    char *name = mails[mail_count];
    snprintf(name, NAME_BYTES, "%s-%d", plan.round, number);
    deliver_one(name);
    mail_count++;
    if (mail_count < MAILS && next_random(&state) % 4) continue;
    do remove_one(&state);
    while (mail_count > MAILS);
  }
  return unused;
}

// The argument `name`, or what comes after it.
static const char *argument(char **arguments, const char *name) {
  for (; *arguments; arguments++) {
    if (strncmp(*arguments, name, strlen(name)) == 0) return *arguments + strlen(name);
  }
  return NULL;
}

static pthread_t begin(void *(*work)(void *), intptr_t with) {
  pthread_t thread;
  if ((errno = pthread_create(&thread, NULL, work, (void *)with)) != 0) fail("pthread_create");
  return thread;
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  char **loads = argv + 5;
  plan = (struct kill_plan){argv[1], argv[2], argv[3], strtoull(argv[4], NULL, 10), false};
  const char *journal_mode = argument(loads, "ledger=");
  const bool has_counters = argument(loads, "counters"), has_mail = argument(loads, "mail");
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  if (nftw(plan.root, say_entry, 8, FTW_PHYS) != 0) fail(plan.root);
  if (has_counters) open_counters();
  if (has_mail) open_mail();
  if (journal_mode) open_ledgers();
  sync_folder(".");
  say("ready");
  if (argument(loads, "verify")) return 0;

  plan.hasty = argument(loads, "hasty");
  pthread_t thread;
  for (intptr_t i = 0; has_counters && i < COUNTERS; i++) thread = begin(count, i);
  if (has_mail) thread = begin(deliver, 0);
  if (journal_mode) transfer(journal_mode);
  // None of them ends.
  pthread_join(thread, NULL);
}
