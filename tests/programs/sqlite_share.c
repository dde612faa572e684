// One of several programs that write one SQLite database at once (lock_worker.mjs gives the orders). SQLite's own unix VFS keeps
// them apart by fcntl().
#include <emscripten.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>

static sqlite3 *db;

static int failed(const char *what) {
  fprintf(stderr, "%s: %s (extended code %d, errno %d)\n", what, sqlite3_errmsg(db), sqlite3_extended_errcode(db),
          sqlite3_system_errno(db));
  return -1;
}

static int run(const char *sql) { return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(sql); }

static int number(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) return failed(sql);
  int result = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int(statement, 0) : failed(sql);
  sqlite3_finalize(statement);
  return result;
}

/* Whoever has to wait does so for a minute. */
EMSCRIPTEN_KEEPALIVE int call_open(const char *path, const char *journal_mode) {
  if (sqlite3_open(path, &db) != SQLITE_OK) return failed(path);
  sqlite3_busy_timeout(db, 60000);
  char sql[64];
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", journal_mode);
  return run(sql) || run("CREATE TABLE IF NOT EXISTS total(n INT);"
                         "CREATE TABLE IF NOT EXISTS log(program INT, n INT, text TEXT)");
}

/* Counts on in so many transactions, from what there is: two programs that read before either has written would lose a step. */
EMSCRIPTEN_KEEPALIVE int call_count(int program, int times) {
  for (int n = 0; n < times; n++) {
    char sql[200];
    if (run("BEGIN IMMEDIATE")) return -1;
    int total = number("SELECT coalesce(max(n), 0) FROM total");
    snprintf(sql, sizeof sql, "DELETE FROM total; INSERT INTO total VALUES(%d); INSERT INTO log VALUES(%d, %d, hex(randomblob(700)))",
             total + 1, program, n);
    if (total < 0 || run(sql) || run("COMMIT")) return -1;
  }
  return 0;
}

/* Makes accounts with the same balance, and the list of transfers between them. */
EMSCRIPTEN_KEEPALIVE int call_accounts(int count, int balance) {
  char sql[300];
  snprintf(sql, sizeof sql,
           "BEGIN; CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INT);"
           "CREATE TABLE transfers(n INTEGER PRIMARY KEY, source INT, target INT, amount INT, note TEXT);"
           "WITH RECURSIVE ids(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < %d)"
           "INSERT INTO accounts SELECT id, %d FROM ids; COMMIT", count - 1, balance);
  return run(sql);
}

static uint32_t next(uint32_t *state, uint32_t limit) {
  *state = *state * 1664525 + 1013904223;
  return (uint32_t)(((uint64_t)*state * limit) >> 32);
}

/* Transfers between these accounts, so many, each in a transaction; some are given up in the middle. Gives how many are done. */
EMSCRIPTEN_KEEPALIVE int call_transfer(int count, uint32_t seed, int times) {
  int done = 0;
  for (int turn = 0; turn < times; turn++) {
    const int source = next(&seed, count), target = (source + 1 + next(&seed, count - 1)) % count;
    const int amount = 1 + next(&seed, 50), gives_up = next(&seed, 8) == 0;
    char sql[300];
    if (run("BEGIN IMMEDIATE")) return -1;
    snprintf(sql, sizeof sql,
             "UPDATE accounts SET balance = balance - %d WHERE id = %d; UPDATE accounts SET balance = balance + %d WHERE id = %d;"
             "INSERT INTO transfers(source, target, amount, note) VALUES(%d, %d, %d, hex(randomblob(%d)))",
             amount, source, amount, target, source, target, amount, (int)next(&seed, 900));
    if (run(sql) || run(gives_up ? "ROLLBACK" : "COMMIT")) return -1;
    done += !gives_up;
  }
  return done;
}

EMSCRIPTEN_KEEPALIVE int call_number(const char *sql) { return number(sql); }

/* 5, SQLITE_BUSY, where another program has the database to itself; nobody waits. */
EMSCRIPTEN_KEEPALIVE int call_try(const char *sql) {
  sqlite3_busy_timeout(db, 0);
  int result = sqlite3_exec(db, sql, NULL, NULL, NULL);
  sqlite3_busy_timeout(db, 60000);
  return result;
}

EMSCRIPTEN_KEEPALIVE int call_close(void) { return sqlite3_close(db) == SQLITE_OK ? 0 : failed("close"); }

int main(void) { return 0; }
