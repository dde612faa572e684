//! The native tool, as a user calls it.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn sabfs(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sabfs")).args(arguments).output().unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn makes_and_checks_a_volume() {
    let folder = tempfile::tempdir().unwrap();
    let volume = path(folder.path(), "volume");
    let made = sabfs(&["mkfs", &volume]);
    assert!(made.status.success(), "{made:?}");
    let image = path(folder.path(), "volume/image");
    let before = fs::read(&image).unwrap();
    for target in [&volume, &image] {
        let checked = sabfs(&["check", target]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert!(String::from_utf8(checked.stdout).unwrap().contains("0 findings"));
    }
    assert!(!Path::new(&path(folder.path(), "volume/lock")).exists());

    let mut damaged = before.clone();
    damaged[3 * 4096 + 100] ^= 1;
    fs::write(&image, &damaged).unwrap();
    let checked = sabfs(&["check", &image]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8(checked.stdout).unwrap().contains("block 3 of inode 1 does not match"));
    assert!(fs::read(&image).unwrap() == damaged, "a check writes nothing");

    let again = sabfs(&["mkfs", &volume]);
    assert_eq!(again.status.code(), Some(2));
    assert!(fs::read(&image).unwrap() == damaged, "nothing is made over a volume");
}

#[test]
fn says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = path(folder.path(), "nothing");
    fs::write(&nothing, [0; 9000]).unwrap();
    let empty = folder.path().to_str().unwrap();
    for (arguments, message) in [
        (&["check", &nothing][..], "superblock"),
        (&["check", empty], "is not a volume: it has no file image"),
        (&["check", "/does/not/exist"], "cannot read /does/not/exist"),
        (&["mkfs", &nothing], "cannot make the folder"),
        (&["frobnicate"], "Usage:"),
        (&[], "Usage:"),
    ] {
        let output = sabfs(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
}
