// Advisory locks of the package for JavaScript: between handles, clients and programs; waiting, and what closing and dying give back.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { randomNumbers } from '../kill/random.mjs';
import { chooseSeed } from '../kill/rounds.mjs';
import { startWorker } from '../programs/lock_host.mjs';
import { clients } from '../programs/share_host.mjs';
import { SABFS } from '../../dist/js/index.js';

const root = path.resolve(import.meta.dirname, '../..');
const LOCK_GUARD = 256 >> 2, LOCKS = 268 >> 2, WAITING = 272 >> 2;
const DEATHS = process.env.SABFS_LONG ? 60 : 10;
const program = pathToFileURL(path.join(root, 'dist/programs/lock-calls-esm.mjs')).href;
const script = path.join(root, 'tests/programs/lock_worker.mjs');

// Two clients of one store, with a file.
async function start(t) {
  const volume = await SABFS.create({ durability: 'memory', capacity: 16 << 20 });
  const other = await SABFS.attach(volume.store), words = new Int32Array(volume.store.buffer);
  volume.writeFile('/f', 'text');
  t.after(async () => {
    await other.detach();
    await volume.detach();
  });
  const waiting = async (count) => {
    while (Atomics.load(words, WAITING) !== count) await sleep(1);
  };
  return { volume, other, words, waiting };
}

// A promise and what became of it by now.
function noted(promise) {
  const note = { promise, state: 'waits' };
  promise.then(() => { note.state = 'has it'; }, (error) => { note.state = error.code; });
  return note;
}

test('locks on bytes belong to handles, and stand in the way of all others', async (t) => {
  const { volume, other, words } = await start(t);
  const [a, b] = [volume.open('/f', 'r+'), volume.open('/f', 'r+')], c = other.open('/f', 'r+'), reads = volume.open('/f', 'r');
  assert.equal(volume.tryLock(a, { start: 5, length: 10 }), true);
  assert.equal(volume.tryLock(b, { start: 14, length: 1 }), false);
  assert.equal(volume.tryLock(b, { start: 15 }), true);
  assert.equal(other.tryLock(c, { start: 0, length: 5, shared: true }), true);
  assert.equal(other.tryLock(c), false);
  assert.deepEqual(other.testLock(c), { shared: false, start: 5, length: 10, pid: 43 });
  assert.deepEqual(other.testLock(c, { start: 20 }), { shared: false, start: 15, length: 0, pid: 43 });
  assert.deepEqual(volume.testLock(a, { start: 1, length: 1 }), { shared: true, start: 0, length: 5, pid: 44 });
  assert.equal(volume.testLock(a, { start: 1, length: 1, shared: true }), null);
  // In the middle of its own.
  volume.unlock(a, { start: 8, length: 2 });
  assert.equal(await other.promises.tryLock(c, { start: 8, length: 2 }), true);
  assert.equal(await other.promises.tryLock(c, { start: 7, length: 1 }), false);
  for (const call of ['tryLock', 'lock']) {
    assert.throws(() => volume[call](reads), { code: 'EBADF', syscall: call });
    await assert.rejects(volume.promises[call](reads), { code: 'EBADF', syscall: call });
  }
  assert.equal(volume.tryLock(reads, { start: 1, length: 1, shared: true }), true);
  assert.throws(() => volume.tryLock(a, { start: -1 }), { code: 'EINVAL' });
  assert.throws(() => volume.lock(a, { timeout: 'long' }), { code: 'EINVAL', message: /timeout/ });
  // The other handles of the file keep theirs.
  volume.close(b);
  assert.equal(other.tryLock(c, { start: 20 }), true);
  assert.equal(other.tryLock(c, { start: 5, length: 1 }), false);
  volume.close(a);
  assert.equal(other.tryLock(c, { start: 5 }), true);
  assert.equal(other.tryLock(c), false);
  volume.close(reads);
  assert.equal(other.tryLock(c), true);
  assert.equal(words[LOCKS], 1);
  other.close(c);
  assert.equal(words[LOCKS], 0);
});

test('locks on whole files are those of flock()', async (t) => {
  const { volume, other, words, waiting } = await start(t);
  const a = volume.open('/f', 'r'), c = other.open('/f', 'r');
  volume.flock(a, { shared: true });
  assert.equal(other.tryFlock(c, { shared: true }), true);
  assert.equal(other.tryFlock(c), false);
  // What failed has given the old one up.
  assert.equal(volume.tryFlock(a), true);
  assert.equal(other.tryLock(c, { shared: true }), true);
  const later = noted(other.promises.flock(c));
  await waiting(1);
  volume.funlock(a);
  await later.promise;
  assert.equal(await volume.promises.tryFlock(a, { shared: true }), false);
  await other.promises.funlock(c);
  assert.equal(volume.tryFlock(a), true);
  await volume.promises.close(a);
  await other.promises.close(c);
  assert.deepEqual([words[LOCKS], words[WAITING]], [0, 0]);
});

