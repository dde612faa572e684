//! The change log: what each operation tells, and what becomes of watchers that are slow.

use crate::model::volumes::{HeapVolume, ROOT, directory, file, new, now, store};
use sabfs::core::log::{RECORD_MAX, Record, What};
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::store::{HeapStore, Store, runtime as rt};
use sabfs::vfs::{
    AllocateMode, Event, Ino, RenameFlags, SetAttr, TimeChange, Volume, Watcher, XattrFlags,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

type HeapWatcher = Watcher<Arc<HeapStore>>;

fn fixture() -> HeapVolume {
    Volume::format(store(4000), 1, now, [7; 32]).unwrap()
}

fn records(watcher: &mut HeapWatcher) -> Vec<Record> {
    std::iter::from_fn(|| watcher.next())
        .map(|event| match event {
            Event::Change(record) => record,
            Event::Overflow => panic!("missed something"),
        })
        .collect()
}

/// What was told since the last time: what, directory, inode, name.
fn told(watcher: &mut HeapWatcher) -> Vec<(What, Ino, Ino, String)> {
    let records = records(watcher).into_iter();
    let text = |name| String::from_utf8(name).unwrap();
    records.map(|record| (record.what, record.dir, record.ino, text(record.name))).collect()
}

fn name(what: What, dir: Ino, ino: Ino, name: &str) -> (What, Ino, Ino, String) {
    (what, dir, ino, name.to_string())
}

fn inode(what: What, ino: Ino) -> (What, Ino, Ino, String) {
    (what, 0, ino, String::new())
}

#[test]
fn names_are_told() {
    use What::{Attrib, Create, Delete, RenameFrom, RenameTo};
    let v = fixture();
    let mut w = v.watch().unwrap();
    let d = v.create(ROOT, b"d", &directory()).unwrap().ino;
    let f = v.create(d, b"f", &file()).unwrap().ino;
    let s = v.symlink(ROOT, b"s", b"target", 0, 0).unwrap().ino;
    let all = records(&mut w);
    let kinds: Vec<_> = all.iter().map(|r| (r.what, r.kind, r.dir, r.ino)).collect();
    let expected =
        [(FileKind::Directory, ROOT, d), (FileKind::Regular, d, f), (FileKind::Symlink, ROOT, s)];
    assert_eq!(kinds, expected.map(|(kind, dir, ino)| (Create, kind, dir, ino)));
    assert!(all.iter().all(|r| r.client == 1 && r.cookie == 0));
    assert!(all.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));

    v.link(f, ROOT, b"g").unwrap();
    assert_eq!(told(&mut w), [name(Create, ROOT, f, "g"), inode(Attrib, f)]);
    v.unlink(d, b"f").unwrap();
    assert_eq!(told(&mut w), [name(Delete, d, f, "f"), inode(Attrib, f)]);
    v.unlink(ROOT, b"s").unwrap();
    assert_eq!(told(&mut w), [name(Delete, ROOT, s, "s")]);
    v.rename(ROOT, b"g", d, b"h", RenameFlags::empty()).unwrap();
    assert_eq!(told(&mut w), [name(RenameFrom, ROOT, f, "g"), name(RenameTo, d, f, "h")]);
    // One name over another, and the same inode by two names, where nothing happens.
    let g = v.create(ROOT, b"g", &file()).unwrap().ino;
    v.link(g, ROOT, b"g2").unwrap();
    told(&mut w);
    v.rename(ROOT, b"g", ROOT, b"g2", RenameFlags::empty()).unwrap();
    assert_eq!(told(&mut w), []);
    v.rename(d, b"h", ROOT, b"g", RenameFlags::empty()).unwrap();
    let moved = [name(RenameFrom, d, f, "h"), name(RenameTo, ROOT, f, "g")];
    assert_eq!(told(&mut w), [&[name(Delete, ROOT, g, "g")], &moved[..], &[inode(Attrib, g)]].concat());
    v.rmdir(ROOT, b"d").unwrap();
    assert_eq!(told(&mut w), [name(Delete, ROOT, d, "d")]);
    let unnamed = v.create_unnamed(ROOT, &file()).unwrap().ino;
    assert_eq!(told(&mut w), []);
    v.link(unnamed, ROOT, b"u").unwrap();
    assert_eq!(told(&mut w), [name(Create, ROOT, unnamed, "u"), inode(Attrib, unnamed)]);
}

