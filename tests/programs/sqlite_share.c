// One of several programs that write one SQLite database at once (lock_worker.mjs gives the orders). SQLite's own unix VFS keeps
// them apart by fcntl().
#include <emscripten.h>
#include <sqlite3.h>
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
