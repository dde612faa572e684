//! The file system proper: blocks, inodes, extents and directories of one image, under its gate.

mod alloc;
mod bits;
mod buffers;
pub mod check;
mod dir;
mod dir_edit;
mod edited;
mod ends;
mod error;
pub mod extent;
mod extent_edit;
mod grow;
mod image;
mod inode_map;
pub mod inodes;
mod load;
pub mod log;
mod redo;
mod release;
pub mod rules;
mod settle;
mod sweep;
mod txn;
mod xattr;

pub use alloc::{Space, count_free};
pub use dir::{DirEntry, DirView, Place};
pub use error::{Error, Result};
pub use extent::{Mapping, map};
pub use grow::{largest, read_superblock, usable_blocks};
pub use image::{GATE_TIMEOUT_MS, Image};
pub use inodes::InodeSlot;
pub use load::{LoadError, clear_ends, format, load};
pub use log::Note;
pub use redo::InPlace;
#[cfg(test)]
pub(crate) use redo::Room;
pub use txn::{Run, Txn, make_even, make_odd, stripe_seq};
pub use xattr::XattrList;

use crate::format::{Geometry, Superblock};
use crate::store::Store;
use buffers::Buffers;
use inode_map::InodeMap;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU32;

/// Something that blocks can be read from: the image as all see it, or a transaction's view of it.
pub trait Blocks {
    /// Copies bytes of a block out; the caller has checked the block number.
    fn read(&self, block: u32, at: usize, buffer: &mut [u8]);
    /// The volume's shape.
    fn geometry(&self) -> Geometry;
}

impl<S: Store> Blocks for Image<S> {
    fn read(&self, block: u32, at: usize, buffer: &mut [u8]) {
        Image::read(self, block, at, buffer);
    }

    fn geometry(&self) -> Geometry {
        Image::geometry(self)
    }
}

/// One client's view of a volume: the image and what this process remembers of it.
pub struct Core<S> {
    /// The image.
    pub image: Image<S>,
    /// The superblock as it was when this client attached.
    pub superblock: Superblock,
    inode_map: InodeMap,
    buffers: Buffers,
    /// Blocks that the image file needs room for before the operation that failed last can succeed.
    room_needed: AtomicU32,
    spare_lists: Mutex<Option<txn::Lists>>,
}

impl<S: Store> Core<S> {
    /// A view of the image, whose superblock has been checked.
    pub fn new(image: Image<S>, superblock: Superblock) -> Self {
        image.set_geometry(superblock.geometry);
        Self {
            image,
            superblock,
            inode_map: InodeMap::default(),
            buffers: Buffers::default(),
            room_needed: AtomicU32::new(0),
            spare_lists: Mutex::default(),
        }
    }
}
