//! `sabfs check`: looks for damage, and mends it if told to.
//!
//! Without --repair it writes nothing into a volume's files. What recovery would write goes into memory, so
//! a volume that a crash left behind is checked as the next mount would find it. The lock file is taken for
//! that time, so that nobody writes meanwhile.
//!
//! A repair is tried in memory first. Only when the volume is sound after that is it done in the files, by
//! transactions through the journal: a crash in the middle leaves a volume that is partly mended.

use super::Outcome;
use crate::session::{self, CAPACITY_BYTES, HostStore, Mend, load_in_memory, load_to_mend, now_ns};
use sabfs::core::check::{Finding, Mended, Report, Severity, check_sealed, repair};
use sabfs::core::{Core, clear_ends, read_superblock};
use sabfs::persist::ADMISSION_META_BLOCKS;
use sabfs::store::Store;
use sabfs::store::runtime as rt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Look for damage; nothing is written without --repair.
///
/// Exit codes: 0 nothing found, 1 something found, 2 it could not be checked. With --repair: 0 nothing found,
/// 1 all that was found is mended (of a damaged journal what is whole is saved), 2 something cannot be mended, and then nothing was changed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Mend what can be mended without a choice; all of it or nothing
    #[arg(long)]
    repair: bool,
    /// A volume's folder, or an image file.
    volume: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    if arguments.repair { mend(&arguments.volume) } else { check(&arguments.volume) }
}

fn check(path: &Path) -> Outcome {
    let loaded = load_in_memory(path, true)?;
    if loaded.folder.is_none() {
        println!("an image without its journal: changes that are only in the journal are not seen");
    }
    let core = Core::new(loaded.image, loaded.superblock);
    if loaded.folder.is_some() {
        as_mounted(&core);
    }
    let report = check_sealed(&core);
    println!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Clears in memory what every mount clears, so that what a power loss may leave is not taken for damage.
fn as_mounted(core: &Core<HostStore>) {
    // A damaged volume is not mounted either, and the check says why.
    if let Ok(blocks @ 1..) = clear_ends(core) {
        println!(
            "{blocks} blocks have bytes behind the ends of files, as a crash may leave them: the next mount \
             clears them"
        );
    }
}

fn mend(path: &Path) -> Outcome {
    if !path.is_dir() {
        return Err(format!(
            "{} is no volume's folder: an image without its journal cannot be mended",
            path.display()
        ));
    }
    let loaded = load_to_mend(path)?;
    if let Some(damage) = &loaded.damage {
        println!("{damage}");
    }
    let journal = loaded.damage.is_some();
    if loaded.superblock.read_only {
        return Err(format!("{} has features that this version can only read", path.display()));
    }
    let core = Core::new(loaded.image, loaded.superblock);
    as_mounted(&core);
    let tried = repair(&core, now_ns(), &mut || Ok(())).map_err(|errno| errno.to_string())?;
    drop((core, loaded.folder));
    if !tried.left.is_clean() {
        print_left(&tried.left);
        println!("nothing was changed");
        return Ok(ExitCode::from(2));
    }
    if tried.mended.is_empty() && !journal {
        println!("{}", tried.left);
        return Ok(ExitCode::SUCCESS);
    }
    let mended = mend_files(path, Mend { journal })?;
    if journal {
        println!("the journal: what was whole in it is in the image; what was not is lost");
    }
    for Mended { finding, what } in &mended {
        println!("{finding}: {what}");
    }
    // What is in the files by now, not what should be.
    let loaded = load_in_memory(path, true)?;
    let core = Core::new(loaded.image, loaded.superblock);
    as_mounted(&core);
    let report = check_sealed(&core);
    println!("{report}; {} mended", mended.len() + usize::from(journal));
    Ok(ExitCode::from(if report.is_clean() { 1 } else { 2 }))
}

fn mend_files(path: &Path, mend: Mend) -> Result<Vec<Mended>, String> {
    let (folder, size_bytes) = session::open_folder(path)?;
    let (image, mut keeper) =
        session::open_keeper(&folder, path, CAPACITY_BYTES, size_bytes, Some(mend))?;
    let superblock = read_superblock(&image).map_err(|error| error.to_string())?;
    let core = Core::new(image, superblock);
    let store = core.image.store().clone();
    let mut between = || {
        // One record of the journal must take all metadata that changed since the last one.
        match store.load(rt::DIRTY_META_COUNT) > ADMISSION_META_BLOCKS {
            true => keeper.commit_now(),
            false => Ok(()),
        }
    };
    let failed = |errno| format!("cannot write to {}: {errno}; do it again", path.display());
    let repaired = repair(&core, now_ns(), &mut between).map_err(failed)?;
    keeper.stop().map_err(failed)?;
    Ok(repaired.mended)
}

fn print_left(left: &Report) {
    println!("{left}");
    let reasons = left.findings.iter().filter(|finding| finding.severity() > Severity::Warning);
    for finding in reasons {
        if let Some(why) = why_not(finding) {
            println!("cannot be mended: {finding}: {why}");
        }
    }
}

/// Why a repair leaves this alone, and what helps; none for what it mends when it is alone.
fn why_not(finding: &Finding) -> Option<&'static str> {
    Some(match finding {
        Finding::BlockTwice { .. } => {
            "which of them it belongs to cannot be told; remove one of the files"
        }
        Finding::DirectoryTwice { .. } | Finding::NameTwice { .. } => {
            "which name is the right one cannot be told; remove one of them"
        }
        Finding::Loop { .. } => "where it belongs cannot be told",
        Finding::Seal { .. }
        | Finding::Structure(_)
        | Finding::Target { .. }
        | Finding::Xattrs { .. } => "what was there cannot be told; restore the volume from a copy",
        Finding::NoSuperblock | Finding::Table(_) | Finding::NoRoot | Finding::TableStart { .. } => {
            "without it nothing can be found; restore the volume from a copy"
        }
        Finding::NameDangling { .. } => {
            "if the slot still holds the inode, what was lost cannot be told"
        }
        _ => return None,
    })
}
