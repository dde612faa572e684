//! Bringing files into volumes: what is kept, and what no archive and no folder can do.
#![cfg(unix)]

use crate::host::{Tool, archive, checksum, entry, extended, header, name, snapshot, text};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// A folder with something of everything.
fn make_source(path: &Path) {
    let file = |name: &str, bytes: &[u8], mode: u32, time: Duration| {
        let path = path.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let times = fs::FileTimes::new().set_accessed(UNIX_EPOCH + time).set_modified(UNIX_EPOCH - time);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    };
    fs::create_dir_all(path.join("a/b/empty")).unwrap();
    file("a/file", b"content", 0o640, Duration::new(1_600_000_000, 123_456_789));
    file(
        "a/b/large",
        &(0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>(),
        0o755,
        Duration::new(5, 1),
    );
    file("empty", b"", 0o400, Duration::new(0, 500_000_000));
    fs::hard_link(path.join("a/file"), path.join("a/b/second")).unwrap();
    symlink("../nothing here", path.join("a/link")).unwrap();
    symlink("x".repeat(500), path.join("a/long link")).unwrap();
    fs::write(path.join(name(b"bytes \xff\xfe and a\nnewline")), b"x").unwrap();
    let deep = path.join("d".repeat(250)).join("e".repeat(250));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(250)), b"deep").unwrap();
    assert!(Command::new("mkfifo").arg(path.join("fifo")).status().unwrap().success());
    let mut sparse = File::create(path.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(5_000_000)).unwrap();
    sparse.write_all(b"data").unwrap();
    sparse.set_len(9_000_001).unwrap();
    drop(sparse);
    File::create(path.join("hole")).unwrap().set_len(1 << 26).unwrap();
    fs::set_permissions(path.join("a/b"), fs::Permissions::from_mode(0o1750)).unwrap();
}

fn uses_little(path: &Path) {
    let meta = fs::metadata(path).unwrap();
    assert!(meta.blocks() * 512 < 1 << 20, "{} has {} blocks", path.display(), meta.blocks());
}

#[test]
fn a_folder_comes_out_as_it_went_in() {
    let tool = Tool::new();
    make_source(&tool.path("source"));
    tool.done(&["import", "V", "source", "--quiet"]);
    tool.sound();
    tool.done(&["export", "V", "out"]);
    // Before anything is read, which changes times of access on some hosts.
    let meta = fs::metadata(tool.path("out/a/file")).unwrap();
    assert_eq!((meta.atime(), meta.atime_nsec()), (1_600_000_000, 123_456_789));
    let before = snapshot(&tool.path("source"));
    let after = snapshot(&tool.path("out"));
    assert_eq!(before.len(), after.len());
    for (path, about) in &before {
        assert_eq!(after.get(path), Some(about), "{}", text(path));
    }
    uses_little(&tool.path("out/sparse"));
    uses_little(&tool.path("out/hole"));
    let image = fs::metadata(tool.path("V/image")).unwrap();
    assert!(image.blocks() * 512 < 8 << 20, "the volume has {} blocks", image.blocks());

    // Through our own archive, and from there into another volume.
    tool.done(&["export", "V", "archive.tar"]);
    uses_little_more(&tool.path("archive.tar"));
    tool.done(&["mkfs", "W"]);
    tool.done(&["import", "W", "archive.tar"]);
    tool.done(&["export", "W", "again"]);
    assert_eq!(snapshot(&tool.path("again")), after);
    assert!(tool.run(&["check", "W"]).status.success());
    // Bits and pieces of it.
    assert_eq!(tool.done(&["cat", "V", "/a/b/second"]), b"content");
    tool.fails(&["cat", "V", "/a/b"], "cannot read /a/b: EISDIR");
    tool.fails(&["cat", "V", "nothing"], "cannot find nothing: ENOENT");
    let stat = text(&tool.done(&["stat", "V", "a/file"]));
    for part in
        ["Size: 7\t", "regular file", "Links: 2", "(0640/-rw-r-----)", "1919-04-20 11:33:19.876543211"]
    {
        assert!(stat.contains(part), "{part}: {stat}");
    }
    let stat = text(&tool.done(&["stat", "V"]));
    for part in ["Uuid: ", "Version: 1.", "Size: 16777216 bytes", "State: sound", "Free: "] {
        assert!(stat.contains(part), "{part}: {stat}");
    }
    let list = text(&tool.done(&["ls", "-l", "V", "/a"]));
    assert!(list.contains("link -> ../nothing here\n") && list.contains("drwxr-x--T"), "{list}");
}

