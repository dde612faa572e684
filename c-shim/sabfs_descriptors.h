// Descriptors: what WasmFS's table of them does not keep.
#pragma once

#include "sabfs_backend.h"

namespace sabfs {

// Gives an open file a descriptor, the lowest that is free: its number, or -EMFILE, and the file is closed.
int addDescriptor(const std::shared_ptr<wasmfs::OpenFileState> &open, bool closeOnExec, int lowest = 0);
// Whether there is no descriptor left.
bool isTableFull();
// Takes a descriptor away, whatever is behind it; 0 or a negative errno.
int closeDescriptor(int fd);
// Has a descriptor lead where another one leads, as dup3() does.
int replaceDescriptor(int from, int to, int flags);
// Of a descriptor: whether a program that is executed would not get it. Nothing is executed here, but it can be asked.
void setCloseOnExec(int fd, bool closes);
// What fcntl() does but for locks.
int controlDescriptor(int fd, int command, void *argument);

} // namespace sabfs
