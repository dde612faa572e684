//! A simulated disk: two files, power losses and errors.
//!
//! Fault model
//! - A flush makes earlier writes of *that file* durable. Until then a power loss may land any subset of
//!   the writes: whole writes, blocks or 512-byte sectors, in any order, of bytes written several
//!   times any version, and optionally garbage instead.
//! - The file's length follows what landed; a change of the size may land or not.
//! - A write that fails may have landed in part or wholly. After a flush that fails, part of what it was
//!   to write is durable and the rest is gone for good, although its writes succeeded; reading may go on
//!   showing it until the power goes.
//!
//! - A quota may limit the length of the image: what would make it longer fails and changes nothing. A
//!   power loss may be followed by others taking all room that the file does not durably have.
//!
//! Every call that changes something is one event; [`Disk::events`] lets an explorer stop at each.

use super::device::{Device, DeviceError};
use super::plan::{Part, Plan};
use super::rules::{Rule, Rules};
use crate::errno::Errno;
use crate::format::BLOCK_SIZE;
use crate::format::journal::{RecordHeader, record_blocks};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Number of the image file.
pub const IMAGE: usize = 0;
/// Number of the journal file.
pub const JOURNAL: usize = 1;
const SECTOR: usize = 512;

/// Small and good enough: xorshift64*.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        rng.next();
        rng.next();
        rng
    }

    /// The next number, of 53 bits.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Something that waits for a flush.
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Default)]
struct File {
    /// What a power loss leaves for certain.
    durable: Vec<u8>,
    /// What a reader sees.
    current: Vec<u8>,
    pending: Vec<Pending>,
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

impl File {
    fn settle(&mut self) {
        self.current = self.durable.clone();
        self.pending.clear();
    }

    /// Lands some of what is pending.
    fn crash(&mut self, rng: &mut Rng, garbage: bool) {
        let mut pieces: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        // How finely writes tear: whole writes, blocks, sectors.
        let grain = [usize::MAX, 4096, SECTOR][rng.below(3)];
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Write { at, bytes } => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let start = at + from;
                        let left = if grain == usize::MAX { grain } else { grain - start % grain };
                        let count = left.min(bytes.len() - from);
                        pieces.entry(start).or_default().push(bytes[from..from + count].to_vec());
                        from += count;
                    }
                }
                Pending::Size(size) => {
                    land(&mut self.durable, std::mem::take(&mut pieces), rng, garbage);
                    if rng.chance(50) {
                        self.durable.resize(size, 0);
                    }
                }
            }
        }
        land(&mut self.durable, pieces, rng, garbage);
        self.settle();
    }
}

fn land(file: &mut Vec<u8>, pieces: BTreeMap<usize, Vec<Vec<u8>>>, rng: &mut Rng, garbage: bool) {
    let (mode, cut) = (rng.below(6), rng.below(pieces.len() + 1));
    for (index, (at, mut versions)) in pieces.into_iter().enumerate() {
        let lands = match mode {
            0 => true,
            1 => false,
            2 => index < cut,
            3 => index != cut,
            _ => rng.chance(50),
        };
        if lands {
            let mut bytes = versions.swap_remove(rng.below(versions.len()));
            if garbage && mode == 5 && rng.chance(30) {
                bytes.iter_mut().for_each(|byte| *byte = rng.next() as u8);
            }
            put(file, at, &bytes);
        }
    }
}

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write.
    Write {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
        /// Offset in bytes.
        at: u64,
        /// Number of bytes.
        len: usize,
    },
    /// A change of the file's size.
    SetSize {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
    },
    /// A flush.
    Flush {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
    },
}

/// How calls fail while the power is on.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Percent of writes that fail.
    pub write_percent: usize,
    /// Percent of flushes that fail.
    pub flush_percent: usize,
    /// Percent of reads and writes that do only a part.
    pub short_percent: usize,
    /// The n-th event from now on fails, counted down.
    pub nth: Option<usize>,
    /// Whether a failed write leaves nothing behind, as `ENOSPC` does.
    pub clean: bool,
}

struct Inner {
    rng: Rng,
    files: [File; 2],
    /// Events until the power goes.
    left: Option<usize>,
    off: bool,
    faults: Faults,
    errno: Errno,
    trace: Vec<Event>,
    lying_image_flush: bool,
    /// Greatest length of the image in bytes.
    quota: Option<usize>,
}

