//! Persistence.
use crate::{core::Image, errno::Errno, store::Store};
/// placeholder
pub const ADMISSION_META_BLOCKS: u32 = 1536;
/// placeholder
pub fn wait_committed<S: Store>(_: &Image<S>, _: u32) -> Result<(), Errno> {
    Ok(())
}