fn uses_little_more(path: &Path) {
    assert!(fs::metadata(path).unwrap().len() < 4 << 20, "holes are no data in an archive");
}

#[test]
fn archives_of_the_host_are_understood() {
    let tool = Tool::new();
    make_source(&tool.path("source"));
    let before = snapshot(&tool.path("source"));
    let tar = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        command.args(arguments).current_dir(tool.folder.path());
        command.stderr(std::process::Stdio::null()).output()
    };
    let Ok(version) = tar(&["--version"]) else { return eprintln!("skipped: there is no tar here") };
    if !text(&version.stdout).contains("GNU tar") {
        return eprintln!("skipped: this host's tar is not GNU's");
    }
    for format in [
        &["-H", "gnu"][..],
        &["-H", "gnu", "-S"],
        &["-H", "pax"],
        &["-H", "pax", "-S"],
        &["-H", "pax", "-S", "--sparse-version=0.0"],
        &["-H", "pax", "-S", "--sparse-version=0.1"],
    ] {
        let made = tar(&[&["-c", "--exclude=hole"], format, &["-C", "source", "."]].concat()).unwrap();
        assert!(made.status.success());
        fs::remove_dir_all(tool.path("V")).unwrap();
        tool.done(&["mkfs", "V"]);
        tool.imported(&made.stdout, &["--owners"]);
        tool.sound();
        let _ = fs::remove_dir_all(tool.path("out"));
        tool.done(&["export", "V", "out"]);
        let after = snapshot(&tool.path("out"));
        assert_eq!(after.len(), before.len() - 1);
        for (path, about) in &after {
            // GNU's own format has whole seconds, others have all digits.
            let old: Vec<&str> = before[path].split(' ').collect();
            let new: Vec<&str> = about.split(' ').collect();
            let seconds = |time: &str| time.split('.').next().unwrap().to_owned();
            let (old_time, new_time) = (seconds(old[5]), seconds(new[5]));
            assert_eq!(
                (&old[..5], old_time, &old[6..]),
                (&new[..5], new_time, &new[6..]),
                "{}",
                text(path)
            );
            if format[1] == "pax" {
                assert_eq!(old[5], new[5], "{}", text(path));
            }
        }
        if format.contains(&"-S") {
            uses_little(&tool.path("out/sparse"));
        }
    }
    // And GNU tar understands ours.
    tool.done(&["export", "V", "ours.tar"]);
    fs::create_dir(tool.path("theirs")).unwrap();
    assert!(tar(&["-xpf", "ours.tar", "-C", "theirs"]).unwrap().status.success());
    let theirs = snapshot(&tool.path("theirs"));
    for (path, about) in snapshot(&tool.path("out")) {
        assert_eq!(theirs[&path], about, "{}", text(&path));
    }
}

#[test]
fn names_do_not_lead_out() {
    let tool = Tool::new();
    for (bad, message) in [
        (&b"/etc/passwd"[..], "is absolute"),
        (b"../x", "leads upwards"),
        (b"a/../../x", "leads upwards"),
        (b"..", "leads upwards"),
    ] {
        for kind in [b'0', b'2', b'5', b'6'] {
            tool.refused(&archive(&[entry(kind, bad, b"t", b"")]), &["--to", "/in"], message);
        }
        let long = extended(&[("path", bad)]);
        let entries = [entry(b'5', b"in/in", b"", b""), long, entry(b'0', b"harmless", b"", b"x")];
        tool.refused(&archive(&entries), &["--to", "/in"], message);
    }
    tool.refused(&archive(&[entry(b'0', b"", b"", b"x")]), &[], "is empty");
    tool.refused(
        &archive(&[extended(&[("path", b"a\0b")]), entry(b'0', b"x", b"", b"")]),
        &[],
        "zero byte",
    );
    tool.refused(&archive(&[entry(b'0', b".", b"", b"x")]), &[], "can only be a directory");
    tool.refused(
        &archive(&[extended(&[("path", &[b'x'; 256])]), entry(b'0', b"x", b"", b"")]),
        &[],
        "ENAMETOOLONG",
    );
    assert_eq!(tool.listing(), "/:\nin\n\n/in:\nin\n\n/in/in:\nin\n\n/in/in/in:\n");
    tool.fails(&["import", "V", "V", "--to", "/../up"], "leads upwards");
}

