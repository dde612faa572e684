//! Reserving, punching, seeking and copying, in the volume and in the oracle.

use super::world::World;
use sabfs::errno::Errno;
use sabfs::vfs::{AllocateMode, Ino};

impl World {
    pub fn allocate(&mut self, ino: Ino, mode: AllocateMode, offset: u64, len: u64) {
        let free = self.free();
        let answer = self.volume.allocate(ino, mode, offset, len);
        // Where blocks come one by one, the tree may need a node for every few hundred.
        let blocks = len.div_ceil(4096) + 2;
        let refused = self.no_space(&answer, free, blocks + blocks / 150);
        let expected = self.oracle.allocate(ino, mode, offset, len);
        self.judge(&format!("allocate {mode:?} {len} at {offset}"), refused, answer, expected);
    }

    pub fn seek(&self, ino: Ino, offset: u64) {
        let answer = [self.volume.seek_data(ino, offset), self.volume.seek_hole(ino, offset)];
        assert_eq!(answer, self.oracle.seek(ino, offset), "seek from {offset} in {ino}");
    }

    pub fn copy(&mut self, from: (Ino, u64), to: (Ino, u64), len: u64) {
        let free = self.free();
        let answer = self.volume.copy_range(from.0, from.1, to.0, to.1, len);
        // Both ends, and one for a target that leaves its inode.
        let refused = self.no_space(&answer, free, len.div_ceil(4096) + 3);
        self.oracle.dry = true;
        let all = self.oracle.copy(from, to, len);
        self.oracle.dry = refused;
        let expected = match (answer, all) {
            (Ok(count), Ok(all)) if count < all => {
                let left = self.free();
                assert!(left < 8, "a short copy with {left} free blocks");
                self.oracle.copy(from, to, count)
            }
            (Err(Errno::ENOSPC), all) => all,
            _ => self.oracle.copy(from, to, len),
        };
        let answer = if refused { Err(Errno::ENOSPC) } else { answer };
        self.judge(&format!("copy {len} from {from:?} to {to:?}"), refused, answer, expected);
    }
}
