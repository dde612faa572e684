//! A volume's folder on a host: the files `image`, `journal` and `lock`, and who owns them.
//!
//! `lock` names the owner, in one line of JSON, so that programs in other languages can take part:
//!
//! ```text
//! {"pid":4711,"start":"8612345 0b7a2d9e-6f1c-4a53-8f0d-3a1de1c9b6f4"}
//! ```
//! `start` is when the process began, so that another process that was given the same number later is not
//! taken for the owner: on Linux field 22 of `/proc/PID/stat`, which counts from the start of the machine, and
//! `/proc/sys/kernel/random/boot_id`, as a lock outlives a failure of the power and machines start much
//! the same each time; elsewhere what `ps -o lstart= -p PID` prints, trimmed. The lock is stale when no process has
//! that number and start. Programs in Node add `thread` and `threadStart`, in the same words, which are for threads of the
//! same process: one that was ended has left the volume to the others.
//!
//! How it is taken: the line is written to a file of another name, which is then hard-linked to `lock`. A
//! link to a name that exists fails, so exactly one process succeeds, and nobody sees half a line. A stale
//! lock is moved aside first, and looked at once more there, as somebody else may just have replaced it.
//!
//! Native owners also hold the host's advisory lock on `image`, which needs no judgement about processes.

use super::device::{FileDevice, host_errno};
use crate::errno::Errno;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A lock file without a readable owner is stale when it is as old as this: somebody died while writing
/// it, which takes no time.
const UNREADABLE_STALE_AFTER: Duration = Duration::from_secs(5);
/// How often taking the lock is tried while others take it too.
const ATTEMPTS: u32 = 8;

/// Why a volume's folder cannot be opened.
#[derive(Debug)]
pub enum FolderError {
    /// A call of the host failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// Another process has the volume open.
    Busy {
        /// The folder.
        path: PathBuf,
        /// The process, when it is known.
        pid: Option<u32>,
    },
}

impl FolderError {
    /// What callers of a mount see.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Io { error, .. } => host_errno(error),
            Self::Busy { .. } => Errno::EBUSY,
        }
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
            Self::Busy { path, pid: Some(pid) } => write!(
                f,
                "the volume {} is open in process {pid}: close it or end that process",
                path.display()
            ),
            Self::Busy { path, pid: None } => write!(
                f,
                "the volume {} is open in another process: close it or end that process",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FolderError {}

/// A process, by number and start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    start: String,
}

impl Owner {
    fn this_process() -> Self {
        let pid = std::process::id();
        Self { pid, start: start_of(pid).unwrap_or_default() }
    }

    fn is_alive(&self) -> bool {
        start_of(self.pid).is_some_and(|start| start == self.start)
    }

    fn line(&self) -> String {
        format!("{{\"pid\":{},\"start\":\"{}\"}}\n", self.pid, self.start)
    }

    /// Reads a lock's line; spaces around the values are allowed.
    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let (_, rest) = text.split_once(key)?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let digits = value("\"pid\"")?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (start, _) = value("\"start\"")?.strip_prefix('"')?.split_once('"')?;
        Some(Self { pid: digits[..end].parse().ok()?, start: start.to_owned() })
    }
}

/// When a process began, in the host's words; none when there is no such process.
#[cfg(target_os = "linux")]
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may itself hold brackets and spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // The first field here is the third. A zombie has closed its files.
    if matches!(fields.clone().next(), Some("Z" | "X")) {
        return None;
    }
    let ticks = fields.nth(19)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{ticks} {}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn start_of(pid: u32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let start = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!start.is_empty()).then_some(start)
}

/// An opened volume's folder. The files may be taken out; dropping it gives the volume back, so it must
/// outlive the keeper.
pub struct VolumeFolder {
    image: File,
    journal: File,
    lock: PathBuf,
    owner: Owner,
}

