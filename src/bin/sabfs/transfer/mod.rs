//! Bringing trees of files into a volume and out of it.
//!
//! | file | holds |
//! |---|---|
//! | `intake` | what goes into a volume, wherever it comes from |
//! | `from_host`, `from_tar` | the two places it comes from |
//! | `outlet` | the walk over what goes out, and what a place that takes it must do |
//! | `to_host`, `to_tar` | the two such places |
//! | `host` | folders of the host, by handles that follow no symbolic link |
//! | `tar_format` | headers and PAX records |
//! | `xattrs` | extended attributes |
//!
//! Nothing that is read is trusted: neither an archive, nor a volume, nor the folder on the host, which
//! others may change meanwhile. A name is one name, never a path; what would leave the folder that was
//! named ends the work with a message.

pub mod from_host;
pub mod from_tar;
mod host;
pub mod intake;
pub mod outlet;
pub mod tar_format;
pub mod to_host;
pub mod to_tar;
pub mod xattrs;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sabfs::format::FileKind;
use std::io::IsTerminal;

/// Bytes that are copied in one go.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What is carried over of a file beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (07777).
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device number, of devices.
    pub rdev: u64,
    /// Size in bytes, of regular files.
    pub size_bytes: u64,
    /// Last access, nanoseconds since 1970.
    pub atime_ns: i64,
    /// Last change of the data.
    pub mtime_ns: i64,
}

/// How to carry over, as the arguments say.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Keep owners and groups, which is the default for root; others need the right to on the host
    #[arg(long, overrides_with = "no_owners")]
    owners: bool,
    /// Let everything belong to the user who runs this
    #[arg(long)]
    no_owners: bool,
    /// Carry over device nodes, too; they are left out otherwise
    #[arg(long)]
    pub devices: bool,
    /// Replace files that exist already; directories are never replaced, but filled
    #[arg(long)]
    pub replace: bool,
    /// The most bytes to carry over, and the largest size of a file; K, M, G or T may follow the number
    #[arg(long, value_name = "BYTES", value_parser = crate::text::parse_size)]
    pub max_bytes: Option<u64>,
    /// Show no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    /// Whether owners are kept.
    pub fn keeps_owners(&self) -> bool {
        self.owners || !self.no_owners && rustix::process::geteuid().is_root()
    }

    /// Whether owners are not to be kept, even where everybody may.
    pub fn drops_owners(&self) -> bool {
        self.no_owners
    }
}

/// How many bytes may still be carried over.
pub struct Budget {
    left: u64,
    file_max: u64,
    /// What to do when there are more.
    help: &'static str,
}

impl Budget {
    /// What the option allows; without it files of any size, and `all_bytes` together, which is what there
    /// can be without a trick.
    pub fn new(options: &Options, all_bytes: u64, help: &'static str) -> Self {
        match options.max_bytes {
            Some(max) => Self { left: max, file_max: max, help: "give a larger --max-bytes" },
            None => Self { left: all_bytes, file_max: u64::MAX, help },
        }
    }

    fn refusal(&self, path: &[u8], bytes: u64) -> String {
        let path = crate::text::shown(path);
        format!("{path} has {bytes} bytes, more than may still be carried over; {}", self.help)
    }

    /// Refuses a file whose size, holes included, is more than any may have.
    pub fn admit(&self, path: &[u8], size_bytes: u64) -> Result<(), String> {
        if size_bytes <= self.file_max { Ok(()) } else { Err(self.refusal(path, size_bytes)) }
    }

    /// Refuses data that are too many.
    pub fn check(&self, path: &[u8], bytes: u64) -> Result<(), String> {
        if bytes <= self.left { Ok(()) } else { Err(self.refusal(path, bytes)) }
    }

    /// Takes bytes away.
    pub fn spend(&mut self, path: &[u8], bytes: u64) -> Result<(), String> {
        self.check(path, bytes)?;
        self.left -= bytes;
        Ok(())
    }
}

/// A bar on a terminal, and the count of what was done.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
    /// Names that were carried over.
    pub entries: u64,
    /// Bytes that were, holes not counted.
    pub bytes: u64,
    /// What could not be or was not to be.
    pub left_out: u64,
}

impl Progress {
    /// A bar for so many bytes; none: it is not known how many there are.
    pub fn new(options: &Options, total_bytes: Option<u64>) -> Self {
        let bar = if options.quiet || !std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::hidden())
        } else {
            total_bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new)
        };
        let style = match total_bytes {
            Some(_) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
            None => "{spinner} {bytes} {bytes_per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, quiet: options.quiet, entries: 0, bytes: 0, left_out: 0 }
    }

    /// Notes a name.
    pub fn entry(&mut self, path: &[u8]) {
        self.entries += 1;
        if !self.bar.is_hidden() {
            self.bar.set_message(crate::text::shown(path));
        }
    }

    /// Notes bytes.
    pub fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.bar.inc(bytes);
    }

    /// Says that something is left out, and why.
    pub fn leave_out(&mut self, path: &[u8], why: &str) {
        self.left_out += 1;
        let line = format!("sabfs: {} is left out: {why}", crate::text::shown(path));
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Ends the bar; says how much was done, and gives the exit code.
    pub fn finish(&self, done: &str) -> std::process::ExitCode {
        self.bar.finish_and_clear();
        if !self.quiet {
            let Self { entries, bytes, left_out, .. } = self;
            eprintln!("{done} {entries} names, {bytes} bytes; {left_out} left out");
        }
        std::process::ExitCode::from(u8::from(self.left_out > 0))
    }
}

/// Splits the path of an archive's entry into names. Empty ones and "." fall away, as tar writes them;
/// absolute paths and ".." are refused.
pub fn split(path: &[u8]) -> Result<Vec<&[u8]>, String> {
    let wrong = |what| Err(format!("the name {} {what}: it is refused", crate::text::shown(path)));
    if path.is_empty() {
        return wrong("is empty");
    }
    if path[0] == b'/' {
        return wrong("is absolute");
    }
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return wrong("leads upwards"),
            _ if name.contains(&0) => return wrong("has a zero byte"),
            _ => names.push(name),
        }
    }
    Ok(names)
}

/// A path and one more name.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = path.to_vec();
    if !joined.is_empty() {
        joined.push(b'/');
    }
    joined.extend(name);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(split(b"./a//b/.").unwrap(), [b"a", b"b"]);
        assert!(split(b"./").unwrap().is_empty());
        assert_eq!(split(b"...\xff/ ").unwrap(), [&b"...\xff"[..], b" "]);
        for bad in [&b""[..], b"/", b"/a", b"..", b"a/..", b"../a", b"a/../b", b"a\0b"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
