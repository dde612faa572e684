//! `sabfs check`: looks for damage.
//!
//! It writes nothing into a volume's files. What recovery would write goes into memory, so a volume that a
//! crash left behind is checked as the next mount would find it. The lock file is taken for that time, so
//! that nobody writes meanwhile.

use super::Outcome;
use crate::session::load_in_memory;
use sabfs::core::Core;
use sabfs::core::check::check_sealed;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look for damage; nothing is written.
///
/// Exit codes: 0 nothing found, 1 something found, 2 it could not be checked.
#[derive(clap::Args)]
pub struct Arguments {
    /// A volume's folder, or an image file.
    volume: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let loaded = load_in_memory(&arguments.volume)?;
    if loaded.folder.is_none() {
        println!("an image without its journal: changes that are only in the journal are not seen");
    }
    let report = check_sealed(&Core::new(loaded.image, loaded.superblock));
    println!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
