//! Extended attributes, one at a time; `model` has them at random.

use crate::model::volumes::{self, HeapVolume, ROOT, directory, file, new};
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::vfs::{Caller, Ino, XattrFlags};

const NONE: XattrFlags = XattrFlags::empty();

fn sample() -> (HeapVolume, Ino) {
    let volume = volumes::volume(100);
    let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
    (volume, ino)
}

#[track_caller]
fn assert_sound(volume: &HeapVolume) {
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
}

#[test]
fn values_come_back() {
    let (volume, ino) = sample();
    assert_eq!(volume.list_xattr(ino), Ok(vec![]));
    assert_eq!(volume.get_xattr(ino, b"user.a"), Err(Errno::ENODATA));
    volume.set_xattr(ino, b"user.a", b"", NONE).unwrap();
    volume.set_xattr(ino, b"user.a", b"\0bytes\xff", NONE).unwrap();
    volume.set_xattr(ino, b"security.a", b"other", NONE).unwrap();
    assert_eq!(volume.get_xattr(ino, b"user.a").unwrap(), b"\0bytes\xff");
    assert_eq!(volume.get_xattr(ino, b"security.a").unwrap(), b"other");
    let mut names = volume.list_xattr(ino).unwrap();
    names.sort();
    assert_eq!(names, [&b"security.a"[..], b"user.a"]);
    volume.remove_xattr(ino, b"user.a").unwrap();
    assert_eq!(volume.remove_xattr(ino, b"user.a"), Err(Errno::ENODATA));
    assert_eq!(volume.list_xattr(ino).unwrap(), [b"security.a"]);
    assert_sound(&volume);
}

#[test]
fn flags() {
    let (volume, ino) = sample();
    let set = |flags| volume.set_xattr(ino, b"user.a", b"v", flags);
    assert_eq!(set(XattrFlags::REPLACE), Err(Errno::ENODATA));
    assert_eq!(set(XattrFlags::all()), Err(Errno::ENODATA));
    assert_eq!(set(XattrFlags::CREATE), Ok(()));
    assert_eq!(set(XattrFlags::CREATE), Err(Errno::EEXIST));
    assert_eq!(set(XattrFlags::all()), Err(Errno::EEXIST));
    assert_eq!(set(XattrFlags::REPLACE), Ok(()));
    // Linux does not look at them for access control lists.
    let set = |flags| volume.set_xattr(ino, b"system.posix_acl_access", b"v", flags);
    assert_eq!(set(XattrFlags::REPLACE), Ok(()));
    assert_eq!(set(XattrFlags::CREATE), Ok(()));
}

