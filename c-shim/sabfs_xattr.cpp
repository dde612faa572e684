// Extended attributes: the calls that the C library declares and has none of. Files of other backends have none, and
// cannot be given any.

#include "sabfs_calls.h"

#include <cstring>
#include <fcntl.h>
#include <sys/xattr.h>

using namespace wasmfs;
using namespace sabfs;

namespace {

constexpr size_t XATTR_NAME_MAX = 255, XATTR_SIZE_MAX = 65536;

// What Linux looks at before it looks for the file.
int checkName(const char *name) { return *name && strlen(name) <= XATTR_NAME_MAX ? 0 : -ERANGE; }

int checkNew(const char *name, size_t size, int flags) {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return -EINVAL;
  int error = checkName(name);
  return error ? error : size > XATTR_SIZE_MAX ? -E2BIG : 0;
}

// Runs an operation on what a path leads to, if `error` is none. (`flags`: AT_SYMLINK_NOFOLLOW or none.)
template<class Ours> ssize_t atPath(const char *path, int flags, int error, Ours ours) {
  if (error) return answer(ssize_t(error));
  ssize_t result = 0;
  error = withFile(
    AT_FDCWD, path, flags,
    [&](auto &backend, auto &file) {
      result = ours(backend, SabfsBackend::node(file).ino);
      return result < 0 ? int(result) : 0;
    },
    [] { return -EOPNOTSUPP; });
  return answer(error ? ssize_t(error) : result);
}

template<class Ours> ssize_t atDescriptor(int fd, int error, Ours ours) {
  Descriptor open(fd);
  if (!open.state) error = -EBADF;
  if (error) return answer(ssize_t(error));
  return answer(open.backend ? ssize_t(ours(*open.backend, open.ino())) : ssize_t(-EOPNOTSUPP));
}

// Hands bytes to a caller who may only ask how many there are.
ssize_t give(const std::string &bytes, void *buffer, size_t size) {
  if (size == 0) return ssize_t(bytes.size());
  if (size < bytes.size()) return -ERANGE;
  memcpy(buffer, bytes.data(), bytes.size());
  return ssize_t(bytes.size());
}

bool appendName(void *sink, const char *name, size_t length, uint32_t, uint32_t) {
  static_cast<std::string *>(sink)->append(name, length).push_back(0);
  return true;
}

auto getter(const char *name, void *value, size_t size) {
  return [=](SabfsBackend &backend, uint32_t ino) -> ssize_t {
    std::string found;
    int error = backend.v.get_xattr(backend.volume, ino, name, strlen(name), &found, toString);
    return error ? error : give(found, value, size);
  };
}

auto lister(char *list, size_t size) {
  return [=](SabfsBackend &backend, uint32_t ino) -> ssize_t {
    std::string names;
    int error = backend.v.list_xattr(backend.volume, ino, &names, appendName);
    return error ? error : give(names, list, size);
  };
}

auto setter(const char *name, const void *value, size_t size, int flags) {
  return [=](SabfsBackend &backend, uint32_t ino) -> ssize_t {
    return backend.v.set_xattr(backend.volume, ino, name, strlen(name), static_cast<const char *>(value), size, unsigned(flags));
  };
}

auto remover(const char *name) {
  return [=](SabfsBackend &backend, uint32_t ino) -> ssize_t {
    return backend.v.remove_xattr(backend.volume, ino, name, strlen(name));
  };
}

} // namespace

extern "C" {

ssize_t getxattr(const char *path, const char *name, void *value, size_t size) {
  return atPath(path, 0, checkName(name), getter(name, value, size));
}
ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size) {
  return atPath(path, AT_SYMLINK_NOFOLLOW, checkName(name), getter(name, value, size));
}
ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) {
  return atDescriptor(fd, checkName(name), getter(name, value, size));
}

ssize_t listxattr(const char *path, char *list, size_t size) { return atPath(path, 0, 0, lister(list, size)); }
ssize_t llistxattr(const char *path, char *list, size_t size) {
  return atPath(path, AT_SYMLINK_NOFOLLOW, 0, lister(list, size));
}
ssize_t flistxattr(int fd, char *list, size_t size) { return atDescriptor(fd, 0, lister(list, size)); }

int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
  return int(atPath(path, 0, checkNew(name, size, flags), setter(name, value, size, flags)));
}
int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
  return int(atPath(path, AT_SYMLINK_NOFOLLOW, checkNew(name, size, flags), setter(name, value, size, flags)));
}
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
  return int(atDescriptor(fd, checkNew(name, size, flags), setter(name, value, size, flags)));
}

int removexattr(const char *path, const char *name) { return int(atPath(path, 0, checkName(name), remover(name))); }
int lremovexattr(const char *path, const char *name) { return int(atPath(path, AT_SYMLINK_NOFOLLOW, checkName(name), remover(name))); }
int fremovexattr(int fd, const char *name) { return int(atDescriptor(fd, checkName(name), remover(name))); }

} // extern "C"