/// Called with every event before it happens.
pub type Hook = Box<dyn FnMut(Event) + Send>;

/// A disk with the two files of a volume.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    hook: Arc<Mutex<Option<Hook>>>,
}

/// One of the files.
pub struct SimDevice {
    disk: SimDisk,
    file: usize,
}

impl SimDisk {
    /// A disk of two empty files.
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            rng: Rng::new(seed),
            files: Default::default(),
            left: None,
            off: false,
            faults: Faults::default(),
            errno: Errno::EIO,
            trace: Vec::new(),
            lying_image_flush: false,
            quota: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)), hook: Arc::default() }
    }

    /// Devices on the image and the journal.
    pub fn devices(&self) -> (SimDevice, SimDevice) {
        let device = |file| SimDevice { disk: self.clone(), file };
        (device(IMAGE), device(JOURNAL))
    }

    /// The power goes at the n-th event from now on; never with none.
    pub fn arm(&self, events: Option<usize>) {
        self.inner.lock().left = events;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.inner.lock().off
    }

    /// Loses what was not flushed, but for a random part, and switches the power on again.
    pub fn power_cycle(&self, garbage: bool) {
        let inner = &mut *self.inner.lock();
        for file in &mut inner.files {
            file.crash(&mut inner.rng, garbage);
        }
        (inner.off, inner.left) = (false, None);
        inner.faults = Faults::default();
    }

    /// Goes on after an event that `arm` named as after the death of the program alone: nothing is lost.
    pub fn restart(&self) {
        let inner = &mut *self.inner.lock();
        (inner.off, inner.left) = (false, None);
    }

    /// Lets calls fail, with this word.
    pub fn set_faults(&self, faults: Faults, errno: Errno) {
        let mut inner = self.inner.lock();
        (inner.faults, inner.errno) = (faults, errno);
    }

    /// Image flushes report success and do nothing.
    pub fn lie(&self, lie: bool) {
        self.inner.lock().lying_image_flush = lie;
    }

    /// Called before every event with no lock held.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }

    /// Limits the image to so many blocks, or no longer; longer than that it stays if it is.
    pub fn set_quota(&self, blocks: Option<usize>) {
        self.inner.lock().quota = blocks.map(|blocks| blocks * 4096);
    }

    /// Somebody else takes all room that the image does not have.
    pub fn take_rest(&self) {
        let inner = &mut *self.inner.lock();
        inner.quota = Some(inner.files[IMAGE].durable.len());
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.inner.lock().trace.clone()
    }

    /// Changes a file behind everybody's back.
    pub fn edit<T>(&self, file: usize, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let file = &mut self.inner.lock().files[file];
        let result = change(&mut file.durable);
        file.settle();
        result
    }

    fn event(&self, event: Event) {
        // A hook that works on a disk calls devices itself: taken out meanwhile.
        let hook = self.hook.lock().take();
        if let Some(mut hook) = hook {
            hook(event);
            let mut place = self.hook.lock();
            if place.is_none() {
                *place = Some(hook);
            }
        }
    }
}

impl Inner {
    /// Accounts for an event; false when the power is off.
    fn tick(&mut self, event: Event) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            self.off |= *left == 0;
        }
        if !self.off {
            self.trace.push(event);
        }
        !self.off
    }

    fn fails(&mut self, percent: usize) -> bool {
        let nth = match &mut self.faults.nth {
            Some(left) => {
                *left = left.wrapping_sub(1);
                *left == 0
            }
            None => false,
        };
        nth || self.rng.chance(percent)
    }

    /// Whether the file may not get as long as `end`.
    fn is_over_quota(&self, file: usize, end: usize) -> bool {
        let longer = end > self.files[file].current.len();
        file == IMAGE && longer && self.quota.is_some_and(|quota| end > quota)
    }

    fn error<T>(&self, doing: &'static str) -> Result<T, DeviceError> {
        Err(DeviceError { errno: if self.off { Errno::EIO } else { self.errno }, doing })
    }
}

