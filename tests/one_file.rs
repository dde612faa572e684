//! Random changes of one file, compared byte by byte and block by block with a vector and a set, over
//! several mounts.

use crate::model::volumes::{self, HeapVolume, ROOT, file, tick, volume};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use sabfs::core::check::check;
use sabfs::core::{Mapping, map};
use sabfs::errno::Errno;
use sabfs::vfs::{AllocateMode, SetAttr};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: u64 = 4096;
const INLINE_MAX: u64 = 104;
/// Larger files would only take longer.
const SIZE_MAX: u64 = 1 << 20;

static DONE: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
enum Step {
    Write {
        offset: u64,
        len: u64,
        seed: u8,
    },
    Append {
        len: u64,
        seed: u8,
    },
    Read {
        offset: u64,
        len: u64,
    },
    Truncate {
        size: u64,
    },
    Reserve {
        offset: u64,
        len: u64,
        keep: bool,
    },
    Zero {
        offset: u64,
        len: u64,
        keep: bool,
    },
    Punch {
        offset: u64,
        len: u64,
    },
    Collapse {
        offset: u64,
        len: u64,
    },
    Insert {
        offset: u64,
        len: u64,
    },
    Seek {
        offset: u64,
    },
    Copy {
        from: u64,
        to: u64,
        len: u64,
    },
    /// Every second block of a stretch, so that the tree gets nodes.
    Comb {
        first: u64,
        count: u64,
    },
    Reload,
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    bytes: Vec<u8>,
    blocks: BTreeSet<u64>,
    inline: bool,
}

impl Model {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn outgrow(&mut self, end: u64) {
        if self.inline && end > INLINE_MAX {
            self.inline = false;
            if self.size() > 0 {
                self.blocks.insert(0);
            }
        }
    }

    fn grow(&mut self, end: u64) {
        self.outgrow(end);
        self.bytes.resize(self.size().max(end) as usize, 0);
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        self.grow(end);
        self.bytes[offset as usize..end as usize].copy_from_slice(bytes);
        if !self.inline {
            self.blocks.extend(offset / BLOCK..end.div_ceil(BLOCK));
        }
    }

    fn truncate(&mut self, size: u64) {
        self.outgrow(size);
        if size <= self.size() && !self.inline {
            self.blocks.retain(|block| block * BLOCK < size);
            self.inline = size == 0;
        }
        self.bytes.resize(size as usize, 0);
    }

    fn clear(&mut self, offset: u64, end: u64) {
        let (from, to) = (offset.min(self.size()) as usize, end.min(self.size()) as usize);
        self.bytes[from..to].fill(0);
    }

    fn reserve(&mut self, offset: u64, end: u64, keep: bool) {
        self.outgrow(end);
        if !self.inline {
            self.blocks.extend(offset / BLOCK..end.div_ceil(BLOCK));
        }
        if !keep {
            self.grow(end);
        }
    }

    fn punch(&mut self, offset: u64, end: u64) {
        self.clear(offset, end);
        self.blocks.retain(|block| block * BLOCK < offset || (block + 1) * BLOCK > end);
    }

    fn collapse(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset + len;
        if !offset.is_multiple_of(BLOCK) || !len.is_multiple_of(BLOCK) || end >= self.size() {
            return Err(Errno::EINVAL);
        }
        self.bytes.drain(offset as usize..end as usize);
        let (from, to, by) = (offset / BLOCK, end / BLOCK, len / BLOCK);
        self.blocks = std::mem::take(&mut self.blocks)
            .into_iter()
            .filter(|block| !(from..to).contains(block))
            .map(|block| if block < from { block } else { block - by })
            .collect();
        Ok(())
    }

    fn insert(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        if !offset.is_multiple_of(BLOCK) || !len.is_multiple_of(BLOCK) || offset >= self.size() {
            return Err(Errno::EINVAL);
        }
        self.outgrow(self.size() + len);
        let at = offset as usize;
        self.bytes.splice(at..at, std::iter::repeat_n(0, len as usize));
        self.blocks = std::mem::take(&mut self.blocks)
            .into_iter()
            .map(|block| if block < offset / BLOCK { block } else { block + len / BLOCK })
            .collect();
        Ok(())
    }