#[test]
fn links_are_not_written_through() {
    let tool = Tool::new();
    tool.imported(&archive(&[entry(b'0', b"outside/secret", b"", b"secret")]), &[]);
    for target in [&b"../outside"[..], b"/outside", b".", b"missing"] {
        let entries = [entry(b'2', b"way", target, b""), entry(b'0', b"way/secret", b"", b"gone")];
        tool.refused(&archive(&entries), &["--to", "/in", "--replace"], "through the symbolic link way");
        let entries = [entry(b'2', b"way", target, b""), entry(b'5', b"way", b"", b"")];
        tool.refused(&archive(&entries), &["--to", "/in", "--replace"], "through the symbolic link way");
    }
    // The link itself is replaced, not what it leads to.
    let entries = [entry(b'2', b"way", b"../outside/secret", b""), entry(b'0', b"way", b"", b"new")];
    tool.imported(&archive(&entries), &["--to", "/in", "--replace"]);
    assert_eq!(tool.done(&["cat", "V", "/outside/secret"]), b"secret");
    assert_eq!(tool.done(&["cat", "V", "/in/way"]), b"new");

    for (target, message) in [
        (&b"../outside/secret"[..], "leads upwards"),
        (b"/outside/secret", "is absolute"),
        (b"missing", "ENOENT"),
        (b"dir", "EISDIR"),
        (b"", "is empty"),
        (b"sym/secret", "something else than directories"),
    ] {
        let entries = [
            entry(b'5', b"dir", b"", b""),
            entry(b'2', b"sym", b"../outside", b""),
            entry(b'1', b"hard", target, b""),
        ];
        tool.refused(&archive(&entries), &["--to", "/in", "--replace"], message);
    }
    // A link to itself does not lose the file.
    let entries =
        [entry(b'0', b"f", b"", b"kept"), entry(b'1', b"f", b"f", b""), entry(b'1', b"g", b"./f", b"")];
    tool.imported(&archive(&entries), &["--to", "/own"]);
    assert_eq!(tool.done(&["cat", "V", "/own/g"]), b"kept");
    assert!(text(&tool.done(&["stat", "V", "/own/f"])).contains("Links: 2"));
}

#[test]
fn nothing_is_replaced_by_surprise() {
    let tool = Tool::new();
    let first = archive(&[
        entry(b'0', b"f", b"", b"one"),
        entry(b'5', b"d", b"", b""),
        entry(b'0', b"d/x", b"", b"x"),
    ]);
    tool.imported(&first, &[]);
    tool.refused(&archive(&[entry(b'0', b"f", b"", b"two")]), &[], "give --replace");
    assert_eq!(tool.done(&["cat", "V", "f"]), b"one");
    for kind in [b'0', b'2', b'6'] {
        let replaced = archive(&[entry(kind, b"d", b"t", b"")]);
        tool.refused(&replaced, &["--replace"], "is a directory already");
    }
    tool.refused(&archive(&[entry(b'5', b"f", b"", b"")]), &["--replace"], "ENOTDIR");
    tool.refused(&archive(&[entry(b'0', b"f/x", b"", b"")]), &["--replace"], "ENOTDIR");
    // An archive may hold a name twice: the later one counts.
    let twice = archive(&[entry(b'0', b"t", b"", b"old"), entry(b'0', b"t", b"", b"new")]);
    tool.imported(&twice, &[]);
    assert_eq!(tool.done(&["cat", "V", "t"]), b"new");
    tool.imported(&archive(&[entry(b'0', b"f", b"", b"two")]), &["--replace"]);
    assert_eq!(tool.done(&["cat", "V", "f"]), b"two");
}

