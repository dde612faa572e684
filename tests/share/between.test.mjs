// What programs on one store hear and see of each other: inotify, mappings for reading, appending to one file.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { temporaryFolder } from '../kill/rounds.mjs';
import { EXPECTED, tellAndAppend } from '../programs/between_host.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 16 << 20;

for (const access of ['two-memory', 'one-memory', 'javascript']) {
  test(`Node, ${access}: programs are told of each other's changes, and append whole records`, async (t) => {
    const folder = temporaryFolder(t);
    const program = pathToFileURL(path.join(root, 'dist/programs/between-calls-esm.mjs')).href;
    const script = path.join(root, 'tests/programs/lock_worker.mjs');
    const { default: make } = await import(program);
    const module = await make({ sabfs: { folder, capacity: CAPACITY, access } });
    const volume = await module.mountSABFS();
    assert.deepEqual(await tellAndAppend({ makeWorker: () => new Worker(script), volume, program, access }), EXPECTED);
    await volume.unmount();
  });
}

// In the page.
async function tell({ capacity }) {
  const program = '/dist/programs/between-calls-esm.mjs';
  const { default: make } = await import(program);
  const { tellAndAppend } = await import('/tests/programs/between_host.mjs');
  const module = await make({ sabfs: { capacity } });
  const volume = await module.mountSABFS();
  const makeWorker = () => new Worker('/tests/programs/lock_worker.mjs', { type: 'module' });
  const found = await tellAndAppend({ makeWorker, volume, program });
  await volume.unmount();
  return found;
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: the same`, { skip: unavailable(name) }, async (t) => {
    const server = await serve({ roots: [root] });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    const found = await browser.evaluate(`(${tell})(${JSON.stringify({ capacity: CAPACITY })})`, { timeout: 120_000 });
    assert.deepEqual(found, EXPECTED);
  });
}