#[test]
fn names_and_kinds() {
    let (volume, ino) = sample();
    let long = |len| [&b"user."[..], &vec![b'x'; len]].concat();
    for (name, errno) in [
        (&b""[..], Errno::ERANGE),
        (&long(251), Errno::ERANGE),
        (b"user.", Errno::EINVAL),
        (b"user.a\0", Errno::EINVAL),
        (b"user", Errno::EOPNOTSUPP),
        (b"system.other", Errno::EOPNOTSUPP),
        (b"none", Errno::EOPNOTSUPP),
    ] {
        assert_eq!(volume.set_xattr(ino, name, b"", NONE), Err(errno));
        assert_eq!(volume.get_xattr(ino, name), Err(errno));
        assert_eq!(volume.remove_xattr(ino, name), Err(errno));
    }
    assert_eq!(volume.set_xattr(ino, &long(250), b"", NONE), Ok(()));

    let link = volume.symlink(ROOT, b"link", b"f", 0, 0).unwrap().ino;
    let fifo = volume.create(ROOT, b"fifo", &new(FileKind::Fifo)).unwrap().ino;
    for ino in [link, fifo] {
        assert_eq!(volume.set_xattr(ino, b"user.a", b"", NONE), Err(Errno::EPERM));
        assert_eq!(volume.remove_xattr(ino, b"user.a"), Err(Errno::EPERM));
        assert_eq!(volume.get_xattr(ino, b"user.a"), Err(Errno::ENODATA));
        assert_eq!(volume.set_xattr(ino, b"trusted.a", b"t", NONE), Ok(()));
        assert_eq!(volume.set_xattr(ino, b"security.a", &[7; 300], NONE), Ok(()));
    }
    let (access, default) = (b"system.posix_acl_access", b"system.posix_acl_default");
    let dir = volume.create(ROOT, b"dir", &directory()).unwrap().ino;
    for (ino, access_answer, default_answer) in [
        (dir, Ok(()), Ok(())),
        (fifo, Ok(()), Err(Errno::EACCES)),
        (link, Err(Errno::EOPNOTSUPP), Err(Errno::EOPNOTSUPP)),
    ] {
        assert_eq!(volume.set_xattr(ino, access, b"list", NONE), access_answer);
        assert_eq!(volume.set_xattr(ino, default, b"list", NONE), default_answer);
        let removed = if ino == link { Err(Errno::EOPNOTSUPP) } else { Ok(()) };
        for _ in 0..2 {
            assert_eq!(volume.remove_xattr(ino, default), removed);
        }
    }
    for ino in [0, 1, 999] {
        assert_eq!(volume.get_xattr(ino, b"user.a"), Err(Errno::ENOENT));
        assert_eq!(volume.list_xattr(ino), Err(Errno::ENOENT));
        assert_eq!(volume.set_xattr(ino, b"user.a", b"", NONE), Err(Errno::ENOENT));
    }
    assert_sound(&volume);
}

#[test]
fn what_fits() {
    let (volume, ino) = sample();
    let free = || volume.statfs().unwrap().free_blocks;
    let blocks = || volume.getattr(ino).unwrap().blocks;
    let before = free();
    // Records are 4 bytes, the name without its namespace, and the value.
    volume.set_xattr(ino, b"user.a", &[1; 59], NONE).unwrap();
    assert_eq!((blocks(), free()), (0, before));
    volume.set_xattr(ino, b"user.a", &[2; 60], NONE).unwrap();
    assert_eq!((blocks(), free()), (1, before - 1));
    volume.set_xattr(ino, b"user.a", &[3; 4059], NONE).unwrap();
    let full = |len, errno| {
        assert_eq!(volume.set_xattr(ino, b"user.a", &vec![4; len], NONE), Err(errno));
        assert_eq!(volume.get_xattr(ino, b"user.a").unwrap(), [3; 4059]);
    };
    full(4060, Errno::ENOSPC);
    full(65_536, Errno::ENOSPC);
    full(65_537, Errno::E2BIG);
    assert_eq!(volume.set_xattr(ino, b"trusted.b", b"", NONE), Err(Errno::ENOSPC));
    assert_sound(&volume);
    volume.set_xattr(ino, b"user.a", b"short", NONE).unwrap();
    assert_eq!((blocks(), free()), (0, before));
    assert_sound(&volume);
    volume.set_xattr(ino, b"user.b", &[5; 1000], NONE).unwrap();
    volume.remove_xattr(ino, b"user.b").unwrap();
    assert_eq!((blocks(), free()), (0, before));
    assert_eq!(volume.get_xattr(ino, b"user.a").unwrap(), b"short");

    // The block goes with the inode.
    volume.set_xattr(ino, b"user.b", &[5; 1000], NONE).unwrap();
    assert_eq!(free(), before - 1);
    volume.unlink(ROOT, b"f").unwrap();
    // The root directory was left empty, which frees its leaf.
    assert_eq!(free(), before + 1);
    assert_sound(&volume);
}

/// What does not fit into an inode's list is no reason for the volume to grow.
#[test]
fn too_long_a_list_takes_no_space() {
    let volume = volumes::volume(5_000);
    let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
    let blocks = volume.image().geometry().image_blocks();
    assert!(blocks < 5_000);
    assert_eq!(volume.set_xattr(ino, b"user.a", &[0; 5_000], NONE), Err(Errno::ENOSPC));
    assert_eq!(volume.image().geometry().image_blocks(), blocks);
}

