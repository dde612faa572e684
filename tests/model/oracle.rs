//! The oracle: what a file system of this kind does, as plainly as it can be said.
//!
//! A tree of maps with unlimited space. Every operation checks everything first and then changes the
//! tree; a `dry` run ends between the two, which is how an operation that found no space is judged:
//! nothing else may have been wrong with it, and nothing may have changed.

use sabfs::errno::Errno::{self, *};
use sabfs::format::{FILE_SIZE_MAX, FileKind};
use sabfs::vfs::{Ino, NewInode, RenameFlags, SetAttr, TimeChange};
use std::collections::BTreeMap;

const ROOT: Ino = 2;
pub(super) const CHUNK: u64 = 4096;

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: FileKind,
    pub permissions: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub times: [i64; 4],
    pub held: u32,
    /// Made without a name, and never had one.
    pub unnamed: bool,
    pub target: Vec<u8>,
    pub names: BTreeMap<Vec<u8>, Ino>,
    pub parent: Ino,
    /// It lies in its inode, and takes no blocks for what is in `chunks`.
    pub inline: bool,
    /// The blocks that were ever written or reserved, everything else being a hole.
    pub chunks: BTreeMap<u64, Box<[u8; 4096]>>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone)]
pub struct Oracle {
    pub nodes: BTreeMap<Ino, Node>,
    pub now: i64,
    pub dry: bool,
}

pub(super) type Result<T> = std::result::Result<T, Errno>;

fn check_name(name: &[u8]) -> Result<()> {
    match name {
        _ if name.len() > 255 => Err(ENAMETOOLONG),
        b"" => Err(ENOENT),
        b"." | b".." => Err(EINVAL),
        _ if name.contains(&b'/') || name.contains(&0) => Err(EINVAL),
        _ => Ok(()),
    }
}

fn dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

impl Node {
    fn new(new: &NewInode, parent: Ino, now: i64) -> Self {
        let directory = new.kind == FileKind::Directory;
        let device = matches!(new.kind, FileKind::Character | FileKind::Block);
        Self {
            kind: new.kind,
            permissions: new.permissions & 0o7777,
            nlink: 1 + u32::from(directory),
            uid: new.uid,
            gid: new.gid,
            rdev: if device { new.rdev } else { 0 },
            size: 0,
            times: [now; 4],
            held: 0,
            unnamed: false,
            target: Vec::new(),
            names: BTreeMap::new(),
            parent,
            inline: new.kind == FileKind::Regular,
            chunks: BTreeMap::new(),
            xattrs: BTreeMap::new(),
        }
    }

    pub(super) fn modified(&mut self, now: i64) {
        self.times[1] = now;
        self.times[2] = now;
    }

    pub fn data(&self, offset: u64, count: usize) -> Vec<u8> {
        let end = self.size.min(offset + count as u64);
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let within = (at % CHUNK) as usize;
            let part = (CHUNK - at % CHUNK).min(end - at) as usize;
            match self.chunks.get(&(at / CHUNK)) {
                Some(chunk) => bytes.extend(&chunk[within..within + part]),
                None => bytes.resize(bytes.len() + part, 0),
            }
            at += part as u64;
        }
        bytes
    }
}

impl Oracle {
    pub fn new(now: i64) -> Self {
        let new = NewInode { kind: FileKind::Directory, permissions: 0o777, uid: 0, gid: 0, rdev: 0 };
        Self { nodes: [(ROOT, Node::new(&new, ROOT, now))].into(), now, dry: false }
    }

    pub fn node(&self, ino: Ino) -> Result<&Node> {
        self.nodes.get(&ino).ok_or(ENOENT)
    }

    pub(super) fn edit(&mut self, ino: Ino) -> &mut Node {
        self.nodes.get_mut(&ino).expect("checked before")
    }

    fn any_directory(&self, dir: Ino) -> Result<&Node> {
        let node = self.node(dir)?;
        if node.kind == FileKind::Directory { Ok(node) } else { Err(ENOTDIR) }
    }

