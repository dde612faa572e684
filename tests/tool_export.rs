//! Taking files out of volumes: nothing that a volume holds, and nothing that is in the target already,
//! leads to anything else than the target.
#![cfg(unix)]

use crate::host::{Tool, archive, entry, text};
use sabfs::core::{DirEntry, Txn};
use sabfs::format::journal::{RecordHeader, SegmentHeader};
use sabfs::format::{BLOCK_SIZE, FileKind, INO_ROOT, dirent};
use sabfs::vfs::NewInode;
use std::fs;
use std::os::unix::fs::symlink;

/// Enters a name without a thought for what it leads to, nor for whether it is there already. The directory is a small one.
fn enter(tool: &Tool, dir: &[u8], name: &[u8], to: &[u8], kind: FileKind) {
    tool.tamper(|volume, core| {
        let find = |path: &[u8]| {
            let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
            names.fold(INO_ROOT, |at, name| volume.lookup(at, name).unwrap().ino)
        };
        let (dir, inode) = (find(dir), find(to));
        let mut txn = Txn::begin(core);
        let mut directory = txn.inode(dir).unwrap();
        let leaf = directory.dir_root().block.get();
        let need = dirent::record_len(name.len());
        let roomy =
            dirent::records(&txn.load(leaf)[..], dir, leaf).map(Result::unwrap).find_map(|record| {
                let used = dirent::record_len(record.name.len());
                (record.len >= used + need).then_some((record.at, used, record.len))
            });
        let (at, used, len) = roomy.unwrap();
        let hash = dirent::hash_name(&core.superblock.hash_key, name);
        let bytes = txn.edit(leaf, 0, BLOCK_SIZE);
        dirent::set_len(&mut bytes[..], at, used);
        dirent::put(&mut bytes[..], at + used, len - used, hash, inode, kind, name);
        bytes[24] += 1;
        directory.raw.size = (directory.raw.size.get() + 1).into();
        txn.put_inode(&directory).unwrap();
        txn.commit().unwrap();
    });
}

/// A folder beside the target, which must stay as it is.
struct Outside<'a>(&'a Tool);

impl<'a> Outside<'a> {
    fn new(tool: &'a Tool) -> Self {
        fs::create_dir(tool.path("outside")).unwrap();
        fs::write(tool.path("outside/file"), "kept").unwrap();
        Self(tool)
    }

