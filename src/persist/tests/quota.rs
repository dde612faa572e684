//! A device without room for a longer image: nothing that was acknowledged is lost, the volume can always
//! be opened, and commits work again as soon as there is room.

use super::crash::{Setup, assert_holds, assert_needed, look, open};
use super::toy::{History, Toy};
use crate::errno::Errno;
use crate::persist::commit::{CommitError, Committer};
use crate::persist::rules::{Rule, Rules};
use crate::persist::sim::{IMAGE, Rng, SimDisk};
use crate::store::Store;
use crate::store::runtime as rt;

/// Segments that take whatever an error leaves dirty.
fn limited(setup: &mut Setup) {
    setup.quota = true;
    setup.segment_blocks = 40;
}

#[test]
fn a_full_device_loses_nothing_and_never_hinders_opening() {
    assert_holds(limited);
}

#[test]
fn rule_room_before_record() {
    assert_needed("room before record", |setup| {
        limited(setup);
        setup.rules = Rules::without(&[Rule::RoomBeforeRecord]);
    });
}

#[test]
fn rule_room_flush() {
    assert_needed("room flush", |setup| {
        limited(setup);
        setup.rules = Rules::without(&[Rule::RoomFlush]);
    });
}

struct Fixture {
    disk: SimDisk,
    setup: Setup,
    life: super::crash::Life,
    toy: Toy,
    history: History,
    committer: Committer,
}

impl Fixture {
    /// A volume whose image may have so many blocks.
    fn new(quota: usize) -> Self {
        let mut setup = Setup::new(1);
        limited(&mut setup);
        setup.limits.data_in_record = 100;
        let disk = SimDisk::new(1);
        disk.set_quota(Some(quota));
        let life = open(&disk, &setup, 1).unwrap();
        let toy = Toy::attach(&life.store, setup.toy_rules(), 0, Default::default(), Rng::new(5));
        let committer = Committer::new(0, setup.limits, setup.rules);
        let mut this = Self { disk, setup, life, toy, history: History::default(), committer };
        this.toy.format(&mut this.history);
        this.commit().unwrap();
        this
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        self.committer.commit(&self.life.image, &mut self.life.disk, true, &|| ())
    }

    fn durable(&self) -> u32 {
        self.life.store.load(rt::DURABLE)
    }

    fn image_blocks(&self) -> usize {
        self.disk.edit(IMAGE, |bytes| bytes.len() / 4096)
    }

    /// What comes back after a power loss, with nobody leaving any room.
    fn recovered(&self) -> u32 {
        self.disk.power_cycle(false);
        self.disk.take_rest();
        let life = open(&self.disk, &self.setup, 99).unwrap();
        look(&life, &self.history, self.durable(), false).unwrap().unwrap()
    }
}

#[test]
fn deleting_what_found_no_room_lets_commits_work_again() {
    let mut fixture = Fixture::new(10);
    // As much as there is, but no more, was taken at once.
    assert_eq!(fixture.image_blocks(), 10);
    fixture.toy.put_data(&mut fixture.history, 9);
    fixture.commit().unwrap();
    let durable = fixture.durable();
    fixture.toy.put_data(&mut fixture.history, 10);
    for _ in 0..3 {
        assert_eq!(fixture.commit().unwrap_err().errno(), Errno::EDQUOT);
        assert_eq!(fixture.durable(), durable);
    }
    fixture.toy.drop_block(&mut fixture.history, 10);
    fixture.commit().unwrap();
    assert_eq!(fixture.recovered(), durable + 2);
}

#[test]
fn a_greater_quota_lets_commits_work_again() {
    let mut fixture = Fixture::new(10);
    fixture.toy.put_data(&mut fixture.history, 14);
    assert_eq!(fixture.commit().unwrap_err().errno(), Errno::EDQUOT);
    fixture.disk.set_quota(Some(15));
    fixture.commit().unwrap();
    assert_eq!(fixture.recovered(), fixture.durable());
}

#[test]
fn a_kill_while_the_device_is_full_leaves_what_was_acknowledged() {
    let mut fixture = Fixture::new(10);
    fixture.toy.put_data(&mut fixture.history, 14);
    assert_eq!(fixture.commit().unwrap_err().errno(), Errno::EDQUOT);
    assert_eq!(fixture.recovered(), fixture.durable());
}