impl Device for SimDevice {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        let inner = self.disk.inner.lock();
        if inner.off { inner.error("size") } else { Ok(inner.files[self.file].current.len() as u64) }
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let inner = &mut *self.disk.inner.lock();
        if inner.off {
            return inner.error("read");
        }
        let mut len = buffer.len();
        if len > 1 && inner.rng.chance(inner.faults.short_percent) {
            len = 1 + inner.rng.below(len - 1);
        }
        let bytes = &inner.files[self.file].current;
        let from = (at as usize).min(bytes.len());
        let count = len.min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        let event = Event::Write { file: self.file, at, len: bytes.len() };
        self.disk.event(event);
        let inner = &mut *self.disk.inner.lock();
        let was_off = inner.off;
        let on = inner.tick(event);
        let fails = on && inner.fails(inner.faults.write_percent);
        let mut len = bytes.len();
        if on && inner.is_over_quota(self.file, at as usize + len) {
            return Err(DeviceError { errno: Errno::EDQUOT, doing: "write" });
        }
        if fails {
            let part = [0, inner.rng.below(len + 1), len][inner.rng.below(3)];
            len = if inner.faults.clean { 0 } else { part };
        } else if len > 1 && inner.rng.chance(inner.faults.short_percent) {
            len = 1 + inner.rng.below(len - 1);
        }
        // The write during which the power goes may land too.
        if !was_off {
            let file = &mut inner.files[self.file];
            put(&mut file.current, at as usize, &bytes[..len]);
            file.pending.push(Pending::Write { at: at as usize, bytes: bytes[..len].to_vec() });
        }
        if fails || !on { inner.error("write") } else { Ok(len) }
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        let event = Event::SetSize { file: self.file };
        self.disk.event(event);
        let inner = &mut *self.disk.inner.lock();
        if !inner.tick(event) {
            return inner.error("set the size");
        }
        if inner.is_over_quota(self.file, size_bytes as usize) {
            return Err(DeviceError { errno: Errno::EDQUOT, doing: "set the size" });
        }
        let file = &mut inner.files[self.file];
        file.current.resize(size_bytes as usize, 0);
        file.pending.push(Pending::Size(size_bytes as usize));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        let event = Event::Flush { file: self.file };
        self.disk.event(event);
        let inner = &mut *self.disk.inner.lock();
        if !inner.tick(event) {
            return inner.error("flush");
        }
        if inner.fails(inner.faults.flush_percent) {
            if !inner.faults.clean {
                let cached = inner.files[self.file].current.clone();
                inner.files[self.file].crash(&mut inner.rng, false);
                // A host may go on showing what it failed to write.
                if inner.rng.chance(50) {
                    inner.files[self.file].current = cached;
                }
            }
            return inner.error("flush");
        }
        if self.file == IMAGE && inner.lying_image_flush {
            return Ok(());
        }
        let File { durable, pending, .. } = &mut inner.files[self.file];
        for pending in pending.drain(..) {
            match pending {
                Pending::Write { at, bytes } => put(durable, at, &bytes),
                Pending::Size(size) => durable.resize(size, 0),
            }
        }
        Ok(())
    }
}

/// Without [`Rule::OneRecord`]: the record with the metadata becomes two, each with half of them.
pub(super) fn split_unless(on: bool, plan: &mut Plan) {
    let Some(&last) = plan.parts.last() else { return };
    let (half, middle) = (last.metas / 2, last.from + last.metas / 2);
    if !on && half > 0 {
        plan.parts.pop();
        plan.parts.push(Part { from: last.from, to: middle, metas: half });
        plan.parts.push(Part { from: middle, to: last.to, metas: last.metas - half });
    }
}

/// Without [`Rule::RecordHash`]: a record whose hash does not fit, and the hash that it says to have.
pub(super) fn unproved(bytes: &[u8], key: u64, rules: Rules) -> Option<(RecordHeader, u64)> {
    if rules.on(Rule::RecordHash) {
        return None;
    }
    let count = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
    let len = (record_blocks(count) as usize).checked_mul(BLOCK_SIZE)?;
    let mut record = bytes.get(..len)?.to_vec();
    let hash = xxhash_rust::xxh64::xxh64(&record[8..], key);
    record[..8].copy_from_slice(&hash.to_le_bytes());
    let says = u64::from_le_bytes(bytes[..8].try_into().ok()?);
    RecordHeader::check(&record, key).map(|(header, _)| (header, says))
}
