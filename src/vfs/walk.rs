//! Walking paths, with symlinks, as Linux does.
//!
//! A walk is confined to a directory, its root: absolute paths and absolute links start there, and ".."
//! does not lead out of it. Each step asks for search permission in the directory that it leaves.

use super::access::{Access, allowed};
use super::types::{Attr, Ino};
use super::{AsCaller, RenameFlags, Volume};
use crate::errno::Errno;
use crate::format::{FileKind, INO_ROOT, NAME_MAX};
use crate::store::Store;

/// Symlinks that one walk follows.
const LINKS_MAX: u32 = 40;
/// Longest path in bytes, as callers give it; links may make it longer on the way.
const PATH_MAX: usize = 4095;
/// No tree is deeper than it has directories; this bounds the way up in a damaged one.
const DEPTH_MAX: u32 = 1 << 20;

/// What `walk` does about the end of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Follow a symlink at the end. One with a slash behind it is followed in any case.
    pub follow_last: bool,
    /// `ELOOP` when the end is a symlink that is not followed, and none is: `O_NOFOLLOW`.
    pub refuse_link: bool,
    /// `ENOTDIR` when the end is not a directory: `O_DIRECTORY`. A slash at the end asks for it, too.
    pub directory: bool,
}

/// What is going to be done with the last name of a path; the end of the path is judged accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `mkdir`.
    MakeDirectory,
    /// `mknod`, `symlink`, and `link` for its new name.
    Make,
    /// `open` with `O_CREAT`.
    Open {
        /// Whether a symlink at the end is followed; not with `O_EXCL` or `O_NOFOLLOW`.
        follow: bool,
    },
    /// `unlink`.
    Unlink,
    /// `rmdir`.
    RemoveDirectory,
}

/// Where a walk has ended.
struct End {
    /// What the path leads to, or the directory that has its last name.
    attr: Attr,
    /// The last name, if the walk ended before it and the path has one.
    name: Option<Vec<u8>>,
    /// Whether slashes follow the last name.
    slash: bool,
}

/// How a walk treats the last name.
#[derive(Clone, Copy)]
enum Last {
    /// It is walked to.
    Taken { follow: bool },
    /// The walk ends before it, unless it is a symlink to follow.
    Left { follow: bool },
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

impl<S: Store> AsCaller<'_, S> {
    /// What a path leads to, from `start` on if it is not absolute.
    ///
    /// `root` is a directory that `start` is or lies below. `ENOENT` for an empty path, `ENAMETOOLONG`
    /// for one of more than 4,095 bytes or with a name of more than 255, `ENOTDIR` where a name follows
    /// what is no directory, `ELOOP` for more than 40 symlinks, `EACCES` in a directory that the caller
    /// may not search, `EXDEV` when ".." would lead out of `root` because a directory was moved.
    pub fn walk(&self, start: Ino, root: Ino, path: &[u8], options: WalkOptions) -> Result<Attr, Errno> {
        let follow = options.follow_last && !options.refuse_link;
        let end = self.run(start, root, path, Last::Taken { follow })?;
        match end.attr.kind {
            FileKind::Directory => {}
            _ if end.slash || options.directory => return Err(Errno::ENOTDIR),
            FileKind::Symlink if options.refuse_link => return Err(Errno::ELOOP),
            _ => {}
        }
        Ok(end.attr)
    }

    /// The directory that has the last name of a path, and that name, for an operation that takes both.
    ///
    /// Fails as `walk` does for the way there. The end is judged as Linux does for the purpose: a slash
    /// behind the name of what is no directory, and a path of slashes alone, are refused. "." and ".."
    /// are left to the operations, which refuse them, except for `Purpose::Open`, which is no
    /// operation of a volume.
    pub fn walk_parent(
        &self,
        start: Ino,
        root: Ino,
        path: &[u8],
        purpose: Purpose,
    ) -> Result<(Ino, Vec<u8>), Errno> {
        let follow = purpose == Purpose::Open { follow: true };
        let end = self.run(start, root, path, Last::Left { follow })?;
        let Some(name) = end.name else {
            return Err(match purpose {
                Purpose::MakeDirectory | Purpose::Make => Errno::EEXIST,
                Purpose::Open { .. } | Purpose::Unlink => Errno::EISDIR,
                Purpose::RemoveDirectory => Errno::EBUSY,
            });
        };
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let (dir, dots) = (end.attr.ino, is_dots(&name));
        match purpose {
            Purpose::Open { .. } if end.slash || dots => return Err(Errno::EISDIR),
            _ if !end.slash || dots => {}
            Purpose::Make => {
                self.lookup(dir, &name)?;
                return Err(Errno::EEXIST);
            }
            Purpose::Unlink => {
                let directory = self.lookup(dir, &name)?.kind == FileKind::Directory;
                return Err(if directory { Errno::EISDIR } else { Errno::ENOTDIR });
            }
            _ => {}
        }
        Ok((dir, name))
    }

