#include "sabfs_backend.h"

#include <cstring>
#include <errno.h>

namespace sabfs {

using namespace wasmfs;

__thread int lastError = 0;

namespace {

// renameat() of WasmFS looks up the old name, then the new one, and then calls insertMove() with the
// new name and the file: under which name the file was found it does not say. With hard links only
// the lookup knows, so each thread remembers its last two. (Not used when the system calls are
// wrapped.) Plain data, as a constructor would run at each thread's first use.
struct Lookup {
  uint32_t directory;
  uint32_t ino; // 0: nothing was found
  uint32_t length;
  char name[255];
};
thread_local Lookup lookups[2];

void remember(uint32_t directory, uint32_t ino, const std::string &name) {
  if (name.size() > sizeof lookups[0].name) return;
  lookups[0] = lookups[1];
  lookups[1].directory = directory;
  lookups[1].ino = ino;
  lookups[1].length = uint32_t(name.size());
  memcpy(lookups[1].name, name.data(), name.size());
}

bool toString(void *sink, const char *text, size_t length, uint32_t, uint32_t) {
  static_cast<std::string *>(sink)->assign(text, length);
  return true;
}

File::FileKind kindOf(uint32_t mode) {
  if (S_ISDIR(mode)) return File::DirectoryKind;
  if (S_ISLNK(mode)) return File::SymlinkKind;
  return File::DataFileKind;
}

} // namespace

// --- files

SabfsFile::SabfsFile(const Node &node, const sabfs_attr &attr)
  : DataFile(attr.mode & ~S_IFMT, &node.backend), node(node) {
  refresh(attr);
}

SabfsFile::~SabfsFile() {
  // dup2() over the last descriptor does not close.
  if (isOpen()) node.backend.v.forget(node.backend.volume, node.ino);
  node.backend.dropped(node.key);
}

void SabfsFile::refresh(const sabfs_attr &attr) {
  mode = attr.mode;
  atime = toMs(attr.atime_ns);
  mtime = toMs(attr.mtime_ns);
  ctime = toMs(attr.ctime_ns);
}

int SabfsFile::open(oflags_t flags) {
  // Pipes, sockets and devices are there for others who share the volume.
  if (!S_ISREG(mode) && !(flags & O_PATH)) return -ENXIO;
  if (pin()) return 0;
  int error = node.backend.v.hold(node.backend.volume, node.ino, node.generation);
  // Whoever has just unpinned it as the last one may still be about to forget it: holds are counted.
  if (!error) uses = 1;
  // Between the lookup and this the file has lost its last name. The name may stand for another file by
  // now, as rename() replaces at once: whoever can looks it up again (sabfs_syscalls.cpp).
  return error == -ENOENT ? -ESTALE : error;
}

int SabfsFile::close() {
  if (isOpen()) unpin();
  return 0;
}

bool SabfsFile::pin() {
  int count = uses;
  while (count > 0) {
    if (uses.compare_exchange_weak(count, count + 1)) return true;
  }
  return false;
}

void SabfsFile::unpin() {
  if (--uses == 0) node.backend.v.forget(node.backend.volume, node.ino);
}

// WasmFS looks a descriptor up before it locks what it leads to: the file may have been closed in between.
ssize_t SabfsFile::read(uint8_t *buffer, size_t count, off_t offset) {
  if (uses == 0) return -EBADF;
  return ssize_t(node.backend.v.read(node.backend.volume, node.ino, buffer, count, uint64_t(offset)));
}

ssize_t SabfsFile::write(const uint8_t *bytes, size_t count, off_t offset) {
  if (uses == 0) return -EBADF;
  return ssize_t(node.backend.v.write(node.backend.volume, node.ino, bytes, count, uint64_t(offset)));
}

int SabfsFile::setSize(off_t size) {
  sabfs_set_attr set = {};
  set.which = SABFS_SET_SIZE;
  set.size_bytes = uint64_t(size);
  sabfs_attr attr;
  return node.backend.v.setattr(node.backend.volume, node.ino, &set, &attr);
}

off_t SabfsFile::getSize() {
  sabfs_attr attr;
  int error = node.backend.v.getattr(node.backend.volume, node.ino, &attr);
  if (error) return error;
  if (attr.generation != node.generation) return -ENOENT;
  refresh(attr);
  return off_t(attr.size_bytes);
}

int SabfsFile::flush() {
  // WasmFS holds this object's lock, once. Whoever looks the file up meanwhile takes it too, with the
  // directory's lock in hand: a device's flush must not stop them all.
  mutex.unlock();
  int error = node.backend.v.fsync(node.backend.volume, node.ino);
  mutex.lock();
  return error;
}

// --- symlinks

SabfsSymlink::SabfsSymlink(const Node &node, const sabfs_attr &attr, std::string target)
  : Symlink(&node.backend), node(node), target(std::move(target)) {
  refresh(attr);
}

SabfsSymlink::~SabfsSymlink() { node.backend.dropped(node.key); }

void SabfsSymlink::refresh(const sabfs_attr &attr) {
  mode = attr.mode;
  atime = toMs(attr.atime_ns);
  mtime = toMs(attr.mtime_ns);
  ctime = toMs(attr.ctime_ns);
}

std::string SabfsSymlink::getTarget() const { return target; }

off_t SabfsSymlink::getSize() {
  sabfs_attr attr;
  int error = node.backend.v.getattr(node.backend.volume, node.ino, &attr);
  if (error) return error;
  refresh(attr);
  return off_t(attr.size_bytes);
}

// --- directories

SabfsDirectory::SabfsDirectory(const Node &node, const sabfs_attr &attr)
  : Directory(attr.mode & ~S_IFMT, &node.backend), node(node) {
  refresh(attr);
}

SabfsDirectory::~SabfsDirectory() {
  node.backend.v.forget(node.backend.volume, node.ino);
  node.backend.dropped(node.key);
}

void SabfsDirectory::refresh(const sabfs_attr &attr) {
  mode = attr.mode;
  atime = toMs(attr.atime_ns);
  mtime = toMs(attr.mtime_ns);
  ctime = toMs(attr.ctime_ns);
}

std::shared_ptr<Directory> SabfsDirectory::self() {
  return std::static_pointer_cast<Directory>(shared_from_this());
}

// The object for a child. Another program may have moved it here, or it may have names in several
// directories: WasmFS expects that its parent is this directory.
std::shared_ptr<File> SabfsDirectory::adopt(const sabfs_attr &attr) {
  auto file = node.backend.intern(node.ino, attr);
  if (!file) {
    lastError = -ENOENT;
    return nullptr;
  }
  auto handle = file->locked();
  if (handle.getParent().get() != this) handle.setParent(self());
  switch (file->kind) {
    case File::DirectoryKind: {
      auto &directory = static_cast<SabfsDirectory &>(*file);
      directory.refresh(attr);
      if (directory.up.get() != this) directory.up = self();
      break;
    }
    case File::SymlinkKind: static_cast<SabfsSymlink &>(*file).refresh(attr); break;
    default: static_cast<SabfsFile &>(*file).refresh(attr); break;
  }
  return file;
}

std::shared_ptr<File> SabfsDirectory::getChild(const std::string &name) {
  // What was found may have been replaced before it could be held: then the name stands for another.
  for (int tries = 0; tries < TRIES; tries++) {
    sabfs_attr attr;
    lastError = node.backend.v.lookup(node.backend.volume, node.ino, name.data(), name.size(), &attr);
    if (lastError) break;
    if (auto child = adopt(attr)) {
      remember(node.ino, attr.ino, name);
      return child;
    }
  }
  remember(node.ino, 0, name);
  return nullptr;
}

std::shared_ptr<File> SabfsDirectory::insert(const std::string &name, mode_t mode) {
  sabfs_attr attr;
  lastError = node.backend.v.create(node.backend.volume, node.ino, name.data(), name.size(), mode, 0, &attr);
  return lastError ? nullptr : adopt(attr);
}

std::shared_ptr<DataFile> SabfsDirectory::insertDataFile(const std::string &name, mode_t mode) {
  return std::static_pointer_cast<DataFile>(insert(name, (mode & S_IALLUGO) | S_IFREG));
}

std::shared_ptr<Directory> SabfsDirectory::insertDirectory(const std::string &name, mode_t mode) {
  return std::static_pointer_cast<Directory>(insert(name, (mode & S_IALLUGO) | S_IFDIR));
}

std::shared_ptr<Symlink> SabfsDirectory::insertSymlink(const std::string &name, const std::string &target) {
  sabfs_attr attr;
  lastError = node.backend.v.symlink(node.backend.volume, node.ino, name.data(), name.size(), target.data(),
                                     target.size(), &attr);
  return lastError ? nullptr : std::static_pointer_cast<Symlink>(adopt(attr));
}

int SabfsDirectory::insertMove(const std::string &name, std::shared_ptr<File> file) {
  const Node &moving = SabfsBackend::node(file);
  const Lookup *from = lookups[0].ino == moving.ino ? &lookups[0] : &lookups[1];
  if (from->ino != moving.ino) return -EIO;
  auto &backend = node.backend;
  sabfs_attr victim;
  bool replaces = !backend.v.lookup(backend.volume, node.ino, name.data(), name.size(), &victim);
  int error = backend.v.rename(backend.volume, from->directory, from->name, from->length, node.ino, name.data(),
                               name.size(), 0);
  if (error) return error;
  if (replaces && victim.ino != moving.ino) backend.nameGone(node.ino, victim.ino, S_ISDIR(victim.mode));
  backend.moved(from->directory, moving.ino, file->is<Directory>(), self());
  return 0;
}

int SabfsDirectory::removeChild(const std::string &name) {
  auto &backend = node.backend;
  sabfs_attr attr;
  int error = backend.v.lookup(backend.volume, node.ino, name.data(), name.size(), &attr);
  if (!error) {
    auto remove = S_ISDIR(attr.mode) ? backend.v.rmdir : backend.v.unlink;
    error = remove(backend.volume, node.ino, name.data(), name.size());
  }
  // Another program was faster: to WasmFS that is success.
  if (error == -ENOENT) return 0;
  if (!error) backend.nameGone(node.ino, attr.ino, S_ISDIR(attr.mode));
  return error;
}

ssize_t SabfsDirectory::getNumEntries() {
  ssize_t count = 0;
  int error = node.backend.v.read_dir(node.backend.volume, node.ino, &count,
                                      [](void *sink, const char *, size_t, uint32_t, uint32_t) {
                                        ++*static_cast<ssize_t *>(sink);
                                        return true;
                                      });
  return error ? error : count;
}

Directory::MaybeEntries SabfsDirectory::getEntries() {
  std::vector<Entry> entries;
  int error = node.backend.v.read_dir(
    node.backend.volume, node.ino, &entries,
    [](void *sink, const char *name, size_t length, uint32_t kind, uint32_t ino) {
      static_cast<std::vector<Entry> *>(sink)->push_back({std::string(name, length), kindOf(kind), ino_t(ino)});
      return true;
    });
  if (error) return {error};
  return {std::move(entries)};
}

std::string SabfsDirectory::getName(std::shared_ptr<File> file) {
  std::string name;
  if (SabfsBackend::of(file) == &node.backend)
    node.backend.v.name_of(node.backend.volume, node.ino, SabfsBackend::node(file).ino, &name, toString);
  return name;
}

off_t SabfsDirectory::getSize() {
  sabfs_attr attr;
  int error = node.backend.v.getattr(node.backend.volume, node.ino, &attr);
  if (error) return error;
  refresh(attr);
  return off_t(attr.size_bytes);
}

// --- the backend

std::atomic<SabfsBackend *> SabfsBackend::first{nullptr};

SabfsBackend::SabfsBackend(const sabfs_volume *volume)
  : v(*sabfs_get_vtable()), volume(volume),
    // As two mounts of one volume show the same files, they have one number.
    device(dev_t(0x5ab00000u ^ (uint32_t(reinterpret_cast<uintptr_t>(volume)) >> 3))) {
  next = first.load();
  while (!first.compare_exchange_weak(next, this)) {
  }
}

// Only when the program ends: WasmFS keeps all backends till then.
SabfsBackend::~SabfsBackend() { first.store(nullptr); }

SabfsBackend *SabfsBackend::of(const std::shared_ptr<File> &file) {
  auto *backend = file->getBackend();
  for (auto *ours = first.load(); ours; ours = ours->next) {
    if (ours == backend) return ours;
  }
  return nullptr;
}

const Node &SabfsBackend::node(const std::shared_ptr<File> &file) {
  switch (file->kind) {
    case File::DirectoryKind: return static_cast<SabfsDirectory &>(*file).node;
    case File::SymlinkKind: return static_cast<SabfsSymlink &>(*file).node;
    default: return static_cast<SabfsFile &>(*file).node;
  }
}

std::shared_ptr<File> SabfsBackend::find(uint64_t key) {
  auto &shard = shardOf(key);
  std::lock_guard<std::mutex> lock(shard.mutex);
  auto place = shard.table.find(key);
  return place == shard.table.end() ? nullptr : place->second.lock();
}

std::shared_ptr<File> SabfsBackend::heldDirectory(uint32_t ino, uint32_t generation) {
  auto known = find(keyOf(0, ino, true));
  return known && node(known).generation == generation ? known : nullptr;
}

std::shared_ptr<File> SabfsBackend::make(const Node &node, const sabfs_attr &attr) {
  switch (kindOf(attr.mode)) {
    case File::DirectoryKind:
      if (v.hold(volume, node.ino, node.generation)) return nullptr;
      return std::make_shared<SabfsDirectory>(node, attr);
    case File::SymlinkKind: {
      std::string target;
      if (v.readlink(volume, node.ino, &target, toString)) return nullptr;
      return std::make_shared<SabfsSymlink>(node, attr, std::move(target));
    }
    default: return std::make_shared<SabfsFile>(node, attr);
  }
}

std::shared_ptr<File> SabfsBackend::intern(uint32_t directory, const sabfs_attr &attr) {
  uint64_t key = keyOf(directory, attr.ino, S_ISDIR(attr.mode));
  // A number may have been given to another inode since.
  if (auto known = find(key); known && node(known).generation == attr.generation) return known;
  auto file = make(Node{*this, key, attr.ino, attr.generation}, attr);
  if (!file) return nullptr;
  // Objects that go must do so without the mutex, which their destructors take.
  std::shared_ptr<File> before, evicted;
  {
    auto &shard = shardOf(key);
    std::lock_guard<std::mutex> lock(shard.mutex);
    auto &place = shard.table[key];
    before = place.lock();
    if (before && node(before).generation == attr.generation) {
      file.swap(before); // another thread was faster
      return file;
    }
    place = file;
  }
  if (S_ISDIR(attr.mode)) {
    std::lock_guard<std::mutex> lock(recentMutex);
    evicted.swap(recent[recentNext]);
    recent[recentNext] = file;
    recentNext = (recentNext + 1) % RECENT;
  }
  return file;
}

void SabfsBackend::nameGone(uint32_t directory, uint32_t ino, bool isDirectory) {
  sabfs_attr attr;
  int error = v.getattr(volume, ino, &attr);
  // A directory has one name only.
  if (!isDirectory && !error && attr.nlink > 0) return;
  auto file = find(keyOf(directory, ino, isDirectory));
  if (!file) return;
  {
    std::shared_ptr<File> released; // destroyed without the mutex
    std::lock_guard<std::mutex> lock(recentMutex);
    for (auto &entry : recent) {
      if (entry == file) released.swap(entry);
    }
  }
  auto handle = file->locked();
  handle.setParent(nullptr);
  if (isDirectory) static_cast<SabfsDirectory &>(*file).setUp(nullptr);
}

void SabfsBackend::moved(uint32_t from, uint32_t ino, bool isDirectory, const std::shared_ptr<Directory> &to) {
  auto file = find(keyOf(from, ino, isDirectory));
  if (!file) return;
  auto handle = file->locked();
  handle.setParent(to);
  if (isDirectory) static_cast<SabfsDirectory &>(*file).setUp(to);
  // A file's object stays under its old key: whoever looks the new name up gets another object, as for
  // two names of one file. Both show the same inode.
}

void SabfsBackend::dropped(uint64_t key) {
  auto &shard = shardOf(key);
  std::lock_guard<std::mutex> lock(shard.mutex);
  auto place = shard.table.find(key);
  // Another object may stand there by now.
  if (place != shard.table.end() && place->second.expired()) shard.table.erase(place);
}

std::shared_ptr<Directory> SabfsBackend::createDirectory(mode_t) {
  sabfs_attr attr;
  lastError = v.getattr(volume, SABFS_INO_ROOT, &attr);
  // It cannot vanish, but locks need a hold.
  if (!lastError) lastError = v.hold(volume, SABFS_INO_ROOT, attr.generation);
  if (lastError) return nullptr;
  // Each mount point is an object of its own, as each has another parent.
  auto root = std::make_shared<SabfsDirectory>(Node{*this, SABFS_INO_ROOT, attr.ino, attr.generation}, attr);
  auto &shard = shardOf(SABFS_INO_ROOT);
  std::lock_guard<std::mutex> lock(shard.mutex);
  shard.table[SABFS_INO_ROOT] = root;
  return root;
}

std::shared_ptr<DataFile> SabfsBackend::createFile(mode_t) { return nullptr; }

std::shared_ptr<Symlink> SabfsBackend::createSymlink(std::string) { return nullptr; }

} // namespace sabfs
