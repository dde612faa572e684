//! What a volume shows, to compare it before and after.

use crate::format::FileKind;
use crate::store::Store;
use crate::vfs::{Attr, Ino, Volume};
use std::collections::BTreeMap;

/// An inode as `stat`, `read` and so on show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: FileKind,
    pub mode: u32,
    pub nlink: u32,
    pub owner: (u32, u32),
    pub size_bytes: u64,
    pub times: [i64; 3],
    /// Bytes of a file, target of a link.
    pub content: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tree: every path and what it leads to.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// What a volume shows; not what is in `/scratch`.
pub fn tree<S: Store>(volume: &Volume<S>) -> Tree {
    let mut tree = Tree::new();
    add(volume, super::ROOT, b"", &mut tree);
    tree
}

fn add<S: Store>(volume: &Volume<S>, ino: Ino, path: &[u8], tree: &mut Tree) {
    let attr = volume.getattr(ino).unwrap();
    tree.insert(path.to_vec(), node(volume, &attr));
    if attr.kind != FileKind::Directory {
        return;
    }
    let mut names = Vec::new();
    volume
        .list(ino, &mut |name, child, _| {
            names.push((name.to_vec(), child));
            true
        })
        .unwrap();
    for (name, child) in names {
        if name != b"scratch" {
            add(volume, child, &[path, b"/", &name].concat(), tree);
        }
    }
}

fn node<S: Store>(volume: &Volume<S>, attr: &Attr) -> Node {
    let content = match attr.kind {
        FileKind::Regular => {
            let mut bytes = vec![0; attr.size_bytes as usize];
            assert_eq!(volume.read(attr.ino, 0, &mut bytes), Ok(bytes.len()));
            bytes
        }
        FileKind::Symlink => volume.readlink(attr.ino).unwrap(),
        _ => Vec::new(),
    };
    let names = volume.list_xattr(attr.ino).unwrap();
    let xattrs = names
        .into_iter()
        .map(|name| {
            let value = volume.get_xattr(attr.ino, &name).unwrap();
            (name, value)
        })
        .collect();
    Node {
        kind: attr.kind,
        mode: attr.mode,
        nlink: attr.nlink,
        owner: (attr.uid, attr.gid),
        size_bytes: attr.size_bytes,
        times: [attr.atime_ns, attr.mtime_ns, attr.ctime_ns],
        content,
        xattrs,
    }
}

/// What an operation may leave when its client dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The tree as before or as after.
    Whole,
    /// Beside that: a file that has some of its new bytes, and either size.
    Torn,
    /// A file whose range was being changed in several steps: any size in between, too.
    Steps,
}

/// None when a tree is what may be left, or what is wrong.
pub fn judge(found: &Tree, before: &Tree, after: &Tree, left: Left) -> Option<String> {
    if found == before || found == after {
        return None;
    }
    let differs = |path: &&Vec<u8>| found.get(*path) != before.get(*path);
    let paths: Vec<_> = found.keys().chain(before.keys()).filter(differs).collect();
    let name = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let whole = || {
        let missed = found.keys().chain(after.keys()).filter(|p| found.get(*p) != after.get(*p));
        let missed: Vec<_> = missed.map(name).take(4).collect();
        let paths: Vec<_> = paths.iter().map(|path| name(path)).take(4).collect();
        Some(format!("neither as before ({paths:?} differ) nor as after ({missed:?} differ)"))
    };
    if left == Left::Whole {
        return whole();
    }
    for path in &paths {
        let (Some(now), Some(old), Some(new)) = (found.get(*path), before.get(*path), after.get(*path))
        else {
            return whole();
        };
        let mixed = Node { content: Vec::new(), size_bytes: 0, times: [0; 3], ..now.clone() };
        let plain = Node { content: Vec::new(), size_bytes: 0, times: [0; 3], ..old.clone() };
        if mixed != plain {
            return whole();
        }
        for at in 0..3 {
            if ![old.times[at], new.times[at]].contains(&now.times[at]) {
                return Some(format!("a time of {} is neither old nor new", name(path)));
            }
        }
        let sizes = [old.size_bytes, new.size_bytes];
        let between =
            now.size_bytes >= sizes[0].min(sizes[1]) && now.size_bytes <= sizes[0].max(sizes[1]);
        let allowed = sizes.contains(&now.size_bytes) || left == Left::Steps && between;
        if !allowed {
            return Some(format!("{} has {} bytes", name(path), now.size_bytes));
        }
        let whole_new = left == Left::Torn && sizes[0] != sizes[1] && now.size_bytes == sizes[1];
        for (at, byte) in now.content.iter().enumerate() {
            let old = old.content.get(at).copied().unwrap_or(0);
            let new = new.content.get(at).copied().unwrap_or(0);
            if *byte != new && (whole_new || *byte != old) {
                return Some(format!("byte {at} of {} is neither old nor new", name(path)));
            }
        }
    }
    None
}
