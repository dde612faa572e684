//! The judge: recovers a state with the real code and compares everything with the oracle.
//!
//! 1. Opening succeeds and the volume loads. `check` finds nothing.
//! 2. The whole tree equals the oracle's at a commit. Where a commit overwrites more data than a record takes, those who crash
//!    in it may see some of the sectors with their new bytes already, and everything else as before.
//! 3. Opening once more, before anything is written, leaves the image as it is byte for byte, and of the
//!    journal replaces one block: the header of the older segment, with which every opening begins.
//! 4. The volume can be gone on with: a file is written, committed and there after one more recovery. This is
//!    done for one state in eight.

use super::machine::Config;
use super::tree::{Overwritten, Tree};
use crate::model::operations::content;
use crate::model::volumes::{HeapVolume, ROOT, file};
use sabfs::core::check::check;
use sabfs::format::BLOCK_SIZE;
use sabfs::persist::{Found, Rule};
use sabfs::sim::{Files, Judge, Recorder, Recovered, Trace};
use sabfs::vfs::Committer;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

pub struct ModelJudge {
    config: Config,
    trees: HashMap<u64, Vec<usize>>,
    commits: Vec<Vec<Arc<Tree>>>,
    mixtures: Vec<Mixture>,
    new: bool,
}

/// What a crash may leave in the middle of a commit that overwrites more data than it changes at once: the tree of the commit
/// before, and what the commit makes of some of its blocks.
struct Mixture {
    /// The commit before.
    commit: usize,
    old: Tree,
    blocks: Overwritten,
}

/// Of so many states one is gone on with.
const GONE_ON_ONE_IN: u64 = 8;

impl ModelJudge {
    /// `trees`: numbers of the commits by the hashes of what they may hold. `new`: there may be no volume yet.
    pub fn new(
        config: Config,
        trees: HashMap<u64, Vec<usize>>,
        commits: Vec<Vec<Arc<Tree>>>,
        new: bool,
    ) -> Self {
        Self { config, trees, commits, mixtures: Vec::new(), new }
    }

    /// Takes what the files hold for what a commit in the middle of an operation may hold, if it is neither
    /// what was there before the operation nor any other commit.
    pub fn learn(&mut self, files: &Files, number: usize) -> bool {
        let disk = self.disk(files);
        let found = self.config.mount(&disk).and_then(|(volume, _)| tree_of(&volume));
        let Ok(tree) = found else { return false };
        let known = self.trees.entry(tree.hash()).or_default();
        let new = known.is_empty();
        if new {
            known.push(number);
            self.commits[number].push(Arc::new(tree));
        }
        new
    }

    /// A commit may be seen in part by those who crash in it: these are the files before and after.
    pub fn may_mix(&mut self, number: usize, before: &Files, after: &Files) {
        let mount = |files| self.config.mount(&self.disk(files)).expect("no call fails");
        let (volume, changed) = (mount(before).0, mount(after).0);
        let old = tree_of(&volume).expect("the commit before");
        let blocks = old.overwritten(&volume, &changed).expect("the commit");
        self.mixtures.push(Mixture { commit: number - 1, old, blocks });
    }

    /// Numbers of the commits that a volume with this tree may be of.
    fn commits_of(&self, tree: &Tree, volume: &HeapVolume) -> Option<Vec<usize>> {
        let known = self.trees.get(&tree.hash()).cloned();
        known.or_else(|| {
            let mixed =
                self.mixtures.iter().filter(|mix| tree.is_mixture(volume, &mix.old, &mix.blocks));
            let commits: Vec<usize> = mixed.map(|mix| mix.commit).collect();
            (!commits.is_empty()).then_some(commits)
        })
    }

    /// A disk with these files, as the power loss has left it.
    fn disk(&self, files: &Files) -> Recorder {
        let disk = Recorder::new(files.clone());
        if self.config.others_take_room {
            disk.set_quota(Some(files.image().len()));
        }
        disk
    }

