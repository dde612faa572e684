// Programs in workers of a page that share a store with it, some of which are ended at random.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { sendVolume } from '../kill/engines.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';
import { CAPACITY, COUNT, DEATHS, judge } from './judge.mjs';

const root = path.resolve(import.meta.dirname, '../..');

// In the page.
async function share({ durability, access, capacity, deaths, count, seed }) {
  const program = '/dist/programs/share-st-esm.mjs';
  const { default: make } = await import(program);
  const { shareAndKill } = await import('/tests/programs/share_host.mjs');
  const { randomNumbers } = await import('/tests/kill/random.mjs');
  const module = await make({ sabfs: { capacity, durability, access } });
  const volume = await module.mountSABFS();
  const found = await shareAndKill({
    makeWorker: () => new Worker('/tests/programs/share_worker.mjs', { type: 'module' }),
    module, volume, program, access, deaths, count, random: randomNumbers(seed),
  });
  await volume.unmount();
  return found;
}

for (const name of ['chromium', 'firefox']) {
  for (const [durability, access] of [['strict', 'two-memory'], ['memory', 'javascript']]) {
    test(`${name}, ${durability}, ${access}: programs that are ended hurt nobody`, { skip: unavailable(name) }, async (t) => {
      const folder = temporaryFolder(t), seed = chooseSeed();
      let go, tell;
      const time = new Promise((resolve) => { go = resolve; });
      const told = new Promise((resolve) => { tell = resolve; });
      const server = await serve({
        roots: [root],
        posts: {
          '/volume': (body, { search }) => fs.writeFileSync(path.join(folder, search.slice(1)), body),
          '/go': () => time,
          '/found': (body) => tell(JSON.parse(body)),
        },
      });
      t.after(() => server.close());
      const browser = await launch({ t, browser: name });
      await browser.goto(`${server.url}/blank.html`);
      const options = { durability, access, capacity: CAPACITY, deaths: DEATHS, count: COUNT, seed };
      await browser.evaluate(`void (async () => {
        await fetch('/go', { method: 'POST' });
        const found = await (${share})(${JSON.stringify(options)}).catch((error) => ({ error: String(error) }));
        if (${durability !== 'memory'}) await (${sendVolume})('default');
        await fetch('/found', { method: 'POST', body: JSON.stringify(found) });
      })()`);
      const found = await browser.unobserved(() => {
        go();
        return told;
      });
      assert.equal(found.error, undefined, `seed ${seed}`);
      judge(`${name}, ${durability}`, seed, found);
      if (durability !== 'memory') assertSound(folder, `seed ${seed}`);
    });
  }
}
