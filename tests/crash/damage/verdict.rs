//! What a damage may lead to, and what it leads to.

use super::families::Case;
use super::harm::{Harm, What};
use super::samples::{Sample, Shape};
use crate::fuzzing::tree::Tree;
use crate::machine::{self, Config, SimKeeper};
use crate::model::operations::content;
use crate::model::volumes::{self, HeapVolume, ROOT, file};
use sabfs::core::check::{Finding, check, repair};
use sabfs::core::{Core, Image, read_superblock};
use sabfs::errno::Errno;
use sabfs::format::BLOCK_SIZE;
use sabfs::persist::sim::{IMAGE, JOURNAL};
use sabfs::persist::{Found, OpenError};
use sabfs::sim::{Files, Recorder, SECTOR};
use std::ops::RangeInclusive;

/// What came of a damage, and is right.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last commit.
    Last,
    /// A commit before, which nobody can tell from the last one.
    Before,
    /// An error, in words without numbers.
    Refused(String),
    /// Older content that nothing tells from the right one: a metadata block of the image is as an earlier commit left
    /// it, or the older segment has lost its header before it was checkpointed.
    Stale,
}

/// What is right.
struct Allowed {
    refusal: bool,
    commits: RangeInclusive<usize>,
}

/// Judges damages of one sample.
pub struct Court<'a> {
    sample: &'a Sample,
}

impl<'a> Court<'a> {
    pub fn new(sample: &'a Sample) -> Self {
        Self { sample }
    }

    /// Does a damage and opens the volume; an error says what is wrong with what came of it.
    pub fn judge(&self, case: Case, go_on: bool) -> Result<Outcome, String> {
        let (first, second) = case;
        let mut files = self.sample.files.clone();
        for harm in [Some(first), second].into_iter().flatten() {
            harm.apply(&mut files, &self.sample.earlier);
        }
        let allowed = match second {
            None => self.allowed(first),
            Some(second) => self.allowed_for_two(first, second),
        };
        let stale = match second {
            None => self.is_stale(first, &files) || self.is_headless(first, first),
            Some(second) => self.is_headless(first, second),
        };
        let last = self.sample.last();
        match self.look(&files, go_on && !stale) {
            Ok(Ok(Some(commit))) if commit == last && allowed.commits.contains(&last) => {
                Ok(Outcome::Last)
            }
            Ok(Ok(_)) | Err(_) if stale => Ok(Outcome::Stale),
            Ok(Ok(Some(commit))) if allowed.commits.contains(&commit) => Ok(Outcome::Before),
            Ok(Ok(Some(commit))) => Err(format!("commit {commit} of {last}")),
            Ok(Ok(None)) => Err("it holds no commit's tree".into()),
            Ok(Err(error)) if allowed.refusal => Ok(Outcome::Refused(without_numbers(&error))),
            Ok(Err(error)) => Err(format!("refused without need: {error}")),
            Err(wrong) => Err(wrong),
        }
    }

    fn allowed(&self, harm: Harm) -> Allowed {
        let (sample, at) = (self.sample, harm.range().start);
        let last = sample.last();
        let none_missed = |refusal| Allowed { refusal, commits: last..=last };
        if harm.file == IMAGE {
            return none_missed(true);
        }
        if let Some(segment) = sample.layout.header_at(at) {
            // A sector is one copy at most.
            let whole = matches!(harm.what, What::Block(..));
            return none_missed(whole && segment.header.is_some());
        }
        let Some(record) = sample.layout.record_at(at) else { return none_missed(false) };
        match sample.commit_of(record.header.seq) {
            // A note.
            _ if record.header.count == 0 => none_missed(false),
            Some(commit) if commit > sample.vouched => {
                Allowed { refusal: false, commits: commit - 1..=commit - 1 }
            }
            _ => none_missed(true),
        }
    }

    /// Two at once may take a witness with what it vouches for: then the volume is that of the commit before.
    fn allowed_for_two(&self, first: Harm, second: Harm) -> Allowed {
        let last = self.sample.last();
        let before = |harm: Harm| {
            let record = self.sample.layout.record_at(harm.range().start);
            let record = record.filter(|record| harm.file == JOURNAL && record.header.count > 0);
            let commit = record.and_then(|record| self.sample.commit_of(record.header.seq));
            commit.map_or(last, |commit| commit.saturating_sub(1))
        };
        Allowed { refusal: true, commits: before(first).min(before(second))..=last }
    }

    /// Whether the older segment has lost its header with both copies: if it was not checkpointed, its records are
    /// missing, and nothing tells.
    fn is_headless(&self, first: Harm, second: Harm) -> bool {
        let layout = &self.sample.layout;
        let older = &layout.segments[1 - layout.newest];
        let hits = |harm: Harm, copy: usize| {
            let start = older.block * BLOCK_SIZE + copy * BLOCK_SIZE / 2;
            let range = harm.range();
            harm.file == JOURNAL && range.start < start + SECTOR && start < range.end
        };
        older.header.is_some() && [0, 1].iter().all(|&copy| hits(first, copy) || hits(second, copy))
    }

    /// Whether a block of the image is whole and as it was once.
    fn is_stale(&self, harm: Harm, files: &Files) -> bool {
        let block = |files: &Files| {
            let mut bytes = [0; BLOCK_SIZE];
            files.image().read(harm.range().start / BLOCK_SIZE * BLOCK_SIZE, &mut bytes);
            bytes
        };
        let now = block(files);
        harm.file == IMAGE && self.sample.earlier.iter().any(|earlier| block(earlier) == now)
    }

