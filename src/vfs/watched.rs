//! Watching a file, a directory or a whole tree by path.
//!
//! Records of the change log name directories by inode, and tell of data and attributes by inode alone. So a watcher
//! of a tree knows its names: it reads them once, and follows the records from then on. It begins to watch before it
//! reads, so it may know a name before it is told of it; it is told all the same.

use super::types::Ino;
use super::{Event, Sleep, Volume, Watcher};
use crate::core::log::{Record, What};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::Store;
use crate::store::runtime as rt;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What became of a name or of what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TreeChange {
    /// It is new, or came from outside of what is watched.
    Create = 1,
    /// It is gone, or went there.
    Delete = 2,
    /// Data or size of a file changed.
    Modify = 3,
    /// Attributes, or the number of names.
    Attrib = 4,
    /// It came from another name, also one that is watched.
    Rename = 5,
    /// Changes were missed: anything may be different.
    Overflow = 6,
}

/// What a watcher of a tree is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEvent {
    /// What happened.
    pub change: TreeChange,
    /// What kind of inode it happened to.
    pub kind: FileKind,
    /// The inode; 0 for an overflow.
    pub ino: Ino,
    /// The client that did it; 0 for an overflow.
    pub client: u32,
    /// Where it is, from what is watched on; empty for that itself.
    pub path: Vec<u8>,
    /// Where it was, for a rename.
    pub from: Vec<u8>,
}

/// A name in a directory.
type Place = (Ino, Vec<u8>);

/// Watches what a path leads to, and what is in it.
pub struct WatchedTree<S: Store> {
    volume: Arc<Volume<S>>,
    watcher: Watcher<S>,
    root: Ino,
    recursive: bool,
    /// Directories whose names are watched.
    directories: HashSet<Ino>,
    /// All names in them.
    names: BTreeMap<Place, (Ino, FileKind)>,
    /// The same by inode.
    places: HashMap<Ino, Vec<Place>>,
    /// Directories whose names have to be read yet.
    unread: Vec<Ino>,
    /// Old paths of what moves, by the records' cookies; none for what was outside.
    moving: HashMap<u32, Option<Vec<u8>>>,
    ready: VecDeque<TreeEvent>,
}

impl<S: Store + Clone> WatchedTree<S> {
    /// Begins to watch an inode and, if it is a directory, the names in it; `recursive`: those in all directories below,
    /// too. `EAGAIN` when the volume is brief and would have to wait.
    pub fn new(volume: &Arc<Volume<S>>, root: Ino, recursive: bool) -> Result<Self, Errno> {
        let watcher = volume.watch()?;
        let kind = volume.getattr(root)?.kind;
        let mut tree = Self {
            volume: volume.clone(),
            watcher,
            root,
            recursive,
            directories: HashSet::new(),
            names: BTreeMap::new(),
            places: HashMap::new(),
            unread: Vec::new(),
            moving: HashMap::new(),
            ready: VecDeque::new(),
        };
        if kind == FileKind::Directory {
            tree.unread.push(root);
            tree.read_unread()?;
        }
        Ok(tree)
    }
}

impl<S: Store> WatchedTree<S> {
    /// The next event, if there is one by now. `EAGAIN` when the volume is brief and names that are to be read change at
    /// this moment: nothing is lost.
    pub fn next_event(&mut self) -> Result<Option<TreeEvent>, Errno> {
        loop {
            self.read_unread()?;
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.watcher.next() {
                None => return Ok(None),
                Some(Event::Overflow) => self.overflow(),
                Some(Event::Change(record)) => self.take(&record),
            }
        }
    }

    /// What to sleep on until there may be an event; none when there is one already.
    pub fn sleep(&mut self) -> Option<Sleep> {
        let value = self.watcher.fall_asleep()?;
        (self.ready.is_empty() && self.unread.is_empty()).then_some(Sleep { word: rt::LOG_HEAD, value })
    }

    fn overflow(&mut self) {
        self.directories.clear();
        self.names.clear();
        self.places.clear();
        self.moving.clear();
        self.unread = vec![self.root];
        self.ready.push_back(TreeEvent {
            change: TreeChange::Overflow,
            kind: FileKind::Directory,
            ino: 0,
            client: 0,
            path: Vec::new(),
            from: Vec::new(),
        });
    }

