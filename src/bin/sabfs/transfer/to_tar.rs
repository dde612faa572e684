//! From a volume into a tar archive: ustar headers, PAX records for what those cannot say, sparse files as
//! GNU tar writes them in PAX archives (version 1.0).

use super::outlet::{Content, Item, Outlet};
use super::tar_format::{BLOCK_BYTES, fits, format_time, header, padding, push_record, put};
use super::xattrs::to_key;
use super::{CHUNK_BYTES, Options, Progress};
use crate::text::host_failed;
use sabfs::format::FileKind;
use std::io::{self, Write};
use tar::{EntryType, Header};

/// Where a header has its name, and the longest one.
const NAME: (usize, usize) = (0, 100);
/// The same for the name that a link leads to.
const LINK: (usize, usize) = (157, 100);

/// A place for an archive.
pub trait Sink: Write {
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// An archive that takes what goes out.
pub struct ToTar<W> {
    sink: W,
    owners: bool,
    name: Vec<u8>,
    chunk: Vec<u8>,
}

impl<W: Sink> ToTar<W> {
    /// An archive; `name` is for messages.
    pub fn new(sink: W, name: &[u8], options: &Options) -> Self {
        // The archive keeps owners whoever writes it, unless that is not wanted.
        let owners = !options.drops_owners();
        Self { sink, owners, name: name.to_vec(), chunk: vec![0; CHUNK_BYTES] }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.sink.write_all(bytes).map_err(|error| host_failed("write", &self.name, error))
    }

    fn pad(&mut self, size_bytes: u64) -> Result<(), String> {
        let zeros = [0; BLOCK_BYTES];
        self.write(&zeros[..padding(size_bytes) as usize])
    }

    /// Writes the headers of an entry: `path` its name, `link` the name that it leads to, `stored_bytes`
    /// what follows, `records` what is to be said beside the usual.
    fn headers(
        &mut self,
        kind: EntryType,
        item: &Item<'_>,
        path: &[u8],
        link: &[u8],
        stored_bytes: u64,
        mut records: Vec<u8>,
    ) -> Result<(), String> {
        let mut head = header(kind);
        let meta = &item.meta;
        head.set_mode(meta.permissions);
        if !put(&mut head, NAME.0, NAME.1, path) {
            push_record(&mut records, b"path", path);
        }
        if !put(&mut head, LINK.0, LINK.1, link) {
            push_record(&mut records, b"linkpath", link);
        }
        let (uid, gid) = if self.owners { (meta.uid, meta.gid) } else { (0, 0) };
        let mut number = |key: &[u8], value: u64, digits, set: fn(&mut Header, u64)| {
            set(&mut head, if fits(value, digits) { value } else { 0 });
            if !fits(value, digits) {
                push_record(&mut records, key, value.to_string().as_bytes());
            }
        };
        number(b"uid", uid.into(), 7, Header::set_uid);
        number(b"gid", gid.into(), 7, Header::set_gid);
        number(b"size", stored_bytes, 11, Header::set_size);
        let seconds = u64::try_from(meta.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0);
        head.set_mtime(seconds);
        // The header has whole seconds since 1970.
        if meta.mtime_ns < 0 || meta.mtime_ns % 1_000_000_000 != 0 {
            push_record(&mut records, b"mtime", format_time(meta.mtime_ns).as_bytes());
        }
        push_record(&mut records, b"atime", format_time(meta.atime_ns).as_bytes());
        for (name, value) in item.xattrs {
            push_record(&mut records, &to_key(name), value);
        }
        if matches!(meta.kind, FileKind::Character | FileKind::Block) {
            let (major, minor) = (rustix::fs::major(meta.rdev), rustix::fs::minor(meta.rdev));
            let set = head.set_device_major(major).and_then(|()| head.set_device_minor(minor));
            set.map_err(|error| host_failed("describe the device", item.path, error))?;
        }
        head.set_cksum();
        let mut extended = header(EntryType::XHeader);
        put(&mut extended, NAME.0, NAME.1, b"PaxHeaders/entry");
        extended.set_mode(0o644);
        extended.set_uid(0);
        extended.set_gid(0);
        extended.set_size(records.len() as u64);
        extended.set_cksum();
        self.write(extended.as_bytes())?;
        self.write(&records)?;
        self.pad(records.len() as u64)?;
        self.write(head.as_bytes())
    }
}

impl<W: Sink> Outlet for ToTar<W> {
    fn directory(&mut self, item: &Item<'_>, _: &mut Progress) -> Result<(), String> {
        let mut path = item.path.to_vec();
        if path.is_empty() {
            path.push(b'.');
        }
        path.push(b'/');
        self.headers(EntryType::Directory, item, &path, b"", 0, Vec::new())
    }

