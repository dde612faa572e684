// The module for JavaScript in Node: compared with node:fs call by call, and sharing stores with Emscripten programs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { chooseSeed, assertSound, temporaryFolder } from '../kill/rounds.mjs';
import { randomNumbers } from '../kill/random.mjs';
import { clients, counts } from '../programs/share_host.mjs';
import { SABFS, SABFSError } from '../../dist/js/index.js';
import { compareWithHost } from './page-compare.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const program = pathToFileURL(path.join(root, 'dist/programs/share-st-esm.mjs')).href;
const GATE = 64 >> 2, CLIENTS = 4096 >> 2;
const CAPACITY = 32 << 20;

const inMemory = async (t, options = {}) => {
  const volume = await SABFS.create({ durability: 'memory', capacity: CAPACITY, ...options });
  t.after(() => volume.detach());
  return volume;
};

for (const access of ['two-memory', 'one-memory', 'javascript']) {
  test(`calls answer as those of node:fs do, ${access}`, async (t) => {
    const volume = await inMemory(t, { access });
    assert.equal(volume.access, access);
    const seed = chooseSeed(), folder = temporaryFolder(t);
    const count = await compareWithHost(volume, folder, randomNumbers(seed), 4000);
    t.diagnostic(`seed ${seed}: ${count.calls} calls, ${count.errors} of them errors`);
    assert.ok(count.errors > 400 && count.calls - count.errors > 400);
  });
}

test('calls by promises answer the same', async (t) => {
  const volume = await inMemory(t);
  const seed = chooseSeed(), folder = temporaryFolder(t);
  const count = await compareWithHost(volume.promises, folder, randomNumbers(seed), 2000);
  t.diagnostic(`seed ${seed}: ${count.calls} calls, ${count.errors} of them errors`);
});

test('an error says what was being done', async (t) => {
  const volume = await inMemory(t);
  const check = (error) => {
    assert.ok(error instanceof SABFSError && error instanceof Error);
    assert.deepEqual([error.code, error.errno, error.syscall, error.path], ['ENOENT', -2, 'readFile', '/no/such']);
    assert.equal(error.message, 'SABFS: cannot readFile "/no/such": no such file or directory');
    return true;
  };
  assert.throws(() => volume.readFile('/no/such'), check);
  await assert.rejects(volume.promises.readFile('/no/such'), check);
  assert.throws(() => volume.rename('/a', '/b'), { code: 'ENOENT', path: '/a', dest: '/b' });
  assert.throws(() => volume.pread(7, new Uint8Array(1)), { code: 'EBADF', syscall: 'pread', message: /handle 7/ });
  assert.throws(() => volume.open('/x', 'q'), { code: 'EINVAL', message: /flags have to be one of r, rs/ });
  assert.throws(() => volume.readFile('/x', 'latin1'), { code: 'EINVAL', message: /"utf8"/ });
  assert.throws(() => volume.stat('/\ud800'), { code: 'EILSEQ' });
  assert.throws(() => volume.stat(null), { code: 'EINVAL', message: /a path has to be/ });
  await assert.rejects(SABFS.create({ path: '/x' }), { code: 'EINVAL', message: /no option "path"/ });
  await assert.rejects(SABFS.create({ speed: 'high' }), { code: 'EINVAL', message: /no option "speed"/ });
  await assert.rejects(SABFS.attach({}), { code: 'EINVAL', message: /"store" has to be a shared/ });
  const empty = new WebAssembly.Memory({ initial: 600, maximum: 600, shared: true });
  await assert.rejects(SABFS.attach(empty), { code: 'ENODEV', message: /no volume is mounted in it/ });
});

