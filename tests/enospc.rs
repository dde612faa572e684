//! Without space an operation fails as a whole: each one is tried with every number of free blocks, from
//! none to what it needs. When it fails the tree is as before, to the last byte and time stamp, no block is
//! lost, and nothing is damaged.
//!
//! Every operation that may take space belongs here, with the number of blocks that it needs.

use crate::model::operations::{content, fill_name};
use crate::model::volumes::{self, HeapVolume, ROOT, directory, file, new};
use sabfs::core::check::check;
use sabfs::core::inodes::for_each_table_block;
use sabfs::errno::Errno;
use sabfs::format::{FileKind, INODES_PER_BLOCK};
use sabfs::vfs::{AllocateMode, Attr, Ino, RenameFlags, SetAttr, TimeChange, XattrFlags};
use std::collections::BTreeMap;

/// More than any operation needs.
const NEEDS_MAX: u32 = 40;

/// All that can be seen of one name.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    attr: Attr,
    data: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Debug, PartialEq)]
struct Snapshot {
    names: BTreeMap<Vec<u8>, Seen>,
    free_blocks: u64,
    used_inodes: u64,
}

fn seen(volume: &HeapVolume, ino: Ino) -> Seen {
    let attr = volume.getattr(ino).unwrap();
    let data = match attr.kind {
        FileKind::Regular => {
            let mut data = vec![0; usize::try_from(attr.size_bytes).unwrap()];
            assert_eq!(volume.read(ino, 0, &mut data), Ok(data.len()));
            data
        }
        FileKind::Symlink => volume.readlink(ino).unwrap(),
        _ => Vec::new(),
    };
    let names = volume.list_xattr(ino).unwrap().into_iter();
    let xattrs = names.map(|name| (name.clone(), volume.get_xattr(ino, &name).unwrap())).collect();
    Seen { attr, data, xattrs }
}

fn snapshot(volume: &HeapVolume) -> Snapshot {
    let mut names = BTreeMap::from([(Vec::new(), seen(volume, ROOT))]);
    let mut directories = vec![(Vec::new(), ROOT)];
    while let Some((path, dir)) = directories.pop() {
        volume
            .read_dir(dir, 0, &mut |entry| {
                let path = [&path[..], b"/", &entry.name].concat();
                if entry.kind == FileKind::Directory {
                    directories.push((path.clone(), entry.ino));
                }
                names.insert(path, seen(volume, entry.ino));
                true
            })
            .unwrap();
    }
    let stat = volume.statfs().unwrap();
    Snapshot { names, free_blocks: stat.free_blocks, used_inodes: stat.used_inodes }
}

#[track_caller]
fn assert_sound(volume: &HeapVolume) {
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
}

/// Does `change` with every number of free blocks until it succeeds. Gives how many it needs.
#[track_caller]
fn needs<T>(base: &HeapVolume, change: impl Fn(&HeapVolume) -> Result<T, Errno>) -> u32 {
    let volume = volumes::remount(base);
    let before = snapshot(&volume);
    for free in 0..NEEDS_MAX {
        volumes::tick();
        let hog = volumes::leave_free(&volume, free);
        let answer = change(&volume);
        drop(hog);
        assert_sound(&volume);
        match answer {
            Ok(_) => {
                assert!(snapshot(&volume) != before, "nothing was changed");
                snapshot(&volumes::remount(&volume));
                return free;
            }
            Err(errno) => assert_eq!(errno, Errno::ENOSPC),
        }
        assert_eq!(snapshot(&volume), before, "with {free} free blocks");
    }
    panic!("{NEEDS_MAX} free blocks do not suffice");
}

