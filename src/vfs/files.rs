//! Open files: what a program's file descriptors stand for, for front ends that have no table of their own.
//!
//! The table belongs to one process. An open file holds its inode, so that it outlives its last name, and
//! goes when its last handle is closed and the last call that uses it is over. Handles made by `dup` share
//! one position. A call that uses the position keeps it to itself until it is over, so calls of several
//! threads never use or leave out the same bytes.

use super::types::{Entry, Ino};
use super::{LockOwner, Volume};
use crate::errno::Errno;
use crate::format::{FILE_SIZE_MAX, FileKind};
use crate::store::Store;
use bitflags::bitflags;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Number of an open file, the lowest that is free.
pub type Handle = u32;

/// Positions behind "." and "..", which no name has.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// Files that were ever opened.
static OPENED: AtomicU64 = AtomicU64::new(0);

bitflags! {
    /// What an open file may be used for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenMode: u32 {
        /// To read and, a directory, to list.
        const READ = 1;
        /// To write.
        const WRITE = 2;
        /// Every write goes to the end.
        const APPEND = 4;
        /// A write returns when it is durable, and what is needed to read it back (`O_DSYNC`).
        const DSYNC = 8;
        /// A write returns when it is durable with all attributes (`O_SYNC`). A commit has them in any case.
        const SYNC = 16 | Self::DSYNC.bits();
    }
}

/// From where a position counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// From the start.
    Set,
    /// From the position.
    Current,
    /// From the end.
    End,
    /// From the start, and on to the next data.
    Data,
    /// From the start, and on to the next hole.
    Hole,
}

/// What a handle stands for.
pub struct OpenFile<S: Store> {
    volume: Arc<Volume<S>>,
    ino: Ino,
    kind: FileKind,
    mode: OpenMode,
    /// In bytes; of a directory the cookie of the last name that was read.
    position: Mutex<u64>,
    /// Tells it apart from all that this process ever opens.
    id: u64,
    /// Whether it may have advisory locks.
    locks: AtomicBool,
}

impl<S: Store> Drop for OpenFile<S> {
    fn drop(&mut self) {
        if self.locks.load(Ordering::Relaxed) {
            self.volume.release_owner_or_later(self.ino, &LockOwner::handle(self.id, 0));
        }
        self.volume.forget(self.ino);
    }
}

/// The open files of one process.
pub struct OpenFiles<S: Store> {
    volume: Arc<Volume<S>>,
    table: Mutex<Table<S>>,
}

struct Table<S: Store> {
    files: Vec<Option<Arc<OpenFile<S>>>>,
    free: BinaryHeap<Reverse<Handle>>,
    most: usize,
}

impl<S: Store> Table<S> {
    fn enter(&mut self, file: Arc<OpenFile<S>>) -> Result<Handle, Errno> {
        if let Some(Reverse(handle)) = self.free.pop() {
            self.files[handle as usize] = Some(file);
            return Ok(handle);
        }
        if self.files.len() >= self.most {
            return Err(Errno::EMFILE);
        }
        let handle = Handle::try_from(self.files.len()).map_err(|_| Errno::EMFILE)?;
        self.files.push(Some(file));
        Ok(handle)
    }
}

impl<S: Store> OpenFile<S> {
    /// The inode, which is held as long as this is there.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// What it was opened for.
    pub fn mode(&self) -> OpenMode {
        self.mode
    }

    /// Whom its advisory locks belong to. They go when its last handle is closed. `pid`: the process that others are told of.
    pub fn lock_owner(&self, pid: u32) -> LockOwner {
        self.locks.store(true, Ordering::Relaxed);
        LockOwner::handle(self.id, pid)
    }

