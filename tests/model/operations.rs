//! Operations as random numbers make them: small numbers, which the world turns into inodes, names and
//! bytes that exist at that moment.

use sabfs::format::FileKind;
use sabfs::vfs::{AllocateMode, RenameFlags};

/// Which inode; see `World::any` and `World::directory`.
pub type Pick = u8;

#[derive(Clone, Debug)]
pub enum Operation {
    Create {
        dir: Pick,
        name: Name,
        kind: u8,
    },
    Symlink {
        dir: Pick,
        name: Name,
        len: u16,
    },
    CreateUnnamed {
        dir: Pick,
    },
    Link {
        ino: Pick,
        dir: Pick,
        name: Name,
    },
    Unlink {
        dir: Pick,
        name: Name,
    },
    Rmdir {
        dir: Pick,
        name: Name,
    },
    Rename {
        from: (Pick, Name),
        to: (Pick, Name),
        flags: u8,
    },
    Write {
        ino: Pick,
        offset: u64,
        len: u32,
        seed: u8,
    },
    Append {
        ino: Pick,
        len: u32,
        seed: u8,
    },
    Read {
        ino: Pick,
        offset: u64,
        len: u32,
    },
    Resize {
        ino: Pick,
        size: u64,
    },
    Allocate {
        ino: Pick,
        mode: u8,
        offset: u64,
        len: u64,
    },
    Seek {
        ino: Pick,
        offset: u64,
    },
    Copy {
        from: (Pick, u64),
        to: (Pick, u64),
        len: u64,
    },
    SetAttr {
        ino: Pick,
        which: u8,
        value: u32,
    },
    Lookup {
        dir: Pick,
        name: Name,
    },
    List {
        dir: Pick,
        stop_after: u8,
    },
    Readlink {
        ino: Pick,
    },
    Hold {
        ino: Pick,
    },
    Forget {
        ino: Pick,
    },
    /// Many names at once, so that leaves and nodes split.
    Fill {
        dir: Pick,
        first: u16,
        count: u16,
        long: bool,
    },
    /// Takes the names of `Fill` away, but for those whose number is a multiple of `keep`.
    Thin {
        dir: Pick,
        first: u16,
        count: u16,
        keep: u16,
        long: bool,
    },
    /// A byte into each of many blocks far apart, so that the extent tree grows.
    Stripe {
        ino: Pick,
        first: u32,
        count: u16,
        down: bool,
    },
    /// Fills the volume to the last few blocks with one file.
    Devour {
        ino: Pick,
        leave: u8,
    },
    SetXattr {
        ino: Pick,
        name: XattrName,
        len: u32,
        seed: u8,
        flags: u8,
    },
    RemoveXattr {
        ino: Pick,
        name: XattrName,
    },
    GetXattr {
        ino: Pick,
        name: XattrName,
    },
    Remount,
}

#[derive(Clone, Debug)]
pub enum XattrName {
    /// A few names in each namespace.
    Usual(u8),
    /// What is no name, or as long as one may be.
    Odd(u8),
}

impl XattrName {
    pub fn bytes(&self) -> Vec<u8> {
        let long = |len| [&b"user."[..], &vec![b'x'; len]].concat();
        match self {
            Self::Usual(number) => match number % 8 {
                0..4 => format!("user.{number}", number = number / 8 % 6).into_bytes(),
                4 => b"trusted.t".to_vec(),
                5 => b"security.capability".to_vec(),
                6 => b"system.posix_acl_access".to_vec(),
                _ => b"system.posix_acl_default".to_vec(),
            },
            Self::Odd(number) => match number % 9 {
                0 => b"".to_vec(),
                1 => b"user.".to_vec(),
                2 => b"user".to_vec(),
                3 => b"system.posix_acl_accesses".to_vec(),
                4 => b"other.x".to_vec(),
                5 => b"user.nul\0".to_vec(),
                6 => long(250),
                7 => long(251),
                _ => b"user.\xff\xfe".to_vec(),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub enum Name {
    /// A few short names, so that operations meet.
    Short(u8),
    /// Long ones, of which few fill a leaf.
    Long(u8),
    /// What is no name, or a special one.
    Odd(u8),
}

impl Name {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Short(number) => vec![b'a' + number % 12],
            Self::Long(number) => fill_name(u32::from(*number), true),
            Self::Odd(number) => match number % 9 {
                0 => b"".to_vec(),
                1 => b".".to_vec(),
                2 => b"..".to_vec(),
                3 => b"a/b".to_vec(),
                4 => b"nul\0".to_vec(),
                5 => vec![b'x'; 255],
                6 => vec![b'x'; 256],
                7 => vec![0xff, 0xfe],
                _ => b"...".to_vec(),
            },
        }
    }
}

/// Names of `Operation::Fill`.
pub fn fill_name(number: u32, long: bool) -> Vec<u8> {
    let mut name = format!("{number}-").into_bytes();
    if long {
        let len = 200 + number as usize % 56;
        name.resize(len, b'l');
    }
    name
}

pub fn kind(number: u8) -> FileKind {
    match number % 8 {
        0..=2 => FileKind::Regular,
        3 | 4 => FileKind::Directory,
        5 => FileKind::Fifo,
        6 => FileKind::Character,
        _ => FileKind::Socket,
    }
}

pub fn flags(number: u8) -> RenameFlags {
    match number % 12 {
        0..=3 => RenameFlags::empty(),
        4 | 5 => RenameFlags::EXCHANGE,
        6 => RenameFlags::NOREPLACE,
        7 => RenameFlags::EXCHANGE | RenameFlags::NOREPLACE,
        8 | 9 => RenameFlags::WHITEOUT,
        10 => RenameFlags::WHITEOUT | RenameFlags::NOREPLACE,
        _ => RenameFlags::WHITEOUT | RenameFlags::EXCHANGE,
    }
}

pub fn mode(number: u8) -> AllocateMode {
    const KEEP_SIZE: AllocateMode = AllocateMode::KEEP_SIZE;
    match number % 16 {
        0 | 1 => AllocateMode::empty(),
        2 | 3 => KEEP_SIZE,
        4..=6 => AllocateMode::PUNCH_HOLE | KEEP_SIZE,
        7 => AllocateMode::ZERO_RANGE,
        8 => AllocateMode::ZERO_RANGE | KEEP_SIZE,
        9..=11 => AllocateMode::COLLAPSE_RANGE,
        12..=14 => AllocateMode::INSERT_RANGE,
        // What does not go together, or does not go alone.
        _ => AllocateMode::from_bits_truncate(u32::from(number) >> 4 << 1 | 2),
    }
}

/// Bytes to write: never zero, so that a hole shows.
pub fn content(seed: u8, len: u32) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed | 1).collect()
}

