//! A store for loom: the words that a model is about are atomics of loom, everything else is plain memory.
//!
//! An access to a modelled word is a point where another thread may go on, and a load may give any value that the
//! memory model allows. Bytes are read and written word by word, relaxed. All other memory is as if one
//! thread had it: its accesses are no such points and give the newest value. So a model names every word over which its
//! threads race; what lies under a lock whose word is modelled may be left out.

use crate::store::{Store, Wait};
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::{Arc, Mutex as Plain};
// Destructors of a thread that panics must not let another one run.
use std::thread::panicking;

const PAGE: u64 = 4096;

/// What a sleep does that nobody ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleeps {
    /// It lasts for ever: a wake-up that is lost is a deadlock, which loom reports.
    UntilWoken,
    /// The time is over at once, whether somebody would have ended it or not.
    NotAtAll,
}

/// What sequentially consistent words are in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Acquire and release: less than WebAssembly promises, so that what holds here holds there. Loom would give a
    /// sequentially consistent load the newest such store, whatever plain accesses were moved before that.
    AcquireRelease,
    /// With a fence at each word: more than WebAssembly promises of other memory, but all that it does of words.
    /// For protocols in which two threads each write one word and then read the other's.
    Fenced,
    /// As `AcquireRelease`, with stores that are exchanges. Loom does not know that a store which follows an exchange
    /// that its thread has not seen comes later for everybody.
    Exchanging,
}

/// Memory before a model begins.
#[derive(Clone)]
pub struct Snapshot(Arc<Vec<u8>>);

impl Snapshot {
    /// All bytes of a store.
    pub fn of(store: &impl Store) -> Self {
        let mut bytes = vec![0; store.size_bytes() as usize];
        store.read(0, &mut bytes);
        Self(Arc::new(bytes))
    }

    /// Zeros.
    pub fn empty(size_bytes: u64) -> Self {
        Self(Arc::new(vec![0; size_bytes as usize]))
    }

    fn word(&self, offset: u64) -> u32 {
        let at = offset as usize;
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    /// Makes a store as it was.
    pub fn restore(&self, store: &impl Store) {
        store.write(0, &self.0);
    }

    /// Words from `from` on in which another snapshot differs.
    pub fn changed(&self, other: &Self, from: u64) -> Vec<u64> {
        (from..self.0.len() as u64).step_by(4).filter(|&at| self.word(at) != other.word(at)).collect()
    }
}

struct Word {
    atomic: AtomicU32,
    /// The value that was written last, for who writes a part of the word.
    newest: std::sync::atomic::AtomicU32,
}

#[derive(Default)]
struct Sleepers {
    /// Which word, and a number of the sleep's own, in the order in which they began.
    asleep: Vec<(u64, u32)>,
    last: u32,
    /// Sleeps up to this number are over because of the time.
    ended: u32,
    /// As many of those to come last no time.
    short: u32,
}

/// A store of one execution of a model. Make it before the threads.
pub struct LoomStore {
    base: Snapshot,
    pages: Plain<HashMap<u64, Box<[u8; PAGE as usize]>>>,
    words: HashMap<u64, Word>,
    order: Order,
    sleeps: Sleeps,
    sleepers: Mutex<Sleepers>,
    woken: Condvar,
}

impl LoomStore {
    /// A store with the bytes of a snapshot.
    pub fn new(base: &Snapshot, words: &[u64], order: Order, sleeps: Sleeps) -> Arc<Self> {
        let word = |&offset: &u64| {
            let value = base.word(offset);
            (offset, Word { atomic: AtomicU32::new(value), newest: value.into() })
        };
        Arc::new(Self {
            base: base.clone(),
            pages: Plain::default(),
            words: words.iter().map(word).collect(),
            order,
            sleeps,
            sleepers: Mutex::new(Sleepers::default()),
            woken: Condvar::new(),
        })
    }

    /// Lets the time of all sleeps run out, and of two that are about to begin: somebody may have looked for the dead
    /// just before there was one, and lie down just after everybody was woken.
    pub fn end_sleeps(&self) {
        let mut sleepers = self.sleepers.lock().expect("loom's do not fail");
        (sleepers.ended, sleepers.short) = (sleepers.last, 2);
        sleepers.asleep.clear();
        self.woken.notify_all();
    }

