//! Volumes as earlier versions wrote them: each must open, be sound, show what it showed, and take changes.
//!
//! `tests/golden/VERSION` has the two files of a volume, compressed, and a list of what is in it. The
//! volume was not closed: its journal holds changes that the image lacks. A new version of the format adds
//! a folder; `cargo test --test golden -- --ignored` writes the one of the present version if there is none.

use crate::model::operations::{content, fill_name};
use crate::model::volumes::{self, ROOT, directory, file, new, tick};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sabfs::core::Image;
use sabfs::core::check::check;
use sabfs::format::FileKind;
use sabfs::persist::{Found, Keeper, MemDevice, OpenOptions};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{AllocateMode, Attr, Committer, Ino, Volume, XattrFlags};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xxhash_rust::xxh64::xxh64;

const VERSION: &str = "1.0";
const BLOCKS: u32 = 600;
const SEGMENT_BLOCKS: u32 = 256;

type Heap = Volume<Arc<HeapStore>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn options() -> OpenOptions {
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    let random = move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        number
    };
    let mut options = OpenOptions::new([7; 16], Box::new(random));
    options.segment_blocks = SEGMENT_BLOCKS;
    options
}

/// Opens the files, as a mount does; a new volume if there is none.
fn open(image_file: &MemDevice, journal_file: &MemDevice) -> Heap {
    let store = Arc::new(HeapStore::new(runtime::store_size_bytes(BLOCKS)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 2).unwrap();
    let (image_file, journal_file) = (image_file.clone(), journal_file.clone());
    let (keeper, found) =
        Keeper::open(image, image_file, journal_file, options(), Box::new(|| 0), &mut |_| ()).unwrap();
    let mut volume = match found {
        Found::New => Volume::format(store, 1, volumes::now, [7; 32]).unwrap(),
        Found::Volume(_) => Volume::load(store, 1, volumes::now).unwrap(),
    };
    let keeper = Mutex::new(keeper);
    volume.set_committer(Committer::Inline(Box::new(move |_| keeper.lock().unwrap().commit_now())));
    volume
}

/// Something of everything that the format knows.
fn fill(volume: &Heap) {
    let create = |dir, name: &[u8], new| {
        tick();
        volume.create(dir, name, &new).unwrap().ino
    };
    let xattr = |ino, name: &[u8], value: &[u8]| {
        volume.set_xattr(ino, name, value, XattrFlags::empty()).unwrap();
    };
    let outer = create(ROOT, b"outer", directory());
    let small = create(outer, b"small", file());
    volume.write(small, 0, b"lies in its inode").unwrap();
    let large = create(outer, b"large", file());
    volume.write(large, 0, &content(1, 70_000)).unwrap();
    volume.link(large, ROOT, b"another name").unwrap();
    let sparse = create(outer, b"sparse", file());
    for at in 0..24 {
        volume.write(sparse, at * 8192, b"part").unwrap();
    }
    volume.write(sparse, 5 << 30, b"far").unwrap();
    let reserved = create(outer, b"reserved", file());
    volume.allocate(reserved, AllocateMode::KEEP_SIZE, 0, 40_000).unwrap();
    volume.symlink(ROOT, b"short", b"outer/small", 1, 2).unwrap();
    volume.symlink(ROOT, b"long", &[b't'; 900], 1, 2).unwrap();
    for (name, kind) in [
        (&b"pipe"[..], FileKind::Fifo),
        (b"socket", FileKind::Socket),
        (b"character", FileKind::Character),
        (b"block", FileKind::Block),
    ] {
        let mut new = new(kind);
        new.rdev = if matches!(kind, FileKind::Character | FileKind::Block) { 0x0801 } else { 0 };
        create(ROOT, name, new);
    }
    xattr(small, b"user.short", b"in the inode");
    xattr(large, b"user.long", &content(2, 1_000));
    xattr(large, b"system.posix_acl_access", b"\x02\0\0\0");
    xattr(outer, b"trusted.overlay.opaque", b"y");
    let names = create(ROOT, b"names", directory());
    for number in 0..60_u32 {
        create(names, &fill_name(number, true), file());
    }
    create(names, &[b'x'; 255], file());
    create(names, &[0xff, 0xfe], file());
    volume.sync().unwrap();
    // What the journal alone has: a change, a removal, a file that lost its name while it was held.
    tick();
    volume.write(large, 65_000, &content(3, 9_000)).unwrap();
    volume.unlink(names, &[b'x'; 255]).unwrap();
    let held = create(ROOT, b"held", file());
    volume.write(held, 0, &content(4, 9_000)).unwrap();
    volume.hold(held).unwrap();
    volume.unlink(ROOT, b"held").unwrap();
    volume.sync().unwrap();
}

fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// Everything that can be seen of an inode and, below it, of all others.
fn list(volume: &Heap, ino: Ino, path: &str, text: &mut String) {
    let Attr { mode, nlink, uid, gid, rdev, size_bytes, blocks, generation, .. } =
        volume.getattr(ino).unwrap();
    let attr = volume.getattr(ino).unwrap();
    let times = [attr.atime_ns, attr.mtime_ns, attr.ctime_ns, attr.btime_ns];
    write!(
        text,
        "{path} {ino}.{generation} {mode:o} {nlink} {uid}:{gid} {rdev:#x} {size_bytes} bytes {blocks} blocks {times:?}"
    )
    .unwrap();
    match attr.kind {
        FileKind::Regular => {
            // Large files are sparse: what lies at their beginning and at their end.
            let mut bytes = vec![0; 200_000];
            let start = volume.read(ino, 0, &mut bytes).unwrap();
            let start = xxh64(&bytes[..start], 0);
            let end = volume.read(ino, size_bytes.saturating_sub(9_000), &mut bytes).unwrap();
            write!(text, " {start:016x} {:016x}", xxh64(&bytes[..end], 0)).unwrap();
        }
        FileKind::Symlink => write!(text, " -> {}", shown(&volume.readlink(ino).unwrap())).unwrap(),
        _ => {}
    }
    let mut xattrs = volume.list_xattr(ino).unwrap();
    xattrs.sort();
    for name in xattrs {
        let value = volume.get_xattr(ino, &name).unwrap();
        write!(text, " {}={:016x}", shown(&name), xxh64(&value, 0)).unwrap();
    }
    text.push('\n');
    if attr.kind == FileKind::Directory {
        let mut names = Vec::new();
        volume
            .read_dir(ino, 0, &mut |entry| {
                names.push(entry);
                true
            })
            .unwrap();
        // In the order of the cookies, which is a part of the format.
        for entry in names {
            list(volume, entry.ino, &format!("{path}/{}", shown(&entry.name)), text);
        }
    }
}

fn tree(volume: &Heap) -> String {
    let mut text = String::new();
    list(volume, ROOT, "", &mut text);
    text
}

fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn volumes_of_every_version_open() {
    let mut versions = 0;
    for version in fs::read_dir(folder()).unwrap() {
        let folder = version.unwrap().path();
        let image_file = MemDevice::with_bytes(read(&folder.join("image.gz")));
        let journal_file = MemDevice::with_bytes(read(&folder.join("journal.gz")));
        let expected = fs::read_to_string(folder.join("tree.txt")).unwrap();
        let volume = open(&image_file, &journal_file);
        assert!(tree(&volume) == expected, "{} shows:\n{}", folder.display(), tree(&volume));
        let found = check(volume.core());
        assert!(found.is_clean(), "{}: {found}", folder.display());

        let new = volume.create(ROOT, b"new", &file()).unwrap().ino;
        volume.write(new, 0, &content(9, 20_000)).unwrap();
        volume.sync().unwrap();
        drop(volume);
        let volume = open(&image_file, &journal_file);
        let mut bytes = vec![0; 20_000];
        assert_eq!(volume.read(new, 0, &mut bytes), Ok(20_000));
        assert_eq!(bytes, content(9, 20_000));
        versions += 1;
    }
    assert!(versions > 0);
}

#[test]
#[ignore = "writes into the sources"]
fn make_the_present_one() {
    let folder = folder().join(VERSION);
    if folder.join("tree.txt").exists() {
        println!("{} is there already", folder.display());
        return;
    }
    let (image_file, journal_file) = (MemDevice::default(), MemDevice::default());
    let volume = open(&image_file, &journal_file);
    fill(&volume);
    drop(volume);
    fs::create_dir_all(&folder).unwrap();
    for (name, device) in [("image.gz", &image_file), ("journal.gz", &journal_file)] {
        let mut encoder =
            GzEncoder::new(fs::File::create(folder.join(name)).unwrap(), Compression::best());
        encoder.write_all(&device.bytes()).unwrap();
        encoder.finish().unwrap();
    }
    // What a mount makes of it: the file without a name is gone.
    let again =
        open(&MemDevice::with_bytes(image_file.bytes()), &MemDevice::with_bytes(journal_file.bytes()));
    fs::write(folder.join("tree.txt"), tree(&again)).unwrap();
}
