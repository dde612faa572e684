//! What a program does with one file's bytes: holes, reserving, moving, copying, inline data.

use crate::model::durable;
use crate::model::volumes;
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::{FILE_SIZE_MAX, FileKind};
use sabfs::store::Store;
use sabfs::store::runtime as rt;
use sabfs::vfs::{AllocateMode, Atime, Attr, SetAttr, TimeChange};
use std::sync::atomic::{AtomicU32, Ordering};
use volumes::{HeapVolume, ROOT, file, new, tick, volume};

const KEEP_SIZE: AllocateMode = AllocateMode::KEEP_SIZE;
const PUNCH_HOLE: AllocateMode = AllocateMode::PUNCH_HOLE.union(AllocateMode::KEEP_SIZE);
const ZERO_RANGE: AllocateMode = AllocateMode::ZERO_RANGE;

fn create(v: &HeapVolume) -> u32 {
    v.create(ROOT, b"f", &file()).unwrap().ino
}

fn bytes(v: &HeapVolume, ino: u32) -> Vec<u8> {
    let mut buffer = vec![0xee; v.getattr(ino).unwrap().size_bytes as usize + 10];
    let count = v.read(ino, 0, &mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

fn resize(v: &HeapVolume, ino: u32, size: u64) -> Attr {
    v.setattr(ino, &SetAttr { size_bytes: Some(size), ..Default::default() }).unwrap()
}

#[track_caller]
fn sound(v: &HeapVolume) {
    let report = check(v.core());
    assert!(report.is_clean(), "{report}");
    let copy = volumes::remount(v);
    let report = check(copy.core());
    assert!(report.is_clean(), "{report}");
}

#[test]
fn seeking_finds_data_and_holes() {
    let v = volume(1_000);
    let f = create(&v);
    assert_eq!((v.seek_data(f, 0), v.seek_hole(f, 0)), (Err(Errno::ENXIO), Err(Errno::ENXIO)));
    v.write(f, 8192, &[1; 5000]).unwrap();
    v.write(f, 40_960, &[2; 10]).unwrap();
    assert_eq!(v.seek_data(f, 0), Ok(8192));
    assert_eq!(v.seek_data(f, 9_000), Ok(9_000));
    assert_eq!(v.seek_data(f, 16_384), Ok(40_960));
    assert_eq!(v.seek_hole(f, 0), Ok(0));
    assert_eq!(v.seek_hole(f, 8_192), Ok(16_384));
    // The end is a hole, wherever its block ends.
    assert_eq!(v.seek_hole(f, 40_965), Ok(40_970));
    assert_eq!(v.seek_hole(f, 40_970), Err(Errno::ENXIO));
    assert_eq!(v.seek_data(f, u64::MAX), Err(Errno::ENXIO));
    resize(&v, f, 100_000);
    assert_eq!(v.seek_data(f, 45_056), Err(Errno::ENXIO));
    assert_eq!(v.seek_hole(f, 45_057), Ok(45_057));
    for kind in [FileKind::Directory, FileKind::Fifo] {
        let other = v.create(ROOT, &[kind.dirent()], &new(kind)).unwrap().ino;
        assert_eq!(v.seek_data(other, 0), Err(Errno::EINVAL));
        assert_eq!(v.seek_hole(other, 0), Err(Errno::EINVAL));
    }
}

#[test]
fn reserved_blocks_hold_zeros() {
    let v = volume(1_000);
    let f = create(&v);
    v.write(f, 0, &[7; 6_000]).unwrap();
    tick();
    v.allocate(f, AllocateMode::empty(), 5_000, 20_000).unwrap();
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks), (25_000, 7));
    assert_eq!((attr.mtime_ns, attr.ctime_ns), (volumes::now(), volumes::now()));
    let found = bytes(&v, f);
    assert!(found[..6_000] == [7; 6_000] && found[6_000..].iter().all(|&byte| byte == 0));
    assert_eq!(v.seek_hole(f, 0), Ok(25_000));
    sound(&v);
}

