//! `sabfs cat`: writes a file's bytes to the standard output.

use super::Outcome;
use super::ls::unprintable;
use crate::paths;
use crate::session::Session;
use crate::text::failed;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

const CHUNK_BYTES: usize = 1 << 20;

/// Write a file's bytes to the standard output; nothing is written to the volume.
#[derive(clap::Args)]
pub struct Arguments {
    /// A volume's folder, or an image file.
    volume: PathBuf,
    /// The file.
    path: OsString,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let session = Session::read_only(&arguments.volume)?;
    let (volume, path) = (session.volume(), arguments.path.as_bytes());
    let attr = paths::find(volume, path, true)?;
    let wrong = match attr.kind {
        FileKind::Regular => None,
        FileKind::Directory => Some(Errno::EISDIR),
        _ => Some(Errno::EINVAL),
    };
    if let Some(errno) = wrong {
        return Err(failed("read", path, errno));
    }
    let mut out = io::stdout().lock();
    let (mut at, mut chunk) = (0, vec![0; CHUNK_BYTES]);
    loop {
        let count =
            volume.read(attr.ino, at, &mut chunk).map_err(|errno| failed("read", path, errno))?;
        if count == 0 {
            break;
        }
        out.write_all(&chunk[..count]).map_err(unprintable)?;
        at += count as u64;
    }
    out.flush().map_err(unprintable)?;
    Ok(ExitCode::SUCCESS)
}
