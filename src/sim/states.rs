//! The states that a crash at one point of a trace may leave.
//!
//! | choice | what is on the disk beside what was flushed |
//! |---|---|
//! | `Prefix` | the first calls, in the order in which they were made; none and all among them |
//! | `Without`, `Only` | all calls but one; one alone |
//! | `OneFile` | all calls of one file |
//! | `Head`, `Tail` | all calls, but of one write only the sectors before or from a boundary on |
//! | `HeadAlone`, `TailAlone` | the same of one write, and nothing else |
//! | `Garbage` | as `Head`, with garbage in the sector behind the boundary |
//! | `Scatter` | each sector by chance, of one written several times any version; lengths by chance |
//!
//! A length follows the writes that landed; a change of the size is a call like a write, which lands or not.
//! A write's boundaries are all its sectors' if they are up to [`Effort::tears`]. Of more, those of the first
//! 8 sectors (a record's header and its numbers), the last two, and others at equal distances. Only the newest
//! write is torn everywhere; those before it were when they were new, and are at three places later.

use super::files::{FileBytes, Files, SECTOR};
use super::trace::{Step, Trace};
use crate::format::BLOCK_SIZE;
use crate::persist::sim::{IMAGE, JOURNAL, Rng};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The most boundaries at which a write is torn.
    pub tears: usize,
    /// Subsets of sectors at each point.
    pub subsets: usize,
    /// Of so many states one is recovered with a crash at every step of the recovery; 0 for none.
    pub recovery_one_in: u64,
    /// Seed of the subsets.
    pub seed: u64,
}

impl Effort {
    /// What is tried at a crash during recovery: the same with few subsets, and no deeper.
    pub fn of_recovery(self) -> Self {
        Self { tears: self.tears.min(12), subsets: 3, recovery_one_in: 0, ..self }
    }
}

/// One way in which unflushed calls land; numbers are indices into the pending calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first so many.
    Prefix(usize),
    /// All but this one.
    Without(usize),
    /// This one.
    Only(usize),
    /// Those of this file.
    OneFile(usize),
    /// All, of this one so many sectors.
    Head(usize, usize),
    /// All, of this one what is behind so many sectors.
    Tail(usize, usize),
    /// Of this one so many sectors and nothing else.
    HeadAlone(usize, usize),
    /// Of this one what is behind so many sectors, and nothing else.
    TailAlone(usize, usize),
    /// As `Head`, and garbage in the next sector.
    Garbage(usize, usize),
    /// Sectors by chance, with this seed.
    Scatter(u64),
}

/// A point of a trace: what is durable, what is not, and what was promised.
pub struct Point<'a> {
    trace: &'a Trace,
    next: usize,
    durable: Files,
    /// Steps that are not flushed, in order.
    pending: Vec<usize>,
    /// Steps before this one, of the image, are only flushed if the device did not lie.
    lied_before: usize,
    segment_bytes: usize,
    /// The greatest number of a commit that was acknowledged.
    pub acknowledged: usize,
    /// The greatest number of a commit that was tried.
    pub attempted: usize,
}

impl<'a> Point<'a> {
    /// The beginning of a trace.
    pub fn first(trace: &'a Trace) -> Self {
        Self {
            trace,
            next: 0,
            durable: trace.base.clone(),
            pending: Vec::new(),
            lied_before: 0,
            segment_bytes: trace.base.journal().len() / 2,
            acknowledged: trace.committed,
            attempted: trace.committed,
        }
    }

    /// Steps that lie before this point.
    pub fn number(&self) -> usize {
        self.next
    }

