//! The keeper's bell: whoever wants a commit gets one, and nobody sleeps for ever.

use super::store::{LoomStore, Order, Sleeps, Snapshot};
use super::volumes::{self, ROOT, attach, file, now};
use super::{explore, must_fail, say, spawn};
use crate::core::Image;
use crate::persist::{Keeper, MemDevice, OpenOptions, Turn, stop_keeper};
use crate::store::rules::Rule;
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::Volume;
use std::sync::Arc;

const BLOCKS: u32 = 64;

pub fn options() -> OpenOptions {
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    let random = move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        number
    };
    let mut options = OpenOptions::new([7; 16], Box::new(random));
    options.segment_blocks = 160;
    options
}

/// A store with a volume, a client that wants a commit and one that stops the keeper.
fn ringing(preemptions: usize) -> u64 {
    volumes::set_now(1);
    let heap = HeapStore::new(rt::store_size_bytes(BLOCKS));
    Image::prepare(&heap, 1, Durability::Strict).unwrap();
    let empty = Snapshot::of(&heap);
    let words = [
        rt::KEEPER_BELL,
        rt::WANTED,
        rt::FLUSH_WANTED,
        rt::DURABLE,
        rt::KEEPER_STOP,
        rt::KEEPER_STATE,
        rt::GATE,
    ];
    explore(Some(preemptions), move || {
        let empty = empty.clone();
        let run = move || {
            // One says what it wants and rings, the other one looks at the bell and then at what is wanted.
            let store = LoomStore::new(&empty, &words, Order::Fenced, Sleeps::UntilWoken);
            let image = Image::attach(store.clone(), rt::KEEPER_CLIENT).unwrap();
            let (image_file, journal_file) = (MemDevice::default(), MemDevice::default());
            // Its timer is never due.
            let clock = Box::new(|| 0);
            let opened = Keeper::open(image, image_file, journal_file, options(), clock, &mut |_| ());
            let (mut keeper, _) = opened.unwrap();
            let founder: Volume<Arc<LoomStore>> =
                Volume::format(store.clone(), 60, now, [7; 32]).unwrap();
            let serving = spawn(move || while keeper.turn(u32::MAX) != Turn::Stopped {});
            let client = attach(&store, 1);
            let syncing = spawn(move || {
                client.create(ROOT, b"a", &file()).unwrap();
                let change = client.image().store().load(rt::CHANGE);
                client.sync().unwrap();
                assert_eq!(client.image().store().load(rt::DURABLE), change);
            });
            syncing.join().unwrap();
            stop_keeper(founder.image()).unwrap();
            serving.join().unwrap();
        };
        spawn(run).join().unwrap();
    })
}

#[test]
fn who_rings_is_served() {
    let executions = ringing(if super::long() { 3 } else { 2 });
    say(&format!("keeper: {executions} executions"));
}

#[test]
fn rules() {
    must_fail(Rule::BellBeforeWork, || ringing(2));
    must_fail(Rule::BellBehindWanted, || ringing(2));
}
