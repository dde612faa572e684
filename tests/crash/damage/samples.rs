//! Small volumes as programs leave them: closed in order, idle for a while, or killed right after a commit was
//! acknowledged.

use super::layout::Layout;
use crate::ace;
use crate::fuzzing::tree::Tree;
use crate::machine::{Base, Config, Machine};
use crate::model::operations::{XattrName, content, fill_name};
use crate::model::volumes::{ROOT, directory, file};
use crate::model::world::World;
use sabfs::persist::{Limits, Rules};
use sabfs::sim::{Files, Recorder};
use sabfs::store::runtime::Durability;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const BLOCK: u64 = 4096;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Closed,
    Idle,
    Killed,
}

pub const ENDS: [End; 3] = [End::Closed, End::Idle, End::Killed];

/// What the volume is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Several commits in each segment.
    Few,
    /// The last commit is the first one in its segment.
    Switched,
    /// Commits that were not flushed, and one that was.
    Relaxed,
    /// A commit of two records, the first one of data alone.
    Parts,
    /// Blocks of every kind.
    Kinds,
    /// An extent tree with an inner node, and a directory with many leaves.
    Deep,
    /// A keeper took over from one that died.
    Takeover,
    /// Opened, and nothing changed.
    Opened,
    /// Made and committed once: only one segment has ever been used.
    New,
}

pub const SHAPES: [Shape; 9] = [
    Shape::Few,
    Shape::Switched,
    Shape::Relaxed,
    Shape::Parts,
    Shape::Kinds,
    Shape::Deep,
    Shape::Takeover,
    Shape::Opened,
    Shape::New,
];

/// A volume's files, and what its commits held.
pub struct Sample {
    pub name: String,
    pub shape: Shape,
    pub end: End,
    pub config: Config,
    pub files: Files,
    /// What the files held after each commit.
    pub earlier: Vec<Files>,
    /// What each commit held; the first one is how it began.
    pub trees: Vec<Tree>,
    /// For each commit the number behind its last record.
    pub ends: Vec<u64>,
    /// The last commit for which something vouches.
    pub vouched: usize,
    pub layout: Layout,
}

impl Sample {
    /// The number of the last commit.
    pub fn last(&self) -> usize {
        self.trees.len() - 1
    }

    /// The commit that the record with this number belongs to.
    pub fn commit_of(&self, seq: u64) -> Option<usize> {
        self.ends.iter().position(|&end| seq < end)
    }

    /// The same volume with all of it in the image: what two openings leave.
    pub fn settled(&self) -> Self {
        let disk = Recorder::new(self.files.clone());
        for _ in 0..2 {
            self.config.open(&disk).expect("it opens");
        }
        let files = disk.current();
        Self {
            name: name((self.shape, self.end, true)),
            earlier: self.earlier.clone(),
            trees: self.trees.clone(),
            ends: self.ends.clone(),
            vouched: self.last(),
            layout: Layout::of(files.journal()),
            files,
            ..*self
        }
    }
}

/// A machine with the commits that it has made.
struct Maker {
    machine: Machine,
    trees: Vec<Tree>,
    ends: Vec<u64>,
    earlier: Vec<Files>,
    epoch: u64,
    /// The last commit that is durable, and the last that something vouches for.
    durable: usize,
    vouched: usize,
}

impl Maker {
    fn new(machine: Machine) -> Self {
        let files = machine.disk.current();
        let layout = Layout::of(files.journal());
        let tree = machine.with_world(|world| Tree::of_oracle(&world.oracle));
        Self {
            machine,
            trees: vec![tree],
            ends: vec![layout.next_seq()],
            earlier: vec![files],
            epoch: layout.epoch(),
            durable: 0,
            vouched: 0,
        }
    }

    /// Changes something and commits it; `flush`: durably in relaxed mode, too.
    fn commit(&mut self, flush: bool, change: impl FnOnce(&mut World)) {
        let tree = self.machine.with_world(|world| {
            world.tick();
            change(world);
            Tree::of_oracle(&world.oracle)
        });
        assert!(if flush { self.machine.flush() } else { self.machine.commit() });
        let files = self.machine.disk.current();
        let layout = Layout::of(files.journal());
        assert!(layout.next_seq() > self.ends[self.trees.len() - 1], "a commit makes a record");
        self.vouched = self.durable;
        if layout.epoch() != self.epoch {
            // The new header vouches for all that was before.
            (self.epoch, self.vouched) = (layout.epoch(), self.trees.len() - 1);
        }
        if flush || self.machine.config.durability == Durability::Strict {
            self.durable = self.trees.len();
        }
        self.trees.push(tree);
        self.ends.push(layout.next_seq());
        self.earlier.push(files);
    }

