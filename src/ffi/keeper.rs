//! The exports and imports of the keeper's module; emscripten/keeper.js is the other side.
//!
//! The worker that runs it has one keeper, opened once, whose turns it calls until it has stopped.

use super::device::JsDevice;
use super::open::{self, Host};
use crate::persist::{Keeper, Phase, Turn};
use crate::store::WasmStore;
use crate::store::runtime::Durability;
use std::cell::RefCell;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Milliseconds since 1970.
    fn sabfs_host_date() -> f64;
    /// Milliseconds since some moment; never goes back.
    fn sabfs_host_time() -> f64;
    fn sabfs_host_random(bytes: *mut u8, count: usize);
    /// How far opening has come: 0 recovery, 1 loading; blocks.
    fn sabfs_host_progress(phase: u32, done: u32, total: u32);
    /// A message about something that went wrong, in UTF-8.
    fn sabfs_host_message(text: *const u8, count: usize);
}

thread_local! {
    static KEEPER: RefCell<Option<Keeper<WasmStore, JsDevice>>> = const { RefCell::new(None) };
}

fn say(text: &str) {
    // SAFETY: pointer and length are those of a string.
    unsafe { sabfs_host_message(text.as_ptr(), text.len()) }
}

const HOST: Host = Host {
    // SAFETY of all four: numbers, and the pointer and length of an array.
    now_ns: || (unsafe { sabfs_host_date() } * 1e6) as i64,
    now_ms: || unsafe { sabfs_host_time() } as u64,
    now_us: || (unsafe { sabfs_host_time() } * 1e3) as u64,
    random: || {
        let mut bytes = [0; 32];
        unsafe { sabfs_host_random(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    },
};

/// Opens the volume whose files JavaScript has opened, into the store. 0, or a negative errno number
/// (Linux) after a message that says why.
#[unsafe(no_mangle)]
extern "C" fn sabfs_keeper_open(store_size_bytes: f64, durability: u32, read_only: u32) -> i32 {
    std::panic::set_hook(Box::new(|panic| say(&panic.to_string())));
    let store = WasmStore::outside(store_size_bytes as u64);
    let durability = Durability::from_word(durability).unwrap_or(Durability::Strict);
    let mut progress = |step: crate::persist::Progress| {
        let phase = u32::from(step.phase == Phase::Load);
        // SAFETY: numbers.
        unsafe { sabfs_host_progress(phase, step.done_blocks, step.total_blocks) }
    };
    match open::open(store, durability, read_only != 0, &HOST, &mut progress) {
        Ok((keeper, volume)) => {
            // A keeper is no client: the slot is free for programs.
            if let Err(errno) = volume.detach() {
                say(&errno.to_string());
                return -errno.linux();
            }
            KEEPER.set(Some(keeper));
            0
        }
        Err(failure) => {
            say(&failure.to_string());
            -failure.errno().linux()
        }
    }
}

/// Goes on with the volume in the store, whose keeper has paused or died. Result as above.
#[unsafe(no_mangle)]
extern "C" fn sabfs_keeper_resume(store_size_bytes: f64, read_only: u32) -> i32 {
    std::panic::set_hook(Box::new(|panic| say(&panic.to_string())));
    let store = WasmStore::outside(store_size_bytes as u64);
    match open::resume(store, read_only != 0, &HOST) {
        Ok(keeper) => {
            KEEPER.set(Some(keeper));
            0
        }
        Err(failure) => {
            say(&failure.to_string());
            -failure.errno().linux()
        }
    }
}

/// Serves what there is to serve, and waits for work at most `timeout_ms`. 0 to be called again, 1 when
/// the keeper has stopped. A message is said when a commit fails, once until one succeeds.
#[unsafe(no_mangle)]
extern "C" fn sabfs_keeper_turn(timeout_ms: u32) -> u32 {
    KEEPER.with_borrow_mut(|place| {
        let Some(keeper) = place else { return 1 };
        let failed_before = keeper.last_error().is_some();
        let turn = keeper.turn(timeout_ms);
        if let Some(error) = keeper.last_error().filter(|_| !failed_before) {
            say(&error.to_string());
        }
        if turn == Turn::Stopped {
            *place = None;
        }
        u32::from(turn == Turn::Stopped)
    })
}
