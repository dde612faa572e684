// What is in SQLite databases: SQLite's own check, and for each table the number of its rows and a sum over all
// that is in them, in the order of their keys.
//
//   sqlite_sums DATABASE…
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3 *db;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
  exit(1);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail(sql);
  return statement;
}

// FNV-1a
static uint64_t add(uint64_t sum, const void *data, int size_bytes) {
  const unsigned char *bytes = data;
  for (int i = 0; i < size_bytes; i++) sum = (sum ^ bytes[i]) * 0x100000001b3;
  return sum;
}

static void sum_table(const char *table) {
  char sql[256];
  snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", table);
  sqlite3_stmt *statement = prepare(sql);
  uint64_t sum = 0xcbf29ce484222325;
  long rows = 0;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
      const int type = sqlite3_column_type(statement, i);
      sum = add(sum, &type, sizeof type);
      const void *data = sqlite3_column_blob(statement, i);
      sum = add(sum, data, sqlite3_column_bytes(statement, i));
    }
    rows++;
  }
  if (code != SQLITE_DONE) fail(sql);
  sqlite3_finalize(statement);
  printf("%s: %ld rows, %016llx\n", table, rows, (unsigned long long)sum);
}

static void sum_database(const char *path) {
  static const char *const questions[] = {"PRAGMA integrity_check", "PRAGMA journal_mode", "PRAGMA page_count",
                                          "SELECT count(*) FROM sqlite_schema"};
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) fail(path);
  printf("%s\n", path);
  for (unsigned i = 0; i < sizeof questions / sizeof *questions; i++) {
    sqlite3_stmt *statement = prepare(questions[i]);
    while (sqlite3_step(statement) == SQLITE_ROW) printf("%s: %s\n", questions[i], sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
  }
  sqlite3_stmt *tables = prepare("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name");
  while (sqlite3_step(tables) == SQLITE_ROW) sum_table((const char *)sqlite3_column_text(tables, 0));
  sqlite3_finalize(tables);
  if (sqlite3_close(db) != SQLITE_OK) fail("close");
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) sum_database(argv[i]);
  return 0;
}
