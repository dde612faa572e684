/* SABFS for C and C++ programs built by Emscripten with -sWASMFS.
 *
 * The volume is mounted before main() when the page sets Module.sabfs, or by the calls below.
 * See docs/attach.md for how a program is linked.
 */
#ifndef SABFS_H
#define SABFS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* When fsync() returns. */
enum sabfs_durability {
  SABFS_DEFAULT = 0, /* as Module.sabfs says, otherwise strict */
  SABFS_STRICT = 1,  /* when the data are flushed to the device */
  SABFS_RELAXED = 2, /* when they are handed to the browser; a timer flushes them */
  SABFS_MEMORY = 3   /* at once: nothing is persisted */
};

enum { SABFS_READ_ONLY = 1 };

/* What is 0 or NULL is taken from Module.sabfs, or else has its default. */
struct sabfs_options {
  const char *volume;      /* name of the volume; "default" */
  uint64_t capacity_bytes; /* largest size of the volume; 1 GiB */
  uint32_t durability;     /* enum sabfs_durability */
  uint32_t flags;          /* SABFS_READ_ONLY */
};

/* Mounts the volume at `path`, which is created if it does not exist. `options` may be NULL.
 *
 * May be called from any thread. A volume that is persisted needs its keeper worker, which cannot
 * start while a browser's main thread is blocked in a call: there, set Module.sabfs, await
 * Module.mountSABFS(), or link with -sPROXY_TO_PTHREAD.
 *
 * Returns 0 or a negative errno: -EBUSY (the volume is open elsewhere), -ENOMEM (the capacity is too
 * large for this device), -EINVAL (options), -EOPNOTSUPP (no OPFS, no SharedArrayBuffer, or a call on
 * a browser's main thread), -ENOSPC, -EIO ... The browser's console says more. */
int sabfs_mount(const char *path, const struct sabfs_options *options);

/* As the other wasmfs_create_*_backend() functions: a backend for wasmfs_create_directory(), on the
 * volume of Module.sabfs or the default one. NULL with errno set on failure.
 *
 *   backend_t backend = wasmfs_create_sabfs_backend();
 *   wasmfs_create_directory("/data", 0777, backend);
 */
struct Backend; /* backend_t of <emscripten/wasmfs.h> */
struct Backend *wasmfs_create_sabfs_backend(void);

/* How long something took, in microseconds; what is told is at most a sixteenth too large. */
struct sabfs_latency {
  uint64_t count;  /* how often it was done */
  uint64_t p50_us; /* half of all times took no longer */
  uint64_t p99_us; /* 99 of 100 times took no longer */
  uint64_t max_us; /* the longest */
};

/* What a volume has done since it was mounted, by all programs that share it, and how it is now. */
struct sabfs_metrics {
  uint64_t commits;               /* that wrote a record to the journal */
  uint64_t commits_failed;        /* attempts that the device refused */
  uint64_t journal_written_bytes; /* written to the journal */
  uint64_t image_written_bytes;   /* written to the image */
  uint64_t journal_flushes;
  uint64_t image_flushes;
  uint64_t checkpoints;   /* segments of the journal that were brought to the image */
  uint64_t fsyncs;        /* calls that asked for durability and got it: fsync(), sync(), O_SYNC ... */
  uint64_t fsyncs_failed; /* such calls that ended with an error */
  struct sabfs_latency commit_latency; /* of commits, as the keeper sees them */
  struct sabfs_latency fsync_latency;  /* of such calls, as their callers see them */
  uint32_t change;             /* count of changes (wrapping) */
  uint32_t written;            /* the count up to which everything is in the journal, flushed or not */
  uint32_t durable;            /* the count up to which everything is durable */
  uint32_t dirty_blocks;       /* blocks that differ from what is in the journal or the image */
  uint32_t dirty_meta_blocks;  /* those of them that hold metadata */
  uint32_t quarantined_blocks; /* freed blocks that wait for a commit before they are used again */
  uint32_t room_blocks;        /* blocks that the image file has for certain */
  uint32_t room_wanted_blocks; /* blocks that somebody waits for it to have, or 0 */
  uint32_t room_short;         /* 1 when the device refused to make it longer */
  uint32_t keeper_up;          /* 1 while a keeper serves the volume */
  uint32_t durability;         /* enum sabfs_durability */
  int32_t failure;             /* errno of the last attempt if it failed, or 0 */
  int32_t last_failure;        /* errno of the last attempt that failed, however long ago, or 0 */
};

/* Fills in the metrics of the volume that `path` lies on; of the program's volume if `path` is NULL.
 *
 * Returns 0 or a negative errno: -ENODEV (no volume is mounted, or it was let go of), -EINVAL (the path
 * is on another file system), or why the path leads nowhere. From any thread. */
int sabfs_metrics(const char *path, struct sabfs_metrics *metrics);

/* Makes everything durable that was changed so far on the volume that the open file `fd` lies on, as
 * fsync() does. Other file systems have nothing to do. Returns 0, or -1 with errno set.
 * (Emscripten's C library has no syncfs().) */
int syncfs(int fd);

#ifdef __cplusplus
}
#endif
#endif
