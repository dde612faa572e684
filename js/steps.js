// What can be done with files. A step is one native call, or several that may be done again from the start; it is called with the
// native calls and the arguments. What has several steps is a generator, which yields the name of each with its arguments.

const opened = (flags) => {
  const known = typeof flags == 'string' ? FLAGS[flags] : undefined;
  if (!known) throw invalid(`the flags have to be one of ${Object.keys(FLAGS).join(', ')}, not ${String(flags)}`);
  return known;
};

const positionOf = (position) => {
  if (position === null || position === undefined) return -1;
  const number = Number(position);
  if (!Number.isSafeInteger(number) || number < 0) throw invalid(`a position has to be a whole number from 0 on, not ${position}`);
  return number;
};

// The part of a buffer that fs.read() and fs.write() of Node name by offset and length.
function part(buffer, offset = 0, length = undefined) {
  const bytes = bytesOf(buffer, 'the buffer');
  const count = length ?? bytes.length - offset;
  if (!(offset >= 0 && count >= 0 && offset + count <= bytes.length)) {
    throw invalid(`the buffer has ${bytes.length} bytes, not ${count} from ${offset} on`, 'ERANGE');
  }
  return offset == 0 && count == bytes.length ? bytes : bytes.subarray(offset, offset + count);
}

const handleOf = (handle) => {
  if (!Number.isInteger(handle) || handle < 0 || handle > 0xffff_ffff) throw new Refused(EBADF);
  return handle;
};

// All that read(view, offset) gives, beginning with a buffer of this size.
function collect(size, read) {
  let bytes = new Uint8Array(size), done = 0;
  for (;;) {
    done += read(bytes.subarray(done), done);
    if (done < bytes.length) return bytes.slice(0, done);
    // It may have grown meanwhile.
    const more = new Uint8Array(256), count = read(more, done);
    if (!count) return bytes;
    const longer = new Uint8Array(Math.max(done * 2, done + more.length));
    longer.set(bytes);
    longer.set(more.subarray(0, count), done);
    [bytes, done] = [longer, done + count];
    if (count < more.length) return bytes.slice(0, done);
  }
}

// How often a file is read that is another one's inode before all of it is read, until it is held for that.
const READ_TRIES = 4;

function readWhole(n, path, flag) {
  if (typeof path != 'number' && flag == 'r') {
    for (let tries = 0; tries < READ_TRIES; tries++) {
      n.by(path, (at, length) => n.x.sabfs_page_stat(at, length, 1));
      const [ino, generation, , , , , , size] = n.numbers(8);
      try {
        return collect(size, (view, offset) => n.readBy((at, part) => n.x.sabfs_page_read_inode(ino, generation, at, part), view, offset));
      } catch (error) {
        // ENOENT, ESTALE
        if (!(error instanceof Refused) || ![2, 116].includes(error.errno)) throw error;
      }
    }
  }
  const given = typeof path == 'number', handle = given ? path : CHANGING.open(n, path, flag);
  try {
    n.check(n.x.sabfs_page_stat(handleOf(handle), AS_HANDLE, 1));
    return collect(n.numbers(8)[7], (view, offset) => n.read(handle, view, offset));
  } finally {
    if (!given) n.x.sabfs_page_close(handle);
  }
}

