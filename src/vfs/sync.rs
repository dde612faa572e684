//! fsync, sync, and waiting for space that only a commit sets free.

use super::Volume;
use super::types::Ino;
use crate::errno::Errno;
use crate::persist::{self, Asked, Metrics};
use crate::store::Store;
use crate::store::runtime::{self as rt, Durability};

/// Who makes changes durable.
pub enum Committer {
    /// The keeper worker, which is asked through words of the store.
    Keeper,
    /// This process itself: it is told whether the commit has to be durable in relaxed mode too.
    Inline(Box<dyn Fn(bool) -> Result<(), Errno> + Send + Sync>),
}

impl<S: Store> Volume<S> {
    /// Makes an inode's data and attributes, and its names, durable; waits as the volume's durability
    /// says.
    pub fn fsync(&self, ino: Ino) -> Result<(), Errno> {
        self.counted(|| self.fsync_uncounted(ino))
    }

    /// As `fsync`, for whoever has more to do before the call is over and counts it himself.
    pub(crate) fn fsync_uncounted(&self, ino: Ino) -> Result<(), Errno> {
        self.stable(ino, |core| core.read_inode(ino).map(drop))?;
        self.commit_and_wait()
    }

    /// Makes everything durable that was changed so far, as the volume's durability says.
    pub fn sync(&self) -> Result<(), Errno> {
        self.counted(|| self.commit_and_wait())
    }

    /// Makes everything durable that was changed so far, in relaxed mode too: what a write does to a file
    /// that is open for synchronous writes. A volume in memory has nothing durable.
    pub fn sync_durably(&self) -> Result<(), Errno> {
        self.counted(|| self.commit_durably())
    }

    /// As `sync_durably`, uncounted.
    pub(crate) fn commit_durably(&self) -> Result<(), Errno> {
        self.wait_for_commit(true)
    }

    /// Runs a call that asks for durability; the volume's metrics tell how it ended and how long it took.
    pub(crate) fn counted(&self, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let begun_us = self.stopwatch.map(|now| (now, now()));
        let result = call();
        let us = begun_us.map(|(now, begun)| now().saturating_sub(begun));
        persist::note_fsync(self.core.image.store(), result.is_ok(), us);
        result
    }

    /// What the volume has done since it was mounted, by all programs that share it, and how it is.
    pub fn metrics(&self) -> Metrics {
        Metrics::read(&self.core.image)
    }

    /// Waits for a commit of everything changed so far, as the volume's durability says.
    pub(super) fn commit_and_wait(&self) -> Result<(), Errno> {
        self.wait_for_commit(false)
    }

    /// Waits until everything changed so far is durable, which sets quarantined blocks free.
    pub(super) fn free_quarantine(&self) -> Result<(), Errno> {
        self.commit_durably()
    }

    /// Waits until the image file has room for `blocks` blocks.
    pub(super) fn make_room(&self, blocks: u32) -> Result<(), Errno> {
        let image = &self.core.image;
        match &self.committer {
            Committer::Keeper => self.wait_for(Asked::room(image, blocks)),
            Committer::Inline(commit) => {
                persist::want_room(image.store(), blocks);
                commit(true)
            }
        }
    }

    fn wait_for_commit(&self, durable: bool) -> Result<(), Errno> {
        let image = &self.core.image;
        if image.durability() == Durability::Memory {
            return Ok(());
        }
        let change = image.store().load(rt::CHANGE);
        match &self.committer {
            Committer::Keeper => self.wait_for(Asked::commit(image, change, durable)),
            Committer::Inline(commit) => commit(durable),
        }
    }
}
