//! Extended attributes: one list of records for each inode, in no order.
//!
//! ```text
//!  0            1           2            4        4 + name_len
//!  +-----------+-----------+------------+--------+-----------+
//!  | namespace | name_len  | value_len  | name   | value     |   the next record follows at once
//!  +-----------+-----------+------------+--------+-----------+
//! ```
//! The namespace stands for the name's beginning ("user."), which `name` leaves out. A list of up to 64
//! bytes lies in its inode, a longer one in a block of its own, behind the header. It is never in both.

use super::{BLOCK_SIZE, Corrupt, HEADER_SIZE_BYTES};

/// Bytes of a list that the inode holds.
pub const XATTRS_INLINE_MAX: usize = 64;
/// Bytes of the longest list: what a block holds.
pub const XATTRS_MAX: usize = BLOCK_SIZE - HEADER_SIZE_BYTES;
/// Bytes of the longest name, its namespace included, as on Linux.
pub const XATTR_NAME_MAX: usize = 255;

const FIXED: usize = 4;

/// What a name begins with, and who looks at the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Namespace {
    /// `user.`: what programs keep with a file.
    User = 1,
    /// `trusted.`: for privileged programs.
    Trusted = 2,
    /// `security.`: for security modules and capabilities.
    Security = 3,
    /// `system.posix_acl_access`, which is the whole name.
    AclAccess = 4,
    /// `system.posix_acl_default`, which is the whole name.
    AclDefault = 5,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Trusted, Self::Security, Self::AclAccess, Self::AclDefault];

    /// What its names begin with.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Self::User => b"user.",
            Self::Trusted => b"trusted.",
            Self::Security => b"security.",
            Self::AclAccess => b"system.posix_acl_access",
            Self::AclDefault => b"system.posix_acl_default",
        }
    }

    /// Whether the prefix is the whole of its only name.
    pub fn is_whole_name(self) -> bool {
        matches!(self, Self::AclAccess | Self::AclDefault)
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&namespace| namespace as u8 == number)
    }
}

/// What names an attribute: a namespace, and the rest of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct XattrKey<'a> {
    /// The namespace.
    pub namespace: Namespace,
    /// The name behind the namespace's prefix.
    pub name: &'a [u8],
}

impl<'a> XattrKey<'a> {
    /// Splits a whole name. None for one that is in no namespace; the rest may still not be allowed.
    pub fn split(whole: &'a [u8]) -> Option<Self> {
        Namespace::ALL.into_iter().find_map(|namespace| {
            let name = whole.strip_prefix(namespace.prefix())?;
            (name.is_empty() || !namespace.is_whole_name()).then_some(Self { namespace, name })
        })
    }

    /// Whether such an attribute can be in a list.
    pub fn is_allowed(&self) -> bool {
        self.name.is_empty() == self.namespace.is_whole_name()
            && self.namespace.prefix().len() + self.name.len() <= XATTR_NAME_MAX
            && !self.name.contains(&0)
    }

    /// The whole name: its namespace's prefix, then the rest.
    pub fn parts(&self) -> [&'a [u8]; 2] {
        [self.namespace.prefix(), self.name]
    }
}

/// A checked record, borrowed from a list that was copied out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// What names it.
    pub key: XattrKey<'a>,
    /// The value.
    pub value: &'a [u8],
}

/// Bytes that a record takes.
pub fn xattr_len(key: &XattrKey<'_>, value_len: usize) -> usize {
    FIXED + key.name.len() + value_len
}

/// Walks the records of a list; ends behind the first malformed one.
pub struct Xattrs<'a> {
    list: &'a [u8],
    at: usize,
    inode: u32,
}

