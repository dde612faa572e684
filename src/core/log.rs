//! The change log: a ring in the runtime region that tells watchers what has become of the tree.
//!
//! ```text
//!  0 u16 length of the record in bytes, a multiple of 8     16 u32 inode
//!  2 u8  what was done        3 u8 kind of inode            20 u32 cookie
//!  4 u32 sequence number                                    24 u16 length of the name
//!  8 u32 client                                             26 u16 0
//! 12 u32 directory, 0 when not known                        28 name, zeros to the end
//! ```
//!
//! Invariants
//! - Records are written under the gate, those of one transaction when it commits, and become visible
//!   together. While nobody watches there are none.
//! - `LOG_RESERVED` is raised before bytes are written and `LOG_HEAD` after: who copies a record and then
//!   finds it less than a ring behind `LOG_RESERVED` has a whole one.
//! - A change of data is not told again while the newest record tells of the same inode's data and no
//!   watcher has read it: `LOG_MODIFIED` has the inode and is cleared by whoever reads the record, before
//!   he looks at the data.

use super::dir::DirEntry;
use super::image::Image;
use crate::format::{FileKind, NAME_MAX};
use crate::store::Store;
use crate::store::rules::{Rule, holds};
use crate::store::runtime as rt;
use std::sync::atomic::Ordering;

const UNIT: usize = 8;
const HEAD_SIZE_BYTES: usize = 28;
/// Size of the longest record.
pub const RECORD_MAX: usize = (HEAD_SIZE_BYTES + NAME_MAX).next_multiple_of(UNIT);
/// Size of the ring in units of positions.
pub const RING_UNITS: u32 = (rt::LOG_SIZE_BYTES / UNIT as u64) as u32;

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum What {
    /// A name came to stand for an inode, new or not.
    Create = 1,
    /// A name is gone.
    Delete = 2,
    /// A file's data or size changed.
    Modify = 3,
    /// Attributes, extended ones included, or the number of names changed.
    Attrib = 4,
    /// A name moved away; the record of the same cookie says where to.
    RenameFrom = 5,
    /// A name came from elsewhere, in place of what had it.
    RenameTo = 6,
}

impl What {
    fn from_number(number: u8) -> Option<Self> {
        use What::*;
        [Create, Delete, Modify, Attrib, RenameFrom, RenameTo].into_iter().find(|&w| w as u8 == number)
    }
}

/// A name in a directory.
pub type Place<'a> = (u32, &'a [u8]);

/// What an operation says that it does.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// A new name.
    Create(Place<'a>, DirEntry),
    /// A name that is gone.
    Delete(Place<'a>, DirEntry),
    /// Changed data of an inode.
    Modify(u32),
    /// Changed attributes.
    Attrib(u32, FileKind),
    /// The number of an inode's names.
    Links(u32, FileKind),
    /// A name that moves, and what it replaces or, if `exchange`, changes places with.
    Rename {
        /// The old name.
        from: Place<'a>,
        /// The new name.
        to: Place<'a>,
        /// What moves.
        moved: DirEntry,
        /// What had the new name.
        replaced: Option<DirEntry>,
        /// Whether that gets the old name.
        exchange: bool,
    },
}

/// A record, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was done.
    pub what: What,
    /// What kind of inode it is.
    pub kind: FileKind,
    /// Counts the records (wrapping).
    pub sequence: u32,
    /// The client that did it.
    pub client: u32,
    /// The directory that the name is in; 0 when the inode changed, whatever its names.
    pub dir: u32,
    /// The inode.
    pub ino: u32,
    /// The same in all records of a rename, that of a name that it replaces (`Delete`) among them. Not 0 where an inode's number
    /// of names has changed (`Attrib`); 0 in others.
    pub cookie: u32,
    /// The name; empty when the inode changed.
    pub name: Vec<u8>,
}

/// Whether anybody watches.
#[inline]
pub fn watched<S: Store>(image: &Image<S>) -> bool {
    let store = image.store();
    store.load(rt::LOG_WATCHERS) | store.load(rt::LOG_WATCHERS + 4) != 0
}

