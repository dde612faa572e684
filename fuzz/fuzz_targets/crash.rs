//! Operations with commits, and every state that a crash may leave: see tests/crash/. The first three bytes choose
//! the volume and how often there is a commit.
#![no_main]

#[allow(dead_code)] // the target uses a part
#[path = "../../tests/model/fuzzing.rs"]
mod model;

#[allow(dead_code)] // the target uses a part
#[path = "../../tests/crash/fuzzing.rs"]
mod crash;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    crash::fuzz(input);
});
