//! `sabfs stat`: what is known of a file, or of the volume.

use super::Outcome;
use super::ls::unprintable;
use crate::paths;
use crate::session::Session;
use crate::text::{self, failed, shown};
use sabfs::format::{BLOCK_SIZE, FileKind, HEADER_SIZE_BYTES, RawSuperblock};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use zerocopy::FromBytes;

/// Show what is known of a file, or without a path, of the volume; nothing is written.
#[derive(clap::Args)]
pub struct Arguments {
    /// A volume's folder, or an image file.
    volume: PathBuf,
    /// The file; a symbolic link is not followed.
    path: Option<OsString>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let session = Session::read_only(&arguments.volume)?;
    let text = match &arguments.path {
        Some(path) => file(&session, path.as_bytes())?,
        None => volume(&session)?,
    };
    io::stdout().write_all(text.as_bytes()).map_err(unprintable)?;
    Ok(ExitCode::SUCCESS)
}

fn file(session: &Session, path: &[u8]) -> Result<String, String> {
    let attr = paths::find(session.volume(), path, false)?;
    let mut text = format!("  File: {}", shown(path));
    if attr.kind == FileKind::Symlink {
        let target = session.volume().readlink(attr.ino).map_err(|errno| failed("read", path, errno))?;
        text += &format!(" -> {}", shown(&target));
    }
    let mode = text::mode(attr.kind, attr.mode);
    let device = match attr.kind {
        FileKind::Character | FileKind::Block => {
            let (major, minor) = (rustix::fs::major(attr.rdev), rustix::fs::minor(attr.rdev));
            format!("  Device type: {major},{minor}")
        }
        _ => String::new(),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n  Size: {}\tBlocks: {} of {BLOCK_SIZE} bytes\t{}\n Inode: {}\tGeneration: {}\tLinks: {}{device}\
         \nAccess: ({:04o}/{mode})\tUid: {}\tGid: {}\nAccess: {}\nModify: {}\nChange: {}\n Birth: {}\n",
        attr.size_bytes,
        attr.blocks,
        text::kind(attr.kind),
        attr.ino,
        attr.generation,
        attr.nlink,
        attr.mode & 0o7777,
        attr.uid,
        attr.gid,
        text::time(attr.atime_ns),
        text::time(attr.mtime_ns),
        text::time(attr.ctime_ns),
        text::time(attr.btime_ns),
    );
    Ok(text)
}

fn volume(session: &Session) -> Result<String, String> {
    let volume = session.volume();
    let superblock = volume.core().superblock;
    let stat = volume.statfs().map_err(|errno| failed("look at", b"", errno))?;
    let mut bytes = [0; BLOCK_SIZE];
    volume.image().read_block(0, &mut bytes);
    if sabfs::format::Superblock::check(&bytes, 0).is_err() {
        volume.image().read_block(1, &mut bytes);
    }
    let (raw, _) = RawSuperblock::read_from_prefix(&bytes[HEADER_SIZE_BYTES..])
        .map_err(|_| "the superblock cannot be read".to_owned())?;
    let blocks = superblock.geometry.image_blocks();
    let state = match (superblock.read_only, session.replayed_blocks()) {
        (true, _) => "has features that this version can only read".to_owned(),
        (false, None) => "an image without its journal: it may be older than the volume".to_owned(),
        (false, Some(0)) => "sound".to_owned(),
        (false, Some(count)) => format!("sound; the journal has {count} blocks for the image"),
    };
    let (block_bytes, free) = (u64::from(stat.block_size_bytes), stat.free_blocks);
    Ok(format!(
        "   Uuid: {}\nVersion: {}.{}\nFeatures: compatible {:#x}, read-only compatible {:#x}, \
         incompatible {:#x}\n   Size: {} bytes, {blocks} blocks\n   Free: {} bytes, {free} blocks; it grows \
         when it is full\n Inodes: {}\n  State: {state}\nCreated: {}\n",
        text::uuid(&superblock.uuid),
        raw.format_major,
        raw.format_minor,
        raw.compat.get(),
        raw.ro_compat.get(),
        raw.incompat.get(),
        u64::from(blocks) * block_bytes,
        free * block_bytes,
        stat.used_inodes,
        text::time(superblock.created),
    ))
}