    fn seek(&self, offset: u64, data: bool) -> Result<u64, Errno> {
        if offset >= self.size() {
            return Err(Errno::ENXIO);
        }
        let is_data = |at: u64| self.inline || self.blocks.contains(&(at / BLOCK));
        let mut at = offset;
        while at < self.size() {
            if is_data(at) == data {
                return Ok(at);
            }
            at = if self.inline { self.size() } else { (at / BLOCK + 1) * BLOCK };
        }
        if data { Err(Errno::ENXIO) } else { Ok(self.size()) }
    }

    fn copy(&mut self, from: u64, to: u64, len: u64) -> Result<u64, Errno> {
        let count = len.min(self.size().saturating_sub(from));
        if to < from + count && from < to + count {
            return Err(Errno::EINVAL);
        }
        let end = from + count;
        let mut at = from;
        while at < end {
            // The target may be what makes the source's file grow.
            let data = self.seek(at, true).unwrap_or(self.size()).min(end);
            if data > at {
                self.grow(to + data - from);
                self.punch(to + at - from, to + data - from);
                at = data;
                continue;
            }
            let hole = self.seek(at, false).unwrap().min(end);
            let bytes = self.bytes[at as usize..hole as usize].to_vec();
            self.write(to + at - from, &bytes);
            at = hole;
        }
        Ok(count)
    }
}

struct Test {
    volume: HeapVolume,
    ino: u32,
    model: Model,
}

fn content(seed: u8, len: u64) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed | 1).collect()
}

impl Test {
    fn new(blocks: u32) -> Self {
        let volume = volume(blocks);
        let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
        let model = Model { bytes: Vec::new(), blocks: BTreeSet::new(), inline: true };
        Self { volume, ino, model }
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<(), Errno> {
        self.volume.allocate(self.ino, mode, offset, len)
    }

    /// What a step gives in the volume and in the model; none when there was no space for it, so that
    /// nothing may have changed.
    fn step(&mut self, step: &Step) {
        tick();
        let before = self.volume.getattr(self.ino).unwrap();
        let free = self.volume.statfs().unwrap().free_blocks;
        let mut model = self.model.clone();
        let keep_size = |keep| if keep { AllocateMode::KEEP_SIZE } else { AllocateMode::empty() };
        let (answer, expected): (Result<u64, Errno>, Result<u64, Errno>) = match *step {
            Step::Write { offset, len, seed } => self.write(&mut model, offset, &content(seed, len)),
            Step::Append { len, seed } => {
                let size = model.size();
                let answer = self.volume.append(self.ino, &content(seed, len));
                if let Ok((at, count)) = answer {
                    assert_eq!(at, size);
                    model.write(at, &content(seed, len)[..count]);
                }
                (answer.map(|(at, _)| at), Ok(size))
            }
            Step::Read { offset, len } => {
                let mut buffer = vec![0xee; len as usize];
                let count = self.volume.read(self.ino, offset, &mut buffer).unwrap();
                let from = offset.min(model.size()) as usize;
                let to = (offset + len).min(model.size()) as usize;
                assert!(buffer[..count] == model.bytes[from..to.max(from)], "{step:?}");
                (Ok(0), Ok(0))
            }
            Step::Truncate { size } => {
                let set = SetAttr { size_bytes: Some(size), ..Default::default() };
                model.truncate(size);
                (self.volume.setattr(self.ino, &set).map(|attr| attr.size_bytes), Ok(size))
            }
            Step::Reserve { offset, len, keep } => {
                model.reserve(offset, offset + len, keep);
                (self.allocate(keep_size(keep), offset, len).map(|()| 0), Ok(0))
            }
            Step::Zero { offset, len, keep } => {
                model.clear(offset, offset + len);
                model.reserve(offset, offset + len, keep);
                let mode = AllocateMode::ZERO_RANGE | keep_size(keep);
                (self.allocate(mode, offset, len).map(|()| 0), Ok(0))
            }
            Step::Punch { offset, len } => {
                model.punch(offset, offset + len);
                let mode = AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE;
                (self.allocate(mode, offset, len).map(|()| 0), Ok(0))
            }
            Step::Collapse { offset, len } => {
                let expected = model.collapse(offset, len);
                let answer = self.allocate(AllocateMode::COLLAPSE_RANGE, offset, len);
                (answer.map(|()| 0), expected.map(|()| 0))
            }
            Step::Insert { offset, len } => {
                let expected = model.insert(offset, len);
                let answer = self.allocate(AllocateMode::INSERT_RANGE, offset, len);
                (answer.map(|()| 0), expected.map(|()| 0))
            }
            Step::Seek { offset } => {
                assert_eq!(
                    self.volume.seek_data(self.ino, offset),
                    model.seek(offset, true),
                    "{step:?}"
                );
                (self.volume.seek_hole(self.ino, offset), model.seek(offset, false))
            }
            Step::Copy { from, to, len } => {
                let expected = model.copy(from, to, len);
                let answer = self.volume.copy_range(self.ino, from, self.ino, to, len);
                if let (Ok(count), Ok(all)) = (answer, expected)
                    && count < all
                {
                    // Space ran out on the way: as if less had been asked for, but for what copying a
                    // part of a block leaves for later.
                    model = self.model.clone();
                    let _ = model.copy(from, to, count);
                    (Ok(0), Ok(0))
                } else {
                    (answer, expected)
                }
            }
            Step::Comb { first, count } => {
                for number in 0..count {
                    let offset = (first + number * 2) * BLOCK + number % 7;
                    let (answer, expected) = self.write(&mut model, offset, &[number as u8 | 1]);
                    if answer == Err(Errno::ENOSPC) {
                        break;
                    }
                    assert_eq!(answer, expected);
                }
                (Ok(0), Ok(0))
            }
            Step::Reload => {
                self.volume = volumes::remount(&self.volume);
                (Ok(0), Ok(0))
            }
        };
        DONE.fetch_add(1, Ordering::Relaxed);
        if answer == Err(Errno::ENOSPC) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            assert!(expected.is_ok(), "{step:?}");
            assert_eq!(self.volume.getattr(self.ino), Ok(before), "{step:?}");
            assert_eq!(self.volume.statfs().unwrap().free_blocks, free, "{step:?}");
        } else {
            assert_eq!(answer, expected, "{step:?}");
            self.model = model;
        }
        self.compare(step);
    }

