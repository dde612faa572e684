//! Each kind of damage that can be mended is, and nothing else is touched; of what cannot be mended
//! without a choice nothing is changed.

use crate::model::sample::Sample;
use crate::model::volumes::{self, ROOT, directory, file};
use sabfs::core::check::{Finding, Repair, check_sealed, repair};
use sabfs::core::{Core, DirEntry, Image, read_superblock};
use sabfs::errno::Errno;
use sabfs::format::{BLOCK_SIZE, Block, FileKind, Inode, RawInode, seal};
use sabfs::persist::{Keeper, MemDevice, OpenOptions};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::vfs::{Ino, Volume};
use std::sync::Arc;
use zerocopy::FromZeros;

const CAPACITY_BLOCKS: u32 = 1_200;

/// An image as it would lie in its file: all that looks like metadata is sealed.
fn sealed(image: &Image<Arc<HeapStore>>) -> Vec<u8> {
    const KINDS: [&[u8; 4]; 8] =
        [b"SABF", b"BMAP", b"INOD", b"EXTN", b"DLEF", b"DNOD", b"SYML", b"XATR"];
    let mut bytes = Vec::new();
    for block in 0..image.geometry().image_blocks() {
        let mut one = [0; BLOCK_SIZE];
        image.read_block(block, &mut one);
        let kind: [u8; 4] = one[8..12].try_into().unwrap();
        if KINDS.contains(&&kind) && one[12..16] == block.to_le_bytes() {
            seal(&mut one);
        }
        bytes.extend(one);
    }
    bytes
}

fn core_of(bytes: &[u8]) -> Core<Arc<HeapStore>> {
    let image = Image::attach(volumes::store_of_image(bytes, CAPACITY_BLOCKS), 1).unwrap();
    let superblock = read_superblock(&image).unwrap();
    Core::new(image, superblock)
}

fn edit(bytes: &mut [u8], block: u32, reseal: bool, edit: impl FnOnce(&mut Block)) {
    let at = block as usize * BLOCK_SIZE;
    let one: &mut Block = (&mut bytes[at..at + BLOCK_SIZE]).try_into().unwrap();
    edit(one);
    if reseal {
        seal(one);
    }
}

/// Repairs and looks at the outcome: as it lies in the file it is sound, and a mount accepts it.
#[track_caller]
fn mend(bytes: &[u8], expected: &[Finding]) -> (Repair, Vec<u8>) {
    let core = core_of(bytes);
    let done = repair(&core, 7, &mut || Ok(())).unwrap();
    let mended: Vec<Finding> = done.mended.iter().map(|mended| mended.finding).collect();
    assert_eq!(mended, expected, "left: {}", done.left);
    assert!(done.left.is_clean(), "{}", done.left);
    let after = sealed(&core.image);
    let report = check_sealed(&core_of(&after));
    assert!(report.is_clean(), "{report}");
    let store = volumes::store_of_image(&after, CAPACITY_BLOCKS);
    Volume::load(store, 1, volumes::now).unwrap();
    (done, after)
}

/// Plants damage whose repair gives back the image as it was, bit by bit.
#[track_caller]
fn comes_back(plant: impl FnOnce(&Sample), expected: &[Finding]) {
    let sample = Sample::new();
    let before = sealed(sample.image());
    plant(&sample);
    let damaged = sealed(sample.image());
    assert!(damaged != before);
    let (_, after) = mend(&damaged, expected);
    same(&before, &after);
}

#[track_caller]
fn same(before: &[u8], after: &[u8]) {
    let blocks = before.chunks(BLOCK_SIZE).zip(after.chunks(BLOCK_SIZE));
    let other: Vec<_> = blocks.enumerate().filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
    assert_eq!((other, before.len()), (Vec::new(), after.len()), "blocks that differ");
}

/// Damage that is left alone, whatever else there is to mend.
#[track_caller]
fn is_left(bytes: &[u8], finding: &Finding) {
    let core = core_of(bytes);
    let done = repair(&core, 7, &mut || Ok(())).unwrap();
    assert!(done.mended.is_empty(), "{:?}", done.mended);
    assert!(done.left.findings.contains(finding), "{}", done.left);
    let mut after = vec![0; bytes.len()];
    for (block, one) in after.as_chunks_mut::<BLOCK_SIZE>().0.iter_mut().enumerate() {
        core.image.read_block(block as u32, one);
    }
    same(bytes, &after);
}

