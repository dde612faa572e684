// Fills a SQLite database in transactions and says when each is committed; checks a database that it filled before.
// The program may be killed at any moment: what it said to be committed must be there afterwards, and nothing half.
//
//   sqlite_rows [insert DB BATCH TRANSACTIONS ROWS JOURNAL_MODE] [check DB ROWS] …
//
// insert prints `committed BATCH TRANSACTION` after each COMMIT that SQLite answered; check prints one line of JSON.
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAYLOAD 88

static sqlite3 *db;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s (extended code %d, errno %d)\n", what, db ? sqlite3_errmsg(db) : "no database",
          db ? sqlite3_extended_errcode(db) : 0, db ? sqlite3_system_errno(db) : 0);
  exit(1);
}

static void run(const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail(sql);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail(sql);
  return statement;
}

static void open_database(const char *path) {
  if (sqlite3_open(path, &db) != SQLITE_OK) fail(path);
}

static void close_database(void) {
  if (sqlite3_close(db) != SQLITE_OK) fail("close");
  db = NULL;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

// A row's text follows from its numbers, so that a check needs nothing but the row.
static void payload(char *text, int batch, int transaction, int row) {
  uint64_t state = ((uint64_t)batch << 40) ^ ((uint64_t)transaction << 20) ^ (uint64_t)row;
  for (int i = 0; i < PAYLOAD; i++) {
    // splitmix64
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    text[i] = (char)('a' + (z ^ (z >> 31)) % 26);
  }
  text[PAYLOAD] = 0;
}

static void insert(const char *path, int batch, int transactions, int rows, const char *journal_mode) {
  open_database(path);
  char sql[64];
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", journal_mode);
  run(sql);
  // In the mode DELETE a transaction is committed when its journal is removed, and FULL does not make that durable:
  // SQLite then promises a sound database, but not the very last transaction. EXTRA syncs the folder as well.
  run(strcmp(journal_mode, "DELETE") == 0 ? "PRAGMA synchronous=EXTRA" : "PRAGMA synchronous=FULL");
  run("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, batch INT, txn INT, n INT, payload TEXT);"
      "CREATE INDEX IF NOT EXISTS rows_by_txn ON rows(batch, txn);");
  sqlite3_stmt *statement = prepare("INSERT INTO rows(batch, txn, n, payload) VALUES(?1, ?2, ?3, ?4)");
  const double started = now();
  for (int transaction = 0; transaction < transactions; transaction++) {
    run("BEGIN");
    for (int row = 0; row < rows; row++) {
      char text[PAYLOAD + 1];
      payload(text, batch, transaction, row);
      sqlite3_bind_int(statement, 1, batch);
      sqlite3_bind_int(statement, 2, transaction);
      sqlite3_bind_int(statement, 3, row);
      sqlite3_bind_text(statement, 4, text, PAYLOAD, SQLITE_TRANSIENT);
      if (sqlite3_step(statement) != SQLITE_DONE) fail("insert");
      sqlite3_reset(statement);
    }
    run("COMMIT");
    printf("committed %d %d\n", batch, transaction);
    fflush(stdout);
  }
  printf("inserted %d rows in %d transactions, %.0f ms\n", transactions * rows, transactions, now() - started);
  sqlite3_finalize(statement);
  close_database();
}

// For each batch: transactions (their number), partial (those without exactly ROWS rows), gaps (numbers that are
// missing below the last one), wrong (rows whose text is not theirs).
static void check(const char *path, int rows) {
  open_database(path);
  sqlite3_stmt *statement = prepare("PRAGMA integrity_check");
  if (sqlite3_step(statement) != SQLITE_ROW) fail("integrity_check");
  printf("{\"integrity\":\"%s\",\"batches\":{", sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);

  sqlite3_stmt *batches = prepare("SELECT DISTINCT batch FROM rows ORDER BY batch");
  sqlite3_stmt *read = prepare("SELECT txn, n, payload FROM rows WHERE batch=?1 ORDER BY txn, n");
  const char *comma = "";
  while (sqlite3_step(batches) == SQLITE_ROW) {
    const int batch = sqlite3_column_int(batches, 0);
    int transactions = 0, partial = 0, wrong = 0, last = -1, found = rows;
    long total = 0;
    sqlite3_bind_int(read, 1, batch);
    while (sqlite3_step(read) == SQLITE_ROW) {
      const int transaction = sqlite3_column_int(read, 0), row = sqlite3_column_int(read, 1);
      if (transaction != last) {
        if (found != rows) partial++;
        transactions++;
        last = transaction;
        found = 0;
      }
      char text[PAYLOAD + 1];
      payload(text, batch, transaction, row);
      // Rows come in order, so that a row that is there twice is noticed too.
      const char *stored = (const char *)sqlite3_column_text(read, 2);
      if (row != found || stored == NULL || strcmp(text, stored) != 0) wrong++;
      found++;
      total++;
    }
    if (found != rows) partial++;
    sqlite3_reset(read);
    printf("%s\"%d\":{\"transactions\":%d,\"rows\":%ld,\"partial\":%d,\"gaps\":%d,\"wrong\":%d}", comma, batch,
           transactions, total, partial, last + 1 - transactions, wrong);
    comma = ",";
  }
  printf("}}\n");
  sqlite3_finalize(batches);
  sqlite3_finalize(read);
  close_database();
}

int main(int argc, char **argv) {
  int i = 1;
  while (i < argc) {
    if (strcmp(argv[i], "insert") == 0 && i + 5 < argc) {
      insert(argv[i + 1], atoi(argv[i + 2]), atoi(argv[i + 3]), atoi(argv[i + 4]), argv[i + 5]);
      i += 6;
    } else if (strcmp(argv[i], "check") == 0 && i + 2 < argc) {
      check(argv[i + 1], atoi(argv[i + 2]));
      i += 3;
    } else {
      fprintf(stderr, "unknown: %s\n", argv[i]);
      return 2;
    }
  }
  return 0;
}
