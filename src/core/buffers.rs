//! A few spare block buffers, so that a transaction need not ask the allocator for each.

use crate::format::{BLOCK_SIZE, Block};
use parking_lot::Mutex;

const SPARE_MAX: usize = 16;

/// Spare buffers of one process.
#[derive(Default)]
pub struct Buffers {
    spare: Mutex<Vec<Box<Block>>>,
}

impl Buffers {
    /// A buffer with arbitrary content.
    pub fn take(&self) -> Box<Block> {
        self.spare.lock().pop().unwrap_or_else(|| Box::new([0; BLOCK_SIZE]))
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Box<Block>) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }
}