#[test]
fn only_ctime_changes() {
    let (volume, ino) = sample();
    let changes = |change: &dyn Fn()| {
        let before = volume.getattr(ino).unwrap();
        volumes::tick();
        change();
        let after = volume.getattr(ino).unwrap();
        assert_eq!((after.mtime_ns, after.atime_ns), (before.mtime_ns, before.atime_ns));
        assert_eq!((after.size_bytes, after.change), (before.size_bytes, before.change));
        after.ctime_ns != before.ctime_ns
    };
    assert!(changes(&|| volume.set_xattr(ino, b"user.a", b"v", NONE).unwrap()));
    assert!(changes(&|| volume.set_xattr(ino, b"user.a", b"v", NONE).unwrap()));
    assert!(!changes(&|| _ = volume.get_xattr(ino, b"user.a").unwrap()));
    assert!(changes(&|| volume.remove_xattr(ino, b"user.a").unwrap()));
    assert!(!changes(&|| _ = volume.remove_xattr(ino, b"user.a").unwrap_err()));
}

#[test]
fn attributes_survive_a_mount() {
    let (volume, ino) = sample();
    let dir = volume.create(ROOT, b"dir", &directory()).unwrap().ino;
    volume.set_xattr(ino, b"user.a", b"inline", NONE).unwrap();
    volume.set_xattr(dir, b"user.b", &[9; 3_000], NONE).unwrap();
    let volume = volumes::remount(&volume);
    assert_eq!(volume.get_xattr(ino, b"user.a").unwrap(), b"inline");
    assert_eq!(volume.get_xattr(dir, b"user.b").unwrap(), [9; 3_000]);
    assert_sound(&volume);
}

/// What `permissions` compares with the kernel for `user.`, whose other namespaces take capabilities that a thread
/// does not lose with its user.
#[test]
fn callers() {
    let (volume, ino) = sample();
    let caller = |uid, checked| Caller { uid, gid: 7, groups: &[], checked };
    let (owner, other, root) = (caller(1, true), caller(8, true), caller(0, true));
    let [owner, other, root] = [&owner, &other, &root].map(|caller| volume.as_caller(caller));
    for name in [&b"user.a"[..], b"trusted.a", b"security.a"] {
        assert_eq!(root.set_xattr(ino, name, b"v", NONE), Ok(()));
        assert_eq!(root.get_xattr(ino, name).unwrap(), b"v");
    }
    for (name, read, write) in [
        (&b"user.a"[..], Err(Errno::EACCES), Err(Errno::EACCES)),
        (b"trusted.a", Err(Errno::ENODATA), Err(Errno::EPERM)),
        (b"security.a", Ok(b"v".to_vec()), Err(Errno::EPERM)),
    ] {
        assert_eq!(other.get_xattr(ino, name), read);
        assert_eq!(other.set_xattr(ino, name, b"w", NONE), write);
        assert_eq!(other.remove_xattr(ino, name), write);
    }
    assert_eq!(owner.set_xattr(ino, b"user.a", b"w", XattrFlags::REPLACE), Ok(()));
    assert_eq!(owner.set_xattr(ino, b"trusted.a", b"w", NONE), Err(Errno::EPERM));
    let names = |list: Vec<Vec<u8>>| {
        let mut list = list;
        list.sort();
        list
    };
    assert_eq!(names(root.list_xattr(ino).unwrap()), [&b"security.a"[..], b"trusted.a", b"user.a"]);
    assert_eq!(names(owner.list_xattr(ino).unwrap()), [&b"security.a"[..], b"user.a"]);
    assert_eq!(owner.remove_xattr(ino, b"user.a"), Ok(()));
    // The checks ask the mode alone, so a list would be kept and mean nothing.
    let acl = b"system.posix_acl_access";
    assert_eq!(owner.set_xattr(ino, acl, b"v", NONE), Err(Errno::EOPNOTSUPP));
    assert_eq!(volume.set_xattr(ino, acl, b"v", NONE), Ok(()));
    assert_sound(&volume);
}
