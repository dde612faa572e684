// inotify_init() and so on: what becomes of files and names, by whatever program or page of the store.
//
// All comes from the volume's change log, which is read when somebody asks. It tells of data and attributes by inode: the
// names that Linux gives are looked up then, and what has become of them since, which is in the log, too, is taken back.
// Opening, reading and closing are not in the log, so a program hears of its own only.

#include "sabfs_inotify.h"

#include "sabfs_calls.h"
#include "sabfs_descriptors.h"

#include <algorithm>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <vector>

using namespace wasmfs;

namespace sabfs {

namespace {

// The program's watchers; guarded by the monitor. Never destroyed, as files are closed until the very end.
std::vector<Inotify *> &all() {
  static auto &watchers = *new std::vector<Inotify *>;
  return watchers;
}
// Whether there is one: who has none pays a load for each open() and read().
std::atomic<bool> any{false};

std::string nameIn(const sabfs_change &change) {
  return std::string(reinterpret_cast<const char *>(change.name), change.name_len);
}

bool isSuch(const sabfs_change &change, uint32_t what, uint32_t ino) { return change.what == what && change.ino == ino; }

bool isOfLinks(const sabfs_change &change, uint32_t ino) { return isSuch(change, SABFS_CHANGE_ATTRIB, ino) && change.cookie; }

} // namespace

Inotify *Inotify::of(const std::shared_ptr<File> &file) {
  auto *channel = Channel::of(file);
  return channel && channel->isWatched() ? static_cast<Inotify *>(channel) : nullptr;
}

Inotify::~Inotify() { (void)close(); }

int Inotify::close() {
  std::vector<Log> gone;
  {
    Monitor monitor;
    gone.swap(logs);
    watches.clear();
    auto &list = all();
    list.erase(std::remove(list.begin(), list.end(), this), list.end());
  }
  for (auto &log : gone) log.backend->v.unwatch(log.watcher);
  return 0;
}

size_t Inotify::Event::size() const {
  constexpr size_t HEAD = sizeof(inotify_event);
  return HEAD + (name.empty() ? 0 : (name.size() + HEAD) / HEAD * HEAD);
}

void Inotify::put(int watch, uint32_t mask, uint32_t cookie, const std::string &name) {
  if (events.size() > EVENTS_MAX) return;
  if (events.size() == EVENTS_MAX) {
    events.push_back({-1, IN_Q_OVERFLOW, 0, ""});
    return;
  }
  // The same again is told once.
  if (!events.empty()) {
    auto &last = events.back();
    if (last.watch == watch && last.mask == mask && last.cookie == cookie && last.name == name) return;
  }
  events.push_back({watch, mask, cookie, name});
}

void Inotify::drop(int number) {
  put(number, IN_IGNORED, 0, "");
  watches.erase(number);
}

void Inotify::tellIn(Log &log, uint32_t directory, uint32_t mask, uint32_t cookie, const std::string &name) {
  for (auto place = watches.begin(); place != watches.end();) {
    auto [number, watch] = *place++;
    if (watch.backend->volume != log.backend->volume || watch.ino != directory || !watch.isDirectory) continue;
    if (!(watch.mask & mask & IN_ALL_EVENTS)) continue;
    put(number, mask, cookie, name);
    if (watch.mask & IN_ONESHOT) drop(number);
  }
}

std::string Inotify::nameOf(Log &log, uint32_t directory, const sabfs_change *change) {
  // Names that it has got since.
  std::vector<std::string> later;
  for (auto *next = change + 1; next->what; next++) {
    if (next->ino != change->ino || next->dir != directory) continue;
    std::string name = nameIn(*next);
    auto place = std::find(later.begin(), later.end(), name);
    if (next->what == SABFS_CHANGE_CREATE || next->what == SABFS_CHANGE_TO) {
      later.push_back(name);
    } else if (place == later.end()) {
      return name;
    } else {
      later.erase(place);
    }
  }
  std::string name;
  if (log.backend->v.name_of(log.backend->volume, directory, change->ino, &name, toString)) return "";
  return std::find(later.begin(), later.end(), name) == later.end() ? name : "";
}

void Inotify::tellOf(Log &log, const sabfs_change *change, uint32_t mask) {
  uint32_t ino = change->ino, flags = mask | (S_ISDIR(change->kind) ? IN_ISDIR : 0);
  // Linux tells the directory first. A file may have a name in each directory that is watched.
  std::vector<uint32_t> directories;
  for (auto &[number, watch] : watches) {
    bool same = watch.backend->volume == log.backend->volume && watch.isDirectory && watch.mask & mask;
    if (same && watch.ino != ino) directories.push_back(watch.ino);
  }
  for (uint32_t directory : directories) {
    std::string name = nameOf(log, directory, change);
    if (!name.empty()) tellIn(log, directory, flags, 0, name);
  }
  tellSelf(log, ino, flags);
}

void Inotify::tellSelf(Log &log, uint32_t ino, uint32_t mask) {
  for (auto place = watches.begin(); place != watches.end();) {
    auto [number, watch] = *place++;
    if (watch.backend->volume != log.backend->volume || watch.ino != ino || !(watch.mask & mask & IN_ALL_EVENTS)) continue;
    put(number, mask, 0, "");
    if (watch.mask & IN_ONESHOT) drop(number);
  }
}

void Inotify::take(Log &log, const sabfs_change *place) {
  const auto &change = *place, &before = place[-1];
  std::string name = nameIn(change);
  uint32_t flags = S_ISDIR(change.kind) ? IN_ISDIR : 0;
  switch (change.what) {
    case SABFS_CHANGE_CREATE: tellIn(log, change.dir, IN_CREATE | flags, 0, name); break;
    case SABFS_CHANGE_DELETE:
      // One name less is a change of attributes, which the log does not tell of an inode that is gone.
      if (!isOfLinks(before, change.ino) && !S_ISDIR(change.kind)) tellSelf(log, change.ino, IN_ATTRIB);
      // What a rename replaces goes without a word.
      if (!change.cookie) tellIn(log, change.dir, IN_DELETE | flags, 0, name);
      break;
    case SABFS_CHANGE_MODIFY: tellOf(log, place, IN_MODIFY); break;
    case SABFS_CHANGE_ATTRIB:
      // Of the number of names the directories are not told.
      if (!change.cookie) tellOf(log, place, IN_ATTRIB);
      else if (!isSuch(before, SABFS_CHANGE_DELETE, change.ino)) tellSelf(log, change.ino, IN_ATTRIB | flags);
      break;
    case SABFS_CHANGE_FROM: tellIn(log, change.dir, IN_MOVED_FROM | flags, ++cookies, name); break;
    case SABFS_CHANGE_TO:
      tellIn(log, change.dir, IN_MOVED_TO | flags, cookies, name);
      tellSelf(log, change.ino, IN_MOVE_SELF);
      break;
    case SABFS_CHANGE_MISSED: put(-1, IN_Q_OVERFLOW, 0, ""); break;
  }
}

void Inotify::reap() {
  for (auto place = watches.begin(); place != watches.end();) {
    auto [number, watch] = *place++;
    sabfs_attr attr;
    int error = watch.backend->v.getattr(watch.backend->volume, watch.ino, &attr);
    bool gone = error == -ENOENT || error == -ESTALE || (!error && (attr.generation != watch.generation || !attr.nlink));
    if (!gone) continue;
    if (watch.mask & IN_DELETE_SELF) put(number, IN_DELETE_SELF, 0, "");
    drop(number);
  }
}

void Inotify::pump() {
  for (auto &log : logs) {
    // One is looked at beside its neighbours; the ends have none.
    std::vector<sabfs_change> changes(1);
    while (log.backend->v.next_change(log.backend->volume, log.watcher, &changes.emplace_back()) > 0) {}
    changes.back() = {};
    for (size_t i = 1; i + 1 < changes.size(); i++) {
      take(log, &changes[i]);
      if (changes[i].what == SABFS_CHANGE_DELETE || changes[i].what == SABFS_CHANGE_TO) reap();
    }
  }
  reap();
}

int Inotify::add(SabfsBackend &backend, const sabfs_attr &attr, uint32_t mask) {
  Monitor monitor;
  pump();
  for (auto &[number, watch] : watches) {
    if (watch.backend->volume != backend.volume || watch.ino != attr.ino || watch.generation != attr.generation) continue;
    if (mask & IN_MASK_CREATE) return -EEXIST;
    watch.mask = mask & IN_MASK_ADD ? watch.mask | mask : mask;
    return number;
  }
  bool known = false;
  for (auto &log : logs) known |= log.backend->volume == backend.volume;
  if (!known) {
    Log log{&backend, nullptr};
    if (int error = backend.v.watch(backend.volume, &log.watcher)) return error;
    logs.push_back(log);
  }
  watches[++newest] = {&backend, attr.ino, attr.generation, mask, bool(S_ISDIR(attr.mode))};
  auto &list = all();
  if (std::find(list.begin(), list.end(), this) == list.end()) list.push_back(this);
  any = true;
  return newest;
}

int Inotify::remove(int number) {
  Monitor monitor;
  pump();
  if (!watches.count(number)) return -EINVAL;
  drop(number);
  monitor.changed();
  return 0;
}

void Inotify::use(const SabfsBackend &backend, uint32_t ino, uint32_t event) {
  // What was done before comes first.
  pump();
  sabfs_attr attr;
  for (auto &log : logs) {
    if (log.backend->volume != backend.volume || backend.v.getattr(backend.volume, ino, &attr)) continue;
    // With nothing behind it: now.
    sabfs_change now[2] = {};
    now[0].ino = ino;
    now[0].kind = attr.mode;
    tellOf(log, now, event);
  }
}

bool isAnythingWatched() { return any; }

void noteUse(const std::shared_ptr<File> &file, uint32_t event) {
  if (!any) return;
  if (auto *backend = SabfsBackend::of(file)) noteUse(*backend, SabfsBackend::node(file).ino, event);
}

void noteUse(const SabfsBackend &backend, uint32_t ino, uint32_t event) {
  if (!any) return;
  Monitor monitor;
  for (auto *watcher : all()) watcher->use(backend, ino, event);
  monitor.changed();
}

ssize_t Inotify::receive(uint8_t *buffer, size_t count, bool waits) {
  Monitor monitor;
  for (;;) {
    pump();
    if (!events.empty()) break;
    if (!waits) return -EAGAIN;
    monitor.wait(LOOK_MS);
  }
  size_t done = 0;
  while (!events.empty()) {
    auto &event = events.front();
    size_t size = event.size();
    if (done + size > count) break;
    inotify_event head = {event.watch, event.mask, event.cookie, uint32_t(size - sizeof head)};
    memset(buffer + done, 0, size);
    memcpy(buffer + done, &head, sizeof head);
    memcpy(buffer + done + sizeof head, event.name.data(), event.name.size());
    done += size;
    events.pop_front();
  }
  return done ? ssize_t(done) : -EINVAL;
}

int Inotify::ready() {
  pump();
  return events.empty() ? 0 : POLLIN | POLLRDNORM;
}

int Inotify::pending() {
  pump();
  size_t sum = 0;
  for (auto &event : events) sum += event.size();
  return int(sum);
}

} // namespace sabfs

