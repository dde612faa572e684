// The module for JavaScript on a page: shared with a program, with a worker and with another page; never waiting in place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { sendVolume } from '../kill/engines.mjs';
import { assertSound, temporaryFolder } from '../kill/rounds.mjs';

const root = path.resolve(import.meta.dirname, '../..');

// In the page, before each of the functions below.
async function prepare() {
  const { SABFS } = await import('/dist/js/index.js');
  const ask = (target, message, transfer) => new Promise((resolve, reject) => {
    const from = target.contentWindow ? globalThis : target;
    const receive = ({ data, source }) => {
      if (target.contentWindow && source !== target.contentWindow) return;
      from.removeEventListener('message', receive);
      if (data.error) reject(Object.assign(new Error(data.error.message), data.error));
      else resolve(data.value);
    };
    from.addEventListener('message', receive);
    if (message && target.contentWindow) target.contentWindow.postMessage(message, '*');
    else if (message) target.postMessage(message);
  });
  const startWorker = () => new Worker('/tests/programs/page_worker.mjs', { type: 'module' });
  const failure = (call) => {
    try {
      call();
    } catch (error) {
      return { code: error.code, message: error.message, syscall: error.syscall };
    }
    return null;
  };
  globalThis.kit = { SABFS, ask, startWorker, failure, sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };
}

async function shareWithAll() {
  const { SABFS, ask, startWorker, sleep } = kit;
  const volume = await SABFS.create({ capacity: 64 << 20 });
  const { default: make } = await import('/dist/programs/share-st-esm.mjs');
  const program = await make({ sabfs: { store: volume.store } });
  const mounted = await program.mountSABFS();
  const worker = startWorker();
  await ask(worker, { store: volume.store });
  const frame = document.createElement('iframe');
  document.body.append(frame);
  const ready = ask(frame);
  frame.src = '/tests/programs/page_frame.html';
  await ready;
  await ask(frame, { store: volume.store });
  const told = [];
  await volume.promises.watch('/', { recursive: true }, ({ type, path, own }) => told.push(`${type} ${path} ${own}`));
  // Each writes, and all read it.
  await volume.promises.mkdir('/d/e', { recursive: true });
  await volume.promises.writeFile('/d/page', 'page');
  program.FS.writeFile('/opfs/d/program', 'program');
  await ask(worker, { call: ['writeFile', '/d/worker', 'worker'] });
  await ask(frame, { call: ['writeFile', '/d/frame', 'frame'] });
  const seen = {};
  for (const name of ['page', 'program', 'worker', 'frame']) {
    const file = `/d/${name}`;
    seen[name] = [
      volume.readFile(file, 'utf8'), await volume.promises.readFile(file, 'utf8'),
      program.FS.readFile(`/opfs${file}`, { encoding: 'utf8' }), await ask(worker, { call: ['readFile', file, 'utf8'] }),
      await ask(frame, { call: ['readFile', file, 'utf8'] }),
    ];
  }
  const handle = await volume.promises.open('/d/page', 'r+');
  await volume.promises.fsync(handle);
  await volume.promises.close(handle);
  await ask(worker, { call: ['sync'] });
  const { durable } = volume.stats();
  while (!told.includes('create d/frame false')) await sleep(5);
  // A worker that is ended, with a file open that has no name any more.
  await ask(worker, { call: ['open', '/d/worker', 'r'] });
  await volume.promises.unlink('/d/worker');
  const { inodes } = volume.stats();
  worker.terminate();
  frame.remove();
  for (let tries = 0; tries < 500 && volume.stats().inodes == inodes; tries++) await sleep(10);
  const freed = inodes - volume.stats().inodes;
  await mounted.unmount();
  await volume.detach();
  // It is there again.
  const missing = await SABFS.open({ volume: 'other' }).catch((error) => error.code);
  const again = await SABFS.open({ capacity: 64 << 20 });
  const names = (await again.promises.readdir('/d')).sort();
  await again.detach();
  return { seen, told, durable, freed, missing, names, access: volume.access };
}

