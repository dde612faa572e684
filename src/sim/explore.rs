//! The walk over a trace: at each point every state is recovered, and the commit found there compared with
//! what was promised by then.

use super::files::Files;
use super::states::{Effort, Point};
use super::trace::Trace;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

/// What a judge found in a state.
pub struct Recovered {
    /// Numbers of the commits whose content this is; several when nothing changed between them.
    pub commits: Vec<usize>,
    /// What recovery did to the files.
    pub trace: Trace,
}

/// Recovers states and says which commit they hold.
pub trait Judge {
    /// Recovers a state; tells what is wrong if it is no commit's, or if recovery or the check fails.
    fn recover(&mut self, files: &Files) -> Result<Recovered, String>;

    /// Describes the difference between a state and a commit, for a message.
    fn describe(&mut self, files: &Files, commit: usize) -> String;
}

/// Names a state of a workload: the point, and which of its states, there and in the recovery's own trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateId {
    /// Steps before the crash.
    pub point: usize,
    /// Which state of that point.
    pub state: usize,
    /// The same of a crash during the recovery of this state.
    pub recovery: Option<(usize, usize)>,
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.point, self.state)?;
        match self.recovery {
            Some((point, state)) => write!(f, "/{point}.{state}"),
            None => Ok(()),
        }
    }
}

impl FromStr for StateId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |text: &str| {
            let (point, state) = text.split_once('.')?;
            Some((point.parse().ok()?, state.parse().ok()?))
        };
        let (first, second) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let malformed = || format!("{text} is no state: POINT.STATE or POINT.STATE/POINT.STATE");
        let (point, state) = pair(first).ok_or_else(malformed)?;
        let recovery = second.map(|text| pair(text).ok_or_else(malformed)).transpose()?;
        Ok(Self { point, state, recovery })
    }
}

/// What a walk found.
#[derive(Default)]
pub struct Found {
    /// Hashes of the states, each once.
    pub distinct: HashSet<u64>,
    /// States made, equal ones included.
    pub made: u64,
    /// How many of them were left by a crash during a recovery.
    pub of_recoveries: u64,
    /// The first failures, with what is wrong.
    pub failures: Vec<(StateId, String)>,
    /// All failures.
    pub failing: u64,
}

/// Failures that are kept with their texts.
const FAILURES_KEPT: usize = 5;

/// What is known of a content.
enum Known {
    Commits(Vec<usize>),
    Wrong(String),
}

/// Walks over one trace.
pub struct Explorer<'a, J> {
    judge: &'a mut J,
    effort: Effort,
    known: HashMap<u64, Known>,
    /// Contents whose recovery was explored, with the bounds.
    recoveries: HashSet<(u64, usize, usize)>,
    found: Found,
    only: Option<StateId>,
}

impl<'a, J: Judge> Explorer<'a, J> {
    /// An explorer with this judge.
    pub fn new(judge: &'a mut J, effort: Effort) -> Self {
        let (known, recoveries) = (HashMap::new(), HashSet::new());
        Self { judge, effort, known, recoveries, found: Found::default(), only: None }
    }

    /// Looks at every state of the trace, or at one of them.
    pub fn explore(mut self, trace: &Trace, only: Option<StateId>) -> Found {
        self.only = only;
        let mut point = Point::first(trace);
        loop {
            self.point(&point);
            if !point.advance() {
                return self.found;
            }
        }
    }

    fn point(&mut self, point: &Point<'_>) {
        if self.only.is_some_and(|only| only.point != point.number()) {
            return;
        }
        let bounds = (point.acknowledged, point.attempted);
        for (state, choice) in point.choices(&self.effort).into_iter().enumerate() {
            if self.only.is_some_and(|only| only.state != state) {
                continue;
            }
            let id = StateId { point: point.number(), state, recovery: None };
            let files = point.files(choice);
            let hash = files.hash();
            let recovery = self.look(id, &files, hash, bounds);
            let chosen = self.effort.recovery_one_in != 0
                && hash.is_multiple_of(self.effort.recovery_one_in)
                || self.only.is_some_and(|only| only.recovery.is_some());
            if chosen && self.recoveries.insert((hash, bounds.0, bounds.1)) {
                let trace = match recovery {
                    Some(trace) => Some(trace),
                    None => self.judge.recover(&files).ok().map(|recovered| recovered.trace),
                };
                if let Some(trace) = trace {
                    self.during_recovery(id, &trace, bounds);
                }
            }
        }
    }

