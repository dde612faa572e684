//! `sabfs import`: brings files into a volume.

use super::Outcome;
use crate::paths;
use crate::session::{CAPACITY_BYTES, Session};
use crate::text::{failed, host_failed, parse_size};
use crate::transfer::intake::Intake;
use crate::transfer::{Options, from_host, from_tar, split};
use sabfs::errno::Errno;
use sabfs::format::{FileKind, INO_ROOT};
use sabfs::vfs::NewInode;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bring what is in a folder or a tar archive into a volume.
///
/// Names, modes, times, links, holes and extended attributes are kept; those but `user.` where owners are. Nothing is written outside of the directory that --to
/// names: absolute names, `..` and ways through symbolic links are refused. What was brought in before an
/// error stays, and is durable.
///
/// Exit codes: 0 all is in the volume and durable, 1 something was left out, 2 it failed.
#[derive(clap::Args)]
pub struct Arguments {
    /// A volume's folder.
    volume: PathBuf,
    /// A folder, a tar archive, or - for an archive on the standard input.
    source: PathBuf,
    /// The directory in the volume that takes it; it is made if it does not exist.
    #[arg(long, default_value = "/")]
    to: OsString,
    /// How far the volume may grow, in bytes, K, M or G
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value_t = CAPACITY_BYTES)]
    capacity: u64,
    #[command(flatten)]
    options: Options,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let Arguments { volume, source, to, capacity, options } = arguments;
    let name = source.as_os_str().as_bytes();
    // Before the volume is touched: most mistakes are here.
    let archive: Option<(Box<dyn Read>, Option<u64>)> = if source == Path::new("-") {
        Some((Box::new(io::stdin().lock()), None))
    } else if source.is_dir() {
        None
    } else {
        let file = File::open(source).map_err(|error| host_failed("open", name, error))?;
        let size_bytes = file.metadata().ok().map(|meta| meta.len());
        Some((Box::new(file), size_bytes))
    };
    let session = Session::writable(volume, *capacity)?;
    let root = directory(&session, to.as_bytes())?;
    let total = archive.as_ref().and_then(|(_, size_bytes)| *size_bytes);
    let mut intake = Intake::new(session.volume(), root, *options, total)?;
    let imported = match archive {
        None => from_host::import(&mut intake, source, volume).and_then(|()| intake.finish()),
        Some((reader, _)) => from_tar::import(&mut intake, &mut BufReader::new(reader), name),
    };
    // A failure half way leaves what was done, with the attributes that it should have.
    let imported = imported.or_else(|error| intake.finish().and(Err(error)));
    let progress = intake.progress;
    let closed = session.close();
    imported.and(closed)?;
    Ok(progress.finish("imported"))
}

/// The directory of the volume that takes what comes.
fn directory(session: &Session, to: &[u8]) -> Result<u32, String> {
    let volume = session.volume();
    // The user has named the way: links on it are followed if all of it exists.
    match paths::walk(volume, to, true) {
        Ok(attr) if attr.kind == FileKind::Directory => return Ok(attr.ino),
        Ok(_) => return Err(failed("enter", to, Errno::ENOTDIR)),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(failed("find", to, errno)),
    }
    let mut at = INO_ROOT;
    for name in split(to.strip_prefix(b"/").unwrap_or(to))? {
        at = match volume.lookup(at, name) {
            Err(Errno::ENOENT) => {
                let uid = rustix::process::geteuid().as_raw();
                let gid = rustix::process::getegid().as_raw();
                let new = NewInode { kind: FileKind::Directory, permissions: 0o755, uid, gid, rdev: 0 };
                volume.create(at, name, &new).map_err(|errno| failed("make", to, errno))?.ino
            }
            Ok(attr) if attr.kind == FileKind::Directory => attr.ino,
            Ok(_) => return Err(failed("enter", to, Errno::ENOTDIR)),
            Err(errno) => return Err(failed("find", to, errno)),
        };
    }
    Ok(at)
}
