//! The module for JavaScript on a page, in a worker or in Node: attaching to a volume, and waiting without blocking. The
//! operations are in `calls`; js/ is the other side.
//!
//! An instance of the module has one volume at a time and one thread. Numbers of errors are Linux's, negative. What is as
//! long as it likes lies in a buffer of the module's memory, whose address JavaScript asks for.

mod calls;
mod locks;
mod watch;
mod xattr;

use super::numbers::{self, METRICS, STATS};
use super::prepare::prepare;
use crate::errno::Errno;
use crate::persist;
use crate::store::clients::{self, Sign};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{Store, WasmStore};
use crate::vfs::{OpenFiles, Refusal, Sleep, Volume, WatchedTree};
use std::cell::RefCell;
use std::sync::Arc;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Milliseconds since 1970.
    fn sabfs_host_date() -> f64;
    /// Milliseconds since some moment; never goes back.
    fn sabfs_host_time() -> f64;
    fn sabfs_host_random(bytes: *mut u8, count: usize);
    /// A message about something that went wrong, in UTF-8.
    fn sabfs_host_message(text: *const u8, count: usize);
    /// Size of the store's memory in bytes.
    fn sabfs_host_store_size() -> f64;
    /// Writes two words, what others need to hear of this client's death.
    fn sabfs_host_sign(sign: *mut u32);
}

/// Handles that may be open at once.
const HANDLES_MAX: usize = 65_536;
/// Numbers that a call gives back at most.
const NUMBERS: usize = 32;

struct Page {
    files: Option<OpenFiles<WasmStore>>,
    /// What JavaScript hands over: paths, bytes to write; and bytes that were read.
    input: Vec<u8>,
    /// What a call gives that has no fixed length.
    output: Vec<u8>,
    numbers: [f64; NUMBERS],
    refusals: Slots<Refusal>,
    requests: Slots<locks::Request>,
    watched: Slots<WatchedTree<WasmStore>>,
}

/// Things that JavaScript knows by number.
struct Slots<T>(Vec<Option<T>>);

impl<T> Slots<T> {
    fn put(&mut self, value: T) -> i32 {
        let free = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[free] = Some(value);
        free as i32
    }

    fn get(&mut self, number: i32) -> Option<&mut T> {
        self.0.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    fn take(&mut self, number: i32) -> Option<T> {
        self.0.get_mut(usize::try_from(number).ok()?)?.take()
    }
}

thread_local! {
    static PAGE: RefCell<Page> = const {
        RefCell::new(Page {
            files: None,
            input: Vec::new(),
            output: Vec::new(),
            numbers: [0.0; NUMBERS],
            refusals: Slots(Vec::new()),
            requests: Slots(Vec::new()),
            watched: Slots(Vec::new()),
        })
    };
}

impl Page {
    fn files(&self) -> Result<&OpenFiles<WasmStore>, Errno> {
        self.files.as_ref().ok_or(Errno::ENODEV)
    }

    fn volume(&self) -> Result<&Arc<Volume<WasmStore>>, Errno> {
        self.files().map(OpenFiles::volume)
    }

    /// `count` bytes of what JavaScript has handed over.
    fn input(&self, at: usize, count: usize) -> Result<&[u8], Errno> {
        let end = at.checked_add(count).ok_or(Errno::EINVAL)?;
        self.input.get(at..end).ok_or(Errno::EINVAL)
    }
}

fn status(result: Result<(), Errno>) -> i32 {
    count(result.map(|()| 0))
}

fn count(result: Result<usize, Errno>) -> i32 {
    match result {
        Ok(count) => i32::try_from(count).unwrap_or(i32::MAX),
        Err(errno) => -errno.linux(),
    }
}

fn with<T>(call: impl FnOnce(&mut Page) -> T) -> T {
    PAGE.with_borrow_mut(call)
}

fn with_volume<T>(call: impl FnOnce(&Volume<WasmStore>) -> Result<T, Errno>) -> Result<T, Errno> {
    with(|page| page.volume().cloned()).and_then(|volume| call(&volume))
}

fn now_ns() -> i64 {
    // SAFETY: gives a number.
    (unsafe { sabfs_host_date() } * 1e6) as i64
}

fn now_us() -> u64 {
    // SAFETY: gives a number.
    (unsafe { sabfs_host_time() } * 1e3) as u64
}

fn store() -> WasmStore {
    // SAFETY: gives a number.
    WasmStore::outside(unsafe { sabfs_host_store_size() } as u64)
}

fn sign() -> Sign {
    let mut sign = [0; 2];
    // SAFETY: the pointer is that of two words.
    unsafe { sabfs_host_sign(sign.as_mut_ptr()) };
    sign
}

fn take(mut volume: Volume<WasmStore>) {
    volume.set_stopwatch(now_us);
    with(|page| page.files = Some(OpenFiles::new(Arc::new(volume), HANDLES_MAX)));
}

/// Has the reason of a failure that ends the module told. Called once, before anything else.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_start() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        // SAFETY: pointer and length are those of a string.
        unsafe { sabfs_host_message(text.as_ptr(), text.len()) }
    }));
}

