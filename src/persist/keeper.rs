//! The keeper: the one owner of a volume's files, who serves commits.
//!
//! A worker calls [`Keeper::turn`] in a loop. A program without a second thread owns the keeper itself and
//! calls [`Keeper::commit_now`] where it would wait for one.
//!
//! Invariants
//! - A commit is tried when somebody asks for one, and once a second while anything is dirty. After an
//!   error the next request tries again at once, the timer ever more rarely.
//! - Requests that arrive while a commit runs are served by the next one, all together.
//! - `KEEPER_BEAT` moves at least once a turn and before every call of a device.
//! - `FAILURE` is set when an attempt fails and cleared when one succeeds; nothing is given up, so the
//!   state stays `Up` until the keeper is stopped.

use super::commit::{CommitError, Committer};
use super::device::{Device, DeviceError};
use super::disk::Disk;
use super::error::OpenError;
use super::journal::Mark;
use super::metrics::{Stopwatch, note_failure};
use super::recovery::{Found, OpenOptions, Progress, open_volume};
use super::takeover::take_over;
use super::wait::reached;
use crate::core::Image;
use crate::errno::Errno;
use crate::store::Store;
use crate::store::rules::{Rule, holds};
use crate::store::runtime::{self as rt, Durability, KeeperState, VolumeState};

/// Dirty blocks are committed, and written records flushed, at least this often.
const TIMER_MS: u64 = 1000;
/// The longest pause of the timer after errors.
const RETRY_MAX_MS: u64 = 32_000;
/// Blocks that a checkpoint in the background writes before the keeper looks for requests again.
const CHECKPOINT_STEP_BLOCKS: usize = 64;

/// What `KEEPER_STOP` says when the keeper is to close the files but will be followed by another one: to
/// clients it looks as if it were slow.
const PAUSE: u32 = 2;

/// Gives the time in milliseconds; it never goes back.
pub type Clock = Box<dyn FnMut() -> u64 + Send>;

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was to be done until the time ran out.
    Idle,
    /// Something was done, or the keeper was woken; there may be more to do.
    Busy,
    /// The keeper has stopped: drop it, which closes the files.
    Stopped,
}

/// An attempt that failed, and when the next one is due without a request.
struct Failing {
    bell: u32,
    retry_at_ms: u64,
    pause_ms: u64,
}

/// The owner of a volume's files.
pub struct Keeper<S, D> {
    image: Image<S>,
    disk: Disk<D>,
    committer: Committer,
    clock: Clock,
    /// When the timer is due.
    timer_ms: u64,
    failing: Option<Failing>,
    last_error: Option<CommitError>,
    /// Nothing is written, ever.
    read_only: bool,
    /// Whose the journal was before it was opened.
    found_mark: Mark,
    stopped: bool,
}

impl<S: Store, D: Device> Keeper<S, D> {
    /// Opens a volume's files, recovers them, loads the image into the store (which is fresh), and serves
    /// it from now on.
    ///
    /// When nothing was there the caller formats the volume in the store, with the options' uuid.
    pub fn open(
        image: Image<S>,
        image_device: D,
        journal_device: D,
        options: OpenOptions,
        mut clock: Clock,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Found), OpenError> {
        let (limits, rules, resumes) = (options.limits, options.rules, options.resume.is_some());
        let opened = open_volume(image_device, journal_device, &image, options, progress)?;
        if resumes {
            take_over(&image, rules)
                .map_err(|errno| DeviceError { errno, doing: "stop the writers" })?;
        }
        // What the keeper before this one could not make durable is dirty still.
        let change = image.store().load(if resumes { rt::DURABLE } else { rt::CHANGE });
        let timer_ms = clock() + TIMER_MS;
        let keeper = Self {
            disk: opened.disk,
            committer: Committer::new(change, limits, rules),
            clock,
            timer_ms,
            failing: None,
            last_error: None,
            read_only: opened.read_only,
            found_mark: opened.mark,
            stopped: false,
            image,
        };
        let store = keeper.image.store();
        for word in [rt::WRITTEN, rt::DURABLE] {
            store.store(word, change);
        }
        if resumes {
            keeper.set_failure(0);
            // Who asked the one before to stop means this one, too.
            store.compare_exchange(rt::KEEPER_STOP, PAUSE, 0);
        } else {
            keeper.mark().keep(store);
            for (word, value) in [
                (rt::WANTED, change),
                (rt::FLUSH_WANTED, change),
                (rt::KEEPER_STOP, 0),
                (rt::ROOM_WANTED, 0),
            ] {
                store.store(word, value);
            }
        }
        store.store(rt::ROOM_SHORT, 0);
        if keeper.read_only {
            // Before the volume is taken into use, which else frees orphans.
            store.store(rt::READ_ONLY, 1);
        } else {
            keeper.publish_room();
        }
        keeper.set_state(KeeperState::Up);
        Ok((keeper, opened.found))
    }

