//! Access control lists, as far as a file system has to know them on Linux: the mode's bits and an access
//! list say the same, and what is made in a directory takes its default list over.
//!
//! Who may do what by a list is decided by the kernel, for front ends that let it ([`super::allowed`] asks
//! the mode alone). Bytes that are no list are kept like any attribute's, and mean nothing.

use super::Volume;
use super::types::Ino;
use crate::core::{self, Blocks, Note, Txn, XattrList};
use crate::errno::Errno;
use crate::format::{FileKind, Inode, Namespace, XattrKey, find_xattr};
use crate::store::Store;

const VERSION: u32 = 2;
const HEADER_SIZE_BYTES: usize = 4;
const ENTRY_SIZE_BYTES: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The order in which a list has its entries. What is named may be there any number of times.
const ORDER: [u16; 6] = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];

const S_ISGID: u32 = 0o2000;
const ACCESS: XattrKey<'static> = XattrKey { namespace: Namespace::AclAccess, name: b"" };
const DEFAULT: XattrKey<'static> = XattrKey { namespace: Namespace::AclDefault, name: b"" };

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// A list that is complete and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// None for a list without entries, which stands for no list. `EOPNOTSUPP` for another version,
    /// `EINVAL` for what is no list, as on Linux.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Errno> {
        let (version, rest) = bytes.split_first_chunk::<HEADER_SIZE_BYTES>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (chunks, remains) = rest.as_chunks::<ENTRY_SIZE_BYTES>();
        if !remains.is_empty() {
            return Err(Errno::EINVAL);
        }
        let entries: Vec<_> = chunks
            .iter()
            .map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| Entry {
                tag: u16::from_le_bytes([t0, t1]),
                permissions: u16::from_le_bytes([p0, p1]),
                id: u32::from_le_bytes([i0, i1, i2, i3]),
            })
            .collect();
        let acl = Self { entries };
        match acl.entries.is_empty() {
            true => Ok(None),
            false if acl.is_valid() => Ok(Some(acl)),
            false => Err(Errno::EINVAL),
        }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|entry| entry.tag == tag).count();
        let place = |entry: &Entry| ORDER.iter().position(|&tag| tag == entry.tag);
        let named = count(USER) + count(GROUP) > 0;
        self.entries.iter().all(|entry| place(entry).is_some() && entry.permissions <= 7)
            && self.entries.is_sorted_by_key(place)
            && [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1)
            && (count(MASK) == 1 || count(MASK) == 0 && !named)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// Whether the mode's nine bits say all of it.
    fn is_mode(&self) -> bool {
        self.entries.len() == 3
    }

    /// The entry whose permissions are the mode's for the group: all but the owner and others are under
    /// the mask, where there is one.
    fn group_class(&self) -> u16 {
        if self.entries.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJ }
    }

    /// Changes the entries that the mode's bits show, each given its bits of `mode`; gives the mode's bits
    /// then.
    fn change(&mut self, mode: u32, change: impl Fn(u16, u16) -> u16) -> u32 {
        let classes = [(USER_OBJ, 6), (self.group_class(), 3), (OTHER, 0)];
        let mut bits = 0;
        for entry in &mut self.entries {
            if let Some((_, shift)) = classes.iter().find(|(tag, _)| *tag == entry.tag) {
                entry.permissions = change(entry.permissions, (mode >> shift & 7) as u16);
                bits |= u32::from(entry.permissions) << shift;
            }
        }
        bits
    }

    fn mode(&self) -> u32 {
        self.clone().change(0, |own, _| own)
    }
}

/// The list of that kind, if it is one.
fn read<B: Blocks>(blocks: &B, inode: &Inode, key: &XattrKey<'_>) -> core::Result<Option<Acl>> {
    if inode.raw.xattr_len.get() == 0 && inode.raw.xattr_block.get() == 0 {
        return Ok(None);
    }
    let list = XattrList::read(blocks, inode)?;
    let found = find_xattr(list.as_bytes(), key, inode.number)?;
    Ok(found.and_then(|xattr| Acl::parse(xattr.value).ok().flatten()))
}

/// Puts lists in the place of those that the inode has. The caller puts the inode back.
fn put<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    lists: &[(&XattrKey<'_>, Option<&Acl>)],
) -> core::Result<()> {
    let old = XattrList::read(txn, inode)?;
    let mut new = XattrList::read(txn, inode)?;
    for (key, acl) in lists {
        let bytes = acl.map(Acl::to_bytes);
        new = new.replaced(key, bytes.as_deref(), inode.number)?.ok_or(Errno::E2BIG)?;
    }
    txn.put_xattrs(inode, &old, &new)
}

/// After a change of the mode: its bits are the list's, too. The caller puts the inode back.
pub(super) fn follow_mode<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode) -> core::Result<()> {
    let Some(mut acl) = read(txn, inode, &ACCESS)? else { return Ok(()) };
    let mode = inode.raw.mode.get();
    if acl.mode() == mode & 0o777 {
        return Ok(());
    }
    acl.change(mode, |_, bits| bits);
    // As long as it was: it fits.
    put(txn, inode, &[(&ACCESS, Some(&acl))])
}