#[track_caller]
fn plant_is_left(plant: impl FnOnce(&Sample), finding: impl FnOnce(&Sample) -> Finding) {
    let sample = Sample::new();
    // Something that could be mended, to see that it is not touched either.
    sample.mark(sample.free_block(), true);
    plant(&sample);
    is_left(&sealed(sample.image()), &finding(&sample));
}

#[test]
fn a_sound_volume_is_left_as_it_is() {
    let sample = Sample::new();
    let before = sealed(sample.image());
    let (_, after) = mend(&before, &[]);
    same(&before, &after);
}

#[test]
fn superblock_copies() {
    for copy in [0, 1] {
        let before = sealed(Sample::new().image());
        let mut damaged = before.clone();
        edit(&mut damaged, copy, false, |bytes| bytes[100] ^= 1);
        let (_, after) = mend(&damaged, &[Finding::SuperblockCopy { copy }]);
        same(&before, &after);
    }
}

#[test]
fn bitmaps() {
    let file = Sample::new().file;
    let block = Sample::new().first_block(file);
    comes_back(|sample| sample.mark(block, false), &[Finding::BlockNotMarked { block, inode: file }]);

    let block = Sample::new().free_block() - 1;
    let leaked = Finding::BlocksLeaked { block, count: 2 };
    comes_back(|sample| [block, block + 1].iter().for_each(|&b| sample.mark(b, true)), &[leaked]);

    let tail = Finding::BitmapTail { group: 0 };
    comes_back(|sample| sample.edit_block(2, |bytes| bytes[BLOCK_SIZE - 1] = 0x7f), &[tail]);

    // A bitmap that is not what it was is made anew from who uses what.
    let before = sealed(Sample::new().image());
    let mut damaged = before.clone();
    edit(&mut damaged, 2, false, |bytes| bytes[20] ^= 1);
    let (_, after) = mend(&damaged, &[Finding::Seal { block: 2, inode: 0 }]);
    same(&before, &after);
    let mut damaged = before.clone();
    edit(&mut damaged, 2, false, |bytes| bytes.fill(0x55));
    let core = core_of(&damaged);
    let done = repair(&core, 7, &mut || Ok(())).unwrap();
    assert!(done.left.is_clean(), "{}", done.left);
    same(&before, &sealed(&core.image));
}

#[test]
fn counts() {
    let Sample { file, scattered, outer, large, .. } = Sample::new();
    let block = Sample::new().root_block(ROOT);
    let blocks = |inode, says, found| Finding::BlockCount { inode, says, found };
    let links = |inode, says, found| Finding::LinkCount { inode, says, found };
    comes_back(|s| s.edit_inode(file, |raw| raw.blocks = 4.into()), &[blocks(file, 4, 3)]);
    comes_back(|s| s.edit_inode(scattered, |raw| raw.blocks = 20.into()), &[blocks(scattered, 20, 21)]);
    comes_back(|s| s.edit_inode(1, |raw| raw.blocks = 2.into()), &[blocks(1, 2, 16)]);
    comes_back(|s| s.add_links(file, 1), &[links(file, 2, 1)]);
    comes_back(|s| s.add_links(outer, 1), &[links(outer, 4, 3)]);
    comes_back(|s| s.add_links(ROOT, u32::MAX), &[links(ROOT, 3, 4)]);
    let leaf = Finding::LeafCount { directory: ROOT, block, says: 9, found: 4 };
    comes_back(|s| s.edit_block(block, |bytes| bytes[24] = 9), &[leaf]);
    let names = Finding::NameCount { inode: large, says: 199, found: 200 };
    comes_back(|s| s.edit_inode(large, |raw| raw.size = 199.into()), &[names]);
}

