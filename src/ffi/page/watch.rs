//! Watchers for JavaScript, which calls until there is nothing and then sleeps on a word of the store.

use super::{count, with};
use crate::errno::Errno;
use crate::vfs::WatchedTree;

/// Begins to watch what a path leads to: the watcher's number, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_watch(at: usize, len: usize, recursive: u32) -> i32 {
    let watched = with(|page| {
        let ino = page.target(at, len, true)?;
        Ok((page.volume()?.clone(), ino))
    });
    // Not while the page is borrowed: what fails is dropped here.
    let tree = watched.and_then(|(volume, ino)| WatchedTree::new(&volume, ino, recursive != 0));
    match tree {
        Ok(tree) => with(|page| page.watched.put(tree)),
        Err(errno) => -Errno::linux(errno),
    }
}

/// Ends a watch.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_unwatch(number: i32) {
    drop(with(|page| page.watched.take(number)));
}

/// The next event as output: length in bytes, 0 when there is none by now, or a negative errno. u8 what happened, u8 type as
/// in `d_type`, u16 length of the path, u32 inode, u32 client, path, and where it was before.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_watch_next(number: i32) -> i32 {
    count(with(|page| {
        let Some(event) = page.watched.get(number).ok_or(Errno::EBADF)?.next_event()? else {
            return Ok(0);
        };
        let output = &mut page.output;
        output.clear();
        output.extend([event.change as u8, event.kind.dirent()]);
        // Paths have no limit, but an event that does not fit is nobody's use.
        let len = u16::try_from(event.path.len()).map_err(|_| Errno::ENAMETOOLONG)?;
        output.extend(len.to_le_bytes());
        output.extend(event.ino.to_le_bytes());
        output.extend(event.client.to_le_bytes());
        output.extend(event.path.iter().chain(&event.from));
        Ok(output.len())
    }))
}

/// 1 when there is nothing: the first two numbers are the offset of a word of the store on which to sleep and its value.
/// Otherwise 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_watch_sleep(number: i32) -> i32 {
    with(|page| match page.watched.get(number) {
        Some(tree) => {
            let sleep = tree.sleep();
            page.sleep(Ok(sleep))
        }
        None => -Errno::EBADF.linux(),
    })
}
