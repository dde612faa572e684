//! The table of open files.

use crate::model::volumes::{ROOT, directory, file, new, volume};
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::store::HeapStore;
use sabfs::vfs::{Entry, OpenFiles, OpenMode, Whence};
use std::collections::BTreeSet;
use std::sync::Arc;

type Files = OpenFiles<Arc<HeapStore>>;

const READ: OpenMode = OpenMode::READ;
const WRITE: OpenMode = OpenMode::WRITE;
const APPEND: OpenMode = OpenMode::APPEND;

fn files() -> (Files, u32) {
    let volume = Arc::new(volume(2_000));
    let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
    (OpenFiles::new(volume, 8), ino)
}

fn contents(files: &Files, ino: u32) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 20];
    let count = files.volume().read(ino, 0, &mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn positions_move_and_are_shared() {
    let (files, ino) = files();
    let a = files.open(ino, READ | WRITE).unwrap();
    let b = files.dup(a).unwrap();
    let c = files.open(ino, READ).unwrap();
    assert_eq!((a, b, c), (0, 1, 2));
    assert_eq!(files.write(a, b"hello, "), Ok(7));
    assert_eq!(files.write(b, b"world"), Ok(5));
    let mut buffer = [0; 8];
    assert_eq!((files.read(c, &mut buffer), &buffer), (Ok(8), b"hello, w"));
    assert_eq!((files.read(c, &mut buffer), &buffer[..4]), (Ok(4), &b"orld"[..]));
    assert_eq!(files.read(c, &mut buffer), Ok(0));
    assert_eq!(files.pwrite(a, 0, b"H"), Ok(1));
    assert_eq!((files.pread(c, 0, &mut buffer), buffer[0]), (Ok(8), b'H'));
    assert_eq!(files.lseek(a, 0, Whence::Current), Ok(12));
    assert_eq!(files.lseek(c, 0, Whence::Current), Ok(12));
    // Closing one of two handles leaves the other.
    files.close(a).unwrap();
    assert_eq!(files.close(a), Err(Errno::EBADF));
    assert_eq!(files.write(a, b"x"), Err(Errno::EBADF));
    assert_eq!(files.write(b, b"!"), Ok(1));
    assert_eq!(contents(&files, ino), b"Hello, world!");
}

#[test]
fn positions_are_set() {
    let (files, ino) = files();
    let f = files.open(ino, READ | WRITE).unwrap();
    files.pwrite(f, 0, &[1; 5_000]).unwrap();
    files.pwrite(f, 20_000, &[1; 10]).unwrap();
    assert_eq!(files.lseek(f, -10, Whence::End), Ok(20_000));
    assert_eq!(files.lseek(f, -5_000, Whence::Current), Ok(15_000));
    assert_eq!(files.lseek(f, 0, Whence::Data), Ok(0));
    assert_eq!(files.lseek(f, 9_000, Whence::Data), Ok(16_384));
    assert_eq!(files.lseek(f, 100, Whence::Hole), Ok(8_192));
    for (offset, whence, errno) in [
        (-1, Whence::Set, Errno::EINVAL),
        (i64::MAX, Whence::Set, Errno::EINVAL),
        (i64::MAX, Whence::End, Errno::EINVAL),
        (-8_193, Whence::Current, Errno::EINVAL),
        (-1, Whence::Data, Errno::ENXIO),
        (20_010, Whence::Hole, Errno::ENXIO),
    ] {
        assert_eq!(files.lseek(f, offset, whence), Err(errno), "{offset} {whence:?}");
    }
    assert_eq!(files.lseek(f, 0, Whence::Current), Ok(8_192));
    // Behind the end is a position as any other.
    assert_eq!(files.lseek(f, 30_000, Whence::Set), Ok(30_000));
    assert_eq!(files.read(f, &mut [0; 5]), Ok(0));
    assert_eq!(files.write(f, b"x"), Ok(1));
    assert_eq!(contents(&files, ino).len(), 30_001);
}

#[test]
fn appending_goes_to_the_end() {
    let (files, ino) = files();
    let f = files.open(ino, READ | WRITE | APPEND).unwrap();
    let other = files.open(ino, WRITE).unwrap();
    files.write(f, b"one").unwrap();
    files.pwrite(other, 3, b"two").unwrap();
    files.lseek(f, 0, Whence::Set).unwrap();
    files.write(f, b"three").unwrap();
    assert_eq!(files.lseek(f, 0, Whence::Current), Ok(11));
    files.pwrite(f, 0, b"four").unwrap();
    assert_eq!(files.lseek(f, 0, Whence::Current), Ok(11));
    assert_eq!(contents(&files, ino), b"onetwothreefour");
}

#[test]
fn modes_and_kinds_are_minded() {
    let (files, ino) = files();
    let volume = files.volume().clone();
    let read = files.open(ino, READ).unwrap();
    let write = files.open(ino, WRITE).unwrap();
    let root = files.open(ROOT, READ).unwrap();
    assert_eq!(files.write(read, b"x"), Err(Errno::EBADF));
    assert_eq!(files.pwrite(read, 0, b"x"), Err(Errno::EBADF));
    assert_eq!(files.read(write, &mut [0]), Err(Errno::EBADF));
    assert_eq!(files.pread(write, 0, &mut [0]), Err(Errno::EBADF));
    assert_eq!(files.read(root, &mut [0]), Err(Errno::EISDIR));
    assert_eq!(files.write(root, b"x"), Err(Errno::EBADF));
    assert_eq!(files.read_dir(read, &mut |_| true), Err(Errno::ENOTDIR));
    assert_eq!(files.read_dir(write, &mut |_| true), Err(Errno::EBADF));
    assert_eq!(files.lseek(root, 0, Whence::End), Err(Errno::EINVAL));
    assert_eq!(files.lseek(99, 0, Whence::Set), Err(Errno::EBADF));
    assert_eq!(files.open(ROOT, READ | WRITE), Err(Errno::EISDIR));
    assert_eq!(files.open(77, READ), Err(Errno::ENOENT));
    let link = volume.symlink(ROOT, b"link", b"f", 0, 0).unwrap().ino;
    let fifo = volume.create(ROOT, b"fifo", &new(FileKind::Fifo)).unwrap().ino;
    assert_eq!(files.open(link, READ), Err(Errno::ELOOP));
    assert_eq!(files.open(fifo, READ), Err(Errno::ENXIO));
    assert_eq!(files.count(), 3);
    for handle in 3..8 {
        assert_eq!(files.dup(read), Ok(handle));
    }
    assert_eq!(files.dup(read), Err(Errno::EMFILE));
    assert_eq!(files.open(ino, READ), Err(Errno::EMFILE));
    files.close(5).unwrap();
    files.close(1).unwrap();
    assert_eq!((files.open(ino, READ), files.dup(read)), (Ok(1), Ok(5)));
}

#[test]
fn open_files_outlive_their_names() {
    let (files, ino) = files();
    let volume = files.volume().clone();
    let a = files.open(ino, READ | WRITE).unwrap();
    let b = files.dup(a).unwrap();
    volume.unlink(ROOT, b"f").unwrap();
    files.write(a, b"still here").unwrap();
    files.close(a).unwrap();
    assert_eq!(volume.getattr(ino).unwrap().nlink, 0);
    // A call that is under way keeps it, too.
    let under_way = files.get(b).unwrap();
    files.close(b).unwrap();
    assert_eq!(volume.getattr(under_way.ino()).unwrap().size_bytes, 10);
    drop(under_way);
    assert_eq!(volume.getattr(ino), Err(Errno::ENOENT));
    assert!(sabfs::core::check::check(volume.core()).is_clean());
    // Nothing is held by an open that failed.
    let fifo = volume.create(ROOT, b"fifo", &new(FileKind::Fifo)).unwrap().ino;
    assert_eq!(files.open(fifo, READ), Err(Errno::ENXIO));
    volume.unlink(ROOT, b"fifo").unwrap();
    assert_eq!(volume.getattr(fifo), Err(Errno::ENOENT));
}

#[test]
fn directories_are_listed_in_parts() {
    let (files, _) = files();
    let volume = files.volume().clone();
    let dir = volume.create(ROOT, b"dir", &directory()).unwrap().ino;
    let mut expected: BTreeSet<Vec<u8>> = (0..300).map(|n| format!("name {n}").into_bytes()).collect();
    for name in &expected {
        volume.create(dir, name, &file()).unwrap();
    }
    expected.extend([b".".to_vec(), b"..".to_vec()]);
    let handle = files.open(dir, READ).unwrap();
    for room in [1, 2, 7, 1_000] {
        files.lseek(handle, 0, Whence::Set).unwrap();
        let (mut found, mut last) = (Vec::<Entry>::new(), 1);
        while last > 0 {
            last = 0;
            // The name that there is no room for comes again.
            let mut take = |entry| {
                last += usize::from(last < room + 1);
                if last <= room {
                    found.push(entry);
                }
                last <= room
            };
            files.read_dir(handle, &mut take).unwrap();
            last = last.min(room);
        }
        assert_eq!((found[0].ino, found[1].ino), (dir, ROOT));
        let names: BTreeSet<Vec<u8>> = found.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!((found.len(), names), (302, expected.clone()));
        // Every cookie is a position.
        files.lseek(handle, found[100].cookie as i64, Whence::Set).unwrap();
        let mut next = None;
        files.read_dir(handle, &mut |entry| next.replace(entry).is_some()).unwrap();
        assert_eq!(next.as_ref(), Some(&found[101]));
    }
    files.lseek(handle, 0, Whence::Set).unwrap();
    for name in expected.iter().filter(|name| name.len() > 2) {
        volume.unlink(dir, name).unwrap();
    }
    volume.rmdir(ROOT, b"dir").unwrap();
    files.read_dir(handle, &mut |entry| panic!("{entry:?} in a directory that is gone")).unwrap();
}

/// Threads that share a position write and read every byte once.
#[test]
fn shared_positions_are_exact() {
    let (files, ino) = files();
    let (threads, rounds) = (4_u8, 500_usize);
    let first = files.open(ino, READ | WRITE).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (files, handle) = (&files, files.dup(first).unwrap());
            scope.spawn(move || {
                for _ in 0..rounds {
                    assert_eq!(files.write(handle, &[thread + 1; 7]), Ok(7));
                }
                files.close(handle).unwrap();
            });
        }
    });
    let written = contents(&files, ino);
    assert_eq!(written.len(), usize::from(threads) * rounds * 7);
    let (pieces, _) = written.as_chunks::<7>();
    for thread in 0..threads {
        assert_eq!(pieces.iter().filter(|piece| **piece == [thread + 1; 7]).count(), rounds);
    }
    files.lseek(first, 0, Whence::Set).unwrap();
    let total: usize = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let (mut sum, mut buffer) = (0, [0; 7]);
                    while files.read(first, &mut buffer).unwrap() > 0 {
                        assert_eq!(buffer, [buffer[0]; 7]);
                        sum += 1;
                    }
                    sum
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert_eq!(total, usize::from(threads) * rounds);
    assert_eq!(files.count(), 1);
}
