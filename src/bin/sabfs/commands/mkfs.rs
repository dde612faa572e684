//! `sabfs mkfs`: makes an empty volume.

use super::Outcome;
use crate::session::{self, clock_ms, now_ns, random_number};
use sabfs::core::Image;
use sabfs::persist::{Found, Keeper, OpenOptions, VolumeFolder};
use sabfs::store::runtime::Durability;
use sabfs::vfs::Volume;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Room for a volume that is made: 16 MiB. How far it grows later is up to who mounts it.
const NEW_BLOCKS: u32 = 4096;

/// Make an empty volume, which grows as it is filled.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder, which is made if it does not exist.
    folder: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let path = &arguments.folder;
    let existing = path.join("image");
    if fs::metadata(&existing).is_ok_and(|file| file.len() > 0) {
        return Err(format!("{} exists: remove it first if it may be lost", existing.display()));
    }
    let folder = VolumeFolder::open(path).map_err(|error| error.to_string())?;
    let (image_device, journal_device) = folder.devices().map_err(|error| error.to_string())?;
    let random = session::random_bytes()?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&random[..16]);
    let options = OpenOptions::new(uuid, Box::new(random_number));
    let store = session::store(NEW_BLOCKS, Durability::Strict)?;
    let image = Image::attach(store.clone(), 2).map_err(|errno| errno.to_string())?;
    let (mut keeper, found) =
        Keeper::open(image, image_device, journal_device, options, clock_ms(), &mut |_| ())
            .map_err(|error| error.to_string())?;
    if found != Found::New {
        return Err(format!("{} holds a volume already", path.display()));
    }
    Volume::format(store, 1, now_ns, random)
        .map_err(|errno| format!("cannot make a volume: {errno}"))?;
    let failed = |errno| format!("cannot write to {}: {errno}", path.display());
    keeper.checkpoint_now().map_err(failed)?;
    keeper.stop().map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
