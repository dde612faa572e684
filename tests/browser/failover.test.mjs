// The keeper's worker ends while its program goes on: another one follows, and the program sees nothing of it. One that was told to
// end is not followed.
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

// In the page: the volume is opened, given from one program to another and closed, by keepers of whose end the lock tells first.
async function closeLate({ program }) {
  const { default: make } = await import(program);
  const keeper = '/tests/programs/late_words_keeper.js', sabfs = { volume: 'late', capacity: 16 << 20, keeper };
  const write = (module, name) => module.FS.writeFile(`/opfs/${name}`, name);

  const alone = await make({ sabfs });
  let volume = await alone.mountSABFS();
  write(alone, 'alone');
  await volume.unmount();

  const first = await make({ sabfs });
  volume = await first.mountSABFS();
  write(first, 'first');
  const second = await make({ sabfs: { ...sabfs, store: volume.store } });
  const heirs = await second.mountSABFS();
  await volume.unmount();
  write(second, 'second');
  await heirs.unmount();

  const last = await make({ sabfs });
  volume = await last.mountSABFS();
  const names = last.FS.readdir('/opfs').filter((name) => !name.startsWith('.')).sort();
  await volume.unmount();
  return names;
}

test('a keeper that stops as it was told is not taken for a dead one', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  const program = '/dist/programs/outlive-st-esm.mjs';
  const names = await browser.evaluate(`(${closeLate})(${JSON.stringify({ program })})`);
  assert.deepEqual(names, ['alone', 'first', 'second']);
  assert.deepEqual(browser.console, []);
});