    /// The step that was last.
    pub fn last_step(&self) -> Option<&'a Step> {
        self.next.checked_sub(1).and_then(|last| self.trace.steps.get(last))
    }

    /// Goes behind the next step; false at the end of the trace.
    pub fn advance(&mut self) -> bool {
        let Some(step) = self.trace.steps.get(self.next) else { return false };
        match step {
            Step::Write { file, at, bytes } => {
                if *file == JOURNAL && self.is_header(*at, bytes.len()) {
                    let lied_before = self.lied_before;
                    self.settle(|index, file| file == IMAGE && index < lied_before);
                }
                self.pending.push(self.next);
            }
            Step::SetSize { file, size_bytes } => {
                if *file == JOURNAL {
                    self.segment_bytes = size_bytes / 2;
                }
                self.pending.push(self.next);
            }
            Step::Flush { file: IMAGE } if self.trace.lying_image_flushes => {
                self.lied_before = self.next;
            }
            Step::Flush { file } => self.settle(|_, other| other == *file),
            Step::FlushFailed { file, left } => {
                self.settle(|_, other| other == *file);
                *self.durable.file_mut(*file) = left.clone();
            }
            Step::Attempted(number) => self.attempted = *number,
            Step::Acknowledged(number) => self.acknowledged = *number,
        }
        self.next += 1;
        true
    }

    fn is_header(&self, at: usize, len: usize) -> bool {
        len == BLOCK_SIZE && (at == 0 || at == self.segment_bytes)
    }

    /// Makes pending steps durable.
    fn settle(&mut self, which: impl Fn(usize, usize) -> bool) {
        for index in std::mem::take(&mut self.pending) {
            let file = file_of(&self.trace.steps[index]);
            if which(index, file) {
                apply(&mut self.durable, &self.trace.steps[index]);
            } else {
                self.pending.push(index);
            }
        }
    }

    /// The choices at this point; the same each time.
    pub fn choices(&self, effort: &Effort) -> Vec<Choice> {
        let count = self.pending.len();
        let mut choices = vec![Choice::Prefix(0)];
        if count == 0 {
            return choices;
        }
        choices.push(Choice::Prefix(count));
        choices.extend((1..count).map(Choice::Prefix));
        if count > 1 {
            choices.extend((0..count).flat_map(|index| [Choice::Without(index), Choice::Only(index)]));
            choices.extend([IMAGE, JOURNAL].map(Choice::OneFile));
        }
        for index in 0..count {
            let sectors = self.sectors(index);
            let newest = index + 1 == count;
            for at in boundaries(sectors, if newest { effort.tears } else { 3 }) {
                choices.extend([Choice::Head(index, at), Choice::Tail(index, at)]);
                if newest && count > 1 {
                    choices.extend([Choice::HeadAlone(index, at), Choice::TailAlone(index, at)]);
                }
                if newest && at % 4 == 1 {
                    choices.push(Choice::Garbage(index, at));
                }
            }
        }
        let seed = effort.seed ^ (self.next as u64) << 16;
        choices.extend((0..effort.subsets as u64).map(|number| Choice::Scatter(seed ^ number)));
        choices
    }

    fn sectors(&self, index: usize) -> usize {
        match &self.trace.steps[self.pending[index]] {
            Step::Write { bytes, .. } => bytes.len().div_ceil(SECTOR),
            _ => 0,
        }
    }

    /// The files that a choice leaves.
    pub fn files(&self, choice: Choice) -> Files {
        let mut files = self.durable.clone();
        if let Choice::Scatter(seed) = choice {
            self.scatter(&mut files, &mut Rng::new(seed));
            return files;
        }
        for (place, &index) in self.pending.iter().enumerate() {
            let step = &self.trace.steps[index];
            match choice {
                Choice::Prefix(count) if place >= count => {}
                Choice::Without(without) if place == without => {}
                Choice::Only(only) if place != only => {}
                Choice::OneFile(file) if file_of(step) != file => {}
                Choice::HeadAlone(torn, _) | Choice::TailAlone(torn, _) if place != torn => {}
                Choice::Head(torn, at) | Choice::HeadAlone(torn, at) if place == torn => {
                    apply_sectors(&mut files, step, 0..at);
                }
                Choice::Tail(torn, at) | Choice::TailAlone(torn, at) if place == torn => {
                    apply_sectors(&mut files, step, at..usize::MAX);
                }
                Choice::Garbage(torn, at) if place == torn => {
                    apply_sectors(&mut files, step, 0..at);
                    garble(&mut files, step, at);
                }
                _ => apply(&mut files, step),
            }
        }
        files
    }

    /// Lands sectors by chance, the pieces of the calls in an order by chance, so that of several versions
    /// any may win. A change of the size keeps its place among the calls before and after it.
    fn scatter(&self, files: &mut Files, rng: &mut Rng) {
        // From almost nothing to almost everything.
        let percent = [8, 30, 50, 70, 92][rng.below(5)];
        let whole_blocks = rng.chance(30);
        let mut pieces: Vec<(usize, usize, usize)> = Vec::new();
        for (place, &index) in self.pending.iter().enumerate() {
            let step = &self.trace.steps[index];
            if matches!(step, Step::SetSize { .. }) {
                self.land(files, std::mem::take(&mut pieces), rng);
                if rng.chance(50) {
                    apply(files, step);
                }
                continue;
            }
            let (sectors, step) = (self.sectors(place), if whole_blocks { 8 } else { 1 });
            for at in (0..sectors).step_by(step) {
                if rng.chance(percent) {
                    pieces.push((index, at, at + step));
                }
            }
        }
        self.land(files, pieces, rng);
    }

    fn land(&self, files: &mut Files, mut pieces: Vec<(usize, usize, usize)>, rng: &mut Rng) {
        for last in (1..pieces.len()).rev() {
            pieces.swap(last, rng.below(last + 1));
        }
        for (index, from, to) in pieces {
            apply_sectors(files, &self.trace.steps[index], from..to);
        }
    }
}

fn file_of(step: &Step) -> usize {
    match step {
        Step::Write { file, .. } | Step::SetSize { file, .. } => *file,
        _ => IMAGE,
    }
}

fn apply(files: &mut Files, step: &Step) {
    match step {
        Step::Write { file, at, bytes } => files.file_mut(*file).write(*at, bytes),
        Step::SetSize { file, size_bytes } => files.file_mut(*file).set_len(*size_bytes),
        _ => {}
    }
}

