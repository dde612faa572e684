//! Making an empty volume, and taking a loaded image into use.

use super::ends::{self, Remains};
use super::error::Result;
use super::inodes::{for_each_table_block, inode_in};
use super::{Core, Image, Txn, XattrList, count_free, extent};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, Extent, FileKind, Geometry, HEADER_SIZE_BYTES,
    INO_FIRST_FREE, INO_INODE_FILE, INO_ROOT, INODE_SIZE_BYTES, INODES_PER_BLOCK, Inode, RawDirRoot,
    RawExtentRoot, RawInode, SYMLINK_INLINE_MAX, Superblock, SuperblockError, check_header,
    check_xattrs, init_header, verify,
};
use crate::store::Store;
use crate::store::runtime as rt;
use std::collections::HashSet;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

const FIRST_BITMAP: u32 = 2;
const FIRST_INODES: u32 = 3;

/// Blocks of a new volume, unless the store is smaller: 16 MiB. The volume grows when it is full, so
/// that the image file is never much larger than what was in it at once.
const NEW_BLOCKS: u32 = 4096;

/// Makes an empty volume, which grows up to the store's capacity. `random`: 16 bytes of uuid, 16 of hash key.
pub fn format<S: Store>(image: Image<S>, now_ns: i64, random: [u8; 32]) -> Result<Core<S>> {
    let geometry = Geometry::new(image.capacity_blocks().min(NEW_BLOCKS)).ok_or(Errno::EINVAL)?;
    let mut halves = random.as_chunks::<16>().0.iter();
    let superblock = Superblock {
        uuid: *halves.next().unwrap_or(&[0; 16]),
        generation: 1,
        geometry,
        inode_file_block: FIRST_INODES,
        hash_key: *halves.next().unwrap_or(&[0; 16]),
        created: now_ns,
        read_only: false,
    };
    let core = Core::new(image, superblock);
    let image = &core.image;
    let put = |block: u32, bytes: &Block| {
        image.write(block, 0, bytes);
        image.mark_dirty(block, true);
    };
    let mut bytes = Box::new([0; BLOCK_SIZE]);
    for copy in 0..2 {
        superblock.encode(&mut bytes, copy);
        put(copy, &bytes);
    }
    for group in 0..geometry.groups() {
        let start = geometry.group_start(group);
        init_header(&mut bytes, BlockKind::Bitmap, start, 0);
        let taken = if start == FIRST_BITMAP { FIRST_INODES - FIRST_BITMAP + 1 } else { 1 };
        let bits = &mut bytes[HEADER_SIZE_BYTES..];
        for bit in (0..taken).chain(geometry.group_len(group)..crate::format::GROUP_BLOCKS) {
            bits[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        put(start, &bytes);
    }
    init_header(&mut bytes, BlockKind::Inodes, FIRST_INODES, INO_INODE_FILE);
    // Inode 0 is never used and its slot is taken, so that no search finds it.
    bytes[24..28].copy_from_slice(&0b111_u32.to_le_bytes());
    for inode in [unused_inode(now_ns), table_inode(now_ns), root_inode(now_ns)] {
        let at = (inode.number as usize + 1) * INODE_SIZE_BYTES;
        bytes[at..at + INODE_SIZE_BYTES].copy_from_slice(inode.raw.as_bytes());
    }
    put(FIRST_INODES, &bytes);
    finish(&core, 2);
    Ok(core)
}

fn blank(number: u32, kind: FileKind, permissions: u32, now_ns: i64) -> Inode {
    let mut raw = RawInode::new_zeroed();
    raw.mode = U32::new(kind.mode_bits() | permissions);
    raw.nlink = U32::new(1);
    raw.generation = U32::new(1);
    for time in [&mut raw.atime, &mut raw.mtime, &mut raw.ctime, &mut raw.btime] {
        *time = now_ns.into();
    }
    Inode { number, kind, raw }
}

fn unused_inode(now_ns: i64) -> Inode {
    blank(0, FileKind::Regular, 0, now_ns)
}

fn table_inode(now_ns: i64) -> Inode {
    let mut inode = blank(INO_INODE_FILE, FileKind::Regular, 0, now_ns);
    inode.raw.size = (BLOCK_SIZE as u64).into();
    inode.raw.blocks = 1.into();
    let mut root = RawExtentRoot { count: U16::new(1), ..Default::default() };
    root.records[0] = Extent { file_block: 0, block: FIRST_INODES, count: 1 }.raw();
    inode.set_extent_root(&root);
    inode
}

fn root_inode(now_ns: i64) -> Inode {
    let mut inode = blank(INO_ROOT, FileKind::Directory, 0o777, now_ns);
    inode.raw.nlink = U32::new(2);
    inode.set_dir_root(&RawDirRoot { parent: U32::new(INO_ROOT), ..Default::default() });
    inode
}

fn finish<S: Store>(core: &Core<S>, used_inodes: u32) {
    let store = core.image.store();
    store.store(rt::FREE_BLOCKS, count_free(&core.image));
    store.store(rt::USED_INODES, used_inodes);
    store.store(rt::INODE_HINT, 0);
    store.store(rt::RUN_HINT, FIRST_BITMAP);
    store.store(rt::FIRST_FREE, FIRST_BITMAP);
    if core.superblock.read_only {
        store.store(rt::READ_ONLY, 1);
    }
}

/// Why a loaded image cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The superblock.
    Superblock(SuperblockError),
    /// Anything behind it.
    Core(super::Error),
    /// The image needs a larger store.
    Capacity {
        /// Blocks that the volume has.
        needed_blocks: u32,
    },
}

impl LoadError {
    /// What callers see.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Superblock(error) => error.errno(),
            Self::Core(error) => error.errno(),
            Self::Capacity { .. } => Errno::EFBIG,
        }
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Superblock(error) => error.fmt(f),
            Self::Core(error) => error.fmt(f),
            Self::Capacity { needed_blocks } => write!(
                f,
                "the capacity is too small for this volume: give {} bytes or more",
                u64::from(*needed_blocks) * BLOCK_SIZE as u64
            ),
        }
    }
}

