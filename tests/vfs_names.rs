//! Names: files without one, whiteouts, set-group-ID directories, who may do what, and paths.

use crate::model::volumes::{self, HeapVolume, ROOT, directory, file, new};
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::vfs::{
    Access, AllocateMode, Attr, Caller, NewInode, Purpose, RenameFlags, SetAttr, TimeChange, Volume,
    WalkOptions, xattr_allowed,
};

const USER: Caller<'static> = Caller { uid: 1001, gid: 2001, groups: &[2002], checked: true };
const OTHER: Caller<'static> = Caller { uid: 1003, gid: 2003, groups: &[], checked: true };
const SUPERUSER: Caller<'static> = Caller { uid: 0, gid: 0, groups: &[], checked: true };
const FOLLOW: WalkOptions = WalkOptions { follow_last: true, refuse_link: false, directory: false };
const STAY: WalkOptions = WalkOptions { follow_last: false, refuse_link: false, directory: false };

fn with_mode(mode: u32) -> SetAttr {
    SetAttr { mode: Some(mode), ..Default::default() }
}

fn sound(volume: &HeapVolume) {
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
}

fn walk(volume: &HeapVolume, path: &str) -> Result<Attr, Errno> {
    volume.walk(ROOT, ROOT, path.as_bytes(), FOLLOW)
}

#[test]
fn a_file_without_a_name_gets_one() {
    let v = volumes::volume(1_000);
    let before = v.getattr(ROOT).unwrap();
    volumes::tick();
    let made = v.create_unnamed(ROOT, &file()).unwrap();
    assert_eq!((made.nlink, made.kind), (0, FileKind::Regular));
    assert_eq!(v.getattr(ROOT).unwrap(), before, "the directory knows nothing of it");
    v.write(made.ino, 0, b"bytes").unwrap();
    sound(&v);
    assert_eq!(v.link(made.ino, ROOT, b"named").unwrap().nlink, 1);
    v.forget(made.ino);
    assert_eq!(v.lookup(ROOT, b"named").unwrap().size_bytes, 5);
    sound(&v);
    assert_eq!(volumes::remount(&v).lookup(ROOT, b"named").unwrap().size_bytes, 5);
    assert_eq!(v.create_unnamed(made.ino, &file()), Err(Errno::ENOTDIR));
    assert_eq!(v.create_unnamed(ROOT, &directory()), Err(Errno::EINVAL));
}

#[test]
fn a_file_without_a_name_goes_with_who_holds_it() {
    let v = volumes::volume(1_000);
    let used = v.statfs().unwrap().used_inodes;
    let made = v.create_unnamed(ROOT, &file()).unwrap();
    v.write(made.ino, 0, &[1; 9_000]).unwrap();
    // What a crash leaves: nobody holds it, and the mount frees it.
    let crashed = volumes::remount(&v);
    assert_eq!(crashed.getattr(made.ino), Err(Errno::ENOENT));
    assert_eq!(crashed.statfs().unwrap().used_inodes, used);
    sound(&crashed);
    v.hold(made.ino).unwrap();
    v.forget(made.ino);
    assert_eq!(v.getattr(made.ino).unwrap().size_bytes, 9_000);
    v.forget(made.ino);
    assert_eq!(v.getattr(made.ino), Err(Errno::ENOENT));
    assert_eq!(v.statfs().unwrap().used_inodes, used);
}

#[test]
fn who_lost_the_last_name_gets_none_again() {
    let v = volumes::volume(1_000);
    let named = v.create(ROOT, b"f", &file()).unwrap();
    v.hold(named.ino).unwrap();
    v.unlink(ROOT, b"f").unwrap();
    assert_eq!(v.link(named.ino, ROOT, b"g"), Err(Errno::ENOENT));
    let made = v.create_unnamed(ROOT, &file()).unwrap();
    v.link(made.ino, ROOT, b"g").unwrap();
    v.unlink(ROOT, b"g").unwrap();
    assert_eq!(v.link(made.ino, ROOT, b"g"), Err(Errno::ENOENT));
    // Another process has not made it and cannot know it.
    let made = v.create_unnamed(ROOT, &file()).unwrap();
    let other = Volume::attach(v.image().store().clone(), 2, volumes::now).unwrap();
    assert_eq!(other.link(made.ino, ROOT, b"g"), Err(Errno::ENOENT));
    sound(&v);
}