// Steps that look only. No lock is taken for them as long as nobody changes what they look at.
const LOOKING = {
  read: (n, handle, buffer, offset, length, position) =>
    n.read(handleOf(handle), part(buffer, offset, length), positionOf(position)),
  pread: (n, handle, buffer, position = 0) => n.read(handleOf(handle), bytesOf(buffer, 'the buffer'), positionOf(position)),
  stat(n, path) {
    n.by(path, (at, length) => n.x.sabfs_page_stat(at, length, 1));
    return new Stats(n.numbers(18));
  },
  lstat(n, path) {
    n.by(path, (at, length) => n.x.sabfs_page_stat(at, length, 0));
    return new Stats(n.numbers(18));
  },
  fstat: (n, handle) => LOOKING.stat(n, handleOf(handle)),
  exists(n, path) {
    try {
      n.by(path, (at, length) => n.x.sabfs_page_stat(at, length, 1));
      return true;
    } catch (error) {
      // ENOENT, ENOTDIR, EINVAL, ENAMETOOLONG, ELOOP: it is not there; of anything else that is not said.
      if (error instanceof Refused && [2, 20, 22, 36, 40].includes(error.errno)) return false;
      throw error;
    }
  },
  readdir(n, path, options) {
    const encoding = encodingOf(options), bytes = n.output(n.by(path, (at, length) => n.x.sabfs_page_readdir(at, length)));
    const view = new DataView(bytes.buffer), entries = [];
    for (let at = 0; at < bytes.length;) {
      const length = view.getUint16(at + 6, true), name = decoded(bytes.slice(at + 8, at + 8 + length), encoding);
      entries.push(options?.withFileTypes ? new Dirent(name, KINDS[bytes[at + 4]], view.getUint32(at, true)) : name);
      at += 8 + length;
    }
    return entries;
  },
  readlink: (n, path, options) =>
    decoded(n.output(n.by(path, (at, length) => n.x.sabfs_page_readlink(at, length))), encodingOf(options)),
  statfs(n) {
    n.check(n.x.sabfs_page_statfs());
    const [bsize, blocks, bfree, files, ffree, namelen] = n.numbers(6);
    return { type: 0, bsize, blocks, bfree, bavail: bfree, files: files + ffree, ffree, namelen };
  },
  readFile(n, path, options) {
    const encoding = encodingOf(options);
    const bytes = readWhole(n, path, options?.flag ?? 'r');
    return encoding === 'utf8' ? decoded(bytes, encoding) : bytes;
  },
  // The number of a watcher.
  watch: (n, path, options) =>
    n.by(path, (at, length) => n.x.sabfs_page_watch(at, length, options?.recursive ? 1 : 0)),
  // What was held is given back when it can be.
  close: (n, handle) => { n.check(n.x.sabfs_page_close(handleOf(handle))); },
};

// Steps that only ask for a commit: they are done when it is there, and not done again.
const SYNCING = {
  fsync: (n, handle) => n.x.sabfs_page_fsync(handleOf(handle)),
  sync: (n) => n.x.sabfs_page_sync(),
};

