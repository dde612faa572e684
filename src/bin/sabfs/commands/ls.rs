//! `sabfs ls`: lists directories.

use super::Outcome;
use crate::paths;
use crate::session::{HostStore, Session};
use crate::text::{self, failed, shown};
use sabfs::format::FileKind;
use sabfs::vfs::{Attr, Volume};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// List a directory of a volume; nothing is written.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show mode, links, owner, group, size in bytes and time of change.
    #[arg(short)]
    long: bool,
    /// List the directories below, too.
    #[arg(short = 'R')]
    recursive: bool,
    /// A volume's folder, or an image file.
    volume: PathBuf,
    /// What to list.
    #[arg(default_value = "/")]
    path: OsString,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let session = Session::read_only(&arguments.volume)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let escape = io::stdout().is_terminal();
    let mut list = List { volume: session.volume(), long: arguments.long, escape, out: &mut out };
    let path = arguments.path.as_bytes();
    let at = paths::find(session.volume(), path, true)?;
    if at.kind != FileKind::Directory {
        list.entry(&at, path)?;
    } else {
        list.directories(at.ino, path, arguments.recursive)?;
    }
    out.flush().map_err(unprintable)?;
    Ok(ExitCode::SUCCESS)
}

pub fn unprintable(error: io::Error) -> String {
    format!("cannot write the output: {error}")
}

struct List<'a, W: Write> {
    volume: &'a Volume<HostStore>,
    long: bool,
    /// Names go to a terminal, which control characters in them would reach.
    escape: bool,
    out: &'a mut W,
}

impl<W: Write> List<'_, W> {
    fn directories(&mut self, start: u32, path: &[u8], recursive: bool) -> Result<(), String> {
        let mut left = vec![(start, path.to_vec())];
        let mut seen = HashSet::new();
        while let Some((dir, path)) = left.pop() {
            if !seen.insert(dir) {
                return Err(format!(
                    "directory {} is met twice: the volume is damaged, run `sabfs check`",
                    shown(&path)
                ));
            }
            if recursive {
                let first = seen.len() == 1;
                self.out.write_all(if first { b"" } else { b"\n" }).map_err(unprintable)?;
                self.name(&path)?;
                self.out.write_all(b":\n").map_err(unprintable)?;
            }
            let entries = paths::list(self.volume, dir).map_err(|errno| failed("list", &path, errno))?;
            let mut below = Vec::new();
            for (name, ino, kind) in entries {
                let mut path = path.clone();
                if path.last() != Some(&b'/') {
                    path.push(b'/');
                }
                path.extend(&name);
                if self.long {
                    let attr =
                        self.volume.getattr(ino).map_err(|errno| failed("look at", &path, errno))?;
                    self.entry(&attr, &name)?;
                } else {
                    self.name(&name)?;
                    self.out.write_all(b"\n").map_err(unprintable)?;
                }
                if recursive && kind == FileKind::Directory {
                    below.push((ino, path));
                }
            }
            left.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn name(&mut self, name: &[u8]) -> Result<(), String> {
        let escaped = self.escape.then(|| shown(name).into_bytes());
        self.out.write_all(escaped.as_deref().unwrap_or(name)).map_err(unprintable)
    }

    fn entry(&mut self, attr: &Attr, name: &[u8]) -> Result<(), String> {
        if self.long {
            let size = match attr.kind {
                FileKind::Character | FileKind::Block => {
                    format!("{}, {}", rustix::fs::major(attr.rdev), rustix::fs::minor(attr.rdev))
                }
                _ => attr.size_bytes.to_string(),
            };
            let (mode, time) = (text::mode(attr.kind, attr.mode), text::time(attr.mtime_ns));
            let Attr { nlink, uid, gid, .. } = attr;
            write!(self.out, "{mode} {nlink:>3} {uid:>5} {gid:>5} {size:>10} {} ", &time[..19])
                .map_err(unprintable)?;
        }
        self.name(name)?;
        if self.long && attr.kind == FileKind::Symlink {
            let target = self.volume.readlink(attr.ino).map_err(|errno| failed("read", name, errno))?;
            self.out.write_all(b" -> ").map_err(unprintable)?;
            self.name(&target)?;
        }
        self.out.write_all(b"\n").map_err(unprintable)
    }
}
