//! Volumes that are made larger while they are mounted.

use super::stack::{Mounted, mount};
use crate::errno::Errno;
use crate::persist::OpenError;
use crate::persist::sim::SimDisk;

const SMALL: u32 = 4096;
const GROUP: u32 = crate::format::GROUP_BLOCKS;

fn blocks(mounted: &Mounted) -> u32 {
    mounted.volume.image().geometry().image_blocks()
}

#[test]
fn a_volume_grows_to_what_the_store_has_room_for() {
    let disk = SimDisk::new(1);
    let mounted = mount(&disk, 40_000).unwrap();
    mounted.write("before", 1 << 20).unwrap();
    assert_eq!(blocks(&mounted), SMALL);
    let free = mounted.volume.statfs().unwrap().free_blocks;
    assert_eq!(mounted.volume.grow_to(SMALL), Ok(()));
    assert_eq!(mounted.volume.grow_to(SMALL - 1), Err(Errno::EINVAL));
    assert_eq!(mounted.volume.grow_to(3), Err(Errno::EINVAL));
    assert_eq!(mounted.volume.grow_to(40_001), Err(Errno::EFBIG));
    assert_eq!(blocks(&mounted), SMALL);
    // Twice in the first group, then into a second one.
    for wanted in [6000, 7001, 36_000] {
        assert_eq!(mounted.volume.grow_to(wanted), Ok(()));
        assert_eq!(blocks(&mounted), wanted);
        assert!(mounted.is_sound());
    }
    assert_eq!(mounted.volume.statfs().unwrap().free_blocks, free, "what it can grow to counts as free");
    // A last group of one block would be nothing but its bitmap.
    assert_eq!(mounted.volume.grow_to(36_000 - 1), Err(Errno::EINVAL));
    mounted.write("after", 40 << 20).unwrap();
    drop(mounted);
    disk.power_cycle(false);
    let Err(OpenError::Capacity { needed_blocks, .. }) = mount(&disk, 35_000) else {
        panic!("it needs a larger store");
    };
    assert_eq!(needed_blocks, 36_000);
    let again = mount(&disk, 36_000).unwrap();
    assert!(again.is_whole("before", 1 << 20) && again.is_whole("after", 40 << 20) && again.is_sound());
    assert_eq!(again.volume.grow_to(36_001), Err(Errno::EFBIG));
}

#[test]
fn a_new_group_needs_room_on_the_device() {
    let disk = SimDisk::new(2);
    disk.set_quota(Some(1000));
    let mounted = mount(&disk, 40_000).unwrap();
    assert_eq!(mounted.volume.grow_to(36_000), Err(Errno::EDQUOT));
    assert_eq!(blocks(&mounted), SMALL);
    // Nothing of it is left that could not be committed.
    mounted.write("file", 100_000).unwrap();
    // Up to the end of the group nothing has to be written there.
    assert_eq!(mounted.volume.grow_to(2 + GROUP), Ok(()));
    mounted.volume.sync().unwrap();
    disk.set_quota(None);
    assert_eq!(mounted.volume.grow_to(36_000), Ok(()));
    mounted.volume.sync().unwrap();
    assert!(mounted.is_sound());
}

#[test]
fn a_volume_that_fills_up_never_needs_a_group_that_the_device_has_no_room_for() {
    let disk = SimDisk::new(3);
    disk.set_quota(Some(33_000));
    let mounted = mount(&disk, 70_000).unwrap();
    let len = 8 << 20;
    // 16 MiB at once, so that nobody knows how much room there is before it is written.
    let mut names = Vec::new();
    let full = (0..30).find_map(|number| {
        names.push(format!("{number}"));
        mounted.write(&names[number], len).err()
    });
    assert_eq!(full, Some(Errno::EDQUOT));
    for name in names.split_off(names.len() - 2) {
        mounted.unlink(&name);
    }
    mounted.volume.sync().unwrap();
    mounted.write("one more", len).unwrap();
    assert!(mounted.is_sound());
    drop(mounted);
    disk.power_cycle(false);
    disk.take_rest();
    let again = mount(&disk, 70_000).unwrap();
    assert!(names.iter().all(|name| again.is_whole(name, len)) && again.is_whole("one more", len));
}

/// The power goes at the n-th event of growing and syncing; whether growing was acknowledged.
fn grow_in_a_storm(seed: u64, wanted: u32, event: usize) -> bool {
    let disk = SimDisk::new(seed);
    let mounted = mount(&disk, wanted).unwrap();
    mounted.write("file", 100_000).unwrap();
    disk.arm(Some(event));
    let result = mounted.volume.grow_to(wanted).and_then(|()| mounted.write("new", 5000));
    let died = disk.is_off();
    drop(mounted);
    disk.power_cycle(seed.is_multiple_of(2));
    let again = mount(&disk, wanted).unwrap();
    assert!(again.is_whole("file", 100_000) && again.is_sound());
    let now = blocks(&again);
    match result {
        Ok(()) => assert!(now == wanted && again.is_whole("new", 5000)),
        Err(_) => assert!(died && (now == wanted || now == SMALL), "{now} blocks"),
    }
    // Both copies of the superblock are those of one commit.
    again.volume.grow_to(wanted).unwrap();
    again.volume.sync().unwrap();
    result.is_ok()
}

#[test]
fn power_losses_in_the_midst_of_growing() {
    for seed in 0..30 {
        assert!((1..).find(|&event| grow_in_a_storm(seed, 8000, event)).is_some_and(|event| event > 2));
    }
    for event in 1..6 {
        grow_in_a_storm(event as u64, 33_000, event);
    }
}
