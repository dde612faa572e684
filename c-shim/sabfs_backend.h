// The WasmFS backend's classes: WasmFS's objects on one side, inode numbers on the other.
//
// The store is shared with other programs, so nothing is believed for longer than one call: the
// backend keeps file identity itself (WasmFS's own cache of names would never learn what others do),
// and attributes are fetched anew whenever WasmFS asks for a size, which it does before it shows
// anything else.
//
// Invariants
// - One object per (directory, inode) for files and symlinks, as File::parent holds one directory
//   and a file may have names in several. One object per inode for directories.
// - A directory holds its parent, as File::parent is weak and nobody else holds directories. Children
//   are not held by their parents, so there is no cycle.
// - A directory's inode is held while its object lives, a file's while it is open.
// - The object of a directory that was removed has no parent.
// - Objects of files may have none, or one that the file has left: every lookup by WasmFS sets it.
//
// Locks: WasmFS's lock of an object, then a mutex of the backend. The file system's own locks are in
// the store; whoever waits for the device does so without a lock of WasmFS.
#pragma once

// First: other versions' headers would give errors that say nothing.
#include "sabfs_version.h"

#include "backend.h"
#include "file.h"
#include "wasmfs.h"

#include "vtable.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace sabfs {

class SabfsBackend;

// What the three kinds of objects have in common.
struct Node {
  SabfsBackend &backend;
  const uint64_t key; // in the backend's table
  const uint32_t ino;
  const uint32_t generation;
};

class SabfsFile final : public wasmfs::DataFile {
public:
  const Node node;

  SabfsFile(const Node &node, const sabfs_attr &attr);
  ~SabfsFile() override;
  void refresh(const sabfs_attr &attr);

  // Whether it is open, or somebody still uses it who found it open.
  bool isOpen() const { return uses > 0; }
  // Uses an open file without this object's lock; false when it was closed. See Pin.
  bool pin();
  void unpin();

private:
  // Open files of WasmFS and pins. The inode is held while there is one; the first one is an open file, which is
  // counted under this object's lock. Less than none: it was never open, as a file that the program brings along, which
  // WasmFS writes without.
  std::atomic<int> uses{-1};

  int open(wasmfs::oflags_t flags) override;
  int close() override;
  ssize_t read(uint8_t *buffer, size_t count, off_t offset) override;
  ssize_t write(const uint8_t *bytes, size_t count, off_t offset) override;
  int setSize(off_t size) override;
  off_t getSize() override;
  int flush() override;
};

// Keeps an open file's inode for a call that does without the lock of the file's object, which has to live meanwhile.
class Pin {
public:
  explicit Pin(SabfsFile &file) : file(file.pin() ? &file : nullptr) {}
  ~Pin() {
    if (file) file->unpin();
  }
  Pin(const Pin &) = delete;
  Pin &operator=(const Pin &) = delete;
  // False when the file was closed before.
  explicit operator bool() const { return file != nullptr; }

private:
  SabfsFile *const file;
};

class SabfsSymlink final : public wasmfs::Symlink {
public:
  const Node node;

  SabfsSymlink(const Node &node, const sabfs_attr &attr, std::string target);
  ~SabfsSymlink() override;
  void refresh(const sabfs_attr &attr);
  std::string getTarget() const override;

private:
  // It never changes, and is read at once: WasmFS has no error for a symlink that has vanished.
  const std::string target;

  off_t getSize() override;
};

class SabfsDirectory final : public wasmfs::Directory {
public:
  const Node node;

  SabfsDirectory(const Node &node, const sabfs_attr &attr);
  ~SabfsDirectory() override;
  void refresh(const sabfs_attr &attr);
  // Under this object's lock; null when it was removed.
  void setUp(std::shared_ptr<wasmfs::Directory> directory) { up = std::move(directory); }

private:
  std::shared_ptr<wasmfs::Directory> up; // guarded by this object's lock