#[test]
fn behind_the_end() {
    let Sample { file, .. } = Sample::new();
    let block = Sample::new().first_block(file) + 2;
    let tail = Finding::DirtyTail { inode: file, block };
    comes_back(|s| s.edit_block(block, |bytes| bytes[10_000 - 8192] = 1), &[tail]);

    // So has a file that lies in its inode.
    let sample = Sample::new();
    let small = sample.volume.create(ROOT, b"small", &self::file()).unwrap().ino;
    assert_eq!(sample.volume.write(small, 0, b"some"), Ok(4));
    let before = sealed(sample.image());
    sample.edit_inode(small, |raw| raw.root[5] = 9);
    let (_, after) = mend(&sealed(sample.image()), &[Finding::DirtyInline { inode: small }]);
    same(&before, &after);

    let sample = Sample::new();
    sample.edit_inode(file, |raw| raw.size = 4096.into());
    let (_, after) = mend(&sealed(sample.image()), &[Finding::BehindEnd { inode: file, file_block: 1 }]);
    let volume =
        Volume::load(volumes::store_of_image(&after, CAPACITY_BLOCKS), 1, volumes::now).unwrap();
    let attr = volume.getattr(file).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks), (4096, 1));
    assert_eq!(attr.mtime_ns, Sample::new().volume.getattr(file).unwrap().mtime_ns);
    let mut bytes = [0; 5000];
    assert_eq!(volume.read(file, 0, &mut bytes).unwrap(), 4096);
    assert!(bytes[..4096].iter().all(|&byte| byte == 7));
}

#[test]
fn behind_attributes() {
    let Sample { outer, file, .. } = Sample::new();
    let remains = |inode| [Finding::XattrRemains { inode }];
    comes_back(|s| s.edit_inode(file, |raw| raw.xattrs[63] = 1), &remains(file));
    let block = Sample::new().inode(outer).raw.xattr_block.get();
    comes_back(|s| s.edit_block(block, |bytes| bytes[BLOCK_SIZE - 1] = 1), &remains(outer));
}

#[test]
fn slots() {
    let sample = Sample::new();
    let free = sample.volume.create(ROOT, b"last", &file()).unwrap().ino;
    sample.volume.unlink(ROOT, b"last").unwrap();
    let before = sealed(sample.image());
    sample.edit_inode(free, |raw| raw.uid = 1.into());
    let (_, after) = mend(&sealed(sample.image()), &[Finding::FreeSlot { inode: free }]);
    same(&before, &after);
}

#[test]
fn parents() {
    let Sample { inner, outer, .. } = Sample::new();
    let set_parent = |sample: &Sample, ino, parent: Ino| {
        sample.edit_inode(ino, |raw| raw.root[8..12].copy_from_slice(&parent.to_le_bytes()));
    };
    let finding = |inode, says, found| Finding::Parent { inode, says, found };
    comes_back(|s| set_parent(s, inner, ROOT), &[finding(inner, ROOT, outer)]);
    comes_back(|s| set_parent(s, ROOT, outer), &[finding(ROOT, outer, ROOT)]);
}

#[test]
fn kinds() {
    let Sample { outer, file, .. } = Sample::new();
    let (says, is) = (FileKind::Symlink, FileKind::Regular);
    comes_back(
        |sample| {
            sample.transaction(|txn| {
                let outer = txn.inode(sample.outer).unwrap();
                let entry = DirEntry { inode: sample.file, kind: says };
                txn.dir_replace(&outer, b"file", entry).unwrap();
            });
        },
        &[Finding::NameKind { directory: outer, inode: file, says, is }],
    );
}

/// What is in a volume, by path: inode and links.
fn tree(bytes: &[u8]) -> Vec<(String, Ino, u32)> {
    let store = volumes::store_of_image(bytes, CAPACITY_BLOCKS);
    let volume = Volume::load(store, 1, volumes::now).unwrap();
    let (mut found, mut left) = (Vec::new(), vec![(ROOT, String::new())]);
    while let Some((dir, path)) = left.pop() {
        volume
            .list(dir, &mut |name, ino, kind| {
                let path = format!("{path}/{}", String::from_utf8_lossy(name));
                found.push((path.clone(), ino, volume.getattr(ino).unwrap().nlink));
                if kind == FileKind::Directory {
                    left.push((ino, path));
                }
                true
            })
            .unwrap();
        assert_eq!(volume.count_names(dir).unwrap(), paths(&found, &path).len() as u64);
    }
    found.sort();
    found
}

fn paths<'a>(tree: &'a [(String, Ino, u32)], dir: &str) -> Vec<&'a str> {
    let paths = tree.iter().map(|(path, ..)| path.as_str());
    paths.filter(|path| path.rsplit_once('/').is_some_and(|(above, _)| above == dir)).collect()
}

