// The loads of kill_load.c: what each of them found at its start, and its work until the program is killed.
#ifndef KILL_LOAD_H
#define KILL_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct kill_plan {
  const char *root;   // where the volume is mounted
  const char *volume; // its name, by which the test knows who says something
  const char *round;  // of the test, the first part of a mail's name
  uint64_t seed;      // for choices that need not be known afterwards
  bool hasty;         // no step is synced: what is said to be durable is not, which the test has to find
};
extern struct kill_plan plan;

// Says a line: it has reached the test when this returns, whatever happens to the process then.
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Ends the program, with errno's reason.
_Noreturn void fail(const char *what);

// A path on the volume, in `path`, which has room for 256 bytes.
const char *in_root(char *path, const char *name);

// splitmix64
uint64_t next_random(uint64_t *state);

// fsync(), or fdatasync() with `data_only`.
void make_durable(int file, bool data_only, const char *what);

// kill_ledger.c: opens the databases and says what is in them; then transfers without end in the journal mode.
void open_ledgers(void);
_Noreturn void transfer(const char *journal_mode);

#endif