/// Adds a note's records to those of a transaction. Cookies count from 1 in each transaction; sequence
/// numbers and client are entered when it commits.
pub(super) fn collect(records: &mut Vec<u8>, note: &Note<'_>) {
    let mut add = |what, place, entry, cookie| encode(records, what, place, entry, cookie);
    match *note {
        Note::Create(place, entry) => add(What::Create, place, entry, 0),
        Note::Delete(place, entry) => add(What::Delete, place, entry, 0),
        Note::Modify(inode) => {
            add(What::Modify, (0, b""), DirEntry { inode, kind: FileKind::Regular }, 0);
        }
        Note::Attrib(inode, kind) => add(What::Attrib, (0, b""), DirEntry { inode, kind }, 0),
        Note::Links(inode, kind) => add(What::Attrib, (0, b""), DirEntry { inode, kind }, 1),
        Note::Rename { from, to, moved, replaced: Some(replaced), exchange: true } => {
            // Both leave before one arrives, so that whoever follows the names never loses one.
            add(What::RenameFrom, from, moved, 1);
            add(What::RenameFrom, to, replaced, 2);
            add(What::RenameTo, to, moved, 1);
            add(What::RenameTo, from, replaced, 2);
        }
        Note::Rename { from, to, moved, replaced, .. } => {
            if let Some(replaced) = replaced {
                add(What::Delete, to, replaced, 1);
            }
            add(What::RenameFrom, from, moved, 1);
            add(What::RenameTo, to, moved, 1);
        }
    }
}

fn encode(records: &mut Vec<u8>, what: What, (dir, name): Place<'_>, entry: DirEntry, cookie: u32) {
    let start = records.len();
    let len = (HEAD_SIZE_BYTES + name.len()).next_multiple_of(UNIT);
    records.extend((len as u16).to_le_bytes());
    records.extend([what as u8, entry.kind.dirent()]);
    for word in [0, 0, dir, entry.inode, cookie, name.len() as u32] {
        records.extend(word.to_le_bytes());
    }
    records.extend(name);
    records.resize(start + len, 0);
}

/// The record at the start of `bytes`; none when there is no whole one.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let name_len = usize::try_from(word(24)?).ok().filter(|&len| len <= NAME_MAX)?;
    Some(Record {
        what: What::from_number(bytes[2])?,
        kind: FileKind::from_dirent(bytes[3])?,
        sequence: word(4)?,
        client: word(8)?,
        dir: word(12)?,
        ino: word(16)?,
        cookie: word(20)?,
        name: bytes.get(HEAD_SIZE_BYTES..HEAD_SIZE_BYTES + name_len)?.to_vec(),
    })
}

/// Length of the record that begins with `bytes`; none when no record is that long.
pub fn record_len(bytes: [u8; UNIT]) -> Option<usize> {
    let len = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    (HEAD_SIZE_BYTES..=RECORD_MAX).contains(&len).then_some(len).filter(|len| len.is_multiple_of(UNIT))
}

/// Offset in the ring of a position, and how many bytes follow it there.
fn in_ring(position: u32) -> (u64, usize) {
    let at = u64::from(position % RING_UNITS) * UNIT as u64;
    (rt::LOG + at, (rt::LOG_SIZE_BYTES - at) as usize)
}

/// Copies bytes out of the ring; less than a ring of them.
pub fn read_ring<S: Store>(store: &S, position: u32, bytes: &mut [u8]) {
    let (at, room) = in_ring(position);
    let (first, rest) = bytes.split_at_mut(room.min(bytes.len()));
    store.read(at, first);
    store.read(rt::LOG, rest);
}

fn write_ring<S: Store>(store: &S, position: u32, bytes: &[u8]) {
    let (at, room) = in_ring(position);
    let (first, rest) = bytes.split_at(room.min(bytes.len()));
    store.write(at, first);
    store.write(rt::LOG, rest);
}

/// Tells of data that were changed in place; under the gate, after the change.
#[inline]
pub fn modified<S: Store>(image: &Image<S>, ino: u32) {
    if watched(image) && image.store().load(rt::LOG_MODIFIED) != ino {
        let mut records = Vec::new();
        collect(&mut records, &Note::Modify(ino));
        append(image, &mut records);
    }
}

