//! Loading a volume without writing to its files.

use super::overlay::Overlay;
use super::{HostStore, blocks_of, open_folder, store};
use sabfs::core::Image;
use sabfs::format::{BLOCK_SIZE, Block, Superblock};
use sabfs::persist::{Found, OpenError, OpenOptions, Phase, Progress, VolumeFolder, open_volume};
use sabfs::store::runtime::Durability;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A volume whose image lies in the store, not checked.
pub struct Loaded {
    /// The image.
    pub image: Image<HostStore>,
    /// Its superblock.
    pub superblock: Superblock,
    /// The folder, locked; none for an image file alone.
    pub folder: Option<VolumeFolder>,
    /// Blocks that the journal has for the image; none when there was no journal to look at.
    pub replayed_blocks: Option<u32>,
    /// Why the volume is refused otherwise, when it was to be salvaged.
    pub damage: Option<OpenError>,
}

/// Loads a volume's folder, recovered, or an image file as it is. `all_blocks`: what the bitmaps say is free,
/// too, as it is there that a check looks for what is missing.
pub fn load_in_memory(path: &Path, all_blocks: bool) -> Result<Loaded, String> {
    if path.is_dir() { load_folder(path, all_blocks, false) } else { load_image(path) }
}

/// Loads a volume's folder as [`load_in_memory`] does, to be mended: with all blocks, and with what is whole in a
/// damaged journal.
pub fn load_to_mend(path: &Path) -> Result<Loaded, String> {
    load_folder(path, true, true)
}

fn load_folder(path: &Path, all_blocks: bool, salvage: bool) -> Result<Loaded, String> {
    let (folder, size_bytes) = open_folder(path)?;
    let mut damage = None;
    let mut blocks = blocks_of(size_bytes);
    loop {
        let image = image_in_memory(blocks)?;
        let (image_device, journal_device) = folder.devices().map_err(|error| error.to_string())?;
        let devices = (Overlay::new(image_device), Overlay::new(journal_device));
        let mut options = OpenOptions::new([0; 16], Box::new(|| 0));
        options.all_blocks = all_blocks;
        options.salvage = damage.is_some();
        let mut replayed = 0;
        let mut progress = |progress: Progress| {
            if progress.phase == Phase::Recover {
                replayed = progress.total_blocks;
            }
        };
        match open_volume(devices.0, devices.1, &image, options, &mut progress) {
            // The file may end before the volume does.
            Err(OpenError::Capacity { needed_blocks, .. }) if needed_blocks > blocks => {
                blocks = needed_blocks;
            }
            Err(error @ OpenError::JournalDamaged { .. }) if salvage && damage.is_none() => {
                damage = Some(error);
            }
            Err(OpenError::JournalDamaged { what }) if damage.is_some() => {
                return Err(format!(
                    "nothing of the volume's journal can be saved ({what}): restore image and journal \
                     from the same copy"
                ));
            }
            Err(error) => return Err(error.to_string()),
            Ok(opened) => {
                return match opened.found {
                    Found::Volume(superblock) => {
                        let replayed_blocks = Some(replayed);
                        Ok(Loaded { image, superblock, folder: Some(folder), replayed_blocks, damage })
                    }
                    Found::New => Err(format!("{} holds no volume yet", path.display())),
                };
            }
        }
    }
}

fn load_image(path: &Path) -> Result<Loaded, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let mut copies = [[0; BLOCK_SIZE]; 2];
    for copy in &mut copies {
        read_block(&mut file, copy).map_err(failed)?;
    }
    let superblock = Superblock::choose([&copies[0], &copies[1]]).map_err(|error| error.to_string())?;
    let blocks = superblock.geometry.image_blocks();
    let image = image_in_memory(blocks)?;
    for (block, copy) in (0..).zip(&copies) {
        image.write(block, 0, copy);
    }
    let mut bytes = [0; BLOCK_SIZE];
    for block in 2..blocks.min(u32::try_from(size_bytes.div_ceil(4096)).unwrap_or(u32::MAX)) {
        read_block(&mut file, &mut bytes).map_err(failed)?;
        image.write(block, 0, &bytes);
    }
    Ok(Loaded { image, superblock, folder: None, replayed_blocks: None, damage: None })
}

/// Reads a block, zeros behind the end of the file.
fn read_block(file: &mut File, bytes: &mut Block) -> std::io::Result<()> {
    bytes.fill(0);
    let mut done = 0;
    while done < bytes.len() {
        match file.read(&mut bytes[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(())
}

fn image_in_memory(blocks: u32) -> Result<Image<HostStore>, String> {
    Image::attach(store(blocks, Durability::Memory)?, 1).map_err(|errno| errno.to_string())
}
