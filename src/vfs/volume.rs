//! A process's view of a mounted volume, and the two ways to work on it: reading without a lock and
//! mutating under the gate.

use super::atime::Atime;
use super::hold::Hold;
use super::patience::Patience;
use super::recall;
use super::sync::Committer;
use super::types::Ino;
use crate::core::rules::Rule;
use crate::core::{self, Core, Error, Image, LoadError, Place, Space, Txn, stripe_seq};
use crate::errno::Errno;
use crate::persist::{Stopwatch, host_stopwatch};
use crate::store::Store;
use crate::store::rules::{Rule as Word, holds};
use crate::store::runtime::{self as rt, Durability, VolumeState};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Gives the time in nanoseconds since 1970.
pub type Clock = fn() -> i64;

/// How often a reader tries again without the gate while somebody changes what it reads.
const OPTIMISTIC_TRIES: u32 = 64;
/// How often attaching looks for a whole superblock.
const ATTACH_TRIES: u32 = 1000;
/// How often a mutation that found no space waits for quarantined blocks to come free.
const SPACE_TRIES: u32 = 3;

/// One process's view of a mounted volume.
pub struct Volume<S: Store> {
    pub(super) core: Core<S>,
    pub(super) clock: Clock,
    /// Names this view in what threads remember.
    pub(super) id: u32,
    /// Inodes that this process holds.
    pub(super) held: Mutex<HashMap<Ino, Hold>>,
    /// Whether this view has left the store; set while `held` is locked.
    pub(super) left: AtomicBool,
    pub(super) committer: Committer,
    /// Measures how long calls of `fsync` take.
    pub(super) stopwatch: Option<Stopwatch>,
    pub(super) atime: Atime,
    /// Watchers of this process.
    pub(super) watchers: Arc<Mutex<u32>>,
    pub(super) patience: Patience,
}

/// Opens the gate again, also when an operation panics.
pub(super) struct Gate<'a, S: Store> {
    /// None when the gate stays closed, as more operations are to come.
    image: Option<&'a Image<S>>,
}

impl<'a, S: Store> Gate<'a, S> {
    /// The gate of this image, which the caller has taken.
    pub(super) fn new(image: &'a Image<S>) -> Self {
        Self { image: Some(image) }
    }

    /// A gate that somebody else opens.
    pub(super) fn kept(_image: &'a Image<S>) -> Self {
        Self { image: None }
    }
}

impl<S: Store> Drop for Gate<'_, S> {
    fn drop(&mut self) {
        if let Some(image) = self.image {
            image.unlock_gate();
        }
    }
}

impl<S: Store> Volume<S> {
    /// Attaches to a volume that is mounted in the store.
    ///
    /// `client` is the number of a client slot, 1 to 64, that no other live view of the store uses; what its
    /// last client may have left is recovered. `ENODEV` when there is no mounted volume. [`Volume::join`] takes
    /// a slot by itself.
    pub fn attach(store: S, client: u32, clock: Clock) -> Result<Self, Errno> {
        let image = Image::attach(store, client)?;
        if image.store().load(rt::STATE) != VolumeState::Ready as u32 {
            return Err(Errno::ENODEV);
        }
        // A volume that grows at this very moment rewrites both copies of its superblock.
        let mut superblock = core::read_superblock(&image);
        for _ in 0..ATTACH_TRIES {
            if superblock.is_ok() {
                break;
            }
            std::thread::yield_now();
            superblock = core::read_superblock(&image);
        }
        let superblock = superblock.map_err(Error::errno)?;
        let volume = Self::of_core(Core::new(image, superblock), clock);
        volume.enter_slot()?;
        Ok(volume)
    }

    /// Makes an empty volume in a prepared store and mounts it. `random`: uuid and hash key.
    pub fn format(store: S, client: u32, clock: Clock, random: [u8; 32]) -> Result<Self, Errno> {
        let image = Image::attach(store, client)?;
        let core = core::format(image, clock(), random).map_err(Error::errno)?;
        Self::mounted(core, clock)
    }

