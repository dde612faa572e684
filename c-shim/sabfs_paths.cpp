#include "sabfs_paths.h"

#include <atomic>
#include <errno.h>
#include <limits.h>
#include <mutex>
#include <sys/stat.h>
#include <vector>

namespace sabfs {

using namespace wasmfs;

namespace {

// Volumes that are mounted right below the root. Deeper ones could be moved with a directory above them.
struct Mount {
  std::string name;
  SabfsBackend *backend;
};
using Mounts = std::vector<Mount>;

// Never freed or changed once it is here, as it is read without a lock; mounts are few.
std::atomic<const Mounts *> mounts{nullptr};
std::mutex changing;
bool inside = false; // guarded by `changing`

void publish(Mounts list) {
  mounts = list.empty() || inside ? nullptr : new Mounts(std::move(list));
}

Mounts copy() {
  const Mounts *list = mounts;
  return list ? *list : Mounts();
}

} // namespace

void noteMount(const std::string &path, SabfsBackend *backend) {
  if (path.find('/', 1) != std::string::npos) return;
  std::lock_guard<std::mutex> lock(changing);
  auto list = copy();
  list.push_back({path.substr(1), backend});
  publish(std::move(list));
}

void checkMounts() {
  if (!mounts.load()) return;
  std::lock_guard<std::mutex> lock(changing);
  Mounts there;
  for (auto &mount : copy()) {
    auto child = wasmFS.getRootDirectory()->locked().getChild(mount.name);
    if (child && child->getBackend() == mount.backend) there.push_back(mount);
  }
  publish(std::move(there));
}

void noteMountInside() {
  std::lock_guard<std::mutex> lock(changing);
  inside = true;
  publish({});
}

bool walk(const char *text, Place &place) {
  const Mounts *list = mounts.load();
  if (!list || text[0] != '/') return false;
  std::string_view path(text + 1);
  size_t slash = path.find('/');
  if (slash == path.npos || path.size() >= PATH_MAX) return false;
  auto first = path.substr(0, slash);
  place.backend = nullptr;
  for (auto &mount : *list) {
    if (mount.name == first) place.backend = mount.backend;
  }
  if (!place.backend) return false;
  sabfs_attr attr;
  attr.ino = SABFS_INO_ROOT;
  for (;;) {
    path.remove_prefix(slash + 1);
    slash = path.find('/');
    auto name = path.substr(0, slash);
    // Several slashes, or one at the end, "." and "..".
    if (name.empty() || name.size() > NAME_MAX || name == "." || name == "..") return false;
    place.directory = attr.ino;
    place.name = name;
    if (slash == path.npos) break;
    if (place.lookup(&attr) || !S_ISDIR(attr.mode)) return false;
  }
  if (place.directory == SABFS_INO_ROOT) return true;
  // WasmFS makes the object if it is not there.
  place.held = place.backend->heldDirectory(place.directory, attr.generation);
  return place.held != nullptr;
}

int Place::checkWrite() const {
  sabfs_attr attr;
  int error = backend->v.getattr(backend->volume, directory, &attr);
  if (error) return error;
  constexpr mode_t WRITE = 0222;
  return attr.mode & WRITE ? 0 : -EACCES;
}

} // namespace sabfs
