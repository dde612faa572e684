//! Mending what a check found, where there is no choice: what is right follows from the rest of the image.
//!
//! A repair is a row of transactions, each of which leaves the image better than it was, so a crash in the
//! middle of it is a repair that is not finished. After each step the image is checked again, because one
//! repair may show or settle other damage. Steps go in the order of [`step_of`]: first the bitmaps, so that
//! nothing is allocated over data, at last what is freed.
//!
//! When there is anything that cannot be mended nothing is changed: what the right state is may depend on
//! it. Nothing but what was found is touched, times included.

mod names;
mod space;

use super::{Checker, Finding, Report};
use crate::core::{Core, Error, Result, Txn, XattrList, count_free};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, Corrupt, FileKind, HEADER_SIZE_BYTES, INODE_SIZE_BYTES, Inode, RawInode,
};
use crate::store::Store;
use crate::store::runtime as rt;
use std::collections::HashSet;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Rounds of check and repair. Sound rules need one for each step; more are for reports that were too long.
const ROUNDS_MAX: usize = 1000;

/// Something that was mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// What had been found.
    pub finding: Finding,
    /// What was done about it.
    pub what: String,
}

/// How a repair ended.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// What was mended, in this order.
    pub mended: Vec<Mended>,
    /// The check after it: what is left.
    pub left: Report,
}

/// Mends what it can of an image that nobody else uses; one that its keeper has recovered, but that need
/// not be fit to be mounted.
///
/// `between` is called between transactions, without the gate: the place to commit. `now_ns` is when a
/// directory `lost+found` is made, if one is needed. Errors are those of `between`.
pub fn repair<S: Store>(
    core: &Core<S>,
    now_ns: i64,
    between: &mut dyn FnMut() -> std::result::Result<(), Errno>,
) -> std::result::Result<Repair, Errno> {
    let mut repair = Repair::default();
    let mut sealed = true;
    for _ in 0..ROUNDS_MAX {
        let mut checker = Checker::new(core, sealed);
        checker.look();
        // From now on seals are stale where something was mended.
        sealed = false;
        let findings = std::mem::take(&mut checker.report.findings);
        let slots: HashSet<u32> = findings.iter().filter_map(free_slot).collect();
        let steps = findings.iter().map(|finding| step(finding, &slots, &checker));
        let steps: Option<Vec<u32>> = steps.collect();
        checker.report.findings = findings;
        let (Some(steps), false) = (steps, checker.report.is_clean()) else {
            repair.left = checker.report;
            return Ok(repair);
        };
        let now = steps.iter().copied().min().unwrap_or(0);
        count(core);
        let mut progress = false;
        let findings = std::mem::take(&mut checker.report.findings);
        for (finding, _) in findings.iter().zip(&steps).filter(|(_, step)| **step == now) {
            match mend(&checker, finding, now_ns) {
                Ok(what) => {
                    progress = true;
                    repair.mended.push(Mended { finding: *finding, what });
                }
                // It is found again, and then nothing was mended in that round.
                Err(_) => continue,
            }
            between()?;
        }
        if !progress {
            checker.report.findings = findings;
            repair.left = checker.report;
            return Ok(repair);
        }
    }
    let mut checker = Checker::new(core, false);
    checker.look();
    repair.left = checker.report;
    Ok(repair)
}

fn free_slot(finding: &Finding) -> Option<u32> {
    match finding {
        Finding::FreeSlot { inode } => Some(*inode),
        _ => None,
    }
}

/// The counters that transactions go by, which nobody has counted while the volume is not mounted.
fn count<S: Store>(core: &Core<S>) {
    let store = core.image.store();
    let free = count_free(&core.image).saturating_sub(store.load(rt::QUARANTINE_COUNT));
    store.store(rt::FREE_BLOCKS, free);
}

