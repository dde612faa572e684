//! Mounts that write nothing: after any crash, whatever the files hold.

use super::stack::{FILE, Mounted, ROOT, mount, mount_on};
use crate::errno::Errno;
use crate::persist::sim::{IMAGE, JOURNAL, Rng, SimDevice, SimDisk};
use crate::persist::{Device, DeviceError};
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};

/// A device that must not be written to.
struct Sealed(SimDevice);

impl Device for Sealed {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        self.0.size_bytes()
    }
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        self.0.read(at, buffer)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        panic!("a write of {} bytes at {at}", bytes.len());
    }
    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        panic!("a new size, {size_bytes}");
    }
    fn flush(&mut self) -> Result<(), DeviceError> {
        panic!("a flush");
    }
}

const BLOCKS: u32 = 4096;

fn mount_sealed(disk: &SimDisk, read_only: bool) -> Mounted<Sealed> {
    let (image, journal) = disk.devices();
    mount_on((Sealed(image), Sealed(journal)), BLOCKS, read_only, |_| ()).unwrap()
}

fn files(disk: &SimDisk) -> [Vec<u8>; 2] {
    [IMAGE, JOURNAL].map(|file| disk.edit(file, |bytes| bytes.clone()))
}

/// Everything that changes something gives `EROFS`, what reads works, and nothing is left to write.
fn assert_read_only<D: Device>(mounted: &Mounted<D>) {
    let volume = &mounted.volume;
    assert_eq!(volume.create(ROOT, b"new", &FILE).unwrap_err(), Errno::EROFS);
    assert_eq!(volume.grow_to(BLOCKS), Err(Errno::EROFS));
    if let Ok(file) = volume.lookup(ROOT, b"0") {
        assert_eq!(volume.write(file.ino, 0, b"x"), Err(Errno::EROFS));
        assert_eq!(volume.unlink(ROOT, b"0"), Err(Errno::EROFS));
        volume.hold(file.ino).unwrap();
        assert_eq!(volume.fsync(file.ino), Ok(()));
        volume.forget(file.ino);
    }
    assert_eq!(volume.sync(), Ok(()));
    let mut keeper = mounted.keeper.lock();
    assert_eq!(keeper.checkpoint_now(), Ok(()));
    while keeper.turn(0) == crate::persist::Turn::Busy {}
    assert_eq!(keeper.stop(), Ok(()));
    assert_eq!(mounted.store.load(rt::DIRTY_COUNT), 0);
    assert!(super::super::bits::all(volume.image(), Bitmap::Dirty).is_empty());
}

#[test]
fn after_a_crash_everything_is_there_and_the_files_are_untouched() {
    for seed in 0..25 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed);
        let mut lens = Vec::new();
        {
            let mounted = mount(&disk, BLOCKS).unwrap();
            // An orphan: its last name is gone, but somebody holds it when the power goes.
            let orphan = mounted.volume.create(ROOT, b"orphan", &FILE).unwrap().ino;
            mounted.volume.write(orphan, 0, &[7; 50_000]).unwrap();
            mounted.volume.hold(orphan).unwrap();
            mounted.unlink("orphan");
            for number in 0..4 + rng.below(8) {
                lens.push(1 + rng.below(400_000));
                mounted.write(&format!("{number}"), lens[number]).unwrap();
            }
            disk.arm(Some(1 + rng.below(4)));
            let _ = mounted.write("last", 300_000);
        }
        disk.power_cycle(false);
        let before = files(&disk);
        let found = {
            let mounted = mount_sealed(&disk, true);
            for (number, &len) in lens.iter().enumerate() {
                assert!(mounted.is_whole(&format!("{number}"), len), "seed {seed}");
            }
            assert!(mounted.is_sound());
            assert_read_only(&mounted);
            mounted.volume.lookup(ROOT, b"last").map(|attr| attr.size_bytes)
        };
        assert!(files(&disk) == before, "seed {seed}");
        // The mount that may write finds the same, and frees the orphan.
        let mounted = mount(&disk, BLOCKS).unwrap();
        assert!((0..lens.len()).all(|number| mounted.is_whole(&format!("{number}"), lens[number])));
        assert_eq!(mounted.volume.lookup(ROOT, b"last").map(|attr| attr.size_bytes), found);
        assert!(mounted.is_sound());
    }
}

#[test]
fn unknown_features_that_allow_reading_allow_no_more() {
    let disk = SimDisk::new(3);
    // The first of the read-only compatible features, in both copies of the superblock.
    let change = |image: &crate::core::Image<_>| (0..2).for_each(|copy| image.write(copy, 48, &[1]));
    let mounted = mount_on(disk.devices(), BLOCKS, false, change).unwrap();
    mounted.write("0", 20_000).unwrap();
    drop(mounted);
    disk.power_cycle(false);
    let before = files(&disk);
    let mounted = mount_sealed(&disk, false);
    assert!(mounted.is_whole("0", 20_000));
    assert_read_only(&mounted);
    assert!(files(&disk) == before);
}

#[test]
fn nothing_stays_nothing() {
    let disk = SimDisk::new(4);
    let store = std::sync::Arc::new(crate::store::HeapStore::new(rt::store_size_bytes(64)));
    crate::core::Image::prepare(&store, 1, rt::Durability::Strict).unwrap();
    let image = crate::core::Image::attach(store, 1).unwrap();
    let (image_device, journal_device) = disk.devices();
    let mut options = crate::persist::OpenOptions::new([1; 16], Box::new(|| 4));
    options.read_only = true;
    let devices = (Sealed(image_device), Sealed(journal_device));
    let opened =
        crate::persist::open_volume(devices.0, devices.1, &image, options, &mut |_| ()).unwrap();
    assert_eq!(opened.found, crate::persist::Found::New);
    assert!(files(&disk).iter().all(Vec::is_empty));
}
