//! Directories: a hash-ordered tree of leaves that hold the names.
//!
//! An empty directory has no block. A small one is a single leaf. A larger one has inner nodes above
//! its leaves, sorted by the smallest hash in each child.
//!
//! Invariants
//! - A name lies in the leaf that covers its hash; names of equal hash lie in one leaf.
//! - The inode's `size` is the number of names.
//! - Only the last leaf below a node may be empty of names, and only if it is the node's only child.

use super::error::Result;
use super::txn::Txn;
use super::{Blocks, Error};
use crate::errno::Errno;
use crate::format::dirent::{self, records};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, DIR_NODE_ENTRIES, FileKind, Geometry, HEADER_SIZE_BYTES,
    Inode, RawDirEntry, RawDirRoot, check_header,
};
use crate::store::Store;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Levels of inner nodes: 338 x 338 x 338 leaves are more than there are inodes.
pub const LEVELS_MAX: u32 = 3;

const ENTRY: usize = size_of::<RawDirEntry>();

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The inode.
    pub inode: u32,
    /// Its kind.
    pub kind: FileKind,
}

/// Reads one directory.
pub struct DirView<'a, B> {
    blocks: &'a B,
    key: &'a [u8; 16],
    number: u32,
    root: RawDirRoot,
}

/// Where a name's record is.
struct Found {
    path: Vec<Step>,
    leaf: u32,
    at: usize,
    len: usize,
    /// Offset and length of the record before it in the leaf.
    previous: Option<(usize, usize)>,
}

/// An inner node on the way to a leaf, and the child taken.
struct Step {
    block: u32,
    level: u32,
    entries: Vec<RawDirEntry>,
    index: usize,
}

impl<'a, B: Blocks> DirView<'a, B> {
    /// The directory of `inode`; `key` is the volume's hash key.
    pub fn new(blocks: &'a B, inode: &Inode, key: &'a [u8; 16]) -> Self {
        Self { blocks, key, number: inode.number, root: inode.dir_root() }
    }

    /// The leaf that covers `hash`, copied out, its block, and the first hash behind it.
    fn leaf(&self, hash: u64, bytes: &mut Block) -> Result<Option<(u32, u64)>> {
        let mut block = self.root.block.get();
        if block == 0 {
            return Ok(None);
        }
        let geometry = self.blocks.geometry();
        let mut end = u64::MAX;
        for level in (1..=self.levels()?).rev() {
            check_block(&geometry, block, self.number)?;
            self.blocks.read(block, 0, bytes);
            let entries = node_entries(bytes, block, level, self.number)?;
            let index = entries.partition_point(|e| e.hash.get() <= hash).saturating_sub(1);
            if let Some(next) = entries.get(index + 1) {
                end = next.hash.get();
            }
            block = entries[index].child.get();
        }
        check_block(&geometry, block, self.number)?;
        self.blocks.read(block, 0, bytes);
        check_header(&bytes[..], BlockKind::DirLeaf, block, self.number)?;
        Ok(Some((block, end)))
    }

    fn levels(&self) -> Result<u32> {
        let level = self.root.level.get();
        if level > LEVELS_MAX {
            return Err(Corrupt::Tree { inode: self.number, block: 0 }.into());
        }
        Ok(level)
    }

    /// What `name` stands for.
    pub fn lookup(&self, name: &[u8]) -> Result<Option<DirEntry>> {
        let hash = dirent::hash_name(self.key, name);
        let mut bytes = [0; BLOCK_SIZE];
        let Some((block, _)) = self.leaf(hash, &mut bytes)? else { return Ok(None) };
        for record in records(&bytes, self.number, block) {
            let record = record?;
            if record.inode != 0 && record.hash == hash && record.name == name {
                return Ok(Some(DirEntry { inode: record.inode, kind: record.kind }));
            }
        }
        Ok(None)
    }

