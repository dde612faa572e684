//! The bitmaps: their headers, and whether they agree with who uses which block.

use super::{Checker, Finding, NOBODY};
use crate::core::count_free;
use crate::format::{BLOCK_SIZE, BlockKind, GROUP_BLOCKS, HEADER_SIZE_BYTES, check_header};
use crate::store::Store;
use crate::store::runtime::{self as rt, VolumeState};

impl<S: Store> Checker<'_, S> {
    pub(super) fn bitmap_headers(&mut self) {
        let geometry = self.core.image.geometry();
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        for group in 0..geometry.groups() {
            let block = geometry.group_start(group);
            self.claim(block, NOBODY);
            self.core.image.read_block(block, &mut bytes);
            self.seal(block, 0, &bytes);
            if let Err(corrupt) = check_header(&bytes[..], BlockKind::Bitmap, block, 0) {
                self.report.add(Finding::Structure(corrupt));
            }
            let bits = &bytes[HEADER_SIZE_BYTES..];
            let clear = |bit: u32| bits[(bit / 8) as usize] >> (bit % 8) & 1 == 0;
            if clear(0) || (geometry.group_len(group)..GROUP_BLOCKS).any(clear) {
                self.report.add(Finding::BitmapTail { group });
            }
        }
    }

    pub(super) fn space(&mut self) {
        let geometry = self.core.image.geometry();
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let mut leak: Option<(u32, u32)> = None;
        for group in 0..geometry.groups() {
            let start = geometry.group_start(group);
            self.core.image.read_block(start, &mut bytes);
            let bits = &bytes[HEADER_SIZE_BYTES..];
            for bit in 1..geometry.group_len(group) {
                let block = start + bit;
                let marked = bits[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
                match self.owners[block as usize] {
                    0 if marked => match &mut leak {
                        Some((first, count)) if *first + *count == block => *count += 1,
                        _ => self.leaked(leak.replace((block, 1))),
                    },
                    0 => {}
                    inode if !marked => self.report.add(Finding::BlockNotMarked { block, inode }),
                    _ => {}
                }
            }
        }
        self.leaked(leak);
        self.counters();
    }

    fn leaked(&mut self, run: Option<(u32, u32)>) {
        if let (Some((block, count)), true) = (run, self.all_blocks) {
            self.report.add(Finding::BlocksLeaked { block, count });
        }
    }

    /// The runtime region's counters, if the volume is mounted.
    fn counters(&mut self) {
        let store = self.core.image.store();
        if store.load(rt::STATE) != VolumeState::Ready as u32 {
            return;
        }
        let free = store.load(rt::FREE_BLOCKS).wrapping_add(store.load(rt::QUARANTINE_COUNT));
        let counters = [
            ("free blocks", free, count_free(&self.core.image)),
            ("inodes", store.load(rt::USED_INODES), self.report.inodes),
        ];
        for (name, says, found) in counters {
            if says != found {
                self.report.add(Finding::Counter { name, says, found });
            }
        }
    }
}