/// As `needs`, for what writes `bytes` into a file and may stop short: then its first bytes are there, and only
/// they. `change` gives where they went and how many there are.
#[track_caller]
fn part_needs(
    base: &HeapVolume,
    path: &str,
    bytes: &[u8],
    change: impl Fn(&HeapVolume) -> Result<(u64, usize), Errno>,
) -> u32 {
    for free in 0..NEEDS_MAX {
        let volume = volumes::remount(base);
        let before = snapshot(&volume);
        volumes::tick();
        let hog = volumes::leave_free(&volume, free);
        let answer = change(&volume);
        drop(hog);
        assert_sound(&volume);
        let mut after = snapshot(&volume);
        let Ok((offset, count)) = answer else {
            assert_eq!((answer.unwrap_err(), after), (Errno::ENOSPC, before));
            continue;
        };
        assert!(count > 0);
        let path = path.as_bytes();
        let mut expected = before.names[path].data.clone();
        let start = usize::try_from(offset).unwrap();
        expected.resize(expected.len().max(start + count), 0);
        expected[start..start + count].copy_from_slice(&bytes[..count]);
        assert!(after.names[path].data == expected, "{count} bytes written with {free} free blocks");
        // Nothing else is another than before.
        after.names.insert(path.to_vec(), before.names[path].clone());
        assert_eq!(after.names, before.names);
        if count == bytes.len() {
            return free;
        }
    }
    panic!("{NEEDS_MAX} free blocks do not suffice");
}

#[track_caller]
fn write_needs(base: &HeapVolume, path: &str, offset: Option<u64>, bytes: &[u8]) -> u32 {
    let ino = at(base, path);
    part_needs(base, path, bytes, |volume| match offset {
        Some(offset) => volume.write(ino, offset, bytes).map(|count| (offset, count)),
        None => volume.append(ino, bytes),
    })
}

fn at(volume: &HeapVolume, path: &str) -> Ino {
    path.split('/')
        .filter(|name| !name.is_empty())
        .fold(ROOT, |dir, name| volume.lookup(dir, name.as_bytes()).unwrap().ino)
}

/// Directories with few and with many names, files of all shapes, attributes inside and outside of inodes.
fn base() -> HeapVolume {
    let volume = volumes::volume(3_000);
    let create = |dir, name: &[u8], new| volume.create(dir, name, &new).unwrap().ino;
    create(ROOT, b"empty", directory());
    let some = create(ROOT, b"some", directory());
    let data = create(some, b"data", file());
    volume.write(data, 0, &content(1, 10_000)).unwrap();
    create(some, b"sub", directory());
    create(some, b"nothing", file());
    let small = create(some, b"small", file());
    volume.write(small, 0, &content(2, 60)).unwrap();
    // As many names of 250 bytes as one leaf takes.
    let full = create(ROOT, b"full", directory());
    for number in 0..14 {
        create(full, &long_name(number), file());
    }
    // Extents: as many as an inode holds, as a leaf holds, and two full leaves.
    for (name, extents) in [(&b"eight"[..], 8), (b"leaf", 338), (b"leaves", 338 + 337)] {
        let ino = create(ROOT, name, file());
        for number in 0..extents {
            volume.write(ino, number * 8192, b"part").unwrap();
        }
    }
    set(&volume, data, b"user.inline", &[1; 20]).unwrap();
    set(&volume, some, b"user.block", &[2; 1_000]).unwrap();
    volume
}

fn long_name(number: u32) -> Vec<u8> {
    let mut name = fill_name(number, true);
    name.resize(250, b'n');
    name
}

fn set(volume: &HeapVolume, ino: Ino, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    volume.set_xattr(ino, name, value, XattrFlags::empty())
}

/// Takes the free slots of the inode table.
fn fill_table(volume: &HeapVolume) {
    let mut free = 0;
    for_each_table_block(volume.core(), &mut |table, _| {
        free += INODES_PER_BLOCK - table.used.count_ones();
        Ok(())
    })
    .unwrap();
    for number in 0..free {
        volume.create(ROOT, format!("more{number}").as_bytes(), &new(FileKind::Fifo)).unwrap();
    }
}

#[test]
fn new_names() {
    let volume = base();
    let [empty, some, full] = ["empty", "some", "full"].map(|path| at(&volume, path));
    let data = at(&volume, "some/data");
    let kinds = [file(), directory(), new(FileKind::Fifo), new(FileKind::Character)];
    for (dir, name, blocks) in [
        (some, b"new".to_vec(), 0),
        (empty, b"new".to_vec(), 1),
        // The leaf splits and gets a node above it.
        (full, long_name(99), 2),
    ] {
        for new in kinds {
            assert_eq!(needs(&volume, |v| v.create(dir, &name, &new)), blocks);
        }
        assert_eq!(needs(&volume, |v| v.symlink(dir, &name, b"target", 0, 0)), blocks);
        assert_eq!(needs(&volume, |v| v.symlink(dir, &name, &[b't'; 900], 0, 0)), blocks + 1);
        assert_eq!(needs(&volume, |v| v.link(data, dir, &name)), blocks);
    }
}