    fn readable(&self) -> Result<(), Errno> {
        match self.kind {
            _ if !self.mode.contains(OpenMode::READ) => Err(Errno::EBADF),
            FileKind::Directory => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    fn writable(&self) -> Result<(), Errno> {
        if self.mode.contains(OpenMode::WRITE) { Ok(()) } else { Err(Errno::EBADF) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let count = self.volume.read(self.ino, offset, buffer)?;
        if !buffer.is_empty() {
            self.volume.accessed(self.ino);
        }
        Ok(count)
    }

    /// Writes; gives where that was and how many bytes.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(u64, usize), Errno> {
        if self.mode.contains(OpenMode::APPEND) {
            return self.volume.append(self.ino, bytes);
        }
        Ok((offset, self.volume.write(self.ino, offset, bytes)?))
    }

    /// Makes `written` bytes durable if the file is open for that.
    fn settle(&self, written: usize) -> Result<usize, Errno> {
        if written > 0 && self.mode.contains(OpenMode::DSYNC) {
            self.volume.sync_durably()?;
        }
        Ok(written)
    }

    fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let mut position = self.position.lock();
        let base = match (whence, self.kind) {
            (Whence::Set, _) => 0,
            (Whence::Current, _) => *position,
            (_, FileKind::Directory) => return Err(Errno::EINVAL),
            (Whence::End, _) => self.volume.getattr(self.ino)?.size_bytes,
            (Whence::Data | Whence::Hole, _) => {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                *position = match whence {
                    Whence::Data => self.volume.seek_data(self.ino, offset)?,
                    _ => self.volume.seek_hole(self.ino, offset)?,
                };
                return Ok(*position);
            }
        };
        let to = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        // A directory's positions are cookies, which are as large as they like.
        let most = if self.kind == FileKind::Directory { i64::MAX as u64 } else { FILE_SIZE_MAX };
        if to > most {
            return Err(Errno::EINVAL);
        }
        *position = to;
        Ok(to)
    }

    fn list(&self, emit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Errno> {
        let mut position = self.position.lock();
        let dots: [(&[u8], u64); 2] = [(b".", DOT), (b"..", DOT_DOT)];
        for (name, cookie) in dots {
            if *position >= cookie {
                continue;
            }
            // A directory that has been removed lists nothing at all.
            let ino = match self.volume.lookup(self.ino, b"..") {
                Ok(parent) if cookie == DOT_DOT => parent.ino,
                Ok(_) => self.ino,
                Err(Errno::ENOENT) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            if !emit(Entry { name: name.to_vec(), ino, kind: FileKind::Directory, cookie }) {
                return Ok(());
            }
            *position = cookie;
        }
        let from = if *position <= DOT_DOT { 0 } else { *position };
        self.volume.read_dir(self.ino, from, &mut |entry| {
            let cookie = entry.cookie;
            let taken = emit(entry);
            if taken {
                *position = cookie;
            }
            taken
        })
    }
}

impl<S: Store> OpenFiles<S> {
    /// An empty table that takes `most` handles.
    pub fn new(volume: Arc<Volume<S>>, most: usize) -> Self {
        let table = Table { files: Vec::new(), free: BinaryHeap::new(), most };
        Self { volume, table: Mutex::new(table) }
    }

    /// The volume.
    pub fn volume(&self) -> &Arc<Volume<S>> {
        &self.volume
    }

    /// Opens an inode; who may do so is for the caller to know. `EMFILE` when the table is full, `EISDIR`
    /// for a directory that is to be written, `ELOOP` for a link, `ENXIO` for what has nothing behind it
    /// here: devices, pipes and sockets.
    pub fn open(&self, ino: Ino, mode: OpenMode) -> Result<Handle, Errno> {
        self.volume.hold(ino)?;
        // From here on dropping it lets the inode go.
        let mut file = OpenFile {
            volume: self.volume.clone(),
            ino,
            kind: FileKind::Regular,
            mode,
            position: Mutex::new(0),
            id: OPENED.fetch_add(1, Ordering::Relaxed),
            locks: AtomicBool::new(false),
        };
        file.kind = self.volume.getattr(ino)?.kind;
        match file.kind {
            FileKind::Regular => {}
            FileKind::Directory if mode.contains(OpenMode::WRITE) => return Err(Errno::EISDIR),
            FileKind::Directory => {}
            FileKind::Symlink => return Err(Errno::ELOOP),
            _ => return Err(Errno::ENXIO),
        }
        self.table.lock().enter(Arc::new(file))
    }

    /// What a handle stands for; `EBADF` when it is not open.
    pub fn get(&self, handle: Handle) -> Result<Arc<OpenFile<S>>, Errno> {
        let table = self.table.lock();
        table.files.get(handle as usize).and_then(Option::clone).ok_or(Errno::EBADF)
    }

    /// Another handle of the same open file, with which it shares mode and position.
    pub fn dup(&self, handle: Handle) -> Result<Handle, Errno> {
        let file = self.get(handle)?;
        self.table.lock().enter(file)
    }

    /// Closes a handle; `EBADF` when it is not open.
    pub fn close(&self, handle: Handle) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let place = table.files.get_mut(handle as usize).ok_or(Errno::EBADF)?;
        let file = place.take().ok_or(Errno::EBADF)?;
        table.free.push(Reverse(handle));
        drop(table);
        // Letting the inode go may take the gate, for which nobody else has to wait.
        drop(file);
        Ok(())
    }

    /// Number of handles that are open.
    pub fn count(&self) -> usize {
        let table = self.table.lock();
        table.files.len() - table.free.len()
    }

    /// Reads at the position, which moves on by what was read.
    pub fn read(&self, handle: Handle, buffer: &mut [u8]) -> Result<usize, Errno> {
        let file = self.get(handle)?;
        file.readable()?;
        let mut position = file.position.lock();
        let count = file.read_at(*position, buffer)?;
        *position += count as u64;
        Ok(count)
    }

    /// Writes at the position, or at the end, and leaves the position behind what was written.
    ///
    /// An error of the device that a file gives which is open for synchronous writes means that the bytes are
    /// there, and the position is behind them, but are not durable.
    pub fn write(&self, handle: Handle, bytes: &[u8]) -> Result<usize, Errno> {
        let file = self.get(handle)?;
        file.writable()?;
        let mut position = file.position.lock();
        let (at, count) = file.write_at(*position, bytes)?;
        if count > 0 {
            *position = at + count as u64;
        }
        // Others may go on with the position while this one waits.
        drop(position);
        file.settle(count)
    }

    /// Reads at `offset`; the position stays.
    pub fn pread(&self, handle: Handle, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let file = self.get(handle)?;
        file.readable()?;
        file.read_at(offset, buffer)
    }

    /// Writes at `offset`, but for files that only append, as on Linux; the position stays.
    pub fn pwrite(&self, handle: Handle, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let file = self.get(handle)?;
        file.writable()?;
        let (_, count) = file.write_at(offset, bytes)?;
        file.settle(count)
    }

    /// Moves the position; gives where it is then. `EINVAL` for what is no position, `ENXIO` when there is
    /// no data or hole. A directory's positions are those that listing it left.
    pub fn lseek(&self, handle: Handle, offset: i64, whence: Whence) -> Result<u64, Errno> {
        self.get(handle)?.seek(offset, whence)
    }

    /// Hands the names of a directory to `emit` from the position on, "." and ".." first. A name for which
    /// it gives false ends this, and is the first one of the next time. `emit` must leave the handle alone.
    pub fn read_dir(&self, handle: Handle, emit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Errno> {
        let file = self.get(handle)?;
        if !file.mode.contains(OpenMode::READ) {
            return Err(Errno::EBADF);
        }
        if file.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        file.list(emit)?;
        self.volume.accessed(file.ino);
        Ok(())
    }
}