#[test]
fn a_full_open_table_makes_no_file() {
    let v = volumes::volume(40_000);
    let mut made = Vec::new();
    let error = loop {
        match v.create_unnamed(ROOT, &file()) {
            Ok(attr) => made.push(attr.ino),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno::ENFILE);
    sound(&v);
    let used = v.statfs().unwrap().used_inodes;
    assert_eq!(used, made.len() as u64 + 2, "the root, the table, and what was made");
}

#[test]
fn a_rename_leaves_a_whiteout() {
    let v = volumes::volume(1_000);
    let caller = Caller { uid: 7, gid: 8, ..Caller::TRUSTED };
    let moved = v.create(ROOT, b"d", &directory()).unwrap();
    let other = v.create(ROOT, b"e", &directory()).unwrap();
    let rename = |from_dir, from: &[u8], to_dir, to: &[u8], flags| {
        v.as_caller(&caller).rename(from_dir, from, to_dir, to, flags)
    };
    rename(ROOT, b"d", other.ino, b"d", RenameFlags::WHITEOUT).unwrap();
    let whiteout = v.lookup(ROOT, b"d").unwrap();
    assert_eq!((whiteout.kind, whiteout.rdev, whiteout.nlink), (FileKind::Character, 0, 1));
    assert_eq!((whiteout.mode & 0o7777, whiteout.uid, whiteout.gid), (0, 7, 8));
    assert_eq!(v.lookup(other.ino, b"d").unwrap().ino, moved.ino);
    assert_eq!(v.getattr(ROOT).unwrap().nlink, 3);
    let both = RenameFlags::WHITEOUT | RenameFlags::EXCHANGE;
    assert_eq!(rename(ROOT, b"d", ROOT, b"e", both), Err(Errno::EINVAL));
    let careful = RenameFlags::WHITEOUT | RenameFlags::NOREPLACE;
    assert_eq!(rename(ROOT, b"e", ROOT, b"d", careful), Err(Errno::EEXIST));
    rename(ROOT, b"e", ROOT, b"new", careful).unwrap();
    assert_eq!(v.lookup(ROOT, b"e").unwrap().kind, FileKind::Character);
    sound(&v);
}

#[test]
fn directories_hand_on_their_group() {
    let v = volumes::volume(1_000);
    let dir = v.create(ROOT, b"d", &directory()).unwrap().ino;
    v.setattr(dir, &SetAttr { gid: Some(50), ..with_mode(0o2777) }).unwrap();
    let made = v.create(dir, b"d", &directory()).unwrap();
    assert_eq!((made.gid, made.mode & 0o7777), (50, 0o2640));
    assert_eq!(v.create(dir, b"f", &file()).unwrap().gid, 50);
    assert_eq!(v.symlink(dir, b"l", b"f", 3, 4).unwrap().gid, 50);
    let unnamed = v.as_caller(&USER).create_unnamed(dir, &file()).unwrap();
    assert_eq!((unnamed.uid, unnamed.gid), (1001, 50));
    // What would run with the rights of a group that is not the caller's.
    let program = NewInode { permissions: 0o2755, ..file() };
    assert_eq!(v.create(dir, b"p", &program).unwrap().mode & 0o7777, 0o2755);
    assert_eq!(v.as_caller(&USER).create(dir, b"q", &program).unwrap().mode & 0o7777, 0o755);
    assert_eq!(v.as_caller(&SUPERUSER).create(dir, b"r", &program).unwrap().mode & 0o7777, 0o2755);
}

#[test]
fn writers_cost_a_file_its_set_id_bits() {
    let v = volumes::volume(1_000);
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    let mode = || v.getattr(f).unwrap().mode & 0o7777;
    for (caller, after) in [(&OTHER, 0o666), (&SUPERUSER, 0o6666), (&Caller::TRUSTED, 0o6666)] {
        let view = v.as_caller(caller);
        for change in 0..5 {
            v.setattr(f, &with_mode(0o6666)).unwrap();
            match change {
                0 => drop(view.write(f, 0, b"x").unwrap()),
                1 => drop(view.append(f, b"x").unwrap()),
                2 => drop(view.resize_opened(f, 3).unwrap()),
                3 => view.allocate(f, AllocateMode::ZERO_RANGE, 0, 9).unwrap(),
                _ => {
                    let set = SetAttr { size_bytes: Some(5), ..Default::default() };
                    view.setattr(f, &set).unwrap();
                }
            }
            assert_eq!(mode(), after, "{caller:?} {change}");
        }
    }
    // Opened when that was allowed.
    v.setattr(f, &with_mode(0)).unwrap();
    assert_eq!(v.as_caller(&OTHER).resize_opened(f, 0).unwrap().size_bytes, 0);
    let set = SetAttr { size_bytes: Some(1), ..Default::default() };
    assert_eq!(v.as_caller(&OTHER).setattr(f, &set), Err(Errno::EACCES));
    // Write permission is not the right to set a mode, whatever else is asked for.
    v.setattr(f, &with_mode(0o666)).unwrap();
    let set = SetAttr { size_bytes: Some(1), ..with_mode(0o777) };
    assert_eq!(v.as_caller(&OTHER).setattr(f, &set), Err(Errno::EPERM));
}

#[test]
fn times_now_are_the_operations() {
    let v = volumes::volume(1_000);
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    volumes::tick();
    let set =
        SetAttr { atime: Some(TimeChange::At(-5)), mtime: Some(TimeChange::Now), ..Default::default() };
    let attr = v.setattr(f, &set).unwrap();
    assert_eq!((attr.atime_ns, attr.mtime_ns, attr.ctime_ns), (-5, volumes::now(), volumes::now()));
}

#[test]
fn attributes_of_a_symlink() {
    let v = volumes::volume(1_000);
    let l = v.symlink(ROOT, b"l", b"x", 1, 2).unwrap().ino;
    assert_eq!(v.setattr(l, &with_mode(0o600)), Err(Errno::EOPNOTSUPP));
    let set = SetAttr { uid: Some(5), ..Default::default() };
    assert_eq!(v.setattr(l, &set).unwrap().uid, 5);
}

#[test]
fn a_volume_that_is_only_read_is_not_written() {
    let v = volumes::volume(1_000);
    let f = v.create(ROOT, b"f", &new(FileKind::Regular)).unwrap().ino;
    let p = v.create(ROOT, b"p", &new(FileKind::Fifo)).unwrap().ino;
    use sabfs::store::{Store, runtime};
    v.image().store().store(runtime::READ_ONLY, 1);
    let view = v.as_caller(&SUPERUSER);
    assert_eq!(view.access(f, Access::WRITE), Err(Errno::EROFS));
    assert!(view.access(f, Access::READ).is_ok() && view.access(p, Access::WRITE).is_ok());
}

#[test]
fn extended_attributes_by_namespace() {
    let v = volumes::volume(1_000);
    let made = |kind, mode, name: &[u8]| {
        let ino = v.create(ROOT, name, &new(kind)).unwrap().ino;
        v.setattr(ino, &SetAttr { uid: Some(USER.uid), ..with_mode(mode) }).unwrap()
    };
    let f = made(FileKind::Regular, 0o604, b"f");
    let d = made(FileKind::Directory, 0o1777, b"d");
    let p = made(FileKind::Fifo, 0o666, b"p");
    let l = v.symlink(ROOT, b"l", b"f", USER.uid, 0).unwrap();
    use Errno::*;
    for (attr, caller, name, read, write) in [
        (&f, &USER, "user.x", Ok(()), Ok(())),
        (&f, &OTHER, "user.x", Ok(()), Err(EACCES)),
        (&d, &OTHER, "user.x", Ok(()), Err(EPERM)),
        (&d, &USER, "user.x", Ok(()), Ok(())),
        (&p, &SUPERUSER, "user.x", Err(ENODATA), Err(EPERM)),
        (&l, &USER, "user.x", Err(ENODATA), Err(EPERM)),
        (&f, &USER, "trusted.x", Err(ENODATA), Err(EPERM)),
        (&f, &SUPERUSER, "trusted.x", Ok(()), Ok(())),
        (&f, &USER, "security.x", Ok(()), Err(EPERM)),
        (&f, &SUPERUSER, "security.x", Ok(()), Ok(())),
        (&f, &USER, "system.posix_acl_access", Ok(()), Ok(())),
        (&f, &OTHER, "system.posix_acl_access", Ok(()), Err(EPERM)),
        (&f, &USER, "system.posix_acl_default", Ok(()), Err(EACCES)),
        (&d, &USER, "system.posix_acl_default", Ok(()), Ok(())),
        (&l, &USER, "system.posix_acl_access", Err(EOPNOTSUPP), Err(EOPNOTSUPP)),
        (&p, &Caller::TRUSTED, "user.x", Ok(()), Ok(())),
    ] {
        assert_eq!(xattr_allowed(attr, caller, name.as_bytes(), false), read, "read {name}");
        assert_eq!(xattr_allowed(attr, caller, name.as_bytes(), true), write, "write {name}");
    }
}

#[test]
fn paths_lead_through_links() {
    let v = volumes::volume(4_000);
    let a = v.create(ROOT, b"a", &directory()).unwrap().ino;
    let b = v.create(a, b"b", &directory()).unwrap().ino;
    let f = v.create(b, b"f", &file()).unwrap().ino;
    let link = |dir, name: &[u8], target: &[u8]| v.symlink(dir, name, target, 0, 0).unwrap().ino;
    link(ROOT, b"absolute", b"/a/b");
    link(b, b"up", b"../../a//./b/f");
    let dangling = link(ROOT, b"dangling", b"a/new");
    link(ROOT, b"slash", b"a/b/f/");
    for (path, ino) in [
        ("/", ROOT),
        ("//a///b/f", f),
        ("a/b/", b),
        ("a/./b/../b/f", f),
        ("..//../a", a),
        ("absolute/f", f),
        ("absolute/../b/up", f),
    ] {
        assert_eq!(walk(&v, path).map(|attr| attr.ino), Ok(ino), "{path}");
    }
    for (path, errno) in [
        ("", Errno::ENOENT),
        ("a/b/f/", Errno::ENOTDIR),
        ("a/b/f/.", Errno::ENOTDIR),
        ("slash", Errno::ENOTDIR),
        ("dangling", Errno::ENOENT),
    ] {
        assert_eq!(walk(&v, path).map(|attr| attr.ino), Err(errno), "{path}");
    }
    assert_eq!(v.walk(ROOT, ROOT, b"dangling", STAY).map(|attr| attr.ino), Ok(dangling));
    assert_eq!(v.walk(ROOT, ROOT, b"absolute/", STAY).map(|attr| attr.ino), Ok(b));
    let refuse = WalkOptions { refuse_link: true, ..FOLLOW };
    assert_eq!(v.walk(ROOT, ROOT, b"dangling", refuse), Err(Errno::ELOOP));
    assert_eq!(v.walk(ROOT, ROOT, b"absolute/f", refuse).map(|attr| attr.ino), Ok(f));
    let directory = WalkOptions { directory: true, ..refuse };
    assert_eq!(v.walk(ROOT, ROOT, b"dangling", directory), Err(Errno::ENOTDIR));

    let parent = |path: &str, purpose| v.walk_parent(ROOT, ROOT, path.as_bytes(), purpose);
    let open = Purpose::Open { follow: true };
    assert_eq!(parent("dangling", open), Ok((a, b"new".to_vec())));
    assert_eq!(parent("dangling", Purpose::Make), Ok((ROOT, b"dangling".to_vec())));
    assert_eq!(parent("absolute/up", open), Ok((b, b"f".to_vec())));
    assert_eq!(parent("absolute/x", Purpose::Open { follow: false }), Ok((b, b"x".to_vec())));
    for (path, purpose, errno) in [
        ("a/new/", open, Errno::EISDIR),
        ("a/..", open, Errno::EISDIR),
        ("/", open, Errno::EISDIR),
        ("/", Purpose::RemoveDirectory, Errno::EBUSY),
        ("/", Purpose::MakeDirectory, Errno::EEXIST),
        ("/", Purpose::Unlink, Errno::EISDIR),
        ("a/new/", Purpose::Make, Errno::ENOENT),
        ("a/b/", Purpose::Make, Errno::EEXIST),
        ("a/b/", Purpose::Unlink, Errno::EISDIR),
        ("a/b/f/", Purpose::Unlink, Errno::ENOTDIR),
    ] {
        assert_eq!(parent(path, purpose), Err(errno), "{path} {purpose:?}");
    }
}

#[test]
fn paths_have_limits() {
    let v = volumes::volume(4_000);
    let f = v.create(ROOT, b"l0", &file()).unwrap().ino;
    for number in 1..=41 {
        let (name, target) = (format!("l{number}"), format!("l{}", number - 1));
        v.symlink(ROOT, name.as_bytes(), target.as_bytes(), 0, 0).unwrap();
    }
    assert_eq!(walk(&v, "l40").map(|attr| attr.ino), Ok(f));
    assert_eq!(walk(&v, "l41"), Err(Errno::ELOOP));
    v.symlink(ROOT, b"self", b"self/x", 0, 0).unwrap();
    assert_eq!(walk(&v, "self"), Err(Errno::ELOOP));
    assert_eq!(walk(&v, &format!("{}l0", "/".repeat(4_093))).map(|attr| attr.ino), Ok(f));
    assert_eq!(walk(&v, &format!("{}l0", "/".repeat(4_094))), Err(Errno::ENAMETOOLONG));
    assert_eq!(walk(&v, &"n".repeat(255)), Err(Errno::ENOENT));
    assert_eq!(walk(&v, &"n".repeat(256)), Err(Errno::ENAMETOOLONG));
    let long = "n".repeat(256);
    let parent = v.walk_parent(ROOT, ROOT, long.as_bytes(), Purpose::Make);
    assert_eq!(parent, Err(Errno::ENAMETOOLONG));
}

#[test]
fn paths_stay_below_their_root() {
    let v = volumes::volume(1_000);
    let jail = v.create(ROOT, b"jail", &directory()).unwrap().ino;
    let inner = v.create(jail, b"inner", &directory()).unwrap().ino;
    let outside = v.create(ROOT, b"secret", &file()).unwrap().ino;
    let inside = v.create(jail, b"secret", &file()).unwrap().ino;
    v.symlink(inner, b"absolute", b"/secret", 0, 0).unwrap();
    v.symlink(inner, b"climbing", b"../../../secret", 0, 0).unwrap();
    let walk = |path: &[u8]| v.walk(inner, jail, path, FOLLOW).map(|attr| attr.ino);
    for path in [&b"absolute"[..], b"climbing", b"/../secret", b"../../secret", b"/inner/../secret"] {
        assert_eq!(walk(path), Ok(inside));
    }
    assert_eq!(v.walk(inner, ROOT, b"climbing", FOLLOW).map(|attr| attr.ino), Ok(outside));
    // Somebody moves the directory away while a program stands in it.
    v.rename(jail, b"inner", ROOT, b"inner", RenameFlags::empty()).unwrap();
    assert_eq!(walk(b".."), Err(Errno::EXDEV));
    assert_eq!(walk(b"climbing"), Err(Errno::EXDEV));
    assert_eq!(walk(b"absolute"), Ok(inside));
}

/// Permission is looked at where the change is made: none comes through after it was taken away.
#[test]
fn nobody_slips_in() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let v = volumes::volume(4_000);
    let dir = v.create(ROOT, b"d", &directory()).unwrap().ino;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (v, done) = (&v, &done);
            scope.spawn(move || {
                let name = [b'a' + thread];
                let view = v.as_caller(&OTHER);
                while !done.load(Ordering::Relaxed) {
                    _ = view.create(dir, &name, &file());
                    _ = view.unlink(dir, &name);
                }
            });
        }
        let (mut changes, mut before, mut late, mut rounds) = (0, 0, 0, 0);
        // On a busy machine the others may not get to run for many rounds.
        while rounds < 2_000 || (changes <= 10 && rounds < 1_000_000) {
            rounds += 1;
            v.setattr(dir, &with_mode(0o777)).unwrap();
            std::thread::yield_now();
            v.setattr(dir, &with_mode(0o555)).unwrap();
            let closed = v.getattr(dir).unwrap().change;
            changes += u64::from(closed != before);
            std::thread::yield_now();
            before = v.getattr(dir).unwrap().change;
            late += u64::from(before != closed);
        }
        // Before anything can fail: the others only end when they are told.
        done.store(true, Ordering::Relaxed);
        assert_eq!(late, 0, "rounds in which somebody came late");
        assert!(changes > 10, "only {changes} rounds in which a name came or went");
    });
    sound(&v);
}