test('who waits has a lock in turn, gives up in time, and learns that it would wait for ever', async (t) => {
  const { volume, other, words, waiting } = await start(t);
  const handles = Array.from({ length: 4 }, (_, index) => (index % 2 ? other : volume).open('/f', 'r+'));
  const of = (index) => (index % 2 ? other : volume);
  assert.equal(volume.tryLock(handles[0]), true);
  const order = [], requests = [];
  for (const index of [1, 2, 3]) {
    const request = noted(of(index).promises.lock(handles[index]));
    request.promise.then(() => order.push(index));
    requests.push(request);
    await waiting(index);
  }
  await assert.rejects(other.promises.lock(handles[1], { start: 7, length: 1, timeout: 60 }), { code: 'ETIMEDOUT', syscall: 'lock' });
  assert.throws(() => other.lock(handles[1], { start: 7, length: 1, timeout: 20 }), { code: 'ETIMEDOUT' });
  assert.deepEqual(requests.map(({ state }) => state), ['waits', 'waits', 'waits']);
  assert.equal(words[WAITING], 3);
  for (const index of [0, 1, 2]) {
    of(index).unlock(handles[index]);
    await requests[index].promise;
  }
  assert.deepEqual(order, [1, 2, 3]);
  // A handle that is closed waits no longer, and neither does who stood behind it.
  const [closed, next] = [noted(volume.promises.lock(handles[0], { timeout: 60_000 })), noted(other.promises.lock(handles[1]))];
  await waiting(2);
  volume.close(handles[0]);
  await assert.rejects(closed.promise, { code: 'EBADF' });
  other.unlock(handles[3]);
  await next.promise;
  other.unlock(handles[1]);

  // Two that wait for each other.
  const own = volume.open('/f', 'r+');
  volume.lock(own, { start: 1, length: 1 });
  other.lock(handles[1], { start: 2, length: 1 });
  const ring = noted(volume.promises.lock(own, { start: 2, length: 1 }));
  await waiting(1);
  assert.throws(() => other.lock(handles[1], { start: 1, length: 1 }), { code: 'EDEADLK', syscall: 'lock' });
  await assert.rejects(other.promises.lock(handles[1], { start: 1, length: 1 }), { code: 'EDEADLK' });
  assert.equal(ring.state, 'waits');
  other.unlock(handles[1], { start: 2, length: 1 });
  await ring.promise;
  for (const [index, handle] of handles.entries()) if (index) of(index).close(handle);
  volume.close(own);
  assert.deepEqual([words[LOCKS], words[WAITING]], [0, 0]);
});

test('while somebody is at the locks nobody waits in place, and nothing is forgotten', async (t) => {
  const { volume, other, words } = await start(t);
  const a = volume.open('/f', 'r+'), keeps = volume.open('/f', 'r+'), b = volume.open('/f', 'r+'), c = other.open('/f', 'r+');
  volume.lock(a, { start: 0, length: 1 });
  volume.lock(b, { start: 1, length: 1 });
  // The other client has the guard, as if it were at work.
  assert.equal(Atomics.compareExchange(words, LOCK_GUARD, 0, 2 << 1), 0);
  const calls = [
    volume.promises.tryLock(keeps, { start: 9 }), volume.promises.unlock(b, { start: 1, length: 1 }), volume.promises.testLock(keeps),
    volume.promises.lock(keeps, { start: 5, length: 1 }), volume.promises.close(a),
  ].map(noted);
  await sleep(120);
  // Closing needs nobody.
  assert.deepEqual(calls.map(({ state }) => state), ['waits', 'waits', 'waits', 'waits', 'has it']);
  Atomics.store(words, LOCK_GUARD, 0);
  Atomics.notify(words, LOCK_GUARD);
  await Promise.all(calls.map(({ promise }) => promise));
  assert.equal(await calls[0].promise, true);
  // What the closed one had is given back, although another handle holds the file.
  for (let tries = 0; tries < 200 && !other.tryLock(c, { start: 0, length: 2 }); tries++) await sleep(5);
  assert.equal(other.testLock(c, { start: 0, length: 2 }), null);
  assert.equal(other.tryLock(c, { start: 0, length: 2 }), true);
  assert.equal(other.tryLock(c, { start: 5, length: 1 }), false);
  assert.equal(words[WAITING], 0);
});

