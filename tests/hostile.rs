//! The stable twin of the fuzz target `mount`: thousands of damaged images, the same ones every time.

#[path = "model/mod.rs"]
mod model;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

const CASES: u64 = 6_000;
/// A case takes a few milliseconds; one that takes this long does not end by itself.
const CASE_TIME_MAX: Duration = Duration::from_secs(20);

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn input(case: u64) -> Vec<u8> {
    let mut state = case;
    // One to six changes of six bytes, and as many bytes of operations.
    let words = 1 + random(&mut state) % 6;
    (0..words * 12).map(|_| random(&mut state) as u8).collect()
}

#[test]
fn damaged_images_do_no_harm() {
    let long = std::env::var_os("SABFS_LONG").is_some();
    let start = if long { u64::from(std::process::id()) << 32 } else { 0 };
    let cases = if long { CASES * 100 } else { CASES };
    let (mut mounted, mut slowest) = (0, Duration::ZERO);
    for case in start..start + cases {
        let begun = Instant::now();
        match catch_unwind(|| model::hostile::mount(&input(case))) {
            Ok(could_mount) => mounted += u64::from(could_mount),
            Err(_) => panic!("case {case}: {:?}", input(case)),
        }
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < CASE_TIME_MAX, "case {case} took {slowest:?}");
    }
    println!("{mounted} of {cases} could be mounted, the slowest took {slowest:?}");
    assert!(mounted > cases / 4, "only {mounted} could be mounted: the mutations are too coarse");
}
