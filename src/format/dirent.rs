//! Directory records: a name and the inode it stands for.
//!
//! A leaf is the block header and a chain of records from byte 32 to the end of the block.
//! ```text
//!  0        8       12       14        15     16
//!  +--------+-------+--------+---------+------+---------------+
//!  | hash   | inode | length | name_len| kind | name ... pad  |
//!  +--------+-------+--------+---------+------+---------------+
//! ```
//! `length` is the whole record's, a multiple of 8; the last record reaches the end of the block. A
//! record with inode 0 is unused space. `hash` is SipHash-1-3 of the name with the volume's key,
//! shifted right by one and at least 3: it is the directory cookie, which must be positive as an
//! `off_t` and leave 0, 1 and 2 for the start, "." and "..".
//! Within a leaf the records are in no order; between leaves they are ordered by hash.

use super::{BLOCK_SIZE, Corrupt, FileKind, HEADER_SIZE_BYTES};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Longest name in bytes.
pub const NAME_MAX: usize = 255;

const FIXED: usize = 16;
/// A cookie is the hash plus 1 and has to be positive as an `off_t`.
const COOKIE_MAX: u64 = i64::MAX as u64;

/// Bytes that the record of a name takes.
pub fn record_len(name_len: usize) -> usize {
    (FIXED + name_len).next_multiple_of(8)
}

/// Hash and cookie of a name.
pub fn hash_name(key: &[u8; 16], name: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(name);
    (hasher.finish() >> 1).clamp(3, COOKIE_MAX - 1)
}

/// Whether `name` can stand in a directory: 1 to 255 bytes, no slash, no NUL, not "." or "..".
pub fn name_allowed(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// A checked record, its name borrowed from the copied-out leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// Offset of the record in the block.
    pub at: usize,
    /// Length of the record.
    pub len: usize,
    /// The name's hash; meaningless when unused.
    pub hash: u64,
    /// Inode, 0 for an unused record.
    pub inode: u32,
    /// Kind of the inode; meaningless when unused.
    pub kind: FileKind,
    /// The name; empty when unused.
    pub name: &'a [u8],
}

impl Dirent<'_> {
    /// Accepts only a name that can stand in a directory. Comparing with a name that is known to be
    /// allowed needs no such check, which is why reading the records does not make it.
    pub fn check(&self, directory: u32, block: u32) -> Result<(), Corrupt> {
        if name_allowed(self.name) {
            return Ok(());
        }
        let at = u16::try_from(self.at).unwrap_or(u16::MAX);
        Err(Corrupt::Dirent { inode: directory, block, at })
    }
}

/// The record of a name in a leaf that was copied out. Looks at nothing else of the other records than
/// their lengths and hashes.
pub fn find<'a>(
    leaf: &'a [u8],
    hash: u64,
    name: &[u8],
    directory: u32,
    block: u32,
) -> Result<Option<Dirent<'a>>, Corrupt> {
    let wanted = hash.to_le_bytes();
    let mut at = HEADER_SIZE_BYTES;
    while let Some(fixed) = leaf.get(at..at + FIXED) {
        let len = usize::from(u16::from_le_bytes([fixed[12], fixed[13]]));
        if fixed[..8] == wanted
            && let Some(record) = parse(leaf, at)
            && record.inode != 0
            && record.name == name
        {
            return Ok(Some(record));
        }
        if len < FIXED || !len.is_multiple_of(8) {
            break;
        }
        at += len;
    }
    if at == BLOCK_SIZE {
        return Ok(None);
    }
    let at = u16::try_from(at).unwrap_or(u16::MAX);
    Err(Corrupt::Dirent { inode: directory, block, at })
}

/// What one pass over a leaf tells of a name: where it is, or where it could be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    /// Its record.
    pub found: Option<Found>,
    /// When there is none: the first record with room for the name behind its own.
    pub gap: Option<Gap>,
    /// When there is none: all room, in bytes.
    pub room: usize,
}

/// The record of a name.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Offset in the block.
    pub at: usize,
    /// Length of the record.
    pub len: usize,
    /// The inode.
    pub inode: u32,
    /// Its kind.
    pub kind: FileKind,
    /// Offset and length of the record before it.
    pub previous: Option<(usize, usize)>,
}

/// Room behind a name, or in an unused record.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Offset of the record.
    pub at: usize,
    /// What the record's own name takes of it.
    pub used: usize,
    /// Bytes behind that.
    pub len: usize,
}

