//! Making a store ready for a volume.

use crate::core::Image;
use crate::errno::Errno;
use crate::format::BLOCK_SIZE;
use crate::store::runtime::{self as rt, Durability};
use crate::store::{Store, WasmStore};

/// Clears what an earlier volume left in the runtime region, and makes a new one. The claim stays, and what those need who
/// go on with the volume if this program dies: it is written before.
pub(super) fn prepare(store: &WasmStore, durability: Durability, id: u32) -> Result<(), Errno> {
    let capacity = rt::capacity_of_store(store.size_bytes());
    if capacity == 0 {
        return Err(Errno::EINVAL);
    }
    let end = rt::image_base_blocks(capacity) * BLOCK_SIZE as u64;
    store.zero(0, rt::CLAIM);
    store.zero(rt::CLAIM + 4, rt::HAND_OVER - rt::CLAIM - 4);
    store.zero(rt::HAND_OVER_END, end - rt::HAND_OVER_END);
    Image::prepare(store, id, durability).map(drop)
}
