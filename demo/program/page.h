// How the program and the page talk: lines come in, JSON messages go out.
#ifndef PAGE_H
#define PAGE_H

#include <sqlite3.h>

// The next line that the page sent, without its end, in memory that the next call overwrites. Waits for it.
const char *page_read_line(void);

// Hands a message (JSON) to the page and frees it.
void page_send(sqlite3_str *message);

// How long this thread has spent in page_send() in all, in ms: the page takes its time to show what it gets.
double page_time_sending(void);

// `{"type":"…"` and the rest to be appended by the caller, up to and with the closing brace.
sqlite3_str *page_message(const char *type);

// Appends a JSON string.
void page_quote(sqlite3_str *to, const char *text, int length);

// Starts the thread that tells the page of the tree below `folder` whenever it has changed.
void page_watch(const char *folder);

// Says to that thread that a command runs (look often) or has ended (look now).
void page_watch_busy(int busy);

#endif
