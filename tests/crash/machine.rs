//! A volume over recording devices beside the oracle: it runs a workload and leaves a trace, and what each
//! commit held.

use super::judge::ModelJudge;
use super::tree::Tree;
use crate::model::operations::Operation;
use crate::model::oracle::Oracle;
use crate::model::volumes::{self, HeapVolume};
use crate::model::world::World;
use sabfs::core::Image;
use sabfs::errno::Errno;
use sabfs::persist::{Device, Found, Keeper, Limits, Mark, OpenError, OpenOptions, Rules, Turn};
use sabfs::sim::{Choice, Files, Point, Recorder, RecordingDevice, Step, Trace};
use sabfs::store::runtime::{self, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{Committer, Volume};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

pub type SimKeeper = Keeper<Arc<HeapStore>, RecordingDevice>;
type Commit = Arc<dyn Fn(bool) -> Result<(), Errno> + Send + Sync>;

/// What a volume is made and opened with.
#[derive(Clone, Copy)]
pub struct Config {
    pub blocks: u32,
    pub segment_blocks: u32,
    pub limits: Limits,
    pub rules: Rules,
    pub durability: Durability,
    /// The source of random numbers gives the same one each time.
    pub same_keys: bool,
    /// After a power loss others have all room that the image does not durably have.
    pub others_take_room: bool,
    /// See `Trace::lying_image_flushes`.
    pub lying_image_flushes: bool,
    /// What is whole in a damaged journal is saved, as `sabfs check --repair` does.
    pub salvage: bool,
}

impl Config {
    /// A small volume, with a journal that is used up by a dozen small commits.
    pub fn new() -> Self {
        Self {
            blocks: 64,
            segment_blocks: 32,
            limits: Limits::default(),
            rules: Rules::default(),
            durability: Durability::Strict,
            same_keys: false,
            others_take_room: false,
            lying_image_flushes: false,
            salvage: false,
        }
    }

    /// Opens the files, in a store of its own.
    pub fn open(&self, disk: &Recorder) -> Result<(Arc<HeapStore>, SimKeeper, Found), OpenError> {
        let store = empty_store(runtime::store_size_bytes(self.blocks));
        Image::prepare(&store, 1, self.durability).unwrap();
        let (keeper, found) = self.keeper(disk, store.clone(), None)?;
        Ok((store, keeper, found))
    }

    /// A keeper of these files in a store; `resume` is the mark of the one that had it before.
    fn keeper(
        &self,
        disk: &Recorder,
        store: Arc<HeapStore>,
        resume: Option<Mark>,
    ) -> Result<(SimKeeper, Found), OpenError> {
        let image = Image::attach(store, 2).unwrap();
        // Another one each time, and yet the same when everything is repeated.
        let mut key = if self.same_keys { 0 } else { disk.current().journal().hash() };
        let same_keys = self.same_keys;
        let random = move || {
            key =
                if same_keys { 4 } else { key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) };
            key
        };
        let mut options =
            OpenOptions::new([7; 16], Box::new(random)).with_rules(self.limits, self.rules);
        (options.segment_blocks, options.resume) = (self.segment_blocks, resume);
        (options.salvage, options.all_blocks) = (self.salvage, self.salvage);
        let (image_file, journal_file) = disk.devices();
        let clock = Box::new(|| CLOCK_MS.get());
        Keeper::open(image, image_file, journal_file, options, clock, &mut |_| ())
    }

    /// Opens and mounts the files; makes a volume if there is none.
    pub fn mount(&self, disk: &Recorder) -> Result<(HeapVolume, SimKeeper), String> {
        let (store, keeper, found) = self.open(disk).map_err(|error| error.to_string())?;
        let volume = match found {
            Found::New => Volume::format(store, 1, volumes::now, [7; 32]).map_err(|e| e.to_string())?,
            Found::Volume(_) => load(store)?,
        };
        Ok((volume, keeper))
    }
}

thread_local! {
    /// The keepers' clock of this thread, which stands still but for [`Machine::idle`].
    static CLOCK_MS: Cell<u64> = const { Cell::new(0) };
}

/// A store of zeros: one that nobody uses any more, as new memory is what costs most.
fn empty_store(size_bytes: u64) -> Arc<HeapStore> {
    thread_local! {
        static POOL: RefCell<Vec<Arc<HeapStore>>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        let unused =
            pool.iter().find(|store| store.size_bytes() == size_bytes && Arc::strong_count(store) == 1);
        if let Some(store) = unused {
            store.zero(0, size_bytes);
            return store.clone();
        }
        let store = Arc::new(HeapStore::new(size_bytes));
        pool.retain(|store| store.size_bytes() == size_bytes);
        pool.push(store.clone());
        store
    })
}