impl From<super::Error> for LoadError {
    fn from(error: super::Error) -> Self {
        Self::Core(error)
    }
}

impl From<Corrupt> for LoadError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Core(corrupt.into())
    }
}

/// Takes an image that lies in the store into use: checks every metadata block's seal and place,
/// clears what lies behind files' ends, frees orphans unless the volume is only read, counts what is free. Nobody else uses
/// the store yet.
pub fn load<S: Store>(image: Image<S>) -> std::result::Result<Core<S>, LoadError> {
    let mut copies = [[0; BLOCK_SIZE]; 2];
    for (block, copy) in (0..).zip(&mut copies) {
        image.read_block(block, copy);
    }
    let superblock = Superblock::choose([&copies[0], &copies[1]]).map_err(LoadError::Superblock)?;
    let needed_blocks = superblock.geometry.image_blocks();
    if needed_blocks > image.capacity_blocks() {
        return Err(LoadError::Capacity { needed_blocks });
    }
    let core = Core::new(image, superblock);
    let mut seals = Seals::new(&core);
    let (used, orphans) = seals.check_all()?;
    seals.clear_ends()?;
    finish(&core, used.saturating_sub(1));
    if core.image.store().load(rt::READ_ONLY) != 0 {
        // The next mount that may write frees the orphans.
        return Ok(core);
    }
    for ino in orphans {
        let mut txn = Txn::begin(&core);
        txn.release_inode(ino)?;
        txn.commit()?;
    }
    Ok(core)
}

/// Clears what lies behind files' ends, as [`load`] does, and gives the number of blocks. Of a damaged volume it touches nothing.
pub fn clear_ends<S: Store>(core: &Core<S>) -> Result<usize> {
    let mut seals = Seals::new(core);
    seals.check_all()?;
    seals.clear_ends()
}

/// Compares the seals of all metadata blocks, and looks behind the files' ends. That each block is met once bounds the walk even when
/// the trees of a damaged image run in circles.
struct Seals<'a, S: Store> {
    core: &'a Core<S>,
    seen: HashSet<u32>,
    remains: Vec<Remains>,
}

impl<'a, S: Store> Seals<'a, S> {
    fn new(core: &'a Core<S>) -> Self {
        Self { core, seen: HashSet::new(), remains: Vec::new() }
    }