    /// Names of one leaf whose hash is `from` or greater, in order of hash, handed to `emit` as
    /// (name, entry, hash); gives the hash at which the next leaf begins, none at the end.
    pub fn read_leaf(
        &self,
        from: u64,
        emit: &mut dyn FnMut(&[u8], DirEntry, u64),
    ) -> Result<Option<u64>> {
        let mut bytes = [0; BLOCK_SIZE];
        let Some((block, end)) = self.leaf(from, &mut bytes)? else { return Ok(None) };
        let mut found = Vec::new();
        for record in records(&bytes, self.number, block) {
            let record = record?;
            if record.inode != 0 && record.hash >= from {
                found.push(record);
            }
        }
        found.sort_unstable_by(|a, b| (a.hash, a.name).cmp(&(b.hash, b.name)));
        for record in found {
            emit(record.name, DirEntry { inode: record.inode, kind: record.kind }, record.hash);
        }
        if end != u64::MAX && end <= from {
            return Err(Corrupt::Tree { inode: self.number, block }.into());
        }
        Ok((end != u64::MAX).then_some(end))
    }

    /// The name under which an inode is found; for directories, which have one name only.
    pub fn name_of(&self, inode: u32) -> Result<Option<Vec<u8>>> {
        let mut from = 0;
        loop {
            let mut found = None;
            let next = self.read_leaf(from, &mut |name, entry, _| {
                if entry.inode == inode && found.is_none() {
                    found = Some(name.to_vec());
                }
            })?;
            match (found, next) {
                (Some(name), _) => return Ok(Some(name)),
                (None, None) => return Ok(None),
                (None, Some(next)) => from = next,
            }
        }
    }

    /// Calls `visit` with every block of the tree and whether it is a leaf, for mount, check and
    /// deletion.
    pub fn walk(&self, visit: &mut dyn FnMut(u32, bool, &Block) -> Result<()>) -> Result<()> {
        match self.root.block.get() {
            0 => Ok(()),
            block => self.walk_below(block, self.levels()?, visit),
        }
    }

    fn walk_below(
        &self,
        block: u32,
        level: u32,
        visit: &mut dyn FnMut(u32, bool, &Block) -> Result<()>,
    ) -> Result<()> {
        check_block(&self.blocks.geometry(), block, self.number)?;
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        self.blocks.read(block, 0, &mut bytes[..]);
        if level == 0 {
            check_header(&bytes[..], BlockKind::DirLeaf, block, self.number)?;
            return visit(block, true, &bytes);
        }
        visit(block, false, &bytes)?;
        let entries = node_entries(&bytes, block, level, self.number)?;
        if !entries.is_sorted_by(|a, b| a.hash.get() < b.hash.get()) {
            return Err(Corrupt::Tree { inode: self.number, block }.into());
        }
        for entry in entries {
            self.walk_below(entry.child.get(), level - 1, visit)?;
        }
        Ok(())
    }
}

fn check_block(geometry: &Geometry, block: u32, inode: u32) -> Result<()> {
    if geometry.allocatable(block, 1) {
        Ok(())
    } else {
        Err(Corrupt::BlockRange { block, inode }.into())
    }
}

fn node_entries(bytes: &Block, block: u32, level: u32, inode: u32) -> Result<&[RawDirEntry]> {
    let header = check_header(&bytes[..], BlockKind::DirNode, block, inode)?;
    let count = header.extra[0].get() as usize;
    if count == 0 || count > DIR_NODE_ENTRIES || header.extra[1].get() != level {
        return Err(Corrupt::Tree { inode, block }.into());
    }
    <[RawDirEntry]>::ref_from_bytes(&bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + count * ENTRY])
        .map_err(|_| Corrupt::Tree { inode, block }.into())
}

