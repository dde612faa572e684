//! The operations on a volume in memory, one at a time.

use sabfs::core::Image;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{NewInode, RenameFlags, SetAttr, Volume};
use std::sync::Arc;

const ROOT: u32 = 2;

fn volume(blocks: u32) -> Volume<Arc<HeapStore>> {
    let store = Arc::new(HeapStore::new(runtime::store_size_bytes(blocks)));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    Volume::format(store, 1, || 1_700_000_000_123_456_789, [7; 32]).unwrap()
}

fn file() -> NewInode {
    NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 1, gid: 2, rdev: 0 }
}

fn dir() -> NewInode {
    NewInode { kind: FileKind::Directory, permissions: 0o755, uid: 0, gid: 0, rdev: 0 }
}

#[test]
fn bytes_come_back() {
    let v = volume(4096);
    let f = v.create(ROOT, b"f", &file()).unwrap();
    assert_eq!(v.write(f.ino, 0, b"hello").unwrap(), 5);
    assert_eq!(v.write(f.ino, 5_000, b"world").unwrap(), 5);
    let mut buffer = vec![1; 6000];
    assert_eq!(v.read(f.ino, 0, &mut buffer).unwrap(), 5005);
    assert_eq!(&buffer[..5], b"hello");
    assert!(buffer[5..5000].iter().all(|&b| b == 0));
    assert_eq!(&buffer[5000..5005], b"world");
    assert_eq!(v.append(f.ino, b"!").unwrap(), (5005, 1));
    v.setattr(f.ino, &SetAttr { size_bytes: Some(3), ..Default::default() }).unwrap();
    v.setattr(f.ino, &SetAttr { size_bytes: Some(10), ..Default::default() }).unwrap();
    assert_eq!(v.read(f.ino, 0, &mut buffer).unwrap(), 10);
    assert_eq!(&buffer[..10], b"hel\0\0\0\0\0\0\0");
    assert_eq!(v.getattr(f.ino).unwrap().blocks, 1);
}

#[test]
fn sparse_beyond_four_gib() {
    let v = volume(4096);
    let f = v.create(ROOT, b"big", &file()).unwrap();
    let far = 5_u64 << 30;
    assert_eq!(v.write(f.ino, far, b"far").unwrap(), 3);
    let mut buffer = [9; 8];
    assert_eq!(v.read(f.ino, far - 4, &mut buffer).unwrap(), 7);
    assert_eq!(&buffer[..7], b"\0\0\0\0far");
    assert_eq!(v.getattr(f.ino).unwrap().size_bytes, far + 3);
    assert_eq!(v.write(f.ino, u64::from(u32::MAX) * 4096, b"x"), Err(Errno::EFBIG));
}

#[test]
fn many_names_in_one_directory() {
    let v = volume(65_536);
    let d = v.create(ROOT, b"d", &dir()).unwrap();
    for i in 0..20_000 {
        v.create(d.ino, format!("name-{i}").as_bytes(), &file()).unwrap();
    }
    let mut seen = std::collections::HashSet::new();
    let mut last = 0;
    v.read_dir(d.ino, 0, &mut |entry| {
        assert!(entry.cookie > last);
        last = entry.cookie;
        assert!(seen.insert(entry.name));
        true
    })
    .unwrap();
    assert_eq!(seen.len(), 20_000);
    v.list(d.ino, &mut |name, _, kind| kind == FileKind::Regular && seen.remove(name)).unwrap();
    assert!(seen.is_empty());
    for i in (0..20_000).step_by(2) {
        v.unlink(d.ino, format!("name-{i}").as_bytes()).unwrap();
    }
    assert_eq!(v.lookup(d.ino, b"name-2").unwrap_err(), Errno::ENOENT);
    assert_eq!(v.lookup(d.ino, b"name-3").unwrap().kind, FileKind::Regular);
    for i in (1..20_000).step_by(2) {
        v.unlink(d.ino, format!("name-{i}").as_bytes()).unwrap();
    }
    assert_eq!(v.getattr(d.ino).unwrap().blocks, 0);
    v.rmdir(ROOT, b"d").unwrap();
}