/// Operations out of a fuzzer's bytes.
pub fn decode(bytes: &[u8]) -> Vec<Operation> {
    bytes.chunks_exact(8).map(|chunk| decode_one(chunk.try_into().expect("8 bytes"))).collect()
}

fn decode_one([which, a, b, c, d, e, f, g]: [u8; 8]) -> Operation {
    use Operation::*;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let name = |which: u8, number: u8| match which % 16 {
        0..=10 => Name::Short(number),
        11..=14 => Name::Long(number % 24),
        _ => Name::Odd(number),
    };
    let xattr = |which: u8, number: u8| match which % 16 {
        0..=13 => XattrName::Usual(number),
        _ => XattrName::Odd(number),
    };
    let place_len = |high: u8, low: u8| u32::from(word(high % 18, low));
    let place = |scale: u8, high: u8, low: u8| u64::from(word(high, low)) << (scale % 48);
    match which % 27 {
        0 => Create { dir: a, name: name(b, c), kind: d },
        1 => Symlink { dir: a, name: name(b, c), len: word(d, e) % 4200 },
        2 => Link { ino: a, dir: b, name: name(c, d) },
        3 => Unlink { dir: a, name: name(b, c) },
        4 => Rmdir { dir: a, name: name(b, c) },
        5 => Rename { from: (a, name(b, c)), to: (d, name(e, f)), flags: g },
        6 => Write { ino: a, offset: place(b, c, d), len: u32::from(word(e, f)), seed: g },
        7 => Append { ino: a, len: u32::from(word(b, c)), seed: d },
        8 => Read { ino: a, offset: place(b, c, d), len: u32::from(word(e, f)) },
        9 => Resize { ino: a, size: place(b, c, d) },
        10 => SetAttr { ino: a, which: b, value: u32::from_be_bytes([c, d, e, f]) },
        11 => Lookup { dir: a, name: name(b, c) },
        12 => List { dir: a, stop_after: b },
        13 => Readlink { ino: a },
        14 if b % 4 == 3 => CreateUnnamed { dir: a },
        14 => Hold { ino: a },
        15 => Forget { ino: a },
        16 => Fill { dir: a, first: word(0, b), count: word(0, c), long: d % 2 == 0 },
        17 => Thin {
            dir: a,
            first: word(0, b),
            count: word(c % 2, d),
            keep: word(0, e).max(2),
            long: f % 2 == 0,
        },
        18 => Stripe { ino: a, first: u32::from(word(b, c)), count: word(d % 2, e), down: f % 2 == 0 },
        19 => Devour { ino: a, leave: b % 6 },
        20 => SetXattr { ino: a, name: xattr(b, c), len: place_len(d, e), seed: f, flags: g },
        21 => RemoveXattr { ino: a, name: xattr(b, c) },
        22 => GetXattr { ino: a, name: xattr(b, c) },
        23 => {
            Allocate { ino: a, mode: b, offset: place(c, d, 0), len: u64::from(word(e, f)) << (g % 24) }
        }
        24 => Seek { ino: a, offset: place(b, c, d) },
        25 => Copy {
            from: (a, u64::from(word(b, c))),
            to: (d, u64::from(word(e, f))),
            len: u64::from(g) * 1_000,
        },
        _ => Remount,
    }
}
