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

#ifdef __cplusplus
}
#endif
#endif
