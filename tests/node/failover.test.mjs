// The keeper's worker ends while its program goes on: another one follows, and the program sees nothing of it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';

const programs = path.resolve(import.meta.dirname, '../programs');
const nodes = [['22', process.env.SABFS_NODE ?? process.execPath], ['20', process.env.SABFS_NODE20]];
const MS = 1500;

function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-failover-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const treeOf = ({ code, stdout, stderr }) => {
  assert.equal(code, 0, stdout.slice(-500) + stderr);
  return /^tree .*$/m.exec(stdout)[0];
};

// Works while keepers die, then looks at the volume in a process of its own.
async function work(folder, name, { node, durability = 'strict', keeper, ...options }) {
  const sabfs = { folder, capacity: 32 << 20, durability };
  const args = ['/opfs', 'work', String(MS), String(Math.floor(Math.random() * 2 ** 31))];
  const module = { ends: 5, endsForMs: MS * 2 / 3, sabfs: { ...sabfs, keeper } };
  const result = await runInNode(name, { node, args, module, ...options });
  const tree = treeOf(result);
  assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
  const found = await runInNode(name, { node, args: ['/opfs', 'look'], module: { sabfs } });
  assert.equal(treeOf(found), tree, args.join(' '));
  return result;
}

for (const [version, node] of nodes) {
  const skip = node ? false : `there is no Node ${version}`;
  for (const durability of ['strict', 'relaxed']) {
    test(`Node ${version}, ${durability}: keepers are terminated, the program's thread is another one`, { skip }, async (t) => {
      const prepare = path.join(programs, 'end_keeper.mjs');
      const { stdout, stderr } = await work(temporary(t), 'failover-mt', { node, durability, prepare });
      assert.match(stdout, /^keepers ended [1-5]$/m);
      assert.equal(stderr, '');
    });

    test(`Node ${version}, ${durability}: the keeper dies while the program blocks the main thread`, { skip }, async (t) => {
      const keeper = path.join(programs, 'mortal_keeper.js');
      for (let round = 0; round < 2; round++) {
        const calls = 1 + Math.floor(Math.random() * 4000);
        t.diagnostic(`dies at its call ${calls}`);
        const env = { SABFS_KEEPER_CALLS: String(calls) };
        const { stderr } = await work(temporary(t), 'failover-st', { node, durability, keeper, env });
        assert.equal(stderr, 'this keeper dies here\n', `dies at its call ${calls}`);
      }
    });
  }
}