test('names, times and sizes at the edges', async (t) => {
  const volume = await inMemory(t);
  // A name that is no text.
  volume.writeFile(new Uint8Array([0x2f, 0xff, 0xfe]), 'bytes');
  assert.throws(() => volume.readdir('/'), { code: 'EILSEQ' });
  assert.deepEqual(volume.readdir('/', { encoding: 'buffer' }), [new Uint8Array([0xff, 0xfe])]);
  assert.equal(volume.readFile(new Uint8Array([0x2f, 0xff, 0xfe]), 'utf8'), 'bytes');
  volume.unlink(new Uint8Array([0x2f, 0xff, 0xfe]));
  // Nanoseconds, also before 1970, and a file of 5 GB with a hole in it.
  volume.writeFile('/f', '');
  volume.utimes('/f', -1n, 1_700_000_000_123_456_789n);
  const { atimeNs, mtimeNs, mtimeMs, mtime } = volume.stat('/f');
  assert.deepEqual([atimeNs, mtimeNs, mtimeMs], [-1n, 1_700_000_000_123_456_789n, 1_700_000_000_123.456789]);
  assert.equal(mtime.getTime(), 1_700_000_000_123);
  const handle = volume.open('/f', 'r+');
  assert.equal(volume.pwrite(handle, 'end', 5e9), 3);
  assert.equal(volume.fstat(handle).size, 5e9 + 3);
  const end = new Uint8Array(8);
  assert.equal(volume.pread(handle, end, 5e9 - 2), 5);
  assert.deepEqual([...end], [0, 0, 101, 110, 100, 0, 0, 0]);
  volume.close(handle);
  // More than one piece of what is handed over at a time, and what grows from nothing.
  const bytes = new Uint8Array(3_500_001).map((_, index) => index % 251);
  volume.writeFile('/f', bytes);
  assert.deepEqual(volume.readFile('/f'), bytes);
  volume.appendFile('/f', 'more');
  assert.equal(volume.stat('/f').size, bytes.length + 4);
  assert.deepEqual(volume.readFile('/f').subarray(-4), new TextEncoder().encode('more'));
  const room = volume.statfs();
  assert.ok(room.bsize == 4096 && room.bfree < room.blocks && room.namelen == 255);
  assert.throws(() => volume.writeFile('/g', new Uint8Array(CAPACITY)), { code: 'ENOSPC' });
});

test('extended attributes', async (t) => {
  const volume = await inMemory(t), other = await SABFS.attach(volume.store), { promises } = other;
  volume.writeFile('/f', 'text');
  volume.symlink('/f', '/link');
  const handle = volume.open('/f', 'r'), bytes = new Uint8Array([0, 255, 7]);
  volume.setxattr('/f', 'user.one', 'ein Wört');
  await promises.setxattr('/link', 'user.two', bytes);
  volume.setxattr(handle, 'user.three', '', { create: true });
  assert.equal(await promises.getxattr('/f', 'user.one', 'utf8'), 'ein Wört');
  assert.deepEqual(volume.getxattr('/link', 'user.two'), bytes);
  assert.deepEqual(await volume.promises.getxattr(handle, new TextEncoder().encode('user.three')), new Uint8Array(0));
  assert.deepEqual(volume.listxattr(handle).sort(), ['user.one', 'user.three', 'user.two']);
  assert.deepEqual((await promises.listxattr('/f', { encoding: 'buffer' })).map((name) => name.length).sort((a, b) => a - b), [8, 8, 10]);
  // The link itself.
  assert.deepEqual(volume.listxattr('/link', { follow: false }), []);
  assert.throws(() => volume.setxattr('/link', 'user.no', 'x', { follow: false }), { code: 'EPERM' });
  volume.setxattr('/link', 'trusted.yes', 'x', { follow: false });
  assert.equal(other.getxattr('/link', 'trusted.yes', { follow: false, encoding: 'utf8' }), 'x');
  const refused = (call, code) => assert.throws(call, { code, syscall: /xattr$/ });
  refused(() => volume.setxattr('/f', 'user.one', 'x', { create: true }), 'EEXIST');
  refused(() => volume.setxattr('/f', 'user.four', 'x', { replace: true }), 'ENODATA');
  refused(() => volume.getxattr('/f', 'user.four'), 'ENODATA');
  refused(() => volume.getxattr('/f', 'other.one'), 'EOPNOTSUPP');
  refused(() => volume.setxattr('/f', 'user.big', new Uint8Array(5000)), 'ENOSPC');
  refused(() => volume.getxattr('/none', 'user.one'), 'ENOENT');
  refused(() => volume.getxattr('/f', ''), 'ERANGE');
  assert.throws(() => volume.getxattr('/f', 7), { code: 'EINVAL', message: /the name has to be/ });
  volume.setxattr('/f', 'user.one', 'new', { replace: true });
  assert.equal(other.getxattr('/f', 'user.one', { encoding: 'utf8' }), 'new');
  await promises.removexattr('/f', 'user.one');
  volume.removexattr(handle, 'user.three');
  refused(() => volume.removexattr('/f', 'user.one'), 'ENODATA');
  assert.deepEqual(other.listxattr('/f'), ['user.two']);
  volume.close(handle);
  await other.detach();
});

