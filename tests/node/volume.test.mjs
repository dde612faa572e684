// A volume in Node: who has it, sharing its store, and every error.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { CAPACITY, ok, root, run, temporary } from './mounts.mjs';

/** Starts a program that stays; resolves with the child when it says that everything is there. */
async function stay(t, sabfs) {
  const main = path.join(root, 'tests/harness/program-main.cjs');
  const request = {
    program: path.join(root, 'dist/programs/suite-mt.js'), args: ['/opfs', 'stay'], module: { sabfs },
  };
  const child = spawn(process.env.SABFS_NODE ?? process.execPath, [main, JSON.stringify(request)]);
  t.after(() => child.kill('SIGKILL'));
  await new Promise((resolve, reject) => {
    let text = '';
    const look = (data) => {
      text += data;
      if (text.includes('left: 0 failures')) resolve();
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('close', () => reject(new Error(text)));
  });
  return child;
}

test('a volume is open in one process; a process that is killed loses neither files nor the volume', async (t) => {
  const folder = temporary(t);
  const child = await stay(t, { folder, capacity: CAPACITY });
  for (const program of ['suite-mt', 'suite-st']) {
    const second = await run(program, { folder }, ['/opfs', 'find']);
    assert.equal(second.code, 1);
    assert.match(second.stderr, new RegExp(`EBUSY|open in process ${child.pid}`));
    assert.match(second.stderr, /end that process, or use another volume/);
  }
  const gone = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await gone;
  ok(await run('suite-mt', { folder }, ['/opfs', 'find']));
});

test('without the linker flags the basics work', async (t) => {
  const result = await run('hello-noflags', { folder: temporary(t) });
  assert.deepEqual(result, { code: 0, stdout: 'hello from /opfs\n', stderr: '' });
});

// --- with the factory of an ES module

const factory = async () => (await import(pathToFileURL(path.join(root, 'dist/programs/suite-esm.mjs')))).default;
const start = async (sabfs) => (await factory())({ sabfs, print() {}, printErr() {} });

async function refused(sabfs, code, message) {
  await assert.rejects(start(sabfs), (error) => {
    assert.equal(error.name, 'SABFSError', error.stack);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('wrong options fail the start and say what is right', async () => {
  await refused({ size: 1 }, 'EINVAL', /there is no option "size"; there are path, store, volume, capacity, durability/);
  await refused(5, 'EINVAL', /the options are not an object/);
  for (const capacity of [1000, 1e12, -1, 0, NaN, Infinity, 1048576.5, '1G', 5n, null, {}]) {
    await refused({ capacity }, 'EINVAL', /"capacity" has to be a whole number of bytes from 1 MiB \(1048576\)/);
  }
  for (const durability of ['fast', 1, null]) await refused({ durability }, 'EINVAL', /"strict", "relaxed" or "memory"/);
  for (const where of ['', '/', '//', 'data', 7]) await refused({ path: where }, 'EINVAL', /an absolute path other than/);
  for (const volume of ['', '..', '.x', 'a/b', 'x'.repeat(65), 7]) await refused({ volume }, 'EINVAL', /a name of 1 to 64/);
  for (const store of [5, {}, new ArrayBuffer(8), new WebAssembly.Memory({ initial: 1 })]) {
    await refused({ store }, 'EINVAL', /"store" has to be a shared WebAssembly.Memory or a SharedArrayBuffer/);
  }
  await refused({ access: 'magic' }, 'EINVAL', /"access" has to be "two-memory"/);
  await refused({ readOnly: 1 }, 'EINVAL', /"readOnly" has to be true or false/);
  await refused({ onProgress: 1 }, 'EINVAL', /"onProgress" has to be a function/);
  await refused({ keeper: {} }, 'EINVAL', /"keeper" has to be the address of keeper.js/);
  await refused({ store: new SharedArrayBuffer(1 << 20), durability: 'memory' }, 'EINVAL', /too small for any volume/);
});

test('a folder that cannot be used', async (t) => {
  const folder = temporary(t);
  fs.writeFileSync(path.join(folder, 'file'), '');
  await refused({ folder: path.join(folder, 'file'), capacity: CAPACITY }, 'ENOTDIR', /ENOTDIR/);
  await refused({ folder, readOnly: true, capacity: CAPACITY }, 'ENOENT', /readOnly forbids to make one/);
  await refused({ folder, keeper: path.join(folder, 'none.js'), capacity: CAPACITY }, 'EIO', /keeper fails/);
});

test('a damaged volume is refused, and left as it is', async (t) => {
  const folder = temporary(t);
  ok(await run('suite-mt', { folder }, ['/opfs', 'leave']));
  const journal = path.join(folder, 'default/journal');
  const bytes = fs.readFileSync(journal);
  fs.writeFileSync(journal, bytes.subarray(0, 100000));
  await refused({ folder, capacity: CAPACITY }, 'EIO', /journal is cut off.*restore image and journal/);
  assert.equal(fs.statSync(journal).size, 100000);
  fs.writeFileSync(journal, bytes);
  ok(await run('suite-mt', { folder }, ['/opfs', 'find']));
});

test('mount, sync, unmount and mount again while the program runs', async (t) => {
  const folder = temporary(t);
  const module = await start(undefined);
  await assert.rejects(module.mountSABFS({ colour: 1 }), /there is no option "colour"/);
  const steps = [];
  const options = { path: '/data/deep', folder, volume: 'one', capacity: CAPACITY, onProgress: (step) => steps.push(step) };
  let volume = await module.mountSABFS(options);
  assert.deepEqual([volume.path, volume.name, volume.access], ['/data/deep', 'one', 'two-memory']);
  assert.equal(volume.store.buffer instanceof SharedArrayBuffer, true);
  assert.equal(await module.mountSABFS(options), volume);
  await assert.rejects(module.mountSABFS({ ...options, volume: 'two', path: '/two' }), /EBUSY|unmount it first/);
  const second = await module.mountSABFS({ path: '/again' });
  assert.equal(second.name, 'one');
  module.callMain(['/data/deep', 'leave']);
  module.callMain(['/again', 'find']);
  await volume.sync();
  const stats = volume.stats();
  assert.equal(stats.durable, true);
  assert.ok(stats.capacityBytes >= CAPACITY && stats.freeBytes > 0 && stats.freeBytes < stats.capacityBytes);
  assert.ok(stats.commits > 0 && stats.flushes > 0 && stats.blocksWritten > 0 && stats.inodes > 2);
  await second.close();
  await volume.unmount();
  for (const call of [() => volume.sync(), () => volume.unmount(), async () => volume.stats()]) {
    await assert.rejects(call(), { code: 'ENODEV' });
  }
  assert.deepEqual(fs.readdirSync(path.join(folder, 'one')).sort(), ['image', 'journal']);
  volume = await module.mountSABFS(options);
  assert.ok(steps.some((step) => step.phase === 'load' && step.doneBytes === step.totalBytes));
  module.callMain(['/data/deep', 'find']);
  await volume.close();
  // The store made at the start is what there is.
  await assert.rejects(module.mountSABFS({ ...options, capacity: 3 * 2 ** 30 }), /set Module.sabfs.capacity before/);
});

test('two programs share a store, whatever kind it is', async (t) => {
  const folder = temporary(t);
  const memory = new WebAssembly.Memory({ initial: 600, maximum: 600, shared: true });
  for (const [store, access] of [[memory, 'two-memory'], [new SharedArrayBuffer(600 * 65536), 'javascript']]) {
    for (const durability of ['memory', 'strict']) {
      const options = { store, durability, folder, volume: `${access}-${durability}` };
      const [one, two] = await Promise.all([start(options), start(options)]);
      const volumes = await Promise.all([one.mountSABFS(), two.mountSABFS()]);
      assert.deepEqual(volumes.map((volume) => volume.access), [access, access]);
      one.callMain(['/opfs', 'leave']);
      two.callMain(['/opfs', 'find']);
      await volumes[1].unmount();
      await volumes[0].unmount();
    }
  }
});

test('a capacity below the size of the store limits the volume', async (t) => {
  const folder = temporary(t);
  for (const durability of ['memory', 'strict']) {
    const store = new WebAssembly.Memory({ initial: 1200, maximum: 1200, shared: true });
    const module = await start({ store, durability, folder, capacity: 4 << 20 });
    const volume = await module.mountSABFS();
    const { capacityBytes } = volume.stats();
    assert.ok(capacityBytes >= 4 << 20 && capacityBytes < (4 << 20) + 65536, `${capacityBytes}`);
    module.callMain(['/opfs', 'full']);
    // The volume is full long before the store is.
    assert.ok(volume.stats().sizeBytes <= capacityBytes);
    // Whoever joins takes it as it is, or says the same.
    const same = await (await start({ store, durability, folder, capacity: 4 << 20 })).mountSABFS();
    await refused({ store, durability, folder, capacity: 8 << 20 }, 'EINVAL', /mounted with a capacity of \d+ bytes, not of 8388608/);
    await same.unmount();
    await volume.unmount();
  }
  // A volume that has grown beyond it is refused.
  const large = await (await start({ folder, volume: 'large', capacity: 64 << 20 })).mountSABFS();
  await large.unmount();
  await refused({ folder, volume: 'large', capacity: 2 << 20 }, 'EFBIG', /capacity is too small for this volume/);
});

test('a mount that only reads writes nothing', async (t) => {
  const folder = temporary(t);
  // Killed, so that the journal has what the image has not.
  const child = await stay(t, { folder, capacity: CAPACITY });
  const gone = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await gone;
  fs.rmSync(path.join(folder, 'default/lock'));
  const files = ['image', 'journal'].map((name) => path.join(folder, 'default', name));
  const before = files.map((file) => fs.readFileSync(file));
  for (const file of files) fs.chmodSync(file, 0o444);
  for (const access of ['two-memory', 'own']) {
    ok(await run('suite-st', { folder, access, readOnly: true }, ['/opfs', 'find']));
    const changed = await run('suite-st', { folder, access, readOnly: true }, ['/opfs', 'leave']);
    assert.match(changed.stdout + changed.stderr, /[Rr]ead-only file system/);
  }
  files.forEach((file, index) => assert.ok(before[index].equals(fs.readFileSync(file)), file));
  await refused({ folder, volume: 'none', readOnly: true, capacity: CAPACITY }, 'ENOENT', /readOnly forbids to make one/);
  assert.deepEqual(fs.readdirSync(folder), ['default']);
});

test('a client that died holding the gate stops changes with EIO, and nothing hangs', { timeout: 150_000 }, async (t) => {
  const GATE = 64 >> 2, DEAD = 77;
  const store = new WebAssembly.Memory({ initial: 1200, maximum: 1200, shared: true });
  const module = await startShared({ store, folder: temporary(t), capacity: CAPACITY });
  const volume = await module.mountSABFS();
  module.FS.writeFile('/opfs/before', 'there');
  await volume.sync();
  const stream = module.FS.open('/opfs/before', 'r');
  const words = new Int32Array(store.buffer);
  assert.equal(Atomics.compareExchange(words, GATE, 0, DEAD), 0);
  const timed = async (operation) => {
    const begin = performance.now();
    const result = await operation();
    return [result, performance.now() - begin];
  };
  // Looking things up and reading what is open need no gate. Opening does.
  const bytes = new Uint8Array(5);
  const [size, readMs] = await timed(() => module.FS.read(stream, bytes, 0, 5, 0) && module.FS.stat('/opfs/before').size);
  assert.deepEqual([new TextDecoder().decode(bytes), size], ['there', 5]);
  assert.ok(readMs < 5000, `${readMs} ms`);
  const [change, changeMs] = await timed(() => attempt(() => module.FS.mkdir('/opfs/folder', 0o777)));
  // Emscripten's number for EIO.
  assert.equal(change?.errno, 29, String(change));
  assert.ok(changeMs > 15_000 && changeMs < 60_000, `${changeMs} ms`);
  // What is durable is durable, gate or no gate.
  const [, syncMs] = await timed(() => volume.sync());
  assert.ok(syncMs < 5000, `${syncMs} ms`);
  // As if it had come back: all goes on.
  Atomics.store(words, GATE, 0);
  Atomics.notify(words, GATE);
  module.FS.writeFile('/opfs/after', 'y');
  await volume.sync();
  assert.equal(module.FS.readFile('/opfs/after', { encoding: 'utf8' }), 'y');
  module.FS.close(stream);
  await volume.unmount();
});

function attempt(operation) {
  try {
    return void operation();
  } catch (error) {
    return error;
  }
}

async function startShared(sabfs) {
  const { default: make } = await import(pathToFileURL(path.join(root, 'dist/programs/suite-shared-esm.mjs')));
  return make({ sabfs, print() {}, printErr() {} });
}
