//! Hostile images: a valid one with some bytes changed and its seals made good again.
//!
//! Whatever the bytes say, mounting and working on it must not panic, not hang and not reach outside
//! the store (which panics). Errors are fine, and so is nonsense.

use super::operations::{content, mode};
use super::volumes::{self, HeapVolume, ROOT, directory, file, new};
use sabfs::core::check::{check, check_sealed};
use sabfs::core::{Core, Image};
use sabfs::format::{BLOCK_SIZE, Block, BlockKind, FileKind, Superblock, seal};
use sabfs::vfs::{Ino, RenameFlags, SetAttr, Volume, XattrFlags};
use std::collections::{BTreeSet, VecDeque};
use std::sync::OnceLock;

const BLOCKS: u32 = 240;
/// Room for the volume to grow.
const CAPACITY_BLOCKS: u32 = 300;
/// Names read from one directory, and inodes visited: a damaged tree may show more than there are.
const NAMES_MAX: usize = 2_000;
const INODES_MAX: usize = 300;

/// Where a metadata block says its kind, and where the words that belong to the kind begin.
const KIND_AT: usize = 8;
const COUNTS_AT: usize = 24;
/// As many bytes of a block's new body say what to do with the volume, too.
const STEPS_MAX_BYTES: usize = 60;

struct Base {
    bytes: Vec<u8>,
    metadata: Vec<u32>,
}

/// Something of every structure: trees of two levels, orphans, long targets, all kinds.
fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let volume = volumes::volume(BLOCKS);
        let create = |dir, name: &[u8], new| volume.create(dir, name, &new).unwrap().ino;
        let outer = create(ROOT, b"outer", directory());
        let inner = create(outer, b"inner", directory());
        create(inner, b"deep", directory());
        let regular = create(outer, b"file", file());
        volume.write(regular, 0, &content(1, 30_000)).unwrap();
        volume.link(regular, ROOT, b"other").unwrap();
        let scattered = create(ROOT, b"scattered", file());
        for at in 0..24 {
            volume.write(scattered, at * 8192, b"part").unwrap();
        }
        volume.symlink(ROOT, b"short", b"outer/file", 0, 0).unwrap();
        volume.symlink(ROOT, b"long", &[b't'; 900], 0, 0).unwrap();
        create(ROOT, b"fifo", new(FileKind::Fifo));
        create(ROOT, b"device", new(FileKind::Block));
        let large = create(ROOT, b"large", directory());
        for number in 0..60_u32 {
            create(large, &super::operations::fill_name(number, true), file());
        }
        set_xattr(&volume, regular, b"user.short", b"inline");
        for name in [&b"user.long"[..], b"trusted.other", b"system.posix_acl_access"] {
            set_xattr(&volume, outer, name, &content(3, 700));
        }
        for name in [b"x", b"y"] {
            let ino = create(ROOT, name, file());
            volume.write(ino, 0, &content(2, 9_000)).unwrap();
            volume.hold(ino).unwrap();
            volume.unlink(ROOT, name).unwrap();
        }
        let metadata = volumes::metadata_blocks(volume.core()).into_iter().collect();
        Base { bytes: volumes::sealed_image(&volume), metadata }
    })
}

fn set_xattr(volume: &HeapVolume, ino: Ino, name: &[u8], value: &[u8]) {
    volume.set_xattr(ino, name, value, XattrFlags::empty()).unwrap();
}

/// Numbers that mean something: limits, small counts, blocks and inodes of the image.
fn number(kind: u8, value: u8) -> u64 {
    match kind % 8 {
        0 => u64::from(value % 4),
        1 => u64::MAX - u64::from(value % 4),
        2 => u64::from(u32::MAX) - u64::from(value % 4),
        3 => 1 << (value % 64),
        4 => u64::from(u16::from(value) * 4),
        5 => u64::from(base().metadata[usize::from(value) % base().metadata.len()]),
        _ => u64::from(value),
    }
}