impl VolumeFolder {
    /// Opens a volume's folder and makes what is missing of it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |error| FolderError::Io { doing, path, error }
        };
        // What has no name yet once the power has failed is lost with all that was flushed into it.
        let names_in =
            if path.join("journal").exists() { Vec::new() } else { with_parents_to_be_made(path) };
        fs::create_dir_all(path).map_err(io("make the folder", path))?;
        let open = |name| {
            let file = path.join(name);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&file).map_err(io("open", &file))
        };
        let image = open("image")?;
        let lock = path.join("lock");
        match image.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_owner(&lock).ok().flatten().map(|owner| owner.pid);
                return Err(FolderError::Busy { path: path.to_owned(), pid });
            }
            // A host without such locks: the lock file alone decides.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(io("lock", &path.join("image"))(error)),
        }
        let owner = Owner::this_process();
        take_lock(path, &lock, &owner)?;
        // From here on dropping the folder gives the lock back.
        let journal = match open("journal") {
            Ok(journal) => journal,
            Err(error) => {
                let _ = fs::remove_file(&lock);
                return Err(error);
            }
        };
        let folder = Self { image, journal, lock, owner };
        for directory in names_in {
            sync_names(&directory).map_err(io("sync", &directory))?;
        }
        Ok(folder)
    }

    /// Devices on the image and the journal. They do not outlive the lock: keep the folder.
    pub fn devices(&self) -> Result<(FileDevice, FileDevice), FolderError> {
        let device = |file: &File, name| {
            let path = self.lock.with_file_name(name);
            let clone = file.try_clone();
            clone.map_err(|error| FolderError::Io { doing: "open", path, error }).map(FileDevice::new)
        };
        Ok((device(&self.image, "image")?, device(&self.journal, "journal")?))
    }
}

