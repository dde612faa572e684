//! The functions that the C++ classes of the WasmFS backend call (c-shim/vtable.h).

use super::mount::{self, status};
use super::own;
use super::{locks, patience, space, watch, xattr};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::WasmStore;
use crate::vfs::{Attr, Ino, NewInode, RenameFlags, SetAttr, TimeChange, Volume};
use std::ffi::{c_char, c_void};

#[allow(missing_docs, non_camel_case_types, non_upper_case_globals, dead_code)]
#[allow(clippy::all, clippy::pedantic, unreachable_pub, unsafe_op_in_unsafe_fn)]
pub(super) mod header {
    include!(concat!(env!("OUT_DIR"), "/vtable.rs"));
}
use header::{sabfs_attr, sabfs_set_attr, sabfs_vtable};
pub(super) use header::{
    sabfs_change, sabfs_emit, sabfs_latency, sabfs_lock, sabfs_metrics, sabfs_options as Options,
    sabfs_space, sabfs_volume, sabfs_watcher,
};

pub(super) type Handle = *const sabfs_volume;

/// Runs an operation on the volume behind a handle.
///
/// # Safety
/// `handle` came from `sabfs_volume_current` and was not null.
pub(super) unsafe fn with<T>(
    handle: Handle,
    operation: impl FnOnce(&Volume<WasmStore>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: by the caller's promise.
    operation(unsafe { mount::of_handle(handle) }?)
}

/// As `with`, for an operation that waits for the store's locks and for its keeper.
///
/// # Safety
/// As `with`.
pub(super) unsafe fn run<T>(
    handle: Handle,
    operation: impl FnOnce(&Volume<WasmStore>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: by the caller's promise.
    unsafe { with(handle, |volume| operation(volume).map_err(|errno| patience::explain(volume, errno))) }
}

/// The bytes of a C++ string.
///
/// # Safety
/// `start` and `count` name memory that stays as it is during the call.
pub(super) unsafe fn bytes<'a>(start: *const c_char, count: usize) -> &'a [u8] {
    if count == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(start.cast(), count) }
}

/// # Safety
/// `out` may be written.
unsafe fn put_attr(out: *mut sabfs_attr, attr: &Attr) {
    let attr = sabfs_attr {
        rdev: attr.rdev,
        size_bytes: attr.size_bytes,
        blocks: attr.blocks,
        atime_ns: attr.atime_ns,
        mtime_ns: attr.mtime_ns,
        ctime_ns: attr.ctime_ns,
        btime_ns: attr.btime_ns,
        ino: attr.ino,
        generation: attr.generation,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
    };
    // SAFETY: by the caller's promise.
    unsafe { out.write(attr) }
}

/// # Safety
/// As `with`; `out` may be written.
unsafe fn attr_of(
    handle: Handle,
    out: *mut sabfs_attr,
    operation: impl FnOnce(&Volume<WasmStore>) -> Result<Attr, Errno>,
) -> i32 {
    // SAFETY: by the caller's promise.
    status(unsafe { run(handle, operation) }.map(|attr| unsafe { put_attr(out, &attr) }))
}

/// Hands one name to C++; false when it wants no more.
///
/// # Safety
/// `sink` is what `emit` expects.
pub(super) unsafe fn give(
    emit: sabfs_emit,
    sink: *mut c_void,
    name: &[u8],
    kind: FileKind,
    ino: Ino,
) -> bool {
    let Some(emit) = emit else { return false };
    // SAFETY: by the caller's promise; the name lives until the call is over.
    unsafe { emit(sink, name.as_ptr().cast(), name.len(), kind.mode_bits(), ino) }
}

// SAFETY of all functions below: C++ calls them with a handle of this program's, with strings and
// buffers of the given length, and with out-pointers to variables of its own.

unsafe extern "C" fn lookup(
    volume: Handle,
    dir: u32,
    name: *const c_char,
    len: usize,
    out: *mut sabfs_attr,
) -> i32 {
    unsafe { attr_of(volume, out, |v| v.lookup(dir, bytes(name, len))) }
}

unsafe extern "C" fn getattr(volume: Handle, ino: u32, out: *mut sabfs_attr) -> i32 {
    unsafe { attr_of(volume, out, |v| v.getattr(ino)) }
}

unsafe extern "C" fn setattr(
    volume: Handle,
    ino: u32,
    set: *const sabfs_set_attr,
    out: *mut sabfs_attr,
) -> i32 {
    let set = unsafe { &*set };
    let has = |bit: u32| set.which & bit != 0;
    let set = SetAttr {
        mode: has(header::SABFS_SET_MODE).then_some(set.mode),
        uid: has(header::SABFS_SET_UID).then_some(set.uid),
        gid: has(header::SABFS_SET_GID).then_some(set.gid),
        size_bytes: has(header::SABFS_SET_SIZE).then_some(set.size_bytes),
        atime: has(header::SABFS_SET_ATIME).then_some(TimeChange::At(set.atime_ns)),
        mtime: has(header::SABFS_SET_MTIME).then_some(TimeChange::At(set.mtime_ns)),
    };
    unsafe { attr_of(volume, out, |v| v.setattr(ino, &set)) }
}

unsafe extern "C" fn create(
    volume: Handle,
    dir: u32,
    name: *const c_char,
    len: usize,
    mode: u32,
    rdev: u64,
    out: *mut sabfs_attr,
) -> i32 {
    let Some(kind) = FileKind::from_mode(mode) else { return -Errno::EINVAL.wasi() };
    let new = NewInode { kind, permissions: mode & 0o7777, uid: 0, gid: 0, rdev };
    unsafe { attr_of(volume, out, |v| v.create(dir, bytes(name, len), &new)) }
}

unsafe extern "C" fn create_unnamed(volume: Handle, dir: u32, mode: u32, out: *mut sabfs_attr) -> i32 {
    let new = NewInode { kind: FileKind::Regular, permissions: mode & 0o7777, uid: 0, gid: 0, rdev: 0 };
    unsafe { attr_of(volume, out, |v| v.create_unnamed(dir, &new)) }
}

unsafe extern "C" fn symlink(
    volume: Handle,
    dir: u32,
    name: *const c_char,
    len: usize,
    target: *const c_char,
    target_len: usize,
    out: *mut sabfs_attr,
) -> i32 {
    unsafe {
        attr_of(volume, out, |v| v.symlink(dir, bytes(name, len), bytes(target, target_len), 0, 0))
    }
}

unsafe extern "C" fn readlink(volume: Handle, ino: u32, sink: *mut c_void, emit: sabfs_emit) -> i32 {
    status(unsafe { run(volume, |v| v.readlink(ino)) }.map(|target| {
        unsafe { give(emit, sink, &target, FileKind::Symlink, ino) };
    }))
}

unsafe extern "C" fn link(volume: Handle, ino: u32, dir: u32, name: *const c_char, len: usize) -> i32 {
    status(unsafe { run(volume, |v| v.link(ino, dir, bytes(name, len)).map(drop)) })
}

unsafe extern "C" fn unlink(volume: Handle, dir: u32, name: *const c_char, len: usize) -> i32 {
    status(unsafe { run(volume, |v| v.unlink(dir, bytes(name, len))) })
}

unsafe extern "C" fn rmdir(volume: Handle, dir: u32, name: *const c_char, len: usize) -> i32 {
    status(unsafe { run(volume, |v| v.rmdir(dir, bytes(name, len))) })
}

unsafe extern "C" fn rename(
    volume: Handle,
    from_dir: u32,
    from: *const c_char,
    from_len: usize,
    to_dir: u32,
    to: *const c_char,
    to_len: usize,
    flags: u32,
) -> i32 {
    let Some(flags) = RenameFlags::from_bits(flags) else { return -Errno::EINVAL.wasi() };
    let (from, to) = unsafe { (bytes(from, from_len), bytes(to, to_len)) };
    status(unsafe { run(volume, |v| v.rename(from_dir, from, to_dir, to, flags)) })
}

pub(super) fn count_or_error(result: Result<usize, Errno>) -> i64 {
    match result {
        Ok(count) => count as i64,
        Err(errno) => -i64::from(errno.wasi()),
    }
}

unsafe extern "C" fn read(volume: Handle, ino: u32, buffer: *mut u8, count: usize, offset: u64) -> i64 {
    if count == 0 {
        return 0;
    }
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, count) };
    count_or_error(unsafe { run(volume, |v| v.read(ino, offset, buffer)) })
}