/// Changes bytes of metadata blocks, six bytes of input each.
fn mutate(image: &mut [u8], input: &[u8]) {
    let metadata = &base().metadata;
    for change in input.as_chunks::<6>().0 {
        let [block, where_, at, width, kind, value] = *change;
        let block = metadata[usize::from(block) % metadata.len()] as usize;
        let at = match where_ % 4 {
            0 => usize::from(at) % 40,
            1 => usize::from(at) * 2,
            2 => (usize::from(where_) / 4 % 16) * 256 + usize::from(at),
            _ => usize::from(u16::from_le_bytes([at, where_])) % BLOCK_SIZE,
        };
        let width = 1 << (width % 4);
        let at = (at / width * width).min(BLOCK_SIZE - width);
        let start = block * BLOCK_SIZE;
        let bytes = number(kind, value).to_le_bytes();
        image[start + at..start + at + width].copy_from_slice(&bytes[..width]);
    }
    for &block in metadata {
        let start = block as usize * BLOCK_SIZE;
        let bytes: &mut Block = (&mut image[start..start + BLOCK_SIZE]).try_into().unwrap();
        seal(bytes);
    }
}

/// Mounts a mutated image, reads everything, changes some things, checks. True if it could be mounted.
pub fn mount(input: &[u8]) -> bool {
    let (steps, changes) = input.split_at(input.len() / 2);
    let mut image = base().bytes.clone();
    mutate(&mut image, changes);
    work_on(&image, steps)
}

/// The same for an image one of whose blocks of a kind has its body replaced by the input, from an
/// offset on that the input says; gives `None` when the base image has no such block.
pub fn structure(kind: BlockKind, input: &[u8]) -> Option<bool> {
    let (&[which, offset_low, offset_high], body) = input.split_first_chunk::<3>()?;
    let mut image = base().bytes.clone();
    let of_kind: Vec<usize> = base()
        .metadata
        .iter()
        .map(|&block| block as usize * BLOCK_SIZE)
        .filter(|&at| image[at + KIND_AT..at + KIND_AT + 4] == (kind as u32).to_le_bytes())
        .collect();
    let start = *of_kind.get(usize::from(which) % of_kind.len().max(1))?;
    // The header's own words are for the other target: here they would only hide the body.
    let offset = COUNTS_AT
        + usize::from(u16::from_le_bytes([offset_low, offset_high])) % (BLOCK_SIZE - COUNTS_AT);
    let body = &body[..body.len().min(BLOCK_SIZE - offset)];
    image[start + offset..start + offset + body.len()].copy_from_slice(body);
    let bytes: &mut Block = (&mut image[start..start + BLOCK_SIZE]).try_into().unwrap();
    seal(bytes);
    Some(work_on(&image, &body[..body.len().min(STEPS_MAX_BYTES)]))
}

/// The base image's bytes of a kind of block, where a fuzzer may begin.
pub fn sample(kind: BlockKind) -> Vec<u8> {
    let image = &base().bytes;
    let found = base()
        .metadata
        .iter()
        .map(|&block| block as usize * BLOCK_SIZE)
        .find(|&at| image[at + KIND_AT..at + KIND_AT + 4] == (kind as u32).to_le_bytes());
    let at = found.expect("the base image has all kinds");
    image[at + COUNTS_AT..at + BLOCK_SIZE].to_vec()
}

