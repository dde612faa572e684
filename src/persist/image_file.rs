//! The image file: blocks written in runs, and how long the file durably is.
//!
//! Offset = block x 4096, always. A call costs far more than its bytes, so neighbouring blocks go in one
//! write of up to [`RUN_BLOCKS`].
//!
//! The file grows as blocks behind its end are written; what was never written reads as zeros.

use super::device::{Device, DeviceError};
use crate::format::{BLOCK_SIZE, Block};

/// Longest run written or read by one call: 1 MiB, where the cost of the call no longer counts.
pub const RUN_BLOCKS: usize = 256;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// The image file.
pub struct ImageFile<D> {
    device: D,
    buffer: Vec<u8>,
    size_blocks: u32,
    durable_blocks: u32,
    /// Blocks written since the volume was opened.
    pub written: u32,
    /// Flushes since the volume was opened.
    pub flushes: u32,
}

impl<D: Device> ImageFile<D> {
    /// The image file on `device`.
    pub fn open(mut device: D) -> Result<Self, DeviceError> {
        let size_blocks = u32::try_from(device.size_bytes()? / BLOCK).unwrap_or(u32::MAX);
        Ok(Self {
            device,
            buffer: Vec::new(),
            size_blocks,
            // What an earlier owner wrote may not be durable yet; the first flush tells.
            durable_blocks: 0,
            written: 0,
            flushes: 0,
        })
    }

    /// Whole blocks of the file, as far as nothing can be lost unnoticed.
    pub fn size_blocks(&self) -> u32 {
        self.size_blocks
    }

    /// Whole blocks that the file had when it was last flushed.
    pub fn durable_blocks(&self) -> u32 {
        self.durable_blocks
    }

    /// Makes the file empty.
    pub fn clear(&mut self) -> Result<(), DeviceError> {
        self.device.set_size(0)?;
        (self.size_blocks, self.durable_blocks) = (0, 0);
        Ok(())
    }

    /// Reads blocks from `block` on; what lies behind the end of the file reads as zeros.
    pub fn read(&mut self, block: u32, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let count = self
            .device
            .read_full(u64::from(block) * BLOCK, bytes)
            .map_err(|error| DeviceError { doing: "read the image", ..error })?;
        bytes[count..].fill(0);
        Ok(())
    }

    /// Writes blocks, whose numbers ascend, in as few runs as possible. `fetch` is called with each
    /// item and the place for its bytes, `beat` before each call of the device.
    pub fn write_runs<T: Copy>(
        &mut self,
        items: &[T],
        number: impl Fn(T) -> u32,
        mut fetch: impl FnMut(T, &mut Block),
        beat: &dyn Fn(),
    ) -> Result<(), DeviceError> {
        let mut rest = items;
        while let Some(&head) = rest.first() {
            let first = number(head);
            let count = (1..rest.len().min(RUN_BLOCKS))
                .find(|&i| u64::from(number(rest[i])) != u64::from(first) + i as u64)
                .unwrap_or(rest.len().min(RUN_BLOCKS));
            let (run, tail) = rest.split_at(count);
            rest = tail;
            if self.buffer.len() < count * BLOCK_SIZE {
                self.buffer.resize(count * BLOCK_SIZE, 0);
            }
            let bytes = &mut self.buffer[..count * BLOCK_SIZE];
            for (&item, place) in run.iter().zip(bytes.as_chunks_mut::<BLOCK_SIZE>().0) {
                fetch(item, place);
            }
            beat();
            self.device
                .write_all(u64::from(first) * BLOCK, bytes)
                .map_err(|error| DeviceError { doing: "write the image", ..error })?;
            self.written = self.written.wrapping_add(count as u32);
            self.size_blocks = self.size_blocks.max(first.saturating_add(count as u32));
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        self.flushes = self.flushes.wrapping_add(1);
        match self.device.flush() {
            Ok(()) => {
                self.durable_blocks = self.size_blocks;
                Ok(())
            }
            Err(error) => {
                // What made the file longer may be lost, and no later flush brings it back.
                self.size_blocks = self.durable_blocks;
                Err(DeviceError { doing: "flush the image", ..error })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::MemDevice;
    use std::cell::Cell;

    #[test]
    fn neighbours_are_written_together() {
        let device = MemDevice::default();
        let mut file = ImageFile::open(device.clone()).unwrap();
        let calls = Cell::new(0);
        let mut blocks = vec![1, 2, 3, 7, 9];
        blocks.extend(100..100 + RUN_BLOCKS as u32 + 1);
        file.write_runs(&blocks, |b| b, |b, place| place.fill(b as u8), &|| calls.set(calls.get() + 1))
            .unwrap();
        assert_eq!(calls.get(), 5);
        assert_eq!((file.size_blocks(), file.durable_blocks()), (357, 0));
        file.flush().unwrap();
        assert_eq!((file.written, file.durable_blocks()), (262, 357));
        let bytes = device.bytes();
        for block in 0..357_u32 {
            let expected = if blocks.contains(&block) { block as u8 } else { 0 };
            assert!(bytes[block as usize * BLOCK_SIZE..][..BLOCK_SIZE].iter().all(|&b| b == expected));
        }
        let mut two = [9; BLOCK_SIZE * 2];
        file.read(356, &mut two).unwrap();
        assert_eq!((two[0], two[BLOCK_SIZE]), (100, 0));
    }
}
