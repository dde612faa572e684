//! From a tar archive into a volume: ustar, PAX and GNU archives, their three ways to write sparse files
//! included.

use super::intake::Intake;
use super::tar_format::{
    BLOCK_BYTES, Record, checksum_is_right, header_time, padding, parse_number, parse_records,
    parse_time,
};
use super::xattrs::{Xattr, from_key};
use super::{Meta, split};
use crate::text::{host_failed, shown};
use sabfs::format::FileKind;
use std::io::{self, ErrorKind, Read};
use tar::{GnuExtSparseHeader, Header};

/// The longest extended header or name that is read into memory.
const EXTENDED_MAX_BYTES: u64 = 1 << 20;
/// The most pieces of a sparse file.
const PIECES_MAX: u64 = 1 << 20;

/// A piece of a sparse file that has data: offset and length.
type Piece = (u64, u64);

/// Brings in what is in an archive.
pub fn import(intake: &mut Intake<'_>, source: &mut dyn Read, name: &[u8]) -> Result<(), String> {
    Archive { source, name, first: true, global: Vec::new() }.run(intake)
}

struct Archive<'a> {
    source: &'a mut dyn Read,
    name: &'a [u8],
    first: bool,
    /// Records that hold for all entries that follow.
    global: Vec<Record>,
}

/// What the headers of one entry say.
struct Entry {
    header: Header,
    path: Vec<u8>,
    link: Vec<u8>,
    /// Bytes in the archive.
    stored_bytes: u64,
    meta: Meta,
    records: Vec<Record>,
}

impl Entry {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        find(&self.records, key)
    }

    fn xattrs(&self) -> Vec<Xattr> {
        let records = self.records.iter();
        records.filter_map(|record| Some((from_key(&record.key)?, record.value.clone()))).collect()
    }
}

fn find<'r>(records: &'r [Record], key: &[u8]) -> Option<&'r [u8]> {
    records.iter().rev().find(|record| record.key == key).map(|record| record.value.as_slice())
}

