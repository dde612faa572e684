//! The whole file system over the simulated disk: a full device, a volume that grows.

use crate::core::Image;
use crate::core::check::check;
use crate::errno::Errno;
use crate::format::FileKind;
use crate::persist::recovery::{Found, OpenOptions};
use crate::persist::sim::{Rng, SimDevice, SimDisk};
use crate::persist::{Device, Keeper, OpenError};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::{Committer, NewInode, Volume};
use parking_lot::Mutex;
use std::sync::Arc;

type Shared = Arc<HeapStore>;

pub const ROOT: u32 = 2;
const RANDOM: [u8; 32] = *b"sixteen bytes ID and hashing key";
pub const FILE: NewInode =
    NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 };

/// A mounted volume whose program is its own keeper.
pub struct Mounted<D = SimDevice> {
    pub volume: Volume<Shared>,
    pub store: Shared,
    pub keeper: Arc<Mutex<Keeper<Shared, D>>>,
}

pub fn mount(disk: &SimDisk, capacity_blocks: u32) -> Result<Mounted, OpenError> {
    let mounted = mount_on(disk.devices(), capacity_blocks, false, |_| ())?;
    mounted.volume.sync().expect("room for an empty volume");
    Ok(mounted)
}

/// Mounts; `change` may change the image of a new volume before its first commit.
pub fn mount_on<D: Device + Send + 'static>(
    (image_device, journal_device): (D, D),
    capacity_blocks: u32,
    read_only: bool,
    change: impl FnOnce(&Image<Shared>),
) -> Result<Mounted<D>, OpenError> {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(capacity_blocks)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let mut keys = Rng::new(3);
    let uuid = RANDOM[..16].try_into().unwrap();
    let mut options = OpenOptions::new(uuid, Box::new(move || keys.next()));
    (options.segment_blocks, options.read_only) = (600, read_only);
    let (keeper, found) =
        Keeper::open(image, image_device, journal_device, options, Box::new(|| 0), &mut |_| ())?;
    let mut volume = match found {
        Found::New => Volume::format(store.clone(), 2, || 0, RANDOM).unwrap(),
        Found::Volume(_) => Volume::load(store.clone(), 2, || 0).unwrap(),
    };
    change(volume.image());
    let keeper = Arc::new(Mutex::new(keeper));
    let own = keeper.clone();
    volume.set_committer(Committer::Inline(Box::new(move |durable| {
        let mut keeper = own.lock();
        if durable { keeper.flush_now() } else { keeper.commit_now() }
    })));
    Ok(Mounted { volume, store, keeper })
}

impl<D> Mounted<D> {
    pub fn write(&self, name: &str, len: usize) -> Result<(), Errno> {
        let attr = self.volume.create(ROOT, name.as_bytes(), &FILE)?;
        let bytes: Vec<u8> = (0..len).map(|i| (i / 7 + name.len()) as u8).collect();
        let mut done = 0;
        while done < len {
            done += self.volume.write(attr.ino, done as u64, &bytes[done..])?;
        }
        self.volume.fsync(attr.ino)
    }

    pub fn is_whole(&self, name: &str, len: usize) -> bool {
        let Ok(attr) = self.volume.lookup(ROOT, name.as_bytes()) else { return false };
        let mut bytes = vec![0; len + 1];
        self.volume.read(attr.ino, 0, &mut bytes) == Ok(len)
            && bytes[..len].iter().enumerate().all(|(i, &b)| b == (i / 7 + name.len()) as u8)
    }

    pub fn unlink(&self, name: &str) {
        self.volume.unlink(ROOT, name.as_bytes()).unwrap();
    }

    pub fn is_sound(&self) -> bool {
        let report = check(self.volume.core());
        assert!(report.is_clean(), "{report}");
        true
    }
}

const LEN: usize = 300_000;

/// Writes files until there is no room; gives how many were synced.
fn fill(mounted: &Mounted) -> usize {
    for number in 0..200 {
        match mounted.write(&format!("{number}"), LEN) {
            Ok(()) => {}
            Err(errno) => {
                assert_eq!(errno, Errno::EDQUOT);
                return number;
            }
        }
    }
    panic!("the device is never full")
}

#[test]
fn a_full_device_and_files_deleted() {
    let disk = SimDisk::new(5);
    disk.set_quota(Some(1000));
    let mounted = mount(&disk, 4096).unwrap();
    let synced = fill(&mounted);
    assert!((10..14).contains(&synced), "{synced}");
    for round in 0..5 {
        // What found no room goes, and half of the rest.
        for number in synced / 2..=synced {
            if mounted.volume.lookup(ROOT, format!("{number}").as_bytes()).is_ok() {
                mounted.unlink(&format!("{number}"));
            }
        }
        mounted.volume.sync().unwrap();
        for number in synced / 2..synced {
            assert_eq!(mounted.write(&format!("{number}"), LEN), Ok(()), "round {round}");
        }
        // One more than fits is refused before it spoils anything: no commit fails from now on.
        assert_eq!(mounted.write(&format!("{synced}"), LEN * 2), Err(Errno::EDQUOT));
        mounted.volume.sync().unwrap();
    }
    assert!(mounted.is_sound());
    disk.power_cycle(false);
    disk.take_rest();
    let again = mount(&disk, 4096).unwrap();
    assert!((0..synced).all(|number| again.is_whole(&format!("{number}"), LEN)));
    assert!(again.is_sound());
}

