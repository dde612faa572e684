//! Looking for damage: walks everything that an image holds and reports each disagreement.
//!
//! The check never writes, never panics on any bytes and always ends: every block is claimed by who
//! uses it, and a walk that meets a claimed block stops there. What hangs from a damaged node is not
//! reported again: a directory that cannot be read makes its files neither unnamed nor its blocks
//! leaked.
//!
//! Order: superblocks, bitmaps, the inode table, what each inode owns (`inode`), the names of the
//! directories (`names`), links and parents (`links`), and at last the bitmaps against the claims
//! (`space`). The caller holds the gate, or nobody else uses the store.
//!
//! What can be mended without a choice is mended by `repair`.

mod finding;
mod inode;
mod links;
mod names;
mod repair;
mod space;

pub use finding::{Finding, Severity};
pub use repair::{Mended, Repair, repair};

use super::inodes::{for_each_table_block, inode_in};
use super::{Core, Error, Mapping, extent};
use crate::format::{
    BLOCK_SIZE, Block, FileKind, INO_INODE_FILE, INO_ROOT, INODE_SIZE_BYTES, INODES_PER_BLOCK, Inode,
    Superblock, is_zero, verify,
};
use crate::store::Store;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// A report longer than this helps nobody, and a damaged image could make it endless.
const FINDINGS_MAX: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The findings, in the order of the check.
    pub findings: Vec<Finding>,
    /// There were more findings than a report holds.
    pub truncated: bool,
    /// Inodes in use.
    pub inodes: u32,
    /// Names in all directories.
    pub names: u64,
    /// Blocks that belong to an inode.
    pub blocks: u32,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The worst finding's severity, none when there is no finding.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).max()
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.truncated = true;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}: {finding}", finding.severity())?;
        }
        if self.truncated {
            writeln!(f, "there is more")?;
        }
        let Self { inodes, names, blocks, .. } = self;
        let count = self.findings.len();
        write!(f, "{inodes} inodes, {names} names, {blocks} blocks: {count} findings")
    }
}

/// Checks a mounted volume. Seals are not looked at: in memory they are stale.
pub fn check<S: Store>(core: &Core<S>) -> Report {
    Checker::new(core, false).run()
}

/// Checks an image as it lies in its file, the seals of all metadata blocks included.
pub fn check_sealed<S: Store>(core: &Core<S>) -> Report {
    Checker::new(core, true).run()
}

/// An inode and what the directories say about it.
struct Known {
    inode: Inode,
    orphan: bool,
    /// Names that lead to it.
    names: u32,
    /// Directories among its names.
    subdirectories: u32,
    /// The directory that holds it; of several the last one. 0 while there is none.
    parent: u32,
}

/// Owner of the superblocks and the bitmaps.
const NOBODY: u32 = u32::MAX;

struct Checker<'a, S: Store> {
    core: &'a Core<S>,
    seals: bool,
    report: Report,
    /// For each block the inode that uses it, 0 for none.
    owners: Vec<u32>,
    inodes: BTreeMap<u32, Known>,
    /// Inodes in use whose bytes make no sense: names may lead to them.
    damaged: HashSet<u32>,
    /// Every block's owner is known: no walk was cut short.
    all_blocks: bool,
    /// Every name is known.
    all_names: bool,
}

impl<'a, S: Store> Checker<'a, S> {
    fn new(core: &'a Core<S>, seals: bool) -> Self {
        Self {
            core,
            seals,
            report: Report::default(),
            owners: vec![0; core.image.geometry().image_blocks() as usize],
            inodes: BTreeMap::new(),
            damaged: HashSet::new(),
            all_blocks: true,
            all_names: true,
        }
    }

    fn run(mut self) -> Report {
        self.look();
        self.report
    }

    fn look(&mut self) {
        self.superblocks();
        self.bitmap_headers();
        if let Err(Error::Corrupt(corrupt)) = self.table() {
            self.report.add(Finding::Table(corrupt));
            self.all_blocks = false;
            return;
        }
        if self.inodes.get(&INO_ROOT).is_none_or(|root| root.inode.kind != FileKind::Directory) {
            self.report.add(Finding::NoRoot);
            return;
        }
        let inodes: Vec<Inode> = self.inodes.values().map(|known| known.inode).collect();
        for inode in &inodes {
            self.inode(inode);
        }
        self.table_start();
        self.links();
        self.space();
    }

