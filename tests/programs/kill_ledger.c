// kill_load.c's load `ledger`: SQLite with transfers between accounts, whose sum stays. Each journal mode has a database
// of its own, so that whatever a kill leaves is for the same mode to recover.
#include "kill_load.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ACCOUNTS 20
#define BALANCE 1000
#define NOTE_BYTES 120

static const char *const modes[] = {"TRUNCATE", "PERSIST", "WAL", "DELETE"};

static _Noreturn void refused(sqlite3 *db, const char *what) {
  fprintf(stderr, "%s: %s (extended code %d, errno %d)\n", what, sqlite3_errmsg(db), sqlite3_extended_errcode(db),
          sqlite3_system_errno(db));
  exit(1);
}

static void run(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) refused(db, sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) refused(db, sql);
  return statement;
}

static void step_once(sqlite3 *db, sqlite3_stmt *statement) {
  if (sqlite3_step(statement) != SQLITE_DONE) refused(db, sqlite3_sql(statement));
  sqlite3_reset(statement);
}

// All of a transfer follows from its number.
struct transfer {
  int source, target, amount, note_bytes;
};

static struct transfer transfer_of(int64_t number) {
  uint64_t state = (uint64_t)number;
  struct transfer it;
  it.source = (int)(next_random(&state) % ACCOUNTS);
  it.target = (it.source + 1 + (int)(next_random(&state) % (ACCOUNTS - 1))) % ACCOUNTS;
  it.amount = 1 + (int)(next_random(&state) % 50);
  it.note_bytes = (int)(next_random(&state) % NOTE_BYTES);
  return it;
}

static sqlite3 *open_ledger(const char *mode) {
  char name[64], path[256], sql[128];
  snprintf(name, sizeof name, "ledger-%s.db", mode);
  in_root(path, name);
  struct stat status;
  const bool is_new = stat(path, &status) != 0;
  sqlite3 *db;
  if (sqlite3_open(path, &db) != SQLITE_OK) refused(db, path);
  // Nothing maps a file that several could share: a program alone keeps the index of its log in memory.
  if (strcmp(mode, "WAL") == 0) run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=50");
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", mode);
  sqlite3_stmt *set = prepare(db, sql);
  // SQLite answers with the mode that it had rather than with an error.
  if (sqlite3_step(set) != SQLITE_ROW || sqlite3_stricmp((const char *)sqlite3_column_text(set, 0), mode) != 0)
    refused(db, sql);
  sqlite3_finalize(set);
  // In the mode DELETE the removal of the journal commits, and FULL does not make that durable.
  if (plan.hasty) run(db, "PRAGMA synchronous=OFF");
  else run(db, strcmp(mode, "DELETE") == 0 ? "PRAGMA synchronous=EXTRA" : "PRAGMA synchronous=FULL");
  // Once it was said to be there, a table that is missing is a loss, not a beginning.
  if (is_new) {
    run(db, "BEGIN; CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INT);"
            "CREATE TABLE transfers(n INTEGER PRIMARY KEY, source INT, target INT, amount INT, note TEXT);"
            "CREATE INDEX transfers_by_target ON transfers(target)");
    for (int i = 0; i < ACCOUNTS; i++) {
      snprintf(sql, sizeof sql, "INSERT INTO accounts VALUES(%d, %d)", i, BALANCE);
      run(db, sql);
    }
    run(db, "COMMIT");
  }
  return db;
}

// The number of the last transfer.
static int64_t last_of(sqlite3 *db) {
  sqlite3_stmt *last = prepare(db, "SELECT coalesce(max(n), 0) FROM transfers");
  if (sqlite3_step(last) != SQLITE_ROW) refused(db, sqlite3_sql(last));
  const int64_t number = sqlite3_column_int64(last, 0);
  sqlite3_finalize(last);
  return number;
}

// found ledger MODE COUNT LAST MORE BAD INTEGRITY: so many transfers, the last one's number, by how much the sum of all
// accounts is more than at the beginning, how many rows are not what the transfers' numbers make of them.
static void look_at(sqlite3 *db, const char *mode) {
  int64_t balances[ACCOUNTS], sum = 0, count = 0, last = 0;
  int bad = 0, step, accounts = 0;
  for (int i = 0; i < ACCOUNTS; i++) balances[i] = BALANCE;
  sqlite3_stmt *all = prepare(db, "SELECT n, source, target, amount, length(note) FROM transfers ORDER BY n");
  while ((step = sqlite3_step(all)) == SQLITE_ROW) {
    count++;
    last = sqlite3_column_int64(all, 0);
    const struct transfer right = transfer_of(last);
    if (last != count || sqlite3_column_int(all, 1) != right.source || sqlite3_column_int(all, 2) != right.target ||
        sqlite3_column_int(all, 3) != right.amount || sqlite3_column_int(all, 4) != 2 * right.note_bytes)
      bad++;
    balances[right.source] -= right.amount;
    balances[right.target] += right.amount;
  }
  if (step != SQLITE_DONE) refused(db, "read the transfers");
  sqlite3_finalize(all);
  sqlite3_stmt *account = prepare(db, "SELECT id, balance FROM accounts ORDER BY id");
  while ((step = sqlite3_step(account)) == SQLITE_ROW) {
    const int id = sqlite3_column_int(account, 0);
    const int64_t balance = sqlite3_column_int64(account, 1);
    if (id != accounts++ || id >= ACCOUNTS || balances[id] != balance) bad++;
    sum += balance;
  }
  if (step != SQLITE_DONE) refused(db, "read the accounts");
  sqlite3_finalize(account);
  sqlite3_stmt *integrity = prepare(db, "PRAGMA integrity_check");
  if (sqlite3_step(integrity) != SQLITE_ROW) refused(db, "integrity_check");
  say("found ledger %s %lld %lld %lld %d %s", mode, (long long)count, (long long)last,
      (long long)(sum - ACCOUNTS * BALANCE), bad, sqlite3_column_text(integrity, 0));
  sqlite3_finalize(integrity);
}

void open_ledgers(void) {
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    sqlite3 *db = open_ledger(modes[i]);
    look_at(db, modes[i]);
    if (sqlite3_close(db) != SQLITE_OK) refused(db, "close");
  }
}

void transfer(const char *journal_mode) {
  sqlite3 *db = open_ledger(journal_mode);
  sqlite3_stmt *move = prepare(db, "UPDATE accounts SET balance = balance + ?2 WHERE id = ?1");
  sqlite3_stmt *note = prepare(db, "INSERT INTO transfers VALUES(?1, ?2, ?3, ?4, hex(zeroblob(?5)))");
  for (int64_t number = last_of(db) + 1;; number++) {
    const struct transfer it = transfer_of(number);
    run(db, "BEGIN IMMEDIATE");
    for (int side = 0; side < 2; side++) {
      sqlite3_bind_int(move, 1, side ? it.target : it.source);
      sqlite3_bind_int(move, 2, side ? it.amount : -it.amount);
      step_once(db, move);
    }
    sqlite3_bind_int64(note, 1, number);
    sqlite3_bind_int(note, 2, it.source);
    sqlite3_bind_int(note, 3, it.target);
    sqlite3_bind_int(note, 4, it.amount);
    sqlite3_bind_int(note, 5, it.note_bytes);
    step_once(db, note);
    run(db, "COMMIT");
    say("ack ledger %s %lld", journal_mode, (long long)number);
  }
}