impl<S: Store> Txn<'_, S> {
    /// Reads a directory as this transaction sees it.
    pub fn dir<'b>(&'b self, inode: &Inode) -> DirView<'b, Self> {
        DirView::new(self, inode, &self.core().superblock.hash_key)
    }

    /// Enters a name that is not there yet. The caller puts the inode back.
    pub fn dir_insert(&mut self, dir: &mut Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
        let hash = dirent::hash_name(&self.core().superblock.hash_key, name);
        let mut root = dir.dir_root();
        if root.block.get() == 0 {
            let leaf = self.allocate_block(0, BlockKind::DirLeaf, dir.number)?;
            clear_leaf(self.edit(leaf, 0, BLOCK_SIZE));
            root.block = U32::new(leaf);
            root.level = U32::ZERO;
            dir.set_dir_root(&root);
            add_blocks(dir, 1);
        }
        dir.raw.size = (dir.raw.size.get() + 1).into();
        loop {
            let (mut path, leaf) = self.descend(dir, hash)?;
            if self.leaf_insert(dir.number, leaf, hash, name, entry)? {
                return Ok(());
            }
            self.split_leaf(dir, &mut path, leaf)?;
        }
    }

    /// The inner nodes on the way to the leaf that covers `hash`, and that leaf.
    fn descend(&self, dir: &Inode, hash: u64) -> Result<(Vec<Step>, u32)> {
        let root = dir.dir_root();
        let geometry = self.geometry();
        let mut path = Vec::new();
        let mut block = root.block.get();
        let levels = self.dir(dir).levels()?;
        for level in (1..=levels).rev() {
            check_block(&geometry, block, dir.number)?;
            let mut bytes = [0; BLOCK_SIZE];
            self.read(block, 0, &mut bytes);
            let entries = node_entries(&bytes, block, level, dir.number)?.to_vec();
            let index = entries.partition_point(|e| e.hash.get() <= hash).saturating_sub(1);
            let child = entries[index].child.get();
            path.push(Step { block, level, entries, index });
            block = child;
        }
        check_block(&geometry, block, dir.number)?;
        Ok((path, block))
    }

    fn leaf_bytes(&self, dir: u32, block: u32) -> Result<Box<Block>> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        self.read(block, 0, &mut bytes[..]);
        check_header(&bytes[..], BlockKind::DirLeaf, block, dir)?;
        Ok(bytes)
    }

    fn bump_names(&mut self, leaf: u32, delta: i32) {
        let bytes = self.edit(leaf, 24, 28);
        let count = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        bytes[24..28].copy_from_slice(&count.wrapping_add_signed(delta).to_le_bytes());
    }

    /// Puts a record into a leaf if it has room, gathering the leaf's scattered room if need be.
    fn leaf_insert(
        &mut self,
        dir: u32,
        leaf: u32,
        hash: u64,
        name: &[u8],
        entry: DirEntry,
    ) -> Result<bool> {
        let need = dirent::record_len(name.len());
        let bytes = self.leaf_bytes(dir, leaf)?;
        let mut room = 0;
        for record in records(&bytes[..], dir, leaf) {
            let record = record?;
            let used = if record.inode == 0 { 0 } else { dirent::record_len(record.name.len()) };
            let slack = record.len - used;
            if slack >= need {
                let (at, len) = (record.at + used, slack);
                let edited = self.edit(leaf, record.at, at + need);
                if used > 0 {
                    dirent::set_len(&mut edited[..], record.at, used);
                }
                dirent::put(&mut edited[..], at, len, hash, entry.inode, entry.kind, name);
                self.bump_names(leaf, 1);
                return Ok(true);
            }
            room += slack;
        }
        if room < need {
            return Ok(false);
        }
        let mut packed = Vec::new();
        for record in records(&bytes[..], dir, leaf) {
            let record = record?;
            if record.inode != 0 {
                packed.push((record.hash, record.inode, record.kind, record.name));
            }
        }
        packed.push((hash, entry.inode, entry.kind, name));
        write_leaf(self.edit(leaf, 24, BLOCK_SIZE), &packed);
        Ok(true)
    }

    /// Moves the upper half of a full leaf into a new one, whose entry goes into the path.
    fn split_leaf(&mut self, dir: &mut Inode, path: &mut Vec<Step>, leaf: u32) -> Result<()> {
        let bytes = self.leaf_bytes(dir.number, leaf)?;
        let mut all = Vec::new();
        for record in records(&bytes[..], dir.number, leaf) {
            let record = record?;
            if record.inode != 0 {
                all.push((record.hash, record.inode, record.kind, record.name));
            }
        }
        all.sort_unstable_by_key(|record| record.0);
        // The middle by bytes, moved to where the hash changes: equal hashes stay together.
        let total: usize = all.iter().map(|r| dirent::record_len(r.3.len())).sum();
        let mut before = 0;
        let middle = all.iter().position(|r| {
            before += dirent::record_len(r.3.len());
            before * 2 > total
        });
        let middle = middle.unwrap_or(0);
        let distinct = |at: usize| at > 0 && at < all.len() && all[at - 1].0 != all[at].0;
        let Some(cut) =
            (0..=all.len()).map(|d| (middle + d, middle.wrapping_sub(d))).find_map(|(up, down)| {
                if distinct(up) {
                    Some(up)
                } else if distinct(down) {
                    Some(down)
                } else {
                    None
                }
            })
        else {
            // A whole leaf of names with one 64-bit keyed hash: only damage looks like this.
            return Err(Corrupt::Tree { inode: dir.number, block: leaf }.into());
        };
        let right = self.allocate_block(leaf, BlockKind::DirLeaf, dir.number)?;
        add_blocks(dir, 1);
        write_leaf(self.edit(right, 24, BLOCK_SIZE), &all[cut..]);
        write_leaf(self.edit(leaf, 24, BLOCK_SIZE), &all[..cut]);
        let entry = RawDirEntry { hash: U64::new(all[cut].0), child: U32::new(right) };
        self.add_entry(dir, path, leaf, entry)
    }

    /// Adds an entry behind the one that the path took; splits nodes upwards as far as needed.
    fn add_entry(
        &mut self,
        dir: &mut Inode,
        path: &mut Vec<Step>,
        left: u32,
        entry: RawDirEntry,
    ) -> Result<()> {
        let Some(mut step) = path.pop() else {
            let mut root = dir.dir_root();
            let level = root.level.get() + 1;
            if level > LEVELS_MAX {
                return Err(Errno::ENOSPC.into());
            }
            let node = self.allocate_block(left, BlockKind::DirNode, dir.number)?;
            add_blocks(dir, 1);
            let first = RawDirEntry { hash: U64::ZERO, child: U32::new(left) };
            write_node(self.edit(node, 24, BLOCK_SIZE), level, &[first, entry]);
            root.block = U32::new(node);
            root.level = U32::new(level);
            dir.set_dir_root(&root);
            return Ok(());
        };
        step.entries.insert(step.index + 1, entry);
        if step.entries.len() <= DIR_NODE_ENTRIES {
            write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &step.entries);
            return Ok(());
        }
        let upper = step.entries.split_off(step.entries.len() / 2);
        let right = self.allocate_block(step.block, BlockKind::DirNode, dir.number)?;
        add_blocks(dir, 1);
        write_node(self.edit(right, 24, BLOCK_SIZE), step.level, &upper);
        write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &step.entries);
        let entry = RawDirEntry { hash: upper[0].hash, child: U32::new(right) };
        self.add_entry(dir, path, step.block, entry)
    }

    fn find_record(&self, dir: &Inode, name: &[u8]) -> Result<Found> {
        let hash = dirent::hash_name(&self.core().superblock.hash_key, name);
        if dir.dir_root().block.get() == 0 {
            return Err(Errno::ENOENT.into());
        }
        let (path, leaf) = self.descend(dir, hash)?;
        let bytes = self.leaf_bytes(dir.number, leaf)?;
        let mut previous = None;
        for record in records(&bytes[..], dir.number, leaf) {
            let record = record?;
            if record.inode != 0 && record.hash == hash && record.name == name {
                let (at, len) = (record.at, record.len);
                return Ok(Found { path, leaf, at, len, previous });
            }
            previous = Some((record.at, record.len));
        }
        Err(Errno::ENOENT.into())
    }

    /// Makes a name that is there stand for another inode.
    pub fn dir_replace(&mut self, dir: &Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
        let Found { leaf, at, .. } = self.find_record(dir, name)?;
        dirent::set_inode(&mut self.edit(leaf, at + 8, at + 16)[..], at, entry.inode, entry.kind);
        Ok(())
    }

    /// Takes a name out. The caller puts the inode back. Never needs space.
    pub fn dir_remove(&mut self, dir: &mut Inode, name: &[u8]) -> Result<()> {
        self.touch(dir.number);
        let Found { path, leaf, at, len, previous } = self.find_record(dir, name)?;
        let left = dir.raw.size.get().saturating_sub(1);
        dir.raw.size = left.into();
        if left == 0 {
            return self.dir_clear(dir);
        }
        match previous {
            Some((before, before_len)) => {
                let edited = self.edit(leaf, before + 12, before + 14);
                dirent::set_len(&mut edited[..], before, before_len + len);
            }
            None => {
                let edited = self.edit(leaf, at + 8, at + 16);
                dirent::set_inode(&mut edited[..], at, 0, FileKind::Regular);
            }
        }
        self.bump_names(leaf, -1);
        let mut count = [0; 4];
        self.read(leaf, 24, &mut count);
        if u32::from_le_bytes(count) == 0 {
            self.drop_leaf(dir, path, leaf);
        }
        Ok(())
    }

    /// Takes an empty leaf out of its node, unless it is the only child there.
    fn drop_leaf(&mut self, dir: &mut Inode, mut path: Vec<Step>, leaf: u32) {
        if let Some(mut step) = path.pop()
            && step.entries.len() > 1
        {
            step.entries.remove(step.index);
            write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &step.entries);
            self.free(leaf, 1);
            add_blocks(dir, -1);
        }
    }

    /// Frees all blocks of a directory without names. The caller puts the inode back.
    pub fn dir_clear(&mut self, dir: &mut Inode) -> Result<()> {
        let mut blocks = Vec::new();
        self.dir(dir).walk(&mut |block, _, _| {
            blocks.push(block);
            Ok::<(), Error>(())
        })?;
        for &block in &blocks {
            self.free(block, 1);
        }
        add_blocks(dir, -i64::try_from(blocks.len()).unwrap_or(i64::MAX));
        let root = RawDirRoot { block: U32::ZERO, level: U32::ZERO, ..dir.dir_root() };
        dir.set_dir_root(&root);
        Ok(())
    }
}

