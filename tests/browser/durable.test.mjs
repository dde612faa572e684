// Durability in a browser: every call that asks for it, in every mode, over OPFS.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');

let server, plain;
before(async () => {
  server = await serve({ roots: [root] });
  plain = await serve({ roots: [root], isolate: false });
});
after(async () => {
  await server.close();
  await plain.close();
});

for (const durability of ['strict', 'relaxed', 'memory']) {
  test(`what makes changes durable, ${durability}`, { skip }, async (t) => {
    const page = await borrow(t);
    const sabfs = { path: '/opfs', durability, capacity: 16 << 20 };
    const result = await runInBrowser(page, server, 'durable-mt', { module: { sabfs }, args: ['/opfs'] });
    assert.deepEqual(result, { code: 0, stdout: '/opfs: 0 failures\n', stderr: '' });
  });
}

test('in a worker, with a store of its own', { skip }, async (t) => {
  const page = await borrow(t);
  const sabfs = { path: '/opfs', access: 'own', capacity: 16 << 20 };
  const result = await runInBrowser(page, server, 'durable-st', { module: { sabfs }, args: ['/opfs'], worker: true });
  assert.deepEqual(result, { code: 0, stdout: '/opfs: 0 failures\n', stderr: '' });
});

// Each call suspends the program until a worker has done what it was sent.
test('on the main thread of a page without shared memory', { skip }, async (t) => {
  const page = await borrow(t);
  const sabfs = { path: '/opfs', capacity: 16 << 20 };
  const result = await runInBrowser(page, plain, 'durable-asyncify', { module: { sabfs }, args: ['/opfs'] });
  assert.deepEqual(result, { code: 0, stdout: '/opfs: 0 failures\n', stderr: '' });
});

test('the metrics of a volume in JavaScript', { skip }, async (t) => {
  const page = await borrow(t);
  await page.goto(`${server.url}/tests/harness/program.html`);
  const [before, state, ended] = await page.evaluate(`(async () => {
    const factory = (await import('${server.url}/dist/programs/suite-esm.mjs')).default;
    const program = await factory({ print() {}, printErr() {} });
    const volume = await program.mountSABFS({ path: '/opfs', capacity: 16 << 20 });
    await volume.sync();
    const metrics = volume.metrics(), stats = volume.stats();
    await volume.unmount();
    let ended = null;
    try { volume.metrics(); } catch (error) { ended = error.code; }
    return [metrics, stats, ended];
  })()`);
  assert.ok(before.commits > 0 && before.roomBlocks > 0 && before.keeperUp);
  assert.equal(before.commitLatency.count, before.commits);
  assert.deepEqual([before.durable, before.written], [before.change, before.change]);
  assert.deepEqual([state.commits, state.flushes], [before.commits, before.journalFlushes + before.imageFlushes]);
  assert.equal(ended, 'ENODEV');
});

test('a page that is no longer seen asks that everything be durable, in relaxed mode too', { skip }, async (t) => {
  const page = await borrow(t);
  await page.goto(`${server.url}/tests/harness/program.html`);
  const [wanted, change, wantedBefore] = await page.evaluate(`(async () => {
    const factory = (await import('${server.url}/dist/programs/outlive-st-esm.mjs')).default;
    const program = await factory({ print() {}, printErr() {} });
    const volume = await program.mountSABFS({ path: '/opfs', capacity: 16 << 20, durability: 'relaxed' });
    program.FS.writeFile('/opfs/file', 'seen');
    const words = new Int32Array(volume.store.buffer), FLUSH_WANTED = 224 >> 2, before = words[FLUSH_WANTED];
    const { change } = volume.metrics();
    // No browser without a window says by itself that a page is hidden.
    Object.defineProperty(document, 'visibilityState', { value: 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
    const wanted = words[FLUSH_WANTED];
    await volume.unmount();
    return [wanted, change, before];
  })()`);
  assert.ok(change > wantedBefore);
  assert.equal(wanted, change);
});