#[test]
fn new_inodes() {
    let volume = base();
    fill_table(&volume);
    let [empty, some] = ["empty", "some"].map(|path| at(&volume, path));
    assert_eq!(needs(&volume, |v| v.create(some, b"new", &file())), 1);
    assert_eq!(needs(&volume, |v| v.symlink(some, b"new", b"target", 0, 0)), 1);
    // The table takes up to 8 blocks when it grows, and the name's leaf is asked for after it.
    assert!(needs(&volume, |v| v.create(empty, b"new", &directory())) <= 9);
    assert!(needs(&volume, |v| v.symlink(some, b"new", &[b't'; 900], 0, 0)) <= 9);
}

#[test]
fn renames() {
    let volume = base();
    let [empty, some, full] = ["empty", "some", "full"].map(|path| at(&volume, path));
    let none = RenameFlags::empty();
    let rename = |from: (Ino, &[u8]), to: (Ino, &[u8]), flags| {
        needs(&volume, |v| v.rename(from.0, from.1, to.0, to.1, flags))
    };
    for (name, blocks) in [(&b"data"[..], 1), (b"sub", 1)] {
        assert_eq!(rename((some, name), (some, b"other"), none), 0);
        assert_eq!(rename((some, name), (empty, b"other"), none), blocks);
        assert_eq!(rename((some, name), (empty, b"other"), RenameFlags::NOREPLACE), blocks);
        assert_eq!(rename((some, name), (full, &long_name(99)), none), 2);
        // Over a name that is there, and in exchange for one.
        assert_eq!(rename((some, name), (full, &long_name(3)), RenameFlags::EXCHANGE), 0);
    }
    assert_eq!(rename((some, b"data"), (full, &long_name(3)), none), 0);
    assert_eq!(rename((full, &long_name(3)), (some, b"data"), none), 0);
    // What stays behind is an inode more, and takes the old name's place.
    let whiteout = RenameFlags::WHITEOUT;
    assert_eq!(rename((some, b"data"), (some, b"other"), whiteout), 0);
    assert_eq!(rename((some, b"data"), (empty, b"other"), whiteout), 1);
    assert_eq!(rename((some, b"data"), (full, &long_name(3)), whiteout), 0);
    // A longer name in a directory that has no room for it.
    let volume = base();
    volume.create(full, b"short", &file()).unwrap();
    assert_eq!(needs(&volume, |v| v.rename(full, b"short", full, &long_name(99), none)), 2);
}

#[test]
fn writes() {
    let volume = base();
    let bytes = content(7, 12 * 4096);
    let write = |path: &str, offset, len: usize, blocks| {
        assert_eq!(write_needs(&volume, path, Some(offset), &bytes[..len]), blocks, "{path} {offset}");
    };
    // In place, behind the end, into a hole, over the edge of one.
    write("/some/data", 5_000, 4_000, 0);
    write("/some/data", 12_000, 200, 0);
    write("/some/data", 50_000, 100, 1);
    write("/some/data", 9_000, 40_000, 9);
    write("/eight", 2 * 8192 + 100, 3_000, 0);
    // Another extent, for whose record neither the inode nor the leaf has room.
    write("/eight", 100_000, 10, 2);
    write("/leaf", 400 * 8192, 10, 2);
    write("/leaf", 4096 * 5, 10, 2);
    write("/leaves", 4096 * 5, 10, 2);

    let append = |path: &str, len: usize| write_needs(&volume, path, None, &bytes[..len]);
    assert_eq!(append("/some/data", 2_000), 0);
    assert_eq!(append("/some/data", 12 * 4096), 12);
    assert_eq!(append("/some/nothing", 12 * 4096), 12);
    assert_eq!(append("/leaf", 12 * 4096), 13);
}

