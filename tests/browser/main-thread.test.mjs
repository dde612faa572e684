// Programs on the main thread of a page, which may not sleep: what they wait for, for how long, and what they are told.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 32 << 20;
const LOCKED = 'SABFS: cannot change the volume now: another thread or program has kept the store locked for 2 seconds, ' +
  'and the main thread of a page waits no longer: try again, or let the program run in a worker (-sPROXY_TO_PTHREAD)';
const NOT_DURABLE = 'SABFS: cannot make changes durable: the keeper has not done it for 2 seconds, and the main thread of ' +
  'a page waits no longer: call `await Module.sabfs.sync()` instead of fsync(), link with -sJSPI or -sASYNCIFY, or let ' +
  'the program run in a worker (-sPROXY_TO_PTHREAD)';

let server;
before(async () => {
  server = await serve({ roots: [root] });
});
after(() => server.close());

// Runs the program with main() on the page's thread, then an expression with its Module.
const onMainThread = (page, what, sabfs, then = 'null') => page.evaluate(`(async () => {
  const factory = (await import('${server.url}/dist/programs/main-thread-esm.mjs')).default;
  const lines = [], errors = [];
  const Module = await factory({
    sabfs: ${JSON.stringify({ capacity: CAPACITY, ...sabfs })},
    print: (line) => lines.push(line), printErr: (line) => errors.push(line),
  });
  const code = Module.callMain(['/opfs', '${what}']);
  return { code, lines, errors, then: await (${then})(Module) };
})()`, { timeout: 60_000 });

for (const access of ['two-memory', 'javascript']) {
  test(`waiting does what threads wait for, by ${access}`, { skip }, async (t) => {
    const page = await borrow(t);
    await page.goto(`${server.url}/tests/harness/program.html`);
    const result = await onMainThread(page, 'queue', { access, durability: 'memory' }, '() => null');
    assert.deepEqual(result, { code: 0, lines: ['queue: 0 failures'], errors: [], then: null });
  });
}

test('a lock that is kept for too long is EAGAIN', { skip }, async (t) => {
  const page = await borrow(t);
  for (const durability of ['memory', 'strict']) {
    await page.goto(`${server.url}/tests/harness/program.html`);
    const result = await onMainThread(page, 'lock', { durability, volume: `lock-${durability}` }, '() => null');
    assert.deepEqual(result, { code: 0, lines: ['lock: 0 failures'], errors: [LOCKED], then: null });
  }
});

test('an fsync that would take too long is EIO, and Module.sabfs.sync() does it', { skip }, async (t) => {
  const page = await borrow(t);
  for (const durability of ['strict', 'relaxed']) {
    await page.goto(`${server.url}/tests/harness/program.html`);
    const then = `async (Module) => {
      const volume = await Module.mountSABFS();
      await Module.sabfs.sync();
      return [Object.keys(Module.sabfs).includes('sync'), volume.stats().durable];
    }`;
    const result = await onMainThread(page, 'fsync', { durability, volume: `fsync-${durability}` }, then);
    assert.deepEqual(result, { code: 0, lines: ['fsync: 0 failures'], errors: [NOT_DURABLE, LOCKED], then: [false, true] });
  }
});

for (const program of ['main-thread-asyncify', 'main-thread-jspi']) {
  test(`${program}: fsync lets the page go on`, { skip }, async (t) => {
    const page = await borrow(t);
    await page.goto(`${server.url}/tests/harness/program.html`);
    if (program.endsWith('jspi') && !(await page.evaluate(`'Suspending' in WebAssembly`))) {
      return t.skip('this browser has no JSPI');
    }
    for (const durability of ['strict', 'relaxed']) {
      const module = { sabfs: { capacity: CAPACITY, durability } };
      const result = await runInBrowser(page, server, program, { module, args: ['/opfs', 'suspend'] });
      assert.deepEqual(result, { code: 0, stdout: 'suspend: 0 failures\n', stderr: '' });
    }
  });
}
