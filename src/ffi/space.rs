//! Space, holes and copies for the C++ side (c-shim/sabfs_space.cpp).

use super::mount::status;
use super::vtable::{Handle, count_or_error, run, sabfs_space};
use crate::errno::Errno;
use crate::store::Store;
use crate::store::runtime as rt;
use crate::vfs::AllocateMode;

// SAFETY of all functions below: C++ calls them with a handle of this program's and with out-pointers to variables of its own.

pub(super) unsafe extern "C" fn statfs(volume: Handle, out: *mut sabfs_space) -> i32 {
    let shown =
        unsafe { run(volume, |v| Ok((v.statfs()?, v.image().store().load(rt::READ_ONLY) != 0))) };
    status(shown.map(|(shown, read_only)| {
        let space = sabfs_space {
            blocks: shown.blocks,
            free_blocks: shown.free_blocks,
            inodes: shown.used_inodes + shown.free_inodes,
            free_inodes: shown.free_inodes,
            block_size_bytes: shown.block_size_bytes,
            name_max: shown.name_max,
            read_only,
        };
        unsafe { out.write(space) }
    }))
}

pub(super) unsafe extern "C" fn allocate(
    volume: Handle,
    ino: u32,
    mode: u32,
    offset: u64,
    len: u64,
) -> i32 {
    let Some(mode) = AllocateMode::from_bits(mode) else { return -Errno::EOPNOTSUPP.wasi() };
    status(unsafe { run(volume, |v| v.allocate(ino, mode, offset, len)) })
}

pub(super) unsafe extern "C" fn copy_range(
    volume: Handle,
    from: u32,
    from_offset: u64,
    to: u32,
    to_offset: u64,
    count: u64,
) -> i64 {
    let copied = unsafe { run(volume, |v| v.copy_range(from, from_offset, to, to_offset, count)) };
    count_or_error(copied.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
}

pub(super) unsafe extern "C" fn seek(volume: Handle, ino: u32, offset: u64, hole: bool) -> i64 {
    let found = unsafe {
        run(volume, |v| if hole { v.seek_hole(ino, offset) } else { v.seek_data(ino, offset) })
    };
    match found {
        Ok(offset) => offset.cast_signed(),
        Err(errno) => -i64::from(errno.wasi()),
    }
}
