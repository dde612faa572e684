//! The names of one directory: the tree's order, the leaves' records, and where the names lead.

use super::{Checker, Finding};
use crate::core::Error;
use crate::core::dir::{check_block, levels, node_entries};
use crate::format::dirent::{hash_name, records};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, Dirent, FileKind, INO_FIRST_FREE, Inode, check_header,
};
use crate::store::Store;

/// A subtree and the hashes that it covers: `low..high`, a `high` of `u64::MAX` meaning no end.
struct Covered {
    block: u32,
    level: u32,
    low: u64,
    high: u64,
}

impl<S: Store> Checker<'_, S> {
    /// Reads all names of a directory; false if some could not be read.
    pub(super) fn directory(&mut self, inode: &Inode) -> bool {
        let (root, number) = (inode.dir_root(), inode.number);
        let before = self.report.names;
        let mut whole = true;
        if root.block.get() != 0 {
            whole = match levels(&root, number) {
                Ok(level) => {
                    let all = Covered { block: root.block.get(), level, low: 0, high: u64::MAX };
                    self.subtree(number, &all)
                }
                Err(error) => self.broken(error),
            };
        }
        if !whole {
            self.all_names = false;
            return false;
        }
        let (says, found) = (inode.raw.size.get(), self.report.names - before);
        if says != found {
            self.report.add(Finding::NameCount { inode: number, says, found });
        }
        true
    }

    fn broken(&mut self, error: Error) -> bool {
        if let Error::Corrupt(corrupt) = error {
            self.report.add(Finding::Structure(corrupt));
        }
        false
    }

    /// Each block is claimed, and the levels go down, so this ends however the nodes are tied.
    fn subtree(&mut self, directory: u32, covered: &Covered) -> bool {
        let &Covered { block, level, low, high } = covered;
        if let Err(error) = check_block(&self.core.image.geometry(), block, directory) {
            return self.broken(error);
        }
        if !self.claim(block, directory) {
            return false;
        }
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        self.core.image.read_block(block, &mut bytes);
        self.seal(block, directory, &bytes);
        if level == 0 {
            return self.leaf(directory, covered, &bytes);
        }
        let entries = match node_entries(&bytes, block, level, directory) {
            Ok(entries) => entries,
            Err(error) => return self.broken(error),
        };
        // The first entry covers everything before it, whatever its own hash says.
        let behind_first = entries.get(1..).unwrap_or_default();
        let inside = behind_first.iter().all(|e| e.hash.get() >= low && e.hash.get() < high);
        if !inside || !entries.is_sorted_by(|a, b| a.hash.get() < b.hash.get()) {
            return self.broken(Corrupt::Tree { inode: directory, block }.into());
        }
        let mut whole = true;
        for (index, entry) in entries.iter().enumerate() {
            let low = if index == 0 { low } else { entry.hash.get() };
            let high = entries.get(index + 1).map_or(high, |next| next.hash.get());
            let child = Covered { block: entry.child.get(), level: level - 1, low, high };
            whole &= self.subtree(directory, &child);
        }
        whole
    }

    fn leaf(&mut self, directory: u32, covered: &Covered, bytes: &Block) -> bool {
        let block = covered.block;
        let header = match check_header(&bytes[..], BlockKind::DirLeaf, block, directory) {
            Ok(header) => header,
            Err(corrupt) => return self.broken(corrupt.into()),
        };
        let mut names: Vec<Dirent<'_>> = Vec::new();
        for record in records(&bytes[..], directory, block) {
            match record {
                Ok(record) if record.inode == 0 => {}
                Ok(record) => names.push(record),
                Err(corrupt) => return self.broken(corrupt.into()),
            }
        }
        for name in &names {
            self.name(directory, covered, name);
        }
        names.sort_unstable_by_key(|name| (name.name, name.at));
        for pair in names.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                let at = place(second);
                self.report.add(Finding::NameTwice { directory, block, at });
            }
        }
        let (says, found) = (header.extra[0].get(), u32::try_from(names.len()).unwrap_or(u32::MAX));
        if says != found {
            self.report.add(Finding::LeafCount { directory, block, says, found });
        }
        true
    }

    fn name(&mut self, directory: u32, covered: &Covered, name: &Dirent<'_>) {
        self.report.names += 1;
        let block = covered.block;
        if let Err(corrupt) = name.check(directory, block) {
            self.report.add(Finding::Structure(corrupt));
        }
        let hash = hash_name(&self.core.superblock.hash_key, name.name);
        if hash != name.hash {
            self.report.add(Finding::NameHash { directory, block, at: place(name) });
        } else if hash < covered.low || hash >= covered.high {
            self.report.add(Finding::NamePlace { directory, block, at: place(name) });
        }
        let inode = name.inode;
        if inode < INO_FIRST_FREE {
            self.report.add(Finding::NameReserved { directory, inode });
            return;
        }
        let Some(known) = self.inodes.get_mut(&inode) else {
            if !self.damaged.contains(&inode) {
                self.report.add(Finding::NameDangling { directory, inode });
            }
            return;
        };
        known.names += 1;
        known.parent = directory;
        let is = known.inode.kind;
        if is != name.kind {
            self.report.add(Finding::NameKind { directory, inode, says: name.kind, is });
        }
        if is == FileKind::Directory
            && let Some(holder) = self.inodes.get_mut(&directory)
        {
            holder.subdirectories += 1;
        }
    }
}

fn place(name: &Dirent<'_>) -> u16 {
    u16::try_from(name.at).unwrap_or(u16::MAX)
}