/// The store holds a mounted volume: attach to it. 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_attach() -> i32 {
    status(Volume::join(store(), sign(), now_ns).map(take))
}

/// Makes a volume that is not persisted in the store, of which it uses no more than the first `limit_bytes`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_format(limit_bytes: f64) -> i32 {
    let mut random = [0; 32];
    // SAFETY: pointer and length are those of an array.
    unsafe { sabfs_host_random(random.as_mut_ptr(), random.len()) };
    let store = WasmStore::outside(store().size_bytes().min(limit_bytes as u64));
    let format = || {
        let [id, ..] = random.as_chunks::<4>().0 else { return Err(Errno::EIO) };
        prepare(&store, Durability::Memory, u32::from_le_bytes(*id))?;
        let client = clients::claim(&store, sign())?;
        let volume = Volume::format(store, client, now_ns, random);
        take(volume.inspect_err(|_| clients::release(&store, client))?);
        Ok(())
    };
    status(format())
}

/// Whether there is a volume that this instance has attached to.
#[unsafe(no_mangle)]
extern "C" fn sabfs_volume_current() -> u32 {
    with(|page| u32::from(page.files.is_some()))
}

/// Lets go of the volume; handles and watchers are gone then. `EAGAIN` when it has to be tried again.
#[unsafe(no_mangle)]
extern "C" fn sabfs_detach() -> i32 {
    let Ok(volume) = with(|page| page.volume().cloned()) else { return 0 };
    // Nothing else is begun meanwhile.
    with(|page| page.watched.0.clear());
    let left = volume.detach();
    if left != Err(Errno::EAGAIN) {
        // The store is another's by now: nothing of the tables is to be given back.
        with(|page| std::mem::forget((page.files.take(), std::mem::take(&mut page.requests.0))));
    }
    // Whoever fails at this is dead to the others, who see to what it leaves.
    status(left)
}

/// This client's name; 0 while it is attached to nothing.
#[unsafe(no_mangle)]
extern "C" fn sabfs_client() -> f64 {
    with_volume(|volume| Ok(numbers::client_number(volume.client()))).unwrap_or(0.0)
}

/// A client has died, of which `sabfs_client` gave the name; 0 for the keeper. What it owned is recovered. 0, or a negative
/// errno; `EAGAIN` when it has to be tried again.
#[unsafe(no_mangle)]
extern "C" fn sabfs_bury(name: f64) -> i32 {
    status(with_volume(|volume| {
        if name <= 0.0 { volume.bury_keeper() } else { volume.bury(numbers::client_of(name)) }
    }))
}

/// Asks for a commit of everything changed so far and does not wait; gives the count of changes for `sabfs_sync_state`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_sync_begin() -> u32 {
    with_volume(|volume| {
        let (image, change) = (volume.image(), volume.image().store().load(rt::CHANGE));
        if image.durability() != Durability::Memory {
            persist::request_flush(image, change);
        }
        Ok(change)
    })
    .unwrap_or(0)
}

/// 0 when everything up to `change` is durable, 1 when not yet, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_sync_state(change: u32) -> i32 {
    count(with_volume(|volume| numbers::sync_state(volume, change)).map(|done| usize::from(!done)))
}