    fn look(&self, files: &Files) -> Result<Recovered, String> {
        let disk = self.disk(files);
        let (store, keeper, found) =
            self.config.open(&disk).map_err(|error| format!("it does not open: {error}"))?;
        let opened = disk.current();
        if found == Found::New {
            if !self.new {
                return Err("the volume is gone".into());
            }
            return Ok(Recovered { commits: vec![0], trace: disk.take_trace() });
        }
        let volume = super::machine::load(store)?;
        let trace = disk.trace();
        let tree = sound(&volume)?;
        let commits = self.commits_of(&tree, &volume).ok_or("it holds no commit's tree")?;
        self.open_again(&opened, &trace)?;
        if files.hash().is_multiple_of(GONE_ON_ONE_IN) && !self.config.others_take_room {
            self.go_on(&disk, volume, keeper)?;
        }
        Ok(Recovered { commits, trace })
    }

    /// The second opening.
    fn open_again(&self, opened: &Files, first: &Trace) -> Result<(), String> {
        if first.steps.is_empty() {
            return Err("opening wrote nothing: the journal has no new header".into());
        }
        let disk = self.disk(opened);
        self.config.open(&disk).map_err(|error| format!("it does not open again: {error}"))?;
        let again = disk.current();
        let image = again.image().differing_blocks(opened.image());
        if !image.is_empty() || again.image().len() != opened.image().len() {
            return Err(format!("the second recovery changes blocks {image:?} of the image"));
        }
        let journal = again.journal().differing_blocks(opened.journal());
        let second_header = opened.journal().len() / 2 / BLOCK_SIZE;
        let as_ever = self.config.rules.on(Rule::OlderSegmentOnly);
        let one_header = journal.len() == 1 && [0, second_header].contains(&journal[0]);
        if as_ever && !one_header {
            return Err(format!("the second recovery changes blocks {journal:?} of the journal"));
        }
        Ok(())
    }

    /// A little more work, and one more recovery.
    fn go_on(
        &self,
        disk: &Recorder,
        mut volume: HeapVolume,
        keeper: super::machine::SimKeeper,
    ) -> Result<(), String> {
        // Who finds no space commits, which sets free what others gave up.
        let keeper = Arc::new(Mutex::new(keeper));
        let own = keeper.clone();
        volume.set_committer(Committer::Inline(Box::new(move |durable| {
            let mut keeper = own.lock().unwrap();
            if durable { keeper.flush_now() } else { keeper.commit_now() }
        })));
        let name = b"gone on with";
        let failed = |what: &'static str| move |errno| format!("going on: {what}: {errno}");
        let bytes = content(9, 6_000);
        let full = |errno| errno == sabfs::errno::Errno::ENOSPC;
        match volume.create(ROOT, name, &file()).and_then(|attr| volume.write(attr.ino, 0, &bytes)) {
            Err(errno) if full(errno) => {}
            result => _ = result.map_err(failed("a file"))?,
        }
        keeper.lock().unwrap().flush_now().map_err(failed("a commit"))?;
        let expected = sound(&volume)?;
        drop((volume, keeper));
        // What was not flushed is lost.
        let trace = disk.trace();
        let mut point = sabfs::sim::Point::first(&trace);
        while point.advance() {}
        let files = point.files(sabfs::sim::Choice::Prefix(0));
        let disk = self.disk(&files);
        let (store, _keeper, _) =
            self.config.open(&disk).map_err(|error| format!("going on: {error}"))?;
        let found = sound(&super::machine::load(store)?)?;
        if found != expected {
            return Err(format!("what was done after recovery is lost:{}", found.difference(&expected)));
        }
        Ok(())
    }
}

/// The tree of a volume that has no findings.
fn sound(volume: &HeapVolume) -> Result<Tree, String> {
    let report = check(volume.core());
    if !report.is_clean() {
        return Err(format!("check: {report}"));
    }
    tree_of(volume)
}

fn tree_of(volume: &HeapVolume) -> Result<Tree, String> {
    Tree::of_volume(volume).map_err(|errno| format!("it cannot be read: {errno}"))
}

impl Judge for ModelJudge {
    fn recover(&mut self, files: &Files) -> Result<Recovered, String> {
        catch_unwind(AssertUnwindSafe(|| self.look(files))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map_or("", String::as_str);
            Err(format!("a panic: {text}"))
        })
    }

    fn describe(&mut self, files: &Files, commit: usize) -> String {
        let found = self.config.mount(&self.disk(files)).and_then(|(volume, _)| tree_of(&volume));
        match found {
            Ok(tree) => format!(" (commit {commit}:{})", tree.difference(&self.commits[commit][0])),
            Err(error) => format!(" ({error})"),
        }
    }
}
