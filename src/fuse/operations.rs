//! One function for each of the kernel's requests.

use super::acting::{is_acl, open_access};
use super::convert::{errno, file_attr, file_type, time_change};
use super::{Front, Permissions, ino_of};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::Store;
use crate::vfs::{self, Access, AllocateMode, Attr, SetAttr, XattrFlags};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

/// Handles mean nothing here, but for one thing: a request that has one comes from who opened the file.
const HANDLE: FileHandle = FileHandle(0);
/// As much of a copy as one answer can tell of.
const COPY_MAX_BYTES: u64 = 1 << 30;
/// Where reading a directory goes on behind `.` and `..`; the cookies of names are greater.
const BEHIND_SELF: u64 = 1;
const BEHIND_PARENT: u64 = 2;

/// Answers an error and ends the request.
macro_rules! or_error {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return $reply.error(errno(error)),
        }
    };
}

macro_rules! answer {
    ($reply:ident, $result:expr) => {{
        or_error!($reply, $result);
        $reply.ok();
    }};
}

impl<S: Store> Front<S> {
    /// An inode that the kernel is told of.
    fn entry(&self, found: Result<Attr, Errno>, reply: ReplyEntry) {
        let attr = or_error!(reply, found);
        self.know(attr.ino);
        reply.entry(&self.remembered(), &file_attr(&attr), Generation(u64::from(attr.generation)));
    }
}