  bool maintainsFileIdentity() override { return true; }
  std::shared_ptr<wasmfs::File> getChild(const std::string &name) override;
  std::shared_ptr<wasmfs::DataFile> insertDataFile(const std::string &name, mode_t mode) override;
  std::shared_ptr<wasmfs::Directory> insertDirectory(const std::string &name, mode_t mode) override;
  std::shared_ptr<wasmfs::Symlink> insertSymlink(const std::string &name, const std::string &target) override;
  int insertMove(const std::string &name, std::shared_ptr<wasmfs::File> file) override;
  int removeChild(const std::string &name) override;
  ssize_t getNumEntries() override;
  MaybeEntries getEntries() override;
  std::string getName(std::shared_ptr<wasmfs::File> file) override;
  off_t getSize() override;

  std::shared_ptr<wasmfs::Directory> self();
  std::shared_ptr<wasmfs::File> adopt(const sabfs_attr &attr);
  std::shared_ptr<wasmfs::File> insert(const std::string &name, mode_t mode);
};

class SabfsBackend final : public wasmfs::Backend {
public:
  const sabfs_vtable &v;
  const sabfs_volume *const volume;
  const dev_t device; // st_dev

  explicit SabfsBackend(const sabfs_volume *volume);
  ~SabfsBackend() override;

  // The directory of what has never had a name.
  static constexpr uint32_t NOWHERE = 0xffffffff;

  // The backend of an object, null when it is not one of these.
  static SabfsBackend *of(const std::shared_ptr<wasmfs::File> &file);
  // What an object of one of these backends stands for.
  static const Node &node(const std::shared_ptr<wasmfs::File> &file);

  // The one object for an inode that was found in a directory; null when it has vanished meanwhile.
  std::shared_ptr<wasmfs::File> intern(uint32_t directory, const sabfs_attr &attr);
  // An inode has lost a name in `directory`: if it was the last one its object loses its parent.
  void nameGone(uint32_t directory, uint32_t ino, bool isDirectory);
  // A name was moved; `file` may be null when there is no object.
  void moved(uint32_t from, uint32_t ino, bool isDirectory, const std::shared_ptr<wasmfs::Directory> &to);
  // An object is being destroyed.
  void dropped(uint64_t key);
  // A directory's object if there is one, which holds its inode; null when there is none.
  std::shared_ptr<wasmfs::File> heldDirectory(uint32_t ino, uint32_t generation);

  // WasmFS asks for the mount point only; everything else comes by way of a directory.
  std::shared_ptr<wasmfs::Directory> createDirectory(mode_t mode) override;
  std::shared_ptr<wasmfs::DataFile> createFile(mode_t mode) override;
  std::shared_ptr<wasmfs::Symlink> createSymlink(std::string target) override;

private:
  // Directories used lately. Without them each path walk would make, hold and drop its directories
  // anew. Few, as the space of a directory that another program removed stays in use meanwhile.
  static constexpr size_t RECENT = 16;

  // A part of the table of objects. Threads that use different inodes should not wait for each other.
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, std::weak_ptr<wasmfs::File>> table;
  };
  static constexpr size_t SHARDS = 16;

  SabfsBackend *next = nullptr;
  Shard shards[SHARDS];
  std::mutex recentMutex;
  size_t recentNext = 0;
  // The last member, so that it is destroyed first: directories use the others when they go.
  std::shared_ptr<wasmfs::File> recent[RECENT];

  static std::atomic<SabfsBackend *> first;

  static uint64_t keyOf(uint32_t directory, uint32_t ino, bool isDirectory) {
    return isDirectory ? ino : uint64_t(directory) << 32 | ino;
  }
  Shard &shardOf(uint64_t key) { return shards[uint32_t(key) % SHARDS]; }
  std::shared_ptr<wasmfs::File> make(const Node &node, const sabfs_attr &attr);
  std::shared_ptr<wasmfs::File> find(uint64_t key);
};

// The reason why this thread's last lookup or insertion failed, 0 or a negative errno: WasmFS's
// interface gives no error there, and the system calls (sabfs_syscalls.cpp) put it back.
// (`__thread`, as `thread_local` calls a wrapper at each access from another file.)
extern __thread int lastError;

// How often a name is looked up again when what it stood for was replaced meanwhile.
constexpr int TRIES = 100;

inline double toMs(int64_t ns) { return double(ns) / 1e6; }

} // namespace sabfs