/// Fills in the metrics of the volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `METRICS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_metrics_numbers(out: *mut [f64; METRICS]) {
    let metrics = with_volume(|volume| Ok(numbers::metrics(volume)));
    // SAFETY: by the caller's promise.
    unsafe { out.write(metrics.unwrap_or([0.0; METRICS])) }
}

/// Fills in the statistics of the volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `STATS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_stats(out: *mut [f64; STATS]) {
    // SAFETY: by the caller's promise.
    unsafe { out.write(with_volume(numbers::stats).unwrap_or_default()) }
}

/// Address of the buffer for what calls are given, which has room for `count` bytes now.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_input(count: usize) -> *mut u8 {
    with(|page| {
        if page.input.len() < count {
            page.input.resize(count, 0);
        }
        page.input.as_mut_ptr()
    })
}

/// Address of what the last call gave that has no fixed length.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_output() -> *const u8 {
    with(|page| page.output.as_ptr())
}

/// Address of the numbers that calls give.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_numbers() -> *const f64 {
    with(|page| page.numbers.as_ptr())
}

/// Name and meaning of an error, with a NUL in between, as output; gives its length.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_error(number: i32) -> i32 {
    let errno = Errno::from_linux(number).unwrap_or(Errno::EIO);
    with(|page| {
        page.output.clear();
        page.output.extend(errno.name().bytes().chain([0]).chain(errno.text().bytes()));
        page.output.len() as i32
    })
}

/// How long the calls that follow may wait: milliseconds, or -1 for as long as it takes. `again`: number of the refusal that
/// the first of them got before, or -1.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_patience(limit_ms: i32, again: i32) {
    with(|page| {
        let Ok(volume) = page.volume().cloned() else { return };
        volume.be_brief(u32::try_from(limit_ms).ok(), page.refusals.get(again).map(|refusal| &*refusal));
    });
}

/// Takes the gate for several calls in a row, which others have to wait for. 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_keep_gate() -> i32 {
    status(with_volume(Volume::keep_gate))
}

/// Opens the gate that was kept.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_give_gate() {
    let _: Result<(), Errno> = with_volume(|volume| {
        volume.give_gate();
        Ok(())
    });
}

/// Why the last call gave `EAGAIN`: the number of a refusal, in place of the one that the same call got before (-1: none). It has
/// to be dropped when the call is over. -1 when there is no volume.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_refusal(before: i32) -> i32 {
    with(|page| {
        page.refusals.take(before);
        page.volume().map(|volume| volume.refusal()).map_or(-1, |refusal| page.refusals.put(refusal))
    })
}

/// Nobody waits for what this refusal says any more.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_refusal_drop(number: i32) {
    with(|page| {
        if let Some(refusal) = page.refusals.take(number)
            && let Ok(volume) = page.volume()
        {
            volume.done_with(refusal);
        }
    });
}

/// Whether a refused call that only asks for a commit is done when what it waits for is there.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_refusal_is_keepers(number: i32) -> u32 {
    with(|page| u32::from(page.refusals.get(number).is_some_and(|refusal| refusal.is_keepers())))
}

/// 0 when what a refused call has to wait for is there. 1 when not yet: the first two numbers are the offset of a word of
/// the store on which to sleep and its value. Or a negative errno. `passed_ms`: since the last time.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_refusal_poll(number: i32, passed_ms: f64) -> i32 {
    with(|page| {
        let volume = match page.volume() {
            Ok(volume) => volume.clone(),
            Err(errno) => return -errno.linux(),
        };
        let Some(refusal) = page.refusals.get(number) else { return -Errno::EINVAL.linux() };
        let sleep = refusal.poll(&volume, passed_ms as u32);
        page.sleep(sleep)
    })
}

impl Page {
    fn sleep(&mut self, sleep: Result<Option<Sleep>, Errno>) -> i32 {
        match sleep {
            Ok(None) => 0,
            Ok(Some(Sleep { word, value })) => {
                self.numbers[..2].copy_from_slice(&[word as f64, f64::from(value)]);
                1
            }
            Err(errno) => -errno.linux(),
        }
    }
}

/// Gives back what could not be given back before. 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_settle_late() -> i32 {
    status(with_volume(Volume::settle_late))
}
