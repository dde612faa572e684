// A source tree of more than 2,000 files is the same after the browser was killed: contents, modes, times, links.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { killBrowserWhen } from '../programs/kill_browser.mjs';
import { packTree } from '../programs/tree_pack.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');

// Brings a program its input (tree_input.js) and hands its output to the console.
const hook = (name) => `export default async (Module) => {
  Module.testInput = new Uint8Array(await (await fetch('/${name}')).arrayBuffer());
  const print = Module.print;
  Module.print = (text) => { console.log(text); print(text); };
};`;

let server, tree;
before(async () => {
  if (skip) return;
  tree = packTree();
  const routes = {};
  for (const name of ['archive', 'manifest']) {
    routes[`/${name}`] = { type: 'application/octet-stream', body: tree[name] };
    routes[`/${name}.mjs`] = { type: 'text/javascript', body: hook(name) };
  }
  server = await serve({ roots: [root], routes });
});
after(() => server?.close());

test('a source tree is the same after the browser is killed', { skip }, async (t) => {
  assert.ok(tree.files > 2000 && tree.links > 100);
  const module = { sabfs: { path: '/opfs', volume: 'tree', capacity: 256 << 20, durability: 'strict' } };
  const profile = temporaryProfile(t);
  const first = await launch({ t, profile });
  const started = performance.now();
  const lines = await killBrowserWhen((line) => line.includes('unpacked'), first, server, 'tree-unpack', {
    args: ['/opfs/tree', 'wait'],
    module,
    prepare: '/archive.mjs',
  });
  console.log(`${lines.find((line) => line.includes('unpacked'))}, ${Math.round(performance.now() - started)} ms`);

  const second = await launch({ t, profile });
  const restarted = performance.now();
  const verified = await runInBrowser(second, server, 'tree-verify', {
    args: ['/opfs/tree'],
    module,
    prepare: '/manifest.mjs',
  });
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  console.log(`${verified.stdout.trim()}, ${Math.round(performance.now() - restarted)} ms`);
});
