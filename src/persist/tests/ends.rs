//! Power losses while a file is overwritten and made longer by more than a commit changes at once.

use super::stack::{Mounted, mount, mount_on};
use crate::core::check::{Finding, check};
use crate::core::rules::{Rule, Rules};
use crate::core::{Image, load};
use crate::persist::sim::{Rng, SimDisk};
use crate::persist::{Keeper, OpenOptions};
use crate::store::HeapStore;
use crate::store::runtime::{self as rt, Durability};
use crate::vfs::SetAttr;
use std::sync::Arc;

/// Over 256 blocks, so that what overwrites them goes to the image before the record.
const LEN: usize = 300 * 4096 + 1000;
const LONGER: usize = LEN + 2000;
const BLOCKS: u32 = 4096;

fn ino_of(mounted: &Mounted) -> u32 {
    mounted.volume.lookup(super::stack::ROOT, b"file").unwrap().ino
}

/// The power goes at the n-th event of a commit that overwrites a file and makes it longer. Whether it was acknowledged.
fn storm(disk: &SimDisk, event: usize) -> bool {
    let mounted = mount(disk, BLOCKS).unwrap();
    mounted.write("file", LEN).unwrap();
    // Data with a copy in the journal would go there again.
    mounted.keeper.lock().checkpoint_now().unwrap();
    let ino = ino_of(&mounted);
    assert_eq!(mounted.volume.write(ino, 0, &[7; LONGER]), Ok(LONGER));
    disk.arm(Some(event));
    let done = mounted.volume.fsync(ino).is_ok();
    drop(mounted);
    disk.power_cycle(false);
    done
}

/// What is found behind the file's end if nobody clears it.
fn remains(disk: &SimDisk) -> Vec<Finding> {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(BLOCKS)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let mut keys = Rng::new(3);
    let mut options = OpenOptions::new([1; 16], Box::new(move || keys.next()));
    options.read_only = true;
    let (image_device, journal_device) = disk.devices();
    Keeper::open(image, image_device, journal_device, options, Box::new(|| 0), &mut |_| ()).unwrap();
    let mut image = Image::attach(store, 2).unwrap();
    image.set_rules(Rules::without(Rule::ClearEnds));
    check(&load(image).unwrap()).findings
}

#[test]
fn a_file_that_grows_shows_nothing_of_a_lost_commit() {
    let mut found = 0;
    for event in 1.. {
        let disk = SimDisk::new(event as u64);
        let done = storm(&disk, event);
        let remains = remains(&disk);
        found += remains.len();
        assert!(
            remains.iter().all(|finding| matches!(finding, Finding::DirtyTail { .. })),
            "{remains:?}"
        );
        let reader = mount_on(disk.devices(), BLOCKS, true, |_| ()).unwrap();
        assert!(reader.is_sound());
        drop(reader);
        let again = mount(&disk, BLOCKS).unwrap();
        assert!(again.is_sound());
        let ino = ino_of(&again);
        let end = again.volume.getattr(ino).unwrap().size_bytes;
        assert!(end == LONGER as u64 || !done && end == LEN as u64, "{end}");
        let grow = SetAttr { size_bytes: Some(end + 3000), ..SetAttr::default() };
        again.volume.setattr(ino, &grow).unwrap();
        again.volume.sync().unwrap();
        drop(again);
        // What was cleared is cleared on the disk, too.
        disk.power_cycle(false);
        let last = mount(&disk, BLOCKS).unwrap();
        let mut bytes = [1; 3000];
        assert_eq!(last.volume.read(ino, end, &mut bytes), Ok(3000));
        assert_eq!(bytes, [0; 3000], "event {event}");
        assert!(last.is_sound());
        if done {
            break;
        }
    }
    assert!(found > 0, "without the rule nothing is left behind the end");
}