/// Mounts a volume that recovery has put into the store.
pub fn load(store: Arc<HeapStore>) -> Result<HeapVolume, String> {
    Volume::load(store, 1, volumes::now).map_err(|error| format!("it does not load: {error}"))
}

/// Files of a volume with all of it committed, and what is in it.
#[derive(Clone)]
pub struct Base {
    pub files: Files,
    pub oracle: Oracle,
}

/// What the commits held.
#[derive(Default)]
struct Log {
    /// What the volume holds now, as far as is known.
    now: Arc<Tree>,
    /// By number. A commit during which changes were made may hold them or not.
    commits: Vec<Vec<Arc<Tree>>>,
    /// Those that an operation asked for, by number, and how long the trace was after each.
    within: Vec<(usize, usize)>,
    /// Those during which a crash may leave a mixture, by number, and how long the trace was before and after each.
    mixing: Vec<(usize, Range<usize>)>,
    running: bool,
    between: bool,
}

impl Log {
    fn publish(&mut self, tree: Tree) {
        self.now = Arc::new(tree);
        if self.running {
            let now = self.now.clone();
            self.commits.last_mut().expect("the running one").push(now);
        }
    }
}

/// A workload that has been run.
pub struct Ran {
    pub trace: Trace,
    pub judge: ModelJudge,
    /// Commits in the middle of an operation, whose content only the volume itself told.
    pub partial: usize,
    pub commits: usize,
}

pub struct Machine {
    pub config: Config,
    pub disk: Recorder,
    pub world: Arc<Mutex<World>>,
    keeper: Arc<parking_lot::Mutex<SimKeeper>>,
    log: Arc<Mutex<Log>>,
    commit: Commit,
    new: bool,
}

impl Machine {
    /// A volume that is yet to be made: the trace begins with two empty files.
    pub fn new(config: Config) -> Self {
        volumes::set_now(None);
        CLOCK_MS.set(0);
        let disk = Recorder::default();
        let (volume, keeper) = config.mount(&disk).unwrap_or_else(|error| panic!("{error}"));
        Self::with(config, disk, volume, keeper, Oracle::new(volumes::now()), true)
    }

    /// A volume that is there; the trace begins after it was opened.
    pub fn on(config: Config, base: &Base) -> Self {
        volumes::set_now(Some(base.oracle.now));
        CLOCK_MS.set(0);
        let disk = Recorder::new(base.files.clone());
        let (volume, keeper) = config.mount(&disk).unwrap_or_else(|error| panic!("{error}"));
        // Also without the rule that opening flushes.
        let (mut image, mut journal) = disk.devices();
        image.flush().and_then(|()| journal.flush()).expect("no call fails yet");
        disk.restart();
        Self::with(config, disk, volume, keeper, base.oracle.clone(), false)
    }

    fn with(
        config: Config,
        disk: Recorder,
        volume: HeapVolume,
        keeper: SimKeeper,
        oracle: Oracle,
        new: bool,
    ) -> Self {
        let keeper = Arc::new(parking_lot::Mutex::new(keeper));
        let log = Log { now: Arc::new(Tree::of_oracle(&oracle)), ..Log::default() };
        let log = Arc::new(Mutex::new(log));
        // Of a volume that is new, commit 0 is that there is none.
        let first = if new { Arc::new(Tree::default()) } else { log.lock().unwrap().now.clone() };
        log.lock().unwrap().commits.push(vec![first]);
        let commit = committer(keeper.clone(), disk.clone(), log.clone(), config.durability);
        let world = Arc::new(Mutex::new(World::with(volume, oracle)));
        let mut machine = Self { config, disk, world, keeper, log, commit, new };
        machine.adopt();
        machine
    }

    fn adopt(&mut self) {
        let commit = self.commit.clone();
        let inline = Committer::Inline(Box::new(move |durable| commit(durable)));
        self.world.lock().unwrap().volume.set_committer(inline);
    }

    /// Runs operations; what the oracle knows after each is what a commit then holds.
    pub fn with_world<T>(&self, run: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap();
        let result = run(&mut world);
        self.log.lock().unwrap().publish(Tree::of_oracle(&world.oracle));
        result
    }

    /// A random operation; a remount is one of the files.
    pub fn step(&mut self, operation: &Operation) {
        if !matches!(operation, Operation::Remount) {
            self.with_world(|world| world.step(operation));
        } else if !self.with_world(|world| world.oracle.nodes.values().any(|node| node.held > 0)) {
            self.flush();
            self.remount();
        }
    }

    /// Something else that the oracle knows nothing of, done each time that a call is made of the devices while
    /// a commit runs: `run` gets the world and the number of calls so far.
    pub fn meddle(&self, run: impl Fn(&mut World, usize) + Send + 'static) {
        let (world, log) = (self.world.clone(), self.log.clone());
        let mut calls = 0;
        self.disk.set_hook(Some(Box::new(move || {
            // An operation that has asked for a commit itself is not disturbed.
            let Ok(mut world) = world.try_lock() else { return };
            run(&mut world, calls);
            calls += 1;
            log.lock().unwrap().publish(Tree::of_oracle(&world.oracle));
        })));
    }