    /// What the store has when everybody has ended.
    pub fn newest(&self, offset: u64) -> u32 {
        self.words
            .get(&offset)
            .map_or_else(|| self.plain_load(offset), |word| word.newest.load(Ordering::Relaxed))
    }

    fn plain<T>(&self, offset: u64, change: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut pages = self.pages.lock().expect("nobody panics here");
        let page = pages.entry(offset / PAGE).or_insert_with(|| {
            let mut page = Box::new([0; PAGE as usize]);
            let from = (offset / PAGE * PAGE) as usize;
            let to = self.base.0.len().min(from + PAGE as usize);
            page[..to - from].copy_from_slice(&self.base.0[from..to]);
            page
        });
        change(&mut page[(offset % PAGE) as usize..])
    }

    fn plain_load(&self, offset: u64) -> u32 {
        let pages = self.pages.lock().expect("nobody panics here");
        match pages.get(&(offset / PAGE)) {
            None => self.base.word(offset),
            Some(page) => {
                let at = (offset % PAGE) as usize;
                u32::from_le_bytes(page[at..at + 4].try_into().expect("four bytes"))
            }
        }
    }

    fn plain_store(&self, offset: u64, value: u32) {
        self.plain(offset, |bytes| bytes[..4].copy_from_slice(&value.to_le_bytes()));
    }

    /// Changes a word at one stroke; gives what it was. `modelled` does it to an atomic, `change` says the same.
    fn update(
        &self,
        offset: u64,
        change: impl Fn(u32) -> Option<u32>,
        modelled: impl Fn(&AtomicU32) -> u32,
    ) -> u32 {
        if panicking() {
            return 0;
        }
        let Some(word) = self.words.get(&offset) else {
            let old = self.plain_load(offset);
            if let Some(new) = change(old) {
                self.plain_store(offset, new);
            }
            return old;
        };
        self.settle();
        let old = modelled(&word.atomic);
        if let Some(new) = change(old) {
            word.newest.store(new, Ordering::Relaxed);
        }
        self.settle();
        old
    }

    fn load_order(&self) -> Ordering {
        if self.order == Order::Fenced { Ordering::SeqCst } else { Ordering::Acquire }
    }

    fn store_order(&self) -> Ordering {
        if self.order == Order::Fenced { Ordering::SeqCst } else { Ordering::Release }
    }

    fn change_order(&self) -> Ordering {
        if self.order == Order::Fenced { Ordering::SeqCst } else { Ordering::AcqRel }
    }

    fn settle(&self) {
        if self.order == Order::Fenced {
            fence(Ordering::SeqCst);
        }
    }

    /// Calls `part` for each word's share of a range: its offset, the first byte in it, and the range's bytes.
    fn parts(offset: u64, count: usize, mut part: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut at = 0;
        while at < count {
            let within = ((offset + at as u64) % 4) as usize;
            let len = (4 - within).min(count - at);
            part(offset + at as u64 - within as u64, within, at..at + len);
            at += len;
        }
    }

    fn models(&self, offset: u64, count: u64) -> bool {
        if count > 64 {
            return self.words.keys().any(|&at| at + 4 > offset && at < offset + count);
        }
        (offset / 4 * 4..offset + count).step_by(4).any(|at| self.words.contains_key(&at))
    }
}

impl Store for LoomStore {
    fn size_bytes(&self) -> u64 {
        self.base.0.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        assert!(offset + buffer.len() as u64 <= self.size_bytes(), "outside the store");
        let mut at = 0;
        while at < buffer.len() {
            let from = offset + at as u64;
            let len = ((PAGE - from % PAGE) as usize).min(buffer.len() - at);
            let part = &mut buffer[at..at + len];
            match self.pages.lock().expect("nobody panics here").get(&(from / PAGE)) {
                None => part.copy_from_slice(&self.base.0[from as usize..from as usize + len]),
                Some(page) => part.copy_from_slice(&page[(from % PAGE) as usize..][..len]),
            }
            at += len;
        }
        if !buffer.is_empty() && !panicking() && self.models(offset, buffer.len() as u64) {
            Self::parts(offset, buffer.len(), |at, within, range| {
                if let Some(word) = self.words.get(&at) {
                    let bytes = word.atomic.load(Ordering::Relaxed).to_le_bytes();
                    buffer[range.clone()].copy_from_slice(&bytes[within..within + range.len()]);
                }
            });
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.size_bytes(), "outside the store");
        if bytes.is_empty() || panicking() {
            return;
        }
        let mut at = 0;
        while at < bytes.len() {
            let from = offset + at as u64;
            let len = ((PAGE - from % PAGE) as usize).min(bytes.len() - at);
            self.plain(from, |page| page[..len].copy_from_slice(&bytes[at..at + len]));
            at += len;
        }
        if self.models(offset, bytes.len() as u64) {
            Self::parts(offset, bytes.len(), |at, within, range| {
                if let Some(word) = self.words.get(&at) {
                    let mut value = self.newest(at).to_le_bytes();
                    value[within..within + range.len()].copy_from_slice(&bytes[range]);
                    let value = u32::from_le_bytes(value);
                    word.atomic.store(value, Ordering::Relaxed);
                    word.newest.store(value, Ordering::Relaxed);
                }
            });
        }
    }