unsafe extern "C" fn write(volume: Handle, ino: u32, from: *const u8, count: usize, offset: u64) -> i64 {
    let from = unsafe { bytes(from.cast(), count) };
    count_or_error(unsafe { run(volume, |v| v.write(ino, offset, from)) })
}

unsafe extern "C" fn append(
    volume: Handle,
    ino: u32,
    from: *const u8,
    count: usize,
    offset: *mut u64,
) -> i64 {
    let from = unsafe { bytes(from.cast(), count) };
    count_or_error(unsafe { run(volume, |v| v.append(ino, from)) }.map(|(at, done)| {
        unsafe { offset.write(at) };
        done
    }))
}

unsafe extern "C" fn read_dir(volume: Handle, dir: u32, sink: *mut c_void, emit: sabfs_emit) -> i32 {
    status(unsafe {
        run(volume, |v| v.list(dir, &mut |name, ino, kind| give(emit, sink, name, kind, ino)))
    })
}

unsafe extern "C" fn parent(volume: Handle, dir: u32, out: *mut u32) -> i32 {
    status(unsafe { run(volume, |v| v.parent(dir)) }.map(|ino| unsafe { out.write(ino) }))
}

unsafe extern "C" fn name_of(
    volume: Handle,
    dir: u32,
    child: u32,
    sink: *mut c_void,
    emit: sabfs_emit,
) -> i32 {
    status(unsafe { run(volume, |v| v.name_of(dir, child)) }.map(|name| {
        unsafe { give(emit, sink, &name, FileKind::Directory, child) };
    }))
}

