// Random calls on a volume and on a folder of the host: both have to answer the same.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

const NAMES = ['a', 'b', 'c', 'a/b', 'a/c', 'b/a', 'a/b/c', 'b/link', 'link', 'c/', 'a/../b', './a', 'a//b', 'link/x', 'x'.repeat(256)];
// None leads out of the tree, wherever the link is moved.
const TARGETS = ['a', 'b', 'c', 'a/../b', './c/', 'link', 'none/x'];

// What a call of both is compared by.
async function answer(call) {
  try {
    return { value: await call() };
  } catch (error) {
    if (!error.code) throw error;
    return { code: error.code };
  }
}

const kindOf = (s) => ['isFile', 'isDirectory', 'isSymbolicLink'].map((is) => s[is]());

function shown(s) {
  // Sizes of directories and blocks are a file system's own.
  const size = s.isDirectory() ? 0 : s.size;
  return { kind: kindOf(s), mode: s.mode & 0o7777, nlink: s.nlink, size };
}

/** volume: the synchronous calls, or those by promises. Gives how many calls there were. */
export async function compareWithHost(volume, folder, random, calls) {
  const pick = (from) => from[Math.floor(random() * from.length)];
  const number = (below) => Math.floor(random() * below);
  const host = (name) => path.join(folder, '.') + '/' + name;
  const handles = [];
  const data = () => new Uint8Array(number(random() < 0.2 ? 20_000 : 300)).map(() => number(256));
  // Each makes a call: [what it is, ours, the host's].
  const kinds = {
    writeFile() {
      const name = pick(NAMES), bytes = data(), options = { flag: pick(['w', 'a', 'wx', 'r+']), mode: 0o640 };
      return [name, () => volume.writeFile(name, bytes, options), () => fs.writeFileSync(host(name), bytes, options)];
    },
    appendFile() {
      const name = pick(NAMES), bytes = data();
      return [name, () => volume.appendFile(name, bytes, { mode: 0o600 }), () => fs.appendFileSync(host(name), bytes, { mode: 0o600 })];
    },
    readFile() {
      const name = pick(NAMES);
      return [name, async () => [...await volume.readFile(name)], () => [...fs.readFileSync(host(name))]];
    },
    stat() {
      const name = pick(NAMES);
      return [name, async () => shown(await volume.stat(name)), () => shown(fs.statSync(host(name)))];
    },
    lstat() {
      const name = pick(NAMES);
      return [name, async () => shown(await volume.lstat(name)), () => shown(fs.lstatSync(host(name)))];
    },
    exists() {
      const name = pick(NAMES);
      return [name, () => volume.exists(name), () => fs.existsSync(host(name))];
    },
    readdir() {
      const name = pick(NAMES);
      const entries = (list) => list.map((entry) => [entry.name, ...kindOf(entry)]).sort();
      return [name, async () => entries(await volume.readdir(name, { withFileTypes: true })),
        () => entries(fs.readdirSync(host(name), { withFileTypes: true }))];
    },
    mkdir() {
      const name = pick(NAMES), options = { mode: 0o750, recursive: random() < 0.3 };
      return [`${name} ${options.recursive}`, async () => { await volume.mkdir(name, options); },
        () => { fs.mkdirSync(host(name), options); }];
    },
    rmdir() {
      const name = pick(NAMES);
      return [name, () => volume.rmdir(name), () => fs.rmdirSync(host(name))];
    },
    unlink() {
      const name = pick(NAMES);
      return [name, () => volume.unlink(name), () => fs.unlinkSync(host(name))];
    },
    rename() {
      const from = pick(NAMES), to = pick(NAMES);
      return [`${from} ${to}`, () => volume.rename(from, to), () => fs.renameSync(host(from), host(to))];
    },
    link() {
      const from = pick(NAMES), to = pick(NAMES);
      return [`${from} ${to}`, () => volume.link(from, to), () => fs.linkSync(host(from), host(to))];
    },
    symlink() {
      const target = pick(TARGETS), name = pick(NAMES);
      return [`${target} ${name}`, () => volume.symlink(target, name), () => fs.symlinkSync(target, host(name))];
    },
    readlink() {
      const name = pick(NAMES);
      return [name, () => volume.readlink(name), () => fs.readlinkSync(host(name))];
    },
    truncate() {
      const name = pick(NAMES), size = number(12_000);
      return [`${name} ${size}`, () => volume.truncate(name, size), () => fs.truncateSync(host(name), size)];
    },
    chmod() {
      const name = pick(NAMES), mode = 0o600 | number(0o200);
      return [`${name} ${mode}`, () => volume.chmod(name, mode), () => fs.chmodSync(host(name), mode)];
    },
    utimes() {
      const name = pick(NAMES), time = 1e9 + number(1e9) + number(4) / 4;
      const seen = (s) => Math.round(s.mtimeMs * 1000);
      return [`${name} ${time}`, async () => { await volume.utimes(name, time, time); return seen(await volume.stat(name)); },
        () => { fs.utimesSync(host(name), time, time); return seen(fs.statSync(host(name))); }];
    },
    rm() {
      const name = pick(NAMES), options = { recursive: random() < 0.5, force: random() < 0.5 };
      // Node wraps these errors, says ERR_FS_EISDIR, and leaves symlinks with a slash behind them alone.
      const plain = name.replace(/\/+$/, '');
      return [`${plain} ${JSON.stringify(options)}`, () => volume.rm(plain, options), () => {
        try {
          fs.rmSync(host(plain), options);
        } catch (error) {
          throw Object.assign(error, { code: error.code === 'ERR_FS_EISDIR' ? 'EISDIR' : error.code });
        }
      }];
    },
    // Handles: both tables have the same ones at the same places.
    open() {
      const name = pick(NAMES), flags = pick(['r', 'r+', 'w', 'w+', 'wx', 'a', 'a+', 'ax']), pair = {};
      return [`${name} ${flags}`, async () => { pair.ours = await volume.open(name, flags, 0o644); },
        () => { pair.theirs = fs.openSync(host(name), flags, 0o644); handles.push(pair); }];
    },
    close() {
      if (!handles.length) return kinds.open();
      const [{ ours, theirs }] = handles.splice(number(handles.length), 1);
      return [`${ours}`, () => volume.close(ours), () => fs.closeSync(theirs)];
    },
    read() {
      if (!handles.length) return kinds.open();
      const { ours, theirs } = pick(handles), length = number(6000), position = random() < 0.5 ? null : number(9000);
      const read = async (call) => {
        const bytes = new Uint8Array(length);
        const count = await call(bytes);
        return [count, ...bytes];
      };
      return [`${ours} ${length} ${position}`, () => read((bytes) => volume.read(ours, bytes, 0, length, position)),
        () => read((bytes) => fs.readSync(theirs, bytes, 0, length, position))];
    },
    write() {
      if (!handles.length) return kinds.open();
      const { ours, theirs } = pick(handles), bytes = data(), position = random() < 0.5 ? null : number(9000);
      return [`${ours} ${bytes.length} ${position}`, () => volume.write(ours, bytes, 0, bytes.length, position),
        () => fs.writeSync(theirs, bytes, 0, bytes.length, position)];
    },
    fstat() {
      if (!handles.length) return kinds.open();
      const { ours, theirs } = pick(handles);
      return [`${ours}`, async () => shown(await volume.fstat(ours)), () => shown(fs.fstatSync(theirs))];
    },
    ftruncate() {
      if (!handles.length) return kinds.open();
      const { ours, theirs } = pick(handles), size = number(9000);
      return [`${ours} ${size}`, () => volume.ftruncate(ours, size), () => fs.ftruncateSync(theirs, size)];
    },
    fsync() {
      if (!handles.length) return kinds.open();
      const { ours, theirs } = pick(handles);
      return [`${ours}`, () => volume.fsync(ours), () => fs.fsyncSync(theirs)];
    },
  };
  const umask = process.umask(0);
  let errors = 0;
  try {
    for (let call = 0; call < calls; call++) {
      const kind = pick(Object.keys(kinds)), [what, ours, theirs] = kinds[kind]();
      const [mine, hosts] = [await answer(ours), await answer(theirs)];
      if (hosts.code) errors++;
      assert.deepEqual(mine, hosts, `call ${call}: ${kind} ${what}`);
    }
    await compareTrees(volume, folder, '');
  } finally {
    process.umask(umask);
    for (const { ours, theirs } of handles) {
      await volume.close(ours);
      fs.closeSync(theirs);
    }
  }
  return { calls, errors };
}

async function compareTrees(volume, folder, name) {
  const names = (await volume.readdir(`/${name}`)).sort();
  assert.deepEqual(names, fs.readdirSync(path.join(folder, name)).sort(), name);
  for (const inside of names) {
    const below = `${name}/${inside}`, ours = await volume.lstat(below), theirs = fs.lstatSync(folder + below);
    assert.deepEqual(shown(ours), shown(theirs), below);
    if (ours.isDirectory()) await compareTrees(volume, folder, below);
    else if (ours.isFile()) assert.deepEqual([...await volume.readFile(below)], [...fs.readFileSync(folder + below)], below);
    else assert.equal(await volume.readlink(below), fs.readlinkSync(folder + below));
  }
}
