// Three loads that are killed at any moment: what the program said to be durable has to be there at its next start.
//
//   kill_load ROOT JOURNAL_MODE [verify]
//
// It first reads what the last start left and prints it, one `found …` line for each thing, then `ready`; `verify` ends
// there. Then it works until it is killed and prints one `ack …` line for each step, after the fsync has returned.
// tests/kill/judge.mjs compares both.
//
//   counters  4 files, each with a number in two places
//   mail      a spool: written in tmp, synced, renamed to new, the folder synced; the oldest is removed
//   ledger    SQLite: transfers between accounts, whose sum stays
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTERS 4
// Where a counter's second copy is: in another block than the first one.
#define COPY_AT 20480
// A mail is removed when this many newer ones are durable; tests/kill/judge.mjs counts on it.
#define KEPT 24
#define LONGEST_BYTES 30000
#define ACCOUNTS 10
#define BALANCE 100

static const char *root, *journal_mode;
static uint64_t counters[COUNTERS];
static int counter_files[COUNTERS];
static uint64_t oldest_mail = 1, newest_mail;
static sqlite3 *db;
static int64_t transfers;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s%s%s\n", what, strerror(errno), db ? "; SQLite: " : "", db ? sqlite3_errmsg(db) : "");
  exit(1);
}

static uint64_t next_random(uint64_t *state) {
  // splitmix64
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static const char *in_root(char *path, const char *name) {
  snprintf(path, 256, "%s/%s", root, name);
  return path;
}

static void sync_folder(const char *name) {
  char path[256];
  const int folder = open(in_root(path, name), O_RDONLY | O_DIRECTORY);
  if (folder < 0 || fsync(folder) != 0) fail(path);
  close(folder);
}

static void make_folder(const char *name) {
  char path[256];
  if (mkdir(in_root(path, name), 0777) != 0 && errno != EEXIST) fail(path);
}

// Counters

static void open_counters(void) {
  make_folder("counters");
  for (int i = 0; i < COUNTERS; i++) {
    char name[32], path[256];
    snprintf(name, sizeof name, "counters/%d", i);
    counter_files[i] = open(in_root(path, name), O_RDWR | O_CREAT, 0666);
    uint64_t value = 0;
    // It goes on from the copy, which is written last: the two are never further apart than one step.
    if (counter_files[i] < 0 || pread(counter_files[i], &value, 8, 0) < 0 ||
        pread(counter_files[i], &counters[i], 8, COPY_AT) < 0)
      fail(path);
    printf("found counter %d %llu %llu\n", i, (unsigned long long)value, (unsigned long long)counters[i]);
  }
}

// The argument is the first of two counters, which the thread advances in turn.
static void *count(void *argument) {
  const int first = (int)(intptr_t)argument;
  for (int turn = 0;; turn++) {
    const int i = first + turn % 2;
    const uint64_t value = ++counters[i];
    if (pwrite(counter_files[i], &value, 8, 0) != 8 || pwrite(counter_files[i], &value, 8, COPY_AT) != 8) fail("pwrite");
    if (value % 2 ? fsync(counter_files[i]) : fdatasync(counter_files[i])) fail("fsync");
    printf("ack counter %d %llu\n", i, (unsigned long long)value);
  }
  return NULL;
}

// Mail

// A mail's text follows from its number. Returns its length.
static size_t compose(char *text, uint64_t number) {
  uint64_t state = number;
  const size_t length = 1 + next_random(&state) % LONGEST_BYTES;
  for (size_t i = 0; i < length; i++) text[i] = (char)next_random(&state);
  return length;
}

static uint64_t hash(const char *text, size_t length) {
  // FNV-1a
  uint64_t value = 0xcbf29ce484222325;
  for (size_t i = 0; i < length; i++) value = (value ^ (uint8_t)text[i]) * 0x100000001b3;
  return value;
}

static void read_mail(uint64_t number) {
  static char text[LONGEST_BYTES + 1], wanted[LONGEST_BYTES];
  char name[64], path[256];
  snprintf(name, sizeof name, "mail/new/%llu", (unsigned long long)number);
  const int file = open(in_root(path, name), O_RDONLY);
  if (file < 0) fail(path);
  const ssize_t length = read(file, text, sizeof text);
  if (length < 0) fail(path);
  close(file);
  const bool right = (size_t)length == compose(wanted, number) && memcmp(text, wanted, (size_t)length) == 0;
  printf("found mail %llu %016llx%s\n", (unsigned long long)number, (unsigned long long)hash(text, (size_t)length),
         right ? "" : " wrong");
}

static void open_mail(void) {
  make_folder("mail");
  make_folder("mail/tmp");
  make_folder("mail/new");
  char path[256];
  DIR *folder = opendir(in_root(path, "mail/new"));
  if (!folder) fail(path);
  oldest_mail = UINT64_MAX;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    const uint64_t number = strtoull(entry->d_name, NULL, 10);
    if (number < oldest_mail) oldest_mail = number;
    if (number > newest_mail) newest_mail = number;
    read_mail(number);
  }
  closedir(folder);
  if (newest_mail == 0) oldest_mail = 1;

  if (!(folder = opendir(in_root(path, "mail/tmp")))) fail(path);
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    printf("found tmp %s\n", entry->d_name);
    char name[600];
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    if (unlink(name) != 0) fail(name);
  }
  closedir(folder);
  sync_folder("mail/tmp");
}