fn add_blocks(dir: &mut Inode, delta: i64) {
    dir.raw.blocks = dir.raw.blocks.get().saturating_add_signed(delta).into();
}

fn clear_leaf(bytes: &mut Block) {
    write_leaf(bytes, &[]);
}

/// Fills a leaf with packed records; the last one takes the rest of the block.
fn write_leaf(bytes: &mut Block, all: &[(u64, u32, FileKind, &[u8])]) {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let names: Vec<_> = all.iter().map(|r| (r.0, r.1, r.2, r.3.to_vec())).collect();
    bytes[24..28].copy_from_slice(&count.to_le_bytes());
    bytes[28..].fill(0);
    let mut at = HEADER_SIZE_BYTES;
    for (index, (hash, inode, kind, name)) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        let len = if last { BLOCK_SIZE - at } else { dirent::record_len(name.len()) };
        dirent::put(&mut bytes[..], at, len, *hash, *inode, *kind, name);
        at += len;
    }
    if names.is_empty() {
        dirent::put(&mut bytes[..], at, BLOCK_SIZE - at, 0, 0, FileKind::Regular, b"");
    }
}

fn write_node(bytes: &mut Block, level: u32, entries: &[RawDirEntry]) {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    bytes[24..28].copy_from_slice(&count.to_le_bytes());
    bytes[28..32].copy_from_slice(&level.to_le_bytes());
    bytes[HEADER_SIZE_BYTES..].fill(0);
    let end = HEADER_SIZE_BYTES + entries.len() * ENTRY;
    bytes[HEADER_SIZE_BYTES..end].copy_from_slice(entries.as_bytes());
}
