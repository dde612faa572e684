//! How the core scales and what it costs beside plain memory: the rows of `scripts/bench native`.
//!
//! Prints a table; `--json FILE` writes the rows as `scripts/bench` does for browsers. A row has ours
//! beside its peer, which is the same in a small directory, or the same bytes copied by memcpy, so
//! that the ratio does not depend on the machine. `--quick` takes a tenth of the names.

mod copies;
mod counting;
mod names;
mod report;
mod tree;

use counting::Counting;
use report::Report;
use sabfs::core::Image;
use sabfs::format::FileKind;
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{NewInode, Volume};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The root directory.
pub const ROOT: u32 = 2;
/// Untouched pages of the store cost nothing, so that each case may have all that a wasm32 program could have.
const STORE_SIZE_BYTES: u64 = 4 << 30;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

fn format<S: Store>(store: S) -> Volume<S> {
    // There is no keeper, so nothing may wait for one.
    Image::prepare(&store, 1, Durability::Memory).expect("a store of the right size");
    Volume::format(store, 1, now, [7; 32]).expect("an empty store")
}

/// An empty volume in a store of 4 GiB.
pub fn volume() -> Volume<Arc<HeapStore>> {
    format(Arc::new(HeapStore::new(size_bytes())))
}

/// The same in a store that counts its accesses.
pub fn counting_volume() -> Volume<Arc<Counting>> {
    format(Arc::new(Counting::new(size_bytes())))
}

fn size_bytes() -> u64 {
    rt::store_size_bytes(rt::capacity_of_store(STORE_SIZE_BYTES))
}

/// What a new file or directory is to be.
pub fn new(kind: FileKind) -> NewInode {
    NewInode { kind, permissions: 0o755, uid: 0, gid: 0, rdev: 0 }
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let json = arguments.iter().position(|argument| argument == "--json");
    let count = if quick { 100_000 } else { 1_000_000 };
    let mut report = Report::default();
    copies::measure(&mut report);
    names::measure(&mut report, count);
    tree::measure(&mut report, count);
    report.print();
    match json.map(|at| arguments.get(at + 1)) {
        None => {}
        Some(Some(path)) => std::fs::write(path, report.json()).expect("the results can be written"),
        Some(None) => panic!("--json needs a file"),
    }
    std::process::ExitCode::SUCCESS
}