#[test]
fn blocks_behind_the_end_are_kept_for_it() {
    let v = volume(1_000);
    let f = create(&v);
    v.write(f, 0, &[7; 5_000]).unwrap();
    v.allocate(f, KEEP_SIZE, 0, 40_960).unwrap();
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks), (5_000, 10));
    sound(&v);
    let free = v.statfs().unwrap().free_blocks;
    // Writing there takes nothing, and what lies before it reads as zeros.
    v.write(f, 30_000, b"later").unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, free);
    let found = bytes(&v, f);
    assert!(found[5_000..30_000].iter().all(|&byte| byte == 0) && found.ends_with(b"later"));
    // Growing keeps them; a size that is set, if only to what it is, gives them back.
    assert_eq!(resize(&v, f, 35_000).blocks, 10);
    assert_eq!(resize(&v, f, 35_000).blocks, 9);
    assert_eq!(resize(&v, f, 100).blocks, 1);
    sound(&v);
    v.allocate(f, KEEP_SIZE, 0, 40_960).unwrap();
    v.unlink(ROOT, b"f").unwrap();
    sound(&v);
}

#[test]
fn holes_are_punched() {
    let v = volume(1_000);
    let f = create(&v);
    v.write(f, 0, &[7; 40_960]).unwrap();
    tick();
    v.allocate(f, PUNCH_HOLE, 5_000, 15_000).unwrap();
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks, attr.mtime_ns), (40_960, 8, volumes::now()));
    let mut expected = vec![7; 40_960];
    expected[5_000..20_000].fill(0);
    assert!(bytes(&v, f) == expected);
    assert_eq!((v.seek_hole(f, 0), v.seek_data(f, 8192)), (Ok(8192), Ok(16_384)));
    // Within one block, over an end of one, over the file's end.
    for (offset, len) in [(24_600, 10), (28_600, 100), (40_000, 1 << 40)] {
        v.allocate(f, PUNCH_HOLE, offset, len).unwrap();
        let end = (offset + len).min(40_960) as usize;
        expected[offset as usize..end].fill(0);
        assert!(bytes(&v, f) == expected, "{offset}");
    }
    assert_eq!(v.getattr(f).unwrap().blocks, 8);
    sound(&v);
}

#[test]
fn ranges_are_cleared() {
    let v = volume(1_000);
    let f = create(&v);
    v.write(f, 0, &[7; 10_000]).unwrap();
    v.allocate(f, ZERO_RANGE | KEEP_SIZE, 9_000, 20_000).unwrap();
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks), (10_000, 8));
    v.allocate(f, ZERO_RANGE, 100, 10_000).unwrap();
    let found = bytes(&v, f);
    assert_eq!(found.len(), 10_100);
    assert!(found[..100] == [7; 100] && found[100..].iter().all(|&byte| byte == 0));
    sound(&v);
}

#[test]
fn allocating_is_refused_as_on_linux() {
    let v = volume(100);
    let f = create(&v);
    let allocate = |mode, offset, len| v.allocate(f, mode, offset, len).unwrap_err();
    let none = AllocateMode::empty();
    assert_eq!(allocate(none, 0, 0), Errno::EINVAL);
    assert_eq!(allocate(none, FILE_SIZE_MAX, 1), Errno::EFBIG);
    assert_eq!(allocate(none, u64::MAX, 2), Errno::EFBIG);
    assert_eq!(allocate(AllocateMode::PUNCH_HOLE, 0, 1), Errno::EOPNOTSUPP);
    assert_eq!(allocate(PUNCH_HOLE | ZERO_RANGE, 0, 1), Errno::EOPNOTSUPP);
    for (kind, errno) in [
        (FileKind::Directory, Errno::EISDIR),
        (FileKind::Fifo, Errno::ESPIPE),
        (FileKind::Character, Errno::ENODEV),
    ] {
        let other = v.create(ROOT, &[kind.dirent()], &new(kind)).unwrap().ino;
        assert_eq!(v.allocate(other, none, 0, 1), Err(errno));
    }
}

