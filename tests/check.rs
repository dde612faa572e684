//! The check finds each kind of damage, and nothing else: every test plants one into a sound volume.

use crate::model::sample::Sample;
use crate::model::volumes::{self, ROOT, file, volume};
use sabfs::core::check::{Finding, Severity, check, check_sealed};
use sabfs::core::{Core, DirEntry, Image, Mapping, map};
use sabfs::errno::Errno;
use sabfs::format::dirent::records;
use sabfs::format::{BLOCK_SIZE, BlockKind, Corrupt, FileKind, Inode, RawInode, Superblock};
use sabfs::store::Store;
use sabfs::store::runtime as rt;
use sabfs::vfs::{AllocateMode, Volume, XattrFlags};
use zerocopy::FromZeros;

impl Sample {
    /// The check finds this, and nothing else.
    #[track_caller]
    pub fn expect(&self, finding: Finding) {
        let report = check(self.core());
        assert_eq!(report.findings, [finding], "{report}");
        assert_eq!(report.worst(), Some(finding.severity()));
    }
}

fn raw_zero() -> RawInode {
    RawInode::new_zeroed()
}

#[test]
fn sound_volumes_have_no_findings() {
    for blocks in [16, 40_000] {
        assert!(check(volume(blocks).core()).is_clean());
    }
    let sample = Sample::new();
    let report = check(sample.core());
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.inodes, report.names), (208, 206));
    assert_eq!(report.worst(), None);
    // Somebody holds an inode without a name: nothing is wrong with that.
    sample.volume.hold(sample.file).unwrap();
    sample.volume.unlink(sample.outer, b"file").unwrap();
    assert!(check(sample.core()).is_clean());
}

#[test]
fn superblocks() {
    let sample = Sample::new();
    sample.edit_block(1, |bytes| bytes[100] ^= 1);
    sample.expect(Finding::SuperblockCopy { copy: 1 });
    sample.edit_block(0, |bytes| bytes.fill(0));
    sample.expect(Finding::NoSuperblock);
    assert_eq!(check(sample.core()).worst(), Some(Severity::Fatal));
}

#[test]
fn table() {
    let sample = Sample::new();
    sample.edit_inode(1, |raw| raw.size = 4097.into());
    sample.expect(Finding::Table(Corrupt::InodeField { inode: 1, field: "size" }));
}

#[test]
fn no_table() {
    let sample = Sample::new();
    let capacity_blocks = sample.volume.image().capacity_blocks();
    let mut image = volumes::sealed_image(&sample.volume);
    image[3 * BLOCK_SIZE..4 * BLOCK_SIZE].fill(0);
    let store = volumes::store_of_image(&image, capacity_blocks);
    let refused = Volume::load(store, 1, volumes::now).err().unwrap().to_string();
    assert!(refused.contains("mode of inode 1"), "{refused}");
    sample.edit_inode(1, |raw| raw.mode = 0.into());
    sample.expect(Finding::Table(Corrupt::InodeField { inode: 1, field: "mode" }));
}

#[test]
fn table_start() {
    let sample = Sample::new();
    sample.move_table();
    sample.expect(Finding::TableStart { block: 3 });
}

#[test]
fn root() {
    let sample = Sample::new();
    sample.edit_inode(ROOT, |raw| raw.mode = 0o100_777.into());
    sample.expect(Finding::NoRoot);
}

#[test]
fn seals() {
    let sample = Sample::new();
    let sealed = volumes::sealed_image(&sample.volume);
    let check_bytes = |bytes: &[u8]| {
        let image = Image::attach(volumes::store_of_image(bytes, 1_000), 1).unwrap();
        let mut copy = [0; BLOCK_SIZE];
        image.read_block(0, &mut copy);
        check_sealed(&Core::new(image, Superblock::check(&copy, 0).unwrap())).findings
    };
    assert_eq!(check_bytes(&sealed), []);
    let blocks = [
        (2, 0),
        (3, 1),
        (sample.root_block(sample.scattered), sample.scattered),
        (sample.root_block(sample.large), sample.large),
        (sample.root_block(ROOT), ROOT),
        (sample.inode(sample.symlink).symlink_block(), sample.symlink),
        (sample.inode(sample.outer).raw.xattr_block.get(), sample.outer),
    ];
    for (block, inode) in blocks {
        let mut bytes = sealed.clone();
        // The header's spare word, which nothing else looks at.
        bytes[block as usize * BLOCK_SIZE + 20] ^= 1;
        assert_eq!(check_bytes(&bytes), [Finding::Seal { block, inode }]);
    }
    // In memory seals are stale, and nobody looks.
    assert!(check(sample.core()).is_clean());
}

