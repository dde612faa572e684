// Mounting: from a volume that this program is attached to, to a directory of WasmFS.

#include "sabfs_paths.h"

#include "paths.h"

#include "sabfs.h"

#include <errno.h>
#include <string.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

// <emscripten/wasmfs.h> declares another backend_t than backend.h does.
extern "C" int wasmfs_create_directory(const char *path, mode_t mode, wasmfs::backend_t backend);
extern "C" int wasmfs_unmount(const char *path);

namespace {

// Creates what is missing of the directories above the last name.
int makeParents(const std::string &path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (mkdir(path.substr(0, slash).c_str(), 0777) && errno != EEXIST) return -errno;
  }
  return 0;
}

int mountAt(const char *text) {
  const auto *volume = sabfs_volume_current();
  if (!volume) return -ENODEV;
  std::string path(text);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.size() < 2 || path.front() != '/') return -EINVAL;
  if (int error = makeParents(path)) return error;
  auto parsed = wasmfs::path::parseFile(path);
  if (!parsed.getError()) {
    auto file = parsed.getFile();
    if (!file->is<wasmfs::Directory>()) return -ENOTDIR;
    auto above = file->locked().getParent();
    // rmdir() would take another mount away.
    if (!above || above->getBackend() != file->getBackend()) return -EBUSY;
    // What lies in it would be out of reach.
    if (rmdir(path.c_str())) return -errno;
  }
  auto *backend = wasmfs::wasmFS.addBackend(std::make_unique<sabfs::SabfsBackend>(volume));
  sabfs::lastError = 0;
  int error = wasmfs_create_directory(path.c_str(), 0777, backend);
  if (!error) sabfs::noteMount(path, static_cast<sabfs::SabfsBackend *>(backend));
  return error == -EIO && sabfs::lastError ? sabfs::lastError : error;
}

} // namespace

extern "C" {

// JavaScript: mounts the volume that is attached.
int sabfs_mount_attached(const char *path) { return mountAt(path); }

// JavaScript: takes away a file in whose place one is put that the program brings along.
// Not by unlink(), which the mode of folders that are brought along forbids.
int sabfs_make_way(const char *path) {
  auto parsed = wasmfs::path::parseParent(path);
  if (auto error = parsed.getError()) return int(error);
  auto &[parent, name] = parsed.getParentChild();
  auto directory = parent->locked();
  auto child = directory.getChild(std::string(name));
  return child && !child->is<wasmfs::Directory>() ? int(directory.removeChild(std::string(name))) : 0;
}

// JavaScript: takes a mount away; its open files stay usable until the volume is let go of.
int sabfs_unmount(const char *path) {
  int error = wasmfs_unmount(path);
  sabfs::checkMounts();
  return error;
}

int sabfs_mount(const char *path, const struct sabfs_options *options) {
  // The root is WasmFS's own.
  if (!path || path[0] != '/' || !path[strspn(path, "/")]) return -EINVAL;
  int error = sabfs_volume_open(options);
  return error ? error : mountAt(path);
}

int sabfs_metrics(const char *path, struct sabfs_metrics *metrics) {
  if (!metrics) return -EFAULT;
  const auto *volume = sabfs_volume_current();
  if (path) {
    auto parsed = wasmfs::path::parseFile(path);
    if (auto error = parsed.getError()) return int(error);
    auto *backend = sabfs::SabfsBackend::of(parsed.getFile());
    if (!backend) return -EINVAL;
    volume = backend->volume;
  }
  return volume ? sabfs_volume_metrics(volume, metrics) : -ENODEV;
}

// Weak, as a program may have one of its own because the C library has none.
__attribute__((weak)) int syncfs(int fd) {
  auto open = wasmfs::wasmFS.getFileTable().locked().getEntry(fd);
  if (!open) return errno = EBADF, -1;
  auto *backend = sabfs::SabfsBackend::of(open->locked().getFile());
  int error = backend ? backend->v.fsync(backend->volume, SABFS_INO_ROOT) : 0;
  return error ? errno = -error, -1 : 0;
}

struct Backend *wasmfs_create_sabfs_backend(void) {
  if (int error = sabfs_volume_open(nullptr)) {
    errno = -error;
    return nullptr;
  }
  auto *backend = wasmfs::wasmFS.addBackend(std::make_unique<sabfs::SabfsBackend>(sabfs_volume_current()));
  return reinterpret_cast<struct Backend *>(backend);
}

} // extern "C"
