//! The kill explorer: clients that die at any access to the store, others that recover what they left, and die at
//! that, too. What is left must be whole.

mod large;
mod living;
mod rules;
mod scenes;
mod tree;
mod world;

use super::types::Ino;
use crate::core::Room;
use crate::core::rules::Rules;
use scenes::scenes;
use std::io::Write;
use world::{Death, Setting, World};

const ROOT: Ino = 2;

/// Whether more is to be tried.
fn long() -> bool {
    std::env::var_os("SABFS_LONG").is_some()
}

/// How much a test looked at, for whoever reads its output.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Each scene with the client dead at every access, and at every write that may be torn, too.
fn explore(setting: Setting) -> (u64, u32) {
    let (mut deaths, mut most, mut wrong) = (0, 0_u32, Vec::new());
    for scene in scenes() {
        let mut world = World::new(scene, setting);
        let whole = world.rehearse();
        // What looks through whole tables dies at some of these accesses only.
        let step = if long() { 1 } else { whole.accesses.div_ceil(1500) };
        'scene: for access in (1..=whole.accesses).step_by(step as usize) {
            let both = setting.room == Room::ALL || long();
            for torn in [false, true].into_iter().filter(|&torn| both || torn == (access % 4 < 2)) {
                // Every other time the living go on before anybody buries the dead.
                let death = Death { access, torn, heir: None, hurry: access % 2 == 0 };
                deaths += 1;
                if let Err(what) = world.play(&whole, death) {
                    wrong.push(format!("{}: {death:?} of {}: {what}", scene.name, whole.accesses));
                    break 'scene;
                }
            }
        }
        most = most.max(whole.redo_bytes);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    (deaths, most)
}

#[test]
fn the_death_of_a_client_hurts_nobody() {
    let (deaths, most) = explore(Setting::default());
    say(&format!("{} operations, {deaths} deaths; redo records up to {most} bytes", scenes().len()));
}

/// The same with no room for redo records but in free blocks, and none for the names of freed ones.
#[test]
fn nor_does_it_when_redo_records_need_blocks() {
    let (deaths, _) = explore(Setting { room: Room::NONE, rules: Rules::default() });
    say(&format!("{} operations, {deaths} deaths, all records in free blocks", scenes().len()));
}

/// Who recovers dies at that, and a third one recovers both.
#[test]
fn nor_does_the_death_of_an_heir() {
    let (mut deaths, mut dice) = (0_u64, Dice(1));
    // Of each scene so many deaths, and of each of them so many of heirs.
    let (accesses, heirs) = if long() { (u64::MAX, 100) } else { (12, 4) };
    for setting in [Setting::default(), Setting { room: Room::NONE, rules: Rules::default() }] {
        for scene in scenes() {
            let mut world = World::new(scene, setting);
            let whole = world.rehearse();
            for number in 1..=accesses.min(whole.accesses) {
                let access =
                    if accesses < whole.accesses { 1 + dice.below(whole.accesses) } else { number };
                let mut death =
                    Death { access, torn: number % 2 == 0, heir: Some(u64::MAX), hurry: false };
                let all = world.play(&whole, death).unwrap_or_else(|what| {
                    panic!("{}: {death:?}: {what}", scene.name);
                });
                for number in 0..heirs {
                    // Most of a recovery is looking for what there might be: the beginning matters most.
                    let most = if number % 4 == 0 { all } else { all.min(300) };
                    (death.heir, death.hurry) = (Some(1 + dice.below(most)), number % 3 == 0);
                    deaths += 1;
                    if let Err(what) = world.play(&whole, death) {
                        panic!("{}: {death:?}: {what}", scene.name);
                    }
                }
            }
        }
    }
    say(&format!("{deaths} deaths of clients and then of their heirs"));
}

/// Some numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}