    #[track_caller]
    fn is_kept(&self) {
        let names: Vec<_> = fs::read_dir(self.0.path("outside")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(fs::read(self.0.path("outside/file")).unwrap(), b"kept");
    }
}

fn some(tool: &Tool) {
    tool.imported(
        &archive(&[
            entry(b'5', b"way", b"", b""),
            entry(b'0', b"way/file", b"", b"new"),
            entry(b'0', b"top", b"", b"top"),
            entry(b'1', b"way/hard", b"top", b""),
        ]),
        &[],
    );
}

#[test]
fn links_in_the_target_are_not_written_through() {
    let tool = Tool::new();
    some(&tool);
    let outside = Outside::new(&tool);
    fs::create_dir(tool.path("out")).unwrap();
    symlink(tool.path("outside"), tool.path("out/way")).unwrap();
    tool.fails(&["export", "V", "out"], "cannot open way");
    outside.is_kept();
    tool.fails(&["export", "V", "out", "--replace"], "cannot open way");
    outside.is_kept();
    fs::remove_file(tool.path("out/way")).unwrap();

    // A link where a file goes is replaced itself, if at all.
    fs::create_dir_all(tool.path("out/way")).unwrap();
    symlink(tool.path("outside/file"), tool.path("out/way/file")).unwrap();
    let _ = fs::remove_file(tool.path("out/top"));
    tool.fails(&["export", "V", "out"], "EEXIST");
    outside.is_kept();
    tool.done(&["export", "V", "out", "--replace"]);
    outside.is_kept();
    assert!(fs::symlink_metadata(tool.path("out/way/file")).unwrap().is_file());
    assert_eq!(fs::read(tool.path("out/way/file")).unwrap(), b"new");

    // The target itself is the user's choice.
    symlink("outside", tool.path("chosen")).unwrap();
    tool.done(&["export", "V", "/way", "chosen", "--replace"]);
    assert_eq!(fs::read(tool.path("outside/file")).unwrap(), b"new");
}

#[test]
fn what_is_there_is_not_replaced_by_surprise() {
    let tool = Tool::new();
    some(&tool);
    fs::create_dir(tool.path("out")).unwrap();
    fs::write(tool.path("out/top"), "mine").unwrap();
    tool.fails(&["export", "V", "out"], "give --replace");
    assert_eq!(fs::read(tool.path("out/top")).unwrap(), b"mine");
    fs::remove_file(tool.path("out/top")).unwrap();
    fs::create_dir(tool.path("out/top")).unwrap();
    tool.fails(&["export", "V", "out", "--replace"], "cannot replace top");
    fs::write(tool.path("there.tar"), "mine").unwrap();
    tool.fails(&["export", "V", "there.tar"], "EEXIST");
    assert_eq!(fs::read(tool.path("there.tar")).unwrap(), b"mine");
    // One file, to a folder and to an archive.
    tool.done(&["export", "V", "/way/file", "single"]);
    assert_eq!(fs::read(tool.path("single/file")).unwrap(), b"new");
    let tar = tool.done(&["export", "V", "/way/file", "-"]);
    tool.imported(&tar, &["--to", "/back"]);
    assert_eq!(tool.done(&["cat", "V", "/back/file"]), b"new");
    tool.fails(&["export", "V", "/nothing", "out"], "cannot find /nothing: ENOENT");
    tool.fails(&["export", "V", "/top", "/does/not/exist/out"], "ENOENT");
}

#[test]
fn links_of_the_volume_are_not_written_through() {
    let tool = Tool::new();
    let outside = Outside::new(&tool);
    let target = tool.path("outside");
    let target = target.to_str().unwrap().as_bytes();
    // One name, once a link to the outside and once a directory with a file.
    tool.imported(
        &archive(&[
            entry(b'2', b"way", target, b""),
            entry(b'0', b"dir/file", b"", b"gone"),
            entry(b'0', b"dir/another", b"", b"gone"),
        ]),
        &[],
    );
    enter(&tool, b"", b"way", b"dir", FileKind::Directory);
    tool.fails(&["export", "V", "out"], "way");
    outside.is_kept();
    // Archives have such names as they are; who unpacks them must see to it.
    assert_eq!(tool.run(&["check", "V"]).status.code(), Some(1));

    // A link that a name takes for a directory.
    let tool = Tool::new();
    let outside = Outside::new(&tool);
    let target = tool.path("outside");
    tool.imported(&archive(&[entry(b'2', b"link", target.to_str().unwrap().as_bytes(), b"")]), &[]);
    tool.tamper(|volume, core| {
        let inode = volume.lookup(INO_ROOT, b"link").unwrap().ino;
        let mut txn = Txn::begin(core);
        let root = txn.inode(INO_ROOT).unwrap();
        let entry = DirEntry { inode, kind: FileKind::Directory };
        txn.dir_replace(&root, b"link", entry).unwrap();
        txn.commit().unwrap();
    });
    tool.fails(&["export", "V", "out"], "link is of another kind than its name says");
    tool.fails(&["export", "V", "-"], "link is of another kind than its name says");
    outside.is_kept();
}

#[test]
fn directories_that_hold_each_other_end() {
    let tool = Tool::new();
    some(&tool);
    enter(&tool, b"way", b"again", b"", FileKind::Directory);
    enter(&tool, b"way", b"self", b"way", FileKind::Directory);
    for target in ["out", "out.tar", "-"] {
        tool.fails(&["export", "V", target], "is met twice: the volume is damaged");
    }
    tool.fails(&["ls", "-R", "V"], "is met twice");
}

#[test]
fn files_with_more_names_than_they_count_end() {
    let tool = Tool::new();
    some(&tool);
    enter(&tool, b"", b"more", b"way/file", FileKind::Regular);
    tool.fails(&["export", "V", "out"], "is met twice");
}

#[test]
fn names_that_are_paths_are_refused() {
    let tool = Tool::new();
    some(&tool);
    let outside = Outside::new(&tool);
    for name in [&b"../outside/x"[..], b"..", b"/etc"] {
        enter(&tool, b"", name, b"top", FileKind::Regular);
        tool.fails(&["export", "V", "out", "--replace"], "EIO");
        tool.fails(&["ls", "V"], "EIO");
        outside.is_kept();
        assert!(!tool.path("out/etc").exists());
        let mended = tool.run(&["check", "--repair", "V"]);
        assert_eq!(mended.status.code(), Some(2));
        assert!(text(&mended.stdout).contains("nothing was changed"));
    }
}

/// Files that all claim the same blocks would come out larger than the volume is.
#[test]
fn blocks_count_once() {
    let tool = Tool::new();
    let data = vec![7; 4 << 20];
    tool.imported(&archive(&[entry(b'0', b"data", b"", &data)]), &[]);
    tool.tamper(|volume, core| {
        let from = volume.lookup(INO_ROOT, b"data").unwrap();
        for number in 0..10 {
            let new = NewInode { kind: FileKind::Regular, permissions: 0o600, uid: 0, gid: 0, rdev: 0 };
            let copy = volume.create(INO_ROOT, format!("copy{number}").as_bytes(), &new).unwrap();
            let mut txn = Txn::begin(core);
            let (source, mut inode) = (txn.inode(from.ino).unwrap(), txn.inode(copy.ino).unwrap());
            inode.raw.root = source.raw.root;
            inode.raw.size = source.raw.size;
            inode.raw.flags = source.raw.flags;
            txn.put_inode(&inode).unwrap();
            txn.commit().unwrap();
        }
    });
    tool.fails(&["export", "V", "out.tar"], "more than may still be carried over");
    let written = fs::metadata(tool.path("out.tar")).unwrap().len();
    assert!(written < 20 << 20, "{written}");
    tool.fails(&["export", "V", "/data", "small", "--max-bytes", "1M"], "give a larger --max-bytes");
}

#[test]
fn an_image_alone_is_only_read() {
    let tool = Tool::new();
    some(&tool);
    tool.tamper(|_, _| ());
    let before = fs::read(tool.path("V/image")).unwrap();
    let journal = fs::read(tool.path("V/journal")).unwrap();
    for volume in ["V", "V/image"] {
        tool.run(&["ls", volume]);
        tool.run(&["stat", volume]);
        tool.run(&["export", volume, "-"]);
    }
    tool.done(&["cat", "V", "/top"]);
    assert!(fs::read(tool.path("V/image")).unwrap() == before);
    assert!(fs::read(tool.path("V/journal")).unwrap() == journal);
    tool.fails(&["import", "V/image", "."], "is not a volume");
    tool.fails(&["check", "--repair", "V/image"], "is no volume's folder");
}

#[test]
fn repairs_a_volume_in_its_files() {
    let tool = Tool::new();
    some(&tool);
    let clean = tool.run(&["check", "--repair", "V"]);
    assert_eq!(clean.status.code(), Some(0), "{clean:?}");
    tool.tamper(|volume, core| {
        let top = volume.lookup(INO_ROOT, b"top").unwrap().ino;
        let mut txn = Txn::begin(core);
        let mut inode = txn.inode(top).unwrap();
        inode.raw.nlink = 9.into();
        txn.put_inode(&inode).unwrap();
        let mut root = txn.inode(INO_ROOT).unwrap();
        let entry = DirEntry { inode: 777, kind: FileKind::Regular };
        txn.dir_insert(&mut root, b"dangling", entry).unwrap();
        txn.put_inode(&root).unwrap();
        txn.commit().unwrap();
    });
    assert_eq!(tool.run(&["check", "V"]).status.code(), Some(1));
    let mended = tool.run(&["check", "--repair", "V"]);
    let said = text(&mended.stdout);
    assert_eq!(mended.status.code(), Some(1), "{said}");
    for line in
        ["which is free: the name dangling is removed", "has 2: links counted anew", "; 2 mended"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    tool.sound();
    assert_eq!(tool.run(&["check", "--repair", "V"]).status.code(), Some(0));
    assert_eq!(tool.done(&["cat", "V", "/way/hard"]), b"top");

    // Something that is left keeps everything else from being touched.
    tool.tamper(|volume, core| {
        let (way, top) =
            (volume.lookup(INO_ROOT, b"way").unwrap(), volume.lookup(INO_ROOT, b"top").unwrap());
        let mut txn = Txn::begin(core);
        let mut inode = txn.inode(top.ino).unwrap();
        inode.raw.nlink = 9.into();
        txn.put_inode(&inode).unwrap();
        let mut root = txn.inode(INO_ROOT).unwrap();
        let entry = DirEntry { inode: way.ino, kind: FileKind::Directory };
        txn.dir_insert(&mut root, b"way again", entry).unwrap();
        txn.put_inode(&root).unwrap();
        txn.commit().unwrap();
    });
    let (image, journal) =
        (fs::read(tool.path("V/image")).unwrap(), fs::read(tool.path("V/journal")).unwrap());
    let left = tool.run(&["check", "--repair", "V"]);
    let said = text(&left.stdout);
    assert_eq!(left.status.code(), Some(2), "{said}");
    assert!(
        said.contains("which name is the right one cannot be told")
            && said.contains("nothing was changed")
    );
    assert!(fs::read(tool.path("V/image")).unwrap() == image, "nothing was changed");
    assert!(fs::read(tool.path("V/journal")).unwrap() == journal, "nothing was changed");
}

/// The record that a session has committed last: its place in the journal.
fn last_record(journal: &[u8]) -> std::ops::Range<usize> {
    let half = journal.len() / 2;
    let headers = [0, half].map(|at| (SegmentHeader::check(&journal[at..]).unwrap(), at));
    let (header, at) = headers.into_iter().max_by_key(|(header, _)| header.epoch).unwrap();
    let (record, _) = RecordHeader::check(&journal[at + 4096..at + half], header.key).unwrap();
    assert!(record.count > 0);
    at + 4096..at + 4096 + record.blocks() as usize * 4096
}

#[test]
fn what_is_whole_in_a_damaged_journal_is_saved() {
    let tool = Tool::new();
    some(&tool);
    tool.imported(&archive(&[entry(b'0', b"later", b"", b"lost with the journal")]), &[]);
    let sound = fs::read(tool.path("V/journal")).unwrap();
    let (image, place) = (fs::read(tool.path("V/image")).unwrap(), last_record(&sound));
    let mut journal = sound.clone();
    journal[place.end - 100] ^= 4;
    fs::write(tool.path("V/journal"), &journal).unwrap();

    // Refused by everything else, and left as it is.
    for arguments in [&["check", "V"][..], &["ls", "V"], &["cat", "V", "/top"], &["export", "V", "out"]]
    {
        tool.fails(arguments, "a durable record is gone");
        tool.fails(
            arguments,
            "restore image and journal from the same copy, or let `sabfs check --repair`",
        );
    }
    assert!(fs::read(tool.path("V/image")).unwrap() == image, "nothing was changed");
    assert!(fs::read(tool.path("V/journal")).unwrap() == journal, "nothing was changed");

    let mended = tool.run(&["check", "--repair", "V"]);
    let said = text(&mended.stdout);
    assert_eq!(mended.status.code(), Some(1), "{said}{}", text(&mended.stderr));
    assert!(said.contains("a durable record is gone"), "{said}");
    assert!(said.contains("what was whole in it is in the image; what was not is lost"), "{said}");
    assert!(said.contains("; 1 mended"), "{said}");
    tool.sound();
    assert_eq!(tool.run(&["check", "--repair", "V"]).status.code(), Some(0));
    assert_eq!(tool.done(&["cat", "V", "/way/hard"]), b"top");
    assert!(!tool.listing().contains("later"), "{}", tool.listing());
    tool.imported(&archive(&[entry(b'0', b"later", b"", b"again")]), &[]);
    assert_eq!(tool.done(&["cat", "V", "/later"]), b"again");

    // Without any header there is no key to what the records hold.
    let mut journal = fs::read(tool.path("V/journal")).unwrap();
    let half = journal.len() / 2;
    for at in [0, half] {
        journal[at..at + 4096].fill(0xff);
    }
    let image = fs::read(tool.path("V/image")).unwrap();
    fs::write(tool.path("V/journal"), &journal).unwrap();
    tool.fails(
        &["check", "--repair", "V"],
        "nothing of the volume's journal can be saved (no segment has a",
    );
    assert!(fs::read(tool.path("V/image")).unwrap() == image, "nothing was changed");
    assert!(fs::read(tool.path("V/journal")).unwrap() == journal, "nothing was changed");
}

/// A damaged journal is told with what to do, by the check as by everything else, and nothing is written.
#[test]
fn a_damaged_journal_is_told() {
    let tool = Tool::new();
    some(&tool);
    let image = fs::read(tool.path("V/image")).unwrap();
    let sound = fs::read(tool.path("V/journal")).unwrap();
    let record = last_record(&sound);
    let header = record.start - 4096;
    let told = |journal: &[u8], code: i32, messages: &[&str]| {
        fs::write(tool.path("V/journal"), journal).unwrap();
        for arguments in [&["check", "V"][..], &["ls", "V"]] {
            let output = tool.run(arguments);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
            messages.iter().for_each(|message| assert!(said.contains(message), "{message}: {said}"));
        }
        assert!(fs::read(tool.path("V/image")).unwrap() == image, "nothing was changed");
        assert!(fs::read(tool.path("V/journal")).unwrap() == journal, "nothing was changed");
    };
    let damaged = |place: std::ops::Range<usize>| {
        let mut journal = sound.clone();
        journal[place].iter_mut().for_each(|byte| *byte ^= 0x10);
        journal
    };
    told(&sound, 0, &[]);
    // One bit in the header's copies, and in the note behind the record, is missed by nobody.
    for at in [header, header + 60, header + 2048 + 40, record.end, record.end + 50] {
        told(&damaged(at..at + 1), 0, &[]);
    }
    let restore = "restore image and journal from the same copy";
    for at in [record.start, record.start + 30, record.start + 64, record.end - 1] {
        told(&damaged(at..at + 1), 2, &["journal is damaged (a durable record is gone)", restore]);
    }
    let lost = damaged(header..header + 4096);
    told(&lost, 2, &["journal is damaged (the header of the newer segment is gone)", restore]);
    told(&sound[..sound.len() / 2], 2, &["journal is cut off", restore]);
    told(&[], 2, &["journal is missing: restore the file `journal`"]);
    let other = Tool::new();
    // Also while the superblock is in its journal.
    told(&fs::read(other.path("V/journal")).unwrap(), 2, &["of different volumes: restore both"]);
}
