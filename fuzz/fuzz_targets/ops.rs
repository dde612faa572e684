//! Operations against the oracle: see tests/model/world.rs.
#![no_main]

#[allow(dead_code)] // the target uses a part
#[path = "../../tests/model/fuzzing.rs"]
mod model;

use model::world::World;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((size, operations)) = input.split_first_chunk::<2>() else { return };
    let mut world = World::new(16 + u32::from(u16::from_be_bytes(*size)) % 1_200);
    for operation in model::operations::decode(operations) {
        world.step(&operation);
    }
    world.compare_tree();
    world.compare_remounted();
});