#[test]
fn ranges_are_taken_out_and_put_in() {
    const COLLAPSE: AllocateMode = AllocateMode::COLLAPSE_RANGE;
    const INSERT: AllocateMode = AllocateMode::INSERT_RANGE;
    let v = volume(1_000);
    let f = create(&v);
    let mut expected: Vec<u8> = (0..30_000_u32).map(|at| (at / 100 + 1) as u8).collect();
    v.write(f, 0, &expected).unwrap();
    tick();
    v.allocate(f, COLLAPSE, 4_096, 8_192).unwrap();
    expected.drain(4_096..12_288);
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks, attr.mtime_ns), (21_808, 6, volumes::now()));
    assert!(bytes(&v, f) == expected);
    v.allocate(f, INSERT, 8_192, 4_096).unwrap();
    expected.splice(8_192..8_192, [0; 4_096]);
    assert!(bytes(&v, f) == expected);
    assert_eq!((v.seek_hole(f, 0), v.seek_data(f, 8_192)), (Ok(8_192), Ok(12_288)));
    sound(&v);
    let allocate = |mode, offset, len| v.allocate(f, mode, offset, len).unwrap_err();
    for (mode, offset, len, errno) in [
        (COLLAPSE, 100, 4_096, Errno::EINVAL),
        (COLLAPSE, 4_096, 100, Errno::EINVAL),
        // Up to the end: that is what cutting a file off is for.
        (COLLAPSE, 4_096, 24_576, Errno::EINVAL),
        (COLLAPSE | KEEP_SIZE, 0, 4_096, Errno::EINVAL),
        (INSERT | KEEP_SIZE, 0, 4_096, Errno::EINVAL),
        (INSERT | COLLAPSE, 0, 4_096, Errno::EINVAL),
        (INSERT, 4_096, 1, Errno::EINVAL),
        (INSERT, 28_672, 4_096, Errno::EINVAL),
        (INSERT, 0, FILE_SIZE_MAX - 4_096, Errno::EFBIG),
        (INSERT, FILE_SIZE_MAX, 4_096, Errno::EFBIG),
    ] {
        assert_eq!(allocate(mode, offset, len), errno, "{mode:?} {offset} {len}");
    }
    // Blocks that are reserved behind the end move, too, as far as there is a place for them.
    v.allocate(f, KEEP_SIZE, FILE_SIZE_MAX - 4_096, 4_096).unwrap();
    assert_eq!(allocate(INSERT, 0, 4_096), Errno::EFBIG);
    assert!(bytes(&v, f) == expected);
    v.allocate(f, COLLAPSE, 0, 4_096).unwrap();
    v.allocate(f, INSERT, 0, 4_096).unwrap();
    sound(&v);
    // A small file leaves its inode.
    let small = v.create(ROOT, b"small", &file()).unwrap().ino;
    v.write(small, 0, b"small").unwrap();
    assert_eq!(v.allocate(small, COLLAPSE, 0, 4_096), Err(Errno::EINVAL));
    v.allocate(small, INSERT, 0, 4_096).unwrap();
    let found = bytes(&v, small);
    assert!(found[..4_096] == [0; 4_096] && found[4_096..] == *b"small");
    sound(&v);
}

#[test]
fn without_space_nothing_is_reserved() {
    // Room to grow, which an impossible wish must not use up.
    let v = volume(20_000);
    let f = create(&v);
    v.write(f, 0, &[7; 5_000]).unwrap();
    let before = (v.getattr(f).unwrap(), v.statfs().unwrap(), v.image().geometry().image_blocks());
    tick();
    for mode in [AllocateMode::empty(), KEEP_SIZE, ZERO_RANGE] {
        assert_eq!(v.allocate(f, mode, 0, 1 << 40), Err(Errno::ENOSPC));
    }
    let after = (v.getattr(f).unwrap(), v.statfs().unwrap(), v.image().geometry().image_blocks());
    assert_eq!(before, after);
    assert!(bytes(&v, f) == [7; 5_000]);
    // What fits is had, though the volume has to grow for it.
    v.allocate(f, AllocateMode::empty(), 0, 15_000 * 4096).unwrap();
    assert_eq!(v.getattr(f).unwrap().blocks, 15_000);
    sound(&v);
}

