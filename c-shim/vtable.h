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
  int64_t btime_ns; /* creation */
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

/* What an advisory lock is like. */
enum {
  SABFS_LOCK_EXCLUSIVE = 1,
  SABFS_LOCK_OPEN_FILE = 2, /* belongs to an open file, otherwise to the process */
  SABFS_LOCK_WHOLE_FILE = 4, /* as of flock(); it knows nothing of the others */
  SABFS_LOCK_WAIT = 8,
  /* Of no lock but of a shared mapping: -ENODEV when another program maps the file too and either one writes. */
  SABFS_LOCK_MAPPING = 16
};

typedef struct sabfs_lock {
  int64_t start; /* first byte and length, as in struct flock with SEEK_SET */
  int64_t length;
  uint64_t owner; /* number of the open file; 0 for the process */
  uint32_t flags; /* SABFS_LOCK_... */
  int32_t pid; /* out: the owner's process, -1 for an open file */
} sabfs_lock;

/* What a volume has room for, as statfs() shows it. */
typedef struct sabfs_space {
  uint64_t blocks;
  uint64_t free_blocks;
  uint64_t inodes;
  uint64_t free_inodes;
  uint32_t block_size_bytes;
  uint32_t name_max;
  bool read_only;
} sabfs_space;

/* What a watcher of a volume is told, as the change log has it. */
enum {
  SABFS_CHANGE_CREATE = 1, /* a name came to stand for an inode, new or not */
  SABFS_CHANGE_DELETE = 2, /* with a cookie: a rename replaces it */
  SABFS_CHANGE_MODIFY = 3, /* data or size, whatever the file's names */
  SABFS_CHANGE_ATTRIB = 4, /* attributes; with a cookie: the number of names */
  SABFS_CHANGE_FROM = 5, /* a name moved away; the next one with this cookie says where to */
  SABFS_CHANGE_TO = 6,
  SABFS_CHANGE_MISSED = 7 /* changes were missed: anything may be different */
};

typedef struct sabfs_change {
  uint32_t what; /* SABFS_CHANGE_... */
  uint32_t kind; /* the format bits of a mode */
  uint32_t dir; /* of the name; 0 when there is none */
  uint32_t ino;
  uint32_t cookie;
  uint32_t name_len;
  uint8_t name[255];
} sabfs_change;

/* Reads the changes of a volume. */
typedef struct sabfs_watcher sabfs_watcher;

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
  /* Advisory locks, of an inode that is held. */
  int32_t (*lock)(const sabfs_volume *, uint32_t ino, const sabfs_lock *lock);
  int32_t (*unlock)(const sabfs_volume *, uint32_t ino, const sabfs_lock *lock);
  /* 1 when a lock is in the way of this one, and puts it there; 0 when none is. */
  int32_t (*test_lock)(const sabfs_volume *, uint32_t ino, sabfs_lock *lock);
  /* Gives all locks of an owner back, of which only `owner` and the kind in `flags` count. */
  void (*release_locks)(const sabfs_volume *, uint32_t ino, const sabfs_lock *lock);
  int32_t (*statfs)(const sabfs_volume *, sabfs_space *out);
  /* `mode` has the flags of Linux's fallocate(). */
  int32_t (*allocate)(const sabfs_volume *, uint32_t ino, uint32_t mode, uint64_t offset, uint64_t count);
  /* Bytes copied, 0 at the end of the source. */
  int64_t (*copy_range)(const sabfs_volume *, uint32_t from, uint64_t from_offset, uint32_t to, uint64_t to_offset,
                        uint64_t count);
  /* Where the next data or the next hole begins. */
  int64_t (*seek)(const sabfs_volume *, uint32_t ino, uint64_t offset, bool hole);
  /* Extended attributes: the value, the names one by one. `flags` are those of setxattr(). */
  int32_t (*get_xattr)(const sabfs_volume *, uint32_t ino, const char *name, size_t name_len, void *sink, sabfs_emit emit);
  int32_t (*list_xattr)(const sabfs_volume *, uint32_t ino, void *sink, sabfs_emit emit);
  int32_t (*set_xattr)(const sabfs_volume *, uint32_t ino, const char *name, size_t name_len, const char *value,
                       size_t value_len, uint32_t flags);
  int32_t (*remove_xattr)(const sabfs_volume *, uint32_t ino, const char *name, size_t name_len);
  /* Makes everything durable, whatever the volume's durability: what a synchronous write asks for. */
  int32_t (*sync_durably)(const sabfs_volume *);
  /* Writes at the end, and tells where that was. Up to 1 MiB is one piece for all programs. */
  int64_t (*append)(const sabfs_volume *, uint32_t ino, const uint8_t *bytes, size_t count, uint64_t *offset);
  /* A regular file without a name, as of O_TMPFILE, which is held once. */
  int32_t (*create_unnamed)(const sabfs_volume *, uint32_t dir, uint32_t mode, sabfs_attr *out);
  /* Begins to watch: what is changed from now on is told. One thread at a time may use a watcher. */
  int32_t (*watch)(const sabfs_volume *, sabfs_watcher **out);
  void (*unwatch)(sabfs_watcher *);
  /* The next change: 1, or 0 when there is none by now. */
  int32_t (*next_change)(const sabfs_volume *, sabfs_watcher *, sabfs_change *out);
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
