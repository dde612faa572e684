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
    "failed-record-counts" FailedRecordCounts: "faults" 240;
    "switch-after-failed-flush" SwitchAfterFailedFlush: "faults" 240;
    "checkpoint-durable-only" CheckpointDurableOnly: "faults" 240;
    "room-before-record" RoomBeforeRecord: "room" 1;
    "room-flush" RoomFlush: "room" 1;
}
