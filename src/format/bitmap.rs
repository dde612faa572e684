//! Groups and their block bitmaps: which blocks there are and where each one's bit lies.
//!
//! ```text
//! block 0 | 1 | 2 ... 2 + 32511 | 2 + 32512 ...
//!  SB-A   SB-B  group 0           group 1         every group begins with its bitmap block
//! ```
//! A bitmap block is the 32-byte header and 4,064 bytes of bits, least significant bit first, so a
//! group has 32,512 blocks (127 MiB). Bit 0 stands for the bitmap block itself and is always set.
//! The last group may be shorter; bits beyond the image are set.

use super::{BLOCK_SIZE, HEADER_SIZE_BYTES};

/// Blocks of a whole group.
pub const GROUP_BLOCKS: u32 = ((BLOCK_SIZE - HEADER_SIZE_BYTES) * 8) as u32;

const FIRST_GROUP: u32 = 2;

/// Smallest image: superblocks, one bitmap, one inode block and a few blocks to use.
const IMAGE_BLOCKS_MIN: u32 = 16;

/// The shape of an image: everything follows from its number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    image_blocks: u32,
}

/// Where a block's bit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the group.
    pub group: u32,
    /// Index of the bit in the group's bitmap.
    pub bit: u32,
}

impl Geometry {
    /// The geometry of an image of `image_blocks`; none when that is too small.
    pub fn new(image_blocks: u32) -> Option<Self> {
        // A last group of one block would hold nothing but its bitmap.
        let tail = image_blocks.checked_sub(FIRST_GROUP)? % GROUP_BLOCKS;
        let image_blocks = if tail == 1 { image_blocks - 1 } else { image_blocks };
        (image_blocks >= IMAGE_BLOCKS_MIN).then_some(Self { image_blocks })
    }

    /// Number of blocks of the image.
    pub fn image_blocks(&self) -> u32 {
        self.image_blocks
    }

    /// Number of groups.
    pub fn groups(&self) -> u32 {
        (self.image_blocks - FIRST_GROUP).div_ceil(GROUP_BLOCKS)
    }

    /// First block of a group, which is its bitmap.
    pub fn group_start(&self, group: u32) -> u32 {
        FIRST_GROUP + group * GROUP_BLOCKS
    }

    /// Number of blocks of a group, its bitmap included.
    pub fn group_len(&self, group: u32) -> u32 {
        (self.image_blocks - self.group_start(group)).min(GROUP_BLOCKS)
    }

    /// Group and bit of a block; none for the superblocks and for blocks outside the image.
    pub fn place(&self, block: u32) -> Option<Place> {
        if block < FIRST_GROUP || block >= self.image_blocks {
            return None;
        }
        let index = block - FIRST_GROUP;
        Some(Place { group: index / GROUP_BLOCKS, bit: index % GROUP_BLOCKS })
    }

    /// Whether `count` blocks from `block` on lie in one group and can be allocated.
    pub fn allocatable(&self, block: u32, count: u32) -> bool {
        let Some(place) = self.place(block) else { return false };
        place.bit != 0
            && count != 0
            && place.bit.checked_add(count).is_some_and(|end| end <= self.group_len(place.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_groups() {
        let geometry = Geometry::new(100_000).unwrap();
        assert_eq!(geometry.groups(), 4);
        assert_eq!(geometry.place(1), None);
        assert_eq!(geometry.place(2), Some(Place { group: 0, bit: 0 }));
        assert_eq!(geometry.place(2 + 32_512), Some(Place { group: 1, bit: 0 }));
        assert_eq!(geometry.place(100_000), None);
        assert!(!geometry.allocatable(2, 1));
        assert!(geometry.allocatable(3, 32_511));
        assert!(!geometry.allocatable(3, 32_512));
        assert!(!geometry.allocatable(99_999, 2));
        assert!(!geometry.allocatable(5, u32::MAX));
    }

    #[test]
    fn too_small_and_useless_tails() {
        assert!(Geometry::new(15).is_none());
        assert_eq!(Geometry::new(2 + GROUP_BLOCKS + 1).unwrap().groups(), 1);
        assert_eq!(Geometry::new(u32::MAX).unwrap().groups(), 132_105);
    }
}