    /// What measures how long commits take, where the host has none of its own.
    pub fn set_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.committer.stopwatch = Some(stopwatch);
    }

    /// The keeper's view of the image.
    pub fn image(&self) -> &Image<S> {
        &self.image
    }

    /// Whose the journal is: what whoever follows a keeper that has paused must find.
    pub fn mark(&self) -> Mark {
        if self.read_only { self.found_mark } else { self.disk.journal.mark() }
    }

    /// The error of the last attempt to commit, if it failed: for a message, `FAILURE` has the number.
    pub fn last_error(&self) -> Option<&CommitError> {
        self.last_error.as_ref()
    }

    /// Whether a crash during the last commit that was tried may leave a mixture of old and new data.
    #[cfg(any(test, feature = "sim"))]
    pub fn mixes(&self) -> bool {
        self.committer.mixes()
    }

    /// Serves what there is to serve; waits for work at most `timeout_ms`.
    pub fn turn(&mut self, timeout_ms: u32) -> Turn {
        if self.stopped {
            return Turn::Stopped;
        }
        beat(&self.image);
        // Read before the work is looked for: what arrives after it makes the wait below return.
        let bell = self.image.store().load(rt::KEEPER_BELL);
        // Why it failed, if it did, is in FAILURE and in `last_error`.
        match self.image.store().load(rt::KEEPER_STOP) {
            0 => {}
            PAUSE => {
                let _ = self.flush_now();
                self.note();
                self.stopped = true;
                return Turn::Stopped;
            }
            _ => {
                let _ = self.stop();
                return Turn::Stopped;
            }
        }
        let now = (self.clock)();
        let due = now >= self.timer_ms;
        let retry = self.failing.as_ref().is_some_and(|failing| now >= failing.retry_at_ms);
        let room = self.image.store().load(rt::ROOM_WANTED) > self.disk.image.durable_blocks();
        let wanted = retry || room || self.requested() || due && self.anything_to_commit();
        if wanted && self.may_try(bell, now) {
            let flush =
                due || retry || self.flush_requested() || self.image.durability() == Durability::Strict;
            self.attempt(flush, bell, now);
            return Turn::Busy;
        }
        if due {
            self.timer_ms = now + TIMER_MS;
            self.note();
        }
        if self.disk.checkpoint_due() && self.may_try(bell, now) {
            self.checkpoint(bell, now);
            return Turn::Busy;
        }
        let next_ms = self.failing.as_ref().map_or(self.timer_ms, |failing| failing.retry_at_ms);
        let pause = next_ms.saturating_sub(now).clamp(1, TIMER_MS);
        let pause = u32::try_from(pause).unwrap_or(u32::MAX);
        let bell = match holds(Rule::BellBeforeWork) {
            true => bell,
            false => self.image.store().load(rt::KEEPER_BELL),
        };
        match self.image.store().wait(rt::KEEPER_BELL, bell, pause.min(timeout_ms)) {
            crate::store::Wait::TimedOut if pause >= timeout_ms => Turn::Idle,
            _ => Turn::Busy,
        }
    }

    /// Commits everything that has changed, durably but in relaxed mode; for those who have no keeper
    /// worker.
    pub fn commit_now(&mut self) -> Result<(), Errno> {
        if self.stopped {
            return Err(Errno::EIO);
        }
        let (bell, now) = (self.image.store().load(rt::KEEPER_BELL), (self.clock)());
        self.attempt(self.image.durability() != Durability::Relaxed, bell, now);
        self.last_error.map_or(Ok(()), |error| Err(error.errno()))
    }

    /// Commits everything that has changed durably, in relaxed mode too, which also makes freed blocks
    /// allocatable again.
    pub fn flush_now(&mut self) -> Result<(), Errno> {
        if self.stopped {
            return Err(Errno::EIO);
        }
        let (bell, now) = (self.image.store().load(rt::KEEPER_BELL), (self.clock)());
        self.attempt(true, bell, now);
        self.last_error.map_or(Ok(()), |error| Err(error.errno()))
    }

    /// Commits everything durably and brings it to the image file, which then holds the volume alone.
    pub fn checkpoint_now(&mut self) -> Result<(), Errno> {
        self.flush_now()?;
        if self.read_only {
            return Ok(());
        }
        let (bell, now) = (self.image.store().load(rt::KEEPER_BELL), (self.clock)());
        let result = self.disk.checkpoint_all(&|| beat(&self.image));
        self.finish(result.map_err(CommitError::Device), bell, now);
        self.last_error.map_or(Ok(()), |error| Err(error.errno()))
    }

    /// Commits everything durably and stops. After an error nothing is closed in order, but the files
    /// hold the last state that was committed.
    pub fn stop(&mut self) -> Result<(), Errno> {
        if self.stopped {
            return Ok(());
        }
        let (bell, now) = (self.image.store().load(rt::KEEPER_BELL), (self.clock)());
        self.attempt(true, bell, now);
        self.note();
        self.stopped = true;
        let failed = self.last_error.is_some();
        self.set_state(if failed { KeeperState::Failed } else { KeeperState::Stopped });
        // Those who wait for a commit find that nobody serves them any more.
        for word in [rt::WRITTEN, rt::DURABLE] {
            self.image.store().notify(word, u32::MAX);
        }
        self.last_error.map_or(Ok(()), |error| Err(error.errno()))
    }

    /// Vouches for the last commit. It may fail: nothing is lost with a note, and the next commit says what is
    /// wrong with the device.
    fn note(&mut self) {
        if self.read_only || self.last_error.is_some() {
            return;
        }
        if let Ok(true) = self.disk.note(self.committer.written()) {
            self.committer.tell(&self.image, &self.disk);
        }
    }

    /// Whether an attempt makes sense: after an error only when somebody rang or the pause is over.
    fn may_try(&self, bell: u32, now_ms: u64) -> bool {
        self.failing.as_ref().is_none_or(|failing| bell != failing.bell || now_ms >= failing.retry_at_ms)
    }

    /// Whether somebody waits for a commit.
    fn requested(&self) -> bool {
        let store = self.image.store();
        let got = match self.image.durability() {
            Durability::Relaxed => self.committer.written(),
            _ => self.committer.durable(),
        };
        // A count that was never reached must not keep the keeper busy for ever.
        !reached(got, store.load(rt::WANTED)) && got != store.load(rt::CHANGE) || self.flush_requested()
    }

    /// Whether somebody waits until what was changed is durable, whatever the mode.
    fn flush_requested(&self) -> bool {
        let (store, got) = (self.image.store(), self.committer.durable());
        !reached(got, store.load(rt::FLUSH_WANTED)) && got != store.load(rt::CHANGE)
    }

    fn anything_to_commit(&self) -> bool {
        !self.read_only && self.has_changes()
    }

    fn has_changes(&self) -> bool {
        self.image.store().load(rt::DIRTY_COUNT) != 0
            || self.committer.has_owed()
            || self.committer.has_unflushed(&self.disk)
    }

    fn attempt(&mut self, flush: bool, bell: u32, now_ms: u64) {
        if self.read_only {
            // Nobody can have changed anything.
            return;
        }
        let beat = || beat(&self.image);
        // Taken once: who still wants it after an error asks again.
        let store = self.image.store();
        let room = store.load(rt::ROOM_WANTED);
        store.compare_exchange(rt::ROOM_WANTED, room, 0);
        let capacity = self.image.capacity_blocks();
        let (committer, disk) = (&mut self.committer, &mut self.disk);
        let result = committer.commit(&self.image, disk, flush, &beat).and_then(|()| {
            // After the commit, which makes the file longer by what it writes.
            Ok(disk.make_room(room.min(capacity), capacity, &beat)?)
        });
        self.timer_ms = if flush { now_ms + TIMER_MS } else { self.timer_ms };
        self.finish(result, bell, now_ms);
    }

    /// Tells the allocator how much room the image file has, and whether the device refuses more.
    fn publish_room(&self) {
        let store = self.image.store();
        let (before, now) = (store.load(rt::ROOM_BLOCKS), self.disk.image.durable_blocks());
        let short = u32::from(self.disk.image.is_short());
        if now == before && short == store.load(rt::ROOM_SHORT) {
            return;
        }
        if short != 0 && store.load(rt::ROOM_SHORT) == 0 {
            // What is free lies anywhere from now on, and only what the file has can be used.
            store.store(rt::RUN_HINT, 2);
        }
        store.store(rt::ROOM_SHORT, short);
        store.store(rt::ROOM_BLOCKS, now);
        store.notify(rt::ROOM_BLOCKS, u32::MAX);
    }

    fn checkpoint(&mut self, bell: u32, now_ms: u64) {
        let beat = || beat(&self.image);
        let result = self.disk.checkpoint_some(CHECKPOINT_STEP_BLOCKS, &beat);
        match result {
            // Until a commit succeeds too, an earlier failure is not over.
            Ok(()) if self.failing.is_some() => {}
            result => self.finish(result.map_err(CommitError::Device), bell, now_ms),
        }
    }

    /// Publishes how an attempt ended.
    fn finish(&mut self, result: Result<(), CommitError>, bell: u32, now_ms: u64) {
        let store = self.image.store();
        self.committer.tell(&self.image, &self.disk);
        self.publish_room();
        match result {
            Ok(()) => {
                if self.failing.take().is_some() {
                    self.set_failure(0);
                }
                self.last_error = None;
            }
            Err(error) => {
                let last = self.failing.as_ref().map_or(TIMER_MS / 2, |failing| failing.pause_ms);
                let pause_ms = (last * 2).min(RETRY_MAX_MS);
                self.failing = Some(Failing { bell, retry_at_ms: now_ms + pause_ms, pause_ms });
                self.last_error = Some(error);
                note_failure(store, error.errno());
                self.set_failure(error.errno().linux().cast_unsigned());
                for word in [rt::WRITTEN, rt::DURABLE] {
                    store.notify(word, u32::MAX);
                }
            }
        }
        beat(&self.image);
    }

    /// Sets `FAILURE`, unless it says why the volume as a whole failed.
    fn set_failure(&self, number: u32) {
        let store = self.image.store();
        if store.load(rt::STATE) != VolumeState::Failed as u32 {
            store.store(rt::FAILURE, number);
        }
    }

    fn set_state(&self, state: KeeperState) {
        let store = self.image.store();
        store.store(rt::KEEPER_STATE, state as u32);
        store.notify(rt::KEEPER_STATE, u32::MAX);
        beat(&self.image);
    }
}

/// Tells waiters that the keeper lives; called before every call of a device.
fn beat<S: Store>(image: &Image<S>) {
    image.store().fetch_add(rt::KEEPER_BEAT, 1);
}
