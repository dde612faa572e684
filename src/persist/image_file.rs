//! The image file: blocks written in runs, and how long the file durably is.
//!
//! Offset = block x 4096, always. A call costs far more than its bytes, so neighbouring blocks go in one
//! write of up to [`RUN_BLOCKS`].
//!
//! The file grows as blocks behind its end are written, and when room is made for what is to be written
//! later. It gets no holes: what lies between its old end and a new block is filled with zeros, because
//! a hole takes no space from the device, so that writing into it later may fail.

use super::device::{Device, DeviceError};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, Block};

/// Longest run written or read by one call: 1 MiB, where the cost of the call no longer counts.
pub const RUN_BLOCKS: usize = 256;

/// The first blocks are never filled with zeros: whether something was written there tells a volume from
/// remains of one that was not completed, and a power loss may leave anything of zeros.
const HEAD_BLOCKS: u32 = 3;
/// Where room is made it is made for so many blocks more, 1 MiB, so that it is seldom made.
const ROOM_STEP_BLOCKS: u32 = 256;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// The image file.
pub struct ImageFile<D> {
    device: D,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
    size_blocks: u32,
    durable_blocks: u32,
    refused: bool,
    /// Blocks written since the volume was opened.
    pub written: u32,
    /// Blocks of zeros written to make the file longer since the volume was opened.
    pub filled: u32,
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
            zeros: Vec::new(),
            size_blocks,
            // What an earlier owner wrote may not be durable yet; the first flush tells.
            durable_blocks: 0,
            refused: false,
            written: 0,
            filled: 0,
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

    /// Whether the device was full when the file was last to get longer.
    pub fn is_short(&self) -> bool {
        self.refused
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
            self.fill(first, beat)?;
            let bytes = &self.buffer[..count * BLOCK_SIZE];
            self.device
                .write_all(u64::from(first) * BLOCK, bytes)
                .map_err(|error| DeviceError { doing: "write the image", ..error })
                .inspect_err(|error| self.refused |= is_full(error))?;
            self.written = self.written.wrapping_add(count as u32);
            let end = first.saturating_add(count as u32);
            if end > self.size_blocks {
                (self.size_blocks, self.refused) = (end, false);
            }
        }
        Ok(())
    }

    /// Makes the file at least `blocks` long, and a little longer if the device has room for that and
    /// the volume, of `volume_blocks`, too.
    pub fn make_room(
        &mut self,
        blocks: u32,
        volume_blocks: u32,
        beat: &dyn Fn(),
    ) -> Result<(), DeviceError> {
        if blocks <= self.size_blocks {
            return Ok(());
        }
        self.fill(blocks, beat)?;
        // A little more, or as much of it as the device still takes: otherwise the last blocks would be
        // asked for one by one.
        let most = self.size_blocks.saturating_add(ROOM_STEP_BLOCKS).min(volume_blocks);
        let (mut more, mut refused) = (ROOM_STEP_BLOCKS, false);
        while more > 0 && self.size_blocks < most {
            match self.fill(self.size_blocks.saturating_add(more).min(most), beat) {
                Ok(()) if !refused => break,
                Ok(()) => {}
                Err(error) if is_full(&error) => (more, refused) = (more / 2, true),
                Err(error) => return Err(error),
            }
        }
        self.refused = refused;
        Ok(())
    }

    /// Writes zeros from the file's end up to block `end`, but not into the first blocks.
    fn fill(&mut self, end: u32, beat: &dyn Fn()) -> Result<(), DeviceError> {
        while self.size_blocks < end && end > HEAD_BLOCKS {
            let start = self.size_blocks.max(HEAD_BLOCKS);
            let count = (end - start).min(RUN_BLOCKS as u32);
            if self.zeros.is_empty() {
                self.zeros.resize(RUN_BLOCKS * BLOCK_SIZE, 0);
            }
            beat();
            self.device
                .write_all(u64::from(start) * BLOCK, &self.zeros[..count as usize * BLOCK_SIZE])
                .map_err(|error| DeviceError { doing: "make the image longer", ..error })
                .inspect_err(|error| self.refused |= is_full(error))?;
            (self.size_blocks, self.refused) = (start + count, false);
            self.filled = self.filled.wrapping_add(count);
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

/// Whether the device has no room left.
pub fn is_full(error: &DeviceError) -> bool {
    matches!(error.errno, Errno::ENOSPC | Errno::EDQUOT)
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
        // Five runs, and the gaps before three of them.
        assert_eq!(calls.get(), 8);
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