impl Drop for VolumeFolder {
    fn drop(&mut self) {
        if matches!(read_owner(&self.lock), Ok(Some(owner)) if owner == self.owner) {
            // Nobody to tell if it fails; the next opener finds the lock stale.
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// The directories that get new names when `path` is made: itself, and upwards until one that is there.
fn with_parents_to_be_made(path: &Path) -> Vec<PathBuf> {
    let mut directories = vec![path.to_owned()];
    for directory in path.ancestors() {
        if directory.exists() {
            break;
        }
        directories.extend(directory.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => parent.to_owned(),
        }));
    }
    directories
}

/// Makes the names in a directory durable.
fn sync_names(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // A host that does not know this for directories promises what it promises.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

fn read_owner(lock: &Path) -> io::Result<Option<Owner>> {
    Ok(Owner::parse(&String::from_utf8_lossy(&fs::read(lock)?)))
}

/// Whether the lock at `lock` holds: with its owner if that is readable.
fn holder(lock: &Path) -> io::Result<Option<Option<u32>>> {
    match read_owner(lock) {
        Ok(Some(owner)) => Ok(owner.is_alive().then_some(Some(owner.pid))),
        Ok(None) => {
            let age = fs::metadata(lock)?.modified()?.elapsed().unwrap_or_default();
            Ok((age < UNREADABLE_STALE_AFTER).then_some(None))
        }
        Err(error) => Err(error),
    }
}

fn take_lock(folder: &Path, lock: &Path, owner: &Owner) -> Result<(), FolderError> {
    let mine = folder.join(format!("lock.{}", owner.pid));
    let aside = folder.join(format!("lock.stale.{}", owner.pid));
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |error| FolderError::Io { doing, path, error }
    };
    // An empty lock that a failure of the power has left would be anybody's, for a while.
    let written = File::create(&mine).and_then(|mut file| {
        file.write_all(owner.line().as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("write", &mine))?;
    let result = (|| {
        for _ in 0..ATTEMPTS {
            match fs::hard_link(&mine, lock) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("make", lock)(error)),
            }
            match holder(lock) {
                Ok(Some(pid)) => return Err(FolderError::Busy { path: folder.to_owned(), pid }),
                Ok(None) => {}
                // It was given back just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("read", lock)(error)),
            }
            if fs::rename(lock, &aside).is_ok() {
                if matches!(holder(&aside), Ok(Some(_))) {
                    // Not the stale one any more: it goes back, unless somebody was faster.
                    let _ = fs::hard_link(&aside, lock);
                }
                let _ = fs::remove_file(&aside);
            }
        }
        Err(FolderError::Busy { path: folder.to_owned(), pid: None })
    })();
    let _ = fs::remove_file(&mine);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let owner = Owner { pid: 4711, start: "8612345".to_owned() };
        assert_eq!(owner.line(), "{\"pid\":4711,\"start\":\"8612345\"}\n");
        assert_eq!(Owner::parse(&owner.line()), Some(owner.clone()));
        let more = "{\"pid\":4711,\"start\":\"8612345\",\"thread\":4712,\"threadStart\":\"8612399\"}\n";
        assert_eq!(Owner::parse(more), Some(owner.clone()));
        assert_eq!(Owner::parse("{ \"start\" : \"8612345\", \"pid\" : 4711 }"), Some(owner));
        for bad in
            ["", "{}", "{\"pid\":4711}", "{\"pid\":x,\"start\":\"1\"}", "{\"pid\":1,\"start\":\"1"]
        {
            assert_eq!(Owner::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_directories_with_new_names_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(with_parents_to_be_made(path), [path]);
        assert_eq!(
            with_parents_to_be_made(&path.join("a/b")),
            [path.join("a/b"), path.join("a"), path.to_owned()]
        );
        let relative = Path::new("a folder that is not there");
        assert_eq!(with_parents_to_be_made(relative), [relative, Path::new(".")]);
        drop(VolumeFolder::open(&path.join("a/b")).unwrap());
        assert_eq!(fs::read_dir(path.join("a/b")).unwrap().count(), 2);
    }

    #[test]
    fn the_second_opener_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        let first = VolumeFolder::open(&path).unwrap();
        let error = VolumeFolder::open(&path).err().unwrap();
        assert_eq!(error.errno(), Errno::EBUSY);
        let text = error.to_string();
        assert!(text.contains(&format!("open in process {}: close it", std::process::id())), "{text}");
        drop(first);
        assert!(!path.join("lock").exists());
        drop(VolumeFolder::open(&path).unwrap());
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_living_process_keeps_the_lock_and_a_dead_one_loses_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        // Somebody else who lives, and holds no advisory lock.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let start = start_of(pid).unwrap();
        fs::write(&lock, Owner { pid, start: start.clone() }.line()).unwrap();
        let error = VolumeFolder::open(folder.path()).err().unwrap();
        assert!(matches!(error, FolderError::Busy { pid: Some(busy), .. } if busy == pid), "{error}");
        // The same number, but another process.
        fs::write(&lock, Owner { pid, start: format!("1{start}") }.line()).unwrap();
        drop(VolumeFolder::open(folder.path()).unwrap());
        // The same number and the same time, but after another start of the machine.
        #[cfg(target_os = "linux")]
        {
            let (ticks, _) = start.split_once(' ').unwrap();
            let before = format!("{ticks} 00000000-0000-4000-8000-000000000000");
            fs::write(&lock, Owner { pid, start: before }.line()).unwrap();
            drop(VolumeFolder::open(folder.path()).unwrap());
        }
        fs::write(&lock, Owner { pid, start }.line()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let open = VolumeFolder::open(folder.path()).unwrap();
        assert_eq!(read_owner(&lock).unwrap().unwrap().pid, std::process::id());
        drop(open);
    }

    #[test]
    fn an_unreadable_lock_is_stale_only_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        fs::write(&lock, "").unwrap();
        assert!(matches!(VolumeFolder::open(folder.path()), Err(FolderError::Busy { pid: None, .. })));
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
        drop(VolumeFolder::open(folder.path()).unwrap());
    }
}
