//! A file whose changes stay in memory.

use sabfs::format::{BLOCK_SIZE, Block};
use sabfs::persist::{Device, DeviceError, FileDevice};
use std::collections::BTreeMap;

/// A file whose changes stay in memory.
pub struct Overlay {
    file: FileDevice,
    size_bytes: Option<u64>,
    written: BTreeMap<u64, Box<Block>>,
}

impl Overlay {
    /// The file as it is by now.
    pub fn new(file: FileDevice) -> Self {
        Self { file, size_bytes: None, written: BTreeMap::new() }
    }

    fn block(&mut self, number: u64) -> Result<&mut Block, DeviceError> {
        if !self.written.contains_key(&number) {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            self.file.read_full(number * BLOCK_SIZE as u64, &mut bytes[..])?;
            self.written.insert(number, bytes);
        }
        Ok(self.written.entry(number).or_insert_with(|| Box::new([0; BLOCK_SIZE])))
    }
}

impl Device for Overlay {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        self.size_bytes.map_or_else(|| self.file.size_bytes(), Ok)
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let left = self.size_bytes()?.saturating_sub(at);
        let within = (at % BLOCK_SIZE as u64) as usize;
        let count =
            buffer.len().min(BLOCK_SIZE - within).min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        match self.written.get(&(at / BLOCK_SIZE as u64)) {
            Some(bytes) => buffer.copy_from_slice(&bytes[within..within + count]),
            None => {
                // Behind the file's own end, but not behind the end that it was given here.
                let done = self.file.read_full(at, buffer)?;
                buffer[done..].fill(0);
            }
        }
        Ok(count)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        let within = (at % BLOCK_SIZE as u64) as usize;
        let count = bytes.len().min(BLOCK_SIZE - within);
        let size_bytes = self.size_bytes()?.max(at + count as u64);
        self.block(at / BLOCK_SIZE as u64)?[within..within + count].copy_from_slice(&bytes[..count]);
        self.size_bytes = Some(size_bytes);
        Ok(count)
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        // Blocks that are cut off hide what the file has there.
        let old = self.size_bytes()?;
        for number in size_bytes.div_ceil(BLOCK_SIZE as u64)..old.div_ceil(BLOCK_SIZE as u64) {
            self.block(number)?.fill(0);
        }
        self.size_bytes = Some(size_bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
