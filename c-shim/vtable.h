/* Between the C++ classes of the WasmFS backend and the file system in Rust.
 *
 * Errors are negative errno numbers of Emscripten's C library. Names are bytes with a length. Every
 * function may be called from any thread. */
#ifndef SABFS_VTABLE_H
#define SABFS_VTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sabfs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SABFS_INO_ROOT = 2 };

/* A mounted volume, as this program sees it. */
typedef struct sabfs_volume sabfs_volume;

typedef struct sabfs_attr {
  uint64_t rdev;
  uint64_t size_bytes;
  uint64_t blocks; /* of 4096 bytes */
  int64_t atime_ns;
  int64_t mtime_ns;
  int64_t ctime_ns;
  uint32_t ino;
  uint32_t generation;
  uint32_t mode; /* kind and permissions, as in st_mode */
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
} sabfs_attr;

/* What to change of an inode's attributes. */
enum {
  SABFS_SET_MODE = 1,
  SABFS_SET_UID = 2,
  SABFS_SET_GID = 4,
  SABFS_SET_SIZE = 8,
  SABFS_SET_ATIME = 16,
  SABFS_SET_MTIME = 32
};

typedef struct sabfs_set_attr {
  uint64_t size_bytes;
  int64_t atime_ns;
  int64_t mtime_ns;
  uint32_t which; /* SABFS_SET_... */
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
} sabfs_set_attr;

/* Takes one name; `kind` has the format bits of a mode. False ends the listing. */
typedef bool (*sabfs_emit)(void *sink, const char *name, size_t name_len, uint32_t kind, uint32_t ino);

typedef struct sabfs_vtable {
  int32_t (*lookup)(const sabfs_volume *, uint32_t dir, const char *name, size_t name_len, sabfs_attr *out);
  int32_t (*getattr)(const sabfs_volume *, uint32_t ino, sabfs_attr *out);
  int32_t (*setattr)(const sabfs_volume *, uint32_t ino, const sabfs_set_attr *set, sabfs_attr *out);
  /* `mode` has the kind's bits, any but a symlink's. */
  int32_t (*create)(const sabfs_volume *, uint32_t dir, const char *name, size_t name_len, uint32_t mode,
                    uint64_t rdev, sabfs_attr *out);
  int32_t (*symlink)(const sabfs_volume *, uint32_t dir, const char *name, size_t name_len, const char *target,
                     size_t target_len, sabfs_attr *out);
  int32_t (*readlink)(const sabfs_volume *, uint32_t ino, void *sink, sabfs_emit emit);
  int32_t (*link)(const sabfs_volume *, uint32_t ino, uint32_t dir, const char *name, size_t name_len);
  int32_t (*unlink)(const sabfs_volume *, uint32_t dir, const char *name, size_t name_len);
  int32_t (*rmdir)(const sabfs_volume *, uint32_t dir, const char *name, size_t name_len);
  /* `flags` are those of Linux's renameat2. */
  int32_t (*rename)(const sabfs_volume *, uint32_t from_dir, const char *from, size_t from_len, uint32_t to_dir,
                    const char *to, size_t to_len, uint32_t flags);
  int64_t (*read)(const sabfs_volume *, uint32_t ino, uint8_t *buffer, size_t count, uint64_t offset);
  int64_t (*write)(const sabfs_volume *, uint32_t ino, const uint8_t *bytes, size_t count, uint64_t offset);
  /* All names but "." and "..". */
  int32_t (*read_dir)(const sabfs_volume *, uint32_t dir, void *sink, sabfs_emit emit);
  int32_t (*parent)(const sabfs_volume *, uint32_t dir, uint32_t *out);
  int32_t (*name_of)(const sabfs_volume *, uint32_t dir, uint32_t child, void *sink, sabfs_emit emit);
  /* An inode that is held lives on without a name. -ENOENT when the number is another inode's by now. */
  int32_t (*hold)(const sabfs_volume *, uint32_t ino, uint32_t generation);
  void (*forget)(const sabfs_volume *, uint32_t ino);
  int32_t (*fsync)(const sabfs_volume *, uint32_t ino);
  /* Makes everything durable, whatever the volume's durability: what a synchronous write asks for. */
  int32_t (*sync_durably)(const sabfs_volume *);
} sabfs_vtable;

/* A function, as rustc does not export data from a static library for wasm. */
const sabfs_vtable *sabfs_get_vtable(void);

/* The volume that this program has attached to, NULL while there is none. */
const sabfs_volume *sabfs_volume_current(void);

/* Sees to it that the program's volume is attached; waits for its keeper. From any thread. */
int32_t sabfs_volume_open(const struct sabfs_options *options);

/* Fills in a volume's metrics. */
int32_t sabfs_volume_metrics(const sabfs_volume *volume, struct sabfs_metrics *metrics);

#ifdef __cplusplus
}
#endif
#endif