/// Files that lie in their inodes, and leave them.
#[test]
fn small_files() {
    let volume = base();
    let bytes = content(7, 9_000);
    let write = |offset, len: usize| write_needs(&volume, "/some/small", Some(offset), &bytes[..len]);
    assert_eq!(write(10, 40), 0);
    assert_eq!(write(60, 44), 0);
    assert_eq!(write(60, 45), 1);
    assert_eq!(write(0, 9_000), 3);
    assert_eq!(write(20_000, 1), 2);
    assert_eq!(write_needs(&volume, "/some/small", None, &bytes), 3);
    let small = at(&volume, "some/small");
    for (size, blocks) in [(104, 0), (105, 1), (1_000_000, 1)] {
        let set = SetAttr { size_bytes: Some(size), ..Default::default() };
        assert_eq!(needs(&volume, |v| v.setattr(small, &set)), blocks, "to {size}");
    }
}

#[test]
fn reserving() {
    let volume = base();
    let reserve = |path: &str, mode, offset, len| {
        let ino = at(&volume, path);
        needs(&volume, |v| v.allocate(ino, mode, offset, len))
    };
    let plain = AllocateMode::empty();
    for mode in [plain, AllocateMode::KEEP_SIZE, AllocateMode::ZERO_RANGE] {
        assert_eq!(reserve("/some/nothing", mode, 0, 12 * 4096), 12);
        assert_eq!(reserve("/some/data", mode, 0, 20_000), 2);
        // What lies in the inode goes into the first block.
        assert_eq!(reserve("/some/small", mode, 100, 9_000), 3);
        // Holes between extents, and behind the last one, which a full inode or leaf has no room for.
        assert_eq!(reserve("/eight", mode, 4096, 3 * 8192), 4);
        assert_eq!(reserve("/eight", mode, 200_000, 8192), 4);
        assert_eq!(reserve("/leaf", mode, 500 * 8192, 5 * 4096), 6);
        assert_eq!(reserve("/leaves", mode, 800 * 8192, 8 * 4096), 8);
    }
    assert_eq!(reserve("/some/small", AllocateMode::ZERO_RANGE, 10, 20), 0);
}

#[test]
fn holes_and_shifted_ranges() {
    let volume = base();
    let solid = volume.create(ROOT, b"solid", &file()).unwrap().ino;
    volume.write(solid, 0, &content(3, 30 * 4096)).unwrap();
    // Extents of three blocks: as many as an inode holds, and as a leaf holds.
    let [eight, leaf] = [(&b"wide"[..], 8), (b"wider", 338)].map(|(name, extents)| {
        let ino = volume.create(ROOT, name, &file()).unwrap().ino;
        for number in 0..extents {
            volume.write(ino, number * 16_384, &content(4, 3 * 4096)).unwrap();
        }
        ino
    });
    let change = |ino, mode, offset, len| needs(&volume, |v| v.allocate(ino, mode, offset, len));
    let punch = AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE;
    assert_eq!(change(solid, punch, 4096, 8192), 0);
    assert_eq!(change(solid, punch, 5_000, 100), 0);
    assert_eq!(change(at(&volume, "some/small"), punch, 5, 10), 0);
    // A full inode gets a leaf, a full leaf a neighbour.
    assert_eq!(change(eight, punch, 4096, 4096), 1);
    assert_eq!(change(leaf, punch, 16_384 + 4096, 4096), 1);
    assert_eq!(change(eight, punch, 16_384, 16_384), 0);

    let (collapse, insert) = (AllocateMode::COLLAPSE_RANGE, AllocateMode::INSERT_RANGE);
    assert_eq!(change(solid, collapse, 4096, 8192), 0);
    assert_eq!(change(eight, collapse, 16_384, 16_384), 0);
    assert_eq!(change(solid, insert, 4096, 8192), 0);
    // Inside of an extent, which it splits.
    assert_eq!(change(eight, insert, 4096, 4096), 1);
    assert_eq!(change(at(&volume, "some/small"), insert, 0, 4096), 1);
}

