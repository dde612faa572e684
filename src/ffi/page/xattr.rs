//! Extended attributes for JavaScript. Files are named by path or handle as in `calls`; names and values are stretches of the input.

use super::{count, status, with};
use crate::errno::Errno;
use crate::vfs::XattrFlags;

/// An attribute's value as output; gives its length.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_getxattr(
    at: usize,
    len: usize,
    follow: u32,
    name_at: usize,
    name_len: usize,
) -> i32 {
    count(with(|page| {
        let (ino, name) = (page.target(at, len, follow != 0)?, page.input(name_at, name_len)?);
        page.output = page.volume()?.get_xattr(ino, name)?;
        Ok(page.output.len())
    }))
}

/// Names of all attributes as output, a NUL behind each; gives its length.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_listxattr(at: usize, len: usize, follow: u32) -> i32 {
    count(with(|page| {
        let names = page.volume()?.list_xattr(page.target(at, len, follow != 0)?)?;
        page.output.clear();
        for name in names {
            page.output.extend(name.iter().chain(&[0]));
        }
        Ok(page.output.len())
    }))
}

/// Gives an attribute a value. `flags` are those of `XattrFlags`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_setxattr(
    at: usize,
    len: usize,
    follow: u32,
    name_at: usize,
    name_len: usize,
    value_at: usize,
    value_len: usize,
    flags: u32,
) -> i32 {
    status(with(|page| {
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let (name, value) = (page.input(name_at, name_len)?, page.input(value_at, value_len)?);
        page.volume()?.set_xattr(page.target(at, len, follow != 0)?, name, value, flags)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_removexattr(
    at: usize,
    len: usize,
    follow: u32,
    name_at: usize,
    name_len: usize,
) -> i32 {
    status(with(|page| {
        let name = page.input(name_at, name_len)?;
        page.volume()?.remove_xattr(page.target(at, len, follow != 0)?, name)
    }))
}
