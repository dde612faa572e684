//! Where the blocks of a cut go: into the record, into records before it, or straight to the image.
//!
//! | block | goes |
//! |---|---|
//! | metadata | into the commit's last record, always all together: that record makes the commit |
//! | data, if there are few | into the same record, so that a small commit is one write and one flush |
//! | fresh data | to the image before the record: no recoverable state refers to them yet |
//! | overwritten data, few | into the record: atomic |
//! | overwritten data, many | to the image before the record: POSIX lets an interrupted write show |
//! | data with a live copy in the journal | into a record: replay would undo a write to the image |
//!
//! What does not fit the last record goes into data-only records before it; fresh blocks first, because
//! a data-only record without its commit then shows nothing.

/// Sizes that decide.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Up to so many data blocks go into the record.
    pub data_in_record: usize,
    /// Up to so many overwritten data blocks are journaled, so that they change all at once.
    pub overwrites_in_record: usize,
    /// How often data are copied outside the gate before the cut, while there are many.
    pub passes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { data_in_record: 256, overwrites_in_record: 256, passes: 3 }
    }
}

/// The dirty blocks of a cut by kind, each list ascending.
#[derive(Default)]
pub struct Kinds {
    /// Metadata.
    pub metas: Vec<u32>,
    /// Fresh data with a live copy.
    pub live_fresh: Vec<u32>,
    /// Overwritten data with a live copy.
    pub live_over: Vec<u32>,
    /// Fresh data without.
    pub loose_fresh: Vec<u32>,
    /// Overwritten data without.
    pub loose_over: Vec<u32>,
}

impl Kinds {
    /// Forgets all blocks.
    pub fn clear(&mut self) {
        for list in self.lists() {
            list.clear();
        }
    }

    fn lists(&mut self) -> [&mut Vec<u32>; 5] {
        let Self { metas, live_fresh, live_over, loose_fresh, loose_over } = self;
        [metas, live_fresh, live_over, loose_fresh, loose_over]
    }

    /// How many blocks are overwritten.
    pub fn overwrites(&self) -> usize {
        self.live_over.len() + self.loose_over.len()
    }

    fn data(&self) -> usize {
        self.overwrites() + self.live_fresh.len() + self.loose_fresh.len()
    }

    /// Blocks that may go to the image while nobody is held up; none when the commit is small.
    pub fn bulk(&self, limits: &Limits) -> Vec<u32> {
        if self.data() <= limits.data_in_record {
            return Vec::new();
        }
        let mut bulk = self.loose_fresh.clone();
        if self.overwrites() > limits.overwrites_in_record {
            bulk.extend(&self.loose_over);
            bulk.sort_unstable();
        }
        bulk
    }
}

/// One record of a commit: a range of [`Plan::numbers`], metadata first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First index.
    pub from: usize,
    /// Index behind the last.
    pub to: usize,
    /// How many of them are metadata.
    pub metas: usize,
}

/// Where the blocks of a cut go.
#[derive(Default)]
pub struct Plan {
    /// Blocks of all records, in the order of writing.
    pub numbers: Vec<u32>,
    /// The records; only the last one has metadata and makes the commit.
    pub parts: Vec<Part>,
    /// Blocks that go to the image before, ascending.
    pub in_place: Vec<u32>,
    /// Some of what is overwritten is, before the record that completes the commit: a crash in between leaves a mixture.
    pub mixes: bool,
}

