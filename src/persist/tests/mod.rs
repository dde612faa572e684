//! Tests of the whole protocol against a simulated disk.

mod crash;
mod ends;
mod faults;
mod grow;
mod keeper;
mod kills;
mod open;
mod pause;
mod quota;
mod read_only;
mod stack;
mod takeover;
mod toy;

use super::METADATA_MAX_BLOCKS;
use crate::format::journal::{SEGMENT_BLOCKS_DEFAULT, record_capacity};

#[test]
fn a_segment_takes_what_admission_lets_through() {
    assert_eq!(record_capacity(SEGMENT_BLOCKS_DEFAULT - 2), METADATA_MAX_BLOCKS);
}
