//! Filling the store from the image file, and from the journal where that was not replayed into it.
//!
//! Of a group whose bitmap is sound only what is in use is read, so that a large volume with little in
//! it loads fast and its store's unused memory stays untouched. Whether the volume is sound is for the
//! core to find out; who wants to see what a wrong bitmap hides reads all blocks.

use super::device::{Device, DeviceError};
use super::image_file::{ImageFile, RUN_BLOCKS};
use super::recovery::Merged;
use crate::core::Image;
use crate::format::{BLOCK_SIZE, Block, BlockKind, Geometry, HEADER_SIZE_BYTES, check_header, verify};
use crate::store::Store;

/// Shorter stretches of unused blocks are read along: cheaper than another call.
const GAP_BLOCKS: u32 = 16;

/// Copies the image of a volume of this shape into the store, with the journal's copies over it; what no
/// bitmap says is in use only if `all` says so. `progress` is called with the number of blocks that are
/// done.
pub fn load<S: Store, D: Device>(
    file: &mut ImageFile<D>,
    image: &Image<S>,
    geometry: Geometry,
    all: bool,
    journal: &Merged<'_>,
    progress: &mut dyn FnMut(u32),
) -> Result<(), DeviceError> {
    let mut loader = Loader { file, image, buffer: vec![0; RUN_BLOCKS * BLOCK_SIZE], progress };
    loader.span(0, geometry.group_start(0))?;
    for group in 0..geometry.groups() {
        let (start, len) = (geometry.group_start(group), geometry.group_len(group));
        let mut bitmap = [0; BLOCK_SIZE];
        journal.read(loader.file, start, &mut bitmap)?;
        let sound = verify(&bitmap) && check_header(&bitmap, BlockKind::Bitmap, start, 0).is_ok();
        if all || !sound {
            loader.span(start, len)?;
            continue;
        }
        for (from, to) in used_spans(&bitmap, len) {
            loader.span(start + from, to - from)?;
        }
        (loader.progress)(start + len);
    }
    journal.each(|block, bytes| image.write(block, 0, bytes));
    Ok(())
}

struct Loader<'a, S, D> {
    file: &'a mut ImageFile<D>,
    image: &'a Image<S>,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(u32),
}

impl<S: Store, D: Device> Loader<'_, S, D> {
    fn span(&mut self, block: u32, count: u32) -> Result<(), DeviceError> {
        let mut at = block;
        let end = block + count;
        while at < end {
            if at >= self.file.size_blocks() {
                // The store may have held another volume before.
                let bytes = u64::from(end - at) * BLOCK_SIZE as u64;
                self.image.store().zero(self.image.block_offset(at), bytes);
                break;
            }
            let count = (end - at).min(RUN_BLOCKS as u32);
            let bytes = &mut self.buffer[..count as usize * BLOCK_SIZE];
            self.file.read(at, bytes)?;
            for (block, bytes) in (at..).zip(bytes.as_chunks::<BLOCK_SIZE>().0) {
                self.image.write(block, 0, bytes);
            }
            at += count;
            (self.progress)(at);
        }
        (self.progress)(end);
        Ok(())
    }
}

/// Spans of blocks in use, by a group's bitmap, those with small gaps between them merged.
fn used_spans(bitmap: &Block, len: u32) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    let words = bitmap[HEADER_SIZE_BYTES..].as_chunks::<8>().0;
    for (first, word) in (0..len).step_by(64).zip(words) {
        let mut word = u64::from_le_bytes(*word);
        while word != 0 {
            let skip = word.trailing_zeros();
            let count = (word >> skip).trailing_ones();
            let (from, to) = (first + skip, (first + skip + count).min(len));
            match spans.last_mut() {
                _ if from >= len => {}
                Some(last) if from - last.1 <= GAP_BLOCKS => last.1 = to,
                _ => spans.push((from, to)),
            }
            word = if skip + count == 64 { 0 } else { word >> (skip + count) << (skip + count) };
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{init_header, seal};
    use crate::persist::MemDevice;
    use crate::store::HeapStore;
    use crate::store::runtime::{self as rt, Durability};

    fn bitmap(used: &[u32]) -> Block {
        let mut bytes = [0; BLOCK_SIZE];
        init_header(&mut bytes, BlockKind::Bitmap, 2, 0);
        for &bit in used {
            bytes[HEADER_SIZE_BYTES + (bit / 8) as usize] |= 1 << (bit % 8);
        }
        seal(&mut bytes);
        bytes
    }

    #[test]
    fn spans_cover_what_is_used() {
        let used: Vec<u32> = (0..3).chain(60..130).chain(147..148).chain([32_511]).collect();
        assert_eq!(
            used_spans(&bitmap(&used), 32_512),
            [(0, 3), (60, 130), (147, 148), (32_511, 32_512)]
        );
        assert_eq!(used_spans(&bitmap(&used), 100), [(0, 3), (60, 100)]);
        assert_eq!(used_spans(&bitmap(&[0, 17, 40]), 100), [(0, 18), (40, 41)]);
        assert_eq!(used_spans(&bitmap(&[]), 100), []);
    }

    #[test]
    fn unused_blocks_stay_out_and_a_damaged_bitmap_hides_nothing() {
        let blocks = 600;
        let mut bytes = vec![7; blocks as usize * BLOCK_SIZE];
        for (sound, untouched) in [(true, 0), (false, 7)] {
            bytes[2 * BLOCK_SIZE..3 * BLOCK_SIZE].copy_from_slice(&bitmap(&[0, 1, 90]));
            bytes[2 * BLOCK_SIZE + 4000] ^= u8::from(!sound);
            let mut file = ImageFile::open(MemDevice::with_bytes(bytes.clone())).unwrap();
            let store = HeapStore::new(rt::store_size_bytes(blocks));
            Image::prepare(&store, 1, Durability::Strict).unwrap();
            let image = Image::attach(store, 1).unwrap();
            let mut done = Vec::new();
            let geometry = Geometry::new(blocks).unwrap();
            load(&mut file, &image, geometry, false, &Merged::nothing(), &mut |blocks| {
                done.push(blocks)
            })
            .unwrap();
            assert!(done.is_sorted() && done.last() == Some(&blocks));
            let byte = |block| {
                let mut byte = [9];
                image.read(block, 100, &mut byte);
                byte[0]
            };
            assert_eq!([byte(0), byte(1), byte(3), byte(92)], [7; 4]);
            assert_eq!(byte(500), untouched);
        }
    }
}
