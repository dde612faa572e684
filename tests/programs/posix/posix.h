// What programs of the differential tests have in common: each prints what calls answer, and must print the same on a volume
// and on a file system of Linux.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

// What Emscripten's headers lack.
#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif
#ifndef STATX__RESERVED
#define STATX__RESERVED 0x80000000U
#endif

// The word for an error: numbers differ between C libraries.
const char *error_word(int number);

// Prints `what` and the answer of a call: its value, or the error that it set.
void answered(const char *what, long long result);
#define CALL(call) answered(#call, (errno = 0, (long long)(call)))
// Prints only whether it went well, for calls whose value is nobody's business (descriptors).
void went(const char *what, long long result);
#define WENT(call) went(#call, (errno = 0, (long long)(call)))

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Makes a file with so many bytes of a pattern, and gives a descriptor for reading and writing.
int make_file(const char *path, size_t bytes);
// Size, blocks that are there or not, and a sum of the bytes.
void show_file(const char *path);

// The parts, each in a folder of its own that is the working directory.
void space_part(void);
void copy_part(void);
void xattr_part(void);
void rename_part(void);
void open_part(void);
void descriptors_part(void);
void paths_part(void);
void directories_part(void);
void pipes_part(void);
void control_part(void);
void inotify_part(void);
void map_part(void);
