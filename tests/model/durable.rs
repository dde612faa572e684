//! Volumes whose changes go to files in memory, committed by the operations themselves.

use super::volumes::{self, HeapVolume};
use sabfs::core::Image;
use sabfs::persist::{Found, Keeper, MemDevice, OpenOptions};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{Committer, Volume};
use std::sync::{Arc, Mutex};

/// So small that segments change often, and large enough for every block of a small volume.
const SEGMENT_BLOCKS: u32 = 1_400;

/// The files of a volume, which outlive its mounts.
#[derive(Clone, Default)]
pub struct Files {
    image: MemDevice,
    journal: MemDevice,
}

impl Files {
    /// Mounts the volume, or makes it.
    pub fn open(&self, blocks: u32) -> HeapVolume {
        let store = Arc::new(HeapStore::new(runtime::store_size_bytes(blocks)));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 2).unwrap();
        let mut number = 0x9e37_79b9_7f4a_7c15_u64;
        let random = move || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            number
        };
        let mut options = OpenOptions::new([7; 16], Box::new(random));
        options.segment_blocks = SEGMENT_BLOCKS;
        let clock = Box::new(|| 0);
        let (image_file, journal_file) = (self.image.clone(), self.journal.clone());
        let (keeper, found) =
            Keeper::open(image, image_file, journal_file, options, clock, &mut |_| ()).unwrap();
        let mut volume = match found {
            Found::New => Volume::format(store, 1, volumes::now, [7; 32]).unwrap(),
            Found::Volume(_) => Volume::load(store, 1, volumes::now)
                .unwrap_or_else(|error| panic!("the files do not load: {error}")),
        };
        let keeper = Mutex::new(keeper);
        volume.set_committer(Committer::Inline(Box::new(move |_| keeper.lock().unwrap().commit_now())));
        volume
    }
}
