//! A volume and the oracle side by side: every operation is done in both and the answers compared.

use super::durable::Files;
use super::operations::{Operation, Pick, content, fill_name, flags, kind, mode};
use super::oracle::{Node, Oracle};
use super::volumes::{self, HeapVolume, ROOT};
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::{FileKind, INLINE_DATA_MAX};
use sabfs::vfs::{Attr, Ino, NewInode, RenameFlags, SetAttr, TimeChange};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks that an operation may need beside its data: growth of the inode table and of a directory
/// or an extent tree at every level. With more than this free, `ENOSPC` is a wrong answer.
const OVERHEAD_BLOCKS: u64 = 16;

type Answer<T> = Result<T, Errno>;

pub struct World {
    pub volume: HeapVolume,
    pub oracle: Oracle,
    files: Option<Files>,
    /// Every inode number with its generation names one file for ever.
    identities: BTreeSet<(Ino, u32)>,
    pub operations: u64,
    pub refusals: u64,
}

impl World {
    pub fn new(blocks: u32) -> Self {
        Self::of(volumes::volume(blocks), None)
    }

    /// A volume with files, which frees blocks only when they have been committed.
    pub fn durable(blocks: u32) -> Self {
        let files = Files::default();
        Self::of(files.open(blocks), Some(files))
    }

    fn of(volume: HeapVolume, files: Option<Files>) -> Self {
        Self { files, ..Self::with(volume, Oracle::new(volumes::now())) }
    }

    /// A volume that is as the oracle says, and whose files are somebody else's business.
    pub fn with(volume: HeapVolume, oracle: Oracle) -> Self {
        Self { volume, oracle, files: None, identities: BTreeSet::new(), operations: 0, refusals: 0 }
    }

    /// Mounts what is in the files, or a copy of the image.
    fn remount(&mut self) {
        self.volume = match &self.files {
            Some(files) => {
                self.volume.sync().unwrap();
                files.open(self.volume.image().capacity_blocks())
            }
            None => volumes::remount(&self.volume),
        };
    }

    /// Any inode, mostly one in use.
    fn any(&self, pick: Pick) -> Ino {
        match pick {
            0 => 0,
            1 => 1,
            2 => 100_000,
            3 => u32::MAX,
            4 => 40,
            _ => self.nth(pick, |_| true),
        }
    }

    fn nth(&self, pick: Pick, which: impl Fn(&Node) -> bool) -> Ino {
        let all: Vec<Ino> =
            self.oracle.nodes.iter().filter(|(_, node)| which(node)).map(|(&ino, _)| ino).collect();
        // The newest ones are picked as often as the rest together.
        match usize::from(pick) {
            _ if all.is_empty() => ROOT,
            pick if pick % 2 == 0 => all[pick / 2 % all.len()],
            pick => all[all.len() - 1 - pick / 2 % all.len().min(8)],
        }
    }

    /// Mostly a directory.
    fn directory(&self, pick: Pick) -> Ino {
        match pick {
            0..16 => self.any(pick),
            16..48 => ROOT,
            _ => self.nth(pick, |node| node.kind == FileKind::Directory),
        }
    }