impl<S: Store + 'static> fuser::Filesystem for Front<S> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_DONT_MASK;
        if self.permissions == Permissions::Kernel {
            // It decides by access control lists, too.
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        if self.permissions == Permissions::Volume {
            // Whoever writes or changes an owner need not be one who may change a mode.
            wanted |= InitFlags::FUSE_HANDLE_KILLPRIV;
        }
        for capability in wanted.iter() {
            // An older kernel works without it.
            _ = config.add_capabilities(capability);
        }
        Ok(())
    }

    fn destroy(&mut self) {
        self.unknow_all();
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let dir = or_error!(reply, ino_of(parent));
        let found = self
            .with_caller(request, |caller| self.volume.as_caller(caller).lookup(dir, name.as_bytes()));
        self.entry(found, reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        if let Ok(ino) = ino_of(ino) {
            self.unknow(ino, nlookup);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attr = or_error!(reply, ino_of(ino).and_then(|ino| self.volume.getattr(ino)));
        reply.attr(&self.remembered(), &file_attr(&attr));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let set = SetAttr {
            mode,
            uid,
            gid,
            size_bytes: size,
            atime: atime.map(time_change),
            mtime: mtime.map(time_change),
        };
        let changed = self.with_caller(request, |caller| self.change(caller, ino, set, fh.is_some()));
        let attr = or_error!(reply, changed);
        reply.attr(&self.remembered(), &file_attr(&attr));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let ino = or_error!(reply, ino_of(ino));
        let target = or_error!(reply, self.volume.readlink(ino));
        self.volume.accessed(ino);
        reply.data(&target);
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.entry(self.make(request, parent, name, mode, umask, rdev), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = FileKind::Directory.mode_bits() | mode & 0o7777;
        self.entry(self.make(request, parent, name, mode, umask, 0), reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let dir = or_error!(reply, ino_of(parent));
        answer!(
            reply,
            self.removing(dir, name.as_bytes(), || self.with_caller(request, |caller| {
                self.volume.as_caller(caller).unlink(dir, name.as_bytes())
            }))
        );
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let dir = or_error!(reply, ino_of(parent));
        answer!(
            reply,
            self.removing(dir, name.as_bytes(), || self.with_caller(request, |caller| {
                self.volume.as_caller(caller).rmdir(dir, name.as_bytes())
            }))
        );
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let dir = or_error!(reply, ino_of(parent));
        let target = target.as_os_str().as_bytes();
        let made = self.with_caller(request, |caller| {
            self.volume.as_caller(caller).symlink(dir, name.as_bytes(), target)
        });
        self.entry(made, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (or_error!(reply, ino_of(parent)), or_error!(reply, ino_of(new_parent)));
        let flags = vfs::RenameFlags::from_bits(flags.bits()).ok_or(Errno::EINVAL);
        let flags = or_error!(reply, flags);
        answer!(
            reply,
            self.removing(to, new_name.as_bytes(), || self.with_caller(request, |caller| {
                let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
                self.volume.as_caller(caller).rename(from, name, to, new_name, flags)
            }))
        );
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let (ino, dir) = (or_error!(reply, ino_of(ino)), or_error!(reply, ino_of(new_parent)));
        let linked = self.with_caller(request, |caller| {
            self.volume.as_caller(caller).link(ino, dir, new_name.as_bytes())
        });
        self.entry(linked, reply);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let ino = or_error!(reply, ino_of(ino));
        or_error!(reply, self.may(request, ino, open_access(flags.0)));
        // Nobody else changes files, so what the kernel has of them is right.
        reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = FileKind::Regular.mode_bits() | mode & 0o7777;
        let mut made = self.make(request, parent, name, mode, umask, 0);
        if made == Err(Errno::EEXIST) && flags & libc::O_EXCL == 0 {
            let dir = or_error!(reply, ino_of(parent));
            made = self.volume.lookup(dir, name.as_bytes()).and_then(|attr| {
                self.may(request, attr.ino, open_access(flags))?;
                Ok(attr)
            });
        }
        let attr = or_error!(reply, made);
        self.know(attr.ino);
        let generation = Generation(u64::from(attr.generation));
        let keep = FopenFlags::FOPEN_KEEP_CACHE;
        reply.created(&self.remembered(), &file_attr(&attr), generation, HANDLE, keep);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let mut buffer = vec![0; size as usize];
        let count = or_error!(reply, self.volume.read(ino, offset, &mut buffer));
        self.volume.accessed(ino);
        reply.data(&buffer[..count]);
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let written =
            self.with_caller(request, |caller| self.volume.as_caller(caller).write(ino, offset, data));
        let count = or_error!(reply, written);
        // No more than it was asked for, which is 32 bits wide.
        reply.written(count as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file does nothing: the kernel need not tell of it.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, ino_of(ino).and_then(|ino| self.volume.fsync(ino)));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let ino = or_error!(reply, ino_of(ino));
        or_error!(reply, self.may(request, ino, Access::READ));
        reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let dir = or_error!(reply, ino_of(ino));
        let directory = file_type(FileKind::Directory);
        // Here the kernel wants the numbers that it shows, not those that it uses.
        let own = INodeNo(u64::from(dir));
        if offset < BEHIND_SELF && reply.add(own, BEHIND_SELF, directory, ".") {
            return reply.ok();
        }
        if offset < BEHIND_PARENT {
            let parent = INodeNo(u64::from(self.volume.parent(dir).unwrap_or(dir)));
            if reply.add(parent, BEHIND_PARENT, directory, "..") {
                return reply.ok();
            }
        }
        let cookie = if offset <= BEHIND_PARENT { 0 } else { offset };
        let read = self.volume.read_dir(dir, cookie, &mut |entry| {
            let name = OsStr::from_bytes(&entry.name);
            !reply.add(INodeNo(u64::from(entry.ino)), entry.cookie, file_type(entry.kind), name)
        });
        self.volume.accessed(dir);
        answer!(reply, read);
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let dir = or_error!(reply, ino_of(ino));
        let own = or_error!(reply, self.volume.getattr(dir));
        let add = |reply: &mut ReplyDirectoryPlus, attr: &Attr, offset, name: &OsStr| {
            let number = INodeNo(u64::from(attr.ino));
            reply.add(
                number,
                offset,
                name,
                &self.remembered(),
                &file_attr(attr),
                Generation(u64::from(attr.generation)),
            )
        };
        if offset < BEHIND_SELF && add(&mut reply, &own, BEHIND_SELF, OsStr::new(".")) {
            return reply.ok();
        }
        if offset < BEHIND_PARENT {
            let parent = self.volume.parent(dir).and_then(|parent| self.volume.getattr(parent));
            // The kernel takes of these two the number alone, and counts no look.
            if add(&mut reply, &parent.unwrap_or(own), BEHIND_PARENT, OsStr::new("..")) {
                return reply.ok();
            }
        }
        let cookie = if offset <= BEHIND_PARENT { 0 } else { offset };
        let read = self.volume.read_dir(dir, cookie, &mut |entry| {
            let Ok(attr) = self.volume.getattr(entry.ino) else {
                // Removed since the names were read.
                return true;
            };
            self.know(entry.ino);
            let full = add(&mut reply, &attr, entry.cookie, OsStr::from_bytes(&entry.name));
            if full {
                self.unknow(entry.ino, 1);
            }
            !full
        });
        self.volume.accessed(dir);
        answer!(reply, read);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, ino_of(ino).and_then(|ino| self.volume.fsync(ino)));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let shown = or_error!(reply, self.volume.statfs());
        let (blocks, free, size) = (shown.blocks, shown.free_blocks, shown.block_size_bytes);
        let files = shown.used_inodes + shown.free_inodes;
        reply.statfs(blocks, free, free, files, shown.free_inodes, size, shown.name_max, size);
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let flags = XattrFlags::from_bits(flags.cast_unsigned()).ok_or(Errno::EINVAL);
        let flags = or_error!(reply, flags);
        or_error!(reply, self.may_xattr(request, ino, name, true));
        if !is_acl(name) {
            answer!(reply, self.volume.set_xattr(ino, name.as_bytes(), value, flags));
        } else if self.permissions == Permissions::Volume {
            // It would be kept and not asked.
            reply.error(fuser::Errno::EOPNOTSUPP);
        } else {
            answer!(reply, self.set_acl(request, ino, name, value));
        }
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let ino = or_error!(reply, ino_of(ino));
        or_error!(reply, self.may_xattr(request, ino, name, false));
        let value = or_error!(reply, self.volume.get_xattr(ino, name.as_bytes()));
        xattr_reply(value, size, reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let ino = or_error!(reply, ino_of(ino));
        let mut names = or_error!(reply, self.volume.list_xattr(ino));
        // The kernel leaves this to file systems: names that only the privileged can read are theirs alone.
        names.retain(|name| request.uid() == 0 || !name.starts_with(b"trusted."));
        let names = names.into_iter().flat_map(|name| name.into_iter().chain([0])).collect();
        xattr_reply(names, size, reply);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let ino = or_error!(reply, ino_of(ino));
        or_error!(reply, self.may_xattr(request, ino, name, true));
        answer!(reply, self.volume.remove_xattr(ino, name.as_bytes()));
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let ino = or_error!(reply, ino_of(ino));
        let access = Access::from_bits_truncate(mask.bits().cast_unsigned());
        answer!(reply, self.may(request, ino, access));
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let mode = AllocateMode::from_bits(mode.cast_unsigned()).ok_or(Errno::EOPNOTSUPP);
        let mode = or_error!(reply, mode);
        answer!(
            reply,
            self.with_caller(request, |caller| {
                self.volume.as_caller(caller).allocate(ino, mode, offset, length)
            })
        );
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let ino = or_error!(reply, ino_of(ino));
        let offset = or_error!(reply, u64::try_from(offset).map_err(|_| Errno::ENXIO));
        let found = match whence {
            libc::SEEK_DATA => self.volume.seek_data(ino, offset),
            libc::SEEK_HOLE => self.volume.seek_hole(ino, offset),
            _ => Err(Errno::EINVAL),
        };
        let found = or_error!(reply, found);
        reply.offset(found.cast_signed());
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = (or_error!(reply, ino_of(from)), or_error!(reply, ino_of(to)));
        or_error!(
            reply,
            self.with_caller(request, |caller| self.volume.as_caller(caller).drop_set_id(to))
        );
        let len = len.min(COPY_MAX_BYTES);
        let copied = self.volume.copy_range(from, from_offset, to, to_offset, len);
        self.volume.accessed(from);
        let count = or_error!(reply, copied);
        reply.written(count as u32);
    }
}

/// A size of 0 asks how much there is.
fn xattr_reply(bytes: Vec<u8>, size: u32, reply: ReplyXattr) {
    match u32::try_from(bytes.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(&bytes),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}
