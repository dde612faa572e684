//! A sound volume with something of everything, and ways to damage it.

use super::volumes::{HeapVolume, ROOT, directory, file, volume};
use sabfs::core::{Core, DirEntry, Image, Mapping, Txn, extent};
use sabfs::format::dirent::records;
use sabfs::format::{BLOCK_SIZE, Block, FileKind, INODE_SIZE_BYTES, Inode, RawInode};
use sabfs::store::runtime as rt;
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{Ino, XattrFlags};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// A sound volume with something of everything.
pub struct Sample {
    pub volume: HeapVolume,
    /// In the root, with a name for `file` and one for `inner`. Has attributes in a block.
    pub outer: Ino,
    pub inner: Ino,
    /// Two and a half blocks. Has attributes in its inode.
    pub file: Ino,
    /// More extents than its inode holds.
    pub scattered: Ino,
    /// A target that needs a block.
    pub symlink: Ino,
    /// More names than a leaf holds.
    pub large: Ino,
}

impl Sample {
    pub fn new() -> Self {
        let volume = volume(1_000);
        let create = |dir, name: &[u8], new| volume.create(dir, name, &new).unwrap().ino;
        let outer = create(ROOT, b"outer", directory());
        let inner = create(outer, b"inner", directory());
        let regular = create(outer, b"file", file());
        volume.write(regular, 0, &[7; 10_000]).unwrap();
        let scattered = create(ROOT, b"scattered", file());
        for at in 0..20 {
            volume.write(scattered, at * 8192, b"part").unwrap();
        }
        let symlink = volume.symlink(ROOT, b"symlink", &[b't'; 500], 0, 0).unwrap().ino;
        let large = create(ROOT, b"large", directory());
        for number in 0..200 {
            create(
                large,
                format!("a long name, for there to be several leaves {number}").as_bytes(),
                file(),
            );
        }
        for (ino, value) in [(regular, &[b'v'; 5][..]), (outer, &[b'v'; 500])] {
            for name in [&b"user.one"[..], b"trusted.two"] {
                volume.set_xattr(ino, name, value, XattrFlags::empty()).unwrap();
            }
        }
        Self { volume, outer, inner, file: regular, scattered, symlink, large }
    }

    pub fn core(&self) -> &Core<Arc<HeapStore>> {
        self.volume.core()
    }

    pub fn image(&self) -> &Image<Arc<HeapStore>> {
        self.volume.image()
    }

    pub fn edit_block(&self, block: u32, edit: impl FnOnce(&mut Block)) {
        let mut bytes = [0; BLOCK_SIZE];
        self.image().read_block(block, &mut bytes);
        edit(&mut bytes);
        self.image().write(block, 0, &bytes);
    }

    pub fn edit_inode(&self, ino: Ino, edit: impl FnOnce(&mut RawInode)) {
        let slot = self.core().locate(ino).unwrap();
        self.edit_block(slot.block, |bytes| {
            let range = slot.at..slot.at + INODE_SIZE_BYTES;
            let mut raw = RawInode::read_from_bytes(&bytes[range.clone()]).unwrap();
            edit(&mut raw);
            bytes[range].copy_from_slice(raw.as_bytes());
        });
    }

    pub fn inode(&self, ino: Ino) -> Inode {
        self.core().read_inode(ino).unwrap()
    }

    /// The block of a file's first byte.
    pub fn first_block(&self, ino: Ino) -> u32 {
        match extent::map(self.image(), &self.inode(ino), 0).unwrap() {
            Mapping::Run { block, .. } => block,
            Mapping::Hole { .. } => panic!("no block"),
        }
    }

    /// Root block of a directory's or of an extent tree.
    pub fn root_block(&self, ino: Ino) -> u32 {
        match self.inode(ino).kind {
            FileKind::Directory => self.inode(ino).dir_root().block.get(),
            _ => self.inode(ino).extent_root().records[0].block.get(),
        }
    }

