//! Golden numbers of the format: a change here makes every volume there is unreadable.
//!
//! When a change is meant, `FORMAT_MINOR` or a feature flag says so, and docs/format.md changes too.

use crate::model::operations::fill_name;
use crate::model::volumes::{self, ROOT, directory, file};
use sabfs::format::dirent::{hash_name, name_allowed, record_len};
use sabfs::format::*;
use sabfs::store::runtime as rt;
use sabfs::vfs::Volume;
use std::mem::offset_of;
use xxhash_rust::xxh64::xxh64;
use zerocopy::IntoBytes;

#[test]
fn sizes_and_counts() {
    assert_eq!(BLOCK_SIZE, 4096);
    assert_eq!(HEADER_SIZE_BYTES, 32);
    assert_eq!(GROUP_BLOCKS, 32_512);
    assert_eq!(INODE_SIZE_BYTES, 256);
    assert_eq!(INODES_PER_BLOCK, 15);
    assert_eq!(INLINE_EXTENTS, 8);
    assert_eq!(EXTENTS_PER_NODE, 338);
    assert_eq!(DIR_NODE_ENTRIES, 338);
    assert_eq!((SYMLINK_INLINE_MAX, SYMLINK_HEAD, SYMLINK_MAX), (104, 96, 4095));
    assert_eq!(NAME_MAX, 255);
    assert_eq!((XATTRS_INLINE_MAX, XATTRS_MAX, XATTR_NAME_MAX), (64, 4064, 255));
    assert_eq!(FILE_SIZE_MAX, 17_592_186_040_320);
    assert_eq!((INO_INODE_FILE, INO_ROOT, INO_FIRST_FREE), (1, 2, 3));
    assert_eq!((FORMAT_MAJOR, FORMAT_MINOR), (1, 0));
    assert_eq!((FEATURES_COMPAT, FEATURES_RO_COMPAT, FEATURES_INCOMPAT), (0, 0, 0));
    assert_eq!([record_len(1), record_len(8), record_len(9), record_len(255)], [24, 24, 32, 272]);
    assert!(name_allowed(b"\xff") && !name_allowed(b".."));
}

#[test]
fn offsets() {
    assert_eq!(offset_of!(RawHeader, kind), 8);
    assert_eq!(offset_of!(RawHeader, block), 12);
    assert_eq!(offset_of!(RawHeader, owner), 16);
    assert_eq!(offset_of!(RawHeader, extra), 24);

    // From byte 32 of the block on.
    assert_eq!(offset_of!(RawSuperblock, compat), 8);
    assert_eq!(offset_of!(RawSuperblock, uuid), 32);
    assert_eq!(offset_of!(RawSuperblock, generation), 48);
    assert_eq!(offset_of!(RawSuperblock, image_blocks), 56);
    assert_eq!(offset_of!(RawSuperblock, inode_file_block), 60);
    assert_eq!(offset_of!(RawSuperblock, hash_key), 64);
    assert_eq!(offset_of!(RawSuperblock, created), 80);

    assert_eq!(offset_of!(RawInode, nlink), 4);
    assert_eq!(offset_of!(RawInode, size), 16);
    assert_eq!(offset_of!(RawInode, blocks), 24);
    assert_eq!(offset_of!(RawInode, atime), 32);
    assert_eq!(offset_of!(RawInode, btime), 56);
    assert_eq!(offset_of!(RawInode, generation), 64);
    assert_eq!(offset_of!(RawInode, flags), 68);
    assert_eq!(offset_of!(RawInode, change), 72);
    assert_eq!(offset_of!(RawInode, root), 80);
    assert_eq!(offset_of!(RawInode, xattr_block), 184);
    assert_eq!(offset_of!(RawInode, xattr_len), 188);
    assert_eq!(offset_of!(RawInode, xattrs), 192);

    assert_eq!(offset_of!(RawExtent, block), 4);
    assert_eq!(offset_of!(RawExtent, count), 8);
    assert_eq!(offset_of!(RawExtentRoot, level), 2);
    assert_eq!(offset_of!(RawExtentRoot, records), 8);
    assert_eq!(offset_of!(RawDirRoot, level), 4);
    assert_eq!(offset_of!(RawDirRoot, parent), 8);
    assert_eq!(offset_of!(RawDirEntry, child), 8);
    assert_eq!((size_of::<RawExtent>(), size_of::<RawDirEntry>()), (12, 12));
}

