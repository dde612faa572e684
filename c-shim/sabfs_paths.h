// Paths on a volume that are walked without WasmFS's objects.
//
// WasmFS locks each directory on the way from the root, so that threads which work in different directories wait for
// each other at the first two. The store is read without a lock.
#pragma once

#include "sabfs_backend.h"

#include <string_view>

namespace sabfs {

// The last name of a path and the directory that has it.
struct Place {
  SabfsBackend *backend;
  uint32_t directory;
  std::string_view name;
  // Keeps the directory's inode from becoming another directory's. Null for the volume's root, which never does.
  std::shared_ptr<wasmfs::File> held;

  int lookup(sabfs_attr *attr) const {
    return backend->v.lookup(backend->volume, directory, name.data(), name.size(), attr);
  }
  // 0, or why no name of the directory may be changed, as WasmFS judges.
  int checkWrite() const;
};

// Walks an absolute path. False when it is for WasmFS to walk: it leads elsewhere, or along something out of the
// ordinary, or nowhere.
bool walk(const char *path, Place &place);

// A volume was mounted at this absolute path.
void noteMount(const std::string &path, SabfsBackend *backend);
// Something has happened to names that lie on no volume: looks which mounts are where they were.
void checkMounts();
// Something else was mounted on a volume: from now on paths are for WasmFS to walk.
void noteMountInside();

} // namespace sabfs
