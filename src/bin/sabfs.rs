//! The native tool: makes volumes and checks them.
//!
//! `check` writes nothing into a volume's files. What recovery would write goes into memory, so a
//! volume that a crash left behind is checked as the next mount would find it. The lock file is taken
//! for that time, so that nobody writes meanwhile.

#[cfg(all(unix, not(target_family = "wasm")))]
mod tool {
    use sabfs::core::check::check_sealed;
    use sabfs::core::{Core, Image};
    use sabfs::format::{BLOCK_SIZE, Block, Superblock};
    use sabfs::persist::{
        Device, DeviceError, FileDevice, Found, Keeper, OpenError, OpenOptions, VolumeFolder,
        open_volume,
    };
    use sabfs::store::runtime::{self as rt, Durability};
    use sabfs::store::{HeapStore, Store};
    use sabfs::vfs::Volume;
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::Read;
    use std::path::Path;
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    const USAGE: &str = "\
usage: sabfs check VOLUME      look for damage; VOLUME is a volume's folder or an image file
       sabfs mkfs FOLDER       make an empty volume, which grows as it is filled

exit codes of check: 0 nothing found, 1 something found, 2 it could not be checked";

    /// Room for a volume that is made: 16 MiB. How far it grows later is up to who mounts it.
    const NEW_BLOCKS: u32 = 4096;

    type Outcome = Result<ExitCode, String>;

    pub fn main(arguments: &[String]) -> ExitCode {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = match words[..] {
            ["check", volume] => check(Path::new(volume)),
            ["mkfs", folder] => make(Path::new(folder)),
            ["--help" | "-h" | "help"] => {
                println!("{USAGE}");
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(USAGE.to_owned()),
        };
        outcome.unwrap_or_else(|message| {
            eprintln!("{message}");
            ExitCode::from(2)
        })
    }

    fn check(path: &Path) -> Outcome {
        if path.is_dir() { check_folder(path) } else { check_image(path) }
    }

    /// Prints what is found in the image, which lies in the store.
    fn report<S: Store>(image: Image<S>, superblock: Superblock) -> Outcome {
        let report = check_sealed(&Core::new(image, superblock));
        println!("{report}");
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn check_folder(path: &Path) -> Outcome {
        // Opening the folder would make the files that are missing.
        for name in ["image", "journal"] {
            if !path.join(name).is_file() {
                return Err(format!("{} is not a volume: it has no file {name}", path.display()));
            }
        }
        let folder = VolumeFolder::open(path).map_err(|error| error.to_string())?;
        let (mut image_device, _) = folder.devices().map_err(|error| error.to_string())?;
        let size_bytes = image_device.size_bytes().map_err(|error| error.to_string())?;
        let mut blocks = u32::try_from(size_bytes / BLOCK_SIZE as u64).unwrap_or(u32::MAX).max(64);
        loop {
            let image = image_in_memory(blocks)?;
            let (image_device, journal_device) = folder.devices().map_err(|error| error.to_string())?;
            let devices = (Overlay::new(image_device), Overlay::new(journal_device));
            let options = OpenOptions::new([0; 16], Box::new(|| 0));
            match open_volume(devices.0, devices.1, &image, options, &mut |_| ()) {
                // The file may end before the volume does.
                Err(OpenError::Capacity { needed_blocks, .. }) if needed_blocks > blocks => {
                    blocks = needed_blocks;
                }
                Err(error) => return Err(error.to_string()),
                Ok(opened) => {
                    return match opened.found {
                        Found::Volume(superblock) => report(image, superblock),
                        _ => Err(format!("{} holds no volume yet", path.display())),
                    };
                }
            }
        }
    }

    fn check_image(path: &Path) -> Outcome {
        let failed = |error| format!("cannot read {}: {error}", path.display());
        let mut file = File::open(path).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        let mut copies = [[0; BLOCK_SIZE]; 2];
        for copy in &mut copies {
            read_block(&mut file, copy).map_err(failed)?;
        }
        let superblock =
            Superblock::choose([&copies[0], &copies[1]]).map_err(|error| error.to_string())?;
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
        println!("an image without its journal: changes that are only in the journal are not seen");
        report(image, superblock)
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

    fn store(blocks: u32, durability: Durability) -> Result<Arc<HeapStore>, String> {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(blocks)));
        Image::prepare(&store, 1, durability).map_err(|errno| errno.to_string())?;
        Ok(store)
    }

    fn image_in_memory(blocks: u32) -> Result<Image<Arc<HeapStore>>, String> {
        Image::attach(store(blocks, Durability::Memory)?, 1).map_err(|errno| errno.to_string())
    }

    /// A file whose changes stay in memory.
    struct Overlay {
        file: FileDevice,
        size_bytes: Option<u64>,
        written: BTreeMap<u64, Box<Block>>,
    }

    impl Overlay {
        fn new(file: FileDevice) -> Self {
            Self { file, size_bytes: None, written: BTreeMap::new() }
        }

        fn block(&mut self, number: u64) -> Result<&mut Block, DeviceError> {
            if !self.written.contains_key(&number) {
                let mut bytes = Box::new([0; BLOCK_SIZE]);
                self.file.read_full(number * BLOCK_SIZE as u64, &mut bytes[..])?;
                self.written.insert(number, bytes);
            }
            Ok(self.written.entry(number).or_insert_with(|| Box::new([0; BLOCK_SIZE])))
        }
    }

    impl Device for Overlay {
        fn size_bytes(&mut self) -> Result<u64, DeviceError> {
            self.size_bytes.map_or_else(|| self.file.size_bytes(), Ok)
        }

        fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
            let left = self.size_bytes()?.saturating_sub(at);
            let within = (at % BLOCK_SIZE as u64) as usize;
            let count =
                buffer.len().min(BLOCK_SIZE - within).min(usize::try_from(left).unwrap_or(usize::MAX));
            let buffer = &mut buffer[..count];
            match self.written.get(&(at / BLOCK_SIZE as u64)) {
                Some(bytes) => buffer.copy_from_slice(&bytes[within..within + count]),
                None => {
                    // Behind the file's own end, but not behind the end that it was given here.
                    let done = self.file.read_full(at, buffer)?;
                    buffer[done..].fill(0);
                }
            }
            Ok(count)
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
            let within = (at % BLOCK_SIZE as u64) as usize;
            let count = bytes.len().min(BLOCK_SIZE - within);
            let size_bytes = self.size_bytes()?.max(at + count as u64);
            self.block(at / BLOCK_SIZE as u64)?[within..within + count].copy_from_slice(&bytes[..count]);
            self.size_bytes = Some(size_bytes);
            Ok(count)
        }

        fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
            // Blocks that are cut off hide what the file has there.
            let old = self.size_bytes()?;
            for number in size_bytes.div_ceil(BLOCK_SIZE as u64)..old.div_ceil(BLOCK_SIZE as u64) {
                self.block(number)?.fill(0);
            }
            self.size_bytes = Some(size_bytes);
            Ok(())
        }

