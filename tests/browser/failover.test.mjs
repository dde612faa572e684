// The keeper's worker ends while its program goes on: another one follows, and the program sees nothing of it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const MS = { terminated: 15_000, blocked: 2000 };
let server, deaths = 0;
before(async () => {
  server = await serve({ roots: [root], posts: { '/died': () => { deaths++; } } });
});
after(() => server.close());

const treeOf = ({ code, stdout, stderr }) => {
  assert.equal(code, 0, stdout.slice(-500) + stderr);
  return /^tree .*$/m.exec(stdout)[0];
};

// Works while keepers die, then looks at the volume in a page of its own.
async function work(browser, name, volume, ms, { keeper, durability, ...options }) {
  const sabfs = { volume, capacity: 32 << 20, durability };
  const args = ['/opfs', 'work', String(ms), String(Math.floor(Math.random() * 2 ** 31))];
  const module = { ends: 5, sabfs: { ...sabfs, keeper } };
  const result = await runInBrowser(browser, server, name, { args, module, ...options });
  const tree = treeOf(result);
  const found = await runInBrowser(browser, server, name, { args: ['/opfs', 'look'], module: { sabfs } });
  assert.equal(treeOf(found), tree, args.join(' '));
  return result;
}

for (const durability of ['strict', 'relaxed']) {
  test(`${durability}: keepers are terminated, the program runs in a thread`, { skip }, async (t) => {
    const browser = await launch({ t });
    // Chromium lets a worker that does not come to rest go on for two seconds.
    const prepare = '/tests/programs/end_keeper.mjs';
    const { stdout, stderr } = await work(browser, 'failover-mt', 'mt', MS.terminated, { durability, prepare });
    assert.match(stdout, /^keepers ended [1-5]$/m);
    assert.equal(stderr, '');
  });

  test(`${durability}: the keeper dies while the program blocks a worker`, { skip }, async (t) => {
    const browser = await launch({ t });
    deaths = 0;
    for (let round = 0; round < 3; round++) {
      const calls = 1 + Math.floor(Math.random() * 3000);
      t.diagnostic(`dies at its call ${calls}`);
      const keeper = `/tests/programs/mortal_keeper.js?calls=${calls}`;
      const { stderr } = await work(browser, 'failover-st', `st${round}`, MS.blocked, { durability, keeper, worker: true });
      assert.equal(stderr, '', `dies at its call ${calls}`);
      assert.equal(deaths, round + 1, `dies at its call ${calls}`);
    }
  });
}