    /// Mostly a regular file.
    fn regular(&self, pick: Pick) -> Ino {
        match pick {
            0..16 => self.any(pick),
            _ => self.nth(pick, |node| node.kind == FileKind::Regular),
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.volume.statfs().unwrap().free_blocks
    }

    /// Lets the clock go on, as before each operation.
    pub fn tick(&mut self) {
        volumes::tick();
        self.oracle.now = volumes::now();
    }

    pub fn step(&mut self, operation: &Operation) {
        self.tick();
        match operation {
            Operation::Create { dir, name, kind: number } => {
                let kind = kind(*number);
                let new = NewInode { kind, permissions: 0o10_755, uid: 5, gid: 6, rdev: 0x1_0000_0103 };
                self.create(self.directory(*dir), &name.bytes(), &new);
            }
            Operation::Symlink { dir, name, len } => {
                self.symlink(self.directory(*dir), &name.bytes(), &vec![b't'; usize::from(*len)]);
            }
            Operation::CreateUnnamed { dir } => self.create_unnamed(self.directory(*dir)),
            Operation::Link { ino, dir, name } => {
                self.link(self.any(*ino), self.directory(*dir), &name.bytes());
            }
            Operation::Unlink { dir, name } => self.unlink(self.directory(*dir), &name.bytes()),
            Operation::Rmdir { dir, name } => self.rmdir(self.directory(*dir), &name.bytes()),
            Operation::Rename { from, to, flags: number } => {
                let from = (self.directory(from.0), from.1.bytes());
                let to = (self.directory(to.0), to.1.bytes());
                self.rename((from.0, &from.1), (to.0, &to.1), flags(*number));
            }
            Operation::Write { ino, offset, len, seed } => {
                self.write(self.regular(*ino), Some(*offset), &content(*seed, *len));
            }
            Operation::Append { ino, len, seed } => {
                self.write(self.regular(*ino), None, &content(*seed, *len));
            }
            Operation::Read { ino, offset, len } => {
                self.read(self.regular(*ino), *offset, *len as usize);
            }
            Operation::Resize { ino, size } => {
                let set = SetAttr { size_bytes: Some(*size), ..Default::default() };
                self.setattr(self.regular(*ino), &set);
            }
            Operation::Allocate { ino, mode: number, offset, len } => {
                self.allocate(self.regular(*ino), mode(*number), *offset, *len);
            }
            Operation::Seek { ino, offset } => self.seek(self.regular(*ino), *offset),
            Operation::Copy { from, to, len } => {
                let (from, to) = ((self.regular(from.0), from.1), (self.regular(to.0), to.1));
                self.copy(from, to, *len);
            }
            Operation::SetAttr { ino, which, value } => {
                self.setattr(self.any(*ino), &some_attributes(*which, *value));
            }
            Operation::Lookup { dir, name } => self.lookup(self.directory(*dir), &name.bytes()),
            Operation::List { dir, stop_after } => {
                self.list(self.directory(*dir), usize::from(*stop_after));
            }
            Operation::Readlink { ino } => self.readlink(self.any(*ino)),
            Operation::Hold { ino } => {
                let ino = self.any(*ino);
                let answer = self.volume.hold(ino);
                assert_eq!(answer, self.oracle.hold(ino), "hold {ino}");
            }
            Operation::Forget { ino } => {
                let ino = self.any(*ino);
                self.volume.forget(ino);
                self.oracle.forget(ino);
            }
            Operation::Fill { dir, first, count, long } => {
                let dir = self.directory(*dir);
                for number in *first..first + count {
                    let name = fill_name(u32::from(number), *long);
                    self.create(dir, &name, &volumes::file());
                }
            }
            Operation::Thin { dir, first, count, keep, long } => {
                let dir = self.directory(*dir);
                for number in (*first..first + count).filter(|number| number % keep != 0) {
                    self.unlink(dir, &fill_name(u32::from(number), *long));
                }
            }
            Operation::Stripe { ino, first, count, down } => {
                let ino = self.regular(*ino);
                for number in 0..u64::from(*count) {
                    let number = if *down { u64::from(*count) - number } else { number };
                    self.write(ino, Some((u64::from(*first) + number * 2) * 4096), &[number as u8 | 1]);
                }
            }
            Operation::Devour { ino, leave } => {
                let ino = self.regular(*ino);
                let blocks = self.free().saturating_sub(u64::from(*leave)).min(2000);
                for _ in 0..blocks.div_ceil(100) {
                    let count = self.free().saturating_sub(u64::from(*leave)).min(100) as u32;
                    self.write(ino, None, &content(*leave, count * 4096));
                }
            }
            Operation::SetXattr { ino, name, len, seed, flags } => {
                self.set_xattr(self.any(*ino), name, *len, *seed, *flags);
            }
            Operation::RemoveXattr { ino, name } => self.remove_xattr(self.any(*ino), name),
            Operation::GetXattr { ino, name } => self.get_xattr(self.any(*ino), name),
            Operation::Remount => {
                let held = self.oracle.nodes.values().any(|node| node.held > 0);
                if !held {
                    self.remount();
                }
            }
        }
    }

    /// Compares answers; true if the operation found no space, which the oracle then judges dry.
    pub(super) fn no_space<T>(
        &mut self,
        answer: &Answer<T>,
        free_before: u64,
        data_blocks: u64,
    ) -> bool {
        let refused = answer.as_ref().err() == Some(&Errno::ENOSPC);
        if refused {
            self.refusals += 1;
            let most = data_blocks + OVERHEAD_BLOCKS;
            assert!(free_before < most, "ENOSPC with {free_before} free blocks of {most}");
            assert_eq!(self.free(), free_before, "an operation that failed took space");
        }
        self.oracle.dry = refused;
        refused
    }

    pub(super) fn judge<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        refused: bool,
        answer: Answer<T>,
        expected: Answer<T>,
    ) {
        self.oracle.dry = false;
        self.operations += 1;
        match (refused, expected) {
            (false, expected) => assert_eq!(answer, expected, "{what}"),
            // That nothing changed is looked at now and then only: a full volume refuses a lot.
            (true, Ok(_)) if self.refusals < 4 || self.refusals.is_multiple_of(64) => {
                self.compare_tree();
            }
            (true, Ok(_)) => {}
            (true, Err(errno)) => panic!("{what}: ENOSPC instead of {errno}"),
        }
    }

