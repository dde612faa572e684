//! The oracle's own judge: the same operations on a file system of the host, by its system calls.
//!
//! The host knows paths where the oracle knows inodes, so an inode is reached by one of its names, and
//! operations on inodes without a name are left out, as are numbers that no inode has.

use super::operations::{Operation, content, fill_name, flags, kind, mode};
use super::oracle::{Node, Oracle};
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::vfs::{AllocateMode, Ino, NewInode, RenameFlags, SetAttr, XattrFlags};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const ROOT: Ino = 2;
/// The host need not have room for the largest files.
const SIZE_MAX: u64 = 1 << 40;

pub struct Host {
    folder: tempfile::TempDir,
    pub oracle: Oracle,
    next: Ino,
    pub compared: u64,
    /// Whether the host has attributes in the folder at all.
    xattrs: bool,
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("names without zero bytes")
}

fn answer(result: i32) -> Result<(), i32> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap()) }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().expect("an error of the host")
}

/// A name that the host can be asked for: of the namespaces that need no rights, and of none.
fn xattr_name(name: &[u8]) -> Option<CString> {
    let privileged = [&b"trusted."[..], b"security.", b"system."];
    let asked = name.starts_with(b"user.") || !privileged.iter().any(|prefix| name.starts_with(prefix));
    CString::new(name).ok().filter(|_| asked)
}

