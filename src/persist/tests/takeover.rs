//! Keepers that die at any access to the store or call of a device, and those that take over.

use super::toy::{History, Toy, ToyRules, UUID, fresh_store, judge};
use crate::core::Image;
use crate::persist::plan::Limits;
use crate::persist::recovery::OpenOptions;
use crate::persist::rules::{Rule, Rules};
use crate::persist::sim::{Rng, SimDevice, SimDisk};
use crate::persist::{Keeper, Mark, OpenError, Turn, request_commit};
use crate::store::clients::mark_keeper_dead;
use crate::store::mortal::{self, Mortal};
use crate::store::runtime::{self as rt, Bitmap, Durability, KeeperState};
use crate::store::{HeapStore, Store};
use std::sync::Arc;

/// The client number of all keepers.
const KEEPER: u32 = 65;

type MortalKeeper = Keeper<Mortal, SimDevice>;

struct World {
    disk: SimDisk,
    store: Arc<HeapStore>,
    rules: Rules,
    limits: Limits,
    segment_blocks: u32,
    seed: u64,
    toy: Toy,
    history: History,
}

impl World {
    fn new(seed: u64, durability: Durability, rules: Rules) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let blocks = [18, 22][rng.below(2)];
        let (store, _) = fresh_store(blocks, durability);
        // All blocks fit one record: a toy has no admission that counts what is in flight.
        let toy_rules = ToyRules { ignore_quarantine: false, blocks, admitted: blocks as usize };
        let toy = Toy::attach(&store, toy_rules, 0, Default::default(), Rng::new(seed));
        let data_in_record = rng.below(4);
        Self {
            disk: SimDisk::new(seed),
            limits: Limits { data_in_record, overwrites_in_record: usize::MAX, passes: 2 },
            segment_blocks: blocks + 4 + rng.below(8) as u32,
            store,
            rules,
            seed,
            toy,
            history: History::default(),
        }
    }

    /// A keeper, who dies at the `dies_at`-th access; none when that was while it opened.
    fn keeper(&mut self, resumes: bool, dies_at: Option<u64>) -> Option<MortalKeeper> {
        let mortal = Mortal::new(&self.store);
        if let Some(access) = dies_at {
            mortal.dies_at(access, false);
        }
        self.seed += 1;
        let mut keys = Rng::new(self.seed);
        let mut options = OpenOptions::new(UUID, Box::new(move || keys.next()));
        options.segment_blocks = self.segment_blocks;
        (options.limits, options.rules) = (self.limits, self.rules);
        options.resume = resumes.then(|| Mark::kept(&self.store));
        let (image_device, journal_device) = self.disk.devices();
        let open = || -> Result<MortalKeeper, OpenError> {
            let image = Image::attach(mortal.clone(), KEEPER).unwrap();
            Keeper::open(image, image_device, journal_device, options, Box::new(|| 0), &mut |_| ())
                .map(|(keeper, _)| keeper)
        };
        mortal::run(open).map(|opened| opened.unwrap_or_else(|error| panic!("{error}")))
    }

    fn change(&mut self, count: usize) {
        for _ in 0..count {
            self.toy.mutate(&mut self.history);
        }
    }
}

/// What a client finds acknowledged.
fn acknowledged(store: &HeapStore) -> u32 {
    store.load(rt::DURABLE)
}

fn opened_anew(world: &World) -> Result<u32, String> {
    let (_, image) = fresh_store(world.toy.image.capacity_blocks(), Durability::Strict);
    let mut keys = Rng::new(7);
    let mut options = OpenOptions::new(UUID, Box::new(move || keys.next()));
    options.segment_blocks = world.segment_blocks;
    let (image_device, journal_device) = world.disk.devices();
    let (keeper, _) =
        Keeper::open(image, image_device, journal_device, options, Box::new(|| 0), &mut |_| ())
            .map_err(|error| error.to_string())?;
    judge(keeper.image(), &world.history, acknowledged(&world.store), false)
}