    /// Whether the newest segment has just one record.
    fn is_first_of_segment(&self) -> bool {
        let layout = Layout::of(self.machine.disk.current().journal());
        layout.epoch() > 2 && layout.segments[layout.newest].records.len() == 1
    }

    /// What opening leaves is vouched for by the new header.
    fn opened(&mut self) {
        self.epoch = Layout::of(self.machine.disk.current().journal()).epoch();
        (self.durable, self.vouched) = (self.trees.len() - 1, self.trees.len() - 1);
    }

    fn end(mut self, shape: Shape, end: End, rules: Rules) -> Sample {
        match end {
            End::Closed => self.machine.stop(),
            End::Idle => self.machine.idle(),
            End::Killed => {}
        }
        if end != End::Killed {
            self.vouched = self.trees.len() - 1;
        }
        let files = self.machine.disk.current();
        Sample {
            name: name((shape, end, false)),
            shape,
            end,
            config: Config { rules, ..self.machine.config },
            layout: Layout::of(files.journal()),
            files,
            earlier: self.earlier,
            trees: self.trees,
            ends: self.ends,
            vouched: self.vouched,
        }
    }
}

/// Writes to a file in the root directory, which is made if there is none.
fn write(world: &mut World, name: &[u8], first_block: u64, blocks: u64, seed: u8) {
    if world.oracle.lookup(ROOT, name).is_err() {
        world.create(ROOT, name, &file());
    }
    let ino = world.oracle.lookup(ROOT, name).unwrap();
    world.write(ino, Some(first_block * BLOCK), &content(seed, (blocks * BLOCK) as u32));
}

/// A small change, another one each time: names, attributes, small files and large ones.
fn small(number: usize) -> impl FnOnce(&mut World) {
    move |world| {
        let name = [b'x', b'0' + number as u8 % 5];
        match number % 4 {
            3 if world.oracle.lookup(ROOT, &name).is_ok() => world.unlink(ROOT, &name),
            2 => write(world, &name, 0, 1, number as u8),
            _ => {
                world.create(ROOT, &name, &file());
                let ino = world.oracle.lookup(ROOT, &name).unwrap();
                world.write(ino, Some(0), &content(number as u8, 20 + 50 * number as u32 % 100));
            }
        }
    }
}

/// Something of every kind.
fn kinds(world: &mut World) {
    let [dir, tree] = [&b"dir"[..], b"tree"];
    world.create(ROOT, dir, &directory());
    let dir = world.oracle.lookup(ROOT, dir).unwrap();
    for number in 0..24 {
        world.create(dir, &fill_name(number, true), &file());
    }
    world.create(ROOT, tree, &file());
    let ino = world.oracle.lookup(ROOT, tree).unwrap();
    // More pieces than an inode holds.
    for piece in 0..10 {
        world.write(ino, Some(piece * 2 * BLOCK), &[piece as u8 | 1; 40]);
    }
    world.symlink(ROOT, b"link", &[b'l'; 300]);
    world.set_xattr(ino, &XattrName::Usual(0), 2000, 7, 0);
    world.set_xattr(dir, &XattrName::Usual(0), 30, 8, 0);
}

/// More of what has inner nodes.
fn deep(world: &mut World) {
    world.create(ROOT, b"deep", &directory());
    let dir = world.oracle.lookup(ROOT, b"deep").unwrap();
    for number in 0..60 {
        world.create(dir, &fill_name(number, true), &file());
    }
    world.create(ROOT, b"tree", &file());
    let ino = world.oracle.lookup(ROOT, b"tree").unwrap();
    for piece in 0..360 {
        world.write(ino, Some(piece * 2 * BLOCK), &[piece as u8 | 1; 40]);
    }
}

fn base(config: Config, fill: impl FnOnce(&mut World)) -> Base {
    let machine = Machine::new(config);
    machine.with_world(|world| {
        world.tick();
        fill(world);
    });
    machine.into_base()
}