impl Host {
    /// In memory where there is a file system for that, because it is fast and counts links as we do.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let (folder, oracle) = (folder.unwrap(), Oracle::new(0));
        let path = c_path(folder.path());
        // SAFETY: strings that live until the call is over, and no value.
        let probe = answer(unsafe {
            libc::lsetxattr(path.as_ptr(), c"user.probe".as_ptr(), std::ptr::null(), 0, 0)
        });
        // SAFETY: both are strings that live until the call is over.
        unsafe { libc::lremovexattr(path.as_ptr(), c"user.probe".as_ptr()) };
        let xattrs = probe != Err(libc::EOPNOTSUPP);
        Self { folder, oracle, next: 3, compared: 0, xattrs }
    }

    /// A path of an inode that has a name.
    fn path(&self, ino: Ino) -> Option<PathBuf> {
        if ino == ROOT {
            return Some(self.folder.path().to_owned());
        }
        let node = self.oracle.nodes.get(&ino)?;
        let mut holders = self.oracle.nodes.iter();
        let (dir, name) = if node.kind == FileKind::Directory {
            let name = self.oracle.nodes[&node.parent].names.iter().find(|(_, other)| **other == ino)?.0;
            (node.parent, name)
        } else {
            holders.find_map(|(&dir, holder)| {
                Some((dir, holder.names.iter().find(|(_, other)| **other == ino)?.0))
            })?
        };
        Some(self.path(dir)?.join(OsStr::from_bytes(name)))
    }

    fn pick(&self, pick: u8, which: impl Fn(&Node) -> bool) -> Ino {
        let all: Vec<Ino> =
            self.oracle.nodes.iter().filter(|(_, node)| which(node)).map(|(&ino, _)| ino).collect();
        if all.is_empty() { ROOT } else { all[usize::from(pick) % all.len()] }
    }

    fn any(&self, pick: u8) -> Ino {
        self.pick(pick, |_| true)
    }

    fn file(&self, pick: u8) -> Ino {
        self.pick(pick, |node| node.kind == FileKind::Regular)
    }

    fn directory(&self, pick: u8) -> Ino {
        if pick < 64 { ROOT } else { self.pick(pick, |node| node.kind == FileKind::Directory) }
    }

    /// The path of a name, if it can be said to the host at all.
    fn entry(&self, dir: Ino, name: &[u8]) -> Option<PathBuf> {
        if name.is_empty() || name.contains(&0) || name.contains(&b'/') {
            return None;
        }
        // `join` would be clever about "." and "..".
        let mut path = self.path(dir)?.into_os_string();
        path.push("/");
        path.push(OsStr::from_bytes(name));
        Some(path.into())
    }

    fn compare<T>(&mut self, what: &str, host: Result<(), i32>, oracle: Result<T, Errno>) {
        self.compared += 1;
        assert_eq!(host, oracle.map(|_| ()).map_err(Errno::linux), "{what}");
    }

    pub fn step(&mut self, operation: &Operation) -> Option<()> {
        match operation {
            Operation::Create { dir, name, kind: number } => {
                self.create(self.directory(*dir), &name.bytes(), kind(*number))?;
            }
            Operation::Fill { dir, first, count, long } => {
                let dir = self.directory(*dir);
                for number in *first..first + count {
                    self.create(dir, &fill_name(u32::from(number), *long), FileKind::Regular)?;
                }
            }
            Operation::Symlink { dir, name, len } => {
                let (dir, name, len) = (self.directory(*dir), name.bytes(), usize::from(*len));
                let (path, target) = (self.entry(dir, &name)?, vec![b't'; len]);
                let to = CString::new(target.clone()).unwrap();
                // SAFETY: both are strings that live until the call is over.
                let host = answer(unsafe { libc::symlink(to.as_ptr(), c_path(&path).as_ptr()) });
                let oracle = self.oracle.symlink(dir, &name, &target, self.next);
                self.next += 1;
                self.compare("symlink", host, oracle);
            }
            Operation::Link { ino, dir, name } => {
                let (ino, dir, name) = (self.any(*ino), self.directory(*dir), name.bytes());
                let (from, to) = (c_path(&self.path(ino)?), c_path(&self.entry(dir, &name)?));
                // SAFETY: both are strings that live until the call is over.
                let host = answer(unsafe { libc::link(from.as_ptr(), to.as_ptr()) });
                let oracle = self.oracle.link(ino, dir, &name);
                self.compare("link", host, oracle);
            }
            Operation::Unlink { dir, name } => {
                let (dir, name) = (self.directory(*dir), name.bytes());
                let path = c_path(&self.entry(dir, &name)?);
                // SAFETY: a string that lives until the call is over.
                let host = answer(unsafe { libc::unlink(path.as_ptr()) });
                let oracle = self.oracle.unlink(dir, &name);
                self.compare("unlink", host, oracle);
            }
            Operation::Rmdir { dir, name } => {
                let (dir, name) = (self.directory(*dir), name.bytes());
                let path = c_path(&self.entry(dir, &name)?);
                // SAFETY: a string that lives until the call is over.
                let host = answer(unsafe { libc::rmdir(path.as_ptr()) });
                let oracle = self.oracle.rmdir(dir, &name);
                self.compare("rmdir", host, oracle);
            }
            Operation::Rename { from, to, flags: number } => {
                let from = (self.directory(from.0), from.1.bytes());
                let to = (self.directory(to.0), to.1.bytes());
                self.rename((from.0, &from.1), (to.0, &to.1), flags(*number))?;
            }
            Operation::Write { ino, offset, len, seed } => {
                self.write(self.file(*ino), Some(*offset), &content(*seed, *len))?;
            }
            Operation::Append { ino, len, seed } => {
                self.write(self.file(*ino), None, &content(*seed, *len))?;
            }
            Operation::Allocate { ino, mode: number, offset, len } => {
                self.allocate(self.file(*ino), mode(*number), *offset, *len)?;
            }
            Operation::Copy { from, to, len } => {
                let (from, to) = ((self.file(from.0), from.1), (self.file(to.0), to.1));
                self.copy(from, to, *len)?;
            }
            Operation::Resize { ino, size } if *size < SIZE_MAX => self.resize(self.any(*ino), *size)?,
            Operation::Readlink { ino } => {
                let ino = self.any(*ino);
                let host = fs::read_link(self.path(ino)?).map_err(|error| errno(&error));
                let oracle = self.oracle.readlink(ino).map(<[u8]>::to_vec);
                if let (Ok(host), Ok(oracle)) = (&host, &oracle) {
                    assert_eq!(host.as_os_str().as_bytes(), oracle);
                }
                self.compare("readlink", host.map(|_| ()), oracle);
            }
            Operation::SetXattr { .. } | Operation::RemoveXattr { .. } | Operation::GetXattr { .. }
                if !self.xattrs => {}
            Operation::SetXattr { ino, name, len, flags, seed } if *len < 1_000 => {
                let (ino, name) = (self.any(*ino), name.bytes());
                let (path, value) = (self.path(ino)?, content(*seed, *len));
                let flags = XattrFlags::from_bits_truncate(u32::from(*flags));
                // SAFETY: strings and a value that live until the call is over.
                let host = answer(unsafe {
                    let (path, name) = (c_path(&path), xattr_name(&name)?);
                    let (value, flags) = (value.as_ptr().cast(), flags.bits().cast_signed());
                    libc::lsetxattr(path.as_ptr(), name.as_ptr(), value, *len as usize, flags)
                });
                let oracle = self.oracle.set_xattr(ino, &name, &value, flags);
                self.compare("lsetxattr", host, oracle);
            }
            Operation::RemoveXattr { ino, name } => {
                let (ino, name) = (self.any(*ino), name.bytes());
                let (path, c_name) = (c_path(&self.path(ino)?), xattr_name(&name)?);
                // SAFETY: both are strings that live until the call is over.
                let host = answer(unsafe { libc::lremovexattr(path.as_ptr(), c_name.as_ptr()) });
                let oracle = self.oracle.remove_xattr(ino, &name);
                self.compare("lremovexattr", host, oracle);
            }
            Operation::GetXattr { ino, name } => {
                let (ino, name) = (self.any(*ino), name.bytes());
                let (path, c_name) = (c_path(&self.path(ino)?), xattr_name(&name)?);
                let mut value = vec![0; 1_000];
                // SAFETY: strings and a buffer of that size that live until the call is over.
                let len = unsafe {
                    libc::lgetxattr(path.as_ptr(), c_name.as_ptr(), value.as_mut_ptr().cast(), 1_000)
                };
                let host = answer(i32::try_from(len.min(0)).unwrap());
                let oracle = self.oracle.get_xattr(ino, &name);
                if let Ok(expected) = &oracle {
                    assert_eq!(&value[..usize::try_from(len).unwrap()], expected);
                }
                self.compare("lgetxattr", host, oracle);
            }
            _ => {}
        }
        Some(())
    }

    fn create(&mut self, dir: Ino, name: &[u8], kind: FileKind) -> Option<()> {
        let path = c_path(&self.entry(dir, name)?);
        // Devices need rights that a test may not have.
        let kind = if kind == FileKind::Character { FileKind::Fifo } else { kind };
        // SAFETY: the path is a string that lives until the call is over.
        let host = answer(match kind {
            FileKind::Directory => unsafe { libc::mkdir(path.as_ptr(), 0o755) },
            kind => unsafe { libc::mknod(path.as_ptr(), kind.mode_bits() | 0o644, 0) },
        });
        let new = NewInode { kind, permissions: 0, uid: 0, gid: 0, rdev: 0 };
        let oracle = self.oracle.create(dir, name, &new, self.next);
        self.next += 1;
        self.compare("create", host, oracle);
        Some(())
    }

    fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) -> Option<()> {
        let (a, b) = (c_path(&self.entry(from.0, from.1)?), c_path(&self.entry(to.0, to.1)?));
        // SAFETY: both are strings that live until the call is over.
        let host = answer(unsafe {
            libc::renameat2(libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), flags.bits())
        });
        let oracle = self.oracle.rename(from, to, flags, self.next);
        self.next += 1;
        self.compare(&format!("rename {from:?} to {to:?} {flags:?}"), host, oracle);
        Some(())
    }

    fn write(&mut self, ino: Ino, offset: Option<u64>, bytes: &[u8]) -> Option<()> {
        let node = self.oracle.nodes.get(&ino)?;
        // Opening a pipe would wait for somebody at its other end.
        if node.kind != FileKind::Regular || offset.is_some_and(|offset| offset > SIZE_MAX) {
            return None;
        }
        let host = fs::OpenOptions::new().write(true).open(self.path(ino)?).and_then(|mut file| {
            file.seek(offset.map_or(SeekFrom::End(0), SeekFrom::Start))?;
            file.write_all(bytes)
        });
        let oracle = self.oracle.write(ino, offset, bytes);
        self.compare("write", host.map_err(|error| errno(&error)), oracle);
        Some(())
    }

    fn open(&self, ino: Ino) -> Option<fs::File> {
        let regular = self.oracle.nodes.get(&ino)?.kind == FileKind::Regular;
        let path = self.path(ino).filter(|_| regular)?;
        Some(fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    fn allocate(&mut self, ino: Ino, mode: AllocateMode, offset: u64, len: u64) -> Option<()> {
        // Not every file system of a host moves blocks, and none need have room for what is large.
        let known = AllocateMode::KEEP_SIZE | AllocateMode::PUNCH_HOLE;
        if !known.contains(mode) || offset > SIZE_MAX || len > 1 << 20 {
            return None;
        }
        let (file, offset_host) = (self.open(ino)?, i64::try_from(offset).unwrap());
        let (bits, len_host) = (mode.bits().cast_signed(), i64::try_from(len).unwrap());
        // SAFETY: the file is open until the call is over.
        let host = answer(unsafe { libc::fallocate(file.as_raw_fd(), bits, offset_host, len_host) });
        let oracle = self.oracle.allocate(ino, mode, offset, len);
        self.compare(&format!("allocate {mode:?} {len} at {offset}"), host, oracle);
        Some(())
    }

    fn copy(&mut self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Option<()> {
        if from.1 > SIZE_MAX || to.1 > SIZE_MAX || len > 1 << 20 {
            return None;
        }
        let (source, target) = (self.open(from.0)?, self.open(to.0)?);
        let mut offsets = [from.1.cast_signed(), to.1.cast_signed()];
        let all = self.oracle.clone().copy(from, to, len);
        let mut done = 0;
        let host = loop {
            let left = (len - done) as usize;
            let [from, to] = &mut offsets;
            let (source, target) = (source.as_raw_fd(), target.as_raw_fd());
            // SAFETY: the files are open and the offsets live until the call is over.
            let count = unsafe { libc::copy_file_range(source, from, target, to, left, 0) };
            match u64::try_from(count) {
                // A host may copy less than it could.
                Ok(count @ 1..) if Ok(done + count) != all => done += count,
                Ok(count) => break Ok(done + count),
                Err(_) => break answer(-1).map(|()| 0),
            }
        };
        if let (Ok(host), Ok(all)) = (host, all) {
            assert_eq!(host, all, "copy {len} from {from:?} to {to:?}");
        }
        let oracle = self.oracle.copy(from, to, len);
        self.compare(&format!("copy {len} from {from:?} to {to:?}"), host.map(drop), oracle);
        Some(())
    }

    fn resize(&mut self, ino: Ino, size: u64) -> Option<()> {
        let path = self.path(ino)?;
        // The host would follow a link, and its answer for pipes depends on how they are opened.
        if !matches!(self.oracle.nodes[&ino].kind, FileKind::Regular | FileKind::Directory) {
            return None;
        }
        let size_host = i64::try_from(size).unwrap();
        // SAFETY: a string that lives until the call is over.
        let host = answer(unsafe { libc::truncate(c_path(&path).as_ptr(), size_host) });
        let set = SetAttr { size_bytes: Some(size), ..Default::default() };
        let oracle = self.oracle.setattr(ino, &set);
        self.compare("truncate", host, oracle);
        Some(())
    }

    pub fn compare_tree(&self) {
        let mut inodes = BTreeMap::new();
        self.compare_directory(ROOT, self.folder.path(), &mut inodes);
    }

    /// `inodes`: the oracle's inode for each of the host's, so that hard links are compared, too.
    fn compare_directory(&self, dir: Ino, path: &Path, inodes: &mut BTreeMap<u64, Ino>) {
        let node = &self.oracle.nodes[&dir];
        let mut names = 0;
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let ino = node.names[entry.file_name().as_bytes()];
            let (found, child) = (entry.path(), &self.oracle.nodes[&ino]);
            let status = fs::symlink_metadata(&found).unwrap();
            assert_eq!(*inodes.entry(status.ino()).or_insert(ino), ino);
            assert_eq!(status.nlink(), u64::from(child.nlink), "{found:?}");
            let kind = status.file_type();
            match child.kind {
                FileKind::Regular => {
                    assert!(kind.is_file());
                    self.compare_data(child, &found, status.len());
                }
                FileKind::Directory => self.compare_directory(ino, &found, inodes),
                FileKind::Symlink => {
                    assert_eq!(fs::read_link(&found).unwrap().as_os_str().as_bytes(), child.target);
                }
                FileKind::Fifo => assert!(kind.is_fifo()),
                FileKind::Character => assert!(kind.is_char_device()),
                _ => assert!(kind.is_socket()),
            }
            names += 1;
        }
        assert_eq!(names, node.names.len(), "{path:?}");
    }

    fn compare_data(&self, node: &Node, path: &Path, size: u64) {
        assert_eq!(size, node.size, "{path:?}");
        let mut file = fs::File::open(path).unwrap();
        let last = node.size.saturating_sub(1) / 4096;
        for chunk in node.chunks.keys().copied().chain([0, last]) {
            file.seek(SeekFrom::Start(chunk * 4096)).unwrap();
            let mut bytes = Vec::new();
            Read::by_ref(&mut file).take(4200).read_to_end(&mut bytes).unwrap();
            assert!(bytes == node.data(chunk * 4096, 4200), "{path:?} at {chunk}");
        }
    }
}
