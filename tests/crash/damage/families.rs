//! All damages of a sort to a sample.

use super::harm::{Fill, Harm, What};
use super::layout::Layout;
use super::samples::{ENDS, End, SHAPES, Sample, Shape};
use super::verdict::changes;
use crate::model::volumes::metadata_blocks;
use sabfs::format::BLOCK_SIZE;
use sabfs::persist::Rule;
use sabfs::persist::sim::{IMAGE, JOURNAL, Rng};
use sabfs::sim::{Recorder, SECTOR};
use std::ops::Range;

/// One damage or two at once.
pub type Case = (Harm, Option<Harm>);

/// A sample's shape, its end, and whether all of it is in the image.
pub type Which = (Shape, End, bool);

/// Damages of one sort.
pub struct Family {
    pub name: &'static str,
    pub samples: fn() -> Vec<Which>,
    /// The damages to a sample; `phase` is another one for each sample.
    pub cases: fn(&Sample, phase: usize, long: bool) -> Vec<Case>,
    /// They are flipped bits.
    pub bits: bool,
}

pub const ALL: &[Family] = &[
    Family { name: "flip-image", samples: images, cases: flips_of_image, bits: true },
    Family { name: "flip-journal", samples: journals, cases: flips_of_journal, bits: true },
    Family { name: "flip-pairs", samples: all, cases: pairs, bits: true },
    Family { name: "lost-sectors", samples: all, cases: lost, bits: false },
];

/// A rule that is off, and the family that must miss it; of its damages only one in so many is made.
pub struct Off {
    pub name: &'static str,
    pub rule: Rule,
    pub family: &'static str,
    pub one_in: usize,
}

pub const OFF: &[Off] = &[
    Off { name: "header-copies", rule: Rule::HeaderCopies, family: "flip-journal", one_in: 61 },
    Off { name: "records-vouch", rule: Rule::RecordsVouch, family: "flip-journal", one_in: 61 },
    Off { name: "note-when-idle", rule: Rule::NoteWhenIdle, family: "flip-journal", one_in: 61 },
    Off { name: "header-gone", rule: Rule::HeaderGone, family: "lost-sectors", one_in: 1 },
];

/// One bit in so many of the bodies of records.
const BODY_ONE_IN: usize = 128;
/// One bit in so many of the metadata of images; one image has all.
const IMAGE_ONE_IN: usize = 32;
/// One bit in so many of what has no meaning.
const REST_ONE_IN: usize = 512;
const PAIRS: usize = 1200;

fn journals() -> Vec<Which> {
    SHAPES.into_iter().flat_map(|shape| ENDS.map(|end| (shape, end, false))).collect()
}

fn images() -> Vec<Which> {
    let shapes = [Shape::Kinds, Shape::Deep, Shape::Few, Shape::Takeover, Shape::New];
    shapes
        .into_iter()
        .flat_map(|shape| [true, false].map(|settled| (shape, End::Closed, settled)))
        .collect()
}

fn all() -> Vec<Which> {
    let mut all = journals();
    all.extend(images().into_iter().filter(|(_, _, settled)| *settled));
    all
}

/// One bit in so many of these bytes: of one byte after the other another bit.
fn rotating(bytes: Range<usize>, one_in: usize, phase: usize) -> impl Iterator<Item = usize> {
    let all = one_in == 1;
    let every = (one_in / 8).max(1);
    bytes
        .flat_map(move |byte| {
            (0..8).map(move |bit| (byte, bit)).filter(move |(byte, bit)| {
                all || byte % every == phase % every && *bit == (byte / every + phase) % 8
            })
        })
        .map(|(byte, bit)| byte * 8 + bit)
}

fn bits(file: usize, bits: impl Iterator<Item = usize>) -> impl Iterator<Item = Case> {
    bits.map(move |bit| (Harm::bit(file, bit), None))
}

fn bytes_of(block: usize) -> Range<usize> {
    block * BLOCK_SIZE..(block + 1) * BLOCK_SIZE
}

/// The image's metadata blocks.
fn metadata(sample: &Sample) -> Vec<usize> {
    let disk = Recorder::new(sample.files.clone());
    let (volume, _keeper) = sample.config.mount(&disk).expect("it opens");
    metadata_blocks(volume.core()).into_iter().map(|block| block as usize).collect()
}

fn flips_of_image(sample: &Sample, phase: usize, long: bool) -> Vec<Case> {
    let every_bit = long || sample.shape == Shape::Kinds && sample.layout.records().next().is_none();
    let one_in = if every_bit { 1 } else { IMAGE_ONE_IN };
    metadata(sample)
        .into_iter()
        .flat_map(|block| bits(IMAGE, rotating(bytes_of(block), one_in, phase)))
        .collect()
}

