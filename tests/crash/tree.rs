//! What a volume shows and what the oracle says, in one form that can be compared and hashed.

use crate::model::oracle::{Node, Oracle};
use crate::model::volumes::{HeapVolume, ROOT};
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::sim::SECTOR;
use sabfs::vfs::Ino;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh64::{Xxh64, xxh64};

const CHUNK: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    mode: u32,
    nlink: u32,
    owner: (u32, u32),
    rdev: u64,
    /// None of a directory, whose size is not said.
    size: Option<u64>,
    times: [i64; 4],
    target: Vec<u8>,
    names: BTreeMap<Vec<u8>, Ino>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Blocks that are no holes, with the hash of what can be read of them.
    data: Vec<(u64, u64)>,
}

/// What blocks hold before and after, by file and number.
pub type Overwritten = HashMap<(Ino, u64), [Vec<u8>; 2]>;

/// Everything that can be seen of a volume, by inode number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree {
    items: BTreeMap<Ino, Item>,
}

impl Tree {
    /// What the oracle says of a volume that has been mounted anew.
    pub fn of_oracle(oracle: &Oracle) -> Self {
        let named = oracle.nodes.iter().filter(|(_, node)| node.nlink > 0);
        Self { items: named.map(|(&ino, node)| (ino, item_of(node))).collect() }
    }

    /// What a mounted volume shows.
    pub fn of_volume(volume: &HeapVolume) -> Result<Self, Errno> {
        let mut tree = Self::default();
        let mut left = vec![ROOT];
        while let Some(ino) = left.pop() {
            if tree.items.contains_key(&ino) {
                continue;
            }
            let item = look(volume, ino)?;
            left.extend(item.names.values());
            tree.items.insert(ino, item);
        }
        Ok(tree)
    }

    pub fn hash(&self) -> u64 {
        let mut hasher = Xxh64::new(0);
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    /// The blocks of these files that hold other bytes in a volume that was changed since: what they hold in `volume`, which
    /// has this tree, and in `changed`, cut where the files end in `volume`.
    pub fn overwritten(&self, volume: &HeapVolume, changed: &HeapVolume) -> Result<Overwritten, Errno> {
        let mut blocks = Overwritten::new();
        for (&ino, item) in &self.items {
            for &(chunk, _) in &item.data {
                let left = item.size.unwrap_or(0) - chunk * CHUNK;
                let [mut old, mut new] = [0; 2].map(|_| vec![0; left.min(CHUNK) as usize]);
                volume.read(ino, chunk * CHUNK, &mut old)?;
                match changed.read(ino, chunk * CHUNK, &mut new) {
                    Ok(_) if new != old => _ = blocks.insert((ino, chunk), [old, new]),
                    // It is another inode by now, or none.
                    Ok(_) | Err(Errno::EISDIR | Errno::EINVAL | Errno::ENOENT | Errno::ESTALE) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(blocks)
    }

    /// Whether this, a volume's tree, is `old` but for some sectors of blocks that were being overwritten. One of them may have
    /// been torn, and hold anything.
    pub fn is_mixture(&self, volume: &HeapVolume, old: &Self, blocks: &Overwritten) -> bool {
        let bare = |tree: &Self| {
            let mut tree = tree.clone();
            tree.items.values_mut().for_each(|item| item.data.clear());
            tree
        };
        if bare(self) != bare(old) {
            return false;
        }
        let mut torn = 0;
        for ((&ino, found), old) in self.items.iter().zip(old.items.values()) {
            if found.data.len() != old.data.len() {
                return false;
            }
            for (found, old) in found.data.iter().zip(&old.data).filter(|(found, old)| found != old) {
                let Some([old, new]) = blocks.get(&(ino, found.0)).filter(|_| found.0 == old.0) else {
                    return false;
                };
                let mut bytes = vec![0; old.len()];
                assert_eq!(volume.read(ino, found.0 * CHUNK, &mut bytes), Ok(old.len()));
                let before_and_after = old.chunks(SECTOR).zip(new.chunks(SECTOR));
                let sectors = bytes.chunks(SECTOR).zip(before_and_after);
                torn += sectors.filter(|(found, (old, new))| found != old && found != new).count();
            }
        }
        torn <= 1
    }

    /// The first differences, in words.
    pub fn difference(&self, expected: &Self) -> String {
        let mut text = String::new();
        let all = self.items.keys().chain(expected.items.keys());
        let mut inodes: Vec<Ino> = all.copied().collect();
        inodes.sort_unstable();
        inodes.dedup();
        let differ = |ino: &Ino| self.items.get(ino) != expected.items.get(ino);
        for ino in inodes.into_iter().filter(differ).take(4) {
            let _ = write!(
                text,
                "\n  inode {ino}: found    {:?}\n  inode {ino}: expected {:?}",
                self.items.get(&ino),
                expected.items.get(&ino)
            );
        }
        text
    }
}

fn item_of(node: &Node) -> Item {
    let hash = |chunk: u64| (chunk, xxh64(&node.data(chunk * CHUNK, CHUNK as usize), 0));
    let data = match node.kind {
        FileKind::Regular if node.inline && node.size > 0 => vec![hash(0)],
        FileKind::Regular if node.inline => Vec::new(),
        FileKind::Regular => {
            node.chunks.range(..node.size.div_ceil(CHUNK)).map(|(&chunk, _)| hash(chunk)).collect()
        }
        _ => Vec::new(),
    };
    Item {
        mode: node.kind.mode_bits() | node.permissions,
        nlink: node.nlink,
        owner: (node.uid, node.gid),
        rdev: node.rdev,
        size: (node.kind != FileKind::Directory).then_some(node.size),
        times: node.times,
        target: node.target.clone(),
        names: node.names.clone(),
        xattrs: node.xattrs.clone(),
        data,
    }
}

fn look(volume: &HeapVolume, ino: Ino) -> Result<Item, Errno> {
    let attr = volume.getattr(ino)?;
    let mut names = BTreeMap::new();
    if attr.kind == FileKind::Directory {
        volume.read_dir(ino, 0, &mut |entry| {
            names.insert(entry.name, entry.ino);
            true
        })?;
    }
    let symlink = attr.kind == FileKind::Symlink;
    let xattrs = volume.list_xattr(ino)?.into_iter();
    Ok(Item {
        mode: attr.mode,
        nlink: attr.nlink,
        owner: (attr.uid, attr.gid),
        rdev: attr.rdev,
        size: (attr.kind != FileKind::Directory).then_some(attr.size_bytes),
        times: [attr.atime_ns, attr.mtime_ns, attr.ctime_ns, attr.btime_ns],
        target: if symlink { volume.readlink(ino)? } else { Vec::new() },
        names,
        xattrs: xattrs
            .map(|name| volume.get_xattr(ino, &name).map(|value| (name, value)))
            .collect::<Result<_, _>>()?,
        data: if attr.kind == FileKind::Regular { data(volume, ino)? } else { Vec::new() },
    })
}

fn data(volume: &HeapVolume, ino: Ino) -> Result<Vec<(u64, u64)>, Errno> {
    let (mut found, mut at) = (Vec::new(), 0);
    let mut buffer = [0; CHUNK as usize];
    loop {
        let start = match volume.seek_data(ino, at) {
            Err(Errno::ENXIO) => return Ok(found),
            start => start?,
        };
        let end = volume.seek_hole(ino, start)?;
        for chunk in start / CHUNK..end.div_ceil(CHUNK) {
            let count = volume.read(ino, chunk * CHUNK, &mut buffer)?;
            found.push((chunk, xxh64(&buffer[..count], 0)));
        }
        at = end;
    }
}