#[test]
fn renames_are_pairs() {
    let v = fixture();
    let a = v.create(ROOT, b"a", &file()).unwrap().ino;
    let b = v.create(ROOT, b"b", &directory()).unwrap().ino;
    let mut w = v.watch().unwrap();
    v.rename(ROOT, b"a", ROOT, b"b", RenameFlags::EXCHANGE).unwrap();
    v.rename(ROOT, b"b", ROOT, b"c", RenameFlags::WHITEOUT).unwrap();
    let records = records(&mut w);
    let steps: Vec<_> = records.iter().map(|r| (r.what, r.ino, &r.name[..])).collect();
    let whiteout = v.lookup(ROOT, b"b").unwrap().ino;
    assert_eq!(
        steps,
        [
            (What::RenameFrom, a, &b"a"[..]),
            (What::RenameFrom, b, b"b"),
            (What::RenameTo, a, b"b"),
            (What::RenameTo, b, b"a"),
            (What::RenameFrom, a, b"b"),
            (What::RenameTo, a, b"c"),
            (What::Create, whiteout, b"b"),
        ]
    );
    let cookies: Vec<_> = records.iter().map(|r| r.cookie).collect();
    assert_eq!((cookies[0], cookies[1], cookies[4]), (cookies[2], cookies[3], cookies[5]));
    assert!(cookies[0] != cookies[1] && cookies[4] != cookies[0] && cookies[4] != cookies[1]);
    assert!(cookies[..6].iter().all(|&cookie| cookie != 0) && cookies[6] == 0);
}

