//! Which block holds which part of the inode table, as far as this process has looked.
//!
//! The table's blocks never move, so what was found once holds for as long as the volume is mounted.
//! Memory is taken for the stretches of the table that are in use only: 4 bytes for each 15 inodes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Parts of the table that one stretch has places for.
const STRETCH: usize = 4096;
/// Stretches: places for 62 million inodes. Those beyond are looked up every time.
const STRETCHES: usize = 1024;

/// Block by part; 0, which is a superblock, where it is not known.
pub struct InodeMap {
    stretches: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl Default for InodeMap {
    fn default() -> Self {
        Self { stretches: (0..STRETCHES).map(|_| OnceLock::new()).collect() }
    }
}

impl InodeMap {
    /// The block of a part, if it is known.
    pub fn get(&self, part: u32) -> Option<u32> {
        let stretch = self.stretches.get(part as usize / STRETCH)?.get()?;
        match stretch[part as usize % STRETCH].load(Ordering::Relaxed) {
            0 => None,
            block => Some(block),
        }
    }

    /// Remembers the block of a part.
    pub fn put(&self, part: u32, block: u32) {
        let Some(stretch) = self.stretches.get(part as usize / STRETCH) else { return };
        let stretch = stretch.get_or_init(|| (0..STRETCH).map(|_| AtomicU32::new(0)).collect());
        stretch[part as usize % STRETCH].store(block, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_it_was_told() {
        let map = InodeMap::default();
        let parts = [0, 1, 4095, 4096, 1 << 20, (STRETCH * STRETCHES - 1) as u32];
        for part in parts {
            assert_eq!(map.get(part), None);
            map.put(part, part + 7);
        }
        for part in parts {
            assert_eq!(map.get(part), Some(part + 7));
        }
        assert_eq!(map.get(2), None);
        map.put(u32::MAX, 1);
        assert_eq!(map.get(u32::MAX), None);
    }
}
