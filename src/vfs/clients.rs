//! Clients: coming to a store, leaving it, and what the others do when one dies.
//!
//! A client is what can die by itself: a program with all its threads, or a worker or page with a view of its own.
//! It may end between any two instructions. The front end hears of it (a lock of the origin is granted, a thread's
//! end is told) and says so by [`Volume::bury`] to any client that lives. From then on nobody waits for the dead
//! one: whoever waits at the gate inherits it and completes what was half done (`core::settle`), and whoever buries
//! gives back the rest: inodes that were held, advisory locks, watchers, and at last the slot.
//!
//! Everything here can be done again by another one if who does it dies, too: a slot is dead until nothing of
//! its client is left.

use super::volume::Gate;
use super::{Clock, Volume, hold};
use crate::core::rules::Rule;
use crate::errno::Errno;
use crate::persist::ADMISSION_META_BLOCKS;
use crate::store::clients::{self, ClientId, Sign};
use crate::store::runtime as rt;
use crate::store::{Store, lock};
use std::sync::atomic::Ordering;

impl<S: Store> Volume<S> {
    /// Attaches to a volume that is mounted in the store, in a slot of its own. `sign` is what somebody needs to hear
    /// of this client's death, zeros if nobody can. `EUSERS` when all slots are taken: a store has 64 clients at
    /// most. `ENODEV` when there is no mounted volume.
    pub fn join(store: S, sign: Sign, clock: Clock) -> Result<Self, Errno>
    where
        S: Clone,
    {
        let client = clients::claim(&store, sign)?;
        Self::attach(store.clone(), client, clock).inspect_err(|_| clients::release(&store, client))
    }

    /// This client's name, by which others bury it.
    pub fn client(&self) -> ClientId {
        let image = self.image();
        let slot = image.client();
        // Nobody else gives the slot back.
        clients::id(image.store(), slot).unwrap_or(ClientId { slot, serial: 0 })
    }

    /// Leaves the store: gives back inodes that are held, locks, watchers and the slot. The view must not be used
    /// after that. A thread that waits for a lock meanwhile gets `ENODEV`.
    ///
    /// `EIO` when the gate cannot be had: then this client counts as dead, so that others see to what it leaves.
    /// `EAGAIN` when a brief view cannot have it by now: this can be called again.
    pub fn detach(&self) -> Result<(), Errno> {
        let image = self.image();
        // A thread that waits for a lock must not get it as the slot's next client.
        let held = self.held.lock();
        self.left.store(true, Ordering::Relaxed);
        drop(held);
        self.recover(image.client()).inspect_err(|&errno| {
            if errno != Errno::EAGAIN {
                clients::mark_dead(image.store(), self.client());
            }
        })
    }

    /// Says that a client has died, and recovers what it owned. It may have been recovered before, or have left:
    /// then nothing is done. `EINVAL` for this client itself.
    ///
    /// Whoever is said to be dead must be: it must not touch the store again.
    pub fn bury(&self, client: ClientId) -> Result<(), Errno> {
        if !clients::is_slot(client.slot) || client == self.client() {
            return Err(Errno::EINVAL);
        }
        clients::mark_dead(self.image().store(), client);
        self.recover_dead()
    }

    /// Says that the keeper has died: the gate that it may have had is inherited. What it was about to make
    /// durable is the next keeper's business.
    pub fn bury_keeper(&self) -> Result<(), Errno> {
        let store = self.image().store();
        clients::mark_keeper_dead(store);
        if lock::owner(store, rt::GATE) == rt::KEEPER_CLIENT {
            drop(self.gate()?);
        }
        Ok(())
    }

    /// Recovers whatever those have left who are known to be dead; others may do the same at the same time. `EIO` when the
    /// gate cannot be had.
    pub fn recover_dead(&self) -> Result<(), Errno> {
        for slot in clients::slots() {
            if clients::is_dead(self.image().store(), slot) {
                self.recover(slot)?;
            }
        }
        Ok(())
    }

    /// Takes a slot for this view. One that was never left is this client's now, with all that is in it.
    pub(super) fn enter_slot(&self) -> Result<(), Errno> {
        let image = self.image();
        if !clients::is_slot(image.client()) {
            return Err(Errno::EINVAL);
        }
        if !clients::attach(image.store(), image.client()) {
            image.lock_gate_after_own()?;
            self.give_all_back(Gate::new(image), image.client())?;
        }
        Ok(())
    }

    /// Gives back what a client owned, which is dead or this one, and its slot.
    fn recover(&self, client: u32) -> Result<(), Errno> {
        let (image, store) = (self.image(), self.image().store());
        let Some(id) = clients::id(store, client) else { return Ok(()) };
        if !image.rules().on(Rule::SlotLast) {
            clients::release(store, client);
        }
        let gate = self.gate()?;
        // Somebody else may have been faster, and the slot may be another client's by now.
        if clients::id(store, client) != Some(id) && image.rules().on(Rule::SlotLast) {
            return Ok(());
        }
        let gate = self.give_all_back(gate, client)?;
        if client == image.client() {
            // Nobody would take the gate from a client that there is not.
            drop(gate);
            clients::release(store, client);
        } else {
            clients::release(store, client);
        }
        Ok(())
    }

    /// Gives back all that a client owned but its slot. The gate is opened every now and then, so that no journal
    /// record gets too large and others are served.
    fn give_all_back<'a>(&'a self, mut gate: Gate<'a, S>, client: u32) -> Result<Gate<'a, S>, Errno> {
        let (store, rules) = (self.image().store(), self.image().rules());
        if rules.on(Rule::DropWatchers) {
            let (word, bit) = clients::mask_of(client);
            store.fetch_and(rt::LOG_WATCHERS + word, !bit);
        }
        if rules.on(Rule::DropLocks) {
            self.release_client(client)?;
        }
        while rules.on(Rule::LetInodesGo) && !hold::let_go(&self.core, client) {
            let metas =
                store.load(rt::DIRTY_META_COUNT).saturating_add(store.load(rt::IN_FLIGHT_META_COUNT));
            drop(gate);
            if metas > ADMISSION_META_BLOCKS {
                self.commit_and_wait()?;
            }
            gate = self.gate()?;
        }
        Ok(gate)
    }
}
