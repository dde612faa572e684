//! Damages, each with a name that is taken back: `journal.bit.70123`, `image.sector.24.zeros`, `journal.block.12.earlier-3`,
//! and several at once joined with `+`.

use sabfs::format::BLOCK_SIZE;
use sabfs::persist::sim::{IMAGE, JOURNAL, Rng};
use sabfs::sim::{Files, SECTOR};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// What a sector or a block is replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Zeros,
    Garbage,
    /// What it held after so many of the sample's commits.
    Earlier(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Number of a bit of the file.
    Bit(usize),
    /// Number of a sector of the file.
    Sector(usize, Fill),
    /// Number of a block of the file.
    Block(usize, Fill),
}

/// One damage of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    pub file: usize,
    pub what: What,
}

impl Harm {
    pub fn bit(file: usize, bit: usize) -> Self {
        Self { file, what: What::Bit(bit) }
    }

    /// The bytes that it changes.
    pub fn range(&self) -> Range<usize> {
        match self.what {
            What::Bit(bit) => bit / 8..bit / 8 + 1,
            What::Sector(sector, _) => sector * SECTOR..(sector + 1) * SECTOR,
            What::Block(block, _) => block * BLOCK_SIZE..(block + 1) * BLOCK_SIZE,
        }
    }

    /// Does it; `earlier` is what the files held after each commit.
    pub fn apply(&self, files: &mut Files, earlier: &[Files]) {
        let range = self.range();
        let mut bytes = vec![0; range.len()];
        files.file(self.file).read(range.start, &mut bytes);
        match self.what {
            What::Bit(bit) => bytes[0] ^= 1 << (bit % 8),
            What::Sector(_, fill) | What::Block(_, fill) => match fill {
                Fill::Zeros => bytes.fill(0),
                Fill::Garbage => {
                    let mut rng = Rng::new(range.start as u64);
                    bytes.fill_with(|| rng.next() as u8);
                }
                Fill::Earlier(number) => {
                    bytes.fill(0);
                    if let Some(earlier) = earlier.get(number) {
                        earlier.file(self.file).read(range.start, &mut bytes);
                    }
                }
            },
        }
        files.file_mut(self.file).write(range.start, &bytes);
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", if self.file == IMAGE { "image" } else { "journal" })?;
        let (unit, number, fill) = match self.what {
            What::Bit(bit) => return write!(f, "bit.{bit}"),
            What::Sector(sector, fill) => ("sector", sector, fill),
            What::Block(block, fill) => ("block", block, fill),
        };
        write!(f, "{unit}.{number}.")?;
        match fill {
            Fill::Zeros => f.write_str("zeros"),
            Fill::Garbage => f.write_str("garbage"),
            Fill::Earlier(number) => write!(f, "earlier-{number}"),
        }
    }
}

impl FromStr for Harm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(());
        let file = match next()? {
            "image" => IMAGE,
            "journal" => JOURNAL,
            _ => return Err(()),
        };
        let unit = next()?;
        let number = next()?.parse().map_err(|_| ())?;
        if unit == "bit" {
            return Ok(Self::bit(file, number));
        }
        let fill = match next()? {
            "zeros" => Fill::Zeros,
            "garbage" => Fill::Garbage,
            other => {
                let number = other.strip_prefix("earlier-").ok_or(())?;
                Fill::Earlier(number.parse().map_err(|_| ())?)
            }
        };
        let what = match unit {
            "sector" => What::Sector(number, fill),
            "block" => What::Block(number, fill),
            _ => return Err(()),
        };
        Ok(Self { file, what })
    }
}
