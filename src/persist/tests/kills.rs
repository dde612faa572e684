//! Programs that are killed while the host lives on: what they wrote can be read, but was not flushed. The power
//! fails later, mostly while the volume is opened again.

use super::crash::{Life, Setup, look, open, run};
use super::toy::History;
use crate::persist::rules::{Rule, Rules};
use crate::persist::sim::{Rng, SimDisk};
use parking_lot::Mutex;
use std::sync::Arc;

/// Lives of one volume, most of which end by a kill; gives what is wrong.
fn trial(seed: u64, rules: Rules) -> Result<(), String> {
    let setup = Setup { rules, ..Setup::new(seed) };
    let disk = SimDisk::new(seed);
    let mut rng = Rng::new(seed ^ 0x4b11);
    let history = Arc::new(Mutex::new(History::default()));
    let mut acked = 0;
    for life in 0..6 {
        let keys = |attempt: u64| seed.wrapping_mul(131).wrapping_add(life * 16 + attempt);
        let mut opened: Option<Life> = None;
        for attempt in 0..8 {
            disk.arm((attempt < 7 && rng.chance(70)).then(|| 1 + rng.below(24)));
            let result = open(&disk, &setup, keys(attempt));
            if !disk.is_off() {
                disk.arm(None);
                let life = result.map_err(|error| format!("seed {seed}: {error}"))?;
                // Killed again, before it has done anything.
                if attempt < 7 && rng.chance(20) {
                    continue;
                }
                opened = Some(life);
                break;
            }
            if rng.chance(70) { disk.power_cycle(setup.garbage) } else { disk.restart() }
        }
        let opened = opened.ok_or("the last attempt is not disturbed")?;
        let k = look(&opened, &history.lock(), acked, setup.mixed)
            .map_err(|what| format!("seed {seed}, life {life}: {what}"))?;
        {
            let mut history = history.lock();
            history.attempted = k.unwrap_or(0);
            history.states.retain(|&change, _| Some(change) == k);
        }
        disk.arm(Some(1 + rng.below(120)));
        acked = run(&disk, &setup, opened, k, history.clone(), &mut rng);
        if rng.chance(80) { disk.restart() } else { disk.power_cycle(setup.garbage) }
    }
    Ok(())
}

fn failures(rules: Rules, trials: u64) -> impl Iterator<Item = String> {
    (0..trials).filter_map(move |seed| trial(seed, rules).err())
}

#[test]
fn killed_programs_and_power_losses_while_the_volume_is_opened_again() {
    assert_eq!(failures(Rules::default(), 600).next(), None);
}

#[test]
fn rule_journal_flush_before_replay() {
    let rules = Rules::without(&[Rule::JournalFlushBeforeReplay]);
    assert!(failures(rules, 20_000).next().is_some());
}