/// Every second block is free: more runs than one transaction takes, and hardly enough for the tree.
#[test]
fn a_fragmented_volume_gives_back_what_did_not_suffice() {
    let v = volume(2_000);
    let f = create(&v);
    let other = v.create(ROOT, b"other", &file()).unwrap().ino;
    let free = v.statfs().unwrap().free_blocks;
    v.write(other, 0, &vec![1; (free * 4096) as usize]).unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
    // Whole nodes' worth of holes first, so that punching finds room for its own nodes.
    v.allocate(other, PUNCH_HOLE, 0, 8 * 4096).unwrap();
    for block in (10..free - 1).step_by(2) {
        v.allocate(other, PUNCH_HOLE, block * 4096, 4096).unwrap();
    }
    let before = (v.getattr(f).unwrap(), v.statfs().unwrap().free_blocks);
    assert!(before.1 > 900, "{before:?}");
    assert_eq!(v.allocate(f, KEEP_SIZE, 0, before.1 * 4096), Err(Errno::ENOSPC));
    assert_eq!((v.getattr(f).unwrap(), v.statfs().unwrap().free_blocks), before);
    // A small file has left its inode by then, and keeps the block that it went to.
    let small = v.create(ROOT, b"small", &file()).unwrap().ino;
    v.write(small, 0, b"small").unwrap();
    assert_eq!(v.allocate(small, ZERO_RANGE, 2, before.1 * 4096 - 4096), Err(Errno::ENOSPC));
    assert_eq!((bytes(&v, small), v.getattr(small).unwrap().blocks), (b"small".to_vec(), 1));
    sound(&v);
    v.allocate(f, KEEP_SIZE, 0, (before.1 - 10) * 4096).unwrap();
    sound(&v);
}

#[test]
fn access_times() {
    let mut v = volume(100);
    let f = create(&v);
    let atime = |v: &HeapVolume| v.getattr(f).unwrap().atime_ns;
    let start = atime(&v);
    tick();
    // Not later than the last change: due.
    v.accessed(f);
    let first = atime(&v);
    assert!(first > start && first == volumes::now());
    tick();
    v.accessed(f);
    assert_eq!(atime(&v), first);
    v.write(f, 0, b"change").unwrap();
    tick();
    v.accessed(f);
    assert_eq!(atime(&v), volumes::now());
    let day = 24 * 3600 * 1_000_000_000_i64;
    let old = SetAttr { atime: Some(TimeChange::At(volumes::now() + 10 - day)), ..Default::default() };
    v.setattr(f, &old).unwrap();
    tick();
    v.accessed(f);
    assert_eq!(atime(&v), volumes::now());
    v.set_atime(Atime::Always);
    tick();
    v.accessed(f);
    assert_eq!(atime(&v), volumes::now());
    v.set_atime(Atime::Never);
    v.write(f, 0, b"change").unwrap();
    tick();
    v.accessed(f);
    assert_ne!(atime(&v), volumes::now());
    v.accessed(77);
}