unsafe extern "C" fn hold(volume: Handle, ino: u32, generation: u32) -> i32 {
    status(unsafe { run(volume, |v| v.hold_generation(ino, generation)) })
}

unsafe extern "C" fn forget(volume: Handle, ino: u32) {
    // A volume that was let go of has nothing to forget.
    let _: Result<(), Errno> = unsafe {
        with(volume, |v| {
            v.forget(ino);
            Ok(())
        })
    };
}

unsafe extern "C" fn fsync(volume: Handle, ino: u32) -> i32 {
    status(unsafe { run(volume, |v| own::fsync(v, ino)) })
}

unsafe extern "C" fn sync_durably(volume: Handle) -> i32 {
    status(unsafe { run(volume, own::sync_durably) })
}

static VTABLE: sabfs_vtable = sabfs_vtable {
    lookup: Some(lookup),
    getattr: Some(getattr),
    setattr: Some(setattr),
    create: Some(create),
    symlink: Some(symlink),
    readlink: Some(readlink),
    link: Some(link),
    unlink: Some(unlink),
    rmdir: Some(rmdir),
    rename: Some(rename),
    read: Some(read),
    write: Some(write),
    read_dir: Some(read_dir),
    parent: Some(parent),
    name_of: Some(name_of),
    hold: Some(hold),
    forget: Some(forget),
    fsync: Some(fsync),
    lock: Some(locks::lock),
    unlock: Some(locks::unlock),
    test_lock: Some(locks::test_lock),
    release_locks: Some(locks::release_locks),
    statfs: Some(space::statfs),
    allocate: Some(space::allocate),
    copy_range: Some(space::copy_range),
    seek: Some(space::seek),
    get_xattr: Some(xattr::get),
    list_xattr: Some(xattr::list),
    set_xattr: Some(xattr::set),
    remove_xattr: Some(xattr::remove),
    sync_durably: Some(sync_durably),
    append: Some(append),
    create_unnamed: Some(create_unnamed),
    watch: Some(watch::watch),
    unwatch: Some(watch::unwatch),
    next_change: Some(watch::next),
};

#[unsafe(no_mangle)]
extern "C" fn sabfs_get_vtable() -> *const sabfs_vtable {
    &raw const VTABLE
}
