//! ACE's method, of CrashMonkey: most bugs of crash consistency need no more than three operations on a small
//! tree and a commit. All sequences of one and two operations, and a sample of those of three.

use super::machine::{Base, Config, Machine};
use crate::model::operations::{XattrName, content};
use crate::model::volumes::{ROOT, directory, file};
use crate::model::world::World;
use sabfs::vfs::{AllocateMode, Ino, RenameFlags, SetAttr};

/// The tree: A and D/A are files, B and D/B do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    A,
    B,
    D,
    Da,
    Db,
}

use Path::{A, B, D, Da, Db};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Creat(Path),
    Mkdir(Path),
    /// Offset, length.
    Write(Path, u64, u32),
    Append(Path, u32),
    Truncate(Path, u64),
    Reserve(Path, u64, u64),
    Punch(Path, u64, u64),
    Zero(Path, u64, u64),
    Collapse(Path),
    Insert(Path),
    Link(Path, Path),
    Symlink(Path, u16),
    Unlink(Path),
    Rmdir(Path),
    Rename(Path, Path),
    Exchange(Path, Path),
    Whiteout(Path, Path),
    SetXattr(Path, u32),
    RemoveXattr(Path),
    Chmod(Path),
    /// Held while its last name goes.
    HoldUnlink(Path),
    Fsync(Path),
    Sync,
}

/// Every operation with every choice of paths that can change something in the beginning or after another one.
pub const OPS: [Op; 61] = [
    Op::Creat(B),
    Op::Creat(Db),
    Op::Creat(A),
    Op::Mkdir(B),
    Op::Mkdir(Db),
    Op::Write(A, 0, 4096),
    Op::Write(A, 4096, 100),
    Op::Write(A, 2000, 9000),
    Op::Write(A, 40_000, 5000),
    Op::Write(Da, 0, 60),
    Op::Write(Da, 0, 5000),
    Op::Write(B, 0, 5000),
    Op::Write(Db, 0, 90),
    Op::Append(A, 4096),
    Op::Append(Da, 30),
    Op::Append(Da, 200),
    Op::Append(B, 10_000),
    Op::Truncate(A, 0),
    Op::Truncate(A, 5000),
    Op::Truncate(A, 60_000),
    Op::Truncate(Da, 0),
    Op::Truncate(Da, 300),
    Op::Reserve(A, 8192, 12_288),
    Op::Reserve(Da, 0, 4096),
    Op::Punch(A, 0, 4096),
    Op::Punch(A, 1000, 6000),
    Op::Zero(A, 0, 8192),
    Op::Collapse(A),
    Op::Insert(A),
    Op::Link(A, B),
    Op::Link(A, Db),
    Op::Link(Da, B),
    Op::Symlink(B, 20),
    Op::Symlink(Db, 300),
    Op::Unlink(A),
    Op::Unlink(B),
    Op::Unlink(Da),
    Op::Unlink(Db),
    Op::Rmdir(D),
    Op::Rmdir(B),
    Op::Rename(A, B),
    Op::Rename(A, Db),
    Op::Rename(Da, B),
    Op::Rename(A, Da),
    Op::Rename(Da, A),
    Op::Rename(D, B),
    Op::Rename(B, Db),
    Op::Rename(Db, A),
    Op::Exchange(A, Da),
    Op::Exchange(A, D),
    Op::Whiteout(A, Db),
    Op::SetXattr(A, 20),
    Op::SetXattr(A, 2000),
    Op::SetXattr(D, 2000),
    Op::RemoveXattr(A),
    Op::Chmod(A),
    Op::Chmod(D),
    Op::HoldUnlink(A),
    Op::HoldUnlink(Da),
    Op::Fsync(A),
    Op::Sync,
];

/// The volume that every sequence begins with.
pub fn base(config: Config) -> Base {
    let machine = Machine::new(config);
    machine.with_world(|world| {
        world.tick();
        world.create(ROOT, b"D", &directory());
        world.create(ROOT, b"A", &file());
        world.write(find(world, A), Some(0), &content(1, 9_000));
        world.create(find(world, D), b"A", &file());
        world.write(find(world, Da), Some(0), &content(2, 50));
        world.set_xattr(find(world, A), &XattrName::Usual(0), 40, 3, 0);
    });
    machine.into_base()
}

fn place(world: &World, path: Path) -> (Ino, &'static [u8]) {
    let inside = || world.oracle.lookup(ROOT, b"D").unwrap_or(100_000);
    match path {
        A => (ROOT, b"A"),
        B => (ROOT, b"B"),
        D => (ROOT, b"D"),
        Da => (inside(), b"A"),
        Db => (inside(), b"B"),
    }
}