#[test]
fn malformed_blocks() {
    let sample = Sample::new();
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[8] ^= 1);
    sample.expect(Finding::Structure(Corrupt::Kind { block, expected: BlockKind::DirLeaf }));

    let sample = Sample::new();
    let block = sample.root_block(sample.scattered);
    sample.edit_block(block, |bytes| bytes[12] ^= 1);
    sample.expect(Finding::Structure(Corrupt::Misplaced { block, says: block ^ 1 }));

    let sample = Sample::new();
    let block = sample.root_block(sample.large);
    sample.edit_block(block, |bytes| bytes[16] ^= 1);
    sample.expect(Finding::Structure(Corrupt::Owner { block, inode: sample.large }));

    let sample = Sample::new();
    sample.edit_block(2, |bytes| bytes[12] = 9);
    sample.expect(Finding::Structure(Corrupt::Misplaced { block: 2, says: 9 }));
}

/// A record before its leaf's key: a lookup goes to the leaf before it and finds a hole.
#[test]
fn extents_that_cannot_be_found() {
    let sample = Sample::new();
    for at in 20..345 {
        sample.volume.write(sample.scattered, at * 8192, b"part").unwrap();
    }
    let root = sample.inode(sample.scattered).extent_root().records;
    let (key, block) = (root[1].file_block.get(), root[1].block.get());
    assert!(check(sample.core()).is_clean() && key > 0);
    // The entry is the root's second one, behind 8 bytes and the first.
    sample
        .edit_inode(sample.scattered, |raw| raw.root[20..24].copy_from_slice(&(key + 1).to_le_bytes()));
    sample.expect(Finding::Structure(Corrupt::Tree { inode: sample.scattered, block }));
}

#[test]
fn malformed_records() {
    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.flags = 2.into());
    sample.expect(Finding::Structure(Corrupt::InodeField { inode: sample.file, field: "flags" }));

    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.root[12..16].copy_from_slice(&2_u32.to_le_bytes()));
    sample.expect(Finding::Structure(Corrupt::BlockRange { block: 2, inode: sample.file }));

    // Two extents change places.
    let sample = Sample::new();
    let block = sample.root_block(sample.scattered);
    sample.edit_block(block, |bytes| bytes[32..56].rotate_left(12));
    sample.expect(Finding::Structure(Corrupt::Tree { inode: sample.scattered, block }));

    // So do two entries of a directory's node.
    let sample = Sample::new();
    let block = sample.root_block(sample.large);
    sample.edit_block(block, |bytes| bytes[32..56].rotate_left(12));
    sample.expect(Finding::Structure(Corrupt::Tree { inode: sample.large, block }));

    let sample = Sample::new();
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[44] = 3);
    let at = 32;
    sample.expect(Finding::Structure(Corrupt::Dirent { inode: ROOT, block, at }));
}

#[test]
fn blocks_used_twice() {
    let sample = Sample::new();
    let block = sample.first_block(sample.scattered);
    sample.edit_inode(sample.file, |raw| raw.root[12..16].copy_from_slice(&block.to_le_bytes()));
    let (inode, other) = (sample.scattered, sample.file);
    sample.expect(Finding::BlockTwice { block, inode, other });
}

#[test]
fn bitmaps() {
    let sample = Sample::new();
    let block = sample.first_block(sample.file);
    sample.mark(block, false);
    sample.expect(Finding::BlockNotMarked { block, inode: sample.file });

    let sample = Sample::new();
    let block = sample.free_block();
    sample.mark(block, true);
    sample.mark(block - 1, true);
    sample.expect(Finding::BlocksLeaked { block: block - 1, count: 2 });

    let sample = Sample::new();
    sample.edit_block(2, |bytes| bytes[BLOCK_SIZE - 1] = 0x7f);
    sample.expect(Finding::BitmapTail { group: 0 });
}

#[test]
fn block_counts() {
    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.blocks = 4.into());
    sample.expect(Finding::BlockCount { inode: sample.file, says: 4, found: 3 });
    let sample = Sample::new();
    sample.edit_inode(sample.scattered, |raw| raw.blocks = 20.into());
    sample.expect(Finding::BlockCount { inode: sample.scattered, says: 20, found: 21 });
}

#[test]
fn behind_the_end() {
    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.size = 4096.into());
    sample.expect(Finding::BehindEnd { inode: sample.file, file_block: 1 });

    let sample = Sample::new();
    let block = sample.first_block(sample.file) + 2;
    sample.edit_block(block, |bytes| bytes[10_000 - 8192] = 1);
    sample.expect(Finding::DirtyTail { inode: sample.file, block });
}

