// An interactive SQLite shell for the demo page: the unmodified amalgamation with its own unix VFS, on files below
// /opfs. What the page sees comes by messages (page.h), so that it can lay out tables as tables.
//
//   shell DATABASE
#include <emscripten.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "page.h"

#define SHOWN 200

static sqlite3 *db;
static const char *path;

static const char elements[] = {
#embed "elements.sql"
    , 0};

// Called by the page on its own thread: Ctrl-C. SQLite allows this one call from anywhere.
static volatile int interrupted;
EMSCRIPTEN_KEEPALIVE void demo_interrupt(void) {
  interrupted = 1;
  if (db) sqlite3_interrupt(db);
}

static void say(const char *type, const char *text) {
  sqlite3_str *message = page_message(type);
  sqlite3_str_appendall(message, ",\"text\":");
  page_quote(message, text, (int)strlen(text));
  sqlite3_str_appendchar(message, 1, '}');
  page_send(message);
}

static void say_error(void) {
  sqlite3_str *message = sqlite3_str_new(NULL);
  sqlite3_str_appendf(message, "%s", sqlite3_errmsg(db));
  const int number = sqlite3_system_errno(db);
  if (sqlite3_errcode(db) == SQLITE_IOERR && number) sqlite3_str_appendf(message, " (%s)", strerror(number));
  char *text = sqlite3_str_finish(message);
  say("error", text ? text : "out of memory");
  sqlite3_free(text);
}

// A value as a string whose first character tells its type: n(ull), i(nteger), f(loat), t(ext), b(lob's size).
static void put_value(sqlite3_str *to, sqlite3_stmt *statement, int column) {
  const int type = sqlite3_column_type(statement, column);
  if (type == SQLITE_BLOB) {
    sqlite3_str_appendf(to, "\"b%d\"", sqlite3_column_bytes(statement, column));
    return;
  }
  if (type == SQLITE_NULL) {
    sqlite3_str_appendall(to, "\"n\"");
    return;
  }
  const char kind = type == SQLITE_INTEGER ? 'i' : type == SQLITE_FLOAT ? 'f' : 't';
  const char *text = (const char *)sqlite3_column_text(statement, column);
  sqlite3_str *value = sqlite3_str_new(NULL);
  sqlite3_str_appendchar(value, 1, kind);
  sqlite3_str_appendall(value, text ? text : "");
  page_quote(to, sqlite3_str_value(value), sqlite3_str_length(value));
  sqlite3_free(sqlite3_str_finish(value));
}

// Runs one statement to its end and shows its rows, if it has columns.
static int run_statement(sqlite3_stmt *statement) {
  const int columns = sqlite3_column_count(statement);
  sqlite3_str *table = page_message("table");
  sqlite3_str_appendall(table, ",\"columns\":[");
  for (int i = 0; i < columns; i++) {
    if (i) sqlite3_str_appendchar(table, 1, ',');
    const char *name = sqlite3_column_name(statement, i);
    page_quote(table, name, (int)strlen(name));
  }
  sqlite3_str_appendall(table, "],\"rows\":[");
  long long count = 0;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    if (count++ >= SHOWN) continue;
    sqlite3_str_appendall(table, count > 1 ? ",[" : "[");
    for (int i = 0; i < columns; i++) {
      if (i) sqlite3_str_appendchar(table, 1, ',');
      put_value(table, statement, i);
    }
    sqlite3_str_appendchar(table, 1, ']');
  }
  sqlite3_str_appendf(table, "],\"count\":%lld}", count);
  if (columns > 0 && (code == SQLITE_DONE || count > 0)) page_send(table);
  else sqlite3_free(sqlite3_str_finish(table));
  return code == SQLITE_DONE;
}

// Runs all statements of a text. 0 when one of them failed, which is said.
static int run(const char *sql) {
  while (*sql) {
    sqlite3_stmt *statement = NULL;
    const char *rest;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, &rest) != SQLITE_OK) {
      say_error();
      return 0;
    }
    // Nothing but blanks and comments.
    if (statement == NULL) return 1;
    const int done = run_statement(statement);
    sqlite3_finalize(statement);
    if (!done) {
      say_error();
      return 0;
    }
    sql = rest;
  }
  return 1;
}

static int quietly(const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) return 1;
  say_error();
  return 0;
}

// Many small transactions, each of which is durable when its number is told. This is what to interrupt by force.
static void bulk(int transactions, int rows) {
  if (!quietly("CREATE TABLE IF NOT EXISTS bulk(run INT, txn INT, n INT, text TEXT)")) return;
  const char *next = "SELECT 1 + coalesce(max(run), 0) FROM bulk";
  const char *sql = "INSERT INTO bulk VALUES(?1, ?2, ?3, hex(randomblob(24)))";
  sqlite3_stmt *last, *statement;
  if (sqlite3_prepare_v2(db, next, -1, &last, NULL) != SQLITE_OK) return say_error();
  const int number = sqlite3_step(last) == SQLITE_ROW ? sqlite3_column_int(last, 0) : 1;
  sqlite3_finalize(last);
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) return say_error();
  for (int transaction = 1; transaction <= transactions && !interrupted; transaction++) {
    if (!quietly("BEGIN")) break;
    for (int row = 1; row <= rows; row++) {
      sqlite3_bind_int(statement, 1, number);
      sqlite3_bind_int(statement, 2, transaction);
      sqlite3_bind_int(statement, 3, row);
      sqlite3_step(statement);
      sqlite3_reset(statement);
    }
    if (!quietly("COMMIT")) {
      sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
      break;
    }
    sqlite3_str *message = page_message("progress");
    sqlite3_str_appendf(message, ",\"run\":%d,\"done\":%d,\"of\":%d,\"rows\":%d}", number, transaction,
                        transactions, rows);
    page_send(message);
  }
  sqlite3_finalize(statement);
  if (interrupted) say("error", "interrupted");
}