#[test]
fn a_full_device_gets_more_room() {
    let disk = SimDisk::new(6);
    disk.set_quota(Some(1000));
    let mounted = mount(&disk, 4096).unwrap();
    let synced = fill(&mounted);
    disk.set_quota(Some(3000));
    mounted.volume.sync().unwrap();
    for number in synced + 1..synced * 2 {
        mounted.write(&format!("{number}"), LEN).unwrap();
    }
    assert_eq!(mounted.store.load(rt::ROOM_SHORT), 0);
    assert!(mounted.is_sound());
}

#[test]
fn data_that_find_no_room_when_they_are_synced() {
    let disk = SimDisk::new(8);
    disk.set_quota(Some(1000));
    let mounted = mount(&disk, 8192).unwrap();
    for number in 0..3 {
        mounted.write(&format!("{number}"), LEN).unwrap();
    }
    // Nobody knows yet that there is no room for so much.
    assert_eq!(mounted.write("large", 10 << 20), Err(Errno::EDQUOT));
    assert!(mounted.is_whole("large", 10 << 20));
    assert_eq!(mounted.volume.sync(), Err(Errno::EDQUOT));
    disk.power_cycle(false);
    disk.take_rest();
    let again = mount(&disk, 8192).unwrap();
    assert!((0..3).all(|number| again.is_whole(&format!("{number}"), LEN)) && again.is_sound());
    disk.set_quota(Some(1000));
    assert_eq!(again.write("large", 10 << 20), Err(Errno::EDQUOT));
    let _ = again.volume.unlink(ROOT, b"large");
    again.volume.sync().unwrap();
    again.write("more", LEN).unwrap();
    assert!(again.is_sound());
}

#[test]
fn small_files_up_to_the_last_block() {
    let disk = SimDisk::new(7);
    disk.set_quota(Some(400));
    let mounted = mount(&disk, 4096).unwrap();
    let mut names = Vec::new();
    // Synced now and then: names, inodes and data find no room in the midst of it.
    'full: for number in 0..20_000 {
        let name = format!("a name of some length {number}");
        let made = mounted.volume.create(ROOT, name.as_bytes(), &FILE);
        let synced = made.and_then(|_| if number % 50 == 0 { mounted.volume.sync() } else { Ok(()) });
        names.push(name);
        if let Err(errno) = synced {
            assert_eq!(errno, Errno::EDQUOT);
            break 'full;
        }
    }
    assert!((100..20_000).contains(&names.len()));
    for name in &names {
        let _ = mounted.volume.unlink(ROOT, name.as_bytes());
    }
    mounted.volume.sync().unwrap();
    mounted.write("one", LEN).unwrap();
    assert!(mounted.is_sound());
    drop(mounted.keeper);
    disk.power_cycle(false);
    assert!(mount(&disk, 4096).unwrap().is_whole("one", LEN));
}

/// Random operations, syncs, changes of the quota and power losses: what was synced is there.
#[test]
fn random_work_on_a_device_that_is_now_and_then_full() {
    for seed in 0..12 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed ^ 0x00f0_0d00);
        disk.set_quota(Some(200));
        // Names of files, and what was synced at last.
        let (mut now, mut synced) = (Vec::<(String, usize)>::new(), Vec::<(String, usize)>::new());
        for life in 0..4 {
            let mounted = mount(&disk, 2048).unwrap();
            for (name, len) in &synced {
                assert!(mounted.is_whole(name, *len), "seed {seed}, life {life}: {name}");
            }
            assert!(mounted.is_sound());
            now.clone_from(&synced);
            now.retain(|(name, len)| mounted.is_whole(name, *len));
            for step in 0..60 {
                if rng.chance(60) || now.is_empty() {
                    let (name, len) = (format!("{life}-{step}"), 1 + rng.below(LEN));
                    match mounted.write(&name, len) {
                        Ok(()) => {
                            now.push((name, len));
                            synced.clone_from(&now);
                        }
                        Err(errno) => {
                            assert!(matches!(errno, Errno::EDQUOT | Errno::ENOSPC), "{errno}");
                            // What found no room may be there or not, and goes.
                            let _ = mounted.volume.unlink(ROOT, name.as_bytes());
                        }
                    }
                } else if rng.chance(70) {
                    let (name, _) = now.swap_remove(rng.below(now.len()));
                    // Until it is synced again it may be there after a power loss, or not.
                    synced.retain(|(other, _)| *other != name);
                    mounted.unlink(&name);
                    mounted.volume.sync().unwrap();
                } else {
                    disk.set_quota(Some(150 + rng.below(800)));
                }
            }
            disk.arm(Some(1 + rng.below(20)));
            while !disk.is_off() {
                let name = format!("last-{life}-{}", rng.next());
                let _ = mounted.write(&name, 1 + rng.below(LEN));
                let _ = mounted.volume.unlink(ROOT, name.as_bytes());
            }
            disk.power_cycle(false);
            disk.take_rest();
        }
    }
}