    /// Reads the names of directories that came to be watched.
    fn read_unread(&mut self) -> Result<(), Errno> {
        while let Some(&dir) = self.unread.last() {
            let mut found = Vec::new();
            let listed = self.volume.list(dir, &mut |name, ino, kind| {
                found.push((name.to_vec(), ino, kind));
                true
            });
            match listed {
                Ok(()) => {}
                // It was a file, or has gone since: a record says so, or will.
                Err(Errno::ENOENT | Errno::ENOTDIR) => found.clear(),
                Err(errno) => return Err(errno),
            }
            self.unread.pop();
            self.directories.insert(dir);
            for (name, ino, kind) in found {
                self.enter((dir, name), ino, kind, true);
            }
        }
        Ok(())
    }

    /// Notes a name. What is in a directory is read, or known to come.
    fn enter(&mut self, place: Place, ino: Ino, kind: FileKind, read: bool) {
        let places = self.places.entry(ino).or_default();
        if !places.contains(&place) {
            places.push(place.clone());
        }
        if let Some((old, _)) = self.names.insert(place.clone(), (ino, kind))
            && old != ino
        {
            self.forget_place(old, &place);
        }
        if kind != FileKind::Directory || !self.recursive || self.directories.contains(&ino) {
            return;
        }
        if read {
            self.unread.push(ino);
        } else {
            self.directories.insert(ino);
        }
    }

    fn forget_place(&mut self, ino: Ino, place: &Place) {
        if let Some(places) = self.places.get_mut(&ino) {
            places.retain(|known| known != place);
            if places.is_empty() {
                self.places.remove(&ino);
            }
        }
    }

    /// Forgets a name, unless it stands for something else by now.
    fn leave(&mut self, place: &Place, ino: Ino) {
        if self.names.get(place).is_some_and(|&(known, _)| known == ino) {
            self.names.remove(place);
        }
        self.forget_place(ino, place);
    }

    /// Forgets all that is in a directory, which is watched no more.
    fn forget_directory(&mut self, dir: Ino) {
        let mut gone = vec![dir];
        while let Some(dir) = gone.pop() {
            self.unread.retain(|&unread| unread != dir);
            if !self.directories.remove(&dir) {
                continue;
            }
            let inside: Vec<_> = self
                .names
                .range((dir, Vec::new())..)
                .take_while(|((of, _), _)| *of == dir)
                .map(|(place, &(ino, kind))| (place.clone(), ino, kind))
                .collect();
            for (place, ino, kind) in inside {
                self.leave(&place, ino);
                if kind == FileKind::Directory {
                    gone.push(ino);
                }
            }
        }
    }

    /// The path of a place; none when it is not watched.
    fn path(&self, place: &Place) -> Option<Vec<u8>> {
        let (mut dir, mut path) = (place.0, place.1.clone());
        if !self.directories.contains(&dir) {
            return None;
        }
        // No deeper than there are directories.
        for _ in 0..=self.directories.len() {
            if dir == self.root {
                return Some(path);
            }
            let (above, name) = self.places.get(&dir)?.first()?;
            path.splice(0..0, name.iter().copied().chain([b'/']));
            dir = *above;
        }
        None
    }

    fn tell(&mut self, record: &Record, change: TreeChange, path: Vec<u8>, from: Vec<u8>) {
        let Record { kind, ino, client, .. } = *record;
        self.ready.push_back(TreeEvent { change, kind, ino, client, path, from });
    }