test('a program and the module see each other\'s files', async (t) => {
  const { default: make } = await import(program);
  const folder = temporaryFolder(t);
  // Ours for the program.
  const volume = await SABFS.create({ folder, capacity: CAPACITY });
  const module = await make({ sabfs: { store: volume.store, folder } });
  const mounted = await module.mountSABFS();
  assert.equal(clients(volume.store), 2);
  volume.mkdir('/d/e', { recursive: true });
  volume.writeFile('/d/e/ours', 'from the module');
  assert.equal(module.FS.readFile('/opfs/d/e/ours', { encoding: 'utf8' }), 'from the module');
  module.FS.writeFile('/opfs/d/theirs', 'from the program');
  assert.equal(await volume.promises.readFile('/d/theirs', 'utf8'), 'from the program');
  await volume.promises.sync();
  assert.equal(volume.stats().durable, true);
  await mounted.unmount();
  await volume.detach();
  assertSound(path.join(folder, 'default'), 'after both have gone');
  // Theirs for us, with what was there.
  const again = await make({ sabfs: { folder, capacity: CAPACITY } });
  const theirs = await again.mountSABFS();
  const attached = await SABFS.attach(theirs.store);
  assert.deepEqual(attached.readdir('/d').sort(), ['e', 'theirs']);
  attached.rename('/d/theirs', '/moved');
  assert.equal(again.FS.readFile('/opfs/moved', { encoding: 'utf8' }), 'from the program');
  await attached.detach();
  assert.equal(clients(theirs.store), 1);
  assert.throws(() => attached.stat('/'), { code: 'ENODEV', message: /has left the store/ });
  await theirs.unmount();
  // And what is there can be opened, what is not cannot.
  await assert.rejects(SABFS.open({ folder, volume: 'other' }), { code: 'ENOENT', message: /SABFS.create\(\) makes it/ });
  const opened = await SABFS.open({ folder });
  assert.equal(opened.readFile('/moved', 'utf8'), 'from the program');
  await assert.rejects(SABFS.open({ folder }), { code: 'EBUSY' });
  await opened.detach();
  await opened.detach();
});