/// When a finding's turn is, none if there is a choice in it that nobody here can make.
///
/// `slots` are free slots that hold something.
fn step<S: Store>(finding: &Finding, slots: &HashSet<u32>, checker: &Checker<'_, S>) -> Option<u32> {
    Some(match finding {
        // The owners of all blocks are known, or the bitmap cannot be told from them.
        Finding::Seal { block, .. } if checker.all_blocks && space::is_bitmap(checker, *block) => 0,
        Finding::Structure(
            Corrupt::Kind { block, .. }
            | Corrupt::Misplaced { block, .. }
            | Corrupt::Owner { block, .. },
        ) if checker.all_blocks && space::is_bitmap(checker, *block) => 0,
        Finding::SuperblockCopy { .. } => 1,
        Finding::BitmapTail { .. } | Finding::BlockNotMarked { .. } => 2,
        Finding::OrphanNamed { .. } | Finding::OrphanFull { .. } => 3,
        Finding::LeafCount { .. } => 4,
        Finding::NameCount { .. } => 5,
        // A name of an inode whose slot still holds it: which of the two is wrong?
        Finding::NameDangling { inode, .. } if slots.contains(inode) => return None,
        Finding::NameDangling { .. } | Finding::NameReserved { .. } => 6,
        Finding::NameHash { .. } | Finding::NamePlace { .. } => 7,
        Finding::NameKind { .. } => 8,
        Finding::Unnamed { .. } => 9,
        Finding::Parent { .. } => 10,
        Finding::LinkCount { .. } => 11,
        Finding::BehindEnd { .. } => 12,
        Finding::DirtyTail { .. } | Finding::DirtyInline { .. } | Finding::XattrRemains { .. } => 13,
        Finding::BlockCount { .. } => 14,
        Finding::FreeSlot { .. } => 15,
        Finding::BlocksLeaked { .. } => 16,
        // Of a mounted volume; the next mount counts anew.
        Finding::Counter { .. } => 17,
        _ => return None,
    })
}

