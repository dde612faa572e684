//! Each rule is switched off once, and the explorer has to notice.

use super::scenes::scenes;
use super::world::{Death, Setting, World};
use crate::core::Room;
use crate::core::rules::{Rule, Rules};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the explorer says when a rule does not hold, of scenes with `name` in their name; `heirs`: only heirs who
/// die show it.
fn missed(rule: Rule, name: &str, heirs: bool) -> Option<String> {
    let setting = Setting { room: Room::ALL, rules: Rules::without(rule) };
    for scene in scenes().iter().filter(|scene| scene.name.contains(name)) {
        let mut world = World::new(scene, setting);
        let Ok(whole) = catch_unwind(AssertUnwindSafe(|| world.rehearse())) else {
            return Some(format!("{}: what was left is not whole", scene.name));
        };
        let step = whole.accesses.div_ceil(1500);
        for access in (1..=whole.accesses).step_by(step as usize) {
            let all: Vec<_> = (1..200).step_by(7).chain([5_000, 9_000]).map(Some).collect();
            for heir in if heirs { all } else { vec![None] } {
                let death = Death { access, torn: false, heir, hurry: access % 2 == 0 };
                match catch_unwind(AssertUnwindSafe(|| world.play(&whole, death))) {
                    Ok(Ok(_)) => {}
                    Ok(Err(what)) => return Some(format!("{}: {death:?}: {what}", scene.name)),
                    Err(_) => return Some(format!("{}: {death:?}: something panicked", scene.name)),
                }
            }
        }
    }
    None
}

macro_rules! rules {
    ($($name:ident $rule:ident $scenes:literal $heirs:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let missed = missed(Rule::$rule, $scenes, $heirs);
                super::say(&format!("{:?} off: {}", Rule::$rule, missed.as_deref().unwrap_or("-")));
                assert!(missed.is_some(), "nobody notices");
            }
        )*
    };
}

rules! {
    rule_redo_before_apply RedoBeforeApply "create" false;
    rule_replay Replay "create" false;
    rule_settle_before_opening SettleBeforeOpening "create" false;
    rule_empty_before_opening EmptyBeforeOpening "create" false;
    rule_empty_when_settled EmptyWhenSettled "rename" true;
    rule_drop_reservations DropReservations "create" false;
    rule_replay_before_dropping ReplayBeforeDropping "create" false;
    rule_clear_tail ClearTail "appending" false;
    rule_data_before_size DataBeforeSize "appending" false;
    rule_dirty_before_data DirtyBeforeData "overwriting" false;
    rule_even_stripes EvenStripes "create" false;
    rule_count_anew CountAnew "create" false;
    rule_shape_anew ShapeAnew "grow" false;
    rule_tell_watchers TellWatchers "create" false;
    rule_let_inodes_go LetInodesGo "held" false;
    rule_free_before_forgetting FreeBeforeForgetting "without a name" false;
    rule_drop_locks DropLocks "lock" false;
    rule_drop_watchers DropWatchers "watching" false;
    rule_slot_last SlotLast "lock" true;
}
