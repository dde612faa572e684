// The harness itself, as far as it runs without a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { family, killFamily } from '../harness/process-tree.mjs';
import { runInNode } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';

const isolation = ['cross-origin-opener-policy', 'cross-origin-embedder-policy'];

test('the server isolates pages unless told not to', async (t) => {
  const server = await serve({ roots: [import.meta.dirname] });
  t.after(() => server.close());
  const page = await fetch(`${server.url}/blank.html`);
  assert.equal(page.status, 200);
  assert.deepEqual(isolation.map((name) => page.headers.get(name)), ['same-origin', 'require-corp']);
  assert.equal(page.headers.get('cache-control'), 'no-store');

  const plain = await serve({ roots: [import.meta.dirname], isolate: false, csp: "script-src 'self'" });
  t.after(() => plain.close());
  const headers = (await fetch(`${plain.url}/blank.html`)).headers;
  assert.deepEqual(isolation.map((name) => headers.get(name)), [null, null]);
  assert.equal(headers.get('content-security-policy'), "script-src 'self'");
});

test('the server serves files of several roots, and nothing outside of them', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-server-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  for (const name of ['a', 'b']) fs.mkdirSync(path.join(folder, name));
  fs.writeFileSync(path.join(folder, 'a/only-a.wasm'), 'A');
  fs.writeFileSync(path.join(folder, 'b/index.html'), 'B');
  fs.writeFileSync(path.join(folder, 'secret'), 'S');
  fs.symlinkSync('../secret', path.join(folder, 'b/link'));
  const routes = { '/made-up': { type: 'text/plain', body: 'M' } };
  const server = await serve({ roots: [path.join(folder, 'a'), path.join(folder, 'b')], routes });
  t.after(() => server.close());
  const get = async (name) => {
    const answer = await fetch(server.url + name);
    return [answer.status, answer.headers.get('content-type'), (await answer.text()).slice(0, 1)];
  };
  assert.deepEqual(await get('/only-a.wasm'), [200, 'application/wasm', 'A']);
  assert.deepEqual(await get('/'), [200, 'text/html; charset=utf-8', 'B']);
  assert.deepEqual(await get('/made-up'), [200, 'text/plain', 'M']);
  for (const name of ['/none', '/..%2fsecret', '/link', '/%00']) assert.equal((await get(name))[0], 404, name);
  assert.equal((await get('/%ff'))[0], 400);
  assert.equal((await fetch(server.url, { method: 'POST' })).status, 405);
});

test('a family of processes ends at one stroke', async () => {
  // The last one has left both the group and the tree, as a browser's helpers do: only its command line tells.
  const mark = `mark-of-${process.pid}`;
  const script = `sleep 60 & (setsid sh -c 'sleep 61; :' ${mark} &); sleep 62`;
  const child = spawn('sh', ['-c', script], { detached: true, stdio: 'ignore' });
  while (family(child.pid, mark).length < 5) await new Promise((resolve) => setTimeout(resolve, 10));
  await killFamily(child.pid, mark);
  assert.deepEqual(family(child.pid, mark), []);
});

for (const [version, node] of [['22', process.env.SABFS_NODE], ['20', process.env.SABFS_NODE20]]) {
  const skip = node ? false : `there is no Node ${version}`;

  test(`a program runs in Node ${version}`, { skip }, async () => {
    const expected = { code: 3, stdout: 'hello a b c\n', stderr: 'thread ran\n' };
    const args = ['a b', 'c'];
    assert.deepEqual(await runInNode('harness-hello', { node, args }), expected);
    assert.deepEqual(await runInNode('harness-hello', { node, args, module: { unused: 1 } }), expected);
    const prepare = path.join(import.meta.dirname, '../harness/fixtures/prepare.mjs');
    const printed = await runInNode('harness-hello', { node, args, prepare });
    assert.deepEqual(printed, { ...expected, stdout: 'prepared: hello a b c\n' });
  });
}

test('a program that hangs is given up', async () => {
  const run = runInNode('harness-hello', { args: ['--hang'], timeout: 1500 });
  await assert.rejects(run, /harness-hello did not end in 1500 ms.*hanging/s);
});