    /// Clears what was found behind the files' ends; gives the number of blocks.
    fn clear_ends(mut self) -> Result<usize> {
        // Of an image whose files are in each other's way.
        self.remains.retain(|remains| !self.seen.contains(&remains.block));
        ends::clear(&self.core.image, &self.remains)?;
        Ok(self.remains.len())
    }

    fn block(&mut self, block: u32, inode: u32) -> Result<Box<Block>> {
        if !self.seen.insert(block) {
            return Err(Corrupt::BlockRange { block, inode }.into());
        }
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        self.core.image.read_block(block, &mut bytes);
        if !verify(&bytes) {
            return Err(Corrupt::Hash { block }.into());
        }
        Ok(bytes)
    }

    /// Number of inodes in use, and the orphans.
    fn check_all(&mut self) -> Result<(u32, Vec<u32>)> {
        let geometry = self.core.image.geometry();
        for group in 0..geometry.groups() {
            let start = geometry.group_start(group);
            let bytes = self.block(start, 0)?;
            check_header(&bytes[..], BlockKind::Bitmap, start, 0)?;
        }
        let (mut used, mut orphans) = (0, Vec::new());
        let mut inodes = Vec::new();
        // The table's own tree is checked as any other, and its blocks as they are met.
        for_each_table_block(self.core, &mut |table, bytes| {
            if !verify(bytes) {
                return Err(Corrupt::Hash { block: table.block }.into());
            }
            used += table.used.count_ones();
            for slot in (0..INODES_PER_BLOCK).filter(|slot| table.used >> slot & 1 == 1) {
                let ino = table.part * INODES_PER_BLOCK + slot;
                if ino == 0 {
                    continue;
                }
                let inode = inode_in(bytes, ino, &geometry)?;
                if table.orphans >> slot & 1 == 1 {
                    // It is about to be freed: better no mount than a lost file.
                    if ino < INO_FIRST_FREE || inode.raw.nlink.get() != 0 {
                        return Err(Corrupt::InodeField { inode: ino, field: "nlink" }.into());
                    }
                    orphans.push(ino);
                }
                inodes.push(inode);
            }
            Ok(())
        })?;
        let root = inodes.iter().find(|inode| inode.number == INO_ROOT);
        if root.is_none_or(|root| root.kind != FileKind::Directory) {
            return Err(Corrupt::InodeField { inode: INO_ROOT, field: "mode" }.into());
        }
        for inode in &inodes {
            self.inode(inode)?;
        }
        Ok((used, orphans))
    }

    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let core = self.core;
        match inode.kind {
            FileKind::Directory => {
                let view = super::DirView::new(&core.image, inode, &core.superblock.hash_key);
                view.walk(&mut |block, _, _| self.block(block, inode.number).map(drop))?;
            }
            FileKind::Regular => extent::walk(&core.image, inode, &mut |visit| match visit {
                extent::Visit::Node(block) => self.block(block, inode.number).map(drop),
                extent::Visit::Extent(extent) => {
                    if inode.number != INO_INODE_FILE {
                        ends::find(&core.image, inode, extent, &mut |found| self.remains.push(found));
                    }
                    Ok(())
                }
            })?,
            FileKind::Symlink if inode.raw.size.get() > SYMLINK_INLINE_MAX as u64 => {
                self.owned(inode.symlink_block(), BlockKind::Symlink, inode.number)?;
            }
            _ => {}
        }
        self.xattrs(inode)
    }

    fn xattrs(&mut self, inode: &Inode) -> Result<()> {
        let block = inode.raw.xattr_block.get();
        if block == 0 && inode.raw.xattr_len.get() == 0 {
            return Ok(());
        }
        let list = if block == 0 {
            XattrList::read(&self.core.image, inode)?
        } else {
            super::dir::check_block(&self.core.image.geometry(), block, inode.number)?;
            XattrList::of_block(self.block(block, inode.number)?, inode)?
        };
        Ok(check_xattrs(list.as_bytes(), inode.number)?)
    }

    /// A block that an inode names without a tree.
    fn owned(&mut self, block: u32, kind: BlockKind, inode: u32) -> Result<()> {
        super::dir::check_block(&self.core.image.geometry(), block, inode)?;
        let bytes = self.block(block, inode)?;
        check_header(&bytes[..], kind, block, inode)?;
        Ok(())
    }
}