/// Looks for a name, and for room for it, in a leaf that was copied out. Of other records only lengths are looked at.
pub fn survey(
    leaf: &[u8],
    hash: u64,
    name: &[u8],
    directory: u32,
    block: u32,
) -> Result<Survey, Corrupt> {
    let (wanted, need) = (hash.to_le_bytes(), record_len(name.len()));
    let malformed = |at: usize| {
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        Corrupt::Dirent { inode: directory, block, at }
    };
    let (mut survey, mut previous) = (Survey::default(), None);
    let mut at = HEADER_SIZE_BYTES;
    while at < BLOCK_SIZE {
        let fixed = leaf.get(at..at + FIXED).ok_or_else(|| malformed(at))?;
        let unused = fixed[8..12] == [0; 4];
        let len = usize::from(u16::from_le_bytes([fixed[12], fixed[13]]));
        let used = if unused { 0 } else { record_len(usize::from(fixed[14])) };
        if len < FIXED || !len.is_multiple_of(8) || at + len > BLOCK_SIZE || used > len {
            return Err(malformed(at));
        }
        if fixed[..8] == wanted && !unused {
            let record = parse(leaf, at).ok_or_else(|| malformed(at))?;
            if record.name == name {
                let Dirent { inode, kind, .. } = record;
                survey.found = Some(Found { at, len, inode, kind, previous });
                break;
            }
        }
        let slack = len - used;
        if survey.gap.is_none() && slack >= need {
            survey.gap = Some(Gap { at, used, len: slack });
        }
        survey.room += slack;
        previous = Some((at, len));
        at += len;
    }
    Ok(survey)
}

/// Walks the records of a leaf that was copied out; stops at the first malformed one.
pub struct Records<'a> {
    leaf: &'a [u8],
    at: usize,
    directory: u32,
    block: u32,
}

/// The records of `leaf`, which is `block` of `directory`.
pub fn records(leaf: &[u8], directory: u32, block: u32) -> Records<'_> {
    Records { leaf, at: HEADER_SIZE_BYTES, directory, block }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Dirent<'a>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= BLOCK_SIZE {
            return None;
        }
        let at = self.at;
        let record = parse(self.leaf, at);
        let Some(record) = record else {
            self.at = BLOCK_SIZE;
            let at = u16::try_from(at).unwrap_or(u16::MAX);
            return Some(Err(Corrupt::Dirent { inode: self.directory, block: self.block, at }));
        };
        self.at += record.len;
        Some(Ok(record))
    }
}

fn parse(leaf: &[u8], at: usize) -> Option<Dirent<'_>> {
    let fixed = leaf.get(at..at + FIXED)?;
    let hash = u64::from_le_bytes(fixed[0..8].try_into().ok()?);
    let inode = u32::from_le_bytes(fixed[8..12].try_into().ok()?);
    let len = usize::from(u16::from_le_bytes([fixed[12], fixed[13]]));
    let name_len = usize::from(fixed[14]);
    if len < FIXED || !len.is_multiple_of(8) || at + len > BLOCK_SIZE {
        return None;
    }
    if inode == 0 {
        return Some(Dirent { at, len, hash, inode, kind: FileKind::Regular, name: &[] });
    }
    if len < record_len(name_len) {
        return None;
    }
    let name = leaf.get(at + FIXED..at + FIXED + name_len)?;
    let kind = FileKind::from_dirent(fixed[15])?;
    Some(Dirent { at, len, hash, inode, kind, name })
}

/// Writes a record of `len` bytes at `at`.
pub fn put(leaf: &mut [u8], at: usize, len: usize, hash: u64, inode: u32, kind: FileKind, name: &[u8]) {
    let record = &mut leaf[at..at + len];
    record[0..8].copy_from_slice(&hash.to_le_bytes());
    record[8..12].copy_from_slice(&inode.to_le_bytes());
    record[12..14].copy_from_slice(&u16::try_from(len).unwrap_or(0).to_le_bytes());
    record[14] = u8::try_from(name.len()).unwrap_or(0);
    record[15] = kind.dirent();
    record[FIXED..FIXED + name.len()].copy_from_slice(name);
}

/// Changes the length of the record at `at`.
pub fn set_len(leaf: &mut [u8], at: usize, len: usize) {
    leaf[at + 12..at + 14].copy_from_slice(&u16::try_from(len).unwrap_or(0).to_le_bytes());
}

/// Makes the record at `at` name another inode, 0 to make it unused.
pub fn set_inode(leaf: &mut [u8], at: usize, inode: u32, kind: FileKind) {
    leaf[at + 8..at + 12].copy_from_slice(&inode.to_le_bytes());
    leaf[at + 15] = kind.dirent();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(name_allowed(b"a") && name_allowed(&[0xff; 255]) && name_allowed(b"..."));
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
            assert!(!name_allowed(bad));
        }
    }

    #[test]
    fn malformed_chains_end() {
        let mut leaf = vec![0; BLOCK_SIZE];
        let all: Vec<_> = records(&leaf, 2, 9).collect();
        assert_eq!(all, [Err(Corrupt::Dirent { inode: 2, block: 9, at: 32 })]);
        put(&mut leaf, 32, 24, 5, 7, FileKind::Regular, b"name");
        put(&mut leaf, 56, 4040, 5, 0, FileKind::Regular, b"");
        let all: Vec<_> = records(&leaf, 2, 9).collect::<Result<_, _>>().unwrap();
        assert_eq!((all[0].name, all[0].inode, all[1].inode), (&b"name"[..], 7, 0));
        set_len(&mut leaf, 56, 4048);
        assert!(records(&leaf, 2, 9).last().unwrap().is_err());
        leaf[32 + 14] = 9;
        assert!(records(&leaf, 2, 9).next().unwrap().is_err());
    }
}