    /// Renames from path to path, each with the directory that it starts from. Beside what `rename` and
    /// `walk` refuse: `ENOTDIR` for slashes behind the name of what is no directory, and is to be none.
    pub fn rename_paths(
        &self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        root: Ino,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        flags.check()?;
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let noreplace = flags.contains(RenameFlags::NOREPLACE);
        let (from, to) = (self.end(from, root)?, self.end(to, root)?);
        let Some(from_name) = from.name.filter(|name| !is_dots(name)) else {
            return Err(Errno::EBUSY);
        };
        let Some(to_name) = to.name.filter(|name| !is_dots(name)) else {
            return Err(if noreplace { Errno::EEXIST } else { Errno::EBUSY });
        };
        // Without slashes the operation itself has all to say.
        if from.slash || to.slash {
            let directory = self.lookup(from.attr.ino, &from_name)?.kind == FileKind::Directory;
            let target = self.lookup(to.attr.ino, &to_name).map(|attr| attr.kind);
            match target {
                Ok(_) if noreplace => return Err(Errno::EEXIST),
                Ok(kind) if exchange && to.slash && kind != FileKind::Directory => {
                    return Err(Errno::ENOTDIR);
                }
                Err(errno) if errno != Errno::ENOENT || exchange => return Err(errno),
                _ => {}
            }
            if !directory && (from.slash || !exchange) {
                return Err(Errno::ENOTDIR);
            }
        }
        self.rename(from.attr.ino, &from_name, to.attr.ino, &to_name, flags)
    }

    fn end(&self, (start, path): (Ino, &[u8]), root: Ino) -> Result<End, Errno> {
        self.run(start, root, path, Last::Left { follow: false })
    }

    fn run(&self, start: Ino, root: Ino, path: &[u8], last: Last) -> Result<End, Errno> {
        match path.len() {
            0 => return Err(Errno::ENOENT),
            len if len > PATH_MAX => return Err(Errno::ENAMETOOLONG),
            _ => {}
        }
        let mut rest = path.to_vec();
        let first = if rest[0] == b'/' { root } else { start };
        let mut at = self.volume.getattr(first)?;
        let (mut links, mut slash) = (0, false);
        loop {
            let from = rest.iter().position(|&byte| byte != b'/').unwrap_or(rest.len());
            let len = rest[from..].iter().position(|&byte| byte == b'/').unwrap_or(rest.len() - from);
            let (name, tail) = rest[from..].split_at(len);
            if name.is_empty() {
                return Ok(End { attr: at, name: None, slash });
            }
            if at.kind != FileKind::Directory {
                return Err(Errno::ENOTDIR);
            }
            let is_last = tail.iter().all(|&byte| byte == b'/');
            slash = is_last && !tail.is_empty();
            if is_last && let Last::Left { follow } = last {
                let link = follow && !slash && self.is_link(&at, name)?;
                if !link {
                    allowed(&at, self.caller, Access::EXEC)?;
                    return Ok(End { attr: at, name: Some(name.to_vec()), slash });
                }
            }
            let found = self.step(at.ino, root, name)?;
            let follows = match last {
                Last::Taken { follow } => !is_last || slash || follow,
                Last::Left { .. } => true,
            };
            if found.kind != FileKind::Symlink || !follows {
                rest = tail.to_vec();
                at = found;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::ELOOP);
            }
            let mut target = self.volume.readlink(found.ino)?;
            target.extend_from_slice(tail);
            rest = target;
            if rest[0] == b'/' {
                at = self.volume.getattr(root)?;
            }
        }
    }

    /// Whether a name that may be missing is that of a symlink.
    fn is_link(&self, dir: &Attr, name: &[u8]) -> Result<bool, Errno> {
        match self.lookup(dir.ino, name) {
            Ok(found) => Ok(found.kind == FileKind::Symlink),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn step(&self, dir: Ino, root: Ino, name: &[u8]) -> Result<Attr, Errno> {
        if name != b".." {
            return self.lookup(dir, name);
        }
        if dir == root {
            return self.lookup(dir, b".");
        }
        let parent = self.lookup(dir, name)?;
        if root == INO_ROOT || self.volume.is_below(parent.ino, root)? {
            Ok(parent)
        } else {
            Err(Errno::EXDEV)
        }
    }
}

impl<S: Store> Volume<S> {
    /// Whether `dir` is `root` or lies below it, as it is at one moment.
    fn is_below(&self, mut dir: Ino, root: Ino) -> Result<bool, Errno> {
        let _gate = self.gate()?;
        for _ in 0..DEPTH_MAX {
            if dir == root || dir == INO_ROOT {
                return Ok(dir == root);
            }
            let inode = self.core.read_inode(dir).map_err(|error| error.errno())?;
            if inode.kind != FileKind::Directory {
                return Err(Errno::EIO);
            }
            dir = inode.dir_root().parent.get();
        }
        Err(Errno::EIO)
    }
}
