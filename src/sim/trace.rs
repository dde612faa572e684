//! Recording devices: two files in memory, and a trace of every call that changed one.

use super::files::{FileBytes, Files};
use crate::errno::Errno;
use crate::persist::sim::{IMAGE, JOURNAL};
use crate::persist::{Device, DeviceError};
use parking_lot::Mutex;
use std::sync::Arc;

/// What a trace is made of.
#[derive(Clone)]
pub enum Step {
    /// A write, or the part of a failed one that may land.
    Write {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
        /// Offset in bytes.
        at: usize,
        /// What was written.
        bytes: Arc<[u8]>,
    },
    /// A change of the file's size.
    SetSize {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
        /// The new size.
        size_bytes: usize,
    },
    /// A flush that succeeded.
    Flush {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
    },
    /// A flush that failed: what it kept is durable, the rest of what was to be flushed is gone.
    FlushFailed {
        /// [`IMAGE`] or [`JOURNAL`].
        file: usize,
        /// The file as it is durably now.
        left: FileBytes,
    },
    /// A commit with this number is about to be tried.
    Attempted(usize),
    /// Everything up to the commit with this number has been acknowledged as durable.
    Acknowledged(usize),
}

/// Files, and what was done to them.
#[derive(Clone, Default)]
pub struct Trace {
    /// The files at the beginning; all of it is durable.
    pub base: Files,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// Number of the commit that `base` holds.
    pub committed: usize,
    /// What the image's flushes made durable is not, until a segment of the journal gets a new header:
    /// such a flush was a lie. Only for traces whose image flushes all end checkpoints.
    pub lying_image_flushes: bool,
}

/// What is left of a write or a flush that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Every other sector.
    Half,
    /// All of it.
    All,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Which one, counted from 0: writes, changes of the size and flushes.
    pub call: usize,
    /// What may be on the disk.
    pub left: Left,
    /// After a flush that failed, reading shows what was lost until the power goes.
    pub hidden: bool,
}

/// Called before each call that changes a file; no lock is held.
pub type Hook = Box<dyn FnMut() + Send>;

#[derive(Default)]
struct Inner {
    trace: Trace,
    durable: Files,
    current: Files,
    /// Steps that wait for a flush, by file.
    pending: [Vec<usize>; 2],
    calls: usize,
    failures: Vec<Failure>,
    quota_bytes: Option<usize>,
    short: bool,
}

/// A disk with the two files of a volume, which writes down what is done to them.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
    hook: Arc<Mutex<Option<Hook>>>,
}

/// One of the recorder's files.
pub struct RecordingDevice {
    disk: Recorder,
    file: usize,
}

impl Recorder {
    /// A disk with these files.
    pub fn new(files: Files) -> Self {
        let recorder = Self::default();
        {
            let mut inner = recorder.inner.lock();
            inner.trace.base = files.clone();
            inner.durable = files.clone();
            inner.current = files;
        }
        recorder
    }

    /// Devices on the image and the journal.
    pub fn devices(&self) -> (RecordingDevice, RecordingDevice) {
        let device = |file| RecordingDevice { disk: self.clone(), file };
        (device(IMAGE), device(JOURNAL))
    }

    /// Begins the trace anew. Nothing may wait for a flush.
    pub fn restart(&self) {
        let inner = &mut *self.inner.lock();
        assert!(inner.pending.iter().all(Vec::is_empty), "something is not flushed");
        inner.trace = Trace { base: inner.current.clone(), ..Trace::default() };
        inner.calls = 0;
    }

    /// Writes a mark into the trace.
    pub fn mark(&self, step: Step) {
        self.inner.lock().trace.steps.push(step);
    }

    /// Lets calls fail with `EIO`.
    pub fn set_failures(&self, failures: Vec<Failure>) {
        self.inner.lock().failures = failures;
    }

    /// Calls since the trace began that changed something.
    pub fn calls(&self) -> usize {
        self.inner.lock().calls
    }

    /// Limits the image's length: what would make it longer fails with `EDQUOT`.
    pub fn set_quota(&self, quota_bytes: Option<usize>) {
        self.inner.lock().quota_bytes = quota_bytes;
    }

    /// Reads and writes do only a part of what they are asked for, if that is more than a sector.
    pub fn set_short(&self, short: bool) {
        self.inner.lock().short = short;
    }

    /// Lets something happen while calls are under way.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }

    /// The files as a reader sees them.
    pub fn current(&self) -> Files {
        self.inner.lock().current.clone()
    }

    /// Length of the trace in steps.
    pub fn steps(&self) -> usize {
        self.inner.lock().trace.steps.len()
    }