/// Enters a transaction's records; under the gate, after its changes.
pub(super) fn append<S: Store>(image: &Image<S>, records: &mut [u8]) {
    let store = image.store();
    let first = store.load(rt::LOG_SEQUENCE);
    let (mut at, mut sequence, mut newest) = (0, first, 0);
    while let Some(len) = records.get(at..).and_then(<[u8]>::first_chunk).copied().and_then(record_len) {
        let record = &mut records[at..at + len];
        record[4..8].copy_from_slice(&sequence.to_le_bytes());
        record[8..12].copy_from_slice(&image.client().to_le_bytes());
        if record[20..24] != [0; 4] {
            // There are no more renames in a transaction than records, so no other one comes to this.
            let cookie = first.wrapping_add(u32::from(record[20]));
            record[20..24].copy_from_slice(&cookie.to_le_bytes());
        }
        newest = at;
        (at, sequence) = (at + len, sequence.wrapping_add(1));
    }
    let newest = &records[newest..];
    let ino = u32::from_le_bytes([newest[16], newest[17], newest[18], newest[19]]);
    let modified = if newest[2] == What::Modify as u8 { ino } else { 0 };
    if sequence == first.wrapping_add(1) && modified != 0 && store.load(rt::LOG_MODIFIED) == modified {
        return;
    }
    let head = store.load(rt::LOG_HEAD);
    let end = head.wrapping_add((records.len() / UNIT) as u32);
    if holds(Rule::ReserveBeforeBytes) {
        store.store(rt::LOG_RESERVED, end);
    }
    if !holds(Rule::HeadBehindBytes) {
        store.store(rt::LOG_HEAD, end);
    }
    if holds(Rule::FenceBehindReserve) {
        // The plain writes that follow must not be seen before that.
        store.fence(Ordering::SeqCst);
    }
    for (index, part) in records.chunks(RECORD_MAX).enumerate() {
        write_ring(store, head.wrapping_add((index * RECORD_MAX / UNIT) as u32), part);
    }
    if !holds(Rule::ReserveBeforeBytes) {
        store.store(rt::LOG_RESERVED, end);
    }
    store.store(rt::LOG_SEQUENCE, sequence);
    // Before a watcher can read the record, so that he cannot clear it too early.
    store.store(rt::LOG_MODIFIED, modified);
    store.store(rt::LOG_HEAD, end);
    wake(store);
}

/// Wakes watchers, after the head has moved.
fn wake<S: Store>(store: &S) {
    if store.load(rt::LOG_SLEEPERS) != 0 {
        store.store(rt::LOG_SLEEPERS, 0);
        store.notify(rt::LOG_HEAD, u32::MAX);
    }
}

/// Has every watcher find that it was overtaken: a client died, and what it did may not have been told. Under the
/// gate.
pub(super) fn overtake<S: Store>(store: &S) {
    let head = store.load(rt::LOG_RESERVED).wrapping_add(RING_UNITS + 1);
    store.store(rt::LOG_RESERVED, head);
    store.store(rt::LOG_MODIFIED, 0);
    store.store(rt::LOG_HEAD, head);
    wake(store);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;

    #[test]
    fn records_come_back() {
        let moved = DirEntry { inode: 7, kind: FileKind::Directory };
        let long = [b'x'; NAME_MAX];
        let mut bytes = Vec::new();
        collect(&mut bytes, &Note::Create((2, &long), moved));
        assert_eq!(bytes.len(), RECORD_MAX);
        let (from, to) = ((3, &b"a"[..]), (4, &b"bcdef"[..]));
        collect(&mut bytes, &Note::Rename { from, to, moved, replaced: None, exchange: false });
        let replaced = Some(DirEntry { inode: 9, kind: FileKind::Regular });
        collect(&mut bytes, &Note::Rename { from, to, moved, replaced, exchange: false });
        let mut at = 0;
        let mut records = Vec::new();
        while let Some(head) = bytes[at..].first_chunk() {
            let len = record_len(*head).unwrap();
            records.push(decode(&bytes[at..at + len]).unwrap());
            at += len;
        }
        let seen: Vec<_> =
            records.iter().map(|r| (r.what, r.dir, r.ino, r.cookie, &r.name[..])).collect();
        assert_eq!(
            seen,
            [
                (What::Create, 2, 7, 0, &long[..]),
                (What::RenameFrom, 3, 7, 1, b"a"),
                (What::RenameTo, 4, 7, 1, b"bcdef"),
                (What::Delete, 4, 9, 1, b"bcdef"),
                (What::RenameFrom, 3, 7, 1, b"a"),
                (What::RenameTo, 4, 7, 1, b"bcdef"),
            ]
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut bytes = Vec::new();
        collect(&mut bytes, &Note::Modify(9));
        for at in 0..bytes.len() {
            for byte in [0, 1, 7, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                let len = record_len(*damaged.first_chunk().unwrap());
                assert!(len.is_none_or(|len| len <= RECORD_MAX));
                if let Some(record) = decode(&damaged) {
                    assert!(record.name.len() <= damaged.len());
                }
            }
            assert_eq!(decode(&bytes[..at.min(27)]), None);
        }
    }

    #[test]
    fn the_ring_is_closed() {
        let store = HeapStore::new(rt::LOG + rt::LOG_SIZE_BYTES + 64);
        let bytes: Vec<u8> = (1..=64).collect();
        for position in [0, 5, RING_UNITS - 8, RING_UNITS - 3, u32::MAX - 2] {
            write_ring(&store, position, &bytes);
            let mut back = [0; 64];
            read_ring(&store, position, &mut back);
            assert_eq!(back[..], bytes);
        }
        let mut behind = [0; 64];
        store.read(rt::LOG + rt::LOG_SIZE_BYTES, &mut behind);
        assert_eq!(behind, [0; 64]);
    }
}
