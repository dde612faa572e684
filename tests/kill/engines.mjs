// Rounds of kills in Node and in the browsers. The options of both:
//   sabfs    settings for the volume
//   module   further settings for the program's Module
//   prepare  a module of this folder that is called with Module before the program starts
//   timeout  for a round, in ms
//   isTime   whether this line of the program's output is the moment; else it is a random time after `ready`
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { launch, temporaryProfile } from '../harness/browser.mjs';
import { runInBrowser, runInNode } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { killBrowserWhen, outputRoute } from '../programs/kill_browser.mjs';
import { killNodeWhen } from '../programs/kill_node.mjs';
import { isReady } from './judge.mjs';
import {
  assertCopySound, assertSound, capacity, killDelay, randomNumbers, runRounds, temporaryFolder, volume,
} from './rounds.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;

function found({ code, stdout, stderr }) {
  assert.equal(code, 0, stderr);
  return stdout.split('\n');
}

/** Kills a Node process in each of `count` rounds. */
export async function killNode(t, count, seed, { sabfs, module = {}, prepare = 'print-whole.mjs', isTime, timeout = TIMEOUT_MS }) {
  const folder = temporaryFolder(t);
  const random = randomNumbers(seed);
  const options = {
    module: { ...module, sabfs: { path: '/opfs', folder, volume, capacity, ...sabfs } },
    timeout,
  };
  await runRounds('Node', count, seed, async (number, args, last, said) => {
    if (number) assertCopySound(path.join(folder, volume), path.join(folder, 'copy'), said);
    if (last) return found(await runInNode('kill-load', { ...options, args }));
    const delay = isTime ? 0 : killDelay(random);
    return killNodeWhen(isTime ?? isReady, 'kill-load', {
      ...options, args, delay, prepare: path.join(import.meta.dirname, prepare),
    });
  });
}

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

/** Kills a browser in each of `count` rounds. */
export async function killBrowser(t, name, count, seed, { sabfs, module = {}, prepare, isTime, timeout = TIMEOUT_MS }) {
  const copy = temporaryFolder(t);
  const server = await serve({
    roots: [root],
    routes: outputRoute,
    posts: { '/volume': (body, { search }) => fs.writeFileSync(path.join(copy, search.slice(1)), body) },
  });
  t.after(() => server.close());
  const random = randomNumbers(seed);
  const profile = temporaryProfile(t);
  const options = {
    module: { ...module, sabfs: { path: '/opfs', volume, capacity, ...sabfs } },
    timeout,
  };
  await runRounds(name, count, seed, async (number, args, last, said) => {
    const browser = await launch({ t, browser: name, profile });
    if (number) {
      await browser.goto(`${server.url}/blank.html`);
      await browser.page.call(sendVolume, volume);
      assertSound(copy, said);
    }
    if (last) return found(await runInBrowser(browser, server, 'kill-load', { ...options, args }));
    const delay = isTime ? 0 : killDelay(random);
    return killBrowserWhen(isTime ?? isReady, browser, server, 'kill-load', {
      ...options, args, delay, ...(prepare && { prepare: `/tests/kill/${prepare}` }),
    });
  });
}