    fn directory(&self, dir: Ino) -> Result<&Node> {
        let node = self.any_directory(dir)?;
        if node.nlink == 0 { Err(ENOENT) } else { Ok(node) }
    }

    fn child(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>> {
        Ok(self.directory(dir)?.names.get(name).copied())
    }

    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino> {
        self.node(dir)?;
        if name.len() > 255 {
            return Err(ENAMETOOLONG);
        }
        let node = self.any_directory(dir)?;
        match name {
            b"." => Ok(dir),
            b".." if node.nlink == 0 => Err(ENOENT),
            b".." => Ok(node.parent),
            _ => node.names.get(name).copied().ok_or(ENOENT),
        }
    }

    pub fn parent(&self, dir: Ino) -> Result<Ino> {
        Ok(self.directory(dir)?.parent)
    }

    pub fn names(&self, dir: Ino) -> Result<&BTreeMap<Vec<u8>, Ino>> {
        Ok(&self.any_directory(dir)?.names)
    }

    /// `ino` is what the file system chose; it must be one that is not in use.
    pub fn create(&mut self, dir: Ino, name: &[u8], new: &NewInode, ino: Ino) -> Result<()> {
        if dots(name) {
            return Err(EEXIST);
        }
        check_name(name)?;
        if self.child(dir, name)?.is_some() {
            return Err(EEXIST);
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        self.add(dir, new, ino);
        let parent = self.edit(dir);
        parent.names.insert(name.to_vec(), ino);
        parent.nlink += u32::from(new.kind == FileKind::Directory);
        parent.modified(now);
        Ok(())
    }

    /// Makes an inode; a set-group-ID directory hands on its group, and the bit to directories.
    fn add(&mut self, dir: Ino, new: &NewInode, ino: Ino) {
        assert!(ino > ROOT, "inode {ino} was given out");
        let mut node = Node::new(new, dir, self.now);
        let parent = &self.nodes[&dir];
        if parent.permissions & 0o2000 != 0 {
            node.gid = parent.gid;
            node.permissions |= if node.kind == FileKind::Directory { 0o2000 } else { 0 };
        }
        let old = self.nodes.insert(ino, node);
        assert!(old.is_none(), "inode {ino} was given out but is in use");
    }

    pub fn create_unnamed(&mut self, dir: Ino, new: &NewInode, ino: Ino) -> Result<()> {
        self.any_directory(dir)?;
        if !self.dry {
            self.add(dir, new, ino);
            let node = self.edit(ino);
            (node.nlink, node.held, node.unnamed) = (0, 1, true);
        }
        Ok(())
    }

    pub fn symlink(&mut self, dir: Ino, name: &[u8], target: &[u8], ino: Ino) -> Result<()> {
        match target.len() {
            0 => return Err(ENOENT),
            4096.. => return Err(ENAMETOOLONG),
            _ if target.contains(&0) => return Err(EINVAL),
            _ => {}
        }
        let new = NewInode { kind: FileKind::Symlink, permissions: 0o777, uid: 3, gid: 4, rdev: 0 };
        self.create(dir, name, &new, ino)?;
        if !self.dry {
            let node = self.edit(ino);
            node.target = target.to_vec();
            node.size = target.len() as u64;
        }
        Ok(())
    }

    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Result<()> {
        if dots(name) {
            return Err(EEXIST);
        }
        check_name(name)?;
        let taken = self.child(dir, name)?.is_some();
        let node = self.node(ino)?;
        if taken {
            return Err(EEXIST);
        }
        if node.kind == FileKind::Directory {
            return Err(EPERM);
        }
        if node.nlink == 0 && !node.unnamed {
            return Err(ENOENT);
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        let node = self.edit(ino);
        node.unnamed = false;
        node.nlink += 1;
        node.times[2] = now;
        let parent = self.edit(dir);
        parent.names.insert(name.to_vec(), ino);
        parent.modified(now);
        Ok(())
    }

    /// Takes one name's link away; the inode goes if it was the last and nobody holds it.
    fn drop_link(&mut self, ino: Ino) {
        let now = self.now;
        let node = self.edit(ino);
        node.nlink = if node.kind == FileKind::Directory { 0 } else { node.nlink - 1 };
        node.times[2] = now;
        if node.nlink == 0 && node.held == 0 {
            self.nodes.remove(&ino);
        }
    }

    pub fn unlink(&mut self, dir: Ino, name: &[u8]) -> Result<()> {
        if dots(name) {
            return Err(EISDIR);
        }
        check_name(name)?;
        let ino = self.child(dir, name)?.ok_or(ENOENT)?;
        if self.node(ino)?.kind == FileKind::Directory {
            return Err(EISDIR);
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        let parent = self.edit(dir);
        parent.names.remove(name);
        parent.modified(now);
        self.drop_link(ino);
        Ok(())
    }

    pub fn rmdir(&mut self, dir: Ino, name: &[u8]) -> Result<()> {
        match name {
            b"." => return Err(EINVAL),
            b".." => return Err(ENOTEMPTY),
            _ => check_name(name)?,
        }
        let ino = self.child(dir, name)?.ok_or(ENOENT)?;
        let node = self.node(ino)?;
        if node.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        if !node.names.is_empty() {
            return Err(ENOTEMPTY);
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        let parent = self.edit(dir);
        parent.names.remove(name);
        parent.nlink -= 1;
        parent.modified(now);
        self.drop_link(ino);
        Ok(())
    }

    /// Whether `dir` is `ancestor` or lies below it.
    fn is_below(&self, mut dir: Ino, ancestor: Ino) -> bool {
        while dir != ancestor && dir != ROOT {
            dir = self.nodes[&dir].parent;
        }
        dir == ancestor
    }

    /// `whiteout`: the inode that the file system chose for one.
    pub fn rename(
        &mut self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        flags: RenameFlags,
        whiteout: Ino,
    ) -> Result<()> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let noreplace = flags.contains(RenameFlags::NOREPLACE);
        if exchange && (noreplace || flags.contains(RenameFlags::WHITEOUT)) {
            return Err(EINVAL);
        }
        if dots(from.1) {
            return Err(EBUSY);
        }
        if dots(to.1) {
            return Err(if noreplace { EEXIST } else { EBUSY });
        }
        check_name(from.1)?;
        self.directory(from.0)?;
        self.directory(to.0)?;
        let moved = self.child(from.0, from.1)?.ok_or(ENOENT)?;
        check_name(to.1)?;
        let replaced = self.child(to.0, to.1)?;
        if noreplace && replaced.is_some() {
            return Err(EEXIST);
        }
        if exchange && replaced.is_none() {
            return Err(ENOENT);
        }
        let is_directory = |ino: Ino| self.nodes[&ino].kind == FileKind::Directory;
        if is_directory(moved) && self.is_below(to.0, moved) {
            return Err(EINVAL);
        }
        if let Some(replaced) = replaced {
            if is_directory(replaced) && self.is_below(from.0, replaced) {
                return Err(if exchange { EINVAL } else { ENOTEMPTY });
            }
            if moved == replaced {
                return Ok(());
            }
            match (is_directory(moved), is_directory(replaced)) {
                _ if exchange => {}
                (true, false) => return Err(ENOTDIR),
                (false, true) => return Err(EISDIR),
                (true, true) if !self.nodes[&replaced].names.is_empty() => return Err(ENOTEMPTY),
                _ => {}
            }
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        for (dir, name) in [from, to] {
            self.edit(dir).names.remove(name);
            self.edit(dir).modified(now);
        }
        self.put(to, moved, from.0);
        match replaced {
            Some(replaced) if exchange => self.put(from, replaced, to.0),
            Some(replaced) => {
                if self.nodes[&replaced].kind == FileKind::Directory {
                    self.edit(to.0).nlink -= 1;
                }
                self.drop_link(replaced);
            }
            None => {}
        }
        if flags.contains(RenameFlags::WHITEOUT) {
            let kind = FileKind::Character;
            let new = NewInode { kind, permissions: 0, uid: 0, gid: 0, rdev: 0 };
            self.add(from.0, &new, whiteout);
            self.edit(from.0).names.insert(from.1.to_vec(), whiteout);
        }
        Ok(())
    }

    /// Enters a moved inode; its parents' links follow.
    fn put(&mut self, (dir, name): (Ino, &[u8]), ino: Ino, old: Ino) {
        let now = self.now;
        self.edit(dir).names.insert(name.to_vec(), ino);
        let node = self.edit(ino);
        node.times[2] = now;
        if node.kind == FileKind::Directory {
            node.parent = dir;
            self.edit(old).nlink -= 1;
            self.edit(dir).nlink += 1;
        }
    }

    pub(super) fn regular(&self, ino: Ino) -> Result<&Node> {
        let node = self.node(ino)?;
        match node.kind {
            FileKind::Regular => Ok(node),
            FileKind::Directory => Err(EISDIR),
            _ => Err(EINVAL),
        }
    }

    pub fn read(&self, ino: Ino, offset: u64, count: usize) -> Result<Vec<u8>> {
        if count == 0 { Ok(Vec::new()) } else { Ok(self.regular(ino)?.data(offset, count)) }
    }

    /// `offset` none: at the end. Gives where it wrote.
    pub fn write(&mut self, ino: Ino, offset: Option<u64>, bytes: &[u8]) -> Result<u64> {
        if offset.is_some() && bytes.is_empty() {
            return Ok(0);
        }
        let size = self.regular(ino)?.size;
        let offset = offset.unwrap_or(size);
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= FILE_SIZE_MAX);
        end.ok_or(EFBIG)?;
        if self.dry || bytes.is_empty() {
            return Ok(offset);
        }
        let now = self.now;
        let node = self.edit(ino);
        node.put(offset, bytes);
        node.modified(now);
        Ok(offset)
    }

    pub fn setattr(&mut self, ino: Ino, set: &SetAttr) -> Result<()> {
        if self.node(ino)?.kind == FileKind::Symlink && set.mode.is_some() {
            return Err(EOPNOTSUPP);
        }
        if let Some(size) = set.size_bytes {
            self.regular(ino)?;
            if size > FILE_SIZE_MAX {
                return Err(EFBIG);
            }
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        let node = self.edit(ino);
        if let Some(size) = set.size_bytes {
            node.resize(size);
            node.modified(now);
        }
        node.permissions = set.mode.map_or(node.permissions, |mode| mode & 0o7777);
        node.uid = set.uid.unwrap_or(node.uid);
        node.gid = set.gid.unwrap_or(node.gid);
        for (which, change) in [(0, set.atime), (1, set.mtime)] {
            match change {
                Some(TimeChange::At(time)) => node.times[which] = time,
                Some(TimeChange::Now) => node.times[which] = now,
                None => {}
            }
        }
        node.times[2] = now;
        Ok(())
    }

    pub fn readlink(&self, ino: Ino) -> Result<&[u8]> {
        let node = self.node(ino)?;
        if node.kind == FileKind::Symlink { Ok(&node.target) } else { Err(EINVAL) }
    }

    pub fn hold(&mut self, ino: Ino) -> Result<()> {
        self.node(ino)?;
        self.edit(ino).held += 1;
        Ok(())
    }

    pub fn forget(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        if node.held == 0 {
            return;
        }
        node.held -= 1;
        if node.held == 0 && node.nlink == 0 {
            self.nodes.remove(&ino);
        }
    }

    /// What a mount after a crash shows: nobody holds anything.
    pub fn remounted(mut self) -> Self {
        self.nodes.retain(|_, node| node.nlink > 0);
        for node in self.nodes.values_mut() {
            node.held = 0;
        }
        self
    }
}
