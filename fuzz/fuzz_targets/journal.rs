//! Hostile journals: see tests/model/hostile_journal.rs.
#![no_main]

#[allow(dead_code)] // the target uses a part
#[path = "../../tests/model/fuzzing.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    model::hostile_journal::open(input);
});