    fn take(&mut self, record: &Record) {
        let place = (record.dir, record.name.clone());
        let path = self.path(&place);
        match record.what {
            What::Modify | What::Attrib => {
                let change =
                    if record.what == What::Modify { TreeChange::Modify } else { TreeChange::Attrib };
                let mut paths: Vec<_> = self
                    .places
                    .get(&record.ino)
                    .map(|places| places.iter().filter_map(|place| self.path(place)).collect())
                    .unwrap_or_default();
                if record.ino == self.root {
                    paths.push(Vec::new());
                }
                for path in paths {
                    self.tell(record, change, path, Vec::new());
                }
            }
            What::Create => match path {
                Some(path) => {
                    // What comes to be in a new directory is told from now on.
                    self.enter(place, record.ino, record.kind, false);
                    self.tell(record, TreeChange::Create, path, Vec::new());
                }
                None => self.tell_root(record, TreeChange::Create),
            },
            What::Delete => match path {
                Some(path) => {
                    self.leave(&place, record.ino);
                    self.drop_directory(record);
                    self.tell(record, TreeChange::Delete, path, Vec::new());
                }
                None => self.tell_root(record, TreeChange::Delete),
            },
            What::RenameFrom => {
                if path.is_some() {
                    self.leave(&place, record.ino);
                }
                self.moving.insert(record.cookie, path);
            }
            What::RenameTo => self.arrived(record, place, path),
        }
    }

    fn arrived(&mut self, record: &Record, place: Place, path: Option<Vec<u8>>) {
        // Who began to watch in between has not heard where it was.
        let from = self.moving.remove(&record.cookie).flatten();
        match (from, path) {
            (from, Some(path)) => {
                let change = if from.is_some() { TreeChange::Rename } else { TreeChange::Create };
                self.enter(place, record.ino, record.kind, true);
                self.tell(record, change, path, from.unwrap_or_default());
            }
            (Some(from), None) => {
                self.drop_directory(record);
                self.tell(record, TreeChange::Delete, from, Vec::new());
            }
            (None, None) => self.tell_root(record, TreeChange::Rename),
        }
    }

    fn drop_directory(&mut self, record: &Record) {
        if record.kind == FileKind::Directory && record.ino != self.root {
            self.forget_directory(record.ino);
        }
    }