fn mend<S: Store>(checker: &Checker<'_, S>, finding: &Finding, now_ns: i64) -> Result<String> {
    let core = checker.core;
    let anew = |what: &str| format!("{what} counted anew");
    match *finding {
        Finding::Seal { block, .. }
        | Finding::Structure(
            Corrupt::Kind { block, .. }
            | Corrupt::Misplaced { block, .. }
            | Corrupt::Owner { block, .. },
        ) => space::rebuild_bitmap(checker, block),
        Finding::SuperblockCopy { copy } => space::copy_superblock(core, copy),
        Finding::BitmapTail { group } => space::set_tail(core, group),
        Finding::BlockNotMarked { block, .. } => space::mark(core, block),
        Finding::BlocksLeaked { block, count } => apply(core, |txn| {
            txn.free(block, count);
            Ok("freed".to_owned())
        }),
        Finding::BehindEnd { inode, file_block } => space::cut(core, inode, file_block),
        Finding::DirtyTail { inode, block } => space::zero_tail(core, inode, block),
        Finding::DirtyInline { inode } => change(core, inode, |inode| {
            let len = inode.inline_data().len();
            inode.raw.root[len..].fill(0);
            "zeroed".to_owned()
        }),
        Finding::XattrRemains { inode } => apply(core, |txn| zero_behind_xattrs(txn, inode)),
        Finding::OrphanNamed { inode } | Finding::OrphanFull { inode } => apply(core, |txn| {
            txn.touch(inode);
            txn.set_orphan(inode, false)?;
            Ok("no longer marked as an orphan".to_owned())
        }),
        Finding::FreeSlot { inode } => apply(core, |txn| empty_slot(txn, inode)),
        Finding::LinkCount { inode, found, .. } => change(core, inode, |inode| {
            inode.raw.nlink = found.into();
            anew("links")
        }),
        Finding::BlockCount { inode, found, .. } => change(core, inode, |inode| {
            inode.raw.blocks = found.into();
            anew("blocks")
        }),
        Finding::NameCount { inode, found, .. } => change(core, inode, |inode| {
            inode.raw.size = found.into();
            anew("names")
        }),
        Finding::Parent { inode, found, .. } => change(core, inode, |inode| {
            let mut root = inode.dir_root();
            root.parent = found.into();
            inode.set_dir_root(&root);
            format!("its parent is {found} now")
        }),
        Finding::LeafCount { directory, block, found, .. } => apply(core, |txn| {
            txn.touch(directory);
            txn.edit(block, 24, 28)[24..28].copy_from_slice(&found.to_le_bytes());
            Ok(anew("names"))
        }),
        Finding::NameDangling { directory, inode } | Finding::NameReserved { directory, inode } => {
            names::remove(core, directory, inode)
        }
        Finding::NameKind { directory, inode, is, .. } => names::set_kind(core, directory, inode, is),
        Finding::NameHash { directory, block, at } | Finding::NamePlace { directory, block, at } => {
            names::enter_again(core, directory, block, at)
        }
        Finding::Unnamed { inode } => names::keep(core, inode, now_ns),
        Finding::Counter { .. } => {
            core.image.store().store(rt::USED_INODES, checker.report.inodes);
            Ok("counted anew".to_owned())
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Runs a transaction; lets the volume grow if there is no room for it.
fn apply<S: Store, T>(
    core: &Core<S>,
    mut change: impl FnMut(&mut Txn<'_, S>) -> Result<T>,
) -> Result<T> {
    core.image.lock_gate()?;
    // Nobody waits for the keeper here: whether the device has room the commit of the repair tells.
    core.image.store().store(crate::store::runtime::ROOM_BLOCKS, 0);
    let result = loop {
        let mut txn = Txn::begin(core);
        match change(&mut txn).and_then(|value| txn.commit().map(|()| value)) {
            Ok(value) => break Ok(value),
            Err(Error::Os(Errno::ENOSPC)) if core.can_grow() => {
                if let Err(error) = core.grow() {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    core.image.unlock_gate();
    result
}

/// Changes an inode's own fields. The table's inode has some that can be wrong, too.
fn change<S: Store>(
    core: &Core<S>,
    ino: u32,
    mut change: impl FnMut(&mut Inode) -> String,
) -> Result<String> {
    apply(core, |txn| {
        let slot = txn.locate(ino)?;
        let bytes = &txn.load(slot.block)[slot.at..slot.at + INODE_SIZE_BYTES];
        let raw = RawInode::read_from_bytes(bytes).map_err(|_| Errno::EIO)?;
        let kind = FileKind::from_mode(raw.mode.get()).ok_or(Errno::EIO)?;
        let mut inode = Inode { number: ino, kind, raw };
        let what = change(&mut inode);
        txn.put_inode(&inode)?;
        Ok(what)
    })
}

/// Empties a slot that is not in use, but for the count of its uses.
fn empty_slot<S: Store>(txn: &mut Txn<'_, S>, ino: u32) -> Result<String> {
    let slot = txn.locate(ino)?;
    txn.touch(ino);
    let range = slot.at..slot.at + INODE_SIZE_BYTES;
    let old = RawInode::read_from_bytes(&txn.load(slot.block)[range.clone()]).map_err(|_| Errno::EIO)?;
    let mut raw = RawInode::new_zeroed();
    raw.generation = old.generation;
    txn.edit(slot.block, range.start, range.end)[range].copy_from_slice(raw.as_bytes());
    Ok("emptied".to_owned())
}

/// Zeros what lies behind an inode's list of attributes, in its block and in the inode.
fn zero_behind_xattrs<S: Store>(txn: &mut Txn<'_, S>, ino: u32) -> Result<String> {
    let mut inode = txn.inode(ino)?;
    let len = XattrList::read(txn, &inode)?.as_bytes().len();
    txn.touch(ino);
    let block = inode.raw.xattr_block.get();
    if block != 0 {
        let from = HEADER_SIZE_BYTES + len;
        txn.edit(block, from, BLOCK_SIZE)[from..].fill(0);
    }
    let inline = usize::from(inode.raw.xattr_len.get());
    inode.raw.xattrs[inline..].fill(0);
    txn.put_inode(&inode)?;
    Ok("zeroed".to_owned())
}