#[test]
fn data_and_attributes_are_told() {
    let v = fixture();
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    let mut w = v.watch().unwrap();
    let modified = [inode(What::Modify, f)];
    let attrib = [inode(What::Attrib, f)];
    // In the inode, out of it, in place, appended.
    for (offset, len) in [(0, 10), (0, 5_000), (100, 100), (6_000, 1), (1 << 20, 3 << 20)] {
        assert_eq!(v.write(f, offset, &vec![7; len]), Ok(len));
        assert_eq!(told(&mut w), modified, "{offset} {len}");
    }
    v.append(f, b"more").unwrap();
    assert_eq!(told(&mut w), modified);
    assert_eq!(v.write(f, 0, b""), Ok(0));
    assert_eq!(told(&mut w), []);
    let modes = [
        AllocateMode::empty(),
        AllocateMode::ZERO_RANGE,
        AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE,
        AllocateMode::COLLAPSE_RANGE,
        AllocateMode::INSERT_RANGE,
    ];
    for mode in modes {
        v.allocate(f, mode, 4096, 4096).unwrap();
        assert_eq!(told(&mut w), modified, "{mode:?}");
    }
    v.setattr(f, &SetAttr { size_bytes: Some(3), ..Default::default() }).unwrap();
    assert_eq!(told(&mut w), modified);
    v.setattr(f, &SetAttr { mode: Some(0o600), ..Default::default() }).unwrap();
    assert_eq!(told(&mut w), attrib);
    v.setattr(f, &SetAttr { mtime: Some(TimeChange::At(5)), ..Default::default() }).unwrap();
    assert_eq!(told(&mut w), attrib);
    v.setattr(f, &SetAttr { size_bytes: Some(9), uid: Some(4), ..Default::default() }).unwrap();
    assert_eq!(told(&mut w), [inode(What::Modify, f), inode(What::Attrib, f)]);
    v.set_xattr(f, b"user.x", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(told(&mut w), attrib);
    v.remove_xattr(f, b"user.x").unwrap();
    assert_eq!(told(&mut w), attrib);
    let g = v.create(ROOT, b"g", &file()).unwrap().ino;
    told(&mut w);
    v.write(f, 0, &[1; 10_000]).unwrap();
    told(&mut w);
    v.copy_range(f, 0, g, 0, 10_000).unwrap();
    assert_eq!(told(&mut w), [inode(What::Modify, g)]);
}

#[test]
fn what_fails_and_what_reads_is_not_told() {
    let v = fixture();
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    v.write(f, 0, &[1; 9000]).unwrap();
    let d = v.create(ROOT, b"d", &directory()).unwrap().ino;
    v.create(d, b"x", &file()).unwrap();
    let mut w = v.watch().unwrap();
    let empty = RenameFlags::empty();
    assert_eq!(v.create(ROOT, b"f", &file()), Err(Errno::EEXIST));
    assert_eq!(v.create(ROOT, b"s", &new(FileKind::Symlink)), Err(Errno::EINVAL));
    assert_eq!(v.unlink(ROOT, b"d"), Err(Errno::EISDIR));
    assert_eq!(v.rmdir(ROOT, b"d"), Err(Errno::ENOTEMPTY));
    assert_eq!(v.rename(ROOT, b"f", ROOT, b"d", empty), Err(Errno::EISDIR));
    let e = v.create(ROOT, b"e", &directory()).unwrap().ino;
    assert_eq!(told(&mut w), [name(What::Create, ROOT, e, "e")]);
    // Found out only after it was noted.
    assert_eq!(v.rename(ROOT, b"e", ROOT, b"d", empty), Err(Errno::ENOTEMPTY));
    let set = SetAttr { mode: Some(0), size_bytes: Some(1 << 60), ..Default::default() };
    assert_eq!(v.setattr(f, &set), Err(Errno::EFBIG));
    v.read(f, 0, &mut [0; 100]).unwrap();
    v.lookup(ROOT, b"f").unwrap();
    v.accessed(f);
    v.hold(f).unwrap();
    v.forget(f);
    v.sync().unwrap();
    assert_eq!(told(&mut w), []);
    // A transaction that fails leaves nothing to the next one either.
    v.setattr(f, &SetAttr { mode: Some(0), ..Default::default() }).unwrap();
    assert_eq!(told(&mut w), [inode(What::Attrib, f)]);
}

#[test]
fn repeated_writes_are_one_event_until_it_is_read() {
    let v = fixture();
    let [f, g] = [b"f", b"g"].map(|name| v.create(ROOT, name, &file()).unwrap().ino);
    for ino in [f, g] {
        v.write(ino, 0, &[1; 9000]).unwrap();
    }
    let (mut fast, mut slow) = (v.watch().unwrap(), v.watch().unwrap());
    let write = |ino| assert_eq!(v.write(ino, 10, b"xyz"), Ok(3));
    (0..100).for_each(|_| write(f));
    assert_eq!(told(&mut fast), [inode(What::Modify, f)]);
    write(f);
    write(f);
    write(g);
    write(f);
    let rest = [f, g, f].map(|ino| inode(What::Modify, ino));
    assert_eq!(told(&mut fast), rest);
    assert_eq!(told(&mut slow), [&[inode(What::Modify, f)], &rest[..]].concat());
    // Who begins to watch was not told of the newest event, so it is told again.
    write(f);
    let mut late = v.watch().unwrap();
    write(f);
    assert_eq!(told(&mut late), [inode(What::Modify, f)]);
}

#[test]
fn nothing_is_written_while_nobody_watches() {
    let v = fixture();
    let store = v.image().store().clone();
    let head = || store.load(rt::LOG_HEAD);
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    assert_eq!(head(), 0);
    let other = Volume::attach(store.clone(), 2, now).unwrap();
    let w = other.watch().unwrap();
    let second = v.watch().unwrap();
    drop(w);
    v.write(f, 0, b"x").unwrap();
    let seen = head();
    assert!(seen > 0);
    drop(second);
    v.write(f, 0, b"y").unwrap();
    v.unlink(ROOT, b"f").unwrap();
    assert_eq!((head(), store.load(rt::LOG_WATCHERS)), (seen, 0));
}

#[test]
fn who_falls_behind_is_told() {
    let v = fixture();
    let mut w = v.watch().unwrap();
    let long = [b'n'; 255];
    let rounds = rt::LOG_SIZE_BYTES as u32 / RECORD_MAX as u32 * 2;
    for _ in 0..rounds {
        v.create(ROOT, &long, &file()).unwrap();
        v.unlink(ROOT, &long).unwrap();
    }
    assert_eq!(w.next(), Some(Event::Overflow));
    assert_eq!(w.next(), None);
    let f = v.create(ROOT, b"f", &file()).unwrap().ino;
    assert_eq!(told(&mut w), [name(What::Create, ROOT, f, "f")]);
    // As much as just fits is read whole, wherever in the ring it lies.
    let fits = rt::LOG_SIZE_BYTES / RECORD_MAX as u64;
    let mut there = false;
    for _ in 0..7 {
        for _ in 0..fits {
            if there {
                v.unlink(ROOT, &long).unwrap();
            } else {
                v.create(ROOT, &long, &file()).unwrap();
            }
            there = !there;
        }
        let all = records(&mut w);
        assert_eq!(all.len() as u64, fits);
        assert!(all.iter().all(|record| record.name == long));
    }
}

#[test]
fn a_damaged_log_is_an_overflow() {
    let v = fixture();
    let store = v.image().store().clone();
    let mut w = v.watch().unwrap();
    for seed in 0..3_000_u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b1) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for byte in 0..rt::LOG_SIZE_BYTES / 64 {
            if next() % 3 == 0 {
                store.write(rt::LOG + byte, &[next() as u8 % 40]);
            }
        }
        let head =
            if next() % 2 == 0 { next() } else { store.load(rt::LOG_HEAD).wrapping_add(next() % 99) };
        store.store(rt::LOG_HEAD, head);
        store.store(rt::LOG_RESERVED, if next() % 4 == 0 { next() } else { head });
        let mut events = 0;
        while let Some(event) = w.next() {
            events += 1;
            assert!(events < 100_000);
            if let Event::Change(record) = event {
                assert!(record.name.len() <= 255);
            }
        }
        v.create(ROOT, b"f", &file()).unwrap();
        let _ = w.next();
        v.unlink(ROOT, b"f").unwrap();
    }
}