static void *deliver(void *unused) {
  static char text[LONGEST_BYTES];
  for (;;) {
    const uint64_t number = newest_mail + 1;
    char name[64], from[256], to[256];
    snprintf(name, sizeof name, "mail/tmp/%llu", (unsigned long long)number);
    in_root(from, name);
    snprintf(name, sizeof name, "mail/new/%llu", (unsigned long long)number);
    in_root(to, name);
    const size_t length = compose(text, number);
    const int file = open(from, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (file < 0) fail(from);
    // In pieces, so that a commit of another thread's may come between them.
    for (size_t at = 0; at < length; at += 7000) {
      const size_t piece = length - at < 7000 ? length - at : 7000;
      if (write(file, text + at, piece) != (ssize_t)piece) fail(from);
    }
    if (fsync(file) != 0 || close(file) != 0 || rename(from, to) != 0) fail(from);
    sync_folder("mail/new");
    newest_mail = number;
    printf("ack mail %llu %016llx\n", (unsigned long long)number, (unsigned long long)hash(text, length));

    while (newest_mail - oldest_mail >= KEPT) {
      snprintf(name, sizeof name, "mail/new/%llu", (unsigned long long)oldest_mail);
      if (unlink(in_root(to, name)) != 0) fail(to);
      sync_folder("mail/new");
      printf("ack unmail %llu\n", (unsigned long long)oldest_mail++);
    }
  }
  return unused;
}

// Ledger

static void run(const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail(sql);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail(sql);
  return statement;
}

// found transfers COUNT sum SUM bad BAD integrity ANSWER: BAD counts numbers that are missing or twice below the last
// one, and accounts whose balance does not follow from the transfers.
static void verify_ledger(void) {
  int64_t balances[ACCOUNTS], sum = 0;
  int bad = 0;
  for (int i = 0; i < ACCOUNTS; i++) balances[i] = BALANCE;
  sqlite3_stmt *all = prepare("SELECT n, source, target, amount FROM transfers ORDER BY n");
  int step;
  while ((step = sqlite3_step(all)) == SQLITE_ROW) {
    if (sqlite3_column_int64(all, 0) != ++transfers) bad++;
    balances[sqlite3_column_int(all, 1) % ACCOUNTS] -= sqlite3_column_int64(all, 3);
    balances[sqlite3_column_int(all, 2) % ACCOUNTS] += sqlite3_column_int64(all, 3);
  }
  if (step != SQLITE_DONE) fail("read the transfers");
  sqlite3_finalize(all);
  sqlite3_stmt *accounts = prepare("SELECT id, balance FROM accounts ORDER BY id");
  int known = 0;
  while ((step = sqlite3_step(accounts)) == SQLITE_ROW) {
    const int id = sqlite3_column_int(accounts, 0);
    if (id != known++ || balances[id % ACCOUNTS] != sqlite3_column_int64(accounts, 1)) bad++;
    sum += sqlite3_column_int64(accounts, 1);
  }
  if (step != SQLITE_DONE) fail("read the accounts");
  sqlite3_finalize(accounts);
  sqlite3_stmt *integrity = prepare("PRAGMA integrity_check");
  if (sqlite3_step(integrity) != SQLITE_ROW) fail("integrity_check");
  printf("found transfers %lld sum %lld bad %d integrity %s\n", (long long)transfers, (long long)sum,
         bad + (known != ACCOUNTS), sqlite3_column_text(integrity, 0));
  sqlite3_finalize(integrity);
}

static void open_ledger(void) {
  char path[256], sql[128];
  in_root(path, "ledger.db");
  struct stat status;
  const bool is_new = stat(path, &status) != 0;
  if (sqlite3_open(path, &db) != SQLITE_OK) fail(path);
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", journal_mode);
  run(sql);
  run("PRAGMA synchronous=FULL");
  // Once it was said to be there, a table that is missing is a loss, not a beginning.
  if (is_new) {
    run("BEGIN; CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INT);"
        "CREATE TABLE transfers(n INTEGER PRIMARY KEY, source INT, target INT, amount INT)");
    for (int i = 0; i < ACCOUNTS; i++) {
      snprintf(sql, sizeof sql, "INSERT INTO accounts VALUES(%d, %d)", i, BALANCE);
      run(sql);
    }
    run("COMMIT");
  }
  verify_ledger();
}

static void transfer(void) {
  sqlite3_stmt *move = prepare("UPDATE accounts SET balance = balance + ?2 WHERE id = ?1");
  sqlite3_stmt *note = prepare("INSERT INTO transfers VALUES(?1, ?2, ?3, ?4)");
  for (;;) {
    uint64_t state = (uint64_t)++transfers;
    const int source = (int)(next_random(&state) % ACCOUNTS), target = (source + 1) % ACCOUNTS;
    const int amount = 1 + (int)(next_random(&state) % 50);
    run("BEGIN IMMEDIATE");
    for (int side = 0; side < 2; side++) {
      sqlite3_bind_int(move, 1, side ? target : source);
      sqlite3_bind_int(move, 2, side ? amount : -amount);
      if (sqlite3_step(move) != SQLITE_DONE) fail("update");
      sqlite3_reset(move);
    }
    sqlite3_bind_int64(note, 1, transfers);
    sqlite3_bind_int(note, 2, source);
    sqlite3_bind_int(note, 3, target);
    sqlite3_bind_int(note, 4, amount);
    if (sqlite3_step(note) != SQLITE_DONE) fail("insert");
    sqlite3_reset(note);
    run("COMMIT");
    printf("ack transfer %lld\n", (long long)transfers);
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  root = argv[1];
  journal_mode = argv[2];
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  open_counters();
  open_mail();
  open_ledger();
  for (const char **name = (const char *[]){"counters", "mail", ".", NULL}; *name; name++) sync_folder(*name);
  printf("ready\n");
  fflush(stdout);
  if (argc > 3 && strcmp(argv[3], "verify") == 0) return 0;

  pthread_t threads[3];
  for (intptr_t i = 0; i < 3; i++) {
    if (pthread_create(&threads[i], NULL, i < 2 ? count : deliver, (void *)(i * 2)) != 0) fail("pthread_create");
  }
  transfer();
}