fn apply_sectors(files: &mut Files, step: &Step, sectors: std::ops::Range<usize>) {
    let Step::Write { file, at, bytes } = step else { return };
    let from = sectors.start.saturating_mul(SECTOR).min(bytes.len());
    let to = sectors.end.saturating_mul(SECTOR).min(bytes.len());
    if from < to {
        files.file_mut(*file).write(at + from, &bytes[from..to]);
    }
}

fn garble(files: &mut Files, step: &Step, sector: usize) {
    let Step::Write { file, at, bytes } = step else { return };
    let from = sector * SECTOR;
    if from < bytes.len() {
        let mut rng = Rng::new((at + sector) as u64);
        let garbage: Vec<u8> =
            (from..bytes.len().min(from + SECTOR)).map(|_| rng.next() as u8).collect();
        let file: &mut FileBytes = files.file_mut(*file);
        file.write(at + from, &garbage);
    }
}

/// Where a write of so many sectors is torn, at `most` places.
fn boundaries(sectors: usize, most: usize) -> Vec<usize> {
    let inner = sectors.saturating_sub(1);
    if inner <= most {
        return (1..sectors).collect();
    }
    let mut all: Vec<usize> = (1..=8.min(most / 3)).chain([inner.saturating_sub(1), inner]).collect();
    let left = most.saturating_sub(all.len()).max(1);
    all.extend((0..left).map(|number| 1 + inner * (2 * number + 1) / (2 * left)));
    all.retain(|at| (1..sectors).contains(at));
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn write(file: usize, at: usize, byte: u8, len: usize) -> Step {
        Step::Write { file, at, bytes: vec![byte; len].into() }
    }

    fn states(trace: &Trace, steps: usize) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
        let mut point = Point::first(trace);
        (0..steps).for_each(|_| assert!(point.advance()));
        let effort = Effort { tears: 64, subsets: 400, recovery_one_in: 0, seed: 1 };
        let of = |files: Files| (files.image().to_vec(), files.journal().to_vec());
        point.choices(&effort).into_iter().map(|choice| of(point.files(choice))).collect()
    }

    #[test]
    fn every_subset_of_sectors_is_reached() {
        let steps = vec![write(IMAGE, 0, 1, 1024), write(JOURNAL, 0, 2, 512), write(IMAGE, 0, 3, 512)];
        let trace = Trace { steps, ..Trace::default() };
        // The image: of sector 0 no, the old or the new version, sector 1 or not; the journal or not. Garbage
        // beside.
        let found = states(&trace, 3);
        let plain = found.iter().filter(|(image, journal)| {
            image.iter().all(|byte| *byte <= 3) && journal.iter().all(|byte| *byte <= 3)
        });
        assert_eq!(plain.count(), 12);
        let none: (Vec<u8>, Vec<u8>) = Default::default();
        assert!(found.contains(&none));
    }

    #[test]
    fn what_was_flushed_stays_and_sizes_land_or_not() {
        let mut steps = vec![write(IMAGE, 0, 1, 512), Step::Flush { file: IMAGE }];
        steps.push(Step::SetSize { file: IMAGE, size_bytes: 0 });
        let trace = Trace { steps, ..Trace::default() };
        assert_eq!(states(&trace, 2).len(), 1);
        let sizes: Vec<usize> = states(&trace, 3).iter().map(|(image, _)| image.len()).collect();
        assert_eq!(sizes, [0, 512]);
    }

    #[test]
    fn a_flush_that_lied_counts_when_a_header_is_written() {
        let journal = FileBytes::new(&[7; 16 * BLOCK_SIZE]);
        let steps = vec![
            write(IMAGE, 0, 1, 512),
            Step::Flush { file: IMAGE },
            write(JOURNAL, BLOCK_SIZE, 2, BLOCK_SIZE),
            write(JOURNAL, 8 * BLOCK_SIZE, 3, BLOCK_SIZE),
        ];
        let base = Files::new(FileBytes::default(), journal);
        let trace = Trace { base, steps, lying_image_flushes: true, ..Trace::default() };
        let lengths = |steps| states(&trace, steps).iter().map(|(image, _)| image.len()).collect();
        let both: BTreeSet<usize> = lengths(3);
        assert_eq!(both, [0, 512].into());
        let one: BTreeSet<usize> = lengths(4);
        assert_eq!(one, [512].into());
    }

    #[test]
    fn long_writes_are_torn_at_chosen_places() {
        assert_eq!(boundaries(0, 9), []);
        assert_eq!(boundaries(5, 9), [1, 2, 3, 4]);
        for sectors in 1..400 {
            let all = boundaries(sectors, 48);
            assert!(all.len() <= 48 && all.iter().all(|at| (1..sectors).contains(at)));
            assert!(sectors < 49 || all.len() > 36 && all[..8] == [1, 2, 3, 4, 5, 6, 7, 8]);
        }
    }
}