    fn superblocks(&mut self) {
        let mut copies = [[0; BLOCK_SIZE]; 2];
        for (block, copy) in (0..).zip(&mut copies) {
            self.core.image.read_block(block, copy);
            self.owners[block as usize] = NOBODY;
        }
        if Superblock::choose([&copies[0], &copies[1]]).is_err() {
            self.report.add(Finding::NoSuperblock);
            return;
        }
        for (block, copy) in (0..).zip(&copies) {
            if Superblock::check(copy, block).is_err() {
                self.report.add(Finding::SuperblockCopy { copy: block });
            }
        }
    }

    /// Collects the inodes; an error is damage that hides all of them.
    fn table(&mut self) -> super::Result<()> {
        let core = self.core;
        let geometry = core.image.geometry();
        let (seals, report) = (self.seals, &mut self.report);
        let (inodes, damaged) = (&mut self.inodes, &mut self.damaged);
        for_each_table_block(core, &mut |table, bytes| {
            if seals && !verify(bytes) {
                report.add(Finding::Seal { block: table.block, inode: INO_INODE_FILE });
            }
            for slot in 0..INODES_PER_BLOCK {
                let Some(number) = table.part.checked_mul(INODES_PER_BLOCK) else { break };
                let number = number.saturating_add(slot);
                if table.used >> slot & 1 == 0 {
                    if !slot_is_empty(bytes, slot) {
                        report.add(Finding::FreeSlot { inode: number });
                    }
                    continue;
                }
                // Inode 0 stands for "none"; its slot is taken so that nobody gets it.
                if number == 0 {
                    continue;
                }
                report.inodes += 1;
                let orphan = table.orphans >> slot & 1 == 1;
                match inode_in(bytes, number, &geometry) {
                    Ok(inode) => {
                        let known = Known { inode, orphan, names: 0, subdirectories: 0, parent: 0 };
                        inodes.insert(number, known);
                    }
                    Err(error) => {
                        damaged.insert(number);
                        if let Error::Corrupt(corrupt) = error {
                            report.add(Finding::Structure(corrupt));
                        }
                    }
                }
            }
            Ok(())
        })?;
        if !self.damaged.is_empty() {
            self.all_blocks = false;
            self.all_names = false;
        }
        Ok(())
    }

    /// The table is found through the superblock, but its extents must say the same.
    fn table_start(&mut self) {
        let block = self.core.superblock.inode_file_block;
        let Some(table) = self.inodes.get(&INO_INODE_FILE) else { return };
        if let Ok(mapping) = extent::map(&self.core.image, &table.inode, 0)
            && !matches!(mapping, Mapping::Run { block: found, .. } if found == block)
        {
            self.report.add(Finding::TableStart { block });
        }
    }

    /// Notes that `inode` uses a block; false if somebody uses it already.
    fn claim(&mut self, block: u32, inode: u32) -> bool {
        let Some(owner) = self.owners.get_mut(block as usize) else { return false };
        match *owner {
            0 => {
                *owner = inode;
                self.report.blocks += u32::from(inode != NOBODY);
                true
            }
            other => {
                self.report.add(Finding::BlockTwice { block, inode, other });
                false
            }
        }
    }

    /// Compares the seal of a metadata block, if seals are looked at.
    fn seal(&mut self, block: u32, inode: u32, bytes: &Block) {
        if self.seals && !verify(bytes) {
            self.report.add(Finding::Seal { block, inode });
        }
    }
}

/// Whether a slot that is not in use is as `free_inode` leaves it: zero but for the generation.
fn slot_is_empty(bytes: &Block, slot: u32) -> bool {
    const GENERATION: std::ops::Range<usize> = 64..68;
    let at = (slot as usize + 1) * INODE_SIZE_BYTES;
    let inode = &bytes[at..at + INODE_SIZE_BYTES];
    is_zero(&inode[..GENERATION.start]) && is_zero(&inode[GENERATION.end..])
}