/// The metadata alone do not fit a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Plan {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.numbers.clear();
        self.parts.clear();
        self.in_place.clear();
        self.mixes = false;
    }

    /// Decides for a cut with records of up to `capacity` blocks.
    pub fn make(&mut self, kinds: &Kinds, limits: &Limits, capacity: usize) -> Result<(), TooLarge> {
        self.clear();
        let metas = kinds.metas.len();
        if metas > capacity {
            return Err(TooLarge);
        }
        // Blocks that may go before, in the order of preference, and such that should stay.
        let mut early: Vec<u32> = Vec::new();
        let mut last: Vec<u32> = kinds.metas.clone();
        if kinds.data() <= limits.data_in_record && metas + kinds.data() <= capacity {
            last.extend(&kinds.live_fresh);
            last.extend(&kinds.live_over);
            last.extend(&kinds.loose_fresh);
            last.extend(&kinds.loose_over);
        } else {
            self.in_place.extend(&kinds.loose_fresh);
            early.extend(&kinds.live_fresh);
            // Atomicity of few overwrites gives way only when a record cannot hold them.
            let atomic = kinds.overwrites() <= limits.overwrites_in_record
                && metas + kinds.overwrites() <= capacity;
            if atomic {
                last.extend(&kinds.live_over);
                last.extend(&kinds.loose_over);
            } else {
                self.mixes = true;
                early.extend(&kinds.live_over);
                self.in_place.extend(&kinds.loose_over);
                self.in_place.sort_unstable();
            }
        }
        let mut rest = early.as_slice();
        while last.len() + rest.len() > capacity {
            let (part, tail) = rest.split_at(rest.len().min(capacity));
            self.push(part, 0);
            rest = tail;
        }
        last.extend(rest);
        if !last.is_empty() {
            self.push(&last, metas);
        }
        Ok(())
    }

    fn push(&mut self, blocks: &[u32], metas: usize) {
        let from = self.numbers.len();
        self.numbers.extend(blocks);
        self.parts.push(Part { from, to: self.numbers.len(), metas });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(counts: [usize; 5]) -> Kinds {
        let mut kinds = Kinds::default();
        let mut next = 0;
        for (list, count) in kinds.lists().into_iter().zip(counts) {
            list.extend(next..next + count as u32);
            next += count as u32;
        }
        kinds
    }

    #[test]
    fn small_commits_are_one_record() {
        let mut plan = Plan::default();
        plan.make(&kinds([3, 1, 1, 2, 2]), &Limits::default(), 100).unwrap();
        assert_eq!(plan.parts, [Part { from: 0, to: 9, metas: 3 }]);
        assert!(plan.in_place.is_empty());
        plan.make(&kinds([0; 5]), &Limits::default(), 100).unwrap();
        assert!(plan.parts.is_empty());
        assert!(kinds([3, 1, 1, 2, 2]).bulk(&Limits::default()).is_empty());
    }

    #[test]
    fn bulk_goes_to_the_image_and_few_overwrites_stay_atomic() {
        let mut plan = Plan::default();
        let many = kinds([3, 0, 1, 1000, 200]);
        plan.make(&many, &Limits::default(), 2044).unwrap();
        assert_eq!(plan.in_place, many.loose_fresh);
        assert!(!plan.mixes);
        assert_eq!(plan.parts, [Part { from: 0, to: 204, metas: 3 }]);
        assert_eq!(many.bulk(&Limits::default()), many.loose_fresh);
        let more = kinds([3, 0, 1, 1000, 300]);
        plan.make(&more, &Limits::default(), 2044).unwrap();
        assert_eq!(plan.in_place.len(), 1300);
        assert!(plan.mixes);
        assert_eq!(more.bulk(&Limits::default()), plan.in_place);
        assert_eq!(plan.parts, [Part { from: 0, to: 4, metas: 3 }]);
    }

    #[test]
    fn metadata_that_do_not_fit_are_refused() {
        let mut plan = Plan::default();
        assert_eq!(plan.make(&kinds([11, 0, 0, 0, 0]), &Limits::default(), 10), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn every_block_goes_somewhere_once(
            counts in prop::array::uniform5(0_usize..40),
            capacity in 1_usize..60,
            data_in_record in 0_usize..30,
            overwrites_in_record in 0_usize..30,
        ) {
            let kinds = kinds(counts);
            let limits = Limits { data_in_record, overwrites_in_record, passes: 1 };
            let mut plan = Plan::default();
            let made = plan.make(&kinds, &limits, capacity);
            prop_assert_eq!(made.is_err(), counts[0] > capacity);
            if made.is_err() {
                return Ok(());
            }
            let mut all: Vec<u32> = plan.numbers.iter().chain(&plan.in_place).copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..counts.iter().sum::<usize>() as u32).collect::<Vec<_>>());
            prop_assert!(plan.in_place.is_sorted());
            let live = kinds.live_fresh.iter().chain(&kinds.live_over);
            prop_assert!(live.copied().all(|block| !plan.in_place.contains(&block)));
            for (index, part) in plan.parts.iter().enumerate() {
                prop_assert!(part.to > part.from && part.to - part.from <= capacity);
                let is_last = index + 1 == plan.parts.len();
                prop_assert_eq!(part.metas, if is_last { counts[0] } else { 0 });
            }
        }
    }
}