    fn created(
        &mut self,
        what: &str,
        answer: Answer<Attr>,
        expected: impl FnOnce(&mut Oracle, Ino) -> Answer<()>,
    ) {
        let free = self.free();
        if let Ok(attr) = &answer {
            let fresh = self.identities.insert((attr.ino, attr.generation));
            assert!(fresh, "{what}: inode {} generation {} again", attr.ino, attr.generation);
        }
        let ino = answer.as_ref().map_or(u32::MAX, |attr| attr.ino);
        let refused = self.no_space(&answer, free, 0);
        let expected = expected(&mut self.oracle, ino);
        self.judge(what, refused, answer.as_ref().map(|_| ()).map_err(|&errno| errno), expected);
        if let Ok(attr) = answer {
            self.compare_attr(&attr);
        }
    }

    pub fn create(&mut self, dir: Ino, name: &[u8], new: &NewInode) {
        let answer = self.volume.create(dir, name, new);
        self.created("create", answer, |oracle, ino| oracle.create(dir, name, new, ino));
    }

    fn create_unnamed(&mut self, dir: Ino) {
        let answer = self.volume.create_unnamed(dir, &volumes::file());
        self.created("create_unnamed", answer, |oracle, ino| {
            oracle.create_unnamed(dir, &volumes::file(), ino)
        });
    }

