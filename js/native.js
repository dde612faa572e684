// The native calls of one store, with their arguments and results as JavaScript has them. Each throws Refused with the number
// of its error.
const ENCODER = new TextEncoder();
const CHUNK = 1 << 20;
// Instead of a path's length: its place is a handle.
const AS_HANDLE = 0xffff_ffff;
// Bits of OpenMode and OpenFlags.
const READ = 1, WRITE = 2, APPEND = 4, DSYNC = 8, SYNC = 24;
const CREATE = 1, EXCLUSIVE = 2, TRUNCATE = 4, NO_FOLLOW = 8, DIRECTORY = 16;

const FLAGS = {
  'r': [READ, 0],
  'rs': [READ | SYNC, 0],
  'r+': [READ | WRITE, 0],
  'rs+': [READ | WRITE | SYNC, 0],
  'w': [WRITE, CREATE | TRUNCATE],
  'wx': [WRITE, CREATE | TRUNCATE | EXCLUSIVE],
  'w+': [READ | WRITE, CREATE | TRUNCATE],
  'wx+': [READ | WRITE, CREATE | TRUNCATE | EXCLUSIVE],
  'a': [WRITE | APPEND, CREATE],
  'ax': [WRITE | APPEND, CREATE | EXCLUSIVE],
  'as': [WRITE | APPEND | SYNC, CREATE],
  'a+': [READ | WRITE | APPEND, CREATE],
  'ax+': [READ | WRITE | APPEND, CREATE | EXCLUSIVE],
  'as+': [READ | WRITE | APPEND | SYNC, CREATE],
};

// Kinds as in `d_type`, and as in `st_mode`.
const KINDS = { 1: 'fifo', 2: 'character', 4: 'directory', 6: 'block', 8: 'file', 10: 'symlink', 12: 'socket' };

class Kinds {
  isFile() { return this.kind === 'file'; }
  isDirectory() { return this.kind === 'directory'; }
  isSymbolicLink() { return this.kind === 'symlink'; }
  isFIFO() { return this.kind === 'fifo'; }
  isSocket() { return this.kind === 'socket'; }
  isBlockDevice() { return this.kind === 'block'; }
  isCharacterDevice() { return this.kind === 'character'; }
}

class Stats extends Kinds {
  // Seconds and nanoseconds of each time.
  #times;

  constructor(n) {
    super();
    this.ino = n[0];
    this.generation = n[1];
    this.mode = n[2];
    this.nlink = n[3];
    this.uid = n[4];
    this.gid = n[5];
    this.rdev = n[6];
    this.size = n[7];
    this.blksize = 4096;
    // As everywhere, in units of 512 bytes.
    this.blocks = n[8] * 8;
    this.kind = KINDS[n[2] >> 12];
    this.atimeMs = n[9] * 1000 + n[10] / 1e6;
    this.mtimeMs = n[11] * 1000 + n[12] / 1e6;
    this.ctimeMs = n[13] * 1000 + n[14] / 1e6;
    this.birthtimeMs = n[15] * 1000 + n[16] / 1e6;
    this.change = n[17];
    this.#times = n.slice(9, 17);
  }

