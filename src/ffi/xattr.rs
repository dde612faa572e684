//! Extended attributes for the C++ side (c-shim/sabfs_xattr.cpp).

use super::mount::status;
use super::vtable::{Handle, bytes, give, run, sabfs_emit};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::vfs::XattrFlags;
use std::ffi::{c_char, c_void};

// SAFETY of all functions below: C++ calls them with a handle of this program's, with strings of the given length, and with
// the sink that `emit` expects.

pub(super) unsafe extern "C" fn get(
    volume: Handle,
    ino: u32,
    name: *const c_char,
    len: usize,
    sink: *mut c_void,
    emit: sabfs_emit,
) -> i32 {
    status(unsafe { run(volume, |v| v.get_xattr(ino, bytes(name, len))) }.map(|value| {
        unsafe { give(emit, sink, &value, FileKind::Regular, ino) };
    }))
}

pub(super) unsafe extern "C" fn list(
    volume: Handle,
    ino: u32,
    sink: *mut c_void,
    emit: sabfs_emit,
) -> i32 {
    status(unsafe { run(volume, |v| v.list_xattr(ino)) }.map(|names| {
        for name in names {
            if !unsafe { give(emit, sink, &name, FileKind::Regular, ino) } {
                break;
            }
        }
    }))
}

pub(super) unsafe extern "C" fn set(
    volume: Handle,
    ino: u32,
    name: *const c_char,
    len: usize,
    value: *const c_char,
    value_len: usize,
    flags: u32,
) -> i32 {
    let Some(flags) = XattrFlags::from_bits(flags) else { return -Errno::EINVAL.wasi() };
    let (name, value) = unsafe { (bytes(name, len), bytes(value, value_len)) };
    status(unsafe { run(volume, |v| v.set_xattr(ino, name, value, flags)) })
}

pub(super) unsafe extern "C" fn remove(
    volume: Handle,
    ino: u32,
    name: *const c_char,
    len: usize,
) -> i32 {
    status(unsafe { run(volume, |v| v.remove_xattr(ino, bytes(name, len))) })
}