#[test]
fn small_files_lie_in_their_inodes() {
    let v = volume(1_000);
    let f = create(&v);
    let free = v.statfs().unwrap().free_blocks;
    let pattern: Vec<u8> = (1..=104).collect();
    assert_eq!(v.write(f, 20, &pattern[20..60]), Ok(40));
    assert_eq!(v.append(f, &pattern[60..]), Ok((60, 44)));
    assert_eq!(v.write(f, 0, &pattern[..20]), Ok(20));
    assert_eq!(bytes(&v, f), pattern);
    // Twice: the second time from memory.
    assert_eq!(bytes(&v, f), pattern);
    let mut part = [0; 10];
    assert_eq!((v.read(f, 100, &mut part), &part[..4]), (Ok(4), &pattern[100..]));
    assert_eq!((v.read(f, 104, &mut part), v.read(f, u64::MAX - 20, &mut part)), (Ok(0), Ok(0)));
    assert_eq!((v.seek_data(f, 5), v.seek_hole(f, 5)), (Ok(5), Ok(104)));
    assert_eq!(v.seek_data(f, 104), Err(Errno::ENXIO));
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks, v.statfs().unwrap().free_blocks), (104, 0, free));
    sound(&v);
    assert_eq!(bytes(&volumes::remount(&v), f), pattern);

    resize(&v, f, 50);
    resize(&v, f, 104);
    let mut expected = pattern.clone();
    expected[50..].fill(0);
    assert_eq!(bytes(&v, f), expected);
    v.write(f, 0, &pattern).unwrap();
    v.allocate(f, PUNCH_HOLE, 90, 1 << 30).unwrap();
    v.allocate(f, ZERO_RANGE, 10, 5).unwrap();
    resize(&v, f, 95);
    v.allocate(f, ZERO_RANGE, 94, 10).unwrap();
    let mut expected = pattern;
    expected[90..].fill(0);
    expected[10..15].fill(0);
    assert_eq!(bytes(&v, f), expected);
    v.allocate(f, KEEP_SIZE, 0, 104).unwrap();
    assert_eq!(v.getattr(f).unwrap().blocks, 0);
    sound(&v);
}

/// Each way in which a file outgrows its inode, at each distance.
#[test]
fn files_outgrow_their_inodes() {
    let small: Vec<u8> = (1..=100).collect();
    let far = [9; 300];
    for offset in [0, 50, 100, 104, 4_000, 4_096, 50_000] {
        let v = volume(1_000);
        let f = create(&v);
        v.write(f, 0, &small).unwrap();
        assert_eq!(v.write(f, offset, &far), Ok(300));
        let mut expected = small.clone();
        expected.resize(expected.len().max(offset as usize + 300), 0);
        expected[offset as usize..offset as usize + 300].copy_from_slice(&far);
        assert!(bytes(&v, f) == expected, "{offset}");
        sound(&v);
    }
    for size in [105, 4_096, 100_000] {
        let v = volume(1_000);
        let f = create(&v);
        v.write(f, 0, &small).unwrap();
        assert_eq!(resize(&v, f, size).blocks, 1);
        let found = bytes(&v, f);
        assert!(found[..100] == small && found[100..].iter().all(|&byte| byte == 0));
        assert_eq!(v.seek_data(f, 4_096), Err(Errno::ENXIO));
        sound(&v);
        // It stays outside, but for one that is cut to nothing.
        assert_eq!(resize(&v, f, 10).blocks, 1);
        assert_eq!(resize(&v, f, 0).blocks, 0);
        v.write(f, 0, &small).unwrap();
        assert_eq!((v.getattr(f).unwrap().blocks, bytes(&v, f)), (0, small.clone()));
        sound(&v);
    }
    let modes = [AllocateMode::empty(), KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE];
    for (mode, offset) in modes.iter().flat_map(|&mode| [(mode, 0), (mode, 50), (mode, 8_192)]) {
        let v = volume(1_000);
        let f = create(&v);
        v.write(f, 0, &small).unwrap();
        v.allocate(f, mode, offset, 10_000).unwrap();
        let mut expected = small.clone();
        if !mode.contains(KEEP_SIZE) {
            expected.resize(offset as usize + 10_000, 0);
        }
        if mode.contains(ZERO_RANGE) && offset < 100 {
            expected[offset as usize..].fill(0);
        }
        assert!(bytes(&v, f) == expected, "{mode:?} {offset}");
        assert_eq!(v.getattr(f).unwrap().blocks, if offset == 8_192 { 4 } else { 3 });
        sound(&v);
    }
}

