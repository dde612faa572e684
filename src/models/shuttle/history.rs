//! What clients did and were told, and whether one after the other could have been told so.
//!
//! A history is linearisable if its operations can be put in one order, in which each that was answered before another
//! one began comes before it, and in which a plain model gives the same answers. An operation whose client
//! died may have happened or not, at any time after it began; a write may have changed the bytes that the file
//! had, but not its end.

use crate::errno::Errno;
use crate::vfs::Ino;
use std::collections::{BTreeMap, HashSet};

/// Directories that clients work in.
pub const DIRS: usize = 2;
/// Files that outlive their names.
pub const FILES: usize = 3;
/// An inode that a dead client made, and that nobody has seen yet.
const UNSEEN: Ino = 0;

/// A name: which directory, and which letter.
pub type Place = (usize, u8);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Create(Place),
    Unlink(Place),
    Rename(Place, Place),
    /// File, offset, length, and what is written.
    Write(usize, u64, usize, u8),
    Truncate(usize, u64),
    Read(usize),
    List(usize),
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Made(Ino),
    Bytes(Vec<u8>),
    Names(Vec<(u8, Ino)>),
    Error(Errno),
}

/// A call, when it began, and when it was answered, unless its client died.
#[derive(Clone, Debug)]
pub struct Event {
    pub call: Call,
    pub begun: u64,
    pub answer: Option<(u64, Answer)>,
}

/// The plain model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub dirs: [BTreeMap<u8, Ino>; DIRS],
    pub files: [Vec<u8>; FILES],
    pub inos: [Ino; FILES],
}

impl State {
    fn knows(&self, ino: Ino) -> bool {
        self.inos.contains(&ino) || self.dirs.iter().any(|dir| dir.values().any(|&one| one == ino))
    }

    /// Does what a call asks for; false when it cannot have been answered so.
    fn apply(&mut self, call: &Call, told: Option<&Answer>) -> bool {
        let is = |answer: Answer| told.is_none_or(|told| *told == answer);
        match *call {
            Call::Create((dir, name)) => {
                if self.dirs[dir].contains_key(&name) {
                    return is(Answer::Error(Errno::EEXIST));
                }
                let ino = match told {
                    None => UNSEEN,
                    Some(Answer::Made(ino)) if !self.knows(*ino) => *ino,
                    Some(_) => return false,
                };
                self.dirs[dir].insert(name, ino);
                true
            }
            Call::Unlink((dir, name)) => match self.dirs[dir].remove(&name) {
                Some(_) => is(Answer::Done),
                None => is(Answer::Error(Errno::ENOENT)),
            },
            Call::Rename(from, to) => {
                let Some(ino) = self.dirs[from.0].remove(&from.1) else {
                    return is(Answer::Error(Errno::ENOENT));
                };
                self.dirs[to.0].insert(to.1, ino);
                is(Answer::Done)
            }
            Call::Write(file, offset, len, byte) => {
                let (from, to) = (offset as usize, offset as usize + len);
                let bytes = &mut self.files[file];
                bytes.resize(bytes.len().max(to), 0);
                bytes[from..to].fill(byte);
                is(Answer::Done)
            }
            Call::Truncate(file, size) => {
                self.files[file].resize(size as usize, 0);
                is(Answer::Done)
            }
            Call::Read(file) => match told {
                None => true,
                Some(Answer::Bytes(bytes)) => *bytes == self.files[file],
                Some(_) => false,
            },
            Call::List(dir) => match told {
                None => true,
                Some(Answer::Names(names)) => self.has_names(dir, names),
                Some(_) => false,
            },
        }
    }

    fn has_names(&mut self, dir: usize, names: &[(u8, Ino)]) -> bool {
        if names.len() != self.dirs[dir].len() {
            return false;
        }
        for &(name, ino) in names {
            match self.dirs[dir].get(&name) {
                Some(&UNSEEN) if !self.knows(ino) => {
                    self.dirs[dir].insert(name, ino);
                }
                Some(&known) if known == ino => {}
                _ => return false,
            }
        }
        true
    }

    /// A write that changed the bytes that there were and not the end.
    fn torn(&mut self, call: &Call) -> bool {
        let Call::Write(file, offset, len, byte) = *call else { return false };
        let bytes = &mut self.files[file];
        let end = bytes.len().min(offset as usize + len);
        let from = end.min(offset as usize);
        bytes[from..end].fill(byte);
        from < end
    }
}

