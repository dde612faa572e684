//! Operations that change a great deal: what their redo records take.

use super::ROOT;
use super::world::{directory, file};
use crate::core::Image;
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::{AllocateMode, Ino, RenameFlags, Volume, XattrFlags};
use std::sync::Arc;

type Heap = Volume<Arc<HeapStore>>;

fn now() -> i64 {
    1
}

/// Bytes of the redo records of the last operation, and where they were.
fn last(volume: &Heap) -> (u32, u32) {
    let store = volume.image().store();
    (store.load(rt::REDO + 4), store.load(rt::REDO + 8))
}

/// Runs operations; gives the most that one of them took.
fn most(volume: &Heap, operations: &mut dyn FnMut(&mut dyn FnMut())) -> (u32, u32) {
    let mut most = (0, 0);
    operations(&mut || {
        let (bytes, place) = last(volume);
        most = (bytes.max(most.0), place.max(most.1));
    });
    most
}

fn fill(volume: &Heap, dir: Ino, target: Ino, names: u32, look: &mut dyn FnMut()) {
    for number in 0..names {
        volume.link(target, dir, format!("{number:0>240}").as_bytes()).unwrap();
        look();
    }
}

/// Names of 240 bytes fill leaves and nodes soonest. All operations on names fit the spill, whatever else the volume
/// has or lacks: none of them needs a free block for its records.
#[test]
fn names_never_need_blocks_for_records() {
    let blocks = 12_000;
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(blocks)));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    let v = Volume::format(store, 1, now, [7; 32]).unwrap();
    let dirs = [&b"a"[..], b"b"].map(|name| v.create(ROOT, name, &directory()).unwrap().ino);
    // An inode has 65,000 names at most: two files.
    let targets = [&b"x"[..], b"y"].map(|name| v.create(ROOT, name, &file()).unwrap().ino);
    let names = if super::long() { 40_000 } else { 6_000 };
    let filling = most(&v, &mut |look| {
        for (dir, target) in dirs.into_iter().zip(targets) {
            fill(&v, dir, target, names, look);
        }
    });
    let moving = most(&v, &mut |look| {
        for number in 0..names {
            let name = format!("{number:0>240}");
            let flags = [RenameFlags::empty(), RenameFlags::WHITEOUT][number as usize % 2];
            let to = format!("{number:x>240}");
            v.rename(dirs[0], name.as_bytes(), dirs[1], to.as_bytes(), flags).unwrap();
            look();
        }
    });
    let removing = most(&v, &mut |look| {
        for number in 0..names {
            v.unlink(dirs[1], format!("{number:0>240}").as_bytes()).unwrap();
            look();
        }
    });
    super::say(&format!("redo bytes: filling {filling:?}, moving {moving:?}, removing {removing:?}"));
    for (bytes, place) in [filling, moving, removing] {
        assert!(u64::from(bytes) <= rt::REDO_SPILL_SIZE_BYTES && place < 2, "{bytes} bytes in {place}");
        assert!(bytes <= 12 * 4096, "{bytes} bytes");
    }
}

/// A file in thousands of pieces: what is given back has records while the spill takes them, moving extents
/// takes blocks, and neither needs more than there is.
#[test]
fn files_in_many_pieces() {
    let pieces = 9_000_u32;
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(pieces + 3_000)));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    let v = Volume::format(store, 1, now, [7; 32]).unwrap();
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    for piece in 0..u64::from(pieces) {
        v.write(f, piece * 8192, &[1; 10]).unwrap();
    }
    v.set_xattr(f, b"user.a", &[1; 3_000], XattrFlags::empty()).unwrap();
    v.allocate(f, AllocateMode::COLLAPSE_RANGE, 4096, 4096).unwrap();
    let collapsed = last(&v);
    v.allocate(f, AllocateMode::ZERO_RANGE, 100, 8192 * 1_000).unwrap();
    let cleared = last(&v);
    v.allocate(f, AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE, 100, 8192 * 4_000).unwrap();
    let punched = last(&v);
    v.unlink(ROOT, b"f").unwrap();
    let removed = last(&v);
    super::say(&format!(
        "redo bytes: collapsing {collapsed:?}, clearing {cleared:?}, punching {punched:?}, \
         removing {removed:?}"
    ));
    assert!(collapsed.0 > 100_000 && [collapsed, cleared, punched, removed].iter().all(|(_, p)| *p < 2));
    let report = crate::core::check::check(v.core());
    assert!(report.is_clean(), "{report}");
}