#[test]
fn inline_data() {
    let small = |sample: &Sample| {
        let ino = sample.volume.create(ROOT, b"small", &file()).unwrap().ino;
        sample.volume.write(ino, 0, b"bytes").unwrap();
        assert!(check(sample.core()).is_clean());
        ino
    };
    let sample = Sample::new();
    let inode = small(&sample);
    sample.edit_inode(inode, |raw| raw.root[5] = 1);
    sample.expect(Finding::DirtyInline { inode });

    let sample = Sample::new();
    let inode = small(&sample);
    sample.edit_inode(inode, |raw| raw.root[103] = 1);
    sample.expect(Finding::DirtyInline { inode });

    let sample = Sample::new();
    let inode = small(&sample);
    sample.edit_inode(inode, |raw| raw.size = 105.into());
    sample.expect(Finding::Structure(Corrupt::InodeField { inode, field: "size" }));

    let sample = Sample::new();
    let inode = small(&sample);
    sample.edit_inode(inode, |raw| raw.blocks = 1.into());
    sample.expect(Finding::BlockCount { inode, says: 1, found: 0 });

    let inline = |raw: &mut RawInode| raw.flags = 1.into();
    let sample = Sample::new();
    sample.edit_inode(sample.symlink, inline);
    let finding = Corrupt::InodeField { inode: sample.symlink, field: "flags" };
    sample.expect(Finding::Structure(finding));

    let sample = Sample::new();
    sample.edit_inode(1, inline);
    sample.expect(Finding::Table(Corrupt::InodeField { inode: 1, field: "flags" }));
}

/// Blocks behind the end are reserved for the file, but they hold nothing.
#[test]
fn reserved_blocks() {
    let sample = Sample::new();
    sample.volume.allocate(sample.file, AllocateMode::KEEP_SIZE, 0, 40_960).unwrap();
    assert!(check(sample.core()).is_clean());
    let inode = sample.inode(sample.file);
    let Mapping::Run { block, .. } = map(sample.image(), &inode, 5).unwrap() else { panic!("a hole") };
    sample.edit_block(block, |bytes| bytes[4095] = 1);
    sample.expect(Finding::BehindEnd { inode: sample.file, file_block: 5 });
}

#[test]
fn slots() {
    let sample = Sample::new();
    let free = sample.volume.create(ROOT, b"last", &file()).unwrap().ino;
    sample.volume.unlink(ROOT, b"last").unwrap();
    assert!(check(sample.core()).is_clean());
    sample.edit_inode(free, |raw| raw.uid = 1.into());
    sample.expect(Finding::FreeSlot { inode: free });
}

#[test]
fn inodes_without_names() {
    let sample = Sample::new();
    let mut inode = 0;
    sample.transaction(|txn| {
        let (number, _) = txn.allocate_inode().unwrap();
        inode = number;
        let mut raw = raw_zero();
        raw.mode = 0o100_644.into();
        raw.nlink = 1.into();
        txn.put_inode(&Inode { number, kind: FileKind::Regular, raw }).unwrap();
    });
    sample.expect(Finding::Unnamed { inode });
    // Without a link but without the mark, too: no mount would ever free it.
    sample.edit_inode(inode, |raw| raw.nlink = 0.into());
    sample.expect(Finding::Unnamed { inode });
    sample.transaction(|txn| txn.set_orphan(inode, true).unwrap());
    assert!(check(sample.core()).is_clean());
}

#[test]
fn orphans() {
    let sample = Sample::new();
    sample.transaction(|txn| txn.set_orphan(sample.file, true).unwrap());
    sample.expect(Finding::OrphanNamed { inode: sample.file });

    let sample = Sample::new();
    sample.volume.hold(sample.inner).unwrap();
    sample.volume.rmdir(sample.outer, b"inner").unwrap();
    assert!(check(sample.core()).is_clean());
    sample.enter(sample.inner, b"second", sample.file, FileKind::Regular);
    sample.add_links(sample.file, 1);
    sample.expect(Finding::OrphanFull { inode: sample.inner });
}

#[test]
fn link_counts() {
    let sample = Sample::new();
    sample.add_links(sample.file, 1);
    sample.expect(Finding::LinkCount { inode: sample.file, says: 2, found: 1 });
    let sample = Sample::new();
    sample.add_links(sample.outer, 1);
    sample.expect(Finding::LinkCount { inode: sample.outer, says: 4, found: 3 });
    let sample = Sample::new();
    sample.add_links(ROOT, u32::MAX);
    sample.expect(Finding::LinkCount { inode: ROOT, says: 3, found: 4 });
}

