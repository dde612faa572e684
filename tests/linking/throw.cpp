// For programs with exceptions: one that passes between a failing call on the volume and whoever asked for it.
#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <system_error>

static int openOrThrow(const std::string &path) {
  int fd = open(path.c_str(), O_RDONLY);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  return fd;
}

extern "C" int thrown(const char *path) {
  try {
    return openOrThrow(path) * 0;
  } catch (const std::system_error &error) {
    return error.code().value();
  }
}
