//! Extent trees against a map of every block: adding, removing, moving, with and without space.

use crate::model::volumes::{self, HeapVolume, ROOT, file};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use sabfs::core::check::check;
use sabfs::core::extent::{self, Visit};
use sabfs::core::{Error, Mapping, Result, Txn};
use sabfs::errno::Errno;
use sabfs::format::{BLOCK_SIZE, Extent, FILE_SIZE_MAX, Inode};
use sabfs::store::HeapStore;
use sabfs::vfs::Ino;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

type Change<'a> = &'a dyn Fn(&mut Txn<'_, Arc<HeapStore>>, &mut Inode) -> Result<()>;
/// File block to image block.
type Blocks = BTreeMap<u32, u32>;

#[derive(Clone, Debug)]
enum Step {
    /// Blocks over a hole, behind those before it if possible.
    Add {
        at: u32,
        count: u32,
    },
    /// A block in every other place.
    Comb {
        at: u32,
        count: u32,
        down: bool,
    },
    Remove {
        from: u32,
        count: u32,
    },
    Shift {
        from: u32,
        delta: i64,
    },
    /// Takes out and puts back somewhere else.
    Move {
        from: u32,
        count: u32,
        to: u32,
    },
}

struct Tree {
    volume: Rc<HeapVolume>,
    ino: Ino,
    blocks: Blocks,
    refusals: u32,
    levels: u16,
}

impl Tree {
    fn new(blocks: u32) -> Self {
        let volume = Rc::new(volumes::volume(blocks));
        let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
        let tree = Self { volume, ino, blocks: Blocks::new(), refusals: 0, levels: 0 };
        // No block lies behind the end of so large a file.
        tree.change(&|_, inode| {
            inode.set_inline(false);
            inode.raw.size = FILE_SIZE_MAX.into();
            Ok(())
        })
        .unwrap();
        tree
    }

    fn inode(&self) -> Inode {
        self.volume.core().read_inode(self.ino).unwrap()
    }

    fn change(&self, change: Change) -> std::result::Result<(), Errno> {
        let mut txn = Txn::begin(self.volume.core());
        let mut inode = txn.inode(self.ino).unwrap();
        match change(&mut txn, &mut inode) {
            Ok(()) => {
                txn.put_inode(&inode).unwrap();
                txn.commit().unwrap();
                Ok(())
            }
            Err(Error::Os(errno)) => Err(errno),
            Err(error) => panic!("{error}"),
        }
    }

    fn extents(&self) -> Vec<Extent> {
        let mut extents = Vec::new();
        extent::walk(self.volume.image(), &self.inode(), &mut |visit| {
            if let Visit::Extent(extent) = visit {
                extents.push(extent);
            }
            Ok(())
        })
        .unwrap();
        extents
    }

    /// The tree has these blocks, and no more nodes than it should.
    fn compare(&self) {
        let mut found = Blocks::new();
        for extent in self.extents() {
            for index in 0..u32::from(extent.count) {
                found.insert(extent.file_block + index, extent.block + index);
            }
        }
        assert_eq!(found, self.blocks);
        let places = self.blocks.keys().flat_map(|&at| [at.saturating_sub(1), at, at + 1]);
        for at in places.chain([0, u32::MAX - 1]) {
            match extent::map(self.volume.image(), &self.inode(), at).unwrap() {
                Mapping::Run { block, count, skip } => {
                    for index in 0..count {
                        assert_eq!(self.blocks.get(&(at + index)), Some(&(block + index)));
                    }
                    assert_eq!(self.blocks.get(&(at - skip)), Some(&(block - skip)));
                }
                Mapping::Hole { count } => {
                    assert!(count > 0 && self.blocks.range(at..at + count).next().is_none());
                }
            }
        }
    }

    fn nodes(&self) -> u64 {
        self.inode().raw.blocks.get() - self.blocks.len() as u64
    }

    #[track_caller]
    fn assert_sound(&self) {
        let report = check(self.volume.core());
        assert!(report.is_clean(), "{report}");
    }

    fn step(&mut self, step: &Step) {
        let before = self.inode().raw.root;
        let (blocks, answer) = match *step {
            Step::Add { at, count } => self.add(at, count),
            Step::Comb { at, count, down } => {
                for number in 0..count {
                    let number = if down { count - 1 - number } else { number };
                    self.step(&Step::Add { at: at + number * 2, count: 1 });
                }
                return;
            }
            Step::Remove { from, count } => {
                let mut blocks = self.blocks.clone();
                let to = from.saturating_add(count);
                blocks.retain(|at, _| !(from..to).contains(at));
                let answer = self.change(&|txn, inode| extent::remove(txn, inode, from, to));
                if answer.is_err() {
                    assert!(self.blocks.contains_key(&from.wrapping_sub(1)) && blocks.contains_key(&to));
                }
                (blocks, answer)
            }
            Step::Shift { from, delta } => self.shift(from, delta),
            Step::Move { from, count, to } => self.transplant(from, count, to),
        };
        match answer {
            Ok(()) => self.blocks = blocks,
            Err(Errno::ENOSPC) => {
                self.refusals += 1;
                assert_eq!(self.inode().raw.root, before);
            }
            Err(Errno::EINVAL | Errno::EFBIG) => assert!(matches!(step, Step::Shift { .. })),
            Err(errno) => panic!("{errno}"),
        }
        self.levels = self.levels.max(self.inode().extent_root().level.get());
    }

    fn add(&self, at: u32, count: u32) -> (Blocks, std::result::Result<(), Errno>) {
        let mut blocks = self.blocks.clone();
        let free = (0..count).take_while(|index| !blocks.contains_key(&(at + index))).count() as u32;
        if free == 0 {
            return (blocks, Ok(()));
        }
        let goal = blocks.get(&at.wrapping_sub(1)).map_or(0, |block| block + 1);
        let got = std::cell::Cell::new(None);
        let answer = self.change(&|txn, inode| {
            let run = txn.allocate(goal, free)?;
            got.set(Some(run));
            inode.raw.blocks = (inode.raw.blocks.get() + u64::from(run.count)).into();
            let extent = Extent { file_block: at, block: run.block, count: run.count as u16 };
            extent::insert(txn, inode, extent)
        });
        if let Some(run) = got.get() {
            blocks.extend((0..run.count).map(|index| (at + index, run.block + index)));
        }
        (blocks, answer)
    }

    fn shift(&self, from: u32, delta: i64) -> (Blocks, std::result::Result<(), Errno>) {
        let answer = self.change(&|txn, inode| extent::shift(txn, inode, from, delta));
        let to = i64::from(from) + delta;
        let blocked = delta < 0 && (to < 0 || self.blocks.range(to as u32..from).next().is_some());
        let too_far = self
            .blocks
            .range(from..)
            .next_back()
            .is_some_and(|(&last, _)| i64::from(last) + 1 + delta > i64::from(u32::MAX));
        match answer {
            Err(Errno::EINVAL) => assert!(blocked),
            Err(Errno::EFBIG) => assert!(too_far && !blocked),
            _ => assert!(!blocked && !too_far),
        }
        let moved = |at: u32| if at < from { at } else { (i64::from(at) + delta) as u32 };
        if answer.is_err() {
            return (self.blocks.clone(), answer);
        }
        (self.blocks.iter().map(|(&at, &block)| (moved(at), block)).collect(), answer)
    }

    fn transplant(&self, from: u32, count: u32, to: u32) -> (Blocks, std::result::Result<(), Errno>) {
        let mut blocks = self.blocks.clone();
        let piece: Vec<_> = self.blocks.range(from..from + count).map(|(&a, &b)| (a, b)).collect();
        for (at, _) in &piece {
            blocks.remove(at);
        }
        if blocks.range(to..to + count).next().is_some() {
            return (self.blocks.clone(), Ok(()));
        }
        blocks.extend(piece.iter().map(|&(at, block)| (at - from + to, block)));
        let answer = self.change(&|txn, inode| {
            for extent in extent::take(txn, inode, from, from + count)? {
                let file_block = extent.file_block - from + to;
                extent::insert(txn, inode, Extent { file_block, ..extent })?;
            }
            Ok(())
        });
        (blocks, answer)
    }
}

fn step(most: u32) -> impl Strategy<Value = Step> {
    let at = prop_oneof![0..60_u32, 0..3_000_u32, Just(u32::MAX - 9_000)];
    let count = prop_oneof![1..4_u32, 1..200_u32, 1..3_000_u32];
    let delta = prop_oneof![-50..50_i64, -3_000..3_000_i64, Just(i64::from(u32::MAX) - 5_000)];
    prop_oneof![
        4 => (at.clone(), 1..12_u32).prop_map(|(at, count)| Step::Add { at, count }),
        3 => (at.clone(), prop_oneof![1..20_u32, 330..350_u32, 1..most], any::<bool>())
            .prop_map(|(at, count, down)| Step::Comb { at, count, down }),
        4 => (at.clone(), count.clone()).prop_map(|(from, count)| Step::Remove { from, count }),
        2 => (at.clone(), delta).prop_map(|(from, delta)| Step::Shift { from, delta }),
        2 => (at.clone(), count, at).prop_map(|(from, count, to)| Step::Move { from, count, to }),
    ]
}

fn random(cases: u32, blocks: impl Strategy<Value = u32>, most: u32, longest: usize) -> (u32, u16) {
    let long = std::env::var_os("SABFS_LONG").is_some();
    let config = Config {
        cases: if long { cases * 50 } else { cases },
        failure_persistence: None,
        rng_seed: if long { RngSeed::Random } else { RngSeed::Fixed(7) },
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let seen = std::cell::Cell::new((0, 0));
    TestRunner::new(config)
        .run(&(blocks, prop::collection::vec(step(most), 1..longest)), |(blocks, steps)| {
            let mut tree = Tree::new(blocks);
            for step in &steps {
                tree.step(step);
            }
            tree.compare();
            tree.assert_sound();
            let (refusals, levels) = seen.get();
            seen.set((refusals + tree.refusals, levels.max(tree.levels)));
            // What is taken away leaves no nodes behind.
            while let Some((&last, _)) = tree.blocks.last_key_value() {
                tree.step(&Step::Remove { from: last.saturating_sub(40), count: 50 });
                if tree.extents().len() <= 8 {
                    assert_eq!((tree.inode().extent_root().level.get(), tree.nodes()), (0, 0));
                }
            }
            tree.compare();
            assert_eq!(tree.inode().raw.blocks.get(), 0);
            tree.assert_sound();
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    seen.get()
}

#[test]
fn small_trees() {
    random(400, Just(4_000), 60, 30);
}

#[test]
fn trees_of_several_levels() {
    let (_, levels) = random(25, Just(16_000), 3_200, 16);
    assert_eq!(levels, 2);
}

#[test]
fn trees_without_space() {
    let (refusals, _) = random(300, 20..500_u32, 400, 30);
    assert!(refusals > 100, "{refusals} refusals");
}

/// A comb of `count` extents in an otherwise empty volume.
fn comb(count: u32) -> Tree {
    let mut tree = Tree::new(4_000);
    tree.step(&Step::Comb { at: 0, count, down: false });
    assert_eq!(tree.extents().len(), count as usize);
    tree
}

#[test]
fn neighbours_with_little_left_become_one() {
    let mut tree = comb(2_000);
    let nodes = tree.nodes();
    // Every tenth stays, which is less than a node takes.
    for number in (0..2_000).filter(|number| number % 10 != 0) {
        tree.step(&Step::Remove { from: number * 2, count: 1 });
    }
    tree.compare();
    assert!(nodes > 5 && tree.nodes() == 1, "{nodes} became {}", tree.nodes());
    // The others go, but for as many as the inode holds.
    tree.step(&Step::Remove { from: 0, count: (2_000 - 80) * 2 });
    assert_eq!((tree.extents().len(), tree.nodes()), (8, 0));
    tree.compare();
    tree.assert_sound();
}

#[test]
fn filled_gaps_make_one_extent() {
    let mut tree = comb(1);
    for at in 1..600 {
        tree.step(&Step::Add { at, count: 1 });
    }
    assert_eq!(tree.extents().len(), 1);
    let all = tree.extents()[0];
    // A middle part is moved away and comes back.
    tree.step(&Step::Move { from: 200, count: 100, to: 5_000 });
    assert_eq!(tree.extents().len(), 3);
    tree.step(&Step::Move { from: 5_000, count: 100, to: 200 });
    assert_eq!(tree.extents(), [all]);
    // Every second block is moved away and comes back: the tree shrinks as it has grown.
    for at in (0..1_800).skip(600) {
        tree.step(&Step::Add { at, count: 1 });
    }
    let all = tree.extents();
    for (from, to) in [(0, 5_000), (5_000, 0)] {
        for at in (0..1_800).step_by(2) {
            tree.step(&Step::Move { from: from + at, count: 1, to: to + at });
        }
        tree.compare();
        assert_eq!(tree.nodes() > 5, to > 0);
    }
    assert_eq!((tree.extents(), tree.nodes()), (all, 0));
    tree.assert_sound();
}

/// Each change that needs space fails with every number of free blocks below what it needs, and leaves
/// everything as it was.
#[test]
fn no_space_at_every_point() {
    let split_at = 338 * 2;
    let steps = [
        // An extent more than the inode holds, and than a full leaf and a full root hold.
        (8, Step::Add { at: 5, count: 1 }, 2),
        (338, Step::Add { at: 5, count: 1 }, 2),
        (8 * 337 + 1, Step::Add { at: split_at + 5, count: 1 }, 3),
        // A hole in the middle of an extent, and a gap within one.
        (338, Step::Remove { from: 10_001, count: 1 }, 1),
        (338, Step::Shift { from: 10_001, delta: 5 }, 1),
    ];
    for (count, step, most) in steps {
        let mut tree = comb(count);
        if !matches!(step, Step::Add { .. }) {
            // The last of them is longer.
            tree.step(&Step::Remove { from: (count - 1) * 2, count: 1 });
            tree.step(&Step::Add { at: 10_000, count: 3 });
            assert_eq!(tree.extents().len(), count as usize);
        }
        let mut needed = 0;
        loop {
            let refusals = tree.refusals;
            let volume = Rc::clone(&tree.volume);
            let hog = volumes::leave_free(&volume, needed);
            tree.step(&step);
            drop(hog);
            tree.compare();
            tree.assert_sound();
            if tree.refusals == refusals {
                break;
            }
            needed += 1;
        }
        assert!((1..=most).contains(&needed), "{step:?} needs {needed}");
    }
}

/// Inner nodes split and join, too. The extents stand for nothing: only the tree's own blocks are real.
#[test]
fn trees_with_many_inner_nodes() {
    const COUNT: u32 = 130_000;
    let mut tree = Tree::new(4_000);
    let extent =
        |number: u32| Extent { file_block: number * 4, block: 100 + number % 500 * 2, count: 1 };
    let numbers: Vec<u32> = (0..COUNT).rev().collect();
    for part in numbers.chunks(2_000) {
        tree.change(&|txn, inode| {
            part.iter().try_for_each(|&number| extent::insert(txn, inode, extent(number)))
        })
        .unwrap();
    }
    let block_of = |number: u32| (extent(number).file_block, extent(number).block);
    let nodes = |tree: &Tree| {
        let mut nodes = 0;
        // Records of the last node of each level, 0 where another parent's children begin.
        let mut last = [0; 3];
        let image = tree.volume.image();
        extent::walk(image, &tree.inode(), &mut |visit| {
            let Visit::Node(block) = visit else { return Ok(()) };
            nodes += 1;
            let mut bytes = [0; BLOCK_SIZE];
            image.read_block(block, &mut bytes);
            let (count, level) = (usize::from(bytes[24]) + usize::from(bytes[25]) * 256, bytes[28]);
            let neighbour = std::mem::replace(&mut last[usize::from(level)], count);
            assert!(neighbour == 0 || neighbour + count > 252, "{neighbour} and {count} are two nodes");
            last[..usize::from(level)].fill(0);
            Ok(())
        })
        .unwrap();
        assert_eq!(tree.inode().raw.blocks.get(), nodes, "nodes are counted");
        (tree.inode().extent_root().level.get(), nodes)
    };
    tree.blocks = (0..COUNT).map(block_of).collect();
    tree.compare();
    let (level, many) = nodes(&tree);
    assert!(level == 2 && tree.inode().extent_root().count.get() > 2 && many > 500);
    let free = tree.volume.statfs().unwrap().free_blocks;

    // There and back, over all nodes.
    for delta in [3, -3] {
        tree.change(&|txn, inode| extent::shift(txn, inode, 40_000, delta)).unwrap();
        let moved = |at: u32| if delta > 0 && at >= 40_000 { at + 3 } else { at };
        tree.blocks = (0..COUNT).map(block_of).map(|(at, block)| (moved(at), block)).collect();
        tree.compare();
    }
    // The last child of one inner node and the first of the next have little left, but not so little that
    // they join with their other neighbours. Then the two inner nodes join.
    let keys = tree.inode().extent_root().records.map(|record| record.file_block.get());
    let (start, key, end) = (keys[0], keys[1], keys[2]);
    for (from, to) in [
        (key - 69 * 4, key),
        (key + 4, key + 70 * 4),
        (start + 4, key - 20 * 169 * 4),
        (key + 20 * 169 * 4, end - 4),
    ] {
        tree.change(&|txn, inode| extent::take(txn, inode, from, to).map(drop)).unwrap();
        tree.blocks.retain(|at, _| !(from..to).contains(at));
    }
    tree.compare();
    nodes(&tree);
    // More and more goes, from the middle to both sides.
    for (stride, gone) in [(170, 85), (2_000, 1_999)] {
        let mut parts: Vec<u32> = (0..COUNT).step_by(stride).collect();
        let middle = COUNT / 2;
        parts.sort_by_key(|at| at.abs_diff(middle));
        for number in parts {
            let (from, to) = ((number + 1) * 4, (number + 1 + gone) * 4);
            tree.change(&|txn, inode| extent::take(txn, inode, from, to).map(drop)).unwrap();
            tree.blocks.retain(|at, _| !(from..to).contains(at));
        }
        tree.compare();
        nodes(&tree);
    }
    let (level, few) = nodes(&tree);
    assert!((level, few) <= (1, 3), "{few} nodes for {} extents", tree.blocks.len());
    assert_eq!(tree.volume.statfs().unwrap().free_blocks, free + many - few);
}
