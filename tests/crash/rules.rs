//! Each rule of the commit protocol, and the workloads that notice when it is off.

use super::families::Change;
use sabfs::persist::{Rule, Rules};

/// A rule and who misses it.
pub struct Off {
    pub name: &'static str,
    pub change: Change,
    /// Families, and how many workloads of each.
    pub families: &'static [(&'static str, usize)],
}

macro_rules! off {
    ($($name:literal $rule:ident: $($family:literal $count:literal),+;)*) => {
        pub const ALL: &[Off] = &[$(Off {
            name: $name,
            change: |mut config| {
                config.rules = Rules::without(&[Rule::$rule]);
                config
            },
            families: &[$(($family, $count)),+],
        }),*];
    };
}

off! {
    "fresh-since-record" FreshSinceRecord: "relaxed" 12;
    "quarantine-until-durable" QuarantineUntilDurable: "relaxed" 12;
    "quarantine-of-the-cut" QuarantineOfTheCut: "meddled" 20;
    "no-bypass-over-live" NoBypassOverLive: "bypass" 12;
    "live-until-replaced" LiveUntilReplaced: "bypass" 12;
    "two-step-switch" TwoStepSwitch: "segments" 12;
    "data-flush" DataFlush: "bypass" 8;
    "checkpoint-flush" CheckpointFlush: "segments" 8;
    "older-segment-only" OlderSegmentOnly: "segments" 12;
    "clean-before-copy" CleanBeforeCopy: "meddled" 20;
    "failed-record-counts" FailedRecordCounts: "faults" 72;
    "switch-after-failed-flush" SwitchAfterFailedFlush: "faults" 72;
    "checkpoint-durable-only" CheckpointDurableOnly: "faults" 72;
    "room-before-record" RoomBeforeRecord: "room" 1;
    "room-flush" RoomFlush: "room" 1;
    "one-record" OneRecord: "ace-2" 20;
    "same-number-again" SameNumberAgain: "faults" 72;
    "checkpoint-before-switch" CheckpointBeforeSwitch: "segments" 8;
    "checkpoint-starts-over" CheckpointStartsOver: "faults" 72;
    "record-hash" RecordHash: "ace-2" 20;
    "record-chain" RecordChain: "same-keys" 12;
    "older-first" OlderFirst: "segments" 8;
    "recovery-flush" RecoveryFlush: "segments" 8;
}
