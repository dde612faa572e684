//! Every single bit of the metadata and of the journal of a small volume, flipped.
//!
//! What is right: a metadata block of the image with a flipped bit is refused, or replaced by the journal's or
//! the other copy. A journal with a flipped bit is refused, or its volume holds exactly one commit: the last one,
//! unless the bit lies in what may as well have been torn by a power loss.

use super::ace;
use super::machine::{Config, Machine};
use super::tree::Tree;
use crate::model::operations::content;
use crate::model::volumes::{ROOT, file, metadata_blocks};
use sabfs::format::BLOCK_SIZE;
use sabfs::persist::Rules;
use sabfs::sim::{Files, Recorder};
use std::sync::atomic::{AtomicUsize, Ordering};

const BITS: usize = BLOCK_SIZE * 8;

/// What came of the flips.
#[derive(Default)]
pub struct Flips {
    /// Refused with an error.
    pub refused: AtomicUsize,
    /// The last commit came back.
    pub last: AtomicUsize,
    /// An earlier commit came back.
    pub earlier: AtomicUsize,
    /// Something else.
    pub wrong: AtomicUsize,
    /// The first bit for which it was something else, or an earlier commit where that is not right.
    pub first_wrong: AtomicUsize,
}

/// A volume with several commits in each segment.
struct Sample {
    config: Config,
    files: Files,
    /// What each commit held.
    trees: Vec<Tree>,
}

fn sample() -> Sample {
    let config = Config { blocks: 32, segment_blocks: 12, ..Config::new() };
    let machine = Machine::on(config, &ace::base(config));
    let mut trees = Vec::new();
    for number in 0..5_u8 {
        machine.with_world(|world| {
            world.tick();
            let name = [b'x', number];
            world.create(ROOT, &name, &file());
            let ino = world.oracle.lookup(ROOT, &name).unwrap();
            world.write(ino, Some(0), &content(number, 20 + 50 * u32::from(number)));
            trees.push(Tree::of_oracle(&world.oracle));
        });
        assert!(machine.commit());
    }
    Sample { config, files: machine.disk.current(), trees }
}

/// The same, all of it in the image: what two openings leave.
fn settled(sample: &Sample) -> Files {
    let disk = Recorder::new(sample.files.clone());
    for _ in 0..2 {
        sample.config.open(&disk).expect("it opens");
    }
    disk.current()
}

fn flip(files: &Files, file: usize, bit: usize) -> Files {
    let mut files = files.clone();
    let mut byte = [0];
    files.file(file).read(bit / 8, &mut byte);
    files.file_mut(file).write(bit / 8, &[byte[0] ^ 1 << (bit % 8)]);
    files
}

fn run(sample: &Sample, files: &Files, file: usize, bits: &[usize], last_only: bool) -> Flips {
    let flips = Flips { first_wrong: AtomicUsize::new(usize::MAX), ..Flips::default() };
    let next = AtomicUsize::new(0);
    let count = |counter: &AtomicUsize| _ = counter.fetch_add(1, Ordering::Relaxed);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&bit) = bits.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let disk = Recorder::new(flip(files, file, bit));
                    let tree = sample.config.mount(&disk).and_then(|(volume, _)| {
                        Tree::of_volume(&volume).map_err(|errno| errno.to_string())
                    });
                    let Ok(tree) = tree else {
                        count(&flips.refused);
                        continue;
                    };
                    let found = sample.trees.iter().rposition(|commit| *commit == tree);
                    let right = match found {
                        Some(commit) if commit + 1 == sample.trees.len() => {
                            count(&flips.last);
                            true
                        }
                        Some(_) => {
                            count(&flips.earlier);
                            !last_only
                        }
                        None => {
                            count(&flips.wrong);
                            false
                        }
                    };
                    if !right {
                        flips.first_wrong.fetch_min(bit, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    flips
}

/// All bits of all metadata blocks of an image whose journal holds nothing.
pub fn image() -> Flips {
    let sample = sample();
    let files = settled(&sample);
    let (volume, _keeper) = sample.config.mount(&Recorder::new(files.clone())).expect("it opens");
    let blocks = metadata_blocks(volume.core());
    let bits: Vec<usize> = blocks
        .into_iter()
        .flat_map(|block| block as usize * BITS..(block as usize + 1) * BITS)
        .collect();
    run(&sample, &files, sabfs::persist::sim::IMAGE, &bits, true)
}

/// All bits of the journal of a volume that was not closed.
pub fn journal(rules: Rules) -> Flips {
    let mut sample = sample();
    sample.config.rules = rules;
    let bits: Vec<usize> = (0..sample.files.journal().len() * 8).collect();
    run(&sample, &sample.files, sabfs::persist::sim::JOURNAL, &bits, false)
}
