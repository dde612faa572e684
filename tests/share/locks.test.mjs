// Advisory locks of several programs on one store: who waits gets a lock when its holder closes the file, gives way or dies.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { temporaryFolder } from '../kill/rounds.mjs';
import { EXPECTED, lockAndEnd } from '../programs/lock_host.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 16 << 20;

function judge(name, { inheritedMs, ...found }, more = {}) {
  console.log(`${name}: three had a dead program's locks after ${inheritedMs.toFixed(1)} ms`);
  assert.deepEqual(found, { ...EXPECTED, ...more });
}

for (const access of ['two-memory', 'one-memory', 'javascript']) {
  test(`Node, ${access}: programs wait for each other's locks, and inherit those of the dead`, async (t) => {
    const folder = temporaryFolder(t);
    const program = pathToFileURL(path.join(root, 'dist/programs/lock-calls-esm.mjs')).href;
    const script = path.join(root, 'tests/programs/lock_worker.mjs');
    const { default: make } = await import(program);
    const module = await make({ sabfs: { folder, capacity: CAPACITY, access } });
    const volume = await module.mountSABFS();
    judge(`Node, ${access}`, await lockAndEnd({ makeWorker: () => new Worker(script), module, volume, program, access }));
    await volume.unmount();
  });
}

// In the page.
async function lock({ capacity }) {
  const program = '/dist/programs/lock-calls-esm.mjs', said = [];
  const { default: make } = await import(program);
  const { lockAndEnd } = await import('/tests/programs/lock_host.mjs');
  const module = await make({ sabfs: { capacity }, printErr: (line) => said.push(line) });
  const volume = await module.mountSABFS();
  const makeWorker = () => new Worker('/tests/programs/lock_worker.mjs', { type: 'module' });
  const found = await lockAndEnd({ makeWorker, module, volume, program });
  await volume.unmount();
  return { ...found, said };
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: the same, and the page's main thread waits for a bounded time`, { skip: unavailable(name) }, async (t) => {
    const server = await serve({ roots: [root] });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    const found = await browser.evaluate(`(${lock})(${JSON.stringify({ capacity: CAPACITY })})`, { timeout: 120_000 });
    judge(name, found, {
      'a page waits so long and no longer': 'EAGAIN',
      'for ranges, too': 'EAGAIN',
      // Once, not each time.
      said: ['SABFS: cannot wait longer for a lock: a page\'s main thread waits 2 seconds at most: lock from a thread ' +
        '(-sPROXY_TO_PTHREAD) or from a program in a worker'],
    });
  });
}