fn flips_of_journal(sample: &Sample, phase: usize, long: bool) -> Vec<Case> {
    let thin = |one_in| if long { 1 } else { one_in };
    let mut cases = Vec::new();
    let mut flip = |bytes, one_in| cases.extend(bits(JOURNAL, rotating(bytes, one_in, phase)));
    for segment in &sample.layout.segments {
        let start = segment.block * BLOCK_SIZE;
        // Both copies; the bytes that they have no use for are zeros that the hash covers.
        for copy in [start, start + BLOCK_SIZE / 2] {
            flip(copy..copy + 72, 1);
            flip(copy + 72..copy + SECTOR, thin(8));
            flip(copy + SECTOR..copy + BLOCK_SIZE / 2, thin(REST_ONE_IN));
        }
        for record in &segment.records {
            flip(record.head(), 1);
            flip(record.body(), thin(BODY_ONE_IN));
        }
        flip(sample.layout.rest(segment), REST_ONE_IN);
    }
    cases
}

/// Zeros, garbage, or what was there once, in each sector and in each block.
fn lost(sample: &Sample, _phase: usize, long: bool) -> Vec<Case> {
    let mut places: Vec<(usize, usize)> = Vec::new();
    if sample.layout.records().next().is_none() || sample.shape == Shape::Few {
        places.extend(metadata(sample).into_iter().map(|block| (IMAGE, block)));
    }
    for segment in &sample.layout.segments {
        let rest = sample.layout.rest(segment);
        places.extend((segment.block..rest.start / BLOCK_SIZE).map(|block| (JOURNAL, block)));
        let step = if long { 1 } else { 4 };
        let rest = rest.start / BLOCK_SIZE..rest.end / BLOCK_SIZE;
        places.extend(rest.step_by(step).map(|block| (JOURNAL, block)));
    }
    let mut fills = vec![Fill::Zeros, Fill::Garbage];
    fills.extend((0..sample.earlier.len()).map(Fill::Earlier));
    let mut cases = Vec::new();
    for (file, block) in places {
        let sectors = block * BLOCK_SIZE / SECTOR..(block + 1) * BLOCK_SIZE / SECTOR;
        let mut seen = Vec::new();
        let of_block = |fill| What::Block(block, fill);
        for what in fills.iter().flat_map(|&fill| {
            sectors.clone().map(move |sector| What::Sector(sector, fill)).chain([of_block(fill)])
        }) {
            let harm = Harm { file, what };
            let mut files = sample.files.clone();
            harm.apply(&mut files, &sample.earlier);
            let hash = files.hash();
            if changes(sample, harm) && !seen.contains(&hash) {
                seen.push(hash);
                cases.push((harm, None));
            }
        }
    }
    cases
}

/// Two flips: by chance in all that has a meaning, and where one makes up for the other.
fn pairs(sample: &Sample, phase: usize, long: bool) -> Vec<Case> {
    let mut rng = Rng::new(phase as u64 + 1);
    let Layout { segments, .. } = &sample.layout;
    let journal = |bytes: Range<usize>| (JOURNAL, bytes);
    let headers = segments.iter().flat_map(|segment| {
        let start = segment.block * BLOCK_SIZE;
        [start, start + BLOCK_SIZE / 2].map(|copy| journal(copy..copy + 72))
    });
    let mut places: Vec<(usize, Range<usize>)> = headers.collect();
    places.extend(
        sample
            .layout
            .records()
            .flat_map(|record| [record.head(), record.range(), record.head()].map(journal)),
    );
    places.extend(metadata(sample).into_iter().map(|block| (IMAGE, bytes_of(block))));
    let flip = |(file, bytes): &(usize, Range<usize>), rng: &mut Rng| {
        Harm::bit(*file, (bytes.start + rng.below(bytes.len())) * 8 + rng.below(8))
    };
    let mut cases = Vec::new();
    let times = if long { 50 } else { 1 };
    for _ in 0..PAIRS * times {
        let (first, second) = (rng.below(places.len()), rng.below(places.len()));
        cases.push((flip(&places[first], &mut rng), Some(flip(&places[second], &mut rng))));
    }
    // Both copies of a header, and of the superblock; a record and the next one, which may vouch for it.
    let mut both: Vec<[(usize, Range<usize>); 2]> = Vec::new();
    for segment in segments {
        let start = segment.block * BLOCK_SIZE;
        both.push([start, start + BLOCK_SIZE / 2].map(|copy| journal(copy..copy + 72)));
        let next = segment.records.iter().skip(1);
        both.extend(segment.records.iter().zip(next).map(|(a, b)| [a, b].map(|r| journal(r.range()))));
    }
    both.push([0, 1].map(|block| (IMAGE, bytes_of(block))));
    for _ in 0..20 * times {
        for [first, second] in &both {
            cases.push((flip(first, &mut rng), Some(flip(second, &mut rng))));
        }
    }
    cases.retain(|(first, second)| Some(*first) != *second);
    cases
}
