//! Hostile journals: a valid one with some bytes changed and its hashes made good again.
//!
//! Whatever the bytes say, recovery must not panic, not hang and not reach outside the store; and what
//! it accepts can be worked on like a hostile image.

use super::hostile::read_all;
use super::operations::content;
use super::volumes::{self, ROOT, directory, file};
use sabfs::core::Image;
use sabfs::core::check::check;
use sabfs::format::journal::record_blocks;
use sabfs::format::{BLOCK_SIZE, Block, seal};
use sabfs::persist::{Found, Keeper, MemDevice, OpenOptions};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{Committer, Volume};
use std::sync::{Arc, Mutex, OnceLock};
use xxhash_rust::xxh64::xxh64;

const BLOCKS: u32 = 200;
/// Small, so that both segments are used and a change of a few bytes meets something.
const SEGMENT_BLOCKS: u32 = 128;
/// Kinds of metadata blocks, by their letters.
const KINDS: [&[u8; 4]; 8] = [b"SABF", b"BMAP", b"INOD", b"EXTN", b"DLEF", b"DNOD", b"SYML", b"XATR"];

struct Base {
    image: Vec<u8>,
    journal: Vec<u8>,
}

fn options() -> OpenOptions {
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    let random = move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        number
    };
    let mut options = OpenOptions::new([7; 16], Box::new(random));
    options.segment_blocks = SEGMENT_BLOCKS;
    options
}

/// A volume after some commits, not closed: both segments hold records.
fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let (image_file, journal_file) = (MemDevice::default(), MemDevice::default());
        let store = Arc::new(HeapStore::new(runtime::store_size_bytes(BLOCKS)));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 2).unwrap();
        let files = (image_file.clone(), journal_file.clone());
        let opened =
            Keeper::open(image, files.0, files.1, options(), Box::new(|| 0), &mut |_| ()).unwrap();
        assert_eq!(opened.1, Found::New);
        let mut volume = Volume::format(store, 1, volumes::now, [7; 32]).unwrap();
        let keeper = Mutex::new(opened.0);
        volume.set_committer(Committer::Inline(Box::new(move |_| keeper.lock().unwrap().commit_now())));
        let outer = volume.create(ROOT, b"outer", &directory()).unwrap().ino;
        for number in 0..12_u32 {
            let name = format!("file {number}");
            let ino = volume.create(outer, name.as_bytes(), &file()).unwrap().ino;
            volume.write(ino, 0, &content(number as u8, 9_000)).unwrap();
            volume.sync().unwrap();
        }
        Base { image: image_file.bytes(), journal: journal_file.bytes() }
    })
}

/// Changes bytes near the beginnings of blocks, where the journal's own numbers are, and elsewhere.
fn mutate(journal: &mut [u8], input: &[u8]) {
    for &[low, high, where_, at, kind, value] in input.as_chunks::<6>().0 {
        let blocks = journal.len() / BLOCK_SIZE;
        let block = usize::from(u16::from_le_bytes([low, high])) % blocks;
        let at = match where_ % 4 {
            0 => usize::from(at) % 64,
            1 => 64 + usize::from(at) % 64,
            2 => usize::from(at),
            _ => usize::from(u16::from_le_bytes([at, where_])) % BLOCK_SIZE,
        };
        let width = 1 << (kind % 4);
        let at = (at / width * width).min(BLOCK_SIZE - width);
        let number: u64 = match kind / 4 % 6 {
            0 => u64::from(value),
            1 => u64::MAX - u64::from(value % 4),
            2 => u64::from(u32::MAX) - u64::from(value % 4),
            3 => 1 << (value % 64),
            4 => u64::from(BLOCKS) + u64::from(value % 4),
            _ => u64::from(SEGMENT_BLOCKS) - u64::from(value % 4),
        };
        let start = block * BLOCK_SIZE + at;
        journal[start..start + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }
}

/// Makes the seals of blocks, the hashes of records and their chain good again.
fn rehash(journal: &mut [u8]) {
    let half = journal.len() / 2;
    for segment in journal.chunks_mut(half) {
        let key = u64::from_le_bytes(segment[48..56].try_into().unwrap());
        let hash = xxh64(&segment[16..512], 0);
        segment[8..16].copy_from_slice(&hash.to_le_bytes());
        let mut previous = hash;
        // The second copy is of the same use or, as after a torn write, of the one before.
        if !hash.is_multiple_of(4) {
            segment.copy_within(..512, 2048);
        }
        let mut at = BLOCK_SIZE;
        while at + BLOCK_SIZE <= segment.len() && segment[at + 8..at + 12] == *b"SJRC" {
            let count = u32::from_le_bytes(segment[at + 12..at + 16].try_into().unwrap());
            let len = record_blocks(count) as usize * BLOCK_SIZE;
            if at + len > segment.len() {
                break;
            }
            let record = &mut segment[at..at + len];
            let head = len - count as usize * BLOCK_SIZE;
            for block in record[head..].chunks_mut(BLOCK_SIZE) {
                let block: &mut Block = block.try_into().unwrap();
                if KINDS.iter().any(|letters| block[8..12] == **letters) {
                    seal(block);
                }
            }
            record[32..40].copy_from_slice(&previous.to_le_bytes());
            previous = xxh64(&record[8..], key);
            record[..8].copy_from_slice(&previous.to_le_bytes());
            at += len;
        }
    }
}

/// Opens a volume with a damaged journal; works on it if it opens. True if it could be mounted.
pub fn open(input: &[u8]) -> bool {
    let Some((&how, changes)) = input.split_first() else { return false };
    let mut journal = base().journal.clone();
    mutate(&mut journal, changes);
    // Without it, only what the hashes notice is tested.
    if how % 8 != 0 {
        rehash(&mut journal);
    }
    if how % 16 == 1 {
        journal.truncate(journal.len() - usize::from(how / 16) * 777);
    }
    let image_file = MemDevice::with_bytes(base().image.clone());
    let journal_file = MemDevice::with_bytes(journal);
    let store = Arc::new(HeapStore::new(runtime::store_size_bytes(BLOCKS + 40)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 2).unwrap();
    let before = (image_file.bytes(), journal_file.bytes());
    let files = (image_file.clone(), journal_file.clone());
    match Keeper::open(image, files.0, files.1, options(), Box::new(|| 0), &mut |_| ()) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(
                before == (image_file.bytes(), journal_file.bytes()),
                "a refused volume was changed"
            );
            false
        }
        Ok((keeper, Found::New)) => {
            drop(keeper);
            false
        }
        Ok((keeper, Found::Volume(_))) => match Volume::load(store, 1, volumes::now) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
            Ok(mut volume) => {
                let keeper = Mutex::new(keeper);
                volume.set_committer(Committer::Inline(Box::new(move |_| {
                    keeper.lock().unwrap().commit_now()
                })));
                read_all(&volume);
                if let Ok(attr) = volume.create(ROOT, b"after", &file()) {
                    _ = volume.write(attr.ino, 0, &content(3, 20_000));
                }
                _ = volume.sync();
                check(volume.core()).to_string();
                true
            }
        },
    }
}

/// A fuzzer's beginning: no change, hashes made good.
pub fn sample() -> Vec<u8> {
    vec![2]
}
