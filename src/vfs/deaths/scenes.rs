//! Operations to die at.

use super::ROOT;
use super::tree::Left;
use super::world::{BLOCKS, Stage, directory, file};
use crate::core::inodes::for_each_table_block;
use crate::format::{FileKind, INODES_PER_BLOCK};
use crate::store::runtime as rt;
use crate::store::{HeapStore, Store};
use crate::vfs::{
    AllocateMode, Ino, LockMode, LockOwner, LockRange, NewInode, RenameFlags, SetAttr, Volume,
    XattrFlags,
};
use std::sync::Arc;

/// An operation, and what there is before it.
pub struct Scene {
    pub name: &'static str,
    /// Room of the store for the image.
    pub blocks: u32,
    pub left: Left,
    /// Nothing is told to watchers in a way that could be compared: several operations in one.
    pub silent: bool,
    pub setup: fn(&mut Stage),
    pub op: fn(&mut Stage),
}

const A: LockOwner = LockOwner { kind: crate::vfs::OwnerKind::Process, id: 5, pid: 5 };
const B: LockOwner = LockOwner { kind: crate::vfs::OwnerKind::OpenFile, id: 6, pid: 5 };

/// What is there in every scene.
pub fn found(v: &Volume<Arc<HeapStore>>) {
    for dir in [&b"d"[..], b"e", b"full"] {
        v.create(ROOT, dir, &directory()).unwrap();
    }
    let d = v.lookup(ROOT, b"d").unwrap().ino;
    v.create(d, b"sub", &directory()).unwrap();
    for (name, bytes) in [
        (&b"ball"[..], 10),
        (b"kept", 10),
        (b"scratch", 5000),
        (b"small", 60),
        (b"f", 10_000),
        (b"g", 4096),
    ] {
        let ino = v.create(ROOT, name, &file()).unwrap().ino;
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 + 1).collect();
        v.write(ino, 0, &content).unwrap();
    }
    // Every other block is a hole: 14 extents, which need a node.
    let sparse = v.create(ROOT, b"sparse", &file()).unwrap().ino;
    for block in 0..14 {
        v.write(sparse, block * 8192, &[block as u8 + 1; 4096]).unwrap();
    }
    v.link(v.lookup(ROOT, b"g").unwrap().ino, ROOT, b"g2").unwrap();
    v.symlink(ROOT, b"s", &[b't'; 300], 0, 0).unwrap();
    v.set_xattr(v.lookup(ROOT, b"f").unwrap().ino, b"user.a", &[7; 20], XattrFlags::empty()).unwrap();
    let full = v.lookup(ROOT, b"full").unwrap().ino;
    let target = v.lookup(ROOT, b"small").unwrap().ino;
    // As many names as go into a leaf, and not one more: see `directory split`.
    for number in 0..FULL {
        v.link(target, full, format!("{number:0>50}").as_bytes()).unwrap();
    }
}

/// Names of 50 bytes in a leaf of 4,064: 72 bytes each.
const FULL: u32 = 56;

fn nothing(_: &mut Stage) {}

/// What an operation answers does not matter here.
fn done<T>(_: T) {}

const fn scene(name: &'static str, op: fn(&mut Stage)) -> Scene {
    Scene { name, blocks: BLOCKS, left: Left::Whole, silent: false, setup: nothing, op }
}

const fn torn(name: &'static str, op: fn(&mut Stage)) -> Scene {
    Scene { left: Left::Torn, ..scene(name, op) }
}

/// Fills the inode table.
fn fill_table(s: &mut Stage) {
    let mut free = 0;
    for_each_table_block(s.witness.core(), &mut |block, _| {
        free += INODES_PER_BLOCK - block.used.count_ones();
        Ok(())
    })
    .unwrap();
    let dir = s.ino(b"/e");
    for number in 0..free {
        s.victim.create(dir, format!("{number}").as_bytes(), &file()).unwrap();
    }
}