/// The records of `list`, which belongs to `inode`.
pub fn xattrs(list: &[u8], inode: u32) -> Xattrs<'_> {
    Xattrs { list, at: 0, inode }
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = Result<Xattr<'a>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.list.len() {
            return None;
        }
        let at = self.at;
        match parse(&self.list[at..]) {
            Some(xattr) => {
                self.at += xattr_len(&xattr.key, xattr.value.len());
                Some(Ok(xattr))
            }
            None => {
                self.at = self.list.len();
                let at = u16::try_from(at).unwrap_or(u16::MAX);
                Some(Err(Corrupt::Xattr { inode: self.inode, at }))
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Xattr<'_>> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>()?;
    let [namespace, name_len, low, high] = *fixed;
    let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
    let value = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
    let key = XattrKey { namespace: Namespace::of_number(namespace)?, name };
    key.is_allowed().then_some(Xattr { key, value })
}

/// The attribute that `key` names.
pub fn find_xattr<'a>(
    list: &'a [u8],
    key: &XattrKey<'_>,
    inode: u32,
) -> Result<Option<Xattr<'a>>, Corrupt> {
    for xattr in xattrs(list, inode) {
        let xattr = xattr?;
        if xattr.key == *key {
            return Ok(Some(xattr));
        }
    }
    Ok(None)
}

/// Accepts a list only if it is whole and names nothing twice.
pub fn check_xattrs(list: &[u8], inode: u32) -> Result<(), Corrupt> {
    let mut walk = xattrs(list, inode);
    loop {
        let at = walk.at;
        let Some(xattr) = walk.next() else { return Ok(()) };
        let key = xattr?.key;
        if find_xattr(&list[..at], &key, inode)?.is_some() {
            return Err(Corrupt::Xattr { inode, at: u16::try_from(at).unwrap_or(u16::MAX) });
        }
    }
}

/// Makes the list in which `key`, which is allowed, has another value, or none; the others keep their order.
///
/// Writes it to `into` and gives its length, none when it is longer than `into`.
pub fn replace_xattr(
    list: &[u8],
    key: &XattrKey<'_>,
    value: Option<&[u8]>,
    inode: u32,
    into: &mut [u8],
) -> Result<Option<usize>, Corrupt> {
    let mut at = 0;
    for xattr in xattrs(list, inode) {
        let xattr = xattr?;
        if xattr.key == *key {
            continue;
        }
        match put(into, at, &xattr) {
            Some(end) => at = end,
            None => return Ok(None),
        }
    }
    Ok(match value {
        Some(value) => put(into, at, &Xattr { key: *key, value }),
        None => Some(at),
    })
}

