//! `sabfs export`: takes files out of a volume.

use super::Outcome;
use crate::paths;
use crate::session::Session;
use crate::text::host_failed;
use crate::transfer::outlet::export;
use crate::transfer::to_host::ToHost;
use crate::transfer::to_tar::{Sink, ToTar};
use crate::transfer::{Options, Progress};
use sabfs::format::{BLOCK_SIZE, FileKind};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Take what is in a volume to a folder or a tar archive; nothing is written to the volume.
///
/// Names, modes, times, links, holes and extended attributes are kept; those but `user.` where owners are. Nothing is written outside of the target, whatever names
/// and links the volume holds, and through no symbolic link that is in the target already.
///
/// Exit codes: 0 all is there and durable, 1 something was left out, 2 it failed.
#[derive(clap::Args)]
pub struct Arguments {
    /// A volume's folder, or an image file.
    volume: PathBuf,
    /// What to take, and where to: [PATH] TARGET. TARGET is a folder, a name ending in .tar, or - for an
    /// archive on the standard output.
    #[arg(num_args = 1..=2, required = true, value_names = ["PATH", "TARGET"])]
    path_and_target: Vec<OsString>,
    #[command(flatten)]
    options: Options,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let (path, target) = match &arguments.path_and_target[..] {
        [target] => (&b"/"[..], target),
        [path, target, ..] => (path.as_bytes(), target),
        [] => return Err("no target is given".to_owned()),
    };
    let options = &arguments.options;
    let session = Session::read_only(&arguments.volume)?;
    let volume = session.volume();
    let start = paths::find(volume, path, true)?;
    let name = path.rsplit(|&byte| byte == b'/').find(|name| !name.is_empty()).unwrap_or(b"file");
    let taken_blocks = match start.kind {
        FileKind::Directory => volume.statfs().map_err(|errno| errno.to_string()).map(|stat| {
            let all = u64::from(volume.core().superblock.geometry.image_blocks());
            all.saturating_sub(stat.free_blocks)
        })?,
        _ => start.blocks,
    };
    let mut progress = Progress::new(options, Some(taken_blocks * BLOCK_SIZE as u64));
    let target = Path::new(target);
    let shown = target.as_os_str().as_bytes();
    if target == Path::new("-") {
        let mut outlet = ToTar::new(Stdout(io::stdout().lock()), shown, options);
        export(volume, &start, name, options, &mut outlet, &mut progress)?;
    } else if target.extension().is_some_and(|extension| extension == "tar") && !target.is_dir() {
        let mut file = File::options();
        let file =
            if options.replace { file.create(true).truncate(true) } else { file.create_new(true) };
        let file = file.write(true).open(target);
        let file = file.map_err(|error| host_failed("make", shown, error))?;
        let mut outlet = ToTar::new(BufWriter::new(file), shown, options);
        export(volume, &start, name, options, &mut outlet, &mut progress)?;
    } else {
        let mut outlet = ToHost::new(target, options)?;
        export(volume, &start, name, options, &mut outlet, &mut progress)?;
    }
    Ok(progress.finish("exported"))
}

struct Stdout(io::StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Stdout {
    /// What becomes of it there is the reader's affair.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for BufWriter<File> {
    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.get_ref().sync_all()
    }
}
