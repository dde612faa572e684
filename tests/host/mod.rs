//! What the tests of the native tool share: running it, archives written by hand, and volumes made wrong.
#![allow(dead_code)] // each test program uses a part of it

use sabfs::core::{Core, Image};
use sabfs::persist::{Keeper, OpenOptions, VolumeFolder};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::vfs::Volume;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// A folder with a volume, and the tool.
pub struct Tool {
    pub folder: tempfile::TempDir,
}

impl Tool {
    pub fn new() -> Self {
        let tool = Self { folder: tempfile::tempdir().unwrap() };
        tool.done(&["mkfs", "V"]);
        tool
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the tool in the folder, where the volume is V.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sabfs"));
        command.args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // The tool may well end before it has read all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        output.stdout
    }

    #[track_caller]
    pub fn imported(&self, archive: &[u8], options: &[&str]) {
        let output = self.import(archive, options);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    pub fn import(&self, archive: &[u8], options: &[&str]) -> Output {
        self.run_with(&[&["import", "V", "-"], options].concat(), archive)
    }

    /// The tool refuses an archive with this in its message; the volume is sound afterwards.
    #[track_caller]
    pub fn refused(&self, archive: &[u8], options: &[&str], message: &str) {
        let output = self.import(archive, options);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(message), "{said}");
        self.sound();
    }

    #[track_caller]
    pub fn fails(&self, arguments: &[&str], message: &str) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(message), "{said}");
    }

    #[track_caller]
    pub fn sound(&self) {
        let output = self.run(&["check", "V"]);
        assert!(output.status.success(), "{}", text(&output.stdout));
    }

    /// All paths in the volume, a directory's with a slash.
    pub fn listing(&self) -> String {
        text(&self.done(&["ls", "-R", "V"]))
    }

    /// Changes the volume in a way that no operation would.
    pub fn tamper(&self, change: impl FnOnce(&Volume<Arc<HeapStore>>, &Core<Arc<HeapStore>>)) {
        let folder = VolumeFolder::open(&self.path("V")).unwrap();
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(20_000)));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 2).unwrap();
        let (image_device, journal_device) = folder.devices().unwrap();
        let options = OpenOptions::new([0; 16], Box::new(|| 4));
        let clock = Box::new(|| 0);
        let (mut keeper, _) =
            Keeper::open(image, image_device, journal_device, options, clock, &mut |_| ()).unwrap();
        let volume = Volume::load(store, 1, || 5).unwrap();
        change(&volume, volume.core());
        keeper.stop().unwrap();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One entry of an archive: a header, and the data with zeros behind them.
pub fn entry(kind: u8, name: &[u8], link: &[u8], data: &[u8]) -> Vec<u8> {
    let mut all = header(kind, name, link, data.len() as u64);
    all.extend(data);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

pub fn header(kind: u8, name: &[u8], link: &[u8], size_bytes: u64) -> Vec<u8> {
    let mut header = tar_header();
    header[..name.len()].copy_from_slice(name);
    header[157..157 + link.len()].copy_from_slice(link);
    header[156] = kind;
    octal(&mut header[124..136], size_bytes);
    checksum(&mut header);
    header
}

fn tar_header() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[257..265].copy_from_slice(b"ustar\x0000");
    for (from, to, value) in [(100, 108, 0o644), (108, 116, 0), (116, 124, 0), (136, 148, 1_700_000_000)]
    {
        octal(&mut header[from..to], value);
    }
    octal(&mut header[329..337], 1);
    octal(&mut header[337..345], 3);
    header
}

fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

pub fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An extended header with these records.
pub fn extended(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        data.extend(format!("{len} {key}=").bytes());
        data.extend(*value);
        data.push(b'\n');
    }
    entry(b'x', b"extended", b"", &data)
}

pub fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut all = entries.concat();
    all.extend([0; 1024]);
    all
}

/// All that can be seen of a tree of the host, by path: kind, mode, owners, links, device, time of change,
/// content or target. Times of access are not, since this changes them.
pub fn snapshot(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            format!(
                "{} {:x}",
                bytes.len(),
                bytes.iter().fold(7_u64, |h, &b| h.wrapping_mul(31) + u64::from(b))
            )
        } else {
            format!("fifo {} socket {}", kind.is_fifo(), kind.is_socket())
        };
        let links = if kind.is_dir() { 0 } else { meta.nlink() };
        let about = format!(
            "{:o} {} {} {links} {} {}.{} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.rdev(),
            meta.mtime(),
            meta.mtime_nsec(),
        );
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        found.insert(name, about);
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

pub fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