/// Keepers die one after the other, and programs go on. Then the power fails, or the volume is closed in order.
fn trial(seed: u64, durability: Durability, rules: Rules) -> Result<(), String> {
    let mut world = World::new(seed, durability, rules);
    let mut rng = Rng::new(seed ^ 0xdead);
    let mut keeper = world.keeper(false, None).expect("it lives");
    world.toy.format(&mut world.history);
    keeper.flush_now().unwrap();
    for _ in 0..1 + rng.below(4) {
        // Some die early and some late, some of them while they take over.
        keeper.image().store().dies_at(1 + rng.below(3_000) as u64, false);
        for _ in 0..30 {
            world.change(1 + rng.below(3));
            if rng.chance(60) {
                request_commit(&world.toy.image, world.store.load(rt::CHANGE));
            }
            let served = mortal::run(|| match rng.below(8) {
                0 => keeper.flush_now().map(drop),
                1 => keeper.checkpoint_now().map(drop),
                _ => {
                    while keeper.turn(0) == Turn::Busy {}
                    Ok(())
                }
            });
            match served {
                None => break,
                Some(Err(errno)) => return Err(format!("seed {seed}: {errno}")),
                Some(Ok(())) => {}
            }
        }
        drop(keeper);
        if rng.chance(50) {
            // Clients hear of it first, and inherit the gate if the keeper had it.
            mark_keeper_dead(&*world.store);
            world.change(1 + rng.below(3));
        }
        loop {
            let dies_at = rng.chance(40).then(|| 1 + rng.below(600) as u64);
            if let Some(next) = world.keeper(true, dies_at) {
                next.image().store().dies_at(u64::MAX, false);
                keeper = next;
                break;
            }
            mark_keeper_dead(&*world.store);
            world.change(1);
        }
        if world.store.load(rt::KEEPER_STATE) != KeeperState::Up as u32 {
            return Err(format!("seed {seed}: nobody serves"));
        }
        counts_are_exact(&world).map_err(|what| format!("seed {seed}: {what}"))?;
        // What the clients see of it: they wait a little longer.
        if rng.chance(50) {
            let change = world.store.load(rt::CHANGE);
            request_commit(&world.toy.image, change);
            keeper.flush_now().map_err(|errno| format!("seed {seed}: {errno}"))?;
            if acknowledged(&world.store) != change {
                return Err(format!("seed {seed}: {change} was not reached"));
            }
        }
    }
    let last = world.store.load(rt::CHANGE);
    let in_order = rng.chance(50);
    if in_order {
        keeper.stop().map_err(|errno| format!("seed {seed}: {errno}"))?;
    }
    drop(keeper);
    world.disk.power_cycle(rng.chance(50));
    let found = opened_anew(&world).map_err(|what| format!("seed {seed}: {what}"))?;
    if in_order && found != last { Err(format!("seed {seed}: {found}, not {last}")) } else { Ok(()) }
}

/// The words of the runtime region that are counted anew.
fn counts_are_exact(world: &World) -> Result<(), String> {
    use crate::persist::bits::{all, count, count_both};
    let (image, load) = (&world.toy.image, |word| world.store.load(word));
    let in_flight = all(image, Bitmap::InFlight);
    let found = [rt::DIRTY_COUNT, rt::DIRTY_META_COUNT, rt::QUARANTINE_COUNT].map(load);
    let exact = [
        count(image, Bitmap::Dirty),
        count_both(image, Bitmap::Dirty, Bitmap::Meta),
        count(image, Bitmap::Quarantine),
    ];
    match (in_flight.is_empty(), found == exact) {
        (true, true) => Ok(()),
        _ => Err(format!("in flight {in_flight:?}; counts {found:?}, exact {exact:?}")),
    }
}

const TRIALS: u64 = 400;

fn failures(durability: Durability, rules: Rules, trials: u64) -> impl Iterator<Item = String> {
    (0..trials).filter_map(move |seed| trial(seed, durability, rules).err())
}

#[test]
fn nothing_is_lost_when_keepers_die() {
    for durability in [Durability::Strict, Durability::Relaxed] {
        assert_eq!(failures(durability, Rules::default(), TRIALS).next(), None, "{durability:?}");
    }
}

#[test]
fn rule_in_flight_before_clean() {
    let rules = Rules::without(&[Rule::InFlightBeforeClean]);
    assert!(failures(Durability::Strict, rules, 20 * TRIALS).next().is_some());
}

#[test]
fn rule_in_flight_is_dirty() {
    let rules = Rules::without(&[Rule::InFlightIsDirty]);
    assert!(failures(Durability::Strict, rules, TRIALS).next().is_some());
}

#[test]
fn marks_tell_an_owner_from_others() {
    let first = Mark { epoch: 5, key: 77 };
    let third = first.next().next();
    assert!(first.leads_to(first) && first.leads_to(third) && !third.leads_to(first));
    assert!(!first.leads_to(Mark { key: 78, ..third }) && !first.leads_to(Mark { epoch: 8, ..third }));
    let store = HeapStore::new(rt::store_size_bytes(64));
    let mark = Mark { epoch: 0x0123_4567_89ab_cdef, key: 0xfedc_ba98_7654_3210 };
    mark.keep(&store);
    assert_eq!(Mark::kept(&store), mark);
}