/// The inode of a path, or a number that no inode has.
pub fn find(world: &World, path: Path) -> Ino {
    let (dir, name) = place(world, path);
    world.oracle.lookup(dir, name).unwrap_or(100_000)
}

/// Does an operation; a commit is the machine's business.
pub fn perform(world: &mut World, op: Op, seed: u8) {
    const KEEP: AllocateMode = AllocateMode::KEEP_SIZE;
    world.tick();
    match op {
        Op::Creat(path) => {
            let (dir, name) = place(world, path);
            world.create(dir, name, &file());
        }
        Op::Mkdir(path) => {
            let (dir, name) = place(world, path);
            world.create(dir, name, &directory());
        }
        Op::Write(path, offset, len) => {
            world.write(find(world, path), Some(offset), &content(seed, len));
        }
        Op::Append(path, len) => world.write(find(world, path), None, &content(seed, len)),
        Op::Truncate(path, size) => {
            world.setattr(find(world, path), &SetAttr { size_bytes: Some(size), ..SetAttr::default() });
        }
        Op::Reserve(path, offset, len) => {
            world.allocate(find(world, path), AllocateMode::empty(), offset, len);
        }
        Op::Punch(path, offset, len) => {
            world.allocate(find(world, path), AllocateMode::PUNCH_HOLE | KEEP, offset, len);
        }
        Op::Zero(path, offset, len) => {
            world.allocate(find(world, path), AllocateMode::ZERO_RANGE, offset, len);
        }
        Op::Collapse(path) => {
            world.allocate(find(world, path), AllocateMode::COLLAPSE_RANGE, 0, 4096);
        }
        Op::Insert(path) => world.allocate(find(world, path), AllocateMode::INSERT_RANGE, 4096, 4096),
        Op::Link(from, to) => {
            let (dir, name) = place(world, to);
            world.link(find(world, from), dir, name);
        }
        Op::Symlink(path, len) => {
            let (dir, name) = place(world, path);
            world.symlink(dir, name, &vec![b'x'; usize::from(len)]);
        }
        Op::Unlink(path) => {
            let (dir, name) = place(world, path);
            world.unlink(dir, name);
        }
        Op::Rmdir(path) => {
            let (dir, name) = place(world, path);
            world.rmdir(dir, name);
        }
        Op::Rename(from, to) => {
            world.rename(place(world, from), place(world, to), RenameFlags::empty());
        }
        Op::Exchange(from, to) => {
            world.rename(place(world, from), place(world, to), RenameFlags::EXCHANGE);
        }
        Op::Whiteout(from, to) => {
            world.rename(place(world, from), place(world, to), RenameFlags::WHITEOUT);
        }
        Op::SetXattr(path, len) => {
            world.set_xattr(find(world, path), &XattrName::Usual(8), len, seed, 0);
        }
        Op::RemoveXattr(path) => world.remove_xattr(find(world, path), &XattrName::Usual(0)),
        Op::Chmod(path) => {
            let set = SetAttr { mode: Some(0o400 + u32::from(seed)), ..SetAttr::default() };
            world.setattr(find(world, path), &set);
        }
        Op::HoldUnlink(path) => {
            let ino = find(world, path);
            let answer = world.volume.hold(ino);
            assert_eq!(answer, world.oracle.hold(ino));
            let (dir, name) = place(world, path);
            world.unlink(dir, name);
        }
        Op::Fsync(_) | Op::Sync => {}
    }
}

/// Runs a sequence; `each`: with a commit after each operation, else only at the end and where one is asked for.
pub fn run(config: Config, base: &Base, ops: &[Op], each: bool) -> Machine {
    let machine = Machine::on(config, base);
    for (index, &op) in ops.iter().enumerate() {
        machine.with_world(|world| perform(world, op, 20 + index as u8));
        let asked = match op {
            Op::Fsync(path) => machine.with_world(|world| find(world, path) != 100_000),
            Op::Sync => true,
            _ => false,
        };
        if asked || each || index + 1 == ops.len() {
            assert!(machine.commit(), "a commit failed");
        }
    }
    machine
}

/// The sequence with this number, of so many operations.
pub fn sequence(number: usize, len: u32) -> Vec<Op> {
    (0..len).map(|digit| OPS[number / OPS.len().pow(digit) % OPS.len()]).collect()
}