/// Mounts an image, reads everything, changes some things, checks. True if it could be mounted.
pub fn work_on(image: &[u8], steps: &[u8]) -> bool {
    let store = volumes::store_of_image(image, CAPACITY_BLOCKS);
    let unmounted = Image::attach(store.clone(), 1).unwrap();
    let mut copy = [0; BLOCK_SIZE];
    unmounted.read_block(0, &mut copy);
    if let Ok(superblock) = Superblock::check(&copy, 0)
        && superblock.geometry.image_blocks() <= unmounted.capacity_blocks()
    {
        check_sealed(&Core::new(unmounted, superblock)).to_string();
    }
    match Volume::load(store, 1, volumes::now) {
        Ok(volume) => {
            let found = read_all(&volume);
            work(&volume, &found, steps);
            read_all(&volume);
            check(volume.core()).to_string();
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Reads everything; gives the inodes found.
pub fn read_all(volume: &HeapVolume) -> Vec<Ino> {
    let mut found: BTreeSet<Ino> = (0..20).chain([1000, u32::MAX]).collect();
    let mut queue: VecDeque<Ino> = found.iter().copied().collect();
    let mut buffer = vec![0; 20_000];
    while let Some(ino) = queue.pop_front() {
        let Ok(attr) = volume.getattr(ino) else { continue };
        for offset in [0, attr.size_bytes.saturating_sub(100), 1 << 33] {
            _ = volume.read(ino, offset, &mut buffer);
        }
        _ = volume.readlink(ino);
        _ = volume.parent(ino);
        _ = volume.lookup(ino, b"..");
        let mut names = Vec::new();
        _ = volume.read_dir(ino, 0, &mut |entry| {
            names.push(entry);
            names.len() < NAMES_MAX
        });
        for entry in names {
            _ = volume.lookup(ino, &entry.name);
            if found.len() < INODES_MAX && found.insert(entry.ino) {
                queue.push_back(entry.ino);
            }
        }
        _ = volume.name_of(ino, 5);
        for name in volume.list_xattr(ino).unwrap_or_default() {
            _ = volume.get_xattr(ino, &name);
        }
    }
    _ = volume.statfs();
    found.into_iter().collect()
}

fn work(volume: &HeapVolume, found: &[Ino], steps: &[u8]) {
    let names: [&[u8]; 8] =
        [b"outer", b"other", b"scattered", b"large", b"long", b"file", b"inner", b"new"];
    let bytes = content(9, 12_000);
    let none = RenameFlags::empty();
    for &[which, a, b] in steps.as_chunks::<3>().0 {
        let pick = |number: u8| found[usize::from(number) % found.len()];
        let dir = if b % 2 == 0 { ROOT } else { pick(b) };
        let (name, other) = (names[usize::from(a) % 8], names[usize::from(b) % 8]);
        match which % 17 {
            0 => _ = volume.create(dir, name, &file()),
            1 => _ = volume.create(dir, other, &directory()),
            2 => _ = volume.write(pick(a), u64::from(b) * 3000, &bytes),
            3 => _ = volume.append(pick(a), &bytes[..usize::from(b)]),
            4 => {
                let size_bytes = Some(u64::from(b) * 777);
                _ = volume.setattr(pick(a), &SetAttr { size_bytes, ..Default::default() });
            }
            5 => _ = volume.unlink(dir, name),
            6 => _ = volume.rmdir(dir, name),
            7 => _ = volume.rename(dir, name, pick(a), other, none),
            8 => _ = volume.rename(ROOT, name, dir, other, RenameFlags::EXCHANGE),
            9 => _ = volume.link(pick(a), dir, name),
            10 => _ = volume.symlink(dir, name, &bytes[..300], 0, 0),
            11 => {
                let len = usize::from(b) * 20;
                _ = volume.set_xattr(pick(a), b"user.long", &bytes[..len], XattrFlags::empty());
            }
            12 => {
                _ = volume.remove_xattr(pick(a), [&b"user.long"[..], b"user.short"][usize::from(b) % 2])
            }
            13 => _ = volume.allocate(pick(a), mode(b), u64::from(b) * 4096, u64::from(a) * 4096),
            14 => _ = volume.copy_range(pick(a), u64::from(b) * 100, pick(b), 5_000, 50_000),
            15 => {
                _ = volume.seek_data(pick(a), u64::from(b) * 4096);
                _ = volume.seek_hole(pick(a), u64::from(b) * 4096);
            }
            _ => {
                if volume.hold(pick(a)).is_ok() {
                    _ = volume.unlink(dir, name);
                    volume.forget(pick(a));
                }
            }
        }
    }
    // Enough names to split leaves, and a file over whatever is left.
    for number in 0..20 {
        _ = volume.create(pick_last(found), &super::operations::fill_name(number, true), &file());
        _ = volume.create(ROOT, &super::operations::fill_name(number, true), &file());
    }
}

fn pick_last(found: &[Ino]) -> Ino {
    found.iter().rev().nth(1).copied().unwrap_or(ROOT)
}
