// The harness itself: both browsers answer, keep OPFS data over a restart, and can be killed at any time.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { family } from '../harness/process-tree.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');

let server;
before(async () => {
  server = await serve({
    roots: [root],
    routes: {
      '/shout.js': {
        type: 'text/javascript',
        body: `console.log('worker says', 42); postMessage('done'); setTimeout(() => { throw new Error('worker fails') })`,
      },
    },
  });
});
after(() => server.close());

// Run in the page: writes or reads a file by way of a worker, the only place with synchronous OPFS access.
const OPFS_WORKER = `
  onmessage = async ({ data: { name, text } }) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle(name, { create: text !== undefined });
    const access = await handle.createSyncAccessHandle();
    if (text !== undefined) {
      access.write(new TextEncoder().encode(text), { at: 0 });
      access.flush();
      // Stays open: what was flushed must be there even if nobody closes it.
      postMessage(null);
    } else {
      const bytes = new Uint8Array(access.getSize());
      access.read(bytes, { at: 0 });
      access.close();
      postMessage(new TextDecoder().decode(bytes));
    }
  };`;
const opfs = (request) => `new Promise((resolve, reject) => {
  const worker = new Worker(URL.createObjectURL(new Blob([${JSON.stringify(OPFS_WORKER)}])));
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = (event) => reject(new Error(event.message));
  worker.postMessage(${JSON.stringify(request)});
})`;

test('pages are isolated and answer', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  assert.deepEqual(await browser.evaluate('[crossOriginIsolated, location.pathname]'), [true, '/blank.html']);
  assert.equal(await browser.evaluate('undefined'), undefined);
  assert.equal(await browser.page.call((a, b) => a + b, 1, 2), 3);
  await assert.rejects(browser.evaluate('Promise.reject(new Error("as expected"))'), /as expected/);
  await assert.rejects(browser.evaluate('new Promise(() => {})', { timeout: 100 }), /no answer/);

  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-shot-')), 'page.png');
  await browser.screenshot(file);
  assert.equal(fs.readFileSync(file).toString('latin1', 1, 4), 'PNG');
  fs.rmSync(path.dirname(file), { recursive: true });

  const other = await browser.newPage();
  await other.goto(`${server.url}/blank.html?other`);
  assert.equal(await other.evaluate('location.search'), '?other');
  await other.close();
  assert.equal(await browser.evaluate('location.search'), '');
});

test('a page without the headers is not isolated', { skip }, async (t) => {
  const plain = await serve({ roots: [root], isolate: false });
  t.after(() => plain.close());
  const browser = await borrow(t);
  await browser.goto(`${plain.url}/blank.html`);
  assert.deepEqual(await browser.evaluate('[crossOriginIsolated, typeof SharedArrayBuffer]'), [false, 'undefined']);
});

test('the console and uncaught errors are collected', { skip }, async (t) => {
  const browser = await launch({ t });
  await browser.goto(`${server.url}/blank.html`);
  const heard = [];
  browser.onConsole((line) => heard.push(line));
  await browser.evaluate(`new Promise((resolve) => {
    console.log('page says', 1);
    setTimeout(() => { throw new Error('page fails') });
    new Worker('/shout.js').onmessage = resolve;
  })`);
  const expected = [/\[\w+\] page says 1/, /\[uncaught\].*page fails/, /\[uncaught\].*worker fails/];
  // Firefox does not hand on what a worker logs; its uncaught errors reach the page.
  if (browser.name === 'chromium') expected.push(/\[log\] worker says 42/);
  const end = Date.now() + 5000;
  const missing = () => expected.filter((pattern) => !heard.some((line) => pattern.test(line)));
  while (missing().length && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(missing(), [], heard.join('\n'));
  assert.deepEqual(browser.console.slice(-heard.length), heard);
});

test('OPFS data are there after a restart and after a kill', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launch({ t, profile });
  await browser.goto(`${server.url}/blank.html`);
  await browser.evaluate(opfs({ name: 'closed', text: 'one' }));
  await browser.close();

  browser = await launch({ t, profile });
  await browser.goto(`${server.url}/blank.html`);
  assert.equal(await browser.evaluate(opfs({ name: 'closed' })), 'one');
  await browser.evaluate(opfs({ name: 'killed', text: 'two' }));
  await browser.kill();
  assert.deepEqual(family(browser.pid, profile), [], 'processes are left');
  await assert.rejects(browser.evaluate('1'), /the browser ended/);

  browser = await launch({ t, profile });
  await browser.goto(`${server.url}/blank.html`);
  assert.equal(await browser.evaluate(opfs({ name: 'closed' })), 'one');
  assert.equal(await browser.evaluate(opfs({ name: 'killed' })), 'two');
});

test('a program runs in a page', { skip }, async (t) => {
  const browser = await borrow(t);
  const result = await runInBrowser(browser, server, 'harness-hello', { args: ['a b', 'c'] });
  assert.deepEqual(result, { code: 3, stdout: 'hello a b c\n', stderr: 'thread ran\n' });
});

test('a program that hangs is given up', { skip }, async (t) => {
  const browser = await launch({ t });
  await assert.rejects(
    runInBrowser(browser, server, 'harness-hello', { args: ['--hang'], timeout: 2000 }),
    /harness-hello.*did not end.*hanging/s,
  );
});
