//! Making a mounted volume larger.

use super::Volume;
use crate::core::Error;
use crate::errno::Errno;
use crate::format::Geometry;
use crate::store::Store;

impl<S: Store> Volume<S> {
    /// Lets the volume have `blocks` blocks (one less where the last group would be nothing but its
    /// bitmap) while it is mounted. Like any other change it is durable after the next sync.
    ///
    /// A volume grows by itself when it is full; growing it before says in time whether the store and
    /// the device have the room. `EFBIG` beyond the store's capacity: mount with a larger one. `EINVAL`
    /// when that is less than the volume has: it cannot get smaller, copy its files to a new one.
    /// `ENOSPC` or `EDQUOT` when the device has no room for the new groups' bitmaps.
    pub fn grow_to(&self, blocks: u32) -> Result<(), Errno> {
        let image = self.image();
        let new = Geometry::new(blocks).ok_or(Errno::EINVAL)?;
        if new.image_blocks() > image.capacity_blocks() {
            return Err(Errno::EFBIG);
        }
        loop {
            let gate = self.admitted_gate()?;
            let now = image.geometry().image_blocks();
            if new.image_blocks() <= now {
                return if new.image_blocks() == now { Ok(()) } else { Err(Errno::EINVAL) };
            }
            match self.core.room_for(&new) {
                None => return self.core.grow_to(new).map_err(Error::errno),
                Some(room) => {
                    drop(gate);
                    self.make_room(room)?;
                }
            }
        }
    }
}