    fn file(
        &mut self,
        item: &Item<'_>,
        content: &Content<'_>,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let data: u64 = content.pieces.iter().map(|piece| piece.1).sum();
        let size_bytes = item.meta.size_bytes;
        if data == size_bytes {
            self.headers(EntryType::Regular, item, item.path, b"", size_bytes, Vec::new())?;
        } else {
            // An empty piece at the end tells GNU tar that the file ends in a hole there.
            let end = content.pieces.last().map_or(0, |piece| piece.0 + piece.1);
            let hole = (end < size_bytes).then_some((size_bytes, 0));
            let mut map = format!("{}\n", content.pieces.len() + usize::from(hole.is_some()));
            for (offset, count) in content.pieces.iter().copied().chain(hole) {
                map += &format!("{offset}\n{count}\n");
            }
            let map_bytes = map.len() as u64;
            let stored_bytes = map_bytes + padding(map_bytes) + data;
            let mut records = Vec::new();
            push_record(&mut records, b"GNU.sparse.major", b"1");
            push_record(&mut records, b"GNU.sparse.minor", b"0");
            push_record(&mut records, b"GNU.sparse.name", item.path);
            push_record(&mut records, b"GNU.sparse.realsize", size_bytes.to_string().as_bytes());
            // Who does not know sparse files sees at least that this is none to be taken as it is.
            self.headers(EntryType::Regular, item, b"GNUSparseFile.0", b"", stored_bytes, records)?;
            self.write(map.as_bytes())?;
            self.pad(map_bytes)?;
        }
        for &(offset, count) in &content.pieces {
            let (mut at, end) = (offset, offset + count);
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.chunk.len());
                let got = content.read(item.path, at, &mut self.chunk[..want])?;
                let written = self.sink.write_all(&self.chunk[..got]);
                written.map_err(|error| host_failed("write", &self.name, error))?;
                at += got as u64;
                progress.advance(got as u64);
            }
        }
        self.pad(data)
    }

    fn symlink(&mut self, item: &Item<'_>, target: &[u8], _: &mut Progress) -> Result<(), String> {
        self.headers(EntryType::Symlink, item, item.path, target, 0, Vec::new())
    }

    fn special(&mut self, item: &Item<'_>, _: &mut Progress) -> Result<Option<&'static str>, String> {
        let kind = match item.meta.kind {
            FileKind::Fifo => EntryType::Fifo,
            FileKind::Character => EntryType::Char,
            FileKind::Block => EntryType::Block,
            _ => return Ok(Some("it is a socket, which archives cannot hold")),
        };
        self.headers(kind, item, item.path, b"", 0, Vec::new())?;
        Ok(None)
    }

    fn link(&mut self, item: &Item<'_>, first: &[Vec<u8>]) -> Result<(), String> {
        self.headers(EntryType::Link, item, item.path, &first.join(&b'/'), 0, Vec::new())
    }

    fn keeps_owners(&self) -> bool {
        self.owners
    }

    fn finish(&mut self) -> Result<(), String> {
        self.write(&[0; 2 * BLOCK_BYTES])?;
        self.sink.flush().map_err(|error| host_failed("write", &self.name, error))?;
        self.sink.sync().map_err(|error| host_failed("flush", &self.name, error))
    }
}
