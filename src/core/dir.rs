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
use super::{Blocks, Core};
use crate::format::dirent::{self, Survey, records};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, DIR_NODE_ENTRIES, Dirent, FileKind, Geometry,
    HEADER_SIZE_BYTES, Inode, RawDirEntry, RawDirRoot, check_header,
};
use crate::store::Store;
use zerocopy::FromBytes;

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

/// An inner node on the way to a leaf, and the child taken.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) block: u32,
    pub(super) level: u32,
    pub(super) index: usize,
}

/// Where a name is in a directory, or could be.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) dir: u32,
    pub(super) name: Vec<u8>,
    pub(super) hash: u64,
    pub(super) path: Vec<Step>,
    pub(super) leaf: u32,
    pub(super) survey: Survey,
}

/// Reads one directory.
pub struct DirView<'a, B> {
    blocks: &'a B,
    key: &'a [u8; 16],
    number: u32,
    root: RawDirRoot,
}

impl<'a, B: Blocks> DirView<'a, B> {
    /// The directory of `inode`; `key` is the volume's hash key.
    pub fn new(blocks: &'a B, inode: &Inode, key: &'a [u8; 16]) -> Self {
        Self { blocks, key, number: inode.number, root: inode.dir_root() }
    }

    /// The leaf that covers `hash`, copied out, its block, and the first hash behind it.
    fn leaf(&self, hash: u64, bytes: &mut Block) -> Result<Option<(u32, u64)>> {
        self.leaf_by(hash, bytes, &mut |_| {})
    }

    /// As `leaf`; `step` gets the inner nodes on the way, from the top.
    fn leaf_by(
        &self,
        hash: u64,
        bytes: &mut Block,
        step: &mut dyn FnMut(Step),
    ) -> Result<Option<(u32, u64)>> {
        let mut block = self.root.block.get();
        if block == 0 {
            return Ok(None);
        }
        let geometry = self.blocks.geometry();
        let mut end = u64::MAX;
        for level in (1..=self.levels()?).rev() {
            check_block(&geometry, block, self.number)?;
            // Most nodes are far from full: the header tells how much there is to copy.
            self.blocks.read(block, 0, &mut bytes[..HEADER_SIZE_BYTES]);
            let used = HEADER_SIZE_BYTES + node_count(bytes, block, level, self.number)? * ENTRY;
            self.blocks.read(block, HEADER_SIZE_BYTES, &mut bytes[HEADER_SIZE_BYTES..used]);
            let entries = node_entries(bytes, block, level, self.number)?;
            let index = entries.partition_point(|e| e.hash.get() <= hash).saturating_sub(1);
            if let Some(next) = entries.get(index + 1) {
                end = next.hash.get();
            }
            step(Step { block, level, index });
            block = entries[index].child.get();
        }
        check_block(&geometry, block, self.number)?;
        self.blocks.read(block, 0, bytes);
        check_header(&bytes[..], BlockKind::DirLeaf, block, self.number)?;
        Ok(Some((block, end)))
    }

    fn levels(&self) -> Result<u32> {
        levels(&self.root, self.number)
    }

    /// What `name` stands for.
    pub fn lookup(&self, name: &[u8]) -> Result<Option<DirEntry>> {
        let hash = dirent::hash_name(self.key, name);
        let mut bytes = [0; BLOCK_SIZE];
        let Some((block, _)) = self.leaf(hash, &mut bytes)? else { return Ok(None) };
        let found = dirent::find(&bytes, hash, name, self.number, block)?;
        Ok(found.map(|record| DirEntry { inode: record.inode, kind: record.kind }))
    }

    /// Where a name is, or could be; none when the directory has no block. `bytes` takes a leaf.
    pub fn place(&self, name: &[u8], bytes: &mut Block) -> Result<Option<Place>> {
        let hash = dirent::hash_name(self.key, name);
        let mut path = Vec::new();
        let Some((leaf, _)) = self.leaf_by(hash, bytes, &mut |step| path.push(step))? else {
            return Ok(None);
        };
        let survey = dirent::survey(&bytes[..], hash, name, self.number, leaf)?;
        Ok(Some(Place { dir: self.number, name: name.to_vec(), hash, path, leaf, survey }))
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
                record.check(self.number, block)?;
                check_cookie(&record, self.number, block)?;
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

    /// Copies out the leaf that covers `from`; gives its block and the hash at which the next one begins.
    /// None when the directory has no block.
    pub fn copy_leaf(&self, from: u64, bytes: &mut Block) -> Result<Option<(u32, Option<u64>)>> {
        match self.leaf(from, bytes)? {
            None => Ok(None),
            Some((block, end)) if end != u64::MAX && end <= from => {
                Err(Corrupt::Tree { inode: self.number, block }.into())
            }
            Some((block, end)) => Ok(Some((block, (end != u64::MAX).then_some(end)))),
        }
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

impl<S: Store> Core<S> {
    /// Where a name is, or could be, in a directory; none when that has no block, or is no directory.
    ///
    /// For readers without the gate: the caller checks the stripe's sequence.
    pub fn place(&self, dir: u32, name: &[u8]) -> Result<Option<Place>> {
        let inode = self.read_inode(dir)?;
        if inode.kind != FileKind::Directory {
            return Ok(None);
        }
        let mut bytes = self.buffers.take();
        let place = DirView::new(&self.image, &inode, &self.superblock.hash_key).place(name, &mut bytes);
        self.buffers.give(bytes);
        place
    }
}

/// The hash goes to callers as a cookie, which fits an `off_t`.
fn check_cookie(record: &Dirent<'_>, inode: u32, block: u32) -> Result<()> {
    if i64::try_from(record.hash).is_ok() {
        return Ok(());
    }
    let at = u16::try_from(record.at).unwrap_or(u16::MAX);
    Err(Corrupt::Dirent { inode, block, at }.into())
}

pub(super) fn check_block(geometry: &Geometry, block: u32, inode: u32) -> Result<()> {
    if geometry.allocatable(block, 1) {
        Ok(())
    } else {
        Err(Corrupt::BlockRange { block, inode }.into())
    }
}

fn node_count(bytes: &Block, block: u32, level: u32, inode: u32) -> Result<usize> {
    let header = check_header(&bytes[..], BlockKind::DirNode, block, inode)?;
    let count = header.extra[0].get() as usize;
    if count == 0 || count > DIR_NODE_ENTRIES || header.extra[1].get() != level {
        return Err(Corrupt::Tree { inode, block }.into());
    }
    Ok(count)
}

pub(super) fn node_entries(bytes: &Block, block: u32, level: u32, inode: u32) -> Result<&[RawDirEntry]> {
    let count = node_count(bytes, block, level, inode)?;
    <[RawDirEntry]>::ref_from_bytes(&bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + count * ENTRY])
        .map_err(|_| Corrupt::Tree { inode, block }.into())
}

/// Levels of inner nodes above the leaves.
pub(super) fn levels(root: &RawDirRoot, inode: u32) -> Result<u32> {
    let level = root.level.get();
    if level > LEVELS_MAX {
        return Err(Corrupt::Tree { inode, block: 0 }.into());
    }
    Ok(level)
}