fn config(shape: Shape) -> Config {
    let config = Config { blocks: 40, segment_blocks: 24, ..Config::new() };
    match shape {
        Shape::Relaxed => Config { durability: Durability::Relaxed, ..config },
        Shape::Parts => Config {
            blocks: 48,
            segment_blocks: 15,
            limits: Limits { data_in_record: 2, overwrites_in_record: usize::MAX, passes: 1 },
            ..config
        },
        Shape::Kinds => Config { blocks: 64, segment_blocks: 40, ..config },
        Shape::Deep => Config { blocks: 440, segment_blocks: 80, ..config },
        _ => config,
    }
}

fn make(shape: Shape, end: End, rules: Rules) -> Sample {
    let config = config(shape);
    let with = Config { rules, ..config };
    let mut maker = match shape {
        Shape::New => Maker::new(Machine::new(with)),
        Shape::Kinds => Maker::new(Machine::on(with, &base(config, kinds))),
        Shape::Deep => Maker::new(Machine::on(with, &base(config, deep))),
        Shape::Parts => {
            let large = |world: &mut World| write(world, b"large", 0, 9, 1);
            Maker::new(Machine::on(with, &base(config, large)))
        }
        _ => Maker::new(Machine::on(with, &ace::base(config))),
    };
    match shape {
        Shape::New => maker.commit(false, small(0)),
        // More than one segment takes.
        Shape::Few => (0..7).for_each(|number| maker.commit(false, small(number))),
        Shape::Takeover => {
            (0..5).for_each(|number| maker.commit(false, small(number)));
            maker.machine.take_over();
            maker.opened();
            maker.commit(false, small(5));
        }
        Shape::Opened => {
            (0..3).for_each(|number| maker.commit(false, small(number)));
            maker.machine.remount();
            maker.opened();
        }
        Shape::Switched => {
            let mut number = 0;
            while !maker.is_first_of_segment() {
                maker.commit(false, small(number));
                number += 1;
            }
        }
        Shape::Relaxed => {
            for number in 0..6 {
                maker.commit(number == 2, small(number));
            }
        }
        Shape::Parts => {
            // What has a copy in the journal cannot go to the image.
            maker.commit(false, |world| write(world, b"large", 0, 2, 2));
            maker.commit(false, |world| write(world, b"large", 0, 9, 3));
            maker.commit(false, |world| write(world, b"large", 0, 9, 4));
        }
        Shape::Kinds => {
            maker.commit(false, |world| {
                let dir = world.oracle.lookup(ROOT, b"dir").unwrap();
                world.unlink(dir, &fill_name(3, true));
                world.symlink(dir, b"other", &[b'o'; 200]);
            });
            maker.commit(false, |world| {
                let ino = world.oracle.lookup(ROOT, b"tree").unwrap();
                world.write(ino, Some(40 * BLOCK), &[9; 100]);
                world.set_xattr(ino, &XattrName::Usual(0), 1000, 9, 0);
            });
            maker.commit(false, small(0));
        }
        Shape::Deep => {
            for number in 0..3 {
                maker.commit(false, move |world| {
                    let ino = world.oracle.lookup(ROOT, b"tree").unwrap();
                    world.write(ino, Some((721 + number * 2) * BLOCK), &[9; 100]);
                });
            }
        }
    }
    maker.end(shape, end, rules)
}

/// A sample's name.
pub fn name((shape, end, settled): (Shape, End, bool)) -> String {
    let settled = if settled { "-settled" } else { "" };
    format!("{shape:?}-{end:?}{settled}").to_lowercase()
}

/// Samples, each made once.
pub struct Samples {
    rules: Rules,
    made: Mutex<HashMap<(Shape, End, bool), Arc<Sample>>>,
}

impl Samples {
    /// Samples that are made and judged with these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules, made: Mutex::default() }
    }

    /// A volume of this shape; `settled`: with all of it in the image.
    pub fn get(&self, shape: Shape, end: End, settled: bool) -> Arc<Sample> {
        let mut made = self.made.lock().unwrap();
        let make = || {
            let sample = make(shape, end, self.rules);
            Arc::new(if settled { sample.settled() } else { sample })
        };
        made.entry((shape, end, settled)).or_insert_with(make).clone()
    }
}