#[test]
fn directories_in_the_wrong_place() {
    let sample = Sample::new();
    sample.enter(ROOT, b"second", sample.inner, FileKind::Directory);
    sample.add_links(ROOT, 1);
    sample.expect(Finding::DirectoryTwice { inode: sample.inner });

    let sample = Sample::new();
    sample.set_parent(sample.inner, ROOT);
    let (says, found) = (ROOT, sample.outer);
    sample.expect(Finding::Parent { inode: sample.inner, says, found });

    let sample = Sample::new();
    sample.set_parent(ROOT, sample.outer);
    sample.expect(Finding::Parent { inode: ROOT, says: sample.outer, found: ROOT });

    let sample = Sample::new();
    sample.close_loop();
    sample.expect(Finding::Loop { inode: sample.outer });
}

#[test]
fn names_that_lead_astray() {
    let sample = Sample::new();
    sample.enter(ROOT, b"nothing", 777, FileKind::Regular);
    sample.expect(Finding::NameDangling { directory: ROOT, inode: 777 });

    for (inode, kind) in [(1, FileKind::Regular), (ROOT, FileKind::Directory)] {
        let sample = Sample::new();
        sample.enter(sample.inner, b"reserved", inode, kind);
        sample.expect(Finding::NameReserved { directory: sample.inner, inode });
    }

    let sample = Sample::new();
    sample.transaction(|txn| {
        let outer = txn.inode(sample.outer).unwrap();
        let entry = DirEntry { inode: sample.file, kind: FileKind::Symlink };
        txn.dir_replace(&outer, b"file", entry).unwrap();
    });
    let (says, is) = (FileKind::Symlink, FileKind::Regular);
    sample.expect(Finding::NameKind { directory: sample.outer, inode: sample.file, says, is });
}

#[test]
fn names_that_cannot_be_found() {
    let sample = Sample::new();
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[32] ^= 1);
    sample.expect(Finding::NameHash { directory: ROOT, block, at: 32 });

    // A slash instead of a letter: neither allowed nor of that hash.
    let sample = Sample::new();
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[50] = b'/');
    let found = check(sample.core()).findings;
    assert_eq!(found[0], Finding::Structure(Corrupt::Dirent { inode: ROOT, block, at: 32 }));
    assert_eq!(found[1..], [Finding::NameHash { directory: ROOT, block, at: 32 }]);

    // The second leaf's entry says that the leaf begins behind its first name.
    let sample = Sample::new();
    let node = sample.root_block(sample.large);
    let (mut hash, mut leaf) = (0, 0);
    sample.edit_block(node, |bytes| {
        hash = u64::from_le_bytes(bytes[44..52].try_into().unwrap());
        leaf = u32::from_le_bytes(bytes[52..56].try_into().unwrap());
        bytes[44..52].copy_from_slice(&(hash + 1).to_le_bytes());
    });
    let mut bytes = [0; BLOCK_SIZE];
    sample.image().read_block(leaf, &mut bytes);
    let first = records(&bytes, sample.large, leaf).map(Result::unwrap).find(|r| r.hash == hash);
    let at = first.unwrap().at as u16;
    sample.expect(Finding::NamePlace { directory: sample.large, block: leaf, at });
}

#[test]
fn names_twice() {
    let sample = Sample::new();
    let (block, at) = sample.repeat_name();
    sample.expect(Finding::NameTwice { directory: sample.inner, block, at });
}

#[test]
fn name_counts() {
    let sample = Sample::new();
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[24] = 9);
    sample.expect(Finding::LeafCount { directory: ROOT, block, says: 9, found: 4 });

    let sample = Sample::new();
    sample.edit_inode(sample.large, |raw| raw.size = 199.into());
    sample.expect(Finding::NameCount { inode: sample.large, says: 199, found: 200 });
}

#[test]
fn symlinks() {
    let sample = Sample::new();
    let block = sample.inode(sample.symlink).symlink_block();
    sample.edit_block(block, |bytes| bytes[40] = 0);
    sample.expect(Finding::Target { inode: sample.symlink });
    let sample = Sample::new();
    sample.edit_inode(sample.symlink, |raw| raw.size = 400.into());
    sample.expect(Finding::Target { inode: sample.symlink });
    let sample = Sample::new();
    sample.edit_inode(sample.symlink, |raw| raw.root[..4].fill(0));
    let finding = Corrupt::BlockRange { block: 0, inode: sample.symlink };
    sample.expect(Finding::Structure(finding));
}