#[test]
fn a_sleeper_is_woken() {
    let v = fixture();
    let mut w = v.watch().unwrap();
    assert_eq!(w.poll(30), None);
    let store = v.image().store().clone();
    let thread = std::thread::spawn(move || (w.poll(60_000), Instant::now()));
    while store.load(rt::LOG_SLEEPERS) == 0 {
        std::thread::yield_now();
    }
    v.create(ROOT, b"f", &file()).unwrap();
    let (event, _) = thread.join().unwrap();
    assert!(matches!(event, Some(Event::Change(record)) if record.name == b"f"));
}

type Names = BTreeMap<(Ino, Vec<u8>), Ino>;

fn walk(volume: &HeapVolume, dir: Ino, names: &mut Names) {
    volume
        .read_dir(dir, 0, &mut |entry| {
            names.insert((dir, entry.name.clone()), entry.ino);
            if entry.kind == FileKind::Directory {
                walk(volume, entry.ino, names);
            }
            true
        })
        .unwrap();
}

fn replay(names: &mut Names, record: Record) {
    let place = (record.dir, record.name);
    match record.what {
        What::Create => assert_eq!(names.insert(place, record.ino), None),
        What::Delete | What::RenameFrom => assert_eq!(names.remove(&place), Some(record.ino)),
        What::RenameTo => assert_eq!(names.insert(place, record.ino), None),
        What::Modify | What::Attrib => assert_eq!(place, (0, Vec::new())),
    }
}

