// The keeper's worker ends while its program goes on: another one follows, and the program sees nothing of it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const MS = 6_000;
let server;
before(async () => { server = await serve({ roots: [root] }); });
after(() => server.close());

const treeOf = ({ code, stdout, stderr }) => {
  assert.equal(code, 0, stdout.slice(-500) + stderr);
  return /^tree .*$/m.exec(stdout)[0];
};

// Works while keepers die, then looks at the volume in a page of its own.
async function work(browser, name, volume, ms, { keeper, durability, ...options }) {
  const sabfs = { volume, capacity: 32 << 20, durability };
  const args = ['/opfs', 'work', String(ms), String(Math.floor(Math.random() * 2 ** 31))];
  const module = { ends: 5, endsForMs: ms * 2 / 3, sabfs: { ...sabfs, keeper } };
  const result = await runInBrowser(browser, server, name, { args, module, ...options });
  const tree = treeOf(result);
  const found = await runInBrowser(browser, server, name, { args: ['/opfs', 'look'], module: { sabfs } });
  assert.equal(treeOf(found), tree, args.join(' '));
  return result;
}

for (const durability of ['strict', 'relaxed']) {
  test(`${durability}: keepers are terminated, the program runs in a thread`, { skip }, async (t) => {
    const browser = await borrow(t);
    // Chromium lets a worker that does not come to rest go on for two seconds.
    const prepare = '/tests/programs/end_keeper.mjs';
    const { stdout, stderr } = await work(browser, 'failover-mt', 'mt', MS, { durability, prepare });
    assert.match(stdout, /^keepers ended [1-5]$/m);
    assert.equal(stderr, '');
  });
}