    /// The trace so far.
    pub fn trace(&self) -> Trace {
        self.inner.lock().trace.clone()
    }

    /// The trace, which begins anew with nothing in it.
    pub fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.inner.lock().trace)
    }

    fn event(&self) {
        // A hook that works on the volume calls devices itself: taken out meanwhile.
        let hook = self.hook.lock().take();
        if let Some(mut hook) = hook {
            hook();
            self.hook.lock().get_or_insert(hook);
        }
    }
}

fn failed<T>(errno: Errno, doing: &'static str) -> Result<T, DeviceError> {
    Err(DeviceError { errno, doing })
}

impl Inner {
    /// How this call fails, if it does.
    fn count(&mut self) -> Option<Failure> {
        let call = self.calls;
        self.calls += 1;
        self.failures.iter().copied().find(|failure| failure.call == call)
    }

    fn is_over_quota(&self, file: usize, end: usize) -> bool {
        let longer = end > self.current.file(file).len();
        file == IMAGE && longer && self.quota_bytes.is_some_and(|quota| end > quota)
    }

    fn push_write(&mut self, file: usize, at: usize, bytes: &[u8]) {
        self.current.file_mut(file).write(at, bytes);
        self.pending[file].push(self.trace.steps.len());
        self.trace.steps.push(Step::Write { file, at, bytes: bytes.into() });
    }

    /// What a flush that failed leaves of the file.
    fn left(&self, file: usize, left: Left) -> FileBytes {
        let mut durable = self.durable.file(file).clone();
        for &index in &self.pending[file] {
            match (&self.trace.steps[index], left) {
                (_, Left::Nothing) => {}
                (Step::Write { at, bytes, .. }, Left::All) => durable.write(*at, bytes),
                (Step::Write { at, bytes, .. }, Left::Half) => {
                    for (number, sector) in bytes.chunks(super::SECTOR).enumerate().step_by(2) {
                        durable.write(at + number * super::SECTOR, sector);
                    }
                }
                (Step::SetSize { size_bytes, .. }, _) => durable.set_len(*size_bytes),
                _ => {}
            }
        }
        durable
    }
}

impl Device for RecordingDevice {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        Ok(self.disk.inner.lock().current.file(self.file).len() as u64)
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let inner = self.disk.inner.lock();
        let most = if inner.short { buffer.len().min(3 * super::SECTOR + 7) } else { buffer.len() };
        Ok(inner.current.file(self.file).read(at as usize, &mut buffer[..most]))
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        self.disk.event();
        let (inner, at) = (&mut *self.disk.inner.lock(), at as usize);
        let failure = inner.count();
        if inner.is_over_quota(self.file, at + bytes.len()) {
            return failed(Errno::EDQUOT, "write");
        }
        match failure.map(|failure| failure.left) {
            None => {
                let short = inner.short && bytes.len() > 1;
                let count = if short { bytes.len().div_ceil(3) } else { bytes.len() };
                inner.push_write(self.file, at, &bytes[..count]);
                return Ok(count);
            }
            Some(Left::Nothing) => {}
            Some(Left::Half) => inner.push_write(self.file, at, &bytes[..bytes.len() / 2]),
            Some(Left::All) => inner.push_write(self.file, at, bytes),
        }
        failed(Errno::EIO, "write")
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        self.disk.event();
        let (inner, size_bytes) = (&mut *self.disk.inner.lock(), size_bytes as usize);
        if inner.count().is_some() {
            return failed(Errno::EIO, "set the size");
        }
        if inner.is_over_quota(self.file, size_bytes) {
            return failed(Errno::EDQUOT, "set the size");
        }
        inner.current.file_mut(self.file).set_len(size_bytes);
        inner.pending[self.file].push(inner.trace.steps.len());
        inner.trace.steps.push(Step::SetSize { file: self.file, size_bytes });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.disk.event();
        let (inner, file) = (&mut *self.disk.inner.lock(), self.file);
        let Some(failure) = inner.count() else {
            // Not what a reader sees: what a flush that failed has lost stays lost.
            *inner.durable.file_mut(file) = inner.left(file, Left::All);
            inner.pending[file].clear();
            inner.trace.steps.push(Step::Flush { file });
            return Ok(());
        };
        let left = inner.left(file, failure.left);
        *inner.durable.file_mut(file) = left.clone();
        if !failure.hidden {
            *inner.current.file_mut(file) = left.clone();
        }
        inner.pending[file].clear();
        inner.trace.steps.push(Step::FlushFailed { file, left });
        failed(Errno::EIO, "flush")
    }
}
