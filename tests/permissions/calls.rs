//! The calls, as a program would make them.

use super::tree::{GROUPS, USERS, mode, path};
use proptest::prelude::*;
use sabfs::format::FileKind;
use sabfs::vfs::RenameFlags;

/// Who calls.
#[derive(Clone, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// What to do about a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Omit,
    Now,
    At(u32),
}

#[derive(Clone, Debug)]
pub enum Call {
    Access {
        path: String,
        mask: u32,
        follow: bool,
    },
    Make {
        path: String,
        kind: FileKind,
        mode: u32,
        rdev: u32,
    },
    Symlink {
        path: String,
        target: String,
    },
    /// Makes a file without a name, and gives it one if there is a second path.
    Unnamed {
        dir: String,
        mode: u32,
        name: Option<String>,
    },
    Link {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        flags: RenameFlags,
    },
    Chmod {
        path: String,
        mode: u32,
        follow: bool,
    },
    Chown {
        path: String,
        uid: Option<u32>,
        gid: Option<u32>,
        follow: bool,
    },
    Utimes {
        path: String,
        atime: Time,
        mtime: Time,
        follow: bool,
    },
    Truncate {
        path: String,
        size: u32,
    },
    /// Looks for an attribute that no inode has, or removes it.
    Xattr {
        path: String,
        write: bool,
        follow: bool,
    },
    /// Opens for writing and writes a byte.
    Write {
        path: String,
    },
}

impl Call {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Access { .. } => "access",
            Self::Make { kind: FileKind::Directory, .. } => "mkdir",
            Self::Make { .. } => "mknod",
            Self::Symlink { .. } => "symlink",
            Self::Unnamed { .. } => "unnamed",
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Rmdir { .. } => "rmdir",
            Self::Rename { .. } => "rename",
            Self::Chmod { .. } => "chmod",
            Self::Chown { .. } => "chown",
            Self::Utimes { .. } => "utimes",
            Self::Truncate { .. } => "truncate",
            Self::Xattr { .. } => "xattr",
            Self::Write { .. } => "write",
        }
    }
}

pub fn user() -> impl Strategy<Value = User> {
    let groups = prop::collection::vec(prop::sample::select(&GROUPS[1..]), 0..3);
    let uid = prop_oneof![1 => Just(0), 6 => prop::sample::select(&USERS[1..])];
    (uid, prop::sample::select(&GROUPS[1..]), groups).prop_map(|(uid, gid, groups)| User {
        uid,
        gid,
        groups,
    })
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![Just(Time::Omit), Just(Time::Now), any::<u32>().prop_map(Time::At)]
}

pub fn call() -> impl Strategy<Value = Call> {
    use Call::*;
    let kind = prop::sample::select(vec![
        (FileKind::Regular, 0),
        (FileKind::Regular, 0),
        (FileKind::Directory, 0),
        (FileKind::Directory, 0),
        (FileKind::Fifo, 0),
        (FileKind::Socket, 0),
        (FileKind::Character, 0),
        (FileKind::Character, 0x103),
        (FileKind::Block, 0x701),
    ]);
    let flags = prop::sample::select(vec![0, 0, 0, 0, 1, 2, 2, 4, 3, 5, 6]);
    let of = |ids: &'static [u32]| prop::option::of(prop::sample::select(ids));
    prop_oneof![
        3 => (path(), 0..8_u32, any::<bool>())
            .prop_map(|(path, mask, follow)| Access { path, mask, follow }),
        4 => (path(), kind, mode())
            .prop_map(|(path, (kind, rdev), mode)| Make { path, kind, mode, rdev }),
        1 => (path(), path()).prop_map(|(path, target)| Symlink { path, target }),
        1 => (path(), mode(), prop::option::of(path()))
            .prop_map(|(dir, mode, name)| Unnamed { dir, mode, name }),
        2 => (path(), path()).prop_map(|(from, to)| Link { from, to }),
        3 => path().prop_map(|path| Unlink { path }),
        3 => path().prop_map(|path| Rmdir { path }),
        8 => (path(), path(), flags)
            .prop_map(|(from, to, flags)| Rename { from, to, flags: RenameFlags::from_bits_retain(flags) }),
        4 => (path(), mode(), prop::bool::weighted(0.8))
            .prop_map(|(path, mode, follow)| Chmod { path, mode, follow }),
        4 => (path(), of(&USERS), of(&GROUPS), any::<bool>())
            .prop_filter("changes something", |(_, uid, gid, _)| uid.or(*gid).is_some())
            .prop_map(|(path, uid, gid, follow)| Chown { path, uid, gid, follow }),
        3 => (path(), time(), time(), any::<bool>())
            .prop_filter("changes something", |&(_, a, m, _)| (a, m) != (Time::Omit, Time::Omit))
            .prop_map(|(path, atime, mtime, follow)| Utimes { path, atime, mtime, follow }),
        2 => (path(), 0..3_u32).prop_map(|(path, size)| Truncate { path, size: size * 10 }),
        2 => (path(), any::<bool>(), any::<bool>())
            .prop_map(|(path, write, follow)| Xattr { path, write, follow }),
        2 => path().prop_map(|path| Write { path }),
    ]
}
