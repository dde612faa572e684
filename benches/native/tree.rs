//! A tree of very many small files, and one very large file.

use crate::report::{Report, Unit};
use crate::{ROOT, new, volume};
use sabfs::core::check::check;
use sabfs::format::FileKind;
use sabfs::vfs::SetAttr;

const IN_A_DIRECTORY: u32 = 1_000;
const CONTENT: [u8; 100] = [0x5a; 100];
const SPARSE_SIZE_BYTES: u64 = 1 << 40;
/// What a file with a name of 12 bytes and 100 bytes in it may take.
const BYTES_MAX: f64 = 400.0;

/// A tree of `count` files in one store.
pub fn measure(report: &mut Report, count: u32) {
    let volume = volume();
    let used = || {
        let shown = volume.statfs().expect("mounted");
        shown.blocks - shown.free_blocks
    };
    let before = used();
    let mut dir = 0;
    for index in 0..count {
        if index % IN_A_DIRECTORY == 0 {
            let name = format!("d{}", index / IN_A_DIRECTORY);
            dir = volume.create(ROOT, name.as_bytes(), &new(FileKind::Directory)).expect("room").ino;
        }
        let name = format!("f{index:011}");
        let file = volume.create(dir, name.as_bytes(), &new(FileKind::Regular)).expect("room").ino;
        assert_eq!(volume.write(file, 0, &CONTENT), Ok(CONTENT.len()));
    }
    let each = (used() - before) as f64 * 4096.0 / f64::from(count);
    report.add(
        format!("a file of 100 bytes, one of {count}"),
        Some(CONTENT.len()),
        Unit::Bytes,
        each,
        ("what it may take", BYTES_MAX),
        1.0,
    );

    let file = volume.create(ROOT, b"sparse", &new(FileKind::Regular)).expect("room").ino;
    let before = used();
    volume
        .setattr(file, &SetAttr { size_bytes: Some(SPARSE_SIZE_BYTES), ..SetAttr::default() })
        .expect("a size that a file may have");
    assert_eq!(volume.write(file, SPARSE_SIZE_BYTES - 8, b"the end!"), Ok(8));
    let mut end = [0; 16];
    assert_eq!(volume.read(file, SPARSE_SIZE_BYTES - 16, &mut end), Ok(16));
    assert_eq!(&end, b"\0\0\0\0\0\0\0\0the end!");
    report.add(
        "a sparse file of 1 TiB",
        None,
        Unit::Bytes,
        (used() - before) as f64 * 4096.0,
        ("one block", 4096.0),
        1.0,
    );
    let found = check(volume.core());
    assert!(found.is_clean(), "{found}");
}