/// A thread's share: it makes, moves, exchanges, links and removes names in three directories that all use.
fn change_names(volume: &HeapVolume, dirs: [Ino; 3], number: u32, steps: u32, read: &AtomicU32) {
    let store = volume.image().store();
    let mut dice = number + 1;
    let mut below = |end: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 8) % end
    };
    for _ in 0..steps {
        // The watcher must not be overtaken here: it is to see everything.
        let end = Instant::now() + Duration::from_secs(60);
        while store.load(rt::LOG_SEQUENCE).wrapping_sub(read.load(Ordering::SeqCst)) > 500 {
            assert!(Instant::now() < end, "the watcher stands still");
            std::thread::yield_now();
        }
        let mut place = || (dirs[below(3) as usize], format!("name-{}", below(40)).into_bytes());
        let ((dir, name), (to_dir, to)) = (place(), place());
        let answer = match below(8) {
            0 | 1 => volume.create(dir, &name, &file()).map(drop),
            2 => volume.create(dir, &name, &directory()).map(drop),
            3 => volume.unlink(dir, &name),
            4 => volume.rmdir(dir, &name),
            5 => volume.rename(dir, &name, to_dir, &to, RenameFlags::empty()),
            6 => volume.rename(dir, &name, to_dir, &to, RenameFlags::EXCHANGE),
            _ => volume.lookup(dir, &name).and_then(|attr| {
                volume.write(attr.ino, 0, b"data")?;
                volume.link(attr.ino, to_dir, &to).map(drop)
            }),
        };
        let expected = [
            Errno::EEXIST,
            Errno::ENOENT,
            Errno::EISDIR,
            Errno::ENOTDIR,
            Errno::ENOTEMPTY,
            Errno::EPERM,
            Errno::EINVAL,
        ];
        assert!(answer.is_ok() || expected.contains(&answer.unwrap_err()), "{answer:?}");
    }
}

#[test]
fn events_rebuild_the_names() {
    let v = Arc::new(fixture());
    let other = Arc::new(Volume::attach(v.image().store().clone(), 2, now).unwrap());
    let mut w = v.watch().unwrap();
    let dirs = [b"a", b"b", b"c"].map(|name| v.create(ROOT, name, &directory()).unwrap().ino);
    let read = Arc::new(AtomicU32::new(0));
    let steps = if std::env::var_os("SABFS_LONG").is_some() { 200_000 } else { 5_000 };
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (volume, read) = (if number % 2 == 0 { v.clone() } else { other.clone() }, read.clone());
            std::thread::spawn(move || change_names(&volume, dirs, number, steps, &read))
        })
        .collect();
    let (mut names, mut clients) = (Names::new(), [0; 3]);
    loop {
        let done = threads.iter().all(std::thread::JoinHandle::is_finished);
        match w.poll(10) {
            Some(Event::Change(record)) => {
                assert_eq!(record.sequence, read.fetch_add(1, Ordering::SeqCst));
                clients[record.client as usize] += 1;
                replay(&mut names, record);
            }
            Some(Event::Overflow) => panic!("overtaken"),
            None if done => break,
            None => {}
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let mut there = Names::new();
    walk(&v, ROOT, &mut there);
    assert_eq!(names, there);
    assert!(clients[1] > steps && clients[2] > steps, "{clients:?}");
}

/// Watchers that are overtaken all the time: what they are told is whole and in order.
#[test]
fn overtaken_watchers_see_whole_records() {
    let v = Arc::new(fixture());
    let mut w = v.watch().unwrap();
    let over = Arc::new(AtomicU32::new(0));
    let writers: Vec<_> = (0..2_u8)
        .map(|number| {
            let (v, over) = (v.clone(), over.clone());
            std::thread::spawn(move || {
                for step in 0_usize.. {
                    if over.load(Ordering::Relaxed) != 0 {
                        break;
                    }
                    let name = vec![b'0' + number; 100 + step % 156];
                    v.create(ROOT, &name, &file()).unwrap();
                    v.unlink(ROOT, &name).unwrap();
                }
            })
        })
        .collect();
    let (mut last, mut changes, mut overflows) = (None, 0_u32, 0_u32);
    while changes < 1_000 || overflows < 30 {
        // Away until writers have passed by, now and then within the copying; then at their heels.
        if changes >= overflows * 50 {
            std::thread::sleep(Duration::from_millis(2));
        }
        match w.next() {
            Some(Event::Change(record)) => {
                assert!(matches!(record.what, What::Create | What::Delete));
                assert_eq!((record.dir, record.client, record.kind), (ROOT, 1, FileKind::Regular));
                assert!(record.name.len() >= 100);
                assert!(record.name.iter().all(|&byte| byte == record.name[0]));
                if let Some(last) = last {
                    assert_eq!(record.sequence, last + 1);
                }
                last = Some(record.sequence);
                changes += 1;
            }
            Some(Event::Overflow) => {
                last = None;
                overflows += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    over.store(1, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
}