#[test]
fn a_full_volume_leaves_small_files_as_they_are() {
    let v = volume(100);
    let f = create(&v);
    v.write(f, 0, b"small").unwrap();
    let other = v.create(ROOT, b"other", &file()).unwrap().ino;
    while v.append(other, &[1; 4096]).is_ok() {}
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
    let before = v.getattr(f).unwrap();
    tick();
    assert_eq!(v.write(f, 100, b"beyond"), Err(Errno::ENOSPC));
    assert_eq!(v.write(f, 10_000, b"beyond"), Err(Errno::ENOSPC));
    assert_eq!(v.append(f, &[1; 200]), Err(Errno::ENOSPC));
    assert_eq!(v.allocate(f, KEEP_SIZE, 0, 200), Err(Errno::ENOSPC));
    let set = SetAttr { size_bytes: Some(200), ..Default::default() };
    assert_eq!(v.setattr(f, &set), Err(Errno::ENOSPC));
    assert_eq!((v.getattr(f).unwrap(), bytes(&v, f)), (before, b"small".to_vec()));
    v.allocate(f, AllocateMode::empty(), 50, 50).unwrap();
    v.write(f, 90, b"within").unwrap();
    sound(&v);
}

#[test]
fn ranges_are_copied_with_their_holes() {
    let v = volume(2_000);
    let (f, g) = (create(&v), v.create(ROOT, b"g", &file()).unwrap().ino);
    v.write(f, 100, &[1; 200]).unwrap();
    v.write(f, 40_000, &[2; 3_000]).unwrap();
    resize(&v, f, 100_000);
    v.write(g, 0, &[9; 60_000]).unwrap();
    // Bounded by the source's end.
    assert_eq!(v.copy_range(f, 0, g, 0, 1 << 40), Ok(100_000));
    assert!(bytes(&v, g) == bytes(&v, f));
    assert_eq!(v.seek_data(g, 4_096), Ok(36_864));
    assert_eq!(v.seek_data(g, 45_056), Err(Errno::ENXIO));
    sound(&v);
    // At offsets of no block; what lay there before is gone.
    v.write(g, 0, &[9; 60_000]).unwrap();
    assert_eq!(v.copy_range(f, 50, g, 10_007, 45_000), Ok(45_000));
    let mut expected = vec![9; 60_000];
    expected.resize(100_000, 0);
    expected[10_007..55_007].copy_from_slice(&bytes(&v, f)[50..45_050]);
    assert!(bytes(&v, g) == expected);
    sound(&v);
    // Small ones, and out of one file into itself.
    let small = v.create(ROOT, b"small", &file()).unwrap().ino;
    v.write(small, 0, b"abcdefgh").unwrap();
    assert_eq!(v.copy_range(small, 1, small, 4, 3), Ok(3));
    assert_eq!(bytes(&v, small), b"abcdbcdh");
    assert_eq!(v.copy_range(f, 0, small, 6, 104), Ok(104));
    let mut expected = b"abcdbc".to_vec();
    expected.extend(&bytes(&v, f)[..104]);
    assert_eq!(bytes(&v, small), expected);
    assert_eq!(v.copy_range(small, 200, f, 0, 10), Ok(0));
    sound(&v);
}

#[test]
fn copying_is_refused_as_on_linux() {
    let v = volume(200);
    let f = create(&v);
    let fifo = v.create(ROOT, b"fifo", &new(FileKind::Fifo)).unwrap().ino;
    v.write(f, 0, &[1; 10_000]).unwrap();
    let g = v.create(ROOT, b"g", &file()).unwrap().ino;
    assert_eq!(v.copy_range(f, 0, ROOT, 0, 1), Err(Errno::EISDIR));
    assert_eq!(v.copy_range(ROOT, 0, f, 0, 1), Err(Errno::EISDIR));
    assert_eq!(v.copy_range(f, 0, fifo, 0, 1), Err(Errno::EINVAL));
    assert_eq!(v.copy_range(f, 0, f, 9_999, 10_000), Err(Errno::EINVAL));
    assert_eq!(v.copy_range(f, 5_000, f, 0, 5_000), Ok(5_000));
    assert_eq!(v.copy_range(f, u64::MAX, g, 0, 2), Err(Errno::EOVERFLOW));
    assert_eq!(v.copy_range(f, 0, g, i64::MAX as u64, 1), Err(Errno::EOVERFLOW));
    assert_eq!(v.copy_range(f, 0, g, FILE_SIZE_MAX, 1), Err(Errno::EFBIG));
    // What there is room for is copied.
    let other = v.create(ROOT, b"other", &file()).unwrap().ino;
    while v.statfs().unwrap().free_blocks > 2 {
        v.append(other, &[1; 4096]).unwrap();
    }
    assert_eq!(v.copy_range(f, 0, g, 0, 10_000), Ok(8_192));
    assert_eq!(v.copy_range(f, 0, g, 8_192, 10_000), Err(Errno::ENOSPC));
    assert_eq!(v.getattr(g).unwrap().size_bytes, 8_192);
    sound(&v);
}