    fn during_recovery(&mut self, id: StateId, trace: &Trace, bounds: (usize, usize)) {
        let effort = self.effort.of_recovery();
        let wanted = self.only.and_then(|only| only.recovery);
        let mut point = Point::first(trace);
        while point.advance() {
            for (state, choice) in point.choices(&effort).into_iter().enumerate() {
                let here = (point.number(), state);
                if wanted.is_some_and(|wanted| wanted != here) {
                    continue;
                }
                let files = point.files(choice);
                self.found.of_recoveries += 1;
                self.look(StateId { recovery: Some(here), ..id }, &files, files.hash(), bounds);
            }
        }
    }

    /// Judges a state; gives the trace of its recovery if that was done for it.
    fn look(
        &mut self,
        id: StateId,
        files: &Files,
        hash: u64,
        (acknowledged, attempted): (usize, usize),
    ) -> Option<Trace> {
        self.found.made += 1;
        let mut trace = None;
        if self.found.distinct.insert(hash) {
            let known = match self.judge.recover(files) {
                Ok(recovered) => {
                    trace = Some(recovered.trace);
                    Known::Commits(recovered.commits)
                }
                Err(what) => Known::Wrong(what),
            };
            self.known.insert(hash, known);
        }
        let wrong = match &self.known[&hash] {
            Known::Wrong(what) => Some(what.clone()),
            Known::Commits(commits) => {
                let right = commits.iter().any(|commit| (acknowledged..=attempted).contains(commit));
                (!right).then(|| format!("it holds commit {commits:?}"))
            }
        };
        if let Some(what) = wrong {
            self.found.failing += 1;
            if self.found.failures.len() < FAILURES_KEPT {
                let mut text = format!("{what}; acknowledged {acknowledged}, attempted {attempted}");
                if self.only.is_some() {
                    text.push_str(&self.judge.describe(files, acknowledged));
                }
                self.found.failures.push((id, text));
            }
        }
        trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::sim::IMAGE;
    use crate::sim::trace::Step;

    /// The image's first byte is the number of the commit; that of its second sector must be the same.
    struct Pairs;

    impl Judge for Pairs {
        fn recover(&mut self, files: &Files) -> Result<Recovered, String> {
            let mut bytes = [0; 1024];
            files.image().read(0, &mut bytes);
            if files.image().len() > 512 && bytes[0] != bytes[512] {
                return Err("two halves".into());
            }
            Ok(Recovered { commits: vec![usize::from(bytes[0])], trace: Trace::default() })
        }

        fn describe(&mut self, _: &Files, _: usize) -> String {
            " described".into()
        }
    }

    fn explore(steps: &[Step], only: Option<StateId>) -> Found {
        let trace = Trace { steps: steps.to_vec(), ..Trace::default() };
        let effort = Effort { tears: 9, subsets: 9, recovery_one_in: 1, seed: 1 };
        Explorer::new(&mut Pairs, effort).explore(&trace, only)
    }

    #[test]
    fn torn_and_lost_commits_are_found_and_found_again() {
        let write = |at, len| Step::Write { file: IMAGE, at, bytes: vec![1; len].into() };
        let flush = Step::Flush { file: IMAGE };
        let torn = explore(&[Step::Attempted(1), write(0, 1024)], None);
        assert!(torn.failing > 0 && torn.distinct.len() >= 4);
        let (id, what) = &torn.failures[0];
        assert!(what.starts_with("two halves"), "{what}");
        let again = explore(&[Step::Attempted(1), write(0, 1024)], Some(*id));
        assert_eq!((again.failing, again.made), (1, 1));
        assert!(again.failures[0].1.ends_with("described"));

        let steps = [Step::Attempted(1), write(0, 512), Step::Acknowledged(1), flush];
        let lost = explore(&steps, None);
        let early = lost.failures.iter().any(|(_, what)| what.starts_with("it holds commit [0]"));
        assert!(early, "acknowledged before it was durable: {:?}", lost.failures);
    }

    #[test]
    fn states_have_names() {
        for text in ["3.14", "3.14/2.7"] {
            assert_eq!(text.parse::<StateId>().unwrap().to_string(), text);
        }
        assert!("3".parse::<StateId>().is_err() && "1.2/3".parse::<StateId>().is_err());
    }
}