#[test]
fn xattrs() {
    // A length that is too great, beside a block, or too small for a block.
    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.xattr_len = 65.into());
    sample.expect(Finding::Xattrs { inode: sample.file });
    let sample = Sample::new();
    sample.edit_inode(sample.outer, |raw| raw.xattr_len = 1.into());
    sample.expect(Finding::Xattrs { inode: sample.outer });
    for used in [64_u32, 4065] {
        let sample = Sample::new();
        let block = sample.inode(sample.outer).raw.xattr_block.get();
        sample.edit_block(block, |bytes| bytes[24..28].copy_from_slice(&used.to_le_bytes()));
        sample.expect(Finding::Xattrs { inode: sample.outer });
        assert_eq!(sample.volume.get_xattr(sample.outer, b"user.one"), Err(Errno::EIO));
        let none = XattrFlags::empty();
        assert_eq!(sample.volume.set_xattr(sample.outer, b"user.one", b"", none), Err(Errno::EIO));
    }

    // Not the block of an attribute list.
    let sample = Sample::new();
    let block = sample.inode(sample.outer).raw.xattr_block.get();
    sample.edit_block(block, |bytes| bytes[8] ^= 1);
    sample.expect(Finding::Structure(Corrupt::Kind { block, expected: BlockKind::Xattrs }));
}

#[test]
fn xattr_records() {
    // Both lists are `one`, whose record takes 4 + 3 bytes and its value, and then `two`.
    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.xattrs[12] = 9);
    sample.expect(Finding::Structure(Corrupt::Xattr { inode: sample.file, at: 12 }));
    assert_eq!(sample.volume.list_xattr(sample.file), Err(Errno::EIO));

    let sample = Sample::new();
    let block = sample.inode(sample.outer).raw.xattr_block.get();
    sample.edit_block(block, |bytes| bytes.copy_within(32..39, 32 + 507));
    sample.expect(Finding::Structure(Corrupt::Xattr { inode: sample.outer, at: 507 }));

    let sample = Sample::new();
    sample.edit_inode(sample.file, |raw| raw.xattrs[63] = 1);
    sample.expect(Finding::XattrRemains { inode: sample.file });
    let sample = Sample::new();
    let block = sample.inode(sample.outer).raw.xattr_block.get();
    sample.edit_block(block, |bytes| bytes[BLOCK_SIZE - 1] = 1);
    sample.expect(Finding::XattrRemains { inode: sample.outer });
}

/// No mount takes over a list that cannot be read.
#[test]
fn xattrs_are_checked_by_a_mount() {
    let load = |sample: &Sample| {
        let store = volumes::store_of_image(&volumes::sealed_image(&sample.volume), 1_000);
        Volume::load(store, 1, volumes::now).map(drop).map_err(|error| error.to_string())
    };
    let sample = Sample::new();
    assert_eq!(load(&sample), Ok(()));
    sample.edit_inode(sample.file, |raw| raw.xattrs[12] = 9);
    assert!(load(&sample).unwrap_err().contains("malformed extended attribute at 12"));
    let sample = Sample::new();
    let block = sample.inode(sample.outer).raw.xattr_block.get();
    sample.edit_block(block, |bytes| bytes[24] ^= 1);
    assert!(load(&sample).unwrap_err().contains("malformed extended attribute at 1014"));
}

#[test]
fn counters() {
    let sample = Sample::new();
    let store = sample.image().store();
    let found = store.fetch_add(rt::FREE_BLOCKS, 1);
    sample.expect(Finding::Counter { name: "free blocks", says: found + 1, found });
    store.fetch_add(rt::FREE_BLOCKS, u32::MAX);
    let found = store.fetch_add(rt::USED_INODES, 2);
    sample.expect(Finding::Counter { name: "inodes", says: found + 2, found });
}

/// A node that names its parent, or one child 338 times, does not make the check run for ever.
#[test]
fn circles_end() {
    let sample = Sample::new();
    let node = sample.root_block(sample.large);
    sample.edit_block(node, |bytes| {
        for index in 0..338_u64 {
            let at = 32 + index as usize * 12;
            bytes[at..at + 8].copy_from_slice(&(index << 40).to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&node.to_le_bytes());
        }
        bytes[24..28].copy_from_slice(&338_u32.to_le_bytes());
    });
    let report = check(sample.core());
    let (block, inode) = (node, sample.large);
    assert_eq!(report.findings[0], Finding::BlockTwice { block, inode, other: inode });
}
