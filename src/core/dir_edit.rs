//! Changing directories: names in and out of the hash-ordered tree of leaves (see `dir`).

use super::dir::{DirEntry, DirView, LEVELS_MAX, Place, Step, node_entries};
use super::error::Result;
use super::txn::Txn;
use crate::errno::Errno;
use crate::format::dirent::{self, Found, Gap, records};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, DIR_NODE_ENTRIES, FileKind, HEADER_SIZE_BYTES, Inode,
    RawDirEntry, RawDirRoot,
};
use crate::store::Store;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

const ENTRY: usize = size_of::<RawDirEntry>();

impl<S: Store> Txn<'_, S> {
    /// What a name stands for, as this transaction sees it.
    pub fn dir_lookup(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<DirEntry>> {
        let place = self.place(dir, name)?;
        self.keep_place(place)
    }

    /// Enters a name that is not there yet. The caller puts the inode back.
    pub fn dir_insert(&mut self, dir: &mut Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
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
            let mut place = self.place(dir, name)?.ok_or(Errno::EIO)?;
            if self.leaf_insert(&place, entry)? {
                return Ok(());
            }
            self.split_leaf(dir, &mut place.path, place.leaf)?;
        }
    }

    /// Where a name is, or could be: what this transaction or its caller has found out already, or else by a look.
    /// Whoever does not change the directory gives it back.
    fn place(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Place>> {
        if dir.dir_root().block.get() == 0 {
            return Ok(None);
        }
        if let Some(place) = self.take_place(dir.number, name) {
            return Ok(Some(place));
        }
        let core = self.core();
        let mut bytes = core.buffers.take();
        let place = DirView::new(self, dir, &core.superblock.hash_key).place(name, &mut bytes);
        core.buffers.give(bytes);
        place
    }

    fn keep_place(&mut self, place: Option<Place>) -> Result<Option<DirEntry>> {
        let Some(place) = place else { return Ok(None) };
        let entry = place.survey.found.map(|found| DirEntry { inode: found.inode, kind: found.kind });
        self.give_place(place);
        Ok(entry)
    }

    fn bump_names(&mut self, leaf: u32, delta: i32) -> u32 {
        let bytes = self.edit(leaf, 24, 28);
        let count = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        let count = count.wrapping_add_signed(delta);
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        count
    }

    /// Puts a record into a leaf if it has room, gathering the leaf's scattered room if need be.
    fn leaf_insert(&mut self, place: &Place, entry: DirEntry) -> Result<bool> {
        let Place { dir, name, hash, leaf, survey, .. } = place;
        let need = dirent::record_len(name.len());
        if let Some(Gap { at, used, len }) = survey.gap {
            let others = self.take_found(*leaf);
            let edited = self.edit(*leaf, at, at + used + need);
            if used > 0 {
                dirent::set_len(&mut edited[..], at, used);
            }
            dirent::put(&mut edited[..], at + used, len, *hash, entry.inode, entry.kind, name);
            self.bump_names(*leaf, 1);
            for (mut place, mut found) in others {
                // The new record lies where the other's, or the one before it, had room.
                if used > 0 && found.at == at {
                    found.len = used;
                } else if used > 0 && found.previous.is_some_and(|previous| previous.0 == at) {
                    found.previous = Some((at + used, len));
                }
                place.survey.found = Some(found);
                self.give_place(place);
            }
            return Ok(true);
        }
        if survey.room < need {
            return Ok(false);
        }
        let bytes = Box::new(*self.load(*leaf));
        let mut packed = used_records(&bytes, *dir, *leaf)?;
        packed.push((*hash, entry.inode, entry.kind, name));
        write_leaf(self.edit(*leaf, 24, BLOCK_SIZE), &packed);
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

    /// The record of a name, and the leaf that it is in.
    fn found(&mut self, dir: &Inode, name: &[u8]) -> Result<(Place, Found)> {
        let place = self.place(dir, name)?.ok_or(Errno::ENOENT)?;
        let found = place.survey.found.ok_or(Errno::ENOENT)?;
        Ok((place, found))
    }

    /// Makes a name that is there stand for another inode.
    pub fn dir_replace(&mut self, dir: &Inode, name: &[u8], entry: DirEntry) -> Result<()> {
        self.touch(dir.number);
        let (Place { leaf, .. }, Found { at, .. }) = self.found(dir, name)?;
        dirent::set_inode(&mut self.edit(leaf, at + 8, at + 16)[..], at, entry.inode, entry.kind);
        Ok(())
    }

    /// Takes a name out; gives what it stood for. The caller puts the inode back. Never needs space.
    pub fn dir_remove(&mut self, dir: &mut Inode, name: &[u8]) -> Result<DirEntry> {
        self.touch(dir.number);
        let (Place { path, leaf, .. }, Found { at, len, inode, kind, previous }) =
            self.found(dir, name)?;
        let entry = DirEntry { inode, kind };
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