#[test]
fn copies() {
    let volume = base();
    let bytes = seen(&volume, at(&volume, "some/data")).data;
    let from = at(&volume, "some/data");
    let copy = |path: &str, offset: u64| {
        let to = at(&volume, path);
        part_needs(&volume, path, &bytes, |v| {
            let count = v.copy_range(from, 0, to, offset, bytes.len() as u64)?;
            Ok((offset, usize::try_from(count).unwrap()))
        })
    };
    assert_eq!(copy("/some/nothing", 0), 3);
    assert_eq!(copy("/some/small", 0), 3);
    assert_eq!(copy("/some/data", 20_000), 4);
    assert_eq!(copy("/leaf", 500 * 8192), 4);
}

#[test]
fn files_without_a_name() {
    let volume = base();
    let [empty, some] = ["empty", "some"].map(|path| at(&volume, path));
    let unnamed = |v: &HeapVolume| v.create_unnamed(some, &file()).map(|attr| v.forget(attr.ino));
    let named = |dir| {
        move |v: &HeapVolume| {
            let ino = v.create_unnamed(dir, &file())?.ino;
            let answer = v.link(ino, dir, b"named");
            v.forget(ino);
            answer
        }
    };
    assert_eq!(needs(&volume, named(some)), 0);
    assert_eq!(needs(&volume, named(empty)), 1);
    fill_table(&volume);
    assert_eq!(needs(&volume, named(some)), 1);
    // It comes and goes: only the inode table stays longer.
    let full = volumes::remount(&volume);
    let hog = volumes::leave_free(&full, 0);
    assert_eq!(unnamed(&full), Err(Errno::ENOSPC));
    drop(hog);
    assert_eq!(unnamed(&full), Ok(()));
    assert_sound(&full);
}

#[test]
fn attributes() {
    let volume = base();
    let [some, data] = ["some", "some/data"].map(|path| at(&volume, path));
    let long = [5; 1_000];
    assert_eq!(needs(&volume, |v| set(v, data, b"user.short", b"value")), 0);
    assert_eq!(needs(&volume, |v| set(v, data, b"user.inline", &long)), 1);
    assert_eq!(needs(&volume, |v| set(v, data, b"user.new", &long)), 1);
    assert_eq!(needs(&volume, |v| set(v, some, b"user.new", &long)), 0);
    assert_eq!(needs(&volume, |v| set(v, some, b"user.block", b"short")), 0);
    assert_eq!(needs(&volume, |v| v.remove_xattr(some, b"user.block")), 0);
    assert_eq!(needs(&volume, |v| v.remove_xattr(data, b"user.inline")), 0);
    let all = SetAttr {
        mode: Some(0o600),
        uid: Some(7),
        gid: Some(8),
        size_bytes: None,
        atime: Some(TimeChange::At(1)),
        mtime: Some(TimeChange::At(2)),
    };
    for ino in [some, data] {
        assert_eq!(needs(&volume, |v| v.setattr(ino, &all)), 0);
    }
}

/// Whoever wants to make room can always do so.
#[test]
fn removing_needs_no_space() {
    let volume = base();
    let [some, full, data] = ["some", "full", "some/data"].map(|path| at(&volume, path));
    assert_eq!(needs(&volume, |v| v.unlink(some, b"data")), 0);
    assert_eq!(needs(&volume, |v| v.unlink(full, &long_name(7))), 0);
    assert_eq!(needs(&volume, |v| v.rmdir(some, b"sub")), 0);
    assert_eq!(needs(&volume, |v| v.unlink(ROOT, b"leaves")), 0);
    let resize = |path, size| {
        let set = SetAttr { size_bytes: Some(size), ..Default::default() };
        let ino = at(&volume, path);
        assert_eq!(needs(&volume, |v| v.setattr(ino, &set)), 0, "{path} to {size}");
    };
    for path in ["some/data", "eight", "leaf", "leaves"] {
        let size = volume.getattr(at(&volume, path)).unwrap().size_bytes;
        for size in [0, 1, size / 2, size / 2 + 4096, size - 1, size + 1, 1_000_000] {
            resize(path, size);
        }
    }
    // An inode without a name goes with its last holder.
    let held = volumes::remount(&volume);
    held.hold(data).unwrap();
    held.unlink(some, b"data").unwrap();
    let free = held.statfs().unwrap().free_blocks;
    let hog = volumes::leave_free(&held, 0);
    held.forget(data);
    drop(hog);
    assert_eq!(held.statfs().unwrap().free_blocks, free + 3);
    assert_sound(&held);
}