test('a watcher sees what a program does', async (t) => {
  const { default: make } = await import(program);
  const volume = await inMemory(t);
  const module = await make({ sabfs: { store: volume.store, durability: 'memory' } });
  const mounted = await module.mountSABFS();
  volume.mkdir('/top/sub', { recursive: true });
  const told = [];
  const watcher = await volume.promises.watch('/top', { recursive: true }, (event) => told.push(event));
  const one = volume.watch('/top', (event) => told.push({ ...event, flat: true }));
  module.FS.writeFile('/opfs/top/sub/file', 'x');
  module.FS.rename('/opfs/top/sub/file', '/opfs/top/file');
  volume.chmod('/top/file', 0o600);
  module.FS.unlink('/opfs/top/file');
  while (!told.some(({ type, flat }) => type == 'delete' && !flat) || !told.some(({ type, flat }) => type == 'delete' && flat)) {
    await sleep(2);
  }
  const deep = told.filter(({ flat }) => !flat).map(({ type, path, from, own }) => [type, path, from, own]);
  assert.deepEqual(deep, [
    ['create', 'sub/file', undefined, false],
    ['modify', 'sub/file', undefined, false],
    ['rename', 'file', 'sub/file', false],
    ['attrib', 'file', undefined, true],
    ['delete', 'file', undefined, false],
  ]);
  const flat = told.filter(({ flat }) => flat).map(({ type, path }) => [type, path]);
  assert.deepEqual(flat, [['create', 'file'], ['attrib', 'file'], ['delete', 'file']]);
  watcher.close();
  one.close();
  module.FS.writeFile('/opfs/top/late', 'x');
  const count = told.length;
  await sleep(50);
  assert.equal(told.length, count);
  assert.throws(() => volume.watch('/none', () => {}), { code: 'ENOENT', syscall: 'watch' });
  assert.throws(() => volume.watch('/top', {}), { code: 'EINVAL' });
  await mounted.unmount();
});

test('a store has 64 clients, and the next one is told so', async (t) => {
  const { default: make } = await import(program);
  const first = await inMemory(t);
  const others = await Promise.all(Array.from({ length: 62 }, () => SABFS.attach(first.store)));
  const module = await make({ sabfs: { store: first.store, durability: 'memory' }, printErr() {} });
  const mounted = await module.mountSABFS();
  assert.equal(clients(first.store), 64);
  first.writeFile('/file', 'seen by all');
  for (const volume of others) assert.equal(volume.readFile('/file', 'utf8'), 'seen by all');
  await assert.rejects(SABFS.attach(first.store), { code: 'EUSERS', message: /64 clients already/ });
  await others.pop().detach();
  const late = await SABFS.attach(first.store);
  assert.equal(late.readFile('/file', 'utf8'), 'seen by all');
  await mounted.unmount();
  await Promise.all([...others, late].map((volume) => volume.detach()));
  assert.equal(clients(first.store), 1);
});

for (const way of ['waitAsync', 'timers']) test(`promises wait without blocking for a client that is busy, by ${way}`, async (t) => {
  if (way == 'timers') {
    const { waitAsync } = Atomics;
    delete Atomics.waitAsync;
    t.after(() => { Atomics.waitAsync = waitAsync; });
  }
  const volume = await inMemory(t), other = await SABFS.attach(volume.store);
  const words = new Int32Array(volume.store.buffer);
  const handle = volume.open('/held', 'w');
  // The other one has the gate, as if it were at work.
  assert.equal(Atomics.compareExchange(words, GATE, 0, 2 << 1), 0);
  let settled = 0;
  const waiting = [
    volume.promises.writeFile('/a', 'a'), volume.promises.mkdir('/b'), volume.promises.open('/c', 'wx').then((c) => volume.close(c)),
    volume.promises.close(handle), volume.promises.unlink('/held'),
  ].map((promise) => promise.finally(() => settled++));
  await sleep(120);
  // Closing needs nobody.
  assert.equal(settled, 1);
  assert.deepEqual(await volume.promises.readdir('/'), ['held']);
  Atomics.store(words, GATE, 0);
  Atomics.notify(words, GATE);
  await Promise.all(waiting);
  assert.deepEqual(volume.readdir('/').sort(), ['a', 'b', 'c']);
  assert.equal(volume.statfs().files - volume.statfs().ffree, counts(volume.store).usedInodes);
  // Nothing of the closed file is left.
  for (let tries = 0; tries < 100 && volume.statfs().files - volume.statfs().ffree > 5; tries++) await sleep(5);
  await other.detach();
});

// A worker that attaches to workerData.store and runs this text, which has `volume` and `parentPort`.
function startWorker(store, text) {
  const script = `
    import { workerData, parentPort } from 'node:worker_threads';
    import { SABFS } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/js/index.js')).href)};
    const volume = await SABFS.attach(workerData);
    ${text}`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { workerData: store });
}

