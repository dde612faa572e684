//! The stable twins of the fuzz targets for damaged bytes: the same thousands of cases every time.

#[path = "model/fuzzing.rs"]
#[allow(clippy::duplicate_mod, reason = "as the fuzz targets have it")]
mod fuzzing;

use sabfs::format::BlockKind;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

const IMAGES: u64 = 6_000;
const BLOCKS_OF_A_KIND: u64 = 1_000;
const JOURNALS: u64 = 3_000;
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

/// Runs cases, which must end and not panic; gives how many could be mounted.
fn run(
    cases: u64,
    input: fn(u64) -> Vec<u8>,
    case_of: impl Fn(&[u8]) -> bool + std::panic::RefUnwindSafe,
) -> u64 {
    let long = std::env::var_os("SABFS_LONG").is_some();
    let start = if long { u64::from(std::process::id()) << 32 } else { 0 };
    let cases = if long { cases * 100 } else { cases };
    let (mut mounted, mut slowest) = (0, Duration::ZERO);
    for case in start..start + cases {
        let begun = Instant::now();
        match catch_unwind(|| case_of(&input(case))) {
            Ok(could_mount) => mounted += u64::from(could_mount),
            Err(_) => panic!("case {case}: {:?}", input(case)),
        }
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < CASE_TIME_MAX, "case {case} took {slowest:?}");
    }
    println!("{mounted} of {cases} could be mounted, the slowest took {slowest:?}");
    mounted * 100 / cases
}

/// One to six changes of six bytes, and as many bytes of operations.
fn changes(case: u64) -> Vec<u8> {
    let mut state = case;
    let words = 1 + random(&mut state) % 6;
    (0..words * 12).map(|_| random(&mut state) as u8).collect()
}

#[test]
fn damaged_images_do_no_harm() {
    let share = run(IMAGES, changes, fuzzing::hostile::mount);
    assert!(share > 25, "only {share} % could be mounted: the mutations are too coarse");
}

#[test]
fn damaged_journals_do_no_harm() {
    let share = run(JOURNALS, changes, fuzzing::hostile_journal::open);
    assert!(share > 10, "only {share} % could be mounted: the mutations are too coarse");
}

/// A good block's body with some bytes changed, from its beginning on.
fn body(kind: BlockKind, case: u64) -> Vec<u8> {
    let mut state = case;
    let mut input = vec![random(&mut state) as u8, 0, 0];
    input.extend(fuzzing::hostile::sample(kind));
    for _ in 0..1 + random(&mut state) % 4 {
        // Most blocks are full at the beginning only.
        let at = random(&mut state) % if random(&mut state).is_multiple_of(2) { 128 } else { 4_000 };
        input[3 + at as usize] = random(&mut state) as u8 >> (random(&mut state) % 8);
    }
    input
}

macro_rules! structures {
    ($($name:ident: $kind:ident,)*) => {$(
        #[test]
        fn $name() {
            run(BLOCKS_OF_A_KIND, |case| body(BlockKind::$kind, case), |input| {
                fuzzing::hostile::structure(BlockKind::$kind, input).expect("the image has all kinds")
            });
        }
    )*};
}

structures! {
    damaged_superblocks_do_no_harm: Superblock,
    damaged_bitmaps_do_no_harm: Bitmap,
    damaged_inodes_do_no_harm: Inodes,
    damaged_extent_nodes_do_no_harm: Extents,
    damaged_directory_leaves_do_no_harm: DirLeaf,
    damaged_directory_nodes_do_no_harm: DirNode,
    damaged_link_targets_do_no_harm: Symlink,
    damaged_attributes_do_no_harm: Xattrs,
}