    /// Mounts the volume whose image has been loaded into the store: every metadata block is checked.
    pub fn load(store: S, client: u32, clock: Clock) -> Result<Self, LoadError> {
        let image = Image::attach(store, client).map_err(|errno| LoadError::Core(errno.into()))?;
        Self::mounted(core::load(image)?, clock).map_err(|errno| LoadError::Core(errno.into()))
    }

    fn mounted(core: Core<S>, clock: Clock) -> Result<Self, Errno> {
        let volume = Self::of_core(core, clock);
        volume.enter_slot()?;
        let store = volume.core.image.store();
        store.store(rt::STATE, VolumeState::Ready as u32);
        store.notify(rt::STATE, u32::MAX);
        Ok(volume)
    }

    fn of_core(core: Core<S>, clock: Clock) -> Self {
        Self {
            core,
            clock,
            id: recall::next_volume(),
            held: Mutex::default(),
            left: AtomicBool::new(false),
            committer: Committer::Keeper,
            stopwatch: host_stopwatch(),
            atime: Atime::default(),
            watchers: Arc::default(),
            patience: Patience::default(),
        }
    }

    /// Who makes changes durable; the keeper unless told otherwise.
    pub fn set_committer(&mut self, committer: Committer) {
        self.committer = committer;
    }