/// What a new inode takes over from its directory's default list. The caller puts the inode back.
pub(super) fn inherit<S: Store>(
    txn: &mut Txn<'_, S>,
    parent: &Inode,
    inode: &mut Inode,
) -> core::Result<()> {
    if inode.kind == FileKind::Symlink {
        return Ok(());
    }
    let Some(default) = read(txn, parent, &DEFAULT)? else { return Ok(()) };
    let mut access = default.clone();
    let mode = inode.raw.mode.get();
    let bits = access.change(mode, |own, bits| own & bits);
    inode.raw.mode = (mode & !0o777 | bits).into();
    let is_directory = inode.kind == FileKind::Directory;
    put(
        txn,
        inode,
        &[
            (&ACCESS, (!access.is_mode()).then_some(&access)),
            (&DEFAULT, is_directory.then_some(&default)),
        ],
    )
}

impl<S: Store> Volume<S> {
    /// Whether what is made in a directory takes a list over, so that the maker's umask means nothing.
    pub fn has_default_acl(&self, dir: Ino) -> Result<bool, Errno> {
        self.stable(dir, |core| Ok(read(&core.image, &core.read_inode(dir)?, &DEFAULT)?.is_some()))
    }

    /// Sets an access control list; one without entries takes it away. An access list becomes the mode's
    /// bits, too, and is not kept when these say all of it; set-group-ID falls unless `keep_set_gid`.
    ///
    /// `EINVAL` for what is no list, otherwise as [`Volume::set_xattr`].
    pub fn set_acl(&self, ino: Ino, name: &[u8], value: &[u8], keep_set_gid: bool) -> Result<(), Errno> {
        let key = XattrKey::split(name).filter(|key| key.namespace.is_whole_name());
        let key = key.ok_or(Errno::EOPNOTSUPP)?;
        let acl = Acl::parse(value)?;
        let now = self.now();
        let set = self.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            match inode.kind {
                FileKind::Symlink => return Err(Errno::EOPNOTSUPP.into()),
                FileKind::Directory => {}
                _ if key == DEFAULT && acl.is_some() => return Err(Errno::EACCES.into()),
                _ => {}
            }
            let mut kept = acl.as_ref();
            if let Some(acl) = kept.filter(|_| key == ACCESS) {
                let mut mode = inode.raw.mode.get() & !0o777 | acl.mode();
                if !keep_set_gid {
                    mode &= !S_ISGID;
                }
                inode.raw.mode = mode.into();
                kept = kept.filter(|acl| !acl.is_mode());
            }
            put(txn, &mut inode, &[(&key, kept)])?;
            inode.raw.ctime = now.into();
            txn.put_inode(&inode)?;
            txn.note(Note::Attrib(ino, inode.kind));
            Ok(())
        });
        // That it does not fit is no want of space, which would let the volume grow.
        set.map_err(|errno| if errno == Errno::E2BIG { Errno::ENOSPC } else { errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |&(tag, permissions, id): &_| Entry { tag, permissions, id };
        Acl { entries: entries.iter().map(entry).collect() }.to_bytes()
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn lists_are_complete_and_in_order() {
        let mode = [(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 4, NOBODY), (OTHER, 0, NOBODY)];
        let named = [mode[0], (USER, 7, 5), mode[1], (GROUP, 5, 9), (MASK, 5, NOBODY), mode[2]];
        let short = Acl::parse(&list(&mode)).unwrap().unwrap();
        assert!(short.is_mode() && short.mode() == 0o640);
        let long = Acl::parse(&list(&named)).unwrap().unwrap();
        assert!(!long.is_mode() && long.mode() == 0o650);
        assert_eq!(Acl::parse(&long.to_bytes()), Ok(Some(long)));
        assert_eq!(Acl::parse(&list(&[])), Ok(None));
        assert_eq!(Acl::parse(b"v"), Err(Errno::EINVAL));
        assert_eq!(Acl::parse(&[1, 0, 0, 0]), Err(Errno::EOPNOTSUPP));
        assert_eq!(Acl::parse(&[2, 0, 0, 0, 1]), Err(Errno::EINVAL));
        let wrong: [&[_]; 6] = [
            &mode[..2],
            &[mode[1], mode[0], mode[2]],
            &[mode[0], mode[0], mode[1], mode[2]],
            &[mode[0], (USER, 7, 5), mode[1], mode[2]],
            &[(USER_OBJ, 8, NOBODY), mode[1], mode[2]],
            &[mode[0], mode[1], mode[2], (0x40, 0, NOBODY)],
        ];
        for entries in wrong {
            assert_eq!(Acl::parse(&list(entries)), Err(Errno::EINVAL), "{entries:?}");
        }
    }
}
