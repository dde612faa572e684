//! A store for shuttle: before each access another thread may go on. Words and bytes are always the newest.

use crate::store::{HeapStore, Store, Wait};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::AtomicBool;
use shuttle::sync::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
// Destructors of a thread that panics must not let another one run.
use std::thread::panicking;

/// A store of one schedule.
pub struct ShuttleStore {
    heap: Arc<HeapStore>,
    point: AtomicBool,
    /// Accesses so far: a clock.
    time: AtomicU64,
    /// One sleep in so many ends because the time is over; 0: none does.
    timeouts: u32,
    sleepers: Mutex<Sleepers>,
    woken: Condvar,
}

#[derive(Default)]
struct Sleepers {
    /// Which word, and a number of the sleep's own.
    asleep: Vec<(u64, u32)>,
    last: u32,
    /// Sleeps with a smaller number are over, and so are as many to come.
    ended: u32,
    short: u32,
}

impl ShuttleStore {
    /// A store over these bytes.
    pub fn new(heap: Arc<HeapStore>, timeouts: u32) -> Arc<Self> {
        Arc::new(Self {
            heap,
            point: AtomicBool::new(false),
            time: AtomicU64::new(0),
            timeouts,
            sleepers: Mutex::default(),
            woken: Condvar::new(),
        })
    }

    /// How many accesses there have been; another number each time.
    pub fn time(&self) -> u64 {
        self.time.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets the time of all sleeps run out, and of some that are about to begin: somebody may have looked for the dead
    /// just before there was one, and have lain down just after everybody was woken.
    pub fn end_sleeps(&self) {
        let mut sleepers = self.sleepers.lock().expect("nobody panics here");
        (sleepers.ended, sleepers.short) = (sleepers.last, 8);
        sleepers.asleep.clear();
        drop(sleepers);
        self.woken.notify_all();
    }

    fn access(&self) -> &HeapStore {
        if !panicking() {
            self.point.load(Ordering::SeqCst);
            self.time.fetch_add(1, Ordering::Relaxed);
        }
        &self.heap
    }
}

impl Store for ShuttleStore {
    fn size_bytes(&self) -> u64 {
        self.heap.size_bytes()
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        self.access().read(offset, buffer);
    }
    fn write(&self, offset: u64, bytes: &[u8]) {
        self.access().write(offset, bytes);
    }
    fn zero(&self, offset: u64, count: u64) {
        self.access().zero(offset, count);
    }
    fn load(&self, offset: u64) -> u32 {
        self.access().load(offset)
    }
    fn store(&self, offset: u64, value: u32) {
        self.access().store(offset, value);
    }
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        self.access().compare_exchange(offset, expected, new)
    }
    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        self.access().fetch_add(offset, value)
    }
    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        self.access().fetch_or(offset, value)
    }
    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        self.access().fetch_and(offset, value)
    }

    fn wait(&self, offset: u64, expected: u32, _timeout_ms: u32) -> Wait {
        if panicking() {
            return Wait::NotEqual;
        }
        let mut sleepers = self.sleepers.lock().expect("nobody panics here");
        // As engines do: looking and lying down are one step for who notifies.
        if self.heap.load(offset) != expected {
            return Wait::NotEqual;
        }
        let short = sleepers.short > 0;
        sleepers.short = sleepers.short.saturating_sub(1);
        if short || self.timeouts > 0 && thread_rng().gen_range(0..self.timeouts) == 0 {
            drop(sleepers);
            shuttle::thread::yield_now();
            return Wait::TimedOut;
        }
        sleepers.last += 1;
        let me = (offset, sleepers.last);
        sleepers.asleep.push(me);
        while sleepers.asleep.contains(&me) {
            sleepers = self.woken.wait(sleepers).expect("nobody panics here");
        }
        if me.1 <= sleepers.ended { Wait::TimedOut } else { Wait::Woken }
    }

    fn notify(&self, offset: u64, count: u32) -> u32 {
        if panicking() {
            return 0;
        }
        let mut sleepers = self.sleepers.lock().expect("nobody panics here");
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

    fn spins(&self) -> bool {
        false
    }
}
