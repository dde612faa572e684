//! Access control lists: what the mode, the list and the directory's default list say to one another.

use crate::model::volumes::{self, HeapVolume, ROOT, directory, file};
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::vfs::{Ino, SetAttr};

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";
const USER_OBJ: (u16, u32) = (1, u32::MAX);
const USER: (u16, u32) = (2, 1000);
const GROUP_OBJ: (u16, u32) = (4, u32::MAX);
const MASK: (u16, u32) = (16, u32::MAX);
const OTHER: (u16, u32) = (32, u32::MAX);

/// A list with one named user.
fn named(user_obj: u16, user: u16, group_obj: u16, mask: u16, other: u16) -> Vec<u8> {
    let tags =
        [(USER_OBJ, user_obj), (USER, user), (GROUP_OBJ, group_obj), (MASK, mask), (OTHER, other)];
    list(&tags)
}

fn list(entries: &[((u16, u32), u16)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for ((tag, id), permissions) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn sample() -> (HeapVolume, Ino) {
    let volume = volumes::volume(100);
    let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
    (volume, ino)
}

#[track_caller]
fn assert_mode(volume: &HeapVolume, ino: Ino, mode: u32) {
    assert_eq!(volume.getattr(ino).unwrap().mode & 0o7777, mode, "not {mode:o}");
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
}

fn chmod(volume: &HeapVolume, ino: Ino, mode: u32) {
    volume.setattr(ino, &SetAttr { mode: Some(mode), ..Default::default() }).unwrap();
}

#[test]
fn the_mode_is_the_lists() {
    let (volume, ino) = sample();
    volume.set_acl(ino, ACCESS, &named(6, 7, 4, 5, 0), true).unwrap();
    assert_mode(&volume, ino, 0o650);
    chmod(&volume, ino, 0o4731);
    assert_mode(&volume, ino, 0o4731);
    assert_eq!(volume.get_xattr(ino, ACCESS).unwrap(), named(7, 7, 4, 3, 1));
}

#[test]
fn a_list_that_is_a_mode_is_not_kept() {
    let (volume, ino) = sample();
    volume.set_acl(ino, ACCESS, &named(6, 7, 4, 5, 0), true).unwrap();
    volume.set_acl(ino, ACCESS, &list(&[(USER_OBJ, 7), (GROUP_OBJ, 1), (OTHER, 2)]), true).unwrap();
    assert_mode(&volume, ino, 0o712);
    assert_eq!(volume.get_xattr(ino, ACCESS), Err(Errno::ENODATA));
    // One without entries takes it away, and the mode is what it was.
    volume.set_acl(ino, ACCESS, &named(6, 7, 4, 5, 0), true).unwrap();
    volume.set_acl(ino, ACCESS, &list(&[]), true).unwrap();
    assert_mode(&volume, ino, 0o650);
    assert_eq!(volume.get_xattr(ino, ACCESS), Err(Errno::ENODATA));
}

#[test]
fn set_group_id_falls_when_it_is_to() {
    let (volume, ino) = sample();
    chmod(&volume, ino, 0o2755);
    volume.set_acl(ino, ACCESS, &named(7, 5, 5, 5, 5), true).unwrap();
    assert_mode(&volume, ino, 0o2755);
    volume.set_acl(ino, ACCESS, &named(7, 5, 5, 5, 5), false).unwrap();
    assert_mode(&volume, ino, 0o755);
}

#[test]
fn what_is_made_takes_the_default_list_over() {
    let (volume, _) = sample();
    let dir = volume.create(ROOT, b"d", &directory()).unwrap().ino;
    assert_eq!(volume.has_default_acl(dir), Ok(false));
    let default = named(7, 7, 5, 7, 1);
    volume.set_acl(dir, DEFAULT, &default, true).unwrap();
    assert_eq!(volume.has_default_acl(dir), Ok(true));

    let mut new = file();
    new.permissions = 0o640;
    let made = volume.create(dir, b"f", &new).unwrap();
    assert_eq!(made.mode & 0o7777, 0o640);
    assert_eq!(volume.get_xattr(made.ino, ACCESS).unwrap(), named(6, 7, 5, 4, 0));
    assert_eq!(volume.get_xattr(made.ino, DEFAULT), Err(Errno::ENODATA));

    let mut new = directory();
    new.permissions = 0o1777;
    let made = volume.create(dir, b"d", &new).unwrap();
    assert_mode(&volume, made.ino, 0o1771);
    assert_eq!(volume.get_xattr(made.ino, ACCESS).unwrap(), default);
    assert_eq!(volume.get_xattr(made.ino, DEFAULT).unwrap(), default);

    let link = volume.symlink(dir, b"l", b"x", 0, 0).unwrap();
    assert_mode(&volume, link.ino, 0o777);
    assert_eq!(volume.list_xattr(link.ino).unwrap(), Vec::<Vec<u8>>::new());

    let unnamed = volume.create_unnamed(dir, &file()).unwrap();
    assert!(volume.get_xattr(unnamed.ino, ACCESS).is_ok());
    volume.forget(unnamed.ino);
}

#[test]
fn what_is_refused_changes_nothing() {
    let (volume, ino) = sample();
    let dir = volume.create(ROOT, b"d", &directory()).unwrap().ino;
    let link = volume.symlink(ROOT, b"l", b"x", 0, 0).unwrap().ino;
    let right = named(7, 7, 5, 7, 1);
    let before = volume.getattr(ino).unwrap();
    for (ino, name, value, errno) in [
        (ino, ACCESS, &b"bytes"[..], Errno::EOPNOTSUPP),
        (ino, ACCESS, &right[..right.len() - 1], Errno::EINVAL),
        (ino, ACCESS, &right[..right.len() - 8], Errno::EINVAL),
        (dir, DEFAULT, &[2, 0], Errno::EINVAL),
        (ino, DEFAULT, &right, Errno::EACCES),
        (link, ACCESS, &right, Errno::EOPNOTSUPP),
        (ino, b"user.a", &right, Errno::EOPNOTSUPP),
    ] {
        assert_eq!(volume.set_acl(ino, name, value, true), Err(errno));
    }
    let users: Vec<_> = (0..600).map(|id| ((USER.0, id), 7)).collect();
    let long = [&[(USER_OBJ, 7)], &users[..], &[(GROUP_OBJ, 7), (MASK, 7), (OTHER, 7)]].concat();
    assert_eq!(volume.set_acl(ino, ACCESS, &list(&long), true), Err(Errno::ENOSPC));
    assert_eq!(volume.getattr(ino).unwrap(), before);
}

#[test]
fn bytes_that_are_no_list_mean_nothing() {
    let (volume, ino) = sample();
    let none = sabfs::vfs::XattrFlags::empty();
    volume.set_xattr(ino, ACCESS, b"bytes", none).unwrap();
    chmod(&volume, ino, 0o711);
    assert_mode(&volume, ino, 0o711);
    assert_eq!(volume.get_xattr(ino, ACCESS).unwrap(), b"bytes");
    volume.set_xattr(ROOT, DEFAULT, b"bytes", none).unwrap();
    let made = volume.create(ROOT, b"g", &file()).unwrap();
    assert_eq!(volume.list_xattr(made.ino).unwrap(), Vec::<Vec<u8>>::new());
}