#[test]
fn devices_are_left_out_unless_asked_for() {
    let tool = Tool::new();
    let devices = archive(&[entry(b'3', b"null", b"", b""), entry(b'4', b"disk", b"", b"")]);
    let output = tool.import(&devices, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("null is left out: it is a device; give --devices"));
    assert_eq!(tool.listing(), "/:\n");
    tool.imported(&devices, &["--devices"]);
    let stat = text(&tool.done(&["stat", "V", "null"]));
    assert!(stat.contains("character special file") && stat.contains("Device type: 1,3"), "{stat}");
    // Nor do they leave a volume unasked.
    let output = tool.run(&["export", "V", "out"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_dir(tool.path("out")).unwrap().count(), 0);
}

#[test]
fn programs_do_not_come_to_run_as_others() {
    let tool = Tool::new();
    let mut suid = header(b'0', b"program", b"", 0);
    suid[100..108].copy_from_slice(b"0006755\0");
    checksum(&mut suid);
    tool.imported(&archive(&[suid.clone()]), &["--no-owners"]);
    assert!(text(&tool.done(&["stat", "V", "program"])).contains("(0755/"));
    tool.imported(&archive(&[suid]), &["--owners", "--replace"]);
    assert!(text(&tool.done(&["stat", "V", "program"])).contains("(6755/"));
    tool.done(&["export", "V", "out", "--no-owners"]);
    assert_eq!(fs::metadata(tool.path("out/program")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn bombs_do_not_go_off() {
    let tool = Tool::new();
    // A size that is only said; the volume has room for it.
    tool.refused(
        &header(b'0', b"big", b"", 1 << 30),
        &["--max-bytes", "1M"],
        "give a larger --max-bytes",
    );
    // And one that no volume has room for.
    tool.refused(&header(b'0', b"big", b"", 8 << 30), &[], "give a larger --capacity");
    let huge = extended(&[("size", b"9223372036854775807")]);
    tool.refused(&[huge, header(b'0', b"big", b"", 0)].concat(), &[], "give a larger --capacity");
    assert_eq!(tool.listing(), "/:\n", "nothing was begun");
    // Many small files count together.
    let some: Vec<Vec<u8>> =
        (0..20).map(|n| entry(b'0', format!("f{n}").as_bytes(), b"", &[1; 1000])).collect();
    tool.refused(
        &archive(&some),
        &["--max-bytes", "10000", "--to", "/some"],
        "give a larger --max-bytes",
    );

    // Sparse files: one that claims to be as large as can be, ...
    let sparse = |size: &[u8], map: &[u8]| {
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", size),
        ];
        let mut map = map.to_vec();
        map.resize(map.len().next_multiple_of(512), 0);
        archive(&[extended(&records), entry(b'0', b"GNUSparseFile.0", b"", &map)])
    };
    tool.refused(&sparse(b"9223372036854775807", b"0\n"), &["--replace"], "EFBIG");
    tool.refused(&sparse(b"1099511627776", b"0\n"), &["--max-bytes", "1G", "--replace"], "--max-bytes");
    // ... one that is large but fits, and takes no room; ...
    tool.imported(&sparse(b"1099511627776", b"0\n"), &["--replace"]);
    tool.sound();
    assert!(text(&tool.done(&["stat", "V", "sparse"])).contains("Size: 1099511627776\tBlocks: 0 "));
    // ... and maps that are nonsense.
    for map in [
        &b"99999999999\n0\n1\n"[..],
        b"1\n0\n18446744073709551615\n",
        b"2\n512\n0\n0\n0\n",
        b"1\n5\n6\n",
        b"1\nx\ny\n",
        b"1\n",
        b"",
        &[b'1'; 600],
    ] {
        tool.refused(&sparse(b"8", map), &["--replace"], "sparse file");
    }
    let records = [("GNU.sparse.size", &b"10"[..]), ("GNU.sparse.map", b"0,5,3,5")];
    let overlap = archive(&[extended(&records), entry(b'0', b"o", b"", &[1; 10])]);
    tool.refused(&overlap, &["--replace"], "out of order");
}

#[test]
fn more_entries_than_fit_end_with_a_message() {
    let tool = Tool::new();
    let many: Vec<Vec<u8>> = (0..80_000)
        .map(|n| entry(b'0', format!("a name that takes some room, too, {n}").as_bytes(), b"", b""))
        .collect();
    tool.refused(&archive(&many), &["--capacity", "18M"], "ENOSPC");
    // What was done is there.
    assert!(tool.listing().lines().count() > 10_000);
}

#[test]
fn deep_trees_are_no_trouble() {
    let tool = Tool::new();
    // Deeper than a process has handles, and longer than a path may be.
    let deep = vec!["dir"; 1_500].join("/");
    let entries =
        [extended(&[("path", format!("{deep}/f").as_bytes())]), entry(b'0', b"f", b"", b"deep")];
    tool.imported(&archive(&entries), &[]);
    tool.sound();
    assert_eq!(tool.done(&["cat", "V", &format!("{deep}/f")]), b"deep");
    tool.done(&["export", "V", "out"]);
    tool.done(&["export", "V", "out.tar"]);
    for source in ["out", "out.tar"] {
        tool.done(&["mkfs", "W"]);
        tool.done(&["import", "W", source]);
        assert_eq!(tool.done(&["cat", "W", &format!("{deep}/f")]), b"deep");
        fs::remove_dir_all(tool.path("W")).unwrap();
    }
}

#[test]
fn damaged_archives_are_refused() {
    let tool = Tool::new();
    let good = archive(&[entry(b'0', b"file", b"", &[7; 2000])]);
    tool.refused(b"", &[], "it is empty");
    tool.refused(&good[..1500], &["--to", "/a"], "ends too early");
    tool.refused(&good[..300], &[], "ends within a block");
    let mut wrong = good.clone();
    wrong[3] ^= 1;
    tool.refused(&wrong, &[], "checksum is wrong");
    tool.refused(&[&[0x1f, 0x8b][..], &[8; 600]].concat(), &[], "is compressed: use `gzip -dc");
    let mut number = header(b'0', b"f", b"", 0);
    number[124..136].copy_from_slice(b"99999999999\0");
    checksum(&mut number);
    tool.refused(&number, &[], "a size is no number");
    let huge = extended(&[("size", b"18446744073709551615")]);
    tool.refused(&[huge, header(b'?', b"odd", b"", 0)].concat(), &[], "a size is no number");
    tool.refused(&header(b'x', b"x", b"", 1 << 33), &[], "longer than 1 MiB");
    tool.refused(&archive(&[entry(b'x', b"x", b"", b"99 a=b\n")]), &[], "cannot be read");
    tool.refused(&archive(&[extended(&[("mtime", b"x")]), entry(b'0', b"m", b"", b"")]), &[], "a time");
    tool.refused(
        &archive(&[extended(&[("uid", b"4294967296")]), entry(b'0', b"m", b"", b"")]),
        &[],
        "an owner",
    );
    let unknown =
        tool.import(&archive(&[entry(b'?', b"odd", b"", b"xyz"), entry(b'0', b"next", b"", b"")]), &[]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(tool.listing().contains("next"));
}

#[test]
fn a_folder_is_read_but_not_left() {
    let tool = Tool::new();
    fs::create_dir_all(tool.path("source/in")).unwrap();
    fs::create_dir(tool.path("outside")).unwrap();
    fs::write(tool.path("outside/secret"), "secret").unwrap();
    symlink(tool.path("outside"), tool.path("source/in/way")).unwrap();
    tool.done(&["import", "V", "source"]);
    assert_eq!(tool.listing(), "/:\nin\n\n/in:\nway\n");
    tool.fails(&["cat", "V", "/in/way/secret"], "ENOENT");
    // A loop of links ends.
    symlink("two", tool.path("source/one")).unwrap();
    symlink("one", tool.path("source/two")).unwrap();
    tool.done(&["import", "V", "source", "--replace"]);
    tool.fails(&["cat", "V", "/one"], "ELOOP");
    // The volume is not brought into itself.
    let output = tool.run(&["import", "V", ".", "--to", "/self"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot be brought into itself"), "{output:?}");
    tool.fails(&["import", "V", "missing"], "cannot open missing: ENOENT");
    tool.fails(&["import", "nowhere", "source"], "is not a volume");
}

/// What a long import has committed is there when it is killed, and the volume is sound.
#[test]
fn a_killed_import_leaves_a_sound_volume() {
    let tool = Tool::new();
    let mut import = Command::new(env!("CARGO_BIN_EXE_sabfs"))
        .args(["import", "V", "-"])
        .current_dir(tool.folder.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    // The pipe stays open: the import waits for more. Its keeper commits meanwhile.
    let committed = |name: &[u8]| {
        let journal = fs::read(tool.path("V/journal")).unwrap();
        journal.windows(name.len()).any(|bytes| bytes == name)
    };
    let mut number = 0;
    while !committed(b"file0") {
        assert!(number < 600, "no commit in a minute");
        input.write_all(&entry(b'0', format!("file{number}").as_bytes(), b"", b"some")).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    import.kill().unwrap();
    import.wait().unwrap();
    drop(input);
    tool.sound();
    assert_eq!(tool.done(&["cat", "V", "file0"]), b"some");
    // The lock that it left behind is stale.
    tool.imported(&archive(&[entry(b'0', b"next", b"", b"")]), &[]);
    tool.sound();
}

#[cfg(target_os = "linux")]
#[test]
fn extended_attributes_are_kept() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let tool = Tool::new();
    fs::create_dir_all(tool.path("source/dir")).unwrap();
    fs::write(tool.path("source/file"), "x").unwrap();
    fs::set_permissions(tool.path("source/file"), fs::Permissions::from_mode(0o400)).unwrap();
    let values: [(&str, &[u8]); 4] = [
        ("user.plain", b"value"),
        ("user.a=b%3D", b"10 path=\n\0\xff"),
        ("user.empty", b""),
        ("user.long", &[7; 1500]),
    ];
    for name in ["source/file", "source/dir"] {
        for (key, value) in values {
            match setxattr(tool.path(name), key, value, XattrFlags::empty()) {
                Err(rustix::io::Errno::NOTSUP) => return eprintln!("skipped: no attributes here"),
                set => set.unwrap(),
            }
        }
    }
    let kept = |folder: &str| {
        for name in ["file", "dir"] {
            for (key, value) in values {
                let mut buffer = [0; 4096];
                let path = tool.path(folder).join(name);
                let len =
                    getxattr(&path, key, &mut buffer).unwrap_or_else(|e| panic!("{path:?} {key}: {e}"));
                assert_eq!(&buffer[..len], value, "{path:?} {key}");
            }
        }
    };
    tool.done(&["import", "V", "source"]);
    tool.sound();
    tool.done(&["export", "V", "out"]);
    kept("out");
    assert_eq!(snapshot(&tool.path("source")), snapshot(&tool.path("out")));
    tool.done(&["export", "V", "out.tar"]);
    tool.done(&["mkfs", "W"]);
    tool.done(&["import", "W", "out.tar"]);
    tool.done(&["export", "W", "again"]);
    kept("again");
    // GNU tar writes and reads the same records.
    let tar = |arguments: &[&str]| {
        let done = Command::new("tar").args(arguments).current_dir(tool.folder.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if tar(&["--xattrs", "-H", "pax", "-cf", "theirs.tar", "-C", "source", "."]) {
        tool.done(&["import", "V", "theirs.tar", "--to", "/theirs"]);
        tool.done(&["export", "V", "/theirs", "theirs"]);
        kept("theirs");
        fs::create_dir(tool.path("unpacked")).unwrap();
        assert!(tar(&["--xattrs", "--xattrs-include=*", "-xpf", "out.tar", "-C", "unpacked"]));
        kept("unpacked");
    }

    // What a volume cannot hold is said, and the rest is there.
    let long = [
        ("SCHILY.xattr.user.long", &[1; 5000][..]),
        ("SCHILY.xattr.other.x", b"1"),
        ("SCHILY.xattr.user.ok", b"1"),
    ];
    let output =
        tool.import(&archive(&[extended(&long), entry(b'0', b"long", b"", b"content")]), &["--owners"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    for part in [
        "long (its attribute user.long) is left out: ENOSPC",
        "(its attribute other.x) is left out: EOPNOTSUPP",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(tool.done(&["cat", "V", "long"]), b"content");
    tool.sound();
    // Who does not keep owners gets no capability either.
    let capability = [("SCHILY.xattr.security.capability", &[1; 20][..])];
    tool.imported(&archive(&[extended(&capability), entry(b'0', b"cap", b"", b"")]), &["--no-owners"]);
    let tar = tool.done(&["export", "V", "-", "--quiet"]);
    assert!(!tar.windows(19).any(|bytes| bytes == b"security.capability"));
}
