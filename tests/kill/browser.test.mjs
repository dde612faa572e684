// Chromium and Firefox killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { killBrowserWhen, outputRoute } from '../programs/kill_browser.mjs';
import { isReady } from './judge.mjs';
import { assertSound, capacity, chooseSeed, killDelay, randomNumbers, runRounds, temporaryFolder, volume } from './rounds.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const ROUNDS = Number(process.env.SABFS_KILLS ?? (process.env.SABFS_LONG ? 100 : 15));

// In the page: sends the volume's files to the server, as they lie in the origin's private file system.
async function sendVolume(volume) {
  const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('sabfs');
  const folder = await all.getDirectoryHandle(volume);
  for (const name of ['image', 'journal']) {
    const file = await (await folder.getFileHandle(name)).getFile();
    const answer = await fetch(`/volume?${name}`, { method: 'POST', body: file });
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  }
}

for (const name of ['chromium', 'firefox']) {
  test(`${ROUNDS} kills of ${name}`, { skip: unavailable(name) }, async (t) => {
    const copy = temporaryFolder(t);
    const server = await serve({
      roots: [root],
      routes: outputRoute,
      posts: { '/volume': (body, { search }) => fs.writeFileSync(path.join(copy, search.slice(1)), body) },
    });
    t.after(() => server.close());
    const seed = chooseSeed();
    const random = randomNumbers(seed);
    const module = { sabfs: { path: '/opfs', volume, capacity, durability: 'strict' } };
    const profile = temporaryProfile(t);
    await runRounds(name, ROUNDS, seed, async (number, args, last, said) => {
      const browser = await launch({ t, browser: name, profile });
      if (number) {
        await browser.goto(`${server.url}/blank.html`);
        await browser.page.call(sendVolume, volume);
        assertSound(copy, said);
      }
      if (!last) {
        return killBrowserWhen(isReady, browser, server, 'kill-load', { args, module, delay: killDelay(random) });
      }
      const { code, stdout, stderr } = await runInBrowser(browser, server, 'kill-load', { args, module });
      assert.equal(code, 0, stderr);
      return stdout.split('\n');
    });
  });
}