test('locks of programs and of the package are the same ones', async (t) => {
  const { volume, other, words, waiting } = await start(t);
  const one = await startWorker(() => new Worker(script), program, { store: volume.store });
  t.after(() => one.terminate());
  const handle = volume.open('/f', 'r+'), fd = await one.call('open', '/opfs/f');
  volume.lock(handle, { start: 10, length: 10 });
  assert.equal(await one.call('set', fd, 'try', 'write', 19, 1), 'EAGAIN');
  assert.equal(await one.call('set', fd, 'ofd try', 'read', 0, 0), 'EAGAIN');
  assert.equal(await one.call('get', fd, 0, 0), 43);
  assert.equal(await one.call('set', fd, 'try', 'write', 0, 10), 0);
  assert.equal(volume.tryLock(handle, { start: 9 }), false);
  volume.flock(handle);
  assert.equal(await one.call('flock', fd, 2 | 4), 'EAGAIN');
  // Each waits for the other: who closes the ring is told.
  const ring = one.call('set', fd, 'wait', 'write', 10, 1);
  await waiting(1);
  await assert.rejects(volume.promises.lock(handle, { start: 0, length: 1 }), { code: 'EDEADLK' });
  volume.unlock(handle, { start: 10, length: 1 });
  assert.equal(await ring, 0);
  const again = noted(volume.promises.lock(handle, { start: 0, length: 1 }));
  await waiting(1);
  assert.equal(await one.call('set', fd, 'wait', 'write', 12, 1), 'EDEADLK');
  // A program that dies.
  await one.terminate();
  await again.promise;
  while (clients(volume.store) > 2) await sleep(2);
  assert.equal(volume.tryLock(handle), true);

  // A worker with the package that dies, for which a program and this thread wait.
  const text = `
    import { workerData, parentPort } from 'node:worker_threads';
    import { SABFS } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/js/index.js')).href)};
    const volume = await SABFS.attach(workerData), handle = volume.open('/f', 'r+');
    volume.lock(handle, { start: 100, length: 1 });
    volume.lock(volume.open('/f', 'r+'), { start: 101, length: 1 });
    parentPort.postMessage('locked');
    volume.lock(handle, { start: 0, length: 1 });`;
  volume.unlock(handle);
  volume.lock(handle, { start: 0, length: 1 });
  const mortal = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`), { workerData: volume.store });
  await new Promise((resolve, reject) => mortal.once('message', resolve).once('error', reject));
  await waiting(1);
  const two = await startWorker(() => new Worker(script), program, { store: volume.store });
  t.after(() => two.terminate());
  const inherits = two.call('set', await two.call('open', '/opfs/f'), 'wait', 'write', 100, 1);
  const mine = noted(other.promises.lock(other.open('/f', 'r+'), { start: 101, length: 1 }));
  await waiting(3);
  await mortal.terminate();
  assert.equal(await inherits, 0);
  await mine.promise;
  await two.terminate();
  while (clients(volume.store) > 2) await sleep(2);
  volume.close(handle);
  assert.deepEqual([words[LOCKS], words[WAITING], words[LOCK_GUARD]], [1, 0, 0]);
});

test('workers that die while they lock leave nothing', async (t) => {
  const { volume, other, words } = await start(t), seed = chooseSeed(), random = randomNumbers(seed);
  const handle = volume.open('/f', 'r+');
  const text = `
    import { workerData, parentPort } from 'node:worker_threads';
    import { SABFS } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/js/index.js')).href)};
    const volume = await SABFS.attach(workerData), handles = [volume.open('/f', 'r+'), volume.open('/f', 'r+')];
    parentPort.postMessage('ready');
    for (let turn = 0;; turn++) {
      const start = turn * 7 % 20, handle = handles[turn % 2];
      if (turn % 3) volume.tryLock(handle, { start, length: 30 - start, shared: turn % 5 == 0 });
      else volume.lock(handle, { start: 50, length: 1 + turn % 9 });
      // For these both wait: a handle must not keep them from its neighbour, of the same thread.
      volume.unlock(handle, { start: 50, length: 9 });
      if (turn % 4) volume.unlock(handle, { start: start + 2, length: 3 });
      else volume.unlock(handle);
      if (turn % 10 == 0) volume.flock(handle, { shared: turn % 20 == 0, timeout: 1 });
      volume.funlock(handle);
    }`;
  for (let death = 0; death < DEATHS; death++) {
    const workers = Array.from({ length: 2 }, () =>
      new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`), { workerData: volume.store }));
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))));
    await sleep(random() * 20);
    // One dies while the other is at work, and this thread waits for both.
    const mine = [volume.promises.lock(handle), volume.promises.flock(handle)].map(noted);
    await workers[0].terminate();
    await sleep(random() * 20);
    await workers[1].terminate();
    await Promise.all(mine.map(({ promise }) => promise));
    assert.equal(other.tryLock(other.open('/f', 'r'), { shared: true }), false);
    volume.unlock(handle);
    volume.funlock(handle);
    while (clients(volume.store) > 2) await sleep(2);
    assert.deepEqual([words[LOCKS], words[WAITING], words[LOCK_GUARD]], [0, 0, 0], `death ${death}, seed ${seed}`);
  }
});

