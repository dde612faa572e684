//! A keeper that pauses, and the next one that goes on with what is in the store.

use super::toy::{History, Toy, ToyRules, UUID, fresh_store, judge};
use crate::core::Image;
use crate::errno::Errno;
use crate::persist::recovery::{Found, OpenOptions};
use crate::persist::sim::{Faults, Rng, SimDevice, SimDisk};
use crate::persist::{Keeper, Mark, OpenError, Turn, wait_durable};
use crate::store::runtime::{self as rt, Durability, KeeperState};
use crate::store::{HeapStore, Store};
use std::sync::Arc;

type ToyKeeper = Keeper<Arc<HeapStore>, SimDevice>;

const PAUSE: u32 = 2;

fn open(
    disk: &SimDisk,
    image: Image<Arc<HeapStore>>,
    resume: Option<Mark>,
) -> Result<(ToyKeeper, Found), OpenError> {
    let mut keys = Rng::new(3);
    let mut options = OpenOptions::new(UUID, Box::new(move || keys.next()));
    (options.segment_blocks, options.resume) = (80, resume);
    let (image_device, journal_device) = disk.devices();
    Keeper::open(image, image_device, journal_device, options, Box::new(|| 0), &mut |_| ())
}

fn attach(store: &Arc<HeapStore>) -> Image<Arc<HeapStore>> {
    Image::attach(store.clone(), 99).unwrap()
}

/// The mark of a keeper that was told to pause.
fn pause(store: &HeapStore, mut keeper: ToyKeeper) -> Mark {
    store.store(rt::KEEPER_STOP, PAUSE);
    while keeper.turn(0) != Turn::Stopped {}
    assert_eq!(store.load(rt::KEEPER_STATE), KeeperState::Up as u32, "to clients it is slow");
    keeper.mark()
}

#[test]
fn changes_of_before_and_after_a_pause_are_committed_by_the_next_keeper() {
    for refuses in [false, true] {
        let disk = SimDisk::new(1);
        let (store, image) = fresh_store(64, Durability::Strict);
        let (mut keeper, _) = open(&disk, image, None).unwrap();
        let rules = ToyRules { ignore_quarantine: false, blocks: 64, admitted: 60 };
        let mut toy = Toy::attach(&store, rules, 0, Default::default(), Rng::new(9));
        let mut history = History::default();
        toy.format(&mut history);
        keeper.flush_now().unwrap();
        for round in 0..20 {
            for _ in 0..5 {
                toy.mutate(&mut history);
            }
            if refuses {
                disk.set_faults(Faults { write_percent: 100, ..Faults::default() }, Errno::EDQUOT);
            }
            let mark = pause(&store, keeper);
            disk.set_faults(Faults::default(), Errno::EIO);
            // Somebody is faster than the page's freezing.
            toy.mutate(&mut history);
            (keeper, _) = open(&disk, attach(&store), Some(mark)).unwrap();
            assert_eq!(store.load(rt::FAILURE), 0, "{round}");
            assert_eq!(keeper.commit_now(), Ok(()));
            assert_eq!(wait_durable(&attach(&store), store.load(rt::CHANGE)), Ok(()));
        }
        drop(keeper);
        let change = store.load(rt::CHANGE);
        let (_, image) = fresh_store(64, Durability::Strict);
        let (keeper, _) = open(&disk, image, None).unwrap();
        assert_eq!(judge(keeper.image(), &history, change, false), Ok(change));
    }
}

#[test]
fn a_volume_that_somebody_else_had_is_not_gone_on_with() {
    let disk = SimDisk::new(1);
    let (store, image) = fresh_store(64, Durability::Strict);
    let (mut keeper, _) = open(&disk, image, None).unwrap();
    let rules = ToyRules { ignore_quarantine: false, blocks: 64, admitted: 60 };
    let mut toy = Toy::attach(&store, rules, 0, Default::default(), Rng::new(9));
    toy.format(&mut History::default());
    keeper.flush_now().unwrap();
    let mark = pause(&store, keeper);

    // Another page opens it, and changes nothing.
    let (_, image) = fresh_store(64, Durability::Strict);
    drop(open(&disk, image, None).unwrap());
    let before = disk.events().len();
    assert_eq!(open(&disk, attach(&store), Some(mark)).err(), Some(OpenError::Changed));
    assert_eq!(disk.events().len(), before, "a volume that is refused is left as it was");
}