#[test]
fn kinds_of_blocks() {
    let name = |kind: BlockKind| (kind as u32).to_le_bytes();
    assert_eq!(&name(BlockKind::Superblock), b"SABF");
    assert_eq!(&name(BlockKind::Bitmap), b"BMAP");
    assert_eq!(&name(BlockKind::Inodes), b"INOD");
    assert_eq!(&name(BlockKind::Extents), b"EXTN");
    assert_eq!(&name(BlockKind::DirLeaf), b"DLEF");
    assert_eq!(&name(BlockKind::DirNode), b"DNOD");
    assert_eq!(&name(BlockKind::Symlink), b"SYML");
    assert_eq!(&name(BlockKind::Xattrs), b"XATR");
}

#[test]
fn hashes() {
    assert_eq!(hash_name(&[7; 16], b"name"), HASH_OF_NAME);
    let mut block = [0; BLOCK_SIZE];
    init_header(&mut block, BlockKind::DirLeaf, 5, 2);
    seal(&mut block);
    assert_eq!(block[..8], SEAL.to_le_bytes());
}

/// A small volume made with a fixed clock and fixed random numbers, byte for byte.
#[test]
fn images() {
    let volume = Volume::format(volumes::store(64), 1, || 1_700_000_000_000_000_000, [7; 32]).unwrap();
    assert_eq!(xxh64(&volumes::sealed_image(&volume), 0), EMPTY_IMAGE);
}

/// Records as bytes, where the image of an empty volume has none.
#[test]
fn records_as_bytes() {
    let mut leaf = [0; BLOCK_SIZE];
    dirent::put(&mut leaf, 32, 4064, 0x0102_0304_0506_0708, 9, FileKind::Symlink, b"name");
    assert_eq!(leaf[32..52], *b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\xe0\x0f\x04\x0aname");
    let extent = Extent { file_block: 1, block: 0x0203, count: 4 };
    assert_eq!(extent.raw().as_bytes(), b"\x01\0\0\0\x03\x02\0\0\x04\0\0\0");

    let key = XattrKey::split(b"trusted.a").unwrap();
    let mut list = [0; 64];
    assert_eq!(replace_xattr(b"", &key, Some(b"val"), 9, &mut list), Ok(Some(8)));
    assert_eq!(list[..8], *b"\x02\x01\x03\0aval");
    assert_eq!(Namespace::ALL.map(|namespace| namespace as u8), [1, 2, 3, 4, 5]);

    let volume = volumes::volume(64);
    let large = volume.create(ROOT, b"large", &directory()).unwrap().ino;
    for number in 0..20 {
        volume.create(large, &fill_name(number, true), &file()).unwrap();
    }
    let root = volume.core().read_inode(large).unwrap().dir_root();
    assert_eq!((root.level.get(), root.parent.get()), (1, ROOT));
    let mut node = [0; BLOCK_SIZE];
    volume.image().read_block(root.block.get(), &mut node);
    let header = check_header(&node, BlockKind::DirNode, root.block.get(), large).unwrap();
    assert_eq!(header.extra.map(|word| word.get()), [2, 1], "two leaves, level 1");
    assert_eq!(node[32..40], [0; 8], "the first leaf covers everything before it");
}

/// The runtime region is not persistent, but programs of different builds may share a store.
#[test]
fn runtime_region() {
    assert_eq!(
        (rt::STRIPES, rt::REDO, rt::OPEN_TABLE, rt::BITMAPS),
        (12_288, 32_768, 1_081_344, 1_212_416)
    );
    assert_eq!(rt::image_base_blocks(262_144), 344);
    assert_eq!(rt::store_size_bytes(262_144), 1_075_150_848);
}

const HASH_OF_NAME: u64 = 2_666_989_163_432_347_184;
const SEAL: u64 = 0x5619_a8b9_bd3e_5ebd;
const EMPTY_IMAGE: u64 = 5_462_580_466_660_216_729;
