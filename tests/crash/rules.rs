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
    "fresh-since-record" FreshSinceRecord: "relaxed" 4;
    "quarantine-until-durable" QuarantineUntilDurable: "relaxed" 4;
    "quarantine-of-the-cut" QuarantineOfTheCut: "meddled" 12;
    "no-bypass-over-live" NoBypassOverLive: "bypass" 6;
    "live-until-replaced" LiveUntilReplaced: "bypass" 6;
    "two-step-switch" TwoStepSwitch: "segments" 6;
    "data-flush" DataFlush: "bypass" 8;
    "checkpoint-flush" CheckpointFlush: "segments" 8;
    "older-segment-only" OlderSegmentOnly: "segments" 6;
    "clean-before-copy" CleanBeforeCopy: "meddled" 12;
    "failed-record-counts" FailedRecordCounts: "directed" 18;
    "switch-after-failed-flush" SwitchAfterFailedFlush: "directed" 18;
    "checkpoint-durable-only" CheckpointDurableOnly: "directed" 18;
    "room-before-record" RoomBeforeRecord: "room" 1;
    "room-flush" RoomFlush: "room" 1;
    "one-record" OneRecord: "ace-2" 20;
    "same-number-again" SameNumberAgain: "faults" 24;
    "checkpoint-before-switch" CheckpointBeforeSwitch: "segments" 8;
    "checkpoint-starts-over" CheckpointStartsOver: "directed" 18;
    "record-hash" RecordHash: "ace-2" 20;
    "record-chain" RecordChain: "same-keys" 6;
    "older-first" OlderFirst: "segments" 8;
    "recovery-flush" RecoveryFlush: "segments" 8;
}
