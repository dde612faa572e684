//! What the names together say: link counts, parents, orphans, and that all hangs from the root.

use super::{Checker, Finding, Known};
use crate::format::{FileKind, INO_FIRST_FREE, INO_INODE_FILE, INO_ROOT};
use crate::store::Store;
use std::collections::HashMap;

impl<S: Store> Checker<'_, S> {
    pub(super) fn links(&mut self) {
        let mut found = Vec::new();
        for (&number, known) in &self.inodes {
            match number {
                INO_INODE_FILE => {}
                INO_ROOT => self.directory_links(number, known, 2, &mut found),
                number if number < INO_FIRST_FREE => {}
                _ if known.orphan => orphan(number, known, &mut found),
                _ if known.names == 0 => {
                    if self.all_names {
                        found.push(Finding::Unnamed { inode: number });
                    }
                }
                _ if known.inode.kind == FileKind::Directory => {
                    self.directory_links(number, known, known.parent, &mut found);
                }
                _ => {
                    let says = known.inode.raw.nlink.get();
                    if self.all_names && says != known.names {
                        found.push(Finding::LinkCount { inode: number, says, found: known.names });
                    }
                }
            }
        }
        found.extend(self.loops());
        for finding in found {
            self.report.add(finding);
        }
    }

    fn directory_links(&self, inode: u32, known: &Known, parent: u32, found: &mut Vec<Finding>) {
        let says = known.inode.raw.nlink.get();
        let links = known.subdirectories.saturating_add(2);
        if self.all_names && says != links {
            found.push(Finding::LinkCount { inode, says, found: links });
        }
        // With two names the parent is right by either.
        if known.names > 1 {
            found.push(Finding::DirectoryTwice { inode });
            return;
        }
        let says = known.inode.dir_root().parent.get();
        if says != parent {
            found.push(Finding::Parent { inode, says, found: parent });
        }
    }

    /// One finding for each circle of directories, at its smallest inode.
    fn loops(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        // The walk on which a directory was met: each is met once, so all walks together are short.
        let mut met: HashMap<u32, u32> = HashMap::new();
        for (&start, known) in &self.inodes {
            if known.inode.kind != FileKind::Directory {
                continue;
            }
            let (mut at, mut path) = (start, Vec::new());
            while at != INO_ROOT && at != 0 && !met.contains_key(&at) {
                met.insert(at, start);
                path.push(at);
                at = self.inodes.get(&at).map_or(0, |known| known.parent);
            }
            if let Some(first) = path.iter().position(|&on_path| on_path == at) {
                let inode = path[first..].iter().copied().min().unwrap_or(at);
                found.push(Finding::Loop { inode });
            }
        }
        found
    }
}

fn orphan(number: u32, known: &Known, found: &mut Vec<Finding>) {
    if known.names != 0 || known.inode.raw.nlink.get() != 0 {
        found.push(Finding::OrphanNamed { inode: number });
    }
    if known.inode.kind == FileKind::Directory && known.inode.raw.size.get() != 0 {
        found.push(Finding::OrphanFull { inode: number });
    }
}
