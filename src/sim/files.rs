//! The two files of a volume as values: a copy costs a pointer a block, and equal content has an equal hash.

use crate::format::{BLOCK_SIZE, Block, is_zero};
use crate::persist::sim::{IMAGE, JOURNAL};
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

/// What a device writes whole or not at all.
pub const SECTOR: usize = 512;

struct Piece {
    hash: u64,
    bytes: Block,
}

/// The bytes of a file, shared by block with the values that it was copied from.
#[derive(Clone, Default)]
pub struct FileBytes {
    /// Blocks of zeros are none. There are none behind the end.
    blocks: Vec<Option<Arc<Piece>>>,
    len: usize,
}

impl FileBytes {
    /// A file of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut file = Self::default();
        file.write(0, bytes);
        file
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// Reads from `at` up to the end of the buffer or of the file; gives the number of bytes.
    pub fn read(&self, at: usize, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(at));
        let mut done = 0;
        while done < count {
            let (index, within) = ((at + done) / BLOCK_SIZE, (at + done) % BLOCK_SIZE);
            let part = (BLOCK_SIZE - within).min(count - done);
            let place = &mut buffer[done..done + part];
            match self.blocks.get(index).and_then(Option::as_ref) {
                Some(piece) => place.copy_from_slice(&piece.bytes[within..within + part]),
                None => place.fill(0),
            }
            done += part;
        }
        count
    }

    /// Writes at `at`, filling a gap before it with zeros.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.len = self.len.max(at + bytes.len());
        self.blocks.resize(self.len.div_ceil(BLOCK_SIZE), None);
        let mut done = 0;
        while done < bytes.len() {
            let (index, within) = ((at + done) / BLOCK_SIZE, (at + done) % BLOCK_SIZE);
            let part = (BLOCK_SIZE - within).min(bytes.len() - done);
            let mut block = match &self.blocks[index] {
                Some(piece) if part < BLOCK_SIZE => piece.bytes,
                _ => [0; BLOCK_SIZE],
            };
            block[within..within + part].copy_from_slice(&bytes[done..done + part]);
            self.put(index, block);
            done += part;
        }
    }

    /// Cuts the file off or makes it longer with zeros.
    pub fn set_len(&mut self, len: usize) {
        self.blocks.resize(len.div_ceil(BLOCK_SIZE), None);
        let within = len % BLOCK_SIZE;
        if len < self.len && within > 0 {
            let index = len / BLOCK_SIZE;
            if let Some(piece) = &self.blocks[index] {
                let mut block = piece.bytes;
                block[within..].fill(0);
                self.put(index, block);
            }
        }
        self.len = len;
    }

    fn put(&mut self, index: usize, bytes: Block) {
        let zero = is_zero(&bytes);
        self.blocks[index] = (!zero).then(|| Arc::new(Piece { hash: xxh64(&bytes, 0), bytes }));
    }

    /// Hash of length and content.
    pub fn hash(&self) -> u64 {
        let mut hash = 0x9e37_79b9_7f4a_7c15 ^ self.len as u64;
        for (index, block) in (1_u64..).zip(&self.blocks) {
            if let Some(piece) = block {
                let mixed = piece.hash ^ index.wrapping_mul(0xff51_afd7_ed55_8ccd);
                hash = (hash.rotate_left(23) ^ mixed).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            }
        }
        hash ^ hash >> 29
    }

    /// Numbers of the blocks that differ; of a block that only one file has its number, too.
    pub fn differing_blocks(&self, other: &Self) -> Vec<usize> {
        let hash = |file: &Self, index: usize| {
            file.blocks.get(index).map(|block| block.as_ref().map_or(0, |piece| piece.hash))
        };
        let count = self.blocks.len().max(other.blocks.len());
        (0..count).filter(|&index| hash(self, index) != hash(other, index)).collect()
    }
}

/// Image and journal.
#[derive(Clone, Default)]
pub struct Files {
    files: [FileBytes; 2],
}

impl Files {
    /// Files with these bytes.
    pub fn new(image: FileBytes, journal: FileBytes) -> Self {
        Self { files: [image, journal] }
    }

    /// The image.
    pub fn image(&self) -> &FileBytes {
        &self.files[IMAGE]
    }

    /// The journal.
    pub fn journal(&self) -> &FileBytes {
        &self.files[JOURNAL]
    }

    /// The file with this number.
    pub fn file(&self, file: usize) -> &FileBytes {
        &self.files[file]
    }

    /// The file with this number.
    pub fn file_mut(&mut self, file: usize) -> &mut FileBytes {
        &mut self.files[file]
    }

    /// Hash of both.
    pub fn hash(&self) -> u64 {
        self.files[IMAGE].hash().rotate_left(32) ^ self.files[JOURNAL].hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::sim::Rng;

    #[test]
    fn files_are_as_vectors_and_equal_bytes_have_equal_hashes() {
        let mut rng = Rng::new(1);
        for _ in 0..200 {
            let (mut file, mut bytes) = (FileBytes::default(), Vec::new());
            for _ in 0..12 {
                let (at, len) = (rng.below(20_000), rng.below(9_000));
                if rng.chance(30) {
                    bytes.resize(at, 0);
                    file.set_len(at);
                } else {
                    let byte = rng.below(2) as u8;
                    bytes.resize(bytes.len().max(at + len), 0);
                    bytes[at..at + len].fill(byte);
                    file.write(at, &vec![byte; len]);
                }
                assert_eq!(file.to_vec(), bytes);
                assert_eq!(file.hash(), FileBytes::new(&bytes).hash());
            }
            let mut other = file.clone();
            other.write(bytes.len(), &[1]);
            assert_ne!(other.hash(), file.hash());
            assert_eq!(file.to_vec(), bytes, "a copy is a copy");
            assert_eq!(file.differing_blocks(&other), [bytes.len() / BLOCK_SIZE]);
        }
    }
}
