//! The journal takes all metadata blocks that a commit has to write in one record: mutations wait before there are more. Without
//! that nothing could be committed any more.

use super::{Committer, NewInode, Volume};
use crate::core::Image;
use crate::core::rules::{Rule, Rules};
use crate::errno::Errno;
use crate::format::{FileKind, INODES_PER_BLOCK};
use crate::persist::{ADMISSION_META_BLOCKS, Keeper, METADATA_MAX_BLOCKS, MemDevice, OpenOptions};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const NOW: fn() -> i64 = || 1_700_000_000_000_000_000;
const ROOT: u32 = 2;

/// So many that their inodes alone take more blocks than a record.
const FILES: u32 = INODES_PER_BLOCK * (METADATA_MAX_BLOCKS + 64);

/// Creates files with nobody to ask for a commit in between. Gives the commits that the volume asked for itself, the most metadata
/// blocks that were dirty when it did or in the end, and what came of a commit then.
fn create_many(rules: Rules) -> (u32, u32, Result<(), Errno>) {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(8192)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let options = OpenOptions::new([5; 16], Box::new(|| 7));
    let (keeper, _) = Keeper::open(
        image,
        MemDevice::default(),
        MemDevice::default(),
        options,
        Box::new(|| 0),
        &mut |_| (),
    )
    .unwrap();
    let mut volume = Volume::format(store.clone(), 2, NOW, [5; 32]).unwrap();
    volume.core.image.set_rules(rules);
    let (keeper, commits, most) =
        (Arc::new(Mutex::new(keeper)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (inline, counted, seen, words) = (keeper.clone(), commits.clone(), most.clone(), store.clone());
    volume.set_committer(Committer::Inline(Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        seen.fetch_max(words.load(rt::DIRTY_META_COUNT), Ordering::Relaxed);
        inline.lock().map_err(|_| Errno::EIO)?.commit_now()
    })));
    let new = NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 };
    for file in 0..FILES {
        volume.create(ROOT, format!("{file}").as_bytes(), &new).unwrap();
    }
    let most = most.load(Ordering::Relaxed).max(store.load(rt::DIRTY_META_COUNT));
    let answer = keeper.lock().unwrap().commit_now();
    (commits.load(Ordering::Relaxed), most, answer)
}

#[test]
fn what_the_journal_could_not_take_waits_for_a_commit() {
    let (commits, most, answer) = create_many(Rules::default());
    // After the first one there are others, for room on the device.
    assert!(commits > 0);
    assert_eq!(answer, Ok(()));
    // One operation was let in last, for which the journal has room.
    assert!((ADMISSION_META_BLOCKS + 1..ADMISSION_META_BLOCKS + 256).contains(&most), "{most}");
}

#[test]
fn without_admission_there_is_no_commit() {
    let (commits, most, answer) = create_many(Rules::without(Rule::Admission));
    assert_eq!((commits, answer), (0, Err(Errno::EFBIG)));
    assert!(most > METADATA_MAX_BLOCKS, "{most}");
}