#[test]
fn names_that_lead_nowhere_go() {
    for (dir, inode, kind) in [
        (ROOT, 777, FileKind::Regular),
        (Sample::new().inner, 777, FileKind::Directory),
        (Sample::new().large, 1, FileKind::Regular),
        (Sample::new().inner, ROOT, FileKind::Directory),
    ] {
        let sample = Sample::new();
        let before = sealed(sample.image());
        sample.enter(dir, b"nothing", inode, kind);
        let finding = match inode {
            777 => Finding::NameDangling { directory: dir, inode },
            _ => Finding::NameReserved { directory: dir, inode },
        };
        let (done, after) = mend(&sealed(sample.image()), &[finding]);
        assert_eq!(done.mended[0].what, "the name nothing is removed");
        assert_eq!(tree(&before), tree(&after));
    }
}

#[test]
fn names_that_cannot_be_found_are_entered_again() {
    let sample = Sample::new();
    let before = tree(&sealed(sample.image()));
    let block = sample.root_block(ROOT);
    sample.edit_block(block, |bytes| bytes[32] ^= 1);
    let finding = Finding::NameHash { directory: ROOT, block, at: 32 };
    let (_, after) = mend(&sealed(sample.image()), &[finding]);
    assert_eq!(tree(&after), before);

    // The second leaf's entry says that the leaf begins behind its first name.
    let sample = Sample::new();
    let node = sample.root_block(sample.large);
    sample.edit_block(node, |bytes| {
        let hash = u64::from_le_bytes(bytes[44..52].try_into().unwrap());
        bytes[44..52].copy_from_slice(&(hash + 1).to_le_bytes());
    });
    let core = core_of(&sealed(sample.image()));
    let done = repair(&core, 7, &mut || Ok(())).unwrap();
    assert!(matches!(done.mended[..], [ref one] if matches!(one.finding, Finding::NamePlace { .. })));
    assert!(done.left.is_clean(), "{}", done.left);
    assert_eq!(tree(&sealed(&core.image)), before);
}

fn nameless(sample: &Sample, kind: FileKind, links: u32) -> Ino {
    let mut found = 0;
    sample.transaction(|txn| {
        let (number, _) = txn.allocate_inode().unwrap();
        let mut raw = RawInode::new_zeroed();
        raw.mode = (kind.mode_bits() | 0o644).into();
        raw.nlink = links.into();
        txn.put_inode(&Inode { number, kind, raw }).unwrap();
        found = number;
    });
    found
}

#[test]
fn inodes_without_names_are_kept() {
    for links in [0, 1, 9] {
        let sample = Sample::new();
        let first = nameless(&sample, FileKind::Regular, links);
        let second = nameless(&sample, FileKind::Fifo, links);
        let expected = [first, second].map(|inode| Finding::Unnamed { inode });
        let (_, after) = mend(&sealed(sample.image()), &expected);
        let tree = tree(&after);
        for inode in [first, second] {
            assert!(tree.contains(&(format!("/lost+found/#{inode}"), inode, 1)), "{tree:?}");
        }
    }
    // A directory, with what is in it; the name is taken already.
    let sample = Sample::new();
    let before = tree(&sealed(sample.image()));
    let lost = sample.volume.create(ROOT, b"lost+found", &directory()).unwrap().ino;
    let name = format!("#{}", sample.outer);
    sample.volume.create(lost, name.as_bytes(), &file()).unwrap();
    sample.transaction(|txn| {
        let mut root = txn.inode(ROOT).unwrap();
        txn.dir_remove(&mut root, b"outer").unwrap();
        root.raw.nlink = (root.raw.nlink.get() - 1).into();
        txn.put_inode(&root).unwrap();
    });
    let (done, after) = mend(&sealed(sample.image()), &[Finding::Unnamed { inode: sample.outer }]);
    let path = format!("/lost+found/{name}.1");
    assert_eq!(done.mended[0].what, format!("it is {path} now"));
    let after = tree(&after);
    let below = |tree: &[(String, Ino, u32)], above: &str| {
        let found = tree
            .iter()
            .filter_map(|(path, ino, links)| Some((path.strip_prefix(above)?.to_owned(), *ino, *links)));
        found.collect::<Vec<_>>()
    };
    assert_eq!(below(&before, "/outer"), below(&after, &path));
}