static void help(void) {
  say("help",
      ".sample          a table with the chemical elements\n"
      ".bulk [N [M]]    N transactions of M rows each, every one made durable (1000 of 100)\n"
      ".tables          the tables and views\n"
      ".schema [TABLE]  how they were created\n"
      ".export          a copy of the database in one file (VACUUM INTO)\n"
      ".remove FILE     removes a file beside the database\n"
      ".clear           clears the screen (also Ctrl-L)\n"
      ".help            this list\n"
      "Anything else is SQL and ends with a semicolon. Ctrl-C interrupts; the arrow keys go through the history.");
}

// The file's path beside the database, if its name is harmless.
static int beside(char *to, size_t size, const char *name) {
  const int folder = (int)(strrchr(path, '/') - path);
  if (*name == 0 || strchr(name, '/') || *name == '.') return 0;
  snprintf(to, size, "%.*s/%s", folder, path, name);
  return 1;
}

static void command(const char *line) {
  char name[32] = "", argument[256] = "";
  int n = 1000, m = 100;
  sscanf(line, ".%31s %255s", name, argument);
  if (strcmp(name, "tables") == 0) {
    run("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' "
        "ORDER BY name");
  } else if (strcmp(name, "schema") == 0) {
    char *sql = sqlite3_mprintf("SELECT sql FROM sqlite_schema WHERE sql NOT NULL AND tbl_name LIKE %Q ORDER BY rowid",
                                *argument ? argument : "%");
    run(sql);
    sqlite3_free(sql);
  } else if (strcmp(name, "sample") == 0) {
    if (quietly("BEGIN") && quietly(elements) && quietly("COMMIT")) {
      say("text", "118 elements are in the table \"elements\".");
    } else {
      sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
  } else if (strcmp(name, "bulk") == 0) {
    sscanf(line, ".bulk %d %d", &n, &m);
    bulk(n, m);
  } else if (strcmp(name, "export") == 0) {
    char copy[512];
    int number = 1;
    struct stat info;
    do snprintf(copy, sizeof copy, "%s.copy-%d", path, number++);
    while (stat(copy, &info) == 0);
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
    if (quietly(sql)) say("text", copy);
    sqlite3_free(sql);
  } else if (strcmp(name, "remove") == 0) {
    char file[512];
    if (!beside(file, sizeof file, argument) || strcmp(file, path) == 0) {
      say("error", "not a file that can be removed");
    } else if (unlink(file) != 0) {
      perror(file);
    }
  } else if (strcmp(name, "help") == 0) {
    help();
  } else {
    char text[80];
    snprintf(text, sizeof text, "unknown command: .%s (.help lists them)", name);
    say("error", text);
  }
}

static void prompt(int more, double milliseconds, long long changes) {
  sqlite3_str *message = page_message("prompt");
  sqlite3_str_appendf(message, ",\"more\":%s,\"ms\":%.1f,\"changes\":%lld}", more ? "true" : "false",
                      milliseconds, changes);
  page_send(message);
}

static int is_blank(const char *text) { return text[strspn(text, " \t\r\n;")] == 0; }

int main(int argc, char **argv) {
  path = argc > 1 ? argv[1] : "/opfs/demo.db";
  struct stat info;
  const long long before = stat(path, &info) == 0 ? (long long)info.st_size : -1;
  char folder[256];
  snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);

  const int code = sqlite3_open(path, &db);
  sqlite3_str *hello = page_message("hello");
  sqlite3_str_appendf(hello, ",\"sqlite\":\"%s\",\"database\":\"%s\",\"size\":%lld}", sqlite3_libversion(), path, before);
  page_send(hello);
  if (code != SQLITE_OK) say_error();
  // FULL would not make the removal of the journal durable, and with it the very last transaction.
  sqlite3_exec(db, "PRAGMA synchronous=EXTRA", NULL, NULL, NULL);
  page_watch(folder);

  sqlite3_str *text = sqlite3_str_new(NULL);
  double spent = 0;
  long long changes = 0;
  for (;;) {
    const int more = sqlite3_str_length(text) > 0;
    prompt(more, spent, changes);
    const char *line = page_read_line();
    interrupted = 0;
    spent = 0;
    changes = 0;
    const double started = emscripten_get_now() - page_time_sending();
    const long long changes_before = sqlite3_total_changes64(db);
    if (!more && line[strspn(line, " \t")] == '.') {
      page_watch_busy(1);
      command(line + strspn(line, " \t"));
    } else if (strcmp(line, "\x03") == 0) {
      // Ctrl-C at a prompt gives up the lines typed so far.
      sqlite3_str_reset(text);
      continue;
    } else {
      sqlite3_str_appendf(text, "%s%s", more ? "\n" : "", line);
      const char *sql = sqlite3_str_value(text);
      if (is_blank(sql)) {
        sqlite3_str_reset(text);
        continue;
      }
      if (!sqlite3_complete(sql)) continue;
      page_watch_busy(1);
      run(sql);
      sqlite3_str_reset(text);
    }
    spent = emscripten_get_now() - page_time_sending() - started;
    changes = sqlite3_total_changes64(db) - changes_before;
    page_watch_busy(0);
  }
}