        fn flush(&mut self) -> Result<(), DeviceError> {
            Ok(())
        }
    }

    fn make(path: &Path) -> Outcome {
        let existing = path.join("image");
        if fs::metadata(&existing).is_ok_and(|file| file.len() > 0) {
            return Err(format!("{} exists: remove it first if it may be lost", existing.display()));
        }
        let folder = VolumeFolder::open(path).map_err(|error| error.to_string())?;
        let (image_device, journal_device) = folder.devices().map_err(|error| error.to_string())?;
        let mut random = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut random))
            .map_err(|error| format!("cannot read random numbers: {error}"))?;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&random[..16]);
        let options = OpenOptions::new(uuid, Box::new(random_number));
        let store = store(NEW_BLOCKS, Durability::Strict)?;
        let image = Image::attach(store.clone(), 2).map_err(|errno| errno.to_string())?;
        let started = Instant::now();
        let clock = Box::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (mut keeper, found) =
            Keeper::open(image, image_device, journal_device, options, clock, &mut |_| ())
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

    fn now_ns() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn random_number() -> u64 {
        let mut bytes = [0; 8];
        // `make` has read from it already.
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        read.map(|()| u64::from_le_bytes(bytes)).expect("the host has random numbers")
    }
}

#[cfg(all(unix, not(target_family = "wasm")))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tool::main(&arguments)
}

#[cfg(not(all(unix, not(target_family = "wasm"))))]
fn main() {
    eprintln!("sabfs: this system's file locks are not known");
}
