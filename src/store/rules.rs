//! The rules of how clients use the words that they share, each with a name.
//!
//! In the models of `src/models` a rule can be switched off, and a model has to fail. In every other build `holds`
//! is constant and the switches are compiled away. What is done when a client dies has rules of its own:
//! `core::rules`.

/// A rule of the order in which words are looked at and changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// An heir takes a lock by compare and exchange: of several who see the death one gets it.
    HeirByExchange,
    /// Who has slept and then finds a lock free takes it with the mark that somebody may be sleeping.
    KeepMark,
    /// An heir takes a lock with that mark: the news of the death may have missed a sleeper.
    HeirKeepsMark,
    /// Nobody sleeps on a lock before it bears the mark.
    MarkBeforeSleep,
    /// A free slot is taken by compare and exchange.
    SlotByExchange,
    /// A slot's word has a number that no other client of the slot has.
    SerialInSlot,
    /// A client is said to be dead by compare and exchange: it may leave, and another come, meanwhile.
    BuryByExchange,
    /// Redo records are in the slot before its state says so.
    RecordsBeforeState,
    /// Who changes what others read without a lock makes the sequence number odd first.
    OddBeforeBytes,
    /// Bytes are not changed before that is seen.
    FenceBehindOdd,
    /// Nor are those that an heir changes: the dead one has made the number odd.
    FenceBeforeSettling,
    /// Who reads without a lock looks at the sequence number again.
    LookAgain,
    /// The bytes are not read after that.
    FenceBeforeLook,
    /// What was found out about a name before the gate was taken counts only if the directory is as it was.
    PlaceAsSeen,
    /// A writer says how far it is going to write into the change log before it does so.
    ReserveBeforeBytes,
    /// Bytes of the change log are not written before that is seen.
    FenceBehindReserve,
    /// The change log's head moves when the records are there.
    HeadBehindBytes,
    /// Who has copied a record looks whether a writer has come by.
    LookAtReserve,
    /// A watcher says that it sleeps.
    SayWhoSleeps,
    /// Who wants a commit rings the keeper's bell after saying what it wants.
    BellBehindWanted,
    /// The keeper looks at the bell before it looks for work.
    BellBeforeWork,
    /// The keeper copies aside what is dirty under the gate.
    CutUnderGate,
}

/// Whether the rule holds.
#[cfg(not(all(test, feature = "models")))]
#[inline(always)]
pub fn holds(_: Rule) -> bool {
    true
}

#[cfg(all(test, feature = "models"))]
pub use switch::{holds, without};

#[cfg(all(test, feature = "models"))]
mod switch {
    use super::Rule;
    use std::cell::Cell;

    thread_local! {
        // All threads of a model are coroutines of one thread.
        static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Whether the rule holds in this thread.
    pub fn holds(rule: Rule) -> bool {
        OFF.get() != Some(rule)
    }

    /// Runs something without a rule.
    pub fn without<T>(rule: Rule, run: impl FnOnce() -> T) -> T {
        struct On;
        impl Drop for On {
            fn drop(&mut self) {
                OFF.set(None);
            }
        }
        let _on = On;
        OFF.set(Some(rule));
        run()
    }
}