    /// Tells of the names of what is watched itself.
    fn tell_root(&mut self, record: &Record, change: TreeChange) {
        if record.ino == self.root {
            self.tell(record, change, Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NewInode, RenameFlags, SetAttr};
    use super::*;
    use crate::core::Image;
    use crate::format::INO_ROOT;
    use crate::store::HeapStore;
    use crate::store::runtime::{Durability, store_size_bytes};

    type View = Volume<Arc<HeapStore>>;

    fn volume() -> Arc<View> {
        let store = Arc::new(HeapStore::new(store_size_bytes(4000)));
        Image::prepare(&store, 1, Durability::Memory).unwrap();
        Arc::new(Volume::format(store, 1, || 0, [7; 32]).unwrap())
    }

    fn make(volume: &View, dir: Ino, name: &str, kind: FileKind) -> Ino {
        let new = NewInode { kind, permissions: 0o755, uid: 0, gid: 0, rdev: 0 };
        volume.create(dir, name.as_bytes(), &new).unwrap().ino
    }

    fn told(tree: &mut WatchedTree<Arc<HeapStore>>) -> Vec<(TreeChange, String, String)> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        std::iter::from_fn(|| tree.next_event().unwrap())
            .map(|event| (event.change, text(event.path), text(event.from)))
            .collect()
    }

    fn one(change: TreeChange, path: &str) -> (TreeChange, String, String) {
        (change, path.into(), String::new())
    }

    #[test]
    fn a_tree_is_followed() {
        use FileKind::{Directory, Regular};
        use TreeChange::{Attrib, Create, Delete, Modify, Rename};
        let v = volume();
        let top = make(&v, INO_ROOT, "top", Directory);
        let sub = make(&v, top, "sub", Directory);
        let file = make(&v, sub, "file", Regular);
        let other = make(&v, INO_ROOT, "other", Directory);
        make(&v, other, "inside", Regular);
        let mut deep = WatchedTree::new(&v, top, true).unwrap();
        let mut flat = WatchedTree::new(&v, top, false).unwrap();
        let mut alone = WatchedTree::new(&v, file, false).unwrap();
        v.write(file, 0, b"data").unwrap();
        let new = make(&v, sub, "new", Directory);
        let below = make(&v, new, "below", Regular);
        v.setattr(below, &SetAttr { mode: Some(0o600), ..SetAttr::default() }).unwrap();
        assert_eq!(
            told(&mut deep),
            [
                one(Modify, "sub/file"),
                one(Create, "sub/new"),
                one(Create, "sub/new/below"),
                one(Attrib, "sub/new/below")
            ]
        );
        assert_eq!((told(&mut flat), told(&mut alone)), (vec![], vec![one(Modify, "")]));
        // Within, in, out; what is behind a directory that moves is known afterwards.
        v.rename(sub, b"new", top, b"moved", RenameFlags::empty()).unwrap();
        v.rename(INO_ROOT, b"other", top, b"other", RenameFlags::empty()).unwrap();
        v.write(below, 0, b"x").unwrap();
        assert_eq!(
            told(&mut deep),
            [
                (Rename, "moved".into(), "sub/new".into()),
                one(Create, "other"),
                one(Modify, "moved/below")
            ]
        );
        assert_eq!(told(&mut flat), [one(Create, "moved"), one(Create, "other")]);
        let inside = v.lookup(other, b"inside").unwrap().ino;
        v.write(inside, 0, b"x").unwrap();
        assert_eq!(told(&mut deep), [one(Modify, "other/inside")]);
        v.rename(top, b"other", INO_ROOT, b"out", RenameFlags::empty()).unwrap();
        v.write(inside, 0, b"y").unwrap();
        assert_eq!(told(&mut deep), [one(Delete, "other")]);
        assert_eq!(told(&mut flat), [one(Delete, "other")]);
        // Two names; one replaces another.
        v.link(file, top, b"second").unwrap();
        told(&mut deep);
        v.write(file, 0, b"z").unwrap();
        let mut both = told(&mut deep);
        both.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(both, [one(Modify, "second"), one(Modify, "sub/file")]);
        v.rename(top, b"second", sub, b"over", RenameFlags::empty()).unwrap();
        v.unlink(sub, b"over").unwrap();
        let all = told(&mut deep);
        assert_eq!(all[0], (Rename, "sub/over".into(), "second".into()));
        assert_eq!(all[1], one(Delete, "sub/over"));
        v.unlink(sub, b"file").unwrap();
        assert_eq!(told(&mut alone).last(), Some(&one(Delete, "")));
        v.rename(INO_ROOT, b"top", INO_ROOT, b"elsewhere", RenameFlags::empty()).unwrap();
        assert_eq!(told(&mut deep).last(), Some(&one(Rename, "")));
    }

    #[test]
    fn who_falls_behind_knows_the_names_again() {
        let v = volume();
        let mut tree = WatchedTree::new(&v, INO_ROOT, true).unwrap();
        let dir = make(&v, INO_ROOT, "dir", FileKind::Directory);
        for number in 0..9000 {
            let name = format!("a name of some length {number}");
            make(&v, dir, &name, FileKind::Regular);
            v.unlink(dir, name.as_bytes()).unwrap();
        }
        let file = make(&v, dir, "file", FileKind::Regular);
        assert_eq!(told(&mut tree).first(), Some(&one(TreeChange::Overflow, "")));
        assert!(tree.sleep().is_some());
        v.write(file, 0, b"x").unwrap();
        assert!(tree.sleep().is_none());
        assert_eq!(told(&mut tree), [one(TreeChange::Modify, "dir/file")]);
    }

    #[test]
    fn changes_of_places_keep_both() {
        let v = volume();
        let (a, b) =
            (make(&v, INO_ROOT, "a", FileKind::Regular), make(&v, INO_ROOT, "b", FileKind::Regular));
        let mut tree = WatchedTree::new(&v, INO_ROOT, false).unwrap();
        v.rename(INO_ROOT, b"a", INO_ROOT, b"b", RenameFlags::EXCHANGE).unwrap();
        v.write(a, 0, b"1").unwrap();
        v.write(b, 0, b"2").unwrap();
        let rename = |path: &str, from: &str| (TreeChange::Rename, path.to_owned(), from.to_owned());
        assert_eq!(
            told(&mut tree),
            [
                rename("b", "a"),
                rename("a", "b"),
                one(TreeChange::Modify, "b"),
                one(TreeChange::Modify, "a")
            ]
        );
    }
}
