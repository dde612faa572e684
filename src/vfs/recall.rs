//! What a thread remembers of its last reads: where a file's bytes are, and what names stand for.
//!
//! A memory is valid exactly while the sequence word of the stripe of its inode (of the file, or of the
//! directory) has the value it had when the memory was made, so nobody has to be told of changes. It
//! is per thread, so that looking costs neither a lock nor a shared cache line.

use super::types::Ino;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

const RUNS: usize = 8;
const NAMES: usize = 64;
/// Longer names are not remembered.
const NAME_BYTES: usize = 31;

/// A stretch of a file that lies in one piece in the store.
#[derive(Clone, Copy)]
pub(super) struct Run {
    volume: u32,
    ino: Ino,
    /// Sequence number of the inode's stripe when this was true.
    pub(super) seq: u32,
    /// First byte of the file that the stretch has.
    pub(super) from: u64,
    /// Byte behind the last one; not behind the file's end.
    pub(super) to: u64,
    /// Where the first byte is in the store.
    pub(super) at: u64,
}

#[derive(Clone, Copy)]
struct Name {
    volume: u32,
    dir: Ino,
    seq: u32,
    ino: Ino,
    len: u8,
    bytes: [u8; NAME_BYTES],
}

struct Memory {
    runs: [Run; RUNS],
    names: [Name; NAMES],
}

thread_local! {
    static MEMORY: RefCell<Memory> = const {
        let run = Run { volume: 0, ino: 0, seq: 0, from: 0, to: 0, at: 0 };
        let name = Name { volume: 0, dir: 0, seq: 0, ino: 0, len: 0, bytes: [0; NAME_BYTES] };
        RefCell::new(Memory { runs: [run; RUNS], names: [name; NAMES] })
    };
}

/// Gives each view of a volume in this process a number of its own, 1 or more.
pub(super) fn next_volume() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// The stretch that covers bytes `from..to` of a file, if the thread remembers one.
pub(super) fn run(volume: u32, ino: Ino, from: u64, to: u64) -> Option<Run> {
    MEMORY.with_borrow(|memory| {
        let run = memory.runs[ino as usize % RUNS];
        (run.ino == ino && run.volume == volume && from >= run.from && to <= run.to).then_some(run)
    })
}

/// Remembers a stretch.
pub(super) fn keep_run(volume: u32, ino: Ino, seq: u32, from: u64, to: u64, at: u64) {
    MEMORY.with_borrow_mut(|memory| {
        memory.runs[ino as usize % RUNS] = Run { volume, ino, seq, from, to, at };
    });
}

/// Says that the thread itself has changed a file's bytes in place: its memory of it is still right.
pub(super) fn renew_run(volume: u32, ino: Ino, seq: u32) {
    MEMORY.with_borrow_mut(|memory| {
        let run = &mut memory.runs[ino as usize % RUNS];
        if run.ino == ino && run.volume == volume {
            run.seq = seq;
        }
    });
}

fn place(dir: Ino, name: &[u8]) -> usize {
    let hash = name.iter().fold(dir, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 15) as usize % NAMES
}

/// The inode that a name stood for when the directory's stripe had the sequence number `seq`.
pub(super) fn name(volume: u32, dir: Ino, seq: u32, bytes: &[u8]) -> Option<Ino> {
    MEMORY.with_borrow(|memory| {
        let name = &memory.names[place(dir, bytes)];
        let same = name.dir == dir && name.seq == seq && name.volume == volume;
        (same && name.bytes.get(..usize::from(name.len)) == Some(bytes)).then_some(name.ino)
    })
}

/// Remembers what a name stands for.
pub(super) fn keep_name(volume: u32, dir: Ino, seq: u32, bytes: &[u8], ino: Ino) {
    if bytes.len() > NAME_BYTES {
        return;
    }
    MEMORY.with_borrow_mut(|memory| {
        let name = &mut memory.names[place(dir, bytes)];
        (name.volume, name.dir, name.seq, name.ino) = (volume, dir, seq, ino);
        name.len = bytes.len() as u8;
        name.bytes[..bytes.len()].copy_from_slice(bytes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_is_remembered() {
        let volume = next_volume();
        keep_run(volume, 9, 4, 4096, 8192, 77);
        assert_eq!(run(volume, 9, 4096, 8192).map(|run| (run.seq, run.at)), Some((4, 77)));
        assert!(run(volume, 9, 4095, 4100).is_none() && run(volume, 9, 8000, 8193).is_none());
        assert!(run(volume, 9 + RUNS as u32, 4096, 4097).is_none());
        assert!(run(next_volume(), 9, 4096, 4097).is_none());
        renew_run(volume, 9, 6);
        assert_eq!(run(volume, 9, 5000, 5001).map(|run| run.seq), Some(6));

        keep_name(volume, 2, 8, b"name", 5);
        assert_eq!(name(volume, 2, 8, b"name"), Some(5));
        assert_eq!(name(volume, 2, 10, b"name"), None);
        assert_eq!(name(volume, 3, 8, b"name"), None);
        assert_eq!(name(volume, 2, 8, b"nam"), None);
        keep_name(volume, 2, 8, &[b'x'; 32], 5);
        assert_eq!(name(volume, 2, 8, &[b'x'; 32]), None);
    }
}
