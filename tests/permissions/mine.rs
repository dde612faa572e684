//! The volume's side: the calls made of its operations, as a front end makes them.

use super::calls::{Call, Time, User};
use super::host::Rules;
use super::tree::{State, Status, Times, Tree};
use sabfs::core::Image;
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{
    Access, AsCaller, Attr, Caller, Ino, NewInode, Purpose, SetAttr, TimeChange, Volume, WalkOptions,
};
use std::cell::Cell;
use std::sync::Arc;

const ROOT: Ino = 2;

type Store = Arc<HeapStore>;

pub struct Mine {
    volume: Volume<Store>,
}

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_700_000_000_000_000_000) };
}

fn new(kind: FileKind, mode: u32, rdev: u32) -> NewInode {
    NewInode { kind, permissions: mode, uid: 9, gid: 9, rdev: rdev.into() }
}

fn options(follow_last: bool) -> WalkOptions {
    WalkOptions { follow_last, ..Default::default() }
}

impl Mine {
    pub fn new() -> Self {
        let store = Arc::new(HeapStore::new(runtime::store_size_bytes(1_000)));
        Image::prepare(&store, 1, Durability::Memory).unwrap();
        Self { volume: Volume::format(store, 1, || NOW.get(), [7; 32]).unwrap() }
    }

    pub fn build(&mut self, tree: &Tree) {
        let volume = &self.volume;
        let place = |path: &str| {
            volume.walk_parent(ROOT, ROOT, path.as_bytes(), Purpose::MakeDirectory).unwrap()
        };
        for start in &tree[1..] {
            let (dir, name) = place(start.path);
            match start.kind {
                FileKind::Symlink => volume.symlink(dir, &name, start.target.as_bytes(), 0, 0).unwrap(),
                kind => volume.create(dir, &name, &new(kind, 0o700, 0)).unwrap(),
            };
        }
        for start in tree {
            let ino = volume.walk(ROOT, ROOT, start.path.as_bytes(), options(false)).unwrap().ino;
            let mode = (start.kind != FileKind::Symlink).then_some(start.mode);
            let (uid, gid) = (Some(start.uid), Some(start.gid));
            volume.setattr(ino, &SetAttr { mode, uid, gid, ..Default::default() }).unwrap();
        }
    }

    fn visit(&self, path: &str, ino: Ino, found: &mut dyn FnMut(&str, Attr)) {
        let attr = self.volume.getattr(ino).unwrap();
        found(path, attr);
        if attr.kind == FileKind::Directory {
            let mut names = Vec::new();
            self.volume
                .read_dir(ino, 0, &mut |entry| {
                    names.push(entry);
                    true
                })
                .unwrap();
            for entry in names {
                let name = String::from_utf8(entry.name).unwrap();
                self.visit(&format!("{path}/{name}"), entry.ino, found);
            }
        }
    }

    pub fn state(&self) -> State {
        let mut state = State::new();
        self.visit("", ROOT, &mut |path, attr| {
            let size = if attr.kind == FileKind::Directory { 0 } else { attr.size_bytes };
            let (mode, nlink) = (format!("{:o}", attr.mode), attr.nlink.into());
            let status = Status { mode, uid: attr.uid, gid: attr.gid, nlink, size };
            state.insert(path.to_owned(), status);
        });
        state
    }

    pub fn times(&self) -> Times {
        let mut times = Times::new();
        self.visit("", ROOT, &mut |path, attr| {
            // Looking at a directory or a link may change its own.
            let atime = if attr.kind == FileKind::Regular { attr.atime_ns } else { 0 };
            let all = [atime, attr.mtime_ns, attr.ctime_ns].map(i128::from);
            times.insert(path.to_owned(), (attr.ino.into(), attr.generation.into(), all));
        });
        times
    }

    pub fn check(&self) {
        let report = check(self.volume.core());
        assert!(report.is_clean(), "{report}");
    }

    /// Whether the host has no say of its own: a hardened one refuses links to files of others, and
    /// to follow links in sticky directories; opening a pipe waits; and not all file systems note a truncation that leaves the size as it is.
    pub fn comparable(&self, user: &User, call: &Call, rules: &Rules) -> bool {
        let at = |path: &str, follow| self.volume.walk(ROOT, ROOT, path.as_bytes(), options(follow));
        if rules.protected_symlinks && self.has_protected_link(user) {
            return false;
        }
        match call {
            Call::Link { from, .. } if rules.protected_hardlinks => {
                at(from, false).is_ok_and(|attr| attr.uid == user.uid) || user.uid == 0
            }
            Call::Truncate { path, size } => {
                !at(path, true).is_ok_and(|attr| attr.size_bytes == u64::from(*size))
            }
            Call::Write { path } => at(path, true)
                .is_ok_and(|attr| matches!(attr.kind, FileKind::Regular | FileKind::Directory)),
            _ => true,
        }
    }

