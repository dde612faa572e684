// What the parts of the guest's program share.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ROOT "/volume"

// Sends a line to the host.
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Tells of errno and turns the machine off.
void failed(const char *what) __attribute__((noreturn));
// Gives the result, unless it says that the call failed.
long must(long result, const char *what);

// Tells everything that is on the volume; of the spools, that of the last round that came to its load.
void verify(int last);
// Starts the processes that work on the volume; those acknowledge what they have made durable.
void load(int round, int last, unsigned long seed);

enum { COUNTERS = 2, LOGS = 1, SLOT_FILES = 2, SLOTS = 32, SPOOLERS = 2 };