test('promises by the hundred beside workers that are always at work', async (t) => {
  const folder = temporaryFolder(t), seed = chooseSeed(), random = randomNumbers(seed);
  const volume = await SABFS.create({ folder, capacity: 64 << 20 });
  const workers = ['/one', '/two'].map((name) => startWorker(volume.store, `
    volume.mkdir('${name}');
    parentPort.postMessage('ready');
    let over = false;
    parentPort.once('message', () => { over = true; });
    for (let number = 0; !over; number++) {
      if (number % 50 == 0) await new Promise((resolve) => setImmediate(resolve));
      volume.writeFile('${name}/' + number % 9, 'x'.repeat(number % 20000));
      volume.rename('${name}/' + number % 9, '${name}/moved');
    }
    await volume.detach();
    parentPort.postMessage('left');
    parentPort.unref();`));
  const heard = (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await Promise.all(workers.map(heard));
  const fs = volume.promises;
  let operations = 0;
  const actor = async (_, number) => {
    const home = `/actors/${number}`;
    await fs.mkdir(home, { recursive: true });
    for (let round = 0; round < 8; round++) {
      const bytes = new Uint8Array(Math.floor(random() * 30_000)).fill(number + round);
      const handle = await fs.open(`${home}/new`, 'wx');
      for (let done = 0; done < bytes.length;) done += await fs.write(handle, bytes.subarray(done, done + 7000));
      if (random() < 0.2) await fs.fsync(handle);
      await fs.rename(`${home}/new`, `${home}/file`);
      await fs.close(handle);
      assert.deepEqual(await fs.readFile(`${home}/file`), bytes);
      assert.equal((await fs.stat(`${home}/file`)).nlink, 1);
      await fs.appendFile(`${home}/file`, 'end');
      assert.equal((await fs.stat(`${home}/file`)).size, bytes.length + 3);
      assert.deepEqual(await fs.readdir(home), ['file']);
      operations += 9;
    }
    await fs.unlink(`${home}/file`);
  };
  await Promise.all(Array.from({ length: 100 }, actor));
  const left = workers.map(heard);
  for (const worker of workers) worker.postMessage('over');
  await Promise.all(left);
  assert.deepEqual((await fs.readdir('/actors')).length, 100);
  assert.equal(clients(volume.store), 1);
  await fs.rm('/', { recursive: true }).catch((error) => assert.equal(error.code, 'EBUSY'));
  await fs.sync();
  // The root and what begins with it.
  assert.equal(counts(volume.store).usedInodes, 2);
  const { fsyncs, fsyncsFailed } = volume.metrics();
  assert.ok(fsyncs > 20 && fsyncsFailed === 0);
  t.diagnostic(`seed ${seed}: ${operations} operations`);
  await volume.detach();
  assertSound(path.join(folder, 'default'), `seed ${seed}`);
});

test('a client that ends hurts nobody', async (t) => {
  const volume = await inMemory(t);
  const text = `
    const handle = volume.open('/held', 'w');
    volume.unlink('/held');
    parentPort.postMessage('ready');
    for (let number = 0;; number++) {
      volume.writeFile('/file' + number % 7, 'x'.repeat(number % 9000));
      volume.rename('/file' + number % 7, '/moved' + number % 5);
    }`;
  const used = () => counts(volume.store).usedInodes;
  const before = used();
  for (let death = 0; death < 8; death++) {
    const worker = startWorker(volume.store, text);
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await sleep(death * 3);
    await worker.terminate();
    volume.writeFile('/mine', 'goes on');
    while (clients(volume.store) > 1) await sleep(2);
    for (const name of volume.readdir('/')) volume.rm(`/${name}`);
    assert.equal(used(), before);
  }
  const words = new Int32Array(volume.store.buffer);
  assert.equal(words[GATE], 0);
  assert.equal(words[CLIENTS] & 3, 2);
});