test('who leaves the store has no locks there and waits for none', async (t) => {
  const { volume, other, words, waiting } = await start(t);
  const leaves = await SABFS.attach(volume.store), c = other.open('/f', 'r+');
  const [a, b] = [leaves.open('/f', 'r+'), leaves.open('/f', 'r+')];
  leaves.lock(a, { start: 0, length: 1 });
  other.lock(c, { start: 1, length: 1 });
  const waits = noted(leaves.promises.lock(b, { start: 1, length: 1 }));
  await waiting(1);
  await leaves.detach();
  await assert.rejects(waits.promise, { code: 'ENODEV' });
  assert.deepEqual([words[LOCKS], words[WAITING]], [1, 0]);
  assert.equal(other.tryLock(c), true);
});

// In the page.
async function lockOnPage() {
  const { SABFS } = await import('/dist/js/index.js');
  const { startWorker } = await import('/tests/programs/lock_host.mjs');
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const ask = (worker, message) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error.message)) : resolve(data.value));
    worker.postMessage(message);
  });
  const volume = await SABFS.create({ durability: 'memory', capacity: 16 << 20 }), words = new Int32Array(volume.store.buffer);
  await volume.promises.writeFile('/f', 'text');
  const worker = new Worker('/tests/programs/page_worker.mjs', { type: 'module' });
  await ask(worker, { store: volume.store });
  const theirs = await ask(worker, { call: ['open', '/f', 'r+'] }), handle = await volume.promises.open('/f', 'r+');
  await ask(worker, { call: ['lock', theirs, { start: 0, length: 1 }] });
  await ask(worker, { call: ['flock', theirs] });
  const found = { tries: [volume.tryLock(handle), volume.tryLock(handle, { start: 1 }), volume.tryFlock(handle)] };
  for (const name of ['lock', 'flock']) {
    const begun = performance.now();
    try {
      volume[name](handle);
    } catch ({ code, message }) {
      found[name] = { code, message, isQuick: performance.now() - begun < 1000 };
    }
  }
  // Waiting leaves the page its turns.
  let turns = 0, settled = 0;
  const timer = setInterval(() => turns++, 1);
  const requests = ['lock', 'flock'].map((name) => volume.promises[name](handle).then(() => { settled++; }));
  const late = await volume.promises.lock(handle, { start: 0, length: 1, timeout: 50 }).catch(({ code }) => code);
  await sleep(100);
  clearInterval(timer);
  Object.assign(found, { late, turns, settled, waiting: words[272 >> 2] });
  worker.terminate();
  await Promise.all(requests);
  // A program waits for the page.
  const program = '/dist/programs/lock-calls-esm.mjs', script = '/tests/programs/lock_worker.mjs';
  const one = await startWorker(() => new Worker(script, { type: 'module' }), program, { store: volume.store });
  const fd = await one.call('open', '/opfs/f');
  found.program = [await one.call('set', fd, 'try', 'read', 0, 0), await one.call('flock', fd, 1 | 4)];
  const inherits = one.call('set', fd, 'wait', 'write', 0, 0);
  while (words[272 >> 2] !== 1) await sleep(1);
  volume.close(handle);
  found.program.push(await inherits, await one.call('flock', fd, 2));
  await one.terminate();
  await volume.detach();
  return found;
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: a page's main thread asks for locks and never waits in place`, { skip: unavailable(name) }, async (t) => {
    const server = await serve({ roots: [root] });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    const found = await browser.evaluate(`(${lockOnPage})()`, { timeout: 120_000 });
    assert.deepEqual(found.tries, [false, true, false]);
    for (const call of ['lock', 'flock']) {
      assert.deepEqual([found[call]?.code, found[call]?.isQuick], ['EAGAIN', true]);
      assert.match(found[call].message, new RegExp(`cannot ${call} handle \\d+: .*: await promises\\.${call}\\(\\)$`));
    }
    assert.ok(found.turns > 5, `the page had ${found.turns} turns meanwhile`);
    assert.deepEqual([found.late, found.settled, found.waiting], ['ETIMEDOUT', 0, 2]);
    assert.deepEqual(found.program, ['EAGAIN', 'EAGAIN', 0, 0]);
  });
}