    pub fn symlink(&mut self, dir: Ino, name: &[u8], target: &[u8]) {
        let answer = self.volume.symlink(dir, name, target, 3, 4);
        self.created("symlink", answer, |oracle, ino| oracle.symlink(dir, name, target, ino));
    }

    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) {
        let free = self.free();
        let answer = self.volume.link(ino, dir, name).map(|attr| attr.nlink);
        let refused = self.no_space(&answer, free, 0);
        let expected = self.oracle.link(ino, dir, name).map(|()| self.oracle.nodes[&ino].nlink);
        self.judge("link", refused, answer, expected);
    }

    pub fn unlink(&mut self, dir: Ino, name: &[u8]) {
        let answer = self.volume.unlink(dir, name);
        let expected = self.oracle.unlink(dir, name);
        self.judge("unlink", false, answer, expected);
    }

    pub fn rmdir(&mut self, dir: Ino, name: &[u8]) {
        let answer = self.volume.rmdir(dir, name);
        let expected = self.oracle.rmdir(dir, name);
        self.judge("rmdir", false, answer, expected);
    }

    pub fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) {
        let free = self.free();
        let answer = self.volume.rename(from.0, from.1, to.0, to.1, flags);
        let refused = self.no_space(&answer, free, 0);
        let whiteout = self.volume.lookup(from.0, from.1);
        if let (Ok(_), Ok(new), true) = (&answer, &whiteout, flags.contains(RenameFlags::WHITEOUT)) {
            // Two names of one inode are left alone.
            let fresh = self.identities.insert((new.ino, new.generation));
            assert!(fresh || !(new.kind == FileKind::Character && new.rdev == 0));
        }
        let expected = self.oracle.rename(from, to, flags, whiteout.map_or(0, |attr| attr.ino));
        self.judge(&format!("rename {from:?} to {to:?} {flags:?}"), refused, answer, expected);
    }

    pub fn write(&mut self, ino: Ino, offset: Option<u64>, bytes: &[u8]) {
        let free = self.free();
        let answer = match offset {
            Some(offset) => self.volume.write(ino, offset, bytes).map(|count| (offset, count)),
            None => self.volume.append(ino, bytes),
        };
        let data_blocks = (bytes.len() as u64).div_ceil(4096) + 1;
        let refused = self.no_space(&answer, free, data_blocks);
        let count = answer.map_or(bytes.len(), |(_, count)| count);
        if count < bytes.len() {
            assert!(count > 0, "a write that wrote nothing");
            let left = self.free();
            assert!(left < 8, "a short write with {left} free blocks");
        }
        let expected = self.oracle.write(ino, offset, &bytes[..count]);
        let answer = answer.map(|(at, _)| if count == 0 { expected.unwrap_or(at) } else { at });
        self.judge(&format!("write {} at {offset:?}", bytes.len()), refused, answer, expected);
    }

    fn read(&self, ino: Ino, offset: u64, len: usize) {
        let mut buffer = vec![0xee; len];
        let answer = self.volume.read(ino, offset, &mut buffer).map(|count| buffer[..count].to_vec());
        assert!(answer == self.oracle.read(ino, offset, len), "read {len} at {offset} of {ino}");
    }

    pub fn setattr(&mut self, ino: Ino, set: &SetAttr) {
        let free_before = self.free();
        let answer = self.volume.setattr(ino, set);
        // A file that outgrows its inode takes a block.
        let outgrows = set.size_bytes.is_some_and(|size| size > INLINE_DATA_MAX as u64);
        let refused = outgrows && self.no_space(&answer, free_before, 1);
        let expected = self.oracle.setattr(ino, set);
        self.judge("setattr", refused, answer.map(|_| ()), expected);
        if let Ok(attr) = answer {
            self.compare_attr(&attr);
        }
    }

    fn lookup(&self, dir: Ino, name: &[u8]) {
        let answer = self.volume.lookup(dir, name).map(|attr| attr.ino);
        assert_eq!(answer, self.oracle.lookup(dir, name), "lookup {name:?} in {dir}");
        assert_eq!(self.volume.parent(dir), self.oracle.parent(dir), "parent of {dir}");
        if let (Ok(ino), true) = (answer, name != b"." && name != b"..") {
            let found = self.volume.name_of(dir, ino).unwrap();
            assert_eq!(self.oracle.lookup(dir, &found), Ok(ino));
        }
    }

    /// Reads a directory in parts of `stop_after` names.
    fn list(&self, dir: Ino, stop_after: usize) {
        let mut found = BTreeMap::new();
        let (mut cookie, mut more) = (0, true);
        while more {
            more = false;
            let mut count = 0;
            let answer = self.volume.read_dir(dir, cookie, &mut |entry| {
                assert!(entry.cookie > cookie, "cookies grow");
                cookie = entry.cookie;
                assert_eq!(entry.kind, self.oracle.nodes[&entry.ino].kind);
                assert_eq!(found.insert(entry.name, entry.ino), None, "a name came twice");
                count += 1;
                more = count == stop_after;
                !more
            });
            if let Err(errno) = answer {
                assert_eq!(self.oracle.names(dir).err(), Some(errno), "read_dir {dir}");
                return;
            }
        }
        assert_eq!(Ok(&found), self.oracle.names(dir), "read_dir {dir}");
        assert_eq!(self.volume.count_names(dir), Ok(found.len() as u64));
    }

    fn readlink(&self, ino: Ino) {
        let answer = self.volume.readlink(ino);
        assert_eq!(answer, self.oracle.readlink(ino).map(<[u8]>::to_vec), "readlink {ino}");
    }

    pub(super) fn compare_attr(&self, attr: &Attr) {
        let node = &self.oracle.nodes[&attr.ino];
        // Written only if it is needed: this is called for every inode after every operation.
        let what = || format!("attributes of {}: {attr:?}", attr.ino);
        assert_eq!(attr.kind, node.kind, "{}", what());
        assert_eq!(attr.mode, node.kind.mode_bits() | node.permissions, "{}", what());
        let times = [attr.atime_ns, attr.mtime_ns, attr.ctime_ns, attr.btime_ns];
        assert_eq!(times, node.times, "{}", what());
        assert_eq!((attr.nlink, attr.uid, attr.gid), (node.nlink, node.uid, node.gid), "{}", what());
        assert_eq!(attr.rdev, node.rdev, "{}", what());
        let xattrs = node.xattr_blocks();
        let data = node.chunks.len() as u64 + xattrs;
        match node.kind {
            FileKind::Directory => {
                assert_eq!(attr.blocks == xattrs, node.names.is_empty(), "{}", what());
            }
            FileKind::Symlink => {
                assert_eq!(attr.blocks, u64::from(node.target.len() > 104) + xattrs, "{}", what());
            }
            FileKind::Regular if node.inline => assert_eq!(attr.blocks, xattrs, "{}", what()),
            // The tree needs a node for every few hundred extents; neighbours with few become one.
            _ => assert!((data..=data + data / 64 + 4).contains(&attr.blocks), "{}, {data}", what()),
        }
        if node.kind != FileKind::Directory {
            assert_eq!(attr.size_bytes, node.size, "{}", what());
        }
    }

    /// Compares everything, and checks the volume.
    pub fn compare_tree(&self) {
        for (&ino, node) in &self.oracle.nodes {
            self.compare_attr(&self.volume.getattr(ino).unwrap_or_else(|e| panic!("{ino}: {e}")));
            self.compare_xattrs(ino);
            match node.kind {
                FileKind::Directory => self.list(ino, usize::MAX),
                FileKind::Symlink => self.readlink(ino),
                FileKind::Regular => {
                    for &chunk in node.chunks.keys() {
                        // A little more than the chunk, for the hole or the end behind it.
                        self.read(ino, chunk * 4096, 4100);
                    }
                    self.read(ino, node.size.saturating_sub(100), 200);
                }
                _ => {}
            }
        }
        let used = self.volume.statfs().unwrap().used_inodes;
        assert_eq!(used, self.oracle.nodes.len() as u64 + 1, "inodes in use");
        let report = check(self.volume.core());
        assert!(report.is_clean(), "{report}");
    }

    /// The same after a mount from a copy of the image.
    pub fn compare_remounted(mut self) {
        self.remount();
        self.oracle = self.oracle.remounted();
        self.compare_tree();
    }
}

fn some_attributes(which: u8, value: u32) -> SetAttr {
    let time = i64::from(value) * 1_000_003 - 2_000_000_000_000_000;
    SetAttr {
        mode: (which & 1 != 0).then_some(value),
        uid: (which & 2 != 0).then_some(value),
        gid: (which & 4 != 0).then_some(value),
        size_bytes: (which & 24 == 24).then_some(u64::from(value)),
        atime: (which & 32 != 0).then_some(TimeChange::At(time)),
        mtime: (which & 64 != 0).then_some(TimeChange::At(-time)),
    }
}