    /// What measures how long `fsync` takes, where the host has none of its own.
    pub fn set_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = Some(stopwatch);
    }

    /// The image.
    pub fn image(&self) -> &Image<S> {
        &self.core.image
    }

    /// For models that switch rules off.
    #[cfg(all(test, feature = "models"))]
    pub(crate) fn image_mut(&mut self) -> &mut Image<S> {
        &mut self.core.image
    }

    /// The volume's core, for `check`.
    pub fn core(&self) -> &Core<S> {
        &self.core
    }

    pub(super) fn now(&self) -> i64 {
        (self.clock)()
    }

    fn ready(&self) -> Result<(), Errno> {
        let store = self.core.image.store();
        match store.load(rt::STATE) {
            state if state == VolumeState::Ready as u32 => Ok(()),
            state if state == VolumeState::Failed as u32 => {
                let number = store.load(rt::FAILURE).cast_signed();
                Err(Errno::from_linux(number).unwrap_or(Errno::EIO))
            }
            _ => Err(Errno::ENODEV),
        }
    }

    /// Reads something about `ino` as it was at one moment.
    ///
    /// `read` may run several times and may see half of a change; only a run that nobody disturbed
    /// counts. After some tries it runs under the gate.
    pub(super) fn stable<T>(
        &self,
        ino: Ino,
        read: impl FnMut(&Core<S>) -> core::Result<T>,
    ) -> Result<T, Errno> {
        self.stable_at(ino, read).map(|(value, _)| value)
    }

    /// As `stable`; also gives the sequence number at which it was so, unless it took the gate.
    pub(super) fn stable_at<T>(
        &self,
        ino: Ino,
        mut read: impl FnMut(&Core<S>) -> core::Result<T>,
    ) -> Result<(T, Option<u32>), Errno> {
        let store = self.core.image.store();
        let word = stripe_seq(ino);
        let tries = if store.spins() { OPTIMISTIC_TRIES } else { 2 };
        for _ in 0..tries {
            let before = store.load(word);
            if !before.is_multiple_of(2) {
                std::hint::spin_loop();
                continue;
            }
            let result = read(&self.core);
            if matches!(result, Err(Error::Os(Errno::EAGAIN))) {
                // The inode table is being changed: whoever has the gate sees it whole.
                break;
            }
            if self.undisturbed(word, before) {
                return result.map(|value| (value, Some(before))).map_err(Error::errno);
            }
        }
        let _gate = self.gate()?;
        read(&self.core).map(|value| (value, None)).map_err(Error::errno)
    }

    /// Whether what was read since a stripe's sequence word was `before` is of one state.
    #[inline]
    pub(super) fn undisturbed(&self, word: u64, before: u32) -> bool {
        // The reads are plain: they must not be done after the word is looked at again.
        let store = self.core.image.store();
        if holds(Word::FenceBeforeLook) {
            store.fence(Ordering::Acquire);
        }
        store.load(word) == before || !holds(Word::LookAgain)
    }

    /// As `mutate`, for a change of names that the caller knows: where they are, or could be, is found out before the gate
    /// is taken, so that others need not wait for that.
    pub(super) fn mutate_names<const N: usize, T>(
        &self,
        names: [(Ino, &[u8]); N],
        change: impl FnMut(&mut Txn<'_, S>) -> core::Result<T>,
    ) -> Result<T, Errno> {
        let places = names.map(|(dir, name)| self.survey(dir, name));
        self.mutate_with(places, change)
    }

    /// Where a name is, or could be, and the sequence number of the directory's stripe at which it was so; none when
    /// that was not to be seen at once.
    fn survey(&self, dir: Ino, name: &[u8]) -> Option<(Place, u32)> {
        let word = stripe_seq(dir);
        let before = self.core.image.store().load(word);
        if !before.is_multiple_of(2) {
            return None;
        }
        let place = self.core.place(dir, name).ok()??;
        self.undisturbed(word, before).then_some((place, before))
    }

    /// Runs a mutation in a transaction under the gate and commits it if it succeeds.
    ///
    /// When there is no space it tries again after the volume has grown, a commit has freed what is
    /// quarantined, or the image file has got longer.
    pub(super) fn mutate<T>(
        &self,
        change: impl FnMut(&mut Txn<'_, S>) -> core::Result<T>,
    ) -> Result<T, Errno> {
        self.mutate_with([], change)
    }

    fn mutate_with<const N: usize, T>(
        &self,
        mut places: [Option<(Place, u32)>; N],
        mut change: impl FnMut(&mut Txn<'_, S>) -> core::Result<T>,
    ) -> Result<T, Errno> {
        // More than none when it was refused before.
        let mut attempt = self.patience.space_tries();
        loop {
            let gate = self.admitted_gate()?;
            let mut txn = Txn::begin(&self.core);
            for (place, seq) in places.iter_mut().filter_map(Option::take) {
                txn.hint(place, seq);
            }
            match change(&mut txn).and_then(|value| txn.commit().map(|()| value)) {
                Ok(value) => return Ok(value),
                Err(Error::Os(Errno::ENOSPC)) => match self.core.next_space(attempt < SPACE_TRIES) {
                    Space::Quarantined => {
                        drop(gate);
                        attempt += 1;
                        self.patience.note_space_tries(attempt);
                        self.free_quarantine()?;
                    }
                    Space::Room(blocks) => {
                        drop(gate);
                        self.make_room(blocks)?;
                    }
                    Space::Growth => self.core.grow().map_err(Error::errno)?,
                    Space::None => return Err(Errno::ENOSPC),
                },
                Err(error) => return Err(error.errno()),
            }
        }
    }

    /// Takes the gate for a mutation: refuses those that may not be, and holds back those that the
    /// journal could not take.
    pub(super) fn admitted_gate(&self) -> Result<Gate<'_, S>, Errno> {
        let store = self.core.image.store();
        loop {
            self.ready()?;
            if store.load(rt::READ_ONLY) != 0 {
                return Err(Errno::EROFS);
            }
            let gate = self.gate()?;
            // Counted under the gate, so that one operation at most is added to what is too much.
            let metas =
                store.load(rt::DIRTY_META_COUNT).saturating_add(store.load(rt::IN_FLIGHT_META_COUNT));
            if metas <= crate::persist::ADMISSION_META_BLOCKS
                || self.core.image.durability() == Durability::Memory
                || !self.core.image.rules().on(Rule::Admission)
            {
                return Ok(gate);
            }
            drop(gate);
            self.commit_and_wait()?;
        }
    }
}