async function neverWait() {
  const { SABFS, ask, startWorker, failure, sleep } = kit;
  const volume = await SABFS.create({ volume: 'busy', capacity: 64 << 20 });
  const worker = startWorker();
  await ask(worker, { store: volume.store });
  await volume.promises.writeFile('/f', 'was there');
  await volume.promises.sync();
  const handle = await volume.promises.open('/f', 'r+');
  await ask(worker, { hold: true });
  // The worker opens the gate only when it is told: a call that waited would never come back.
  const refused = Object.fromEntries([
    ['writeFile', '/new', 'x'], ['mkdir', '/d'], ['open', '/e', 'wx'], ['rename', '/f', '/g'], ['unlink', '/f'], ['truncate', '/f', 0],
    ['write', handle, 'over'], ['chmod', '/f', 0o600],
  ].map(([name, ...args]) => [name, failure(() => volume[name](...args))]));
  const text = volume.readFile('/f', 'utf8'), names = volume.readdir('/');
  let settled = 0;
  const later = [
    volume.promises.writeFile('/new', 'x'), volume.promises.mkdir('/d'), volume.promises.open('/e', 'wx'),
    volume.promises.write(handle, 'is'), volume.promises.appendFile('/f', '!'),
  ].map((promise) => promise.finally(() => settled++));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await sleep(150);
  clearInterval(timer);
  const before = settled;
  await ask(worker, { hold: false });
  const results = await Promise.all(later);
  // A sync cannot come about while the keeper finds the gate closed.
  await ask(worker, { hold: true });
  const sync = failure(() => volume.sync()), fsync = failure(() => volume.fsync(handle));
  const done = volume.promises.fsync(handle).then(() => 'done');
  const early = await Promise.race([done, sleep(100)]);
  await ask(worker, { hold: false });
  const synced = await done;
  const all = volume.readdir('/').sort(), last = volume.readFile('/f', 'utf8');
  volume.close(handle);
  // One that dies with the gate in its hands.
  await ask(worker, { hold: true });
  worker.terminate();
  await volume.promises.writeFile('/after', 'death');
  await volume.detach();
  return { refused, text, names, before, turns, opened: results[2], sync, fsync, early: early ?? null, synced, all, last };
}

for (const name of ['chromium', 'firefox']) {
  const skip = unavailable(name);
  const start = async (t) => {
    const folder = temporaryFolder(t);
    const server = await serve({
      roots: [root],
      posts: { '/volume': (body, { search }) => fs.writeFileSync(path.join(folder, search.slice(1)), body) },
    });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    await browser.evaluate(`(${prepare})()`);
    const sound = async (volume) => {
      await browser.page.call(sendVolume, volume);
      await browser.kill();
      await server.idle();
      assertSound(folder, 'the volume of a page');
    };
    return { browser, sound };
  };

  test(`${name}: a page, a program, a worker and another page share a store`, { skip }, async (t) => {
    const { browser, sound } = await start(t);
    const found = await browser.evaluate(`(${shareWithAll})()`);
    for (const who of ['page', 'program', 'worker', 'frame']) assert.deepEqual(found.seen[who], Array(5).fill(who));
    for (const event of ['create d true', 'create d/e true', 'create d/page true', 'create d/program false', 'create d/worker false']) {
      assert.ok(found.told.includes(event), `${event} in ${found.told}`);
    }
    assert.deepEqual([found.durable, found.freed, found.missing], [true, 1, 'ENOENT']);
    assert.deepEqual(found.names, ['e', 'frame', 'page', 'program']);
    t.diagnostic(`access: ${found.access}`);
    await sound('default');
  });

  test(`${name}: a page's main thread never waits`, { skip }, async (t) => {
    const { browser, sound } = await start(t);
    const found = await browser.evaluate(`(${neverWait})()`);
    for (const [call, error] of Object.entries(found.refused)) {
      assert.equal(error?.code, 'EAGAIN', call);
      assert.equal(error.syscall, call);
      assert.match(error.message, new RegExp(`cannot ${call} .*: await promises\\.${call}\\(\\)$`));
    }
    // Nothing was done, and looking was allowed.
    assert.deepEqual([found.text, found.names, found.before], ['was there', ['f'], 0]);
    assert.ok(found.turns > 5, `the page had ${found.turns} turns meanwhile`);
    assert.equal(typeof found.opened, 'number');
    assert.deepEqual([found.sync?.code, found.fsync?.code, found.early, found.synced], ['EAGAIN', 'EAGAIN', null, 'done']);
    assert.deepEqual(found.all, ['d', 'e', 'f', 'new']);
    assert.equal(found.last, 'iss there!');
    await sound('busy');
  });
}