#[test]
fn space_runs_out_and_comes_back() {
    let v = volume(1024);
    let before = v.statfs().unwrap().free_blocks;
    let f = v.create(ROOT, b"f", &file()).unwrap();
    let chunk = vec![5; 100_000];
    let mut size = 0;
    let error = loop {
        match v.write(f.ino, size, &chunk) {
            Ok(0) => panic!("no progress"),
            Ok(n) => size += n as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno::ENOSPC);
    // The root directory took one block for its first leaf.
    assert_eq!(size / 4096, before - 1);
    assert_eq!(v.create(ROOT, b"g", &file()).map(|a| a.size_bytes), Ok(0));
    v.unlink(ROOT, b"f").unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, before - 1);
}

#[test]
fn fragments_fill_a_tree() {
    let v = volume(65_536);
    let f = v.create(ROOT, b"f", &file()).unwrap();
    for i in (0..20_000_u64).rev() {
        v.write(f.ino, i * 8192, &i.to_le_bytes()).unwrap();
    }
    for i in 0..20_000_u64 {
        let mut buffer = [0; 8];
        v.read(f.ino, i * 8192, &mut buffer).unwrap();
        assert_eq!(u64::from_le_bytes(buffer), i);
    }
    let free = v.statfs().unwrap().free_blocks;
    v.setattr(f.ino, &SetAttr { size_bytes: Some(8192 * 10_000), ..Default::default() }).unwrap();
    assert!(v.statfs().unwrap().free_blocks >= free + 10_000);
    v.unlink(ROOT, b"f").unwrap();
}

#[test]
fn links_and_renames() {
    let v = volume(4096);
    let a = v.create(ROOT, b"a", &dir()).unwrap();
    let b = v.create(ROOT, b"b", &dir()).unwrap();
    let f = v.create(a.ino, b"f", &file()).unwrap();
    assert_eq!(v.link(f.ino, b.ino, b"g").unwrap().nlink, 2);
    v.rename(ROOT, b"a", b.ino, b"a", RenameFlags::empty()).unwrap();
    assert_eq!(v.parent(a.ino).unwrap(), b.ino);
    assert_eq!(v.rename(ROOT, b"b", a.ino, b"x", RenameFlags::empty()), Err(Errno::EINVAL));
    assert_eq!(v.getattr(ROOT).unwrap().nlink, 3);
    assert_eq!(v.hold_generation(f.ino, f.generation + 1), Err(Errno::ENOENT));
    v.hold_generation(f.ino, f.generation).unwrap();
    assert_eq!(v.hold_generation(f.ino, f.generation + 1), Err(Errno::ENOENT));
    v.unlink(a.ino, b"f").unwrap();
    v.unlink(b.ino, b"g").unwrap();
    assert_eq!(v.getattr(f.ino).unwrap().nlink, 0);
    v.write(f.ino, 0, b"still here").unwrap();
    v.forget(f.ino);
    assert_eq!(v.getattr(f.ino), Err(Errno::ENOENT));
    let target = vec![b'x'; 4095];
    for len in [1, 104, 105, 4095] {
        let s = v.symlink(ROOT, format!("s{len}").as_bytes(), &target[..len], 0, 0).unwrap();
        assert_eq!(v.readlink(s.ino).unwrap().len(), len);
    }
}

#[test]
fn a_full_volume_grows_to_its_capacity() {
    let v = volume(70_000);
    let before = v.statfs().unwrap();
    assert!(v.image().geometry().image_blocks() < 5_000);
    assert!(before.blocks > 69_000);
    let f = v.create(ROOT, b"f", &file()).unwrap();
    let chunk = vec![5; 1 << 20];
    let mut size = 0;
    while let Ok(n) = v.write(f.ino, size, &chunk) {
        size += n as u64;
    }
    assert_eq!(v.image().geometry().image_blocks(), 70_000);
    let after = v.statfs().unwrap();
    assert_eq!((after.blocks, after.free_blocks), (before.blocks, 0));
    let findings = sabfs::core::check::check(v.core());
    assert_eq!(format!("{findings:?}").matches("Error").count(), 0, "{findings:?}");
    let other = Volume::attach(v.image().store().clone(), 2, || 0).unwrap();
    assert_eq!(other.getattr(f.ino).unwrap().size_bytes, size);
}
