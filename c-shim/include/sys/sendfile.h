/* As on Linux: Emscripten has no such header. */
#ifndef SABFS_SYS_SENDFILE_H
#define SABFS_SYS_SENDFILE_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

ssize_t sendfile(int out, int in, off_t *offset, size_t count);

#ifdef __cplusplus
}
#endif
#endif