using namespace sabfs;

extern "C" {

int inotify_init1(int flags) {
  if (flags & ~(IN_CLOEXEC | IN_NONBLOCK)) return answer(-EINVAL);
  std::shared_ptr<OpenFileState> open;
  (void)OpenFileState::create(std::make_shared<Inotify>(), O_RDONLY | (flags & O_NONBLOCK), open);
  return answer(addDescriptor(open, flags & O_CLOEXEC));
}

int inotify_init(void) { return inotify_init1(0); }

int inotify_add_watch(int fd, const char *path, uint32_t mask) {
  if (!(mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_ADD | IN_MASK_CREATE)))
    return answer(-EINVAL);
  Descriptor open(fd);
  if (!open.state) return answer(-EBADF);
  if (mask & IN_MASK_ADD && mask & IN_MASK_CREATE) return answer(-EINVAL);
  auto *watcher = Inotify::of(open.file);
  if (!watcher) return answer(-EINVAL);
  int number = 0;
  auto ours = [&](SabfsBackend &backend, const std::shared_ptr<File> &file) {
    if (mask & IN_ONLYDIR && !file->is<Directory>()) return -ENOTDIR;
    sabfs_attr attr;
    const auto &node = SabfsBackend::node(file);
    if (int error = backend.v.getattr(backend.volume, node.ino, &attr)) return error;
    if (attr.generation != node.generation) return -ENOENT;
    number = watcher->add(backend, attr, mask);
    return number < 0 ? number : 0;
  };
  // Nobody says what becomes of other backends' files.
  int flags = mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
  int error = withFile(AT_FDCWD, path, flags, ours, [] { return -EOPNOTSUPP; });
  return answer(error ? error : number);
}

int inotify_rm_watch(int fd, int number) {
  Descriptor open(fd);
  if (!open.state) return answer(-EBADF);
  auto *watcher = Inotify::of(open.file);
  return answer(watcher ? watcher->remove(number) : -EINVAL);
}

} // extern "C"
