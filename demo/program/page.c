// The page's side of the program: input by a ring buffer in the shared memory, output by messages.
#include "page.h"

#include <emscripten.h>
#include <emscripten/threading.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

// Written by the page's main thread only and read by the program's only. The main thread never waits: when there is
// no room it is told so and comes again.
static struct {
  _Atomic uint32_t head, tail;
  char bytes[1 << 16];
} input;

// Called by the page. 1 when the whole line was taken.
EMSCRIPTEN_KEEPALIVE int demo_input(const char *line) {
  const uint32_t head = atomic_load(&input.head), used = head - atomic_load(&input.tail);
  const size_t length = strlen(line);
  if (length + 1 > sizeof input.bytes - used) return 0;
  for (size_t i = 0; i <= length; i++) input.bytes[(head + i) % sizeof input.bytes] = i < length ? line[i] : '\n';
  atomic_store(&input.head, head + (uint32_t)length + 1);
  emscripten_futex_wake(&input.head, 1);
  return 1;
}

const char *page_read_line(void) {
  static char line[sizeof input.bytes];
  size_t length = 0;
  for (;;) {
    const uint32_t tail = atomic_load(&input.tail);
    if (tail == atomic_load(&input.head)) {
      emscripten_futex_wait(&input.head, tail, INFINITY);
      continue;
    }
    const char c = input.bytes[tail % sizeof input.bytes];
    atomic_store(&input.tail, tail + 1);
    if (c == '\n') break;
    line[length++] = c;
  }
  line[length] = 0;
  return line;
}

// In page.js: runs on the main thread and returns when the page has the message.
void demo_send(const char *message);

sqlite3_str *page_message(const char *type) {
  sqlite3_str *message = sqlite3_str_new(NULL);
  sqlite3_str_appendf(message, "{\"type\":\"%s\"", type);
  return message;
}

static _Thread_local double sending;

double page_time_sending(void) { return sending; }

void page_send(sqlite3_str *message) {
  const double started = emscripten_get_now();
  char *text = sqlite3_str_finish(message);
  // Out of memory: the page learns of it by the next message that fits.
  if (text) demo_send(text);
  sqlite3_free(text);
  sending += emscripten_get_now() - started;
}

void page_quote(sqlite3_str *to, const char *text, int length) {
  sqlite3_str_appendchar(to, 1, '"');
  for (int i = 0; i < length; i++) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') {
      sqlite3_str_appendf(to, "\\%c", c);
    } else if (c < 0x20) {
      sqlite3_str_appendf(to, "\\u%04x", c);
    } else {
      sqlite3_str_appendchar(to, 1, (char)c);
    }
  }
  sqlite3_str_appendchar(to, 1, '"');
}