    /// Opens, loads, reads and checks: the commit that is there, or the error. Other errors are what no damage
    /// may lead to.
    fn look(&self, files: &Files, go_on: bool) -> Result<Result<Option<usize>, String>, String> {
        let disk = Recorder::new(files.clone());
        let (store, keeper, found) = match self.sample.config.open(&disk) {
            Ok(opened) => opened,
            Err(_) if disk.steps() > 0 => return Err("it was refused, and yet written to".into()),
            Err(error) => {
                if go_on && matches!(error, OpenError::JournalDamaged { .. }) {
                    self.save(files).map_err(|wrong| format!("saving what is whole: {wrong}"))?;
                }
                return Ok(Err(error.to_string()));
            }
        };
        if found == Found::New {
            // What a volume was before its first commit.
            let new = self.sample.shape == Shape::New;
            return if new { Ok(Ok(Some(0))) } else { Err("the volume is gone".into()) };
        }
        let volume = match machine::load(store) {
            Ok(volume) => volume,
            Err(error) => return Ok(Err(error)),
        };
        let tree = match Tree::of_volume(&volume) {
            Ok(tree) => tree,
            Err(errno) => return Ok(Err(format!("it cannot be read: {errno}"))),
        };
        sound(&volume)?;
        let now = disk.current();
        let most = self.sample.config.blocks as usize * BLOCK_SIZE;
        if now.image().len() > most || now.file(JOURNAL).len() != files.file(JOURNAL).len() {
            return Err("a file has another length".into());
        }
        let commit = self.sample.trees.iter().rposition(|commit| *commit == tree);
        if go_on && commit.is_some() {
            self.go_on(&disk, &tree, volume, keeper).map_err(|wrong| format!("going on: {wrong}"))?;
        }
        Ok(Ok(commit))
    }

    /// What is whole in a damaged journal is saved and mended, as `sabfs check --repair` does; if all can be mended,
    /// the volume opens as ever.
    fn save(&self, files: &Files) -> Result<(), String> {
        let disk = Recorder::new(files.clone());
        let config = Config { salvage: true, ..self.sample.config };
        let (store, mut keeper, found) = match config.open(&disk) {
            Ok(opened) => opened,
            Err(_) if disk.steps() > 0 => return Err("it was refused, and yet written to".into()),
            Err(_) => return Ok(()),
        };
        if found == Found::New {
            // The tool looks in memory first, and says that there is nothing.
            return Ok(());
        }
        let image = Image::attach(store, 1).map_err(|errno| errno.to_string())?;
        // Of a damaged superblock nothing can be saved.
        let Ok(superblock) = read_superblock(&image) else { return Ok(()) };
        let core = Core::new(image, superblock);
        let repaired = repair(&core, volumes::now(), &mut || keeper.commit_now());
        let left = repaired.map_err(|errno| format!("repair: {errno}"))?.left;
        if !left.is_clean() {
            return Ok(());
        }
        keeper.stop().map_err(|errno| format!("a commit: {errno}"))?;
        drop((core, keeper));
        for _ in 0..2 {
            let (volume, _keeper) = self.sample.config.mount(&disk)?;
            sound(&volume)?;
            Tree::of_volume(&volume).map_err(|errno| format!("it cannot be read: {errno}"))?;
        }
        Ok(())
    }

    /// The volume opens once more with the same tree, and keeps what is done then.
    fn go_on(
        &self,
        disk: &Recorder,
        tree: &Tree,
        volume: HeapVolume,
        keeper: SimKeeper,
    ) -> Result<(), String> {
        drop((volume, keeper));
        let config = &self.sample.config;
        let read = |volume: &HeapVolume| Tree::of_volume(volume).map_err(|errno| errno.to_string());
        let (volume, mut keeper) = config.mount(disk)?;
        if read(&volume)? != *tree {
            return Err("the second opening shows something else".into());
        }
        let bytes = content(9, 50);
        match volume.create(ROOT, b"after", &file()).and_then(|attr| volume.write(attr.ino, 0, &bytes)) {
            Ok(_) | Err(Errno::ENOSPC) => {}
            Err(errno) => return Err(format!("a file: {errno}")),
        }
        keeper.flush_now().map_err(|errno| format!("a commit: {errno}"))?;
        let expected = read(&volume)?;
        drop((volume, keeper));
        let (volume, _keeper) = config.mount(disk)?;
        if read(&volume)? != expected {
            return Err("a commit that was made later is lost".into());
        }
        sound(&volume)
    }
}

/// Nothing may be found but that one copy of the superblock is damaged, which nothing needs.
fn sound(volume: &HeapVolume) -> Result<(), String> {
    let report = check(volume.core());
    let harmless = |finding: &Finding| matches!(finding, Finding::SuperblockCopy { .. });
    if report.findings.iter().all(harmless) { Ok(()) } else { Err(format!("check: {report}")) }
}

/// An error without what differs from one block to the next.
pub fn without_numbers(error: &str) -> String {
    let mut text = String::new();
    for part in error.split_inclusive(|character: char| !character.is_ascii_digit()) {
        let digits = part.chars().take_while(char::is_ascii_digit).count();
        text.push_str(if digits > 0 { "N" } else { "" });
        text.push_str(&part[digits..]);
    }
    // What to do about it follows.
    text.split(": restore").next().unwrap_or_default().to_owned()
}

/// Whether the harm changes anything.
pub fn changes(sample: &Sample, harm: Harm) -> bool {
    let mut files = sample.files.clone();
    harm.apply(&mut files, &sample.earlier);
    files.hash() != sample.files.hash()
}

const _: () = assert!(BLOCK_SIZE.is_multiple_of(SECTOR));