/// Writes a record at `at`; gives its end, none when there is no room.
fn put(into: &mut [u8], at: usize, xattr: &Xattr<'_>) -> Option<usize> {
    let Xattr { key, value } = xattr;
    let end = at + xattr_len(key, value.len());
    let record = into.get_mut(at..end)?;
    let (fixed, rest) = record.split_first_chunk_mut::<FIXED>()?;
    let [low, high] = u16::try_from(value.len()).ok()?.to_le_bytes();
    *fixed = [key.namespace as u8, u8::try_from(key.name.len()).ok()?, low, high];
    let (name, rest) = rest.split_at_mut(key.name.len());
    name.copy_from_slice(key.name);
    rest.copy_from_slice(value);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(whole: &[u8]) -> XattrKey<'_> {
        XattrKey::split(whole).unwrap()
    }

    #[test]
    fn names() {
        let allowed = |whole: &[u8]| XattrKey::split(whole).map(|key| key.is_allowed());
        for name in
            [&b"user.a"[..], b"trusted.overlay.opaque", b"security.capability", b"user.a.b c\xff"]
        {
            assert_eq!(allowed(name), Some(true));
        }
        assert_eq!(key(b"system.posix_acl_access").namespace, Namespace::AclAccess);
        assert_eq!(key(b"system.posix_acl_default").parts(), [&b"system.posix_acl_default"[..], b""]);
        for name in [&b""[..], b"user", b"a", b"system.posix_acl_accesses", b"system.x", b"User.a"] {
            assert_eq!(allowed(name), None);
        }
        assert_eq!(allowed(b"user."), Some(false));
        assert_eq!(allowed(b"user.a\0"), Some(false));
        let mut long = b"trusted.".to_vec();
        long.resize(255, b'x');
        assert_eq!(allowed(&long), Some(true));
        long.push(b'x');
        assert_eq!(allowed(&long), Some(false));
    }

    #[test]
    fn a_list_byte_by_byte() {
        let mut list = [0xee; 32];
        let value = Some(&b"\0v"[..]);
        let len = replace_xattr(b"", &key(b"user.ab"), value, 7, &mut list).unwrap();
        assert_eq!((len, &list[..8]), (Some(8), &b"\x01\x02\x02\0ab\0v"[..]));
        let mut both = [0; 12];
        let acl = key(b"system.posix_acl_default");
        assert_eq!(replace_xattr(&list[..8], &acl, Some(b""), 7, &mut both), Ok(Some(12)));
        assert_eq!(both, *b"\x01\x02\x02\0ab\0v\x05\0\0\0");
        assert_eq!(replace_xattr(&both, &acl, Some(b"x"), 7, &mut [0; 12]), Ok(None));
        assert_eq!(replace_xattr(&both, &key(b"user.ab"), None, 7, &mut list), Ok(Some(4)));
        assert_eq!(list[..4], *b"\x05\0\0\0");
        // The greatest value that a list holds is shorter than a record can say.
        let mut most = [0; XATTRS_MAX];
        let value = vec![1; XATTRS_MAX - FIXED - 1];
        assert_eq!(
            replace_xattr(b"", &key(b"user.a"), Some(&value), 7, &mut most),
            Ok(Some(XATTRS_MAX))
        );
        let value = vec![1; 70_000];
        let mut large = vec![0; 80_000];
        assert_eq!(replace_xattr(b"", &key(b"user.a"), Some(&value), 7, &mut large), Ok(None));
    }

    #[test]
    fn malformed_lists() {
        let bad =
            |list: &[u8], at| assert_eq!(check_xattrs(list, 7), Err(Corrupt::Xattr { inode: 7, at }));
        bad(b"\x01", 0);
        bad(b"\0\x01\0\0a", 0);
        bad(b"\x06\x01\0\0a", 0);
        bad(b"\x01\0\0\0", 0);
        bad(b"\x04\x01\0\0a", 0);
        bad(b"\x01\x01\0\0\0", 0);
        bad(b"\x01\x01\x01\0a", 0);
        bad(b"\x01\x02\0\0a", 0);
        bad(b"\x01\x01\0\0a\x01", 5);
        bad(b"\x01\x01\0\0a\x02\x01\0\0a\x01\x01\0\0a", 10);
        assert_eq!(check_xattrs(b"\x01\x01\0\0a\x02\x01\0\0a\x01\x01\0\0b", 7), Ok(()));
        assert_eq!(check_xattrs(b"", 7), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(list in prop::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..300)) {
            let whole = check_xattrs(&list, 7);
            let used: usize = xattrs(&list, 7)
                .map_while(Result::ok)
                .map(|xattr| xattr_len(&xattr.key, xattr.value.len()))
                .sum();
            prop_assert!(whole.is_err() || used == list.len());
            _ = find_xattr(&list, &key(b"user.a"), 7);
            _ = replace_xattr(&list, &key(b"user.a"), Some(b"v"), 7, &mut [0; 310]);
        }

        #[test]
        fn lists_are_maps(
            steps in prop::collection::vec((0..12_u8, prop::option::of(0..40_usize)), 0..80),
        ) {
            let names = |number: u8| match number {
                0 => b"system.posix_acl_access".to_vec(),
                number if number % 2 == 0 => format!("user.{number}").into_bytes(),
                number => format!("trusted.{number}").into_bytes(),
            };
            let (mut list, mut expected) = (Vec::new(), BTreeMap::new());
            for (number, len) in steps {
                let name = names(number);
                let value = len.map(|len| vec![number; len]);
                let mut into = [0; 200];
                let answer = replace_xattr(&list, &key(&name), value.as_deref(), 7, &mut into).unwrap();
                let mut changed = expected.clone();
                match value {
                    Some(value) => _ = changed.insert(name, value),
                    None => _ = changed.remove(&name),
                }
                let len: usize = changed.iter().map(|(name, value)| xattr_len(&key(name), value.len())).sum();
                prop_assert_eq!(answer, (len <= 200).then_some(len));
                if let Some(len) = answer {
                    list = into[..len].to_vec();
                    expected = changed;
                }
                prop_assert_eq!(check_xattrs(&list, 7), Ok(()));
                let found: BTreeMap<_, _> = xattrs(&list, 7)
                    .map(|xattr| xattr.unwrap())
                    .map(|xattr| (xattr.key.parts().concat(), xattr.value.to_vec()))
                    .collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
