//! `sabfs mount`: a volume as a file system of the host, through FUSE.

use super::Outcome;
use crate::session::{HostStore, Session};
use crate::text::parse_size;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, geteuid};
use sabfs::core::check::check;
use sabfs::fuse::{Mount, MountOptions, Permissions};
use sabfs::persist::{Latency, Metrics};
use sabfs::store::Store;
use sabfs::store::runtime as rt;
use sabfs::vfs::{Atime, Volume};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often it is looked whether somebody else has unmounted the volume.
const LOOK_MS: u64 = 200;

#[derive(Clone, Copy, clap::ValueEnum)]
enum Judge {
    /// The kernel checks modes and owners.
    Kernel,
    /// The volume's own rules do.
    Volume,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum AccessTimes {
    /// When they are older than the last change, or than a day.
    Relative,
    /// Never.
    Never,
    /// At every read that reaches the volume.
    Always,
}

/// Mount a volume on a directory. Runs until it is unmounted or interrupted; then everything is durable.
#[derive(clap::Args)]
pub struct Arguments {
    /// The volume's folder (with --read-only an image file, too; with --memory there is none), and the
    /// directory to mount on.
    #[arg(num_args = 1..=2, required = true, value_names = ["VOLUME", "MOUNTPOINT"])]
    paths: Vec<PathBuf>,
    /// Mount a new volume of this size that lives in memory and is lost in the end.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// How far the volume may grow: a number of bytes, or with K, M or G behind it.
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = parse_size)]
    capacity: u64,
    /// Change nothing.
    #[arg(long)]
    read_only: bool,
    /// Who decides what a user may do.
    #[arg(long, value_enum, default_value = "kernel")]
    permissions: Judge,
    /// When times of access are kept.
    #[arg(long, value_enum, default_value = "relative")]
    atime: AccessTimes,
    /// Look for damage when it is over; exit code 1 if there is any.
    #[arg(long)]
    check_at_exit: bool,
    /// Tell in the end what the volume has done: commits, bytes, flushes, latencies.
    #[arg(long)]
    metrics: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let (volume, mountpoint) = match (&arguments.paths[..], arguments.memory) {
        ([mountpoint], Some(_)) => (None, mountpoint),
        ([volume, mountpoint], None) => (Some(volume.as_path()), mountpoint),
        ([_], None) => return Err("name the volume and the directory, or give --memory SIZE".to_owned()),
        _ => return Err("with --memory there is no volume to name, only the directory".to_owned()),
    };
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let signals: SigSet = signals.into_iter().collect();
    // Before any thread begins: all of them leave these signals to this one.
    signals.thread_block().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut session = match (volume, arguments.memory) {
        (Some(volume), _) if arguments.read_only => Session::read_only(volume)?,
        (Some(volume), _) => Session::writable(volume, arguments.capacity)?,
        (None, size_bytes) => Session::in_memory(size_bytes.unwrap_or_default())?,
    };
    session.volume_mut().set_atime(match arguments.atime {
        AccessTimes::Relative => Atime::Relative,
        AccessTimes::Never => Atime::Never,
        AccessTimes::Always => Atime::Always,
    });
    let options = MountOptions {
        permissions: match arguments.permissions {
            Judge::Kernel => Permissions::Kernel,
            Judge::Volume => Permissions::Volume,
        },
        read_only: arguments.read_only,
        for_all_users: geteuid().is_root(),
    };
    let mount = Mount::new(session.volume().clone(), mountpoint, options).map_err(|error| {
        format!(
            "cannot mount on {}: {error}; it must be a directory, and /dev/fuse and, for users other than \
             root, fusermount3 must be there",
            mountpoint.display()
        )
    })?;
    let mountpoint = mountpoint.display();
    println!("mounted on {mountpoint}; unmount it with `umount`, or interrupt this program");
    wait(&mount, &signals)?;
    let unmounted = mount.unmount();
    if unmounted.is_err() {
        // Whoever got hold of it still is told that nothing is kept any more.
        session.volume().image().store().store(rt::READ_ONLY, 1);
    }
    let sound = !arguments.check_at_exit || is_sound(session.volume());
    let volume = session.volume().clone();
    session.close()?;
    if arguments.metrics {
        // The last commit is among them.
        print_metrics(&volume.metrics());
    }
    unmounted.map_err(|error| format!("cannot unmount {mountpoint}: {error}"))?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Until a signal comes or the volume is unmounted.
fn wait(mount: &Mount, signals: &SigSet) -> Result<(), String> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (mount, over) = (mount, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if mount.is_over() {
                    // This wakes the one who waits below.
                    _ = kill(Pid::this(), Signal::SIGTERM);
                    return;
                }
                thread::sleep(Duration::from_millis(LOOK_MS));
            }
        });
        let waited = signals.wait();
        over.store(true, Ordering::Relaxed);
        waited.map(drop).map_err(|error| format!("cannot wait for signals: {error}"))
    })
}

fn print_metrics(metrics: &Metrics) {
    let Metrics { commits, commits_failed, fsyncs, fsyncs_failed, .. } = metrics;
    println!("commits {commits}, failed {commits_failed}; fsyncs {fsyncs}, failed {fsyncs_failed}");
    println!(
        "journal {} bytes in {} flushes, image {} bytes in {} flushes, checkpoints {}",
        metrics.journal_written_bytes,
        metrics.journal_flushes,
        metrics.image_written_bytes,
        metrics.image_flushes,
        metrics.checkpoints
    );
    for (name, latency) in [("commit", metrics.commit_latency), ("fsync", metrics.fsync_latency)] {
        let Latency { p50_us, p99_us, max_us, .. } = latency;
        println!(
            "{name} latency: half within {p50_us} us, 99 % within {p99_us} us, at most {max_us} us"
        );
    }
    println!("change {}, durable {}", metrics.change, metrics.durable);
    if let Some(errno) = metrics.last_failure {
        println!("last failure: {errno}");
    }
}

fn is_sound(volume: &Arc<Volume<HostStore>>) -> bool {
    let report = check(volume.core());
    if !report.is_clean() {
        eprintln!("{report}");
    }
    report.is_clean()
}