    /// Sets a block's bit in the bitmap, or clears it; the counter of free blocks follows.
    pub fn mark(&self, block: u32, used: bool) {
        let bit = block - 2;
        self.edit_block(2, |bytes| {
            let (at, mask) = (32 + bit as usize / 8, 1 << (bit % 8));
            bytes[at] = if used { bytes[at] | mask } else { bytes[at] & !mask };
        });
        let change = if used { u32::MAX } else { 1 };
        self.image().store().fetch_add(rt::FREE_BLOCKS, change);
    }

    pub fn free_block(&self) -> u32 {
        let mut bytes = [0; BLOCK_SIZE];
        self.image().read_block(2, &mut bytes);
        (0..900).rev().find(|bit| bytes[32 + bit / 8] >> (bit % 8) & 1 == 0).unwrap() as u32 + 2
    }

    pub fn transaction(&self, change: impl FnOnce(&mut Txn<'_, Arc<HeapStore>>)) {
        let mut txn = Txn::begin(self.core());
        change(&mut txn);
        txn.commit().unwrap();
    }

    /// Enters a name without a thought for what it leads to.
    pub fn enter(&self, dir: Ino, name: &[u8], inode: Ino, kind: FileKind) {
        self.transaction(|txn| {
            let mut directory = txn.inode(dir).unwrap();
            txn.dir_insert(&mut directory, name, DirEntry { inode, kind }).unwrap();
            txn.put_inode(&directory).unwrap();
        });
    }

    pub fn add_links(&self, ino: Ino, count: u32) {
        self.edit_inode(ino, |raw| raw.nlink = raw.nlink.get().wrapping_add(count).into());
    }

    /// Offsets of the used records of a leaf.
    pub fn record_offsets(&self, leaf: u32, dir: Ino) -> Vec<usize> {
        let mut bytes = [0; BLOCK_SIZE];
        self.image().read_block(leaf, &mut bytes);
        records(&bytes, dir, leaf).map(Result::unwrap).filter(|r| r.inode != 0).map(|r| r.at).collect()
    }

    /// The inode table's first block lies where no superblock says.
    pub fn move_table(&self) {
        let mut bytes = [0; BLOCK_SIZE];
        self.image().read_block(3, &mut bytes);
        let other = self.free_block();
        self.image().write(other, 0, &bytes);
        self.edit_inode(1, |raw| raw.root[12..16].copy_from_slice(&other.to_le_bytes()));
        self.mark(other, true);
        self.mark(3, false);
    }

    /// Says that a directory's parent is another one.
    pub fn set_parent(&self, ino: Ino, parent: Ino) {
        self.edit_inode(ino, |raw| raw.root[8..12].copy_from_slice(&parent.to_le_bytes()));
    }

    /// `outer`, which has lost its name in the root, gets one in a directory below it.
    pub fn close_loop(&self) {
        self.transaction(|txn| {
            let mut root = txn.inode(ROOT).unwrap();
            txn.dir_remove(&mut root, b"outer").unwrap();
            txn.put_inode(&root).unwrap();
        });
        self.add_links(ROOT, u32::MAX);
        self.enter(self.inner, b"outer", self.outer, FileKind::Directory);
        self.add_links(self.inner, 1);
        self.set_parent(self.outer, self.inner);
    }

    /// A directory has a name twice. Gives the second one's block and place in it.
    pub fn repeat_name(&self) -> (u32, u16) {
        self.volume.create(self.inner, b"one", &file()).unwrap();
        self.volume.create(self.inner, b"two", &file()).unwrap();
        let block = self.root_block(self.inner);
        let offsets = self.record_offsets(block, self.inner);
        let [one, two] = offsets[..] else { panic!("{offsets:?}") };
        self.edit_block(block, |bytes| {
            bytes.copy_within(one..one + 8, two);
            bytes.copy_within(one + 16..one + 19, two + 16);
        });
        (block, two as u16)
    }
}
