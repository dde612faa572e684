//! A small tree to begin with, and what is compared of a tree.

use proptest::prelude::*;
use sabfs::format::FileKind;
use std::collections::{BTreeMap, BTreeSet};

pub const USERS: [u32; 4] = [0, 1001, 1002, 1003];
pub const GROUPS: [u32; 4] = [0, 2001, 2002, 2003];

/// An inode of the tree at the beginning.
#[derive(Clone, Debug)]
pub struct Start {
    pub path: &'static str,
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of a symlink.
    pub target: String,
}

pub type Tree = Vec<Start>;

/// The directories come before what is in them; the first one is the root.
const SHAPE: [(&str, FileKind); 12] = [
    ("/", FileKind::Directory),
    ("/a", FileKind::Directory),
    ("/b", FileKind::Directory),
    ("/a/c", FileKind::Directory),
    ("/b/e", FileKind::Directory),
    ("/f", FileKind::Regular),
    ("/a/f", FileKind::Regular),
    ("/b/g", FileKind::Regular),
    ("/a/c/g", FileKind::Regular),
    ("/l", FileKind::Symlink),
    ("/a/m", FileKind::Symlink),
    ("/b/p", FileKind::Fifo),
];

/// Often generous, so that calls get to what is behind the first directory.
pub fn mode() -> impl Strategy<Value = u32> {
    let special = prop_oneof![4 => Just(0), 2 => Just(0o1000), 1 => Just(0o2000), 1 => 0..8_u32]
        .prop_map(|bits| if bits < 8 { bits << 9 } else { bits });
    let common = prop::sample::select(vec![0o777, 0o755, 0o775, 0o770, 0o700, 0o666, 0o644, 0o555]);
    (special, prop_oneof![4 => common, 1 => 0..0o1000_u32]).prop_map(|(high, low)| high | low)
}

pub fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        24 => prop::sample::select(vec!["a", "b", "c", "e", "f", "g", "l", "m", "p", "x", "y"])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec![".", ".."]).prop_map(str::to_owned),
        1 => (250..258_usize).prop_map(|len| "n".repeat(len)),
    ];
    let known = prop::sample::select(SHAPE.map(|(path, _)| path.trim_start_matches('/')).to_vec());
    let made = (any::<bool>(), prop::collection::vec(name.clone(), 0..4), 0..10_u8).prop_map(
        |(absolute, names, slashes)| {
            let start = if absolute { "/" } else { "" };
            format!("{start}{}{}", names.join("/"), if slashes == 0 { "/" } else { "" })
        },
    );
    let near = (known, name, 0..10_u8).prop_map(|(known, name, how)| match how {
        0..=4 => known.to_owned(),
        5 => format!("{known}/"),
        _ => format!("/{known}/{name}"),
    });
    prop_oneof![1 => made, 3 => near]
}

pub fn tree() -> impl Strategy<Value = Tree> {
    let inode = (mode(), prop::sample::select(&USERS), prop::sample::select(&GROUPS), path());
    // Most callers get past the root.
    let root = prop_oneof![3 => prop::sample::select(vec![0o777, 0o1777, 0o2775]), 1 => mode()];
    (prop::collection::vec(inode, SHAPE.len()), root).prop_map(|(mut inodes, root)| {
        inodes[0].0 = root;
        let both = SHAPE.into_iter().zip(inodes);
        both.map(|((path, kind), (mode, uid, gid, target))| {
            let target = if target.is_empty() { "x".to_owned() } else { target };
            Start { path, kind, mode, uid, gid, target }
        })
        .collect()
    })
}

/// What is compared of an inode, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    /// Of all but directories.
    pub size: u64,
}

pub type State = BTreeMap<String, Status>;

/// Which inode a path leads to, and its times: access, change of the data, change.
pub type Times = BTreeMap<String, (u64, u64, [i128; 3])>;

/// What has changed of inodes that were there before: "path: what".
pub fn changed(before: &Times, after: &Times) -> BTreeSet<String> {
    let old: BTreeMap<_, _> =
        before.values().map(|&(ino, generation, t)| ((ino, generation), t)).collect();
    let mut found = BTreeSet::new();
    for (path, &(ino, generation, times)) in after {
        let Some(old) = old.get(&(ino, generation)) else { continue };
        for (which, name) in ["atime", "mtime", "ctime"].into_iter().enumerate() {
            if times[which] != old[which] {
                found.insert(format!("{path}: {name}"));
            }
        }
    }
    found
}
