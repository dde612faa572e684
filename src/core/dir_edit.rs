//! Changing directories: names in and out of the hash-ordered tree of leaves (see `dir`).

use super::Blocks;
use super::dir::{DirEntry, DirView, LEVELS_MAX, check_block, levels, node_entries};
use super::error::Result;
use super::txn::Txn;
use crate::errno::Errno;
use crate::format::dirent::{self, records};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, DIR_NODE_ENTRIES, FileKind, HEADER_SIZE_BYTES, Inode,
    RawDirEntry, RawDirRoot, check_header,
};
use crate::store::Store;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

const ENTRY: usize = size_of::<RawDirEntry>();

/// An inner node on the way to a leaf, and the child taken.
struct Step {
    block: u32,
    level: u32,
    index: usize,
}

/// Where a name's record is.
struct Found {
    path: Vec<Step>,
    leaf: u32,
    at: usize,
    len: usize,
    entry: DirEntry,
    /// Offset and length of the record before it in the leaf.
    previous: Option<(usize, usize)>,
}

impl<S: Store> Txn<'_, S> {
    /// What a name stands for, as this transaction sees it.
    pub fn dir_lookup(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<DirEntry>> {
        Ok(self.find_record(dir, name)?.map(|found| found.entry))
    }

    /// Enters a name that is not there yet. The caller puts the inode back.
    pub fn dir_insert(&mut self, dir: &mut Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
        let hash = dirent::hash_name(&self.core().superblock.hash_key, name);
        let mut root = dir.dir_root();
        if root.block.get() == 0 {
            let leaf = self.allocate_block(0, BlockKind::DirLeaf, dir.number)?;
            write_leaf(self.edit(leaf, 0, BLOCK_SIZE), &[]);
            root.block = U32::new(leaf);
            root.level = U32::ZERO;
            dir.set_dir_root(&root);
            add_blocks(dir, 1);
        }
        dir.raw.size = dir.raw.size.get().saturating_add(1).into();
        loop {
            let (mut path, leaf) = self.descend(dir, hash)?;
            if self.leaf_insert(dir.number, leaf, hash, name, entry)? {
                return Ok(());
            }
            self.split_leaf(dir, &mut path, leaf)?;
        }
    }

    /// The inner nodes on the way to the leaf that covers `hash`, and that leaf, checked.
    fn descend(&mut self, dir: &Inode, hash: u64) -> Result<(Vec<Step>, u32)> {
        let root = dir.dir_root();
        let geometry = self.geometry();
        let mut path = Vec::new();
        let mut block = root.block.get();
        for level in (1..=levels(&root, dir.number)?).rev() {
            check_block(&geometry, block, dir.number)?;
            let entries = node_entries(self.load(block), block, level, dir.number)?;
            let index = entries.partition_point(|e| e.hash.get() <= hash).saturating_sub(1);
            let child = entries[index].child.get();
            path.push(Step { block, level, index });
            block = child;
        }
        check_block(&geometry, block, dir.number)?;
        check_header(&self.load(block)[..], BlockKind::DirLeaf, block, dir.number)?;
        Ok((path, block))
    }

    fn bump_names(&mut self, leaf: u32, delta: i32) -> u32 {
        let bytes = self.edit(leaf, 24, 28);
        let count = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        let count = count.wrapping_add_signed(delta);
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        count
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
        let (mut room, mut place) = (0, None);
        for record in records(&self.load(leaf)[..], dir, leaf) {
            let record = record?;
            let used = if record.inode == 0 { 0 } else { dirent::record_len(record.name.len()) };
            let slack = record.len - used;
            if slack >= need {
                place = Some((record.at, used, slack));
                break;
            }
            room += slack;
        }
        if let Some((at, used, slack)) = place {
            let edited = self.edit(leaf, at, at + used + need);
            if used > 0 {
                dirent::set_len(&mut edited[..], at, used);
            }
            dirent::put(&mut edited[..], at + used, slack, hash, entry.inode, entry.kind, name);
            self.bump_names(leaf, 1);
            return Ok(true);
        }
        if room < need {
            return Ok(false);
        }
        let bytes = Box::new(*self.load(leaf));
        let mut packed = used_records(&bytes, dir, leaf)?;
        packed.push((hash, entry.inode, entry.kind, name));
        write_leaf(self.edit(leaf, 24, BLOCK_SIZE), &packed);
        Ok(true)
    }

    /// Moves the upper half of a full leaf into a new one, whose entry goes into the path.
    fn split_leaf(&mut self, dir: &mut Inode, path: &mut Vec<Step>, leaf: u32) -> Result<()> {
        let bytes = Box::new(*self.load(leaf));
        let mut all = used_records(&bytes, dir.number, leaf)?;
        all.sort_unstable_by_key(|record| record.0);
        let Some(cut) = middle(&all) else {
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
        let Some(step) = path.pop() else {
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
        let mut entries =
            node_entries(self.load(step.block), step.block, step.level, dir.number)?.to_vec();
        entries.insert(step.index + 1, entry);
        if entries.len() <= DIR_NODE_ENTRIES {
            write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &entries);
            return Ok(());
        }
        let upper = entries.split_off(entries.len() / 2);
        let right = self.allocate_block(step.block, BlockKind::DirNode, dir.number)?;
        add_blocks(dir, 1);
        write_node(self.edit(right, 24, BLOCK_SIZE), step.level, &upper);
        write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &entries);
        let entry = RawDirEntry { hash: upper[0].hash, child: U32::new(right) };
        self.add_entry(dir, path, step.block, entry)
    }

    fn find_record(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Found>> {
        let hash = dirent::hash_name(&self.core().superblock.hash_key, name);
        if dir.dir_root().block.get() == 0 {
            return Ok(None);
        }
        let (path, leaf) = self.descend(dir, hash)?;
        let mut previous = None;
        for record in records(&self.load(leaf)[..], dir.number, leaf) {
            let record = record?;
            let (at, len) = (record.at, record.len);
            if record.hash == hash && record.inode != 0 && record.name == name {
                let entry = DirEntry { inode: record.inode, kind: record.kind };
                return Ok(Some(Found { path, leaf, at, len, entry, previous }));
            }
            previous = Some((at, len));
        }
        Ok(None)
    }

    /// Makes a name that is there stand for another inode.
    pub fn dir_replace(&mut self, dir: &Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
        let Found { leaf, at, .. } = self.find_record(dir, name)?.ok_or(Errno::ENOENT)?;
        dirent::set_inode(&mut self.edit(leaf, at + 8, at + 16)[..], at, entry.inode, entry.kind);
        Ok(())
    }

    /// Takes a name out; gives what it stood for. The caller puts the inode back. Never needs space.
    pub fn dir_remove(&mut self, dir: &mut Inode, name: &[u8]) -> Result<DirEntry> {
        self.touch(dir.number);
        let found = self.find_record(dir, name)?.ok_or(Errno::ENOENT)?;
        let Found { path, leaf, at, len, entry, previous } = found;
        let left = dir.raw.size.get().saturating_sub(1);
        dir.raw.size = left.into();
        if left == 0 {
            self.dir_clear(dir)?;
            return Ok(entry);
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
        if self.bump_names(leaf, -1) == 0 {
            self.drop_leaf(dir, path, leaf)?;
        }
        Ok(entry)
    }

    /// Takes an empty leaf out of its node, unless it is the only child there.
    fn drop_leaf(&mut self, dir: &mut Inode, mut path: Vec<Step>, leaf: u32) -> Result<()> {
        let Some(step) = path.pop() else { return Ok(()) };
        let mut entries =
            node_entries(self.load(step.block), step.block, step.level, dir.number)?.to_vec();
        if entries.len() > 1 {
            let gone = entries.remove(step.index);
            // The new first child takes over what lay below the old one's hash, too.
            if step.index == 0 {
                entries[0].hash = gone.hash;
            }
            write_node(self.edit(step.block, 24, BLOCK_SIZE), step.level, &entries);
            self.free(leaf, 1);
            add_blocks(dir, -1);
        }
        Ok(())
    }

    /// Frees all blocks of a directory without names. The caller puts the inode back.
    pub fn dir_clear(&mut self, dir: &mut Inode) -> Result<()> {
        let mut blocks = Vec::new();
        DirView::new(self, dir, &self.core().superblock.hash_key).walk(&mut |block, _, _| {
            blocks.push(block);
            Ok(())
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

/// A record on its way into another leaf.
type Record<'a> = (u64, u32, FileKind, &'a [u8]);

fn used_records(bytes: &Block, dir: u32, leaf: u32) -> Result<Vec<Record<'_>>> {
    let mut all = Vec::new();
    for record in records(&bytes[..], dir, leaf) {
        let record = record?;
        if record.inode != 0 {
            all.push((record.hash, record.inode, record.kind, record.name));
        }
    }
    Ok(all)
}

/// Where to cut sorted records into halves of like size: only where the hash changes, so that equal
/// hashes stay together.
fn middle(all: &[Record<'_>]) -> Option<usize> {
    let total: usize = all.iter().map(|r| dirent::record_len(r.3.len())).sum();
    let mut before = 0;
    let middle = all.iter().position(|r| {
        before += dirent::record_len(r.3.len());
        before * 2 > total
    })?;
    let distinct = |at: usize| at > 0 && at < all.len() && all[at - 1].0 != all[at].0;
    (0..=all.len()).flat_map(|d| [middle + d, middle.wrapping_sub(d)]).find(|&at| distinct(at))
}

fn add_blocks(dir: &mut Inode, delta: i64) {
    dir.raw.blocks = dir.raw.blocks.get().saturating_add_signed(delta).into();
}

/// Fills a leaf with packed records; the last one takes the rest of the block.
fn write_leaf(bytes: &mut Block, all: &[Record<'_>]) {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    bytes[24..28].copy_from_slice(&count.to_le_bytes());
    bytes[28..].fill(0);
    let mut at = HEADER_SIZE_BYTES;
    for (index, (hash, inode, kind, name)) in all.iter().enumerate() {
        let last = index + 1 == all.len();
        let len = if last { BLOCK_SIZE - at } else { dirent::record_len(name.len()) };
        dirent::put(&mut bytes[..], at, len, *hash, *inode, *kind, name);
        at += len;
    }
    if all.is_empty() {
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