#[test]
fn orphans_that_are_none() {
    let Sample { file, .. } = Sample::new();
    comes_back(
        |sample| sample.transaction(|txn| txn.set_orphan(file, true).unwrap()),
        &[Finding::OrphanNamed { inode: file }],
    );
    // One that counts a link, and one that holds names: nothing of it is lost.
    let sample = Sample::new();
    let inode = nameless(&sample, FileKind::Regular, 1);
    sample.transaction(|txn| txn.set_orphan(inode, true).unwrap());
    sample.volume.hold(sample.inner).unwrap();
    sample.volume.rmdir(sample.outer, b"inner").unwrap();
    sample.enter(sample.inner, b"second", sample.file, FileKind::Regular);
    sample.add_links(sample.file, 1);
    let inner = sample.inner;
    let core = core_of(&sealed(sample.image()));
    let done = repair(&core, 7, &mut || Ok(())).unwrap();
    assert!(done.left.is_clean(), "{}", done.left);
    let tree = tree(&sealed(&core.image));
    assert!(tree.contains(&(format!("/lost+found/#{inode}"), inode, 1)));
    assert!(tree.contains(&(format!("/lost+found/#{inner}"), inner, 2)));
    assert!(tree.contains(&(format!("/lost+found/#{inner}/second"), sample.file, 2)));
}

#[test]
fn several_at_once() {
    let sample = Sample::new();
    sample.mark(sample.first_block(sample.file), false);
    sample.mark(sample.free_block(), true);
    sample.add_links(sample.outer, 5);
    sample.enter(sample.large, b"nothing", 777, FileKind::Regular);
    nameless(&sample, FileKind::Regular, 1);
    let before = sample.volume.getattr(sample.file).unwrap();
    let core = core_of(&sealed(sample.image()));
    let mut commits = 0;
    let done = repair(&core, 7, &mut || {
        commits += 1;
        Ok(())
    });
    let done = done.unwrap();
    assert!(done.left.is_clean(), "{}", done.left);
    assert_eq!((done.mended.len(), commits), (5, 5));
    let after =
        Volume::load(volumes::store_of_image(&sealed(&core.image), CAPACITY_BLOCKS), 1, volumes::now);
    let after = after.unwrap();
    assert_eq!(after.getattr(sample.file).unwrap(), before);
    let mut bytes = [0; 10_000];
    assert_eq!(after.read(sample.file, 0, &mut bytes), Ok(10_000));
    assert_eq!(bytes, [7; 10_000], "nothing was allocated over what was not marked");
    // What a commit says is handed on.
    let core = core_of(&sealed(sample.image()));
    assert_eq!(repair(&core, 7, &mut || Err(Errno::ENOSPC)).err(), Some(Errno::ENOSPC));
}

#[test]
fn what_has_a_choice_in_it_is_left() {
    plant_is_left(
        |sample| {
            let block = sample.first_block(sample.scattered).to_le_bytes();
            sample.edit_inode(sample.file, |raw| raw.root[12..16].copy_from_slice(&block));
        },
        |sample| Finding::BlockTwice {
            block: sample.first_block(sample.scattered),
            inode: sample.scattered,
            other: sample.file,
        },
    );
    plant_is_left(
        |sample| {
            sample.enter(ROOT, b"second", sample.inner, FileKind::Directory);
            sample.add_links(ROOT, 1);
        },
        |sample| Finding::DirectoryTwice { inode: sample.inner },
    );
    plant_is_left(
        |sample| {
            let block = sample.inode(sample.symlink).symlink_block();
            sample.edit_block(block, |bytes| bytes[40] = 0);
        },
        |sample| Finding::Target { inode: sample.symlink },
    );
    plant_is_left(
        |sample| {
            sample.edit_inode(sample.scattered, |raw| raw.flags = 0x8000_0000_u32.into());
        },
        |sample| {
            let field = "flags";
            let inode = sample.scattered;
            Finding::Structure(sabfs::format::Corrupt::InodeField { inode, field })
        },
    );
    // A tree whose node is out of order.
    plant_is_left(
        |sample| {
            sample
                .edit_block(sample.root_block(sample.scattered), |bytes| bytes[32..56].rotate_left(12));
        },
        |sample| {
            let block = sample.root_block(sample.scattered);
            Finding::Structure(sabfs::format::Corrupt::Tree { inode: sample.scattered, block })
        },
    );
    // The slot was given up, but still holds a file that has a name: which of them is right?
    plant_is_left(
        |sample| {
            let slot = sample.core().locate(sample.file).unwrap();
            sample.edit_block(slot.block, |bytes| {
                bytes[24 + (slot.slot / 8) as usize] &= !(1 << (slot.slot % 8))
            });
        },
        |sample| Finding::NameDangling { directory: sample.outer, inode: sample.file },
    );
    plant_is_left(Sample::move_table, |_| Finding::TableStart { block: 3 });
    plant_is_left(Sample::close_loop, |sample| Finding::Loop { inode: sample.outer });
    let sample = Sample::new();
    let (block, at) = sample.repeat_name();
    is_left(&sealed(sample.image()), &Finding::NameTwice { directory: sample.inner, block, at });
}