  #ns(at) { return BigInt(this.#times[at]) * 1_000_000_000n + BigInt(this.#times[at + 1]); }
  get atimeNs() { return this.#ns(0); }
  get mtimeNs() { return this.#ns(2); }
  get ctimeNs() { return this.#ns(4); }
  get birthtimeNs() { return this.#ns(6); }
  get atime() { return new Date(this.atimeMs); }
  get mtime() { return new Date(this.mtimeMs); }
  get ctime() { return new Date(this.ctimeMs); }
  get birthtime() { return new Date(this.birthtimeMs); }
}

class Dirent extends Kinds {
  constructor(name, kind, ino) {
    super();
    Object.assign(this, { name, kind, ino });
  }
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// Text of the volume, which has bytes; 'buffer' asks for these.
function decoded(bytes, encoding) {
  if (encoding === 'buffer') return bytes;
  try {
    return DECODER.decode(bytes);
  } catch {
    // EILSEQ
    throw new Refused(84);
  }
}

function bytesOf(data, what) {
  if (typeof data == 'string') return ENCODER.encode(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (/^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(data))) return new Uint8Array(data);
  throw invalid(`${what} has to be a string, an ArrayBuffer or a view of one, not ${data === null ? 'null' : typeof data}`);
}

function encodingOf(options) {
  const encoding = typeof options == 'string' ? options : options?.encoding ?? null;
  if (encoding === null || encoding === 'buffer') return encoding;
  if (/^utf-?8$/i.test(encoding)) return 'utf8';
  throw invalid(`the encoding has to be "utf8" or "buffer", not ${JSON.stringify(encoding)}`);
}

function bits(value, fallback, what = 'mode') {
  if (value === undefined || value === null) return fallback;
  const number = typeof value == 'string' && /^[0-7]+$/.test(value) ? parseInt(value, 8) : value;
  if (!Number.isInteger(number) || number < 0 || number > 0xffff_ffff) throw invalid(`the ${what} has to be a number, not ${value}`);
  return number & 0o7777;
}

// A time in seconds, a Date, or nanoseconds as a BigInt: [seconds, nanoseconds].
function timeOf(value) {
  if (value === undefined || value === null) return [NaN, 0];
  if (typeof value == 'bigint') {
    const ns = BigInt.asIntN(64, value), rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    return [Number((ns - rest) / 1_000_000_000n), Number(rest)];
  }
  const s = value instanceof Date ? value.getTime() / 1000 : Number(value);
  if (!Number.isFinite(s)) throw invalid(`a time has to be in seconds, a Date or a BigInt of nanoseconds, not ${value}`);
  // Microseconds are what a floating-point number of seconds has.
  const us = Math.round((s - Math.floor(s)) * 1e6);
  return [Math.floor(s) + (us == 1e6 ? 1 : 0), us == 1e6 ? 0 : us * 1000];
}

class Native {
  constructor(host) {
    this.host = host;
    this.x = host.x;
    this.at = 0;
    this.room = 0;
  }

  // Address of the input, which has room for so many bytes.
  input(count) {
    if (count > this.room) {
      this.room = Math.max(count, 8192);
      this.at = this.x.sabfs_page_input(this.room);
    }
    return this.at;
  }

  check(status) {
    if (status < 0) throw new Refused(-status);
    return status;
  }

  // Puts a path into the input; gives its length.
  put(path, offset = 0) {
    if (typeof path != 'string') {
      if (!ArrayBuffer.isView(path)) throw invalid(`a path has to be a string or bytes, not ${path === null ? 'null' : typeof path}`);
      const bytes = bytesOf(path);
      this.input(offset + bytes.length);
      this.host.u8.set(bytes, this.at + offset);
      return bytes.length;
    }
    if (path.isWellFormed?.() === false) throw new Refused(84);
    const room = path.length * 3;
    this.input(offset + room);
    return ENCODER.encodeInto(path, this.host.u8.subarray(this.at + offset, this.at + offset + room)).written;
  }

  // Calls with a path, or with a handle instead of it.
  by(target, call) {
    if (typeof target == 'number') return this.check(call(target, AS_HANDLE));
    const length = this.put(target);
    return this.check(call(0, length));
  }

  two(from, to, call) {
    // Both have to fit before the first one is there, as the input may move.
    this.input(3 * ((from?.length ?? 0) + (to?.length ?? 0)));
    const length = this.put(from), second = this.put(to, length);
    return this.check(call(0, length, length, second));
  }

  output(length) {
    const at = this.x.sabfs_page_output();
    return this.host.u8.slice(at, at + length);
  }

  numbers(count) {
    const at = this.x.sabfs_page_numbers() >> 3;
    return this.host.f64.subarray(at, at + count);
  }

  // Reads into a view, at an offset or, if that is negative, at the handle's position; gives how many bytes.
  read(handle, view, offset) {
    return this.readBy((at, part) => this.x.sabfs_page_read(handle, at, part), view, offset);
  }

  readBy(call, view, offset) {
    let done = 0;
    while (done < view.length) {
      const part = Math.min(view.length - done, CHUNK), at = this.input(part);
      const count = call(offset < 0 ? -1 : offset + done, part);
      // What was read at the position is not read again.
      if (count < 0 && done && offset < 0) break;
      this.check(count);
      const u8 = this.host.u8;
      if (count == view.length) view.set(u8.subarray(at, at + count));
      else view.set(u8.subarray(at, at + count), done);
      done += count;
      if (count < part) break;
    }
    return done;
  }

  write(handle, view, offset) {
    let done = 0;
    do {
      const part = Math.min(view.length - done, CHUNK), at = this.input(part);
      this.host.u8.set(part == view.length ? view : view.subarray(done, done + part), at);
      const count = this.x.sabfs_page_write(handle, offset < 0 ? -1 : offset + done, part);
      if (count < 0 && done) break;
      done += this.check(count);
      if (count < part) break;
    } while (done < view.length);
    return done;
  }

  // Name and meaning of an error.
  error(errno) {
    const [name, text] = new TextDecoder().decode(this.output(this.x.sabfs_page_error(errno))).split('\0');
    return { name, text };
  }
}