/// The bytes of a small file are part of a metadata block, also for who counts what is dirty.
#[test]
fn inline_data_reach_the_disk() {
    let files = durable::Files::default();
    let v = files.open(200);
    let f = create(&v);
    v.write(f, 0, b"first and second").unwrap();
    v.sync().unwrap();
    let store = v.image().store();
    for (offset, word) in [(0, b"third"), (10, b"forth"), (4, b"fifth")] {
        // Found through the inode at first, then where it was the last time.
        v.write(f, offset, word).unwrap();
        let dirty = [rt::DIRTY_COUNT, rt::DIRTY_META_COUNT].map(|word| store.load(word));
        assert_eq!(dirty, [1, 1]);
    }
    v.sync().unwrap();
    assert_eq!([rt::DIRTY_COUNT, rt::DIRTY_META_COUNT].map(|word| store.load(word)), [0, 0]);
    let expected = bytes(&v, f);
    assert_eq!(expected, b"thirfifth forthd");
    drop(v);
    let v = files.open(200);
    assert_eq!(bytes(&v, f), expected);
    // Out of the inode and, cut to nothing, back again; each is what a mount finds.
    v.allocate(f, AllocateMode::INSERT_RANGE, 0, 4_096).unwrap();
    v.allocate(f, KEEP_SIZE, 8_192, 40_000).unwrap();
    v.sync().unwrap();
    drop(v);
    let v = files.open(200);
    assert_eq!(bytes(&v, f)[4_096..], expected);
    assert_eq!(v.getattr(f).unwrap().blocks, 11);
    assert!(check(v.core()).is_clean());
    resize(&v, f, 0);
    v.write(f, 3, b"again").unwrap();
    v.sync().unwrap();
    drop(v);
    let v = files.open(200);
    assert_eq!(bytes(&v, f), b"\0\0\0again");
    assert!(check(v.core()).is_clean());
}

/// A small file that comes and goes between its inode and a block shows no reader a mixture.
#[test]
fn readers_see_one_state_of_a_small_file() {
    let v = volume(1_000);
    let f = create(&v);
    let seen = [const { AtomicU32::new(0) }; 2];
    v.write(f, 0, &[1; 100]).unwrap();
    std::thread::scope(|scope| {
        for seen in &seen {
            let v = &v;
            scope.spawn(move || {
                let mut buffer = [0; 200];
                while seen.fetch_add(1, Ordering::Relaxed) < 2_000 {
                    let count = v.read(f, 0, &mut buffer).unwrap();
                    assert!(matches!(count, 0 | 100 | 150), "{count}");
                    assert!(buffer[..count].iter().all(|&byte| byte == buffer[0]), "{buffer:?}");
                    // Shorter than the file: from where the thread remembers it.
                    let count = v.read(f, 0, &mut buffer[..64]).unwrap();
                    assert!(buffer[..count].iter().all(|&byte| byte == buffer[0]), "{buffer:?}");
                }
            });
        }
        let mut round = 0_u32;
        while round < 5_000_000 && seen.iter().any(|seen| seen.load(Ordering::Relaxed) < 2_000) {
            round += 1;
            let byte = [round as u8 | 1; 150];
            v.write(f, 0, &byte[..100]).unwrap();
            if round.is_multiple_of(8) {
                resize(&v, f, 0);
                v.write(f, 0, &byte).unwrap();
                resize(&v, f, 0);
                v.write(f, 0, &byte[..100]).unwrap();
            }
        }
    });
    sound(&v);
}