// Steps that change something. On a page each is done under one gate, so that it is not refused half way.
const CHANGING = {
  open(n, path, flags = 'r', mode) {
    const [access, flag] = opened(flags), permissions = bits(mode, 0o644);
    return n.by(path, (at, length) => n.x.sabfs_page_open(at, length, access, flag, permissions));
  },
  write: (n, handle, data, ...where) => {
    // As Node has it: (string, position) or (buffer, offset, length, position).
    const [offset, length, position] = typeof data == 'string' ? [0, undefined, where[0]] : where;
    return n.write(handleOf(handle), part(data, offset, length), positionOf(position));
  },
  pwrite: (n, handle, data, position = 0) => n.write(handleOf(handle), bytesOf(data, 'the data'), positionOf(position)),
  mkdir(n, path, options) {
    const permissions = bits(typeof options == 'object' ? options?.mode : options, 0o755);
    const recursive = options?.recursive ? 1 : 0;
    n.by(path, (at, length) => n.x.sabfs_page_mkdir(at, length, permissions, recursive));
  },
  rmdir(n, path) { n.by(path, (at, length) => n.x.sabfs_page_rmdir(at, length)); },
  unlink(n, path) { n.by(path, (at, length) => n.x.sabfs_page_unlink(at, length)); },
  rename(n, from, to) { n.two(from, to, (...where) => n.x.sabfs_page_rename(...where)); },
  link(n, from, to) { n.two(from, to, (...where) => n.x.sabfs_page_link(...where)); },
  symlink(n, target, path) { n.two(target, path, (...where) => n.x.sabfs_page_symlink(...where)); },
  truncate(n, path, size = 0) {
    const bytes = positionOf(size ?? 0);
    n.by(path, (at, length) => n.x.sabfs_page_truncate(at, length, bytes));
  },
  ftruncate: (n, handle, size) => CHANGING.truncate(n, handleOf(handle), size),
  chmod(n, path, mode) {
    if (mode === undefined || mode === null) throw invalid('the mode has to be a number');
    n.by(path, (at, length) => n.x.sabfs_page_chmod(at, length, bits(mode)));
  },
  fchmod: (n, handle, mode) => CHANGING.chmod(n, handleOf(handle), mode),
  chown(n, path, uid, gid) { n.by(path, (at, length) => n.x.sabfs_page_chown(at, length, uid ?? -1, gid ?? -1, 1)); },
  lchown(n, path, uid, gid) { n.by(path, (at, length) => n.x.sabfs_page_chown(at, length, uid ?? -1, gid ?? -1, 0)); },
  utimes(n, path, atime, mtime) {
    n.by(path, (at, length) => n.x.sabfs_page_utimes(at, length, 1, ...timeOf(atime), ...timeOf(mtime)));
  },
  lutimes(n, path, atime, mtime) {
    n.by(path, (at, length) => n.x.sabfs_page_utimes(at, length, 0, ...timeOf(atime), ...timeOf(mtime)));
  },
  futimes: (n, handle, atime, mtime) => CHANGING.utimes(n, handleOf(handle), atime, mtime),
};

function* writeAll(path, data, options, flag) {
  const { flag: flags = flag, mode } = typeof options == 'object' && options || {};
  if (typeof options == 'string') encodingOf(options);
  const bytes = bytesOf(data, 'the data');
  const given = typeof path == 'number', handle = given ? path : yield ['open', path, flags, mode];
  try {
    // In pieces, as others wait while one is written.
    for (let done = 0; done < bytes.length;) done += yield ['write', handle, bytes.subarray(done, done + CHUNK)];
  } finally {
    if (!given) yield ['close', handle];
  }
}

const COMPOSED = {
  writeFile: (path, data, options) => writeAll(path, data, options, 'w'),
  appendFile: (path, data, options) => writeAll(path, data, options, 'a'),
  // Takes away whatever a path leads to.
  * rm(path, { recursive = false, force = false } = {}) {
    let stat;
    try {
      stat = yield ['lstat', path];
    } catch (error) {
      if (force && error instanceof Refused && error.errno == 2) return;
      throw error;
    }
    if (!stat.isDirectory()) return yield ['unlink', path];
    // EISDIR
    if (!recursive) throw new Refused(21);
    const bytes = bytesOf(path, 'the path');
    for (const name of yield ['readdir', path, { encoding: 'buffer' }]) {
      const inside = new Uint8Array(bytes.length + 1 + name.length);
      inside.set(bytes);
      inside[bytes.length] = 0x2f;
      inside.set(name, bytes.length + 1);
      yield* COMPOSED.rm(inside, { recursive, force: true });
    }
    yield ['rmdir', path];
  },
};

// How each is done: by a step, by a step that only asks for a commit, by a generator of steps, or in another way by a promise.
const OPERATIONS = Object.fromEntries([
  ...Object.entries({ ...LOOKING, ...XATTRS_LOOKING, ...LOCKING }).map(([name, step]) => [name, { step }]),
  ...Object.entries(SYNCING).map(([name, syncs]) => [name, { syncs }]),
  ...Object.entries({ ...CHANGING, ...XATTRS_CHANGING }).map(([name, step]) => [name, { step, changes: true }]),
  ...Object.entries(LOCKING_LATER),
  ...Object.entries(COMPOSED).map(([name, steps]) => [name, { steps, changes: true }]),
]);
