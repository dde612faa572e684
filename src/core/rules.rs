//! The rules that make the death of a client or of the machine hurt nobody, and the one that keeps commits possible, each
//! with a name.
//!
//! In a test build a rule can be switched off, and a test, mostly the kill explorer, has to notice. In every other build `on` is
//! constant and the switches are compiled away.

/// A rule of what a client does while it lives, or of what others do when it has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
// Some are asked after only where they can be switched off.
#[cfg_attr(not(test), allow(dead_code))]
pub enum Rule {
    /// What an operation changes is in its redo slot before the first of it is applied.
    RedoBeforeApply,
    /// What a dead client's slot holds is applied.
    Replay,
    /// Who inherits the gate makes whole what the dead one left before anybody else gets in.
    SettleBeforeOpening,
    /// A slot is empty again before the gate is given back: what others change later must not be undone.
    EmptyBeforeOpening,
    /// Slots are emptied when all is settled, and not before: who settles may die, too.
    EmptyWhenSettled,
    /// Blocks that a dead client had reserved are given back.
    DropReservations,
    /// They are given back after the replay, which makes some of them blocks of files.
    ReplayBeforeDropping,
    /// What a write put behind a file's end is cleared unless the new end is in force.
    ClearTail,
    /// Whoever takes a loaded image into use clears what a power loss left behind files' ends.
    ClearEnds,
    /// A write that makes a file longer puts the bytes there before the new end is in force.
    DataBeforeSize,
    /// Blocks are marked dirty before bytes are written over them, or nobody would write them to the disk.
    DirtyBeforeData,
    /// Sequence numbers that a dead client has left odd are made even.
    EvenStripes,
    /// Counts are made anew.
    CountAnew,
    /// The volume's shape is taken from its superblock: the dead one may have let it grow.
    ShapeAnew,
    /// Watchers are told that they may have missed something.
    TellWatchers,
    /// Inodes that only the dead client held are let go.
    LetInodesGo,
    /// An inode that nobody else holds is freed before its hold is given back: nobody would find it later.
    FreeBeforeForgetting,
    /// Advisory locks of a dead client are given back.
    DropLocks,
    /// The dead one no longer counts as a watcher.
    DropWatchers,
    /// A dead client's slot is free when all that it owned is recovered, and not before.
    SlotLast,
    /// Mutations wait while more metadata is dirty than the journal is sure to take in one record, or nothing could be
    /// committed any more.
    Admission,
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    #[cfg(test)]
    off: u32,
}

impl Rules {
    /// Whether the rule holds.
    #[inline]
    pub fn on(self, rule: Rule) -> bool {
        #[cfg(test)]
        return self.off & (1 << rule as u32) == 0;
        #[cfg(not(test))]
        {
            let _ = rule;
            true
        }
    }

    /// All rules but this one.
    #[cfg(test)]
    pub fn without(rule: Rule) -> Self {
        Self { off: 1 << rule as u32 }
    }
}