    /// Whether the tree has a symlink that a hardened host does not let the user follow.
    fn has_protected_link(&self, user: &User) -> bool {
        let (mut dirs, mut found) = (std::collections::BTreeMap::new(), false);
        self.visit("", ROOT, &mut |path, attr| {
            let dir = path.rfind('/').and_then(|end| dirs.get(&path[..end]));
            if let Some(&(mode, owner)) = dir.filter(|_| attr.kind == FileKind::Symlink) {
                found |= mode & 0o1002 == 0o1002 && attr.uid != user.uid && attr.uid != owner;
            }
            if attr.kind == FileKind::Directory {
                dirs.insert(path.to_owned(), (attr.mode, attr.uid));
            }
        });
        found
    }

    pub fn act(&mut self, user: &User, call: &Call) -> Result<(), Errno> {
        NOW.set(NOW.get() + 1_000);
        let caller = Caller { uid: user.uid, gid: user.gid, groups: &user.groups, checked: true };
        let view = self.volume.as_caller(&caller);
        act(&self.volume, &view, call)
    }
}

fn act(volume: &Volume<Store>, view: &AsCaller<'_, Store>, call: &Call) -> Result<(), Errno> {
    let parent = |path: &str, purpose| view.walk_parent(ROOT, ROOT, path.as_bytes(), purpose);
    let at = |path: &str, follow| view.walk(ROOT, ROOT, path.as_bytes(), options(follow));
    match call {
        Call::Access { path, mask, follow } => {
            view.access(at(path, *follow)?.ino, Access::from_bits_truncate(*mask)).map(drop)
        }
        Call::Make { path, kind, mode, rdev } => {
            let directory = *kind == FileKind::Directory;
            let purpose = if directory { Purpose::MakeDirectory } else { Purpose::Make };
            let (dir, name) = parent(path, purpose)?;
            view.create(dir, &name, &new(*kind, *mode, *rdev)).map(drop)
        }
        Call::Symlink { path, target } => {
            if target.is_empty() {
                return Err(Errno::ENOENT);
            }
            let (dir, name) = parent(path, Purpose::Make)?;
            view.symlink(dir, &name, target.as_bytes()).map(drop)
        }
        Call::Unnamed { dir, mode, name } => {
            let follow = WalkOptions { follow_last: true, directory: true, ..Default::default() };
            let dir = view.walk(ROOT, ROOT, dir.as_bytes(), follow)?;
            let file = view.create_unnamed(dir.ino, &new(FileKind::Regular, *mode, 0))?;
            let named = name.as_ref().map_or(Ok(()), |name| {
                let (dir, name) = parent(name, Purpose::Make)?;
                view.link(file.ino, dir, &name).map(drop)
            });
            volume.forget(file.ino);
            named
        }
        Call::Link { from, to } => {
            let from = at(from, false)?;
            let (dir, name) = parent(to, Purpose::Make)?;
            view.link(from.ino, dir, &name).map(drop)
        }
        Call::Unlink { path } => {
            let (dir, name) = parent(path, Purpose::Unlink)?;
            view.unlink(dir, &name)
        }
        Call::Rmdir { path } => {
            let (dir, name) = parent(path, Purpose::RemoveDirectory)?;
            view.rmdir(dir, &name)
        }
        Call::Rename { from, to, flags } => {
            view.rename_paths((ROOT, from.as_bytes()), (ROOT, to.as_bytes()), ROOT, *flags)
        }
        Call::Chmod { path, mode, follow } => {
            let set = SetAttr { mode: Some(*mode), ..Default::default() };
            view.setattr(at(path, *follow)?.ino, &set).map(drop)
        }
        Call::Chown { path, uid, gid, follow } => {
            let set = SetAttr { uid: *uid, gid: *gid, ..Default::default() };
            view.setattr(at(path, *follow)?.ino, &set).map(drop)
        }
        Call::Utimes { path, atime, mtime, follow } => {
            let change = |time: &Time| match *time {
                Time::Omit => None,
                Time::Now => Some(TimeChange::Now),
                Time::At(seconds) => Some(TimeChange::At(i64::from(seconds) * 1_000_000_000)),
            };
            let set = SetAttr { atime: change(atime), mtime: change(mtime), ..Default::default() };
            view.setattr(at(path, *follow)?.ino, &set).map(drop)
        }
        Call::Truncate { path, size } => {
            let set = SetAttr { size_bytes: Some((*size).into()), ..Default::default() };
            view.setattr(at(path, true)?.ino, &set).map(drop)
        }
        Call::Xattr { path, write, follow } => {
            let ino = at(path, *follow)?.ino;
            match write {
                true => view.remove_xattr(ino, b"user.none"),
                false => view.get_xattr(ino, b"user.none").map(drop),
            }
        }
        Call::Write { path } => {
            let attr = at(path, true)?;
            if attr.kind == FileKind::Directory {
                return Err(Errno::EISDIR);
            }
            view.access(attr.ino, Access::WRITE)?;
            view.write(attr.ino, 0, b"w").map(drop)
        }
    }
}
