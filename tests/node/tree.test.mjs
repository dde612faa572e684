// A source tree of more than 2,000 files is the same after a SIGKILL: contents, modes, times, links.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';
import { killNodeWhen } from '../programs/kill_node.mjs';
import { packTree } from '../programs/tree_pack.mjs';

test('a source tree is the same after the process is killed', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-tree-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const tree = packTree();
  assert.ok(tree.files > 2000 && tree.links > 100);
  // A hook in Module brings the input, which is too large for an argument.
  const input = (name, data) => {
    fs.writeFileSync(path.join(folder, name), data);
    const hook = path.join(folder, `${name}.mjs`);
    fs.writeFileSync(hook, `import fs from 'node:fs';
export default (Module) => { Module.testInput = fs.readFileSync(${JSON.stringify(path.join(folder, name))}); };`);
    return hook;
  };
  const volume = path.join(folder, 'volume');
  fs.mkdirSync(volume);
  const module = { sabfs: { path: '/opfs', folder: volume, capacity: 256 << 20, durability: 'strict' } };

  const started = performance.now();
  const prepare = input('archive', tree.archive);
  const lines = await killNodeWhen((line) => line.startsWith('unpacked'), 'tree-unpack', {
    args: ['/opfs/tree', 'wait'],
    module,
    prepare,
  });
  const unpacked = performance.now();
  const verified = await runInNode('tree-verify', {
    args: ['/opfs/tree'],
    module,
    prepare: input('manifest', tree.manifest),
  });
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  console.log(`${lines.at(-1)}, ${Math.round(unpacked - started)} ms`);
  console.log(`${verified.stdout.trim()}, ${Math.round(performance.now() - unpacked)} ms`);
});