/// Whether what clients were told fits together; otherwise as much as could be explained.
pub fn linearisable(first: &State, clients: &[Vec<Event>]) -> Result<(), String> {
    let mut search = Search { clients, failed: HashSet::new(), best: (0, String::new()) };
    let place = vec![0; clients.len()];
    if search.go(&place, first) {
        return Ok(());
    }
    let (count, stuck) = search.best;
    Err(format!("no order explains more than {count} answers; then {stuck}; all: {clients:#?}"))
}

struct Search<'a> {
    clients: &'a [Vec<Event>],
    failed: HashSet<(Vec<usize>, State)>,
    best: (usize, String),
}

impl Search<'_> {
    fn go(&mut self, place: &[usize], state: &State) -> bool {
        let next: Vec<_> = self.clients.iter().zip(place).map(|(events, &at)| events.get(at)).collect();
        if next.iter().all(Option::is_none) {
            return true;
        }
        if self.failed.contains(&(place.to_vec(), state.clone())) {
            return false;
        }
        let done = place.iter().sum();
        if done >= self.best.0 {
            self.best = (done, format!("{next:?} in {:?}", state.dirs));
        }
        let answered = |event: &Event| event.answer.as_ref().map_or(u64::MAX, |(time, _)| *time);
        let first_answer = next.iter().flatten().map(|event| answered(event)).min().unwrap_or(u64::MAX);
        for (client, event) in next.iter().enumerate() {
            let Some(event) = event.filter(|event| event.begun < first_answer) else { continue };
            let mut after = place.to_vec();
            after[client] += 1;
            let mut applied = state.clone();
            let told = event.answer.as_ref().map(|(_, answer)| answer);
            if applied.apply(&event.call, told) && self.go(&after, &applied) {
                return true;
            }
            if told.is_none() {
                let mut torn = state.clone();
                if torn.torn(&event.call) && self.go(&after, &torn) || self.go(&after, state) {
                    return true;
                }
            }
        }
        self.failed.insert((place.to_vec(), state.clone()));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(call: Call, begun: u64, answer: Option<(u64, Answer)>) -> Event {
        Event { call, begun, answer }
    }

    fn first() -> State {
        State { dirs: Default::default(), files: Default::default(), inos: [10, 11, 12] }
    }

    #[test]
    fn what_does_not_fit_is_found() {
        let make = event(Call::Create((0, b'a')), 1, Some((4, Answer::Made(5))));
        let list = |begun, answered, names: &[(u8, Ino)]| {
            event(Call::List(0), begun, Some((answered, Answer::Names(names.to_vec()))))
        };
        let fits = |clients: &[Vec<Event>]| linearisable(&first(), clients).is_ok();
        assert!(fits(&[vec![make.clone()], vec![list(2, 3, &[]), list(5, 6, &[(b'a', 5)])]]));
        assert!(fits(&[vec![make.clone()], vec![list(2, 3, &[(b'a', 5)])]]));
        assert!(!fits(&[vec![make.clone()], vec![list(5, 6, &[])]]));
        assert!(!fits(&[vec![make], vec![list(2, 3, &[(b'a', 5)]), list(4, 5, &[])]]));
        let died = event(Call::Create((0, b'a')), 1, None);
        assert!(fits(&[vec![died.clone()], vec![list(2, 3, &[]), list(8, 9, &[(b'a', 7)])]]));
        assert!(!fits(&[vec![died], vec![list(2, 3, &[(b'a', 7)]), list(8, 9, &[])]]));
    }

    #[test]
    fn dead_writers_leave_bytes_but_no_new_end() {
        let mut start = first();
        start.files[0] = vec![1; 4];
        let died = event(Call::Write(0, 2, 4, 9), 1, None);
        let read = |bytes: &[u8]| event(Call::Read(0), 5, Some((6, Answer::Bytes(bytes.to_vec()))));
        let fits = |bytes: &[u8]| linearisable(&start, &[vec![died.clone()], vec![read(bytes)]]).is_ok();
        assert!(fits(&[1; 4]) && fits(&[1, 1, 9, 9]) && fits(&[1, 1, 9, 9, 9, 9]));
        assert!(!fits(&[1, 1, 9, 1]) && !fits(&[1, 1, 1, 1, 9, 9]));
    }
}