    /// A commit as the volume's durability says; whether it succeeded.
    pub fn commit(&self) -> bool {
        self.between(|| (self.commit)(false).is_ok())
    }

    /// A durable commit in every mode; whether it succeeded.
    pub fn flush(&self) -> bool {
        self.between(|| (self.commit)(true).is_ok())
    }

    fn between<T>(&self, run: impl FnOnce() -> T) -> T {
        self.log.lock().unwrap().between = true;
        let result = run();
        self.log.lock().unwrap().between = false;
        result
    }

    /// A turn of the keeper, which may do a part of a checkpoint.
    pub fn turn(&self) {
        self.keeper.lock().turn(0);
    }

    /// Time goes by, and nobody wants anything of the keeper.
    pub fn idle(&self) {
        for _ in 0..4 {
            CLOCK_MS.set(CLOCK_MS.get() + 1001);
            while self.keeper.lock().turn(0) != Turn::Idle {}
        }
    }

    /// The keeper stops in order.
    pub fn stop(&self) {
        self.keeper.lock().stop().expect("no call fails");
    }

    /// The keeper dies, and another one goes on with the files and with what is in the store.
    pub fn take_over(&self) {
        let mut keeper = self.keeper.lock();
        let store = keeper.image().store().clone();
        let mark = Mark::kept(&store);
        let next = self.config.keeper(&self.disk, store, Some(mark));
        *keeper = next.unwrap_or_else(|error| panic!("{error}")).0;
    }

    /// Mounts the files anew.
    pub fn remount(&mut self) {
        let (volume, keeper) = self.config.mount(&self.disk).unwrap_or_else(|error| panic!("{error}"));
        *self.keeper.lock() = keeper;
        {
            let mut world = self.world.lock().unwrap();
            world.volume = volume;
            world.oracle = world.oracle.clone().remounted();
        }
        self.adopt();
    }

    /// The end: the volume is compared with the oracle, and the trace is handed out.
    pub fn finish(self) -> Ran {
        self.disk.set_hook(None);
        self.world.lock().unwrap().compare_tree();
        let mut trace = self.disk.take_trace();
        trace.lying_image_flushes = self.config.lying_image_flushes;
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        let commits = log.commits.len() - 1;
        let mut trees: HashMap<u64, Vec<usize>> = HashMap::new();
        for (number, held) in log.commits.iter().enumerate() {
            for tree in held {
                let numbers = trees.entry(tree.hash()).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        let mut judge = ModelJudge::new(self.config, trees, log.commits, self.new);
        // All that was written until then: the commit, or if it failed the one before it.
        let files_at = |steps| {
            let mut point = Point::first(&trace);
            while point.number() < steps && point.advance() {}
            point.files(Choice::Prefix(usize::MAX))
        };
        let mut partial = 0;
        for (number, steps) in log.within {
            partial += usize::from(judge.learn(&files_at(steps), number));
        }
        for (number, steps) in log.mixing {
            judge.may_mix(number, &files_at(steps.start), &files_at(steps.end));
        }
        Ran { trace, judge, partial, commits }
    }

    /// The end of work whose result others begin with: nothing may be left to recover but records.
    pub fn into_base(self) -> Base {
        assert!(self.flush());
        self.keeper.lock().checkpoint_now().expect("no call fails");
        let world = self.world.lock().unwrap();
        world.compare_tree();
        Base { files: self.disk.current(), oracle: world.oracle.clone() }
    }
}

fn committer(
    keeper: Arc<parking_lot::Mutex<SimKeeper>>,
    disk: Recorder,
    log: Arc<Mutex<Log>>,
    durability: Durability,
) -> Commit {
    Arc::new(move |durable| {
        // Work that goes on while a commit runs cannot have one of its own.
        let Some(mut keeper) = keeper.try_lock() else { return Err(Errno::EAGAIN) };
        let number = {
            let log = &mut *log.lock().unwrap();
            log.commits.push(vec![log.now.clone()]);
            log.running = true;
            log.commits.len() - 1
        };
        let before = disk.steps();
        disk.mark(Step::Attempted(number));
        let result = if durable { keeper.flush_now() } else { keeper.commit_now() };
        if result.is_ok() && (durable || durability == Durability::Strict) {
            disk.mark(Step::Acknowledged(number));
        }
        let mut log = log.lock().unwrap();
        log.running = false;
        if keeper.mixes() && result.is_ok() {
            log.mixing.push((number, before..disk.steps()));
        }
        if !log.between {
            log.within.push((number, disk.steps()));
        }
        result
    })
}