    fn write(
        &self,
        model: &mut Model,
        offset: u64,
        bytes: &[u8],
    ) -> (Result<u64, Errno>, Result<u64, Errno>) {
        let answer = self.volume.write(self.ino, offset, bytes);
        if let Ok(count) = answer {
            assert!(count > 0 || bytes.is_empty());
            model.write(offset, &bytes[..count]);
        }
        (answer.map(|count| count as u64), answer.map(|count| count as u64).or(Ok(0)))
    }

    /// Size, bytes and which blocks there are.
    fn compare(&self, step: &Step) {
        let attr = self.volume.getattr(self.ino).unwrap();
        assert_eq!(attr.size_bytes, self.model.size(), "{step:?}");
        let mut buffer = vec![0xee; self.model.bytes.len() + 1];
        let count = self.volume.read(self.ino, 0, &mut buffer).unwrap();
        assert!(buffer[..count] == self.model.bytes, "{step:?}");
        let inode = self.volume.core().read_inode(self.ino).unwrap();
        assert_eq!(inode.is_inline(), self.model.inline, "{step:?}");
        let mut blocks = BTreeSet::new();
        let mut at = 0;
        while at < 2 * (SIZE_MAX / BLOCK) as u32 {
            at += match map(&self.volume.core().image, &inode, at).unwrap() {
                Mapping::Run { count, .. } => {
                    blocks.extend((at..at + count).map(u64::from));
                    count
                }
                Mapping::Hole { count } => count,
            };
        }
        assert_eq!(blocks, self.model.blocks, "{step:?}");
    }
}

fn place() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0..200_u64,
        4 => 0..40_000_u64,
        2 => (0..60_u64).prop_map(|block| block * BLOCK),
        1 => 0..SIZE_MAX / 4,
    ]
}

fn len() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..150_u64, 4 => 1..20_000_u64, 1 => 1..100_000_u64]
}

fn blocks(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![9 => (0..most).prop_map(|block| block * BLOCK), 1 => 0..most * BLOCK]
}

fn some(most: u64) -> impl Strategy<Value = u64> {
    blocks(most).prop_map(|len| len.max(1))
}

