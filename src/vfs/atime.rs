//! The time of last access, kept no more often than somebody can need it.

use super::Volume;
use super::types::Ino;
use crate::format::Inode;
use crate::store::Store;
use crate::store::runtime as rt;

const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

/// When reading changes the time of last access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Atime {
    /// When it is not later than the last change, or a day old: tells whether something was read since
    /// it changed, and costs next to nothing.
    #[default]
    Relative,
    /// Never.
    Never,
    /// With every access.
    Always,
}

impl Atime {
    fn is_due(self, inode: &Inode, now_ns: i64) -> bool {
        let raw = &inode.raw;
        let atime = raw.atime.get();
        match self {
            Self::Never => false,
            Self::Always => atime != now_ns,
            Self::Relative => {
                atime <= raw.mtime.get()
                    || atime <= raw.ctime.get()
                    || now_ns.saturating_sub(atime) >= DAY_NS
            }
        }
    }
}

impl<S: Store> Volume<S> {
    /// When reading changes the time of last access; `Relative` unless told otherwise.
    pub fn set_atime(&mut self, atime: Atime) {
        self.atime = atime;
    }

    /// Notes that a file was read, a directory listed or a link followed. Takes no lock unless the time
    /// of last access is due.
    ///
    /// As on Linux nobody hears of it when the time cannot be noted: the access itself was done.
    pub fn accessed(&self, ino: Ino) {
        let store = self.core.image.store();
        if self.atime == Atime::Never || store.load(rt::READ_ONLY) != 0 {
            return;
        }
        let now = self.now();
        let due = self.stable(ino, |core| Ok(self.atime.is_due(&core.read_inode(ino)?, now)));
        if due != Ok(true) {
            return;
        }
        let _ = self.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            // Somebody else may have been faster.
            if self.atime.is_due(&inode, now) {
                inode.raw.atime = now.into();
                txn.put_inode(&inode)?;
            }
            Ok(())
        });
    }
}