fn reserve_behind(s: &mut Stage) {
    let f = s.ino(b"/f");
    s.victim.allocate(f, AllocateMode::KEEP_SIZE, 0, 32_768).unwrap();
}

fn rename(s: &Stage, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags) {
    s.victim.rename(from.0, from.1, to.0, to.1, flags).unwrap();
}

fn allocate(s: &Stage, path: &[u8], mode: AllocateMode, offset: u64, len: u64) {
    s.victim.allocate(s.ino(path), mode, offset, len).unwrap();
}

fn resize(s: &Stage, path: &[u8], size_bytes: u64) {
    let set = SetAttr { size_bytes: Some(size_bytes), ..Default::default() };
    s.victim.setattr(s.ino(path), &set).unwrap();
}

/// All of them.
pub fn scenes() -> &'static [Scene] {
    const NONE: RenameFlags = RenameFlags::empty();
    const SCENES: &[Scene] = &[
        scene("create", |s| done(s.victim.create(ROOT, b"new", &file()).unwrap())),
        scene("create of a device", |s| {
            let new = NewInode { kind: FileKind::Character, rdev: 77, ..file() };
            done(s.victim.create(ROOT, b"new", &new).unwrap());
        }),
        scene("mkdir", |s| done(s.victim.create(s.ino(b"/d"), b"new", &directory()).unwrap())),
        scene("unlink", |s| s.victim.unlink(ROOT, b"f").unwrap()),
        scene("unlink of a fragmented file", |s| s.victim.unlink(ROOT, b"sparse").unwrap()),
        scene("unlink of a second name", |s| s.victim.unlink(ROOT, b"g2").unwrap()),
        scene("unlink of a long link", |s| s.victim.unlink(ROOT, b"s").unwrap()),
        Scene {
            setup: |s| s.victim.hold(s.ino(b"/f")).unwrap(),
            ..scene("unlink of what is held", |s| s.victim.unlink(ROOT, b"f").unwrap())
        },
        Scene {
            setup: |s| s.witness.hold(s.ino(b"/f")).unwrap(),
            ..scene("unlink of what another one holds", |s| s.victim.unlink(ROOT, b"f").unwrap())
        },
        scene("rmdir", |s| s.victim.rmdir(ROOT, b"e").unwrap()),
        scene("rename", |s| rename(s, (ROOT, b"f"), (ROOT, b"new"), NONE)),
        scene("rename over a file", |s| rename(s, (ROOT, b"g"), (ROOT, b"f"), NONE)),
        scene("rename of a directory", |s| rename(s, (ROOT, b"e"), (s.ino(b"/d"), b"x"), NONE)),
        scene("rename over a directory", |s| {
            rename(s, (ROOT, b"e"), (s.ino(b"/d"), b"sub"), NONE);
        }),
        scene("exchange", |s| {
            rename(s, (ROOT, b"f"), (s.ino(b"/d"), b"sub"), RenameFlags::EXCHANGE);
        }),
        scene("rename with a whiteout", |s| {
            rename(s, (ROOT, b"f"), (s.ino(b"/d"), b"x"), RenameFlags::WHITEOUT);
        }),
        scene("link", |s| done(s.victim.link(s.ino(b"/f"), s.ino(b"/d"), b"x").unwrap())),
        scene("symlink", |s| done(s.victim.symlink(ROOT, b"new", b"target", 1, 2).unwrap())),
        scene("symlink to far away", |s| {
            done(s.victim.symlink(ROOT, b"new", &[b'x'; 4000], 1, 2).unwrap());
        }),
        torn("overwriting", |s| done(s.victim.write(s.ino(b"/f"), 100, &[9; 300]).unwrap())),
        torn("overwriting blocks", |s| done(s.victim.write(s.ino(b"/f"), 0, &[9; 8192]).unwrap())),
        torn("appending within a block", |s| {
            done(s.victim.append(s.ino(b"/f"), &[9; 500]).unwrap());
        }),
        torn("appending", |s| done(s.victim.append(s.ino(b"/f"), &[9; 9_000]).unwrap())),
        torn("appending a whole block", |s| {
            done(s.victim.write(s.ino(b"/f"), 16_384, &[9; 4096]).unwrap());
        }),
        Scene {
            setup: reserve_behind,
            ..torn("writing where space is reserved", |s| {
                done(s.victim.write(s.ino(b"/f"), 9_000, &[9; 9_000]).unwrap());
            })
        },
        Scene {
            setup: reserve_behind,
            ..torn("writing to what is reserved and on", |s| {
                done(s.victim.write(s.ino(b"/f"), 9_000, &[9; 40_000]).unwrap());
            })
        },
        torn("filling holes", |s| done(s.victim.write(s.ino(b"/sparse"), 4000, &[9; 20_000]).unwrap())),
        scene("writing to a small file", |s| {
            done(s.victim.write(s.ino(b"/small"), 5, &[9; 7]).unwrap())
        }),
        scene("appending to a small file", |s| {
            done(s.victim.append(s.ino(b"/small"), &[9; 30]).unwrap());
        }),
        scene("outgrowing the inode", |s| {
            done(s.victim.append(s.ino(b"/small"), &[9; 3000]).unwrap());
        }),
        scene("writing behind a small file", |s| {
            done(s.victim.write(s.ino(b"/small"), 10_000, &[9; 30]).unwrap());
        }),
        scene("cutting off", |s| resize(s, b"/f", 5_000)),
        scene("cutting off all", |s| resize(s, b"/sparse", 0)),
        scene("cutting off a part", |s| resize(s, b"/sparse", 33_000)),
        scene("cutting off a small file", |s| resize(s, b"/small", 7)),
        scene("growing", |s| resize(s, b"/f", 50_000)),
        scene("growing out of the inode", |s| resize(s, b"/small", 5_000)),
        Scene {
            left: Left::Steps,
            ..scene("reserving", |s| {
                allocate(s, b"/sparse", AllocateMode::empty(), 0, 150_000);
            })
        },
        scene("clearing", |s| allocate(s, b"/f", AllocateMode::ZERO_RANGE, 100, 6_000)),
        scene("punching", |s| {
            let mode = AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE;
            allocate(s, b"/sparse", mode, 9_000, 60_000);
        }),
        scene("punching within a block", |s| {
            let mode = AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE;
            allocate(s, b"/f", mode, 4_200, 1_000);
        }),
        scene("taking a range out", |s| {
            allocate(s, b"/sparse", AllocateMode::COLLAPSE_RANGE, 4096, 20_480);
        }),
        scene("putting a range in", |s| {
            allocate(s, b"/sparse", AllocateMode::INSERT_RANGE, 20_480, 8192);
        }),
        scene("chmod", |s| {
            let set = SetAttr { mode: Some(0o700), uid: Some(9), ..Default::default() };
            done(s.victim.setattr(s.ino(b"/f"), &set).unwrap());
        }),
        scene("setting an attribute", |s| {
            s.victim.set_xattr(s.ino(b"/g"), b"user.b", b"x", XattrFlags::empty()).unwrap();
        }),
        scene("setting a large attribute", |s| {
            s.victim.set_xattr(s.ino(b"/f"), b"user.b", &[8; 900], XattrFlags::empty()).unwrap();
        }),
        Scene {
            setup: |s| {
                let f = s.ino(b"/f");
                s.victim.set_xattr(f, b"user.b", &[8; 900], XattrFlags::empty()).unwrap();
            },
            ..scene("removing a large attribute", |s| {
                s.victim.remove_xattr(s.ino(b"/f"), b"user.b").unwrap();
            })
        },
        Scene {
            setup: |s| {
                s.victim.hold(s.ino(b"/sparse")).unwrap();
                s.victim.unlink(ROOT, b"sparse").unwrap();
                s.store.store(rt::INODE_HINT, s.store.load(rt::INODE_HINT));
            },
            silent: true,
            ..scene("closing what has no name", |s| {
                let held = s.victim.held.lock().keys().copied().next().unwrap();
                s.victim.forget(held);
            })
        },
        scene("opening and closing", |s| {
            s.victim.hold(s.ino(b"/f")).unwrap();
            s.victim.forget(s.ino(b"/f"));
        }),
        scene("a file without a name", |s| {
            let ino = s.victim.create_unnamed(ROOT, &file()).unwrap().ino;
            done(s.victim.write(ino, 0, &[9; 5000]).unwrap());
            s.victim.forget(ino);
        }),
        Scene {
            silent: true,
            left: Left::Whole,
            setup: |s| {
                let ino = s.victim.create_unnamed(ROOT, &file()).unwrap().ino;
                s.victim.write(ino, 0, &[9; 5000]).unwrap();
            },
            ..scene("naming a file without a name", |s| {
                let held = s.victim.held.lock().keys().copied().next().unwrap();
                done(s.victim.link(held, ROOT, b"new").unwrap());
            })
        },
        Scene {
            setup: |s| s.victim.hold(s.ino(b"/f")).unwrap(),
            ..scene("locking and unlocking", |s| {
                let (f, range) = (s.ino(b"/f"), LockRange { start: 10, end: 20 });
                s.victim.lock(f, &A, LockMode::Exclusive, LockRange::WHOLE, None).unwrap();
                s.victim.unlock(f, &A, range).unwrap();
                s.victim.flock(f, &B, LockMode::Shared, None).unwrap();
                s.victim.release_owner(f, &A).unwrap();
            })
        },
        Scene {
            setup: |s| {
                let f = s.ino(b"/f");
                s.victim.hold(f).unwrap();
                s.victim.lock(f, &A, LockMode::Exclusive, LockRange::WHOLE, None).unwrap();
            },
            ..scene("closing what is locked", |s| s.victim.forget(s.ino(b"/f")))
        },
        scene("splitting a directory", |s| {
            done(s.victim.link(s.ino(b"/small"), s.ino(b"/full"), &[b'x'; 50]).unwrap());
        }),
        Scene {
            setup: fill_table,
            ..scene("growing the inode table", |s| {
                done(s.victim.create(ROOT, b"new", &file()).unwrap());
            })
        },
        Scene {
            left: Left::Steps,
            silent: true,
            ..scene("copying a range", |s| {
                let (from, to) = (s.ino(b"/sparse"), s.ino(b"/f"));
                done(s.victim.copy_range(from, 0, to, 4096, 30_000).unwrap());
            })
        },
        scene("noting an access", |s| s.victim.accessed(s.ino(b"/f"))),
        Scene {
            setup: |s| s.watcher = Some(s.victim.watch().unwrap()),
            ..scene("watching no more", |s| s.watcher = None)
        },
        scene("watching", |s| s.watcher = Some(s.victim.watch().unwrap())),
        scene("coming and going", |s| {
            let other = Volume::join(s.store.clone(), [0; 2], s.clock()).unwrap();
            other.hold(s.ino(b"/f")).unwrap();
            other.lock(s.ino(b"/f"), &A, LockMode::Shared, LockRange::WHOLE, None).unwrap();
            other.detach().unwrap();
        }),
        scene("burying another one", |s| {
            let other = Volume::join(s.store.clone(), [0; 2], s.clock()).unwrap();
            let nameless = other.create_unnamed(ROOT, &file()).unwrap().ino;
            done(other.write(nameless, 0, &[9; 5000]).unwrap());
            other.lock(nameless, &A, LockMode::Shared, LockRange::WHOLE, None).unwrap();
            s.victim.bury(other.client()).unwrap();
        }),
        Scene { blocks: 4300, ..scene("letting the volume grow", |s| s.victim.grow_to(4200).unwrap()) },
    ];
    SCENES
}