fn step() -> impl Strategy<Value = Step> {
    let p = any::<bool>;
    prop_oneof![
        8 => (place(), len(), any::<u8>())
            .prop_map(|(offset, len, seed)| Step::Write { offset, len, seed }),
        3 => (len(), any::<u8>()).prop_map(|(len, seed)| Step::Append { len, seed }),
        3 => (place(), len()).prop_map(|(offset, len)| Step::Read { offset, len }),
        4 => prop_oneof![1 => Just(0), 6 => place()].prop_map(|size| Step::Truncate { size }),
        4 => (place(), len(), p()).prop_map(|(offset, len, keep)| Step::Reserve { offset, len, keep }),
        4 => (place(), len(), p()).prop_map(|(offset, len, keep)| Step::Zero { offset, len, keep }),
        6 => (place(), len()).prop_map(|(offset, len)| Step::Punch { offset, len }),
        5 => (blocks(60), some(12)).prop_map(|(offset, len)| Step::Collapse { offset, len }),
        5 => (blocks(60), some(12)).prop_map(|(offset, len)| Step::Insert { offset, len }),
        4 => place().prop_map(|offset| Step::Seek { offset }),
        4 => (place(), place(), len()).prop_map(|(from, to, len)| Step::Copy { from, to, len }),
        2 => (0..40_u64, 1..30_u64).prop_map(|(first, count)| Step::Comb { first, count }),
        2 => Just(Step::Reload),
    ]
}

fn run(cases: u32, room: impl Strategy<Value = u32>, longest: usize) {
    let long = std::env::var_os("SABFS_LONG").is_some();
    let config = Config {
        cases: if long { cases * 50 } else { cases },
        failure_persistence: None,
        rng_seed: if long { RngSeed::Random } else { RngSeed::Fixed(11) },
        max_shrink_time: 60_000,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&(room, prop::collection::vec(step(), 1..longest)), |(blocks, steps)| {
            let mut test = Test::new(blocks);
            for step in &steps {
                if test.model.size() < SIZE_MAX {
                    test.step(step);
                }
            }
            test.step(&Step::Reload);
            let report = check(test.volume.core());
            assert!(report.is_clean(), "{report}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let [done, refused] = [&DONE, &REFUSED].map(|count| count.load(Ordering::Relaxed));
    println!("{done} steps, {refused} refused for want of space");
}

#[test]
fn with_room() {
    run(300, Just(1_500), 60);
}

#[test]
fn with_hardly_any_room() {
    run(400, 16..120_u32, 80);
}

/// Nodes of the tree split, empty and move.
#[test]
fn in_many_pieces() {
    let v = volume(8_000);
    let ino = v.create(ROOT, b"f", &file()).unwrap().ino;
    let (blocks, mut expected) = (1_500_u64, Vec::new());
    for number in 0..blocks {
        v.write(ino, number * 2 * BLOCK, &number.to_le_bytes()).unwrap();
        expected.extend([number + 1, 0]);
    }
    expected.pop();
    let shift = |mode, at: usize, count: usize| {
        v.allocate(ino, mode, at as u64 * BLOCK, count as u64 * BLOCK).unwrap();
    };
    // Each moves nearly all nodes; the last ones take whole nodes out, and cut extents apart.
    for (at, count, insert) in [
        (1, 3, true),
        (700, 1, true),
        (2_999, 10, true),
        (5, 400, false),
        (301, 5, true),
        (0, 1_300, false),
    ] {
        if insert {
            shift(AllocateMode::INSERT_RANGE, at, count);
            expected.splice(at..at, std::iter::repeat_n(0, count));
        } else {
            shift(AllocateMode::COLLAPSE_RANGE, at, count);
            expected.drain(at..at + count);
        }
        for (place, &number) in expected.iter().enumerate() {
            let mut bytes = [0; 8];
            let offset = place as u64 * BLOCK;
            v.read(ino, offset, &mut bytes).unwrap();
            assert_eq!(
                u64::from_le_bytes(bytes),
                number.saturating_sub(1),
                "{place} after {at} {count}"
            );
            assert_eq!(v.seek_data(ino, offset) == Ok(offset), number > 0);
        }
        let report = check(v.core());
        assert!(report.is_clean(), "{report}");
    }
    assert!(check(volumes::remount(&v).core()).is_clean());
    // One extent, cut by what is put in and made whole by taking it out.
    let whole = v.create(ROOT, b"whole", &file()).unwrap().ino;
    v.write(whole, 0, &vec![1; 40 * 4096]).unwrap();
    for at in 1..30 {
        v.allocate(whole, AllocateMode::INSERT_RANGE, at * BLOCK, BLOCK).unwrap();
        v.allocate(whole, AllocateMode::COLLAPSE_RANGE, at * BLOCK, BLOCK).unwrap();
    }
    assert_eq!(v.core().read_inode(whole).unwrap().extent_root().count.get(), 1);
}