    fn zero(&self, offset: u64, count: u64) {
        self.write(offset, &vec![0; count as usize]);
    }

    fn load(&self, offset: u64) -> u32 {
        let word = self.words.get(&offset).filter(|_| !panicking());
        let Some(word) = word else { return self.newest(offset) };
        self.settle();
        word.atomic.load(self.load_order())
    }

    fn store(&self, offset: u64, value: u32) {
        if panicking() {
            return;
        }
        let Some(word) = self.words.get(&offset) else { return self.plain_store(offset, value) };
        match self.order {
            Order::Exchanging => _ = word.atomic.swap(value, self.change_order()),
            _ => word.atomic.store(value, self.store_order()),
        }
        word.newest.store(value, Ordering::Relaxed);
        self.settle();
    }

    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        if panicking() {
            return expected;
        }
        self.update(
            offset,
            |old| (old == expected).then_some(new),
            |word| match word.compare_exchange(expected, new, self.change_order(), self.load_order()) {
                Ok(seen) | Err(seen) => seen,
            },
        )
    }

    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        let change = |old: u32| Some(old.wrapping_add(value));
        self.update(offset, change, |word| word.fetch_add(value, self.change_order()))
    }

    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        self.update(offset, |old| Some(old | value), |word| word.fetch_or(value, self.change_order()))
    }

    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        self.update(offset, |old| Some(old & value), |word| word.fetch_and(value, self.change_order()))
    }

    fn wait(&self, offset: u64, expected: u32, _timeout_ms: u32) -> Wait {
        if self.sleeps == Sleeps::NotAtAll {
            loom::thread::yield_now();
            return if self.load(offset) == expected { Wait::TimedOut } else { Wait::NotEqual };
        }
        let mut sleepers = self.sleepers.lock().expect("loom's do not fail");
        // As engines do: looking and lying down are one step for who notifies.
        if self.load(offset) != expected {
            return Wait::NotEqual;
        }
        if sleepers.short > 0 {
            sleepers.short -= 1;
            return Wait::TimedOut;
        }
        sleepers.last += 1;
        let me = (offset, sleepers.last);
        sleepers.asleep.push(me);
        while sleepers.asleep.contains(&me) {
            sleepers = self.woken.wait(sleepers).expect("loom's do not fail");
        }
        if me.1 <= sleepers.ended { Wait::TimedOut } else { Wait::Woken }
    }

    fn notify(&self, offset: u64, count: u32) -> u32 {
        if self.sleeps == Sleeps::NotAtAll {
            return 0;
        }
        if panicking() {
            return 0;
        }
        let mut sleepers = self.sleepers.lock().expect("loom's do not fail");
        let mut left = count;
        sleepers.asleep.retain(|&(word, _)| {
            let wakes = word == offset && left > 0;
            left -= u32::from(wakes);
            !wakes
        });
        if left < count {
            self.woken.notify_all();
        }
        count - left
    }

    fn fence(&self, order: Ordering) {
        if !panicking() {
            fence(order);
        }
    }

    fn spins(&self) -> bool {
        false
    }
}
