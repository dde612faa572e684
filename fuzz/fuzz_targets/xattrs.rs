//! Blocks of one kind with any bytes in them: see tests/model/hostile.rs.
#![no_main]

#[allow(dead_code)] // the target uses a part
#[path = "../../tests/model/fuzzing.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    model::hostile::structure(sabfs::format::BlockKind::Xattrs, input);
});