#[test]
fn broken_seals_and_roots_are_left() {
    let sample = Sample::new();
    let pristine = sealed(sample.image());
    for (block, inode) in
        [(3, 1), (sample.root_block(sample.large), sample.large), (sample.root_block(ROOT), ROOT)]
    {
        let mut damaged = pristine.clone();
        edit(&mut damaged, block, false, |bytes| bytes[20] ^= 1);
        is_left(&damaged, &Finding::Seal { block, inode });
    }
    let sample = Sample::new();
    sample.edit_inode(ROOT, |raw| raw.mode = 0o100_777.into());
    is_left(&sealed(sample.image()), &Finding::NoRoot);
    let sample = Sample::new();
    sample.edit_inode(1, |raw| raw.size = 4097.into());
    let corrupt = sabfs::format::Corrupt::InodeField { inode: 1, field: "size" };
    is_left(&sealed(sample.image()), &Finding::Table(corrupt));
}

#[test]
fn counters_of_a_mounted_volume() {
    let sample = Sample::new();
    // What is in memory of this volume was never sealed, so it is the copy that is mended.
    let bytes = sealed(sample.image());
    let volume =
        Volume::load(volumes::store_of_image(&bytes, CAPACITY_BLOCKS), 1, volumes::now).unwrap();
    use sabfs::store::Store;
    volume.image().store().fetch_add(rt::USED_INODES, 2);
    let done = repair(volume.core(), 7, &mut || Ok(())).unwrap();
    assert!(matches!(done.mended[0].finding, Finding::Counter { name: "inodes", .. }));
    assert!(done.left.is_clean(), "{}", done.left);
}

type MemKeeper = Keeper<Arc<HeapStore>, MemDevice>;

fn open(image: MemDevice, journal: MemDevice) -> (MemKeeper, Core<Arc<HeapStore>>) {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(CAPACITY_BLOCKS)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let attach = |client| Image::attach(store.clone(), client).unwrap();
    let mut options = OpenOptions::new([0; 16], Box::new(|| 4));
    (options.adopt, options.all_blocks) = (true, true);
    let (keeper, _) =
        Keeper::open(attach(2), image, journal, options, Box::new(|| 0), &mut |_| ()).unwrap();
    let superblock = read_superblock(&attach(1)).unwrap();
    (keeper, Core::new(attach(1), superblock))
}

/// Wherever a repair is cut off, the next one completes it.
#[test]
fn a_crash_at_any_step_is_made_good_by_the_next_repair() {
    let sample = Sample::new();
    sample.mark(sample.first_block(sample.file), false);
    sample.mark(sample.free_block(), true);
    sample.add_links(sample.outer, 5);
    sample.enter(sample.large, b"nothing", 777, FileKind::Regular);
    let inode = nameless(&sample, FileKind::Regular, 1);
    sample.edit_block(sample.root_block(ROOT), |bytes| bytes[24] = 9);
    let damaged = sealed(sample.image());
    let mut steps = 0;
    loop {
        let (image, journal) = (MemDevice::with_bytes(damaged.clone()), MemDevice::default());
        let (mut keeper, core) = open(image.clone(), journal.clone());
        let mut done = 0;
        let outcome = repair(&core, 7, &mut || {
            if done == steps {
                return Err(Errno::EIO);
            }
            done += 1;
            keeper.commit_now()
        });
        // The keeper is gone without a word; the files are as they are.
        drop(keeper);
        let (mut keeper, core) =
            open(MemDevice::with_bytes(image.bytes()), MemDevice::with_bytes(journal.bytes()));
        let again = repair(&core, 7, &mut || keeper.commit_now()).unwrap();
        assert!(again.left.is_clean(), "after {steps} steps: {}", again.left);
        assert_eq!(again.mended.len(), 6 - done, "after {steps} steps: {:?}", again.mended);
        let tree = tree(&sealed(&core.image));
        assert_eq!(tree.len(), 206 + 2, "after {steps} steps");
        assert!(tree.contains(&(format!("/lost+found/#{inode}"), inode, 1)));
        if outcome.is_ok() {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 6);
}
