//! The rules that make recovery yield exactly one committed state, each with a name.
//!
//! In a test build, or with the feature `sim`, a rule can be switched off, and tests show that volumes break without it. In every
//! other build `on` is constant and the switches are compiled away.

/// A rule of the commit protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
// Some are asked after only where they can be switched off.
#[cfg_attr(not(any(test, feature = "sim")), allow(dead_code))]
pub enum Rule {
    /// A block counts as fresh only if it was allocated since the last record that may have been
    /// written; since the last durable one is not enough. Only fresh blocks may bypass the journal.
    FreshSinceRecord,
    /// A freed block is not allocated again before the commit that frees it is durable.
    QuarantineUntilDurable,
    /// What is released after a flush is what was quarantined at the cut, not what is by then.
    QuarantineOfTheCut,
    /// A block with a copy in either segment is journaled again, because replay would put the old
    /// copy over a newer one in the image.
    NoBypassOverLive,
    /// A segment's copies are live until its header was replaced on disk, not only until it was
    /// checkpointed: mounting replays it all the same.
    LiveUntilReplaced,
    /// A segment gets its new header durably before the first new record overwrites the old ones, or
    /// the old header would vouch for what is left of them.
    TwoStepSwitch,
    /// The image is flushed before a record refers to data that bypassed the journal.
    DataFlush,
    /// The image is flushed before a checkpoint counts.
    CheckpointFlush,
    /// After recovery only the older segment gets a new header; resetting both at once could leave
    /// the older one as the only valid one.
    OlderSegmentOnly,
    /// Data copied outside the gate are marked clean before they are copied, so that a change
    /// meanwhile marks them dirty again.
    CleanBeforeCopy,
    /// A record whose write failed may be there all the same: its blocks are live and no longer fresh.
    FailedRecordCounts,
    /// After a flush that failed, the next record goes to the other segment and carries all that the
    /// flush was to make durable.
    SwitchAfterFailedFlush,
    /// A checkpoint takes only records that a successful flush has covered.
    CheckpointDurableOnly,
    /// Before a record's write is tried the image file is as long as the record's blocks need: a device
    /// that is full says so before anything is acknowledged, and recovery always finds the room.
    RoomBeforeRecord,
    /// The image is flushed after it was made longer for a record: a length that a power loss takes
    /// back is room for others.
    RoomFlush,
    /// Blocks are marked as being in flight before they are marked clean, until they are durable.
    InFlightBeforeClean,
    /// A keeper that takes over writes what was in flight once more.
    InFlightIsDirty,
    /// All metadata of a commit are in one record, so that they change all at once.
    OneRecord,
    /// After a record whose write failed the next one is written in its place with the same number.
    SameNumberAgain,
    /// The other segment is checkpointed before it gets a new header, which takes its records away.
    CheckpointBeforeSwitch,
    /// A checkpoint during which a flush of the image failed starts over.
    CheckpointStartsOver,
    /// A record counts only if its hash fits: it proves that all of it was written.
    RecordHash,
    /// A record counts only if it continues its segment by epoch, number and the hash before it. That makes
    /// remains of older uses harmless even if random numbers repeat.
    RecordChain,
    /// Of two segments the one with the smaller epoch is replayed first.
    OlderFirst,
    /// A volume whose older segment does not reach to the newer one's first record is refused: replaying a part of
    /// it would take blocks back in time.
    OlderWhole,
    /// Opening flushes the image before the older segment gets a new header.
    RecoveryFlush,
    /// Opening flushes the journal before it writes to the image: what a program that was killed had
    /// written, but not flushed, could otherwise be lost when the image has it already.
    JournalFlushBeforeReplay,
    /// A segment's header is read from either of its two copies.
    HeaderCopies,
    /// A segment that lacks a record which a later one says was durable is damaged, and the volume refused.
    RecordsVouch,
    /// When nothing else is to do, and in the end, a record without blocks vouches for the last commit.
    NoteWhenIdle,
    /// A segment without a header that has records of a later epoch than the other one's has lost it, and the volume
    /// is refused.
    HeaderGone,
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    #[cfg(any(test, feature = "sim"))]
    off: u32,
}

impl Rules {
    /// Whether the rule holds.
    #[inline]
    pub fn on(self, rule: Rule) -> bool {
        #[cfg(any(test, feature = "sim"))]
        return self.off & (1 << rule as u32) == 0;
        #[cfg(not(any(test, feature = "sim")))]
        {
            let _ = rule;
            true
        }
    }

    /// All rules but these.
    #[cfg(any(test, feature = "sim"))]
    pub fn without(rules: &[Rule]) -> Self {
        Self { off: rules.iter().fold(0, |off, &rule| off | 1 << rule as u32) }
    }
}