impl Archive<'_> {
    fn wrong(&self, what: &str) -> String {
        format!("the archive {} is damaged: {what}", shown(self.name))
    }

    /// Reads one block; none at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, String> {
        let mut block = [0; BLOCK_BYTES];
        let mut done = 0;
        while done < BLOCK_BYTES {
            match self.source.read(&mut block[done..]) {
                Ok(0) if done == 0 => return Ok(None),
                Ok(0) => return Err(self.wrong("it ends within a block")),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(host_failed("read", self.name, error)),
            }
        }
        Ok(Some(block))
    }

    /// Reads all of something that goes with a header.
    fn extended(&mut self, size_bytes: u64) -> Result<Vec<u8>, String> {
        if size_bytes > EXTENDED_MAX_BYTES {
            return Err(self.wrong("an extended header is longer than 1 MiB"));
        }
        let mut bytes = vec![0; usize::try_from(size_bytes + padding(size_bytes)).unwrap_or(0)];
        self.source.read_exact(&mut bytes).map_err(|error| host_failed("read", self.name, error))?;
        bytes.truncate(size_bytes as usize);
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let skipped = io::copy(&mut (&mut *self.source).take(bytes), &mut io::sink());
        match skipped {
            Ok(count) if count == bytes => Ok(()),
            Ok(_) => Err(self.wrong("it ends within a file")),
            Err(error) => Err(host_failed("read", self.name, error)),
        }
    }

    fn run(&mut self, intake: &mut Intake<'_>) -> Result<(), String> {
        while let Some(entry) = self.next()? {
            self.entry(intake, &entry)?;
        }
        intake.finish()
    }

    fn next(&mut self) -> Result<Option<Entry>, String> {
        let (mut local, mut long_path, mut long_link) = (Vec::new(), None, None);
        loop {
            let Some(block) = self.block()? else {
                return match self.first {
                    true => Err(self.wrong("it is empty")),
                    false => Ok(None),
                };
            };
            if block.iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block).clone();
            if !checksum_is_right(&header) {
                return Err(match compression(&block) {
                    Some(unpack) if self.first => format!(
                        "the archive {} is compressed: use `{unpack} {0} | sabfs import VOLUME -`",
                        shown(self.name)
                    ),
                    _ => self.wrong("a header's checksum is wrong"),
                });
            }
            self.first = false;
            let size_bytes = header.entry_size().map_err(|_| self.wrong("a size is no number"))?;
            match block[156] {
                b'x' | b'X' => {
                    let bytes = self.extended(size_bytes)?;
                    let records = parse_records(&bytes);
                    local = records.ok_or_else(|| self.wrong("an extended header cannot be read"))?;
                }
                b'g' => {
                    let bytes = self.extended(size_bytes)?;
                    let records = parse_records(&bytes);
                    let records =
                        records.ok_or_else(|| self.wrong("an extended header cannot be read"))?;
                    // Later words about one thing replace earlier ones, and memory stays bounded.
                    self.global.retain(|old| records.iter().all(|new| new.key != old.key));
                    self.global.extend(records);
                    if self.global.len() > 10_000 {
                        return Err(self.wrong("its global headers have no end"));
                    }
                }
                b'L' => long_path = Some(without_zeros(self.extended(size_bytes)?)),
                b'K' => long_link = Some(without_zeros(self.extended(size_bytes)?)),
                _ => {
                    let mut records = self.global.clone();
                    records.extend(local);
                    return self.complete(header, records, long_path, long_link).map(Some);
                }
            }
        }
    }

    /// Puts together what all headers of an entry say.
    fn complete(
        &self,
        header: Header,
        records: Vec<Record>,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, String> {
        let number = |key: &[u8], field: io::Result<u64>, what: &str| match find(&records, key) {
            Some(value) => parse_number(value).ok_or_else(|| self.wrong(what)),
            None => field.map_err(|_| self.wrong(what)),
        };
        let id = |key: &[u8], field: io::Result<u64>, what: &str| {
            number(key, field, what).and_then(|id| u32::try_from(id).map_err(|_| self.wrong(what)))
        };
        let field_ns = header_time(&header).and_then(|mtime| mtime.checked_mul(1_000_000_000));
        let mtime_ns = match find(&records, b"mtime") {
            Some(value) => parse_time(value),
            None => field_ns,
        };
        let mtime_ns = mtime_ns.ok_or_else(|| self.wrong("a time cannot be read"))?;
        let atime_ns = match find(&records, b"atime") {
            Some(value) => parse_time(value).ok_or_else(|| self.wrong("a time cannot be read"))?,
            None => mtime_ns,
        };
        let path = [&b"GNU.sparse.name"[..], b"path"].iter().find_map(|key| find(&records, key));
        let path = match path {
            Some(path) => path.to_vec(),
            None => long_path.unwrap_or_else(|| header.path_bytes().into_owned()),
        };
        let link = match find(&records, b"linkpath") {
            Some(link) => link.to_vec(),
            None => long_link
                .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
                .unwrap_or_default(),
        };
        let device = |part: io::Result<Option<u32>>| {
            part.ok().flatten().ok_or_else(|| self.wrong("a device number cannot be read"))
        };
        let kind = match header.as_bytes()[156] {
            b'0' | 0 if path.last() == Some(&b'/') => FileKind::Directory,
            b'2' => FileKind::Symlink,
            b'3' => FileKind::Character,
            b'4' => FileKind::Block,
            b'5' => FileKind::Directory,
            b'6' => FileKind::Fifo,
            _ => FileKind::Regular,
        };
        let rdev = match kind {
            FileKind::Character | FileKind::Block => {
                rustix::fs::makedev(device(header.device_major())?, device(header.device_minor())?)
            }
            _ => 0,
        };
        let stored_bytes = number(b"size", header.entry_size(), "a size is no number")?;
        // So that it can be rounded up.
        if i64::try_from(stored_bytes).is_err() {
            return Err(self.wrong("a size is no number"));
        }
        let meta = Meta {
            kind,
            permissions: header.mode().map_err(|_| self.wrong("a mode is no number"))? & 0o7777,
            uid: id(b"uid", header.uid(), "an owner is no number")?,
            gid: id(b"gid", header.gid(), "a group is no number")?,
            rdev,
            size_bytes: stored_bytes,
            atime_ns,
            mtime_ns,
        };
        Ok(Entry { header, path, link, stored_bytes, meta, records })
    }

    fn entry(&mut self, intake: &mut Intake<'_>, entry: &Entry) -> Result<(), String> {
        let Entry { path, meta, .. } = entry;
        let kind = entry.header.as_bytes()[156];
        if kind == b'V' {
            // A label of the whole archive.
            return self.skip(entry.stored_bytes + padding(entry.stored_bytes));
        }
        let names = split(path)?;
        match kind {
            b'1' => {
                let target = split(&entry.link)?;
                let ino = intake.target(&target, &entry.link)?;
                intake.link(&names, path, ino)
            }
            b'2' => {
                let ino = intake.symlink(&names, path, &entry.link, meta)?;
                intake.xattrs(ino, path, &entry.xattrs())
            }
            b'3' | b'4' | b'6' => match intake.special(&names, path, meta)? {
                Some(ino) => intake.xattrs(ino, path, &entry.xattrs()),
                None => Ok(()),
            },
            _ if meta.kind == FileKind::Directory => {
                let ino = intake.directory(&names, path, meta)?;
                intake.xattrs(ino, path, &entry.xattrs())
            }
            b'0' | b'7' | b'S' | 0 => self.file(intake, &names, entry),
            _ => {
                intake.progress.leave_out(path, "its kind of entry is not known");
                self.skip(entry.stored_bytes + padding(entry.stored_bytes))
            }
        }
    }

    fn file(&mut self, intake: &mut Intake<'_>, names: &[&[u8]], entry: &Entry) -> Result<(), String> {
        let (path, mut meta) = (&entry.path, entry.meta);
        let mut left = entry.stored_bytes;
        let pieces = match self.sparse(entry, &mut left)? {
            Some((size_bytes, pieces)) => {
                meta.size_bytes = size_bytes;
                pieces
            }
            None => vec![(0, meta.size_bytes)],
        };
        let mut end = 0;
        for &(offset, count) in &pieces {
            let next =
                offset.checked_add(count).filter(|&next| offset >= end && next <= meta.size_bytes);
            end = next.ok_or_else(|| self.wrong("the pieces of a sparse file are out of order"))?;
        }
        if pieces.iter().map(|piece| piece.1).sum::<u64>() != left {
            return Err(self.wrong("a sparse file has other pieces than it says"));
        }
        // All of it or nothing: so that what does not fit is not even begun.
        intake.budget.check(path, left)?;
        let ino = intake.file(names, path, &meta)?;
        intake.xattrs(ino, path, &entry.xattrs())?;
        for (offset, count) in pieces {
            intake.data(ino, path, offset, count, self.source)?;
        }
        self.skip(padding(entry.stored_bytes))?;
        intake.complete(ino, path, &meta)
    }

    /// The size and the pieces of a sparse file, none if the entry is none. What it reads of the entry's
    /// data is taken off `left`.
    fn sparse(&mut self, entry: &Entry, left: &mut u64) -> Result<Option<(u64, Vec<Piece>)>, String> {
        let wrong = |archive: &Self| archive.wrong("the map of a sparse file cannot be read");
        let number = |key: &[u8]| entry.value(key).and_then(parse_number);
        if entry.header.as_bytes()[156] == b'S' {
            return self.old_sparse(entry).map(Some);
        }
        if number(b"GNU.sparse.major") == Some(1) {
            let size_bytes = number(b"GNU.sparse.realsize").ok_or_else(|| wrong(self))?;
            return Ok(Some((size_bytes, self.map_in_data(left)?)));
        }
        let Some(size_bytes) = number(b"GNU.sparse.size") else { return Ok(None) };
        let numbers: Option<Vec<u64>> = match entry.value(b"GNU.sparse.map") {
            Some(map) => map.split(|&byte| byte == b',').map(parse_number).collect(),
            None => {
                let keys = [&b"GNU.sparse.offset"[..], b"GNU.sparse.numbytes"];
                let parts = entry.records.iter().filter(|record| keys.contains(&&record.key[..]));
                parts.map(|record| parse_number(&record.value)).collect()
            }
        };
        let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2));
        let numbers = numbers.ok_or_else(|| wrong(self))?;
        Ok(Some((size_bytes, numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())))
    }

    /// The map of the newest way: decimal numbers, one a line, in blocks before the data.
    fn map_in_data(&mut self, left: &mut u64) -> Result<Vec<Piece>, String> {
        let wrong = "the map of a sparse file cannot be read";
        let (mut numbers, mut digits, mut wanted) = (Vec::new(), Vec::new(), 1);
        while (numbers.len() as u64) < wanted {
            *left = left.checked_sub(BLOCK_BYTES as u64).ok_or_else(|| self.wrong(wrong))?;
            let block = self.block()?.ok_or_else(|| self.wrong(wrong))?;
            for byte in block {
                if numbers.len() as u64 == wanted {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(self.wrong(wrong));
                    }
                    continue;
                }
                let number = parse_number(&digits).ok_or_else(|| self.wrong(wrong))?;
                digits.clear();
                numbers.push(number);
                if numbers.len() == 1 {
                    let pieces = Some(number).filter(|&count| count <= PIECES_MAX);
                    wanted = 1 + 2 * pieces.ok_or_else(|| self.wrong(wrong))?;
                }
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// The map of the oldest way: in the header, and in blocks between it and the data.
    fn old_sparse(&mut self, entry: &Entry) -> Result<(u64, Vec<Piece>), String> {
        let wrong = "the map of a sparse file cannot be read";
        let gnu = entry.header.as_gnu().ok_or_else(|| self.wrong(wrong))?;
        let size_bytes = gnu.real_size().map_err(|_| self.wrong(wrong))?;
        let mut pieces = Vec::new();
        let mut more = gnu.is_extended();
        let mut add = |archive: &Self, header: &tar::GnuSparseHeader| {
            if !header.is_empty() {
                let piece = header.offset().and_then(|offset| Ok((offset, header.length()?)));
                pieces.push(piece.map_err(|_| archive.wrong(wrong))?);
            }
            Ok::<_, String>(pieces.len() as u64)
        };
        for header in &gnu.sparse {
            add(self, header)?;
        }
        while more {
            let block = self.block()?.ok_or_else(|| self.wrong(wrong))?;
            let mut extended = GnuExtSparseHeader::new();
            extended.as_mut_bytes().copy_from_slice(&block);
            for header in extended.sparse() {
                if add(self, header)? > PIECES_MAX {
                    return Err(self.wrong(wrong));
                }
            }
            more = extended.is_extended();
        }
        Ok((size_bytes, pieces))
    }
}

/// The program that unpacks what begins like this.
fn compression(block: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 4] = [
        (&[0x1f, 0x8b], "gzip -dc"),
        (b"BZh", "bzip2 -dc"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz -dc"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd -dc"),
    ];
    MAGICS.iter().find(|(magic, _)| block.starts_with(magic)).map(|(_, program)| *program)
}

fn without_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}
