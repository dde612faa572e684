// Rounds of kills in Node and in the browsers. The options of both, beside those of runRounds (rounds.mjs):
//   sabfs    settings for the volumes
//   module   further settings for the program's Module
//   prepare  a module of this folder that is called with Module before the program starts
//   timeout  for a round, in ms
//   isTime   whether this line of the program's output is the moment; else it comes some time after all are ready
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { launch, temporaryProfile } from '../harness/browser.mjs';
import { runInBrowser, runInNode } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { killBrowserWhen, outputRoute } from '../programs/kill_browser.mjs';
import { killNodesWhen } from '../programs/kill_node.mjs';
import { isReady } from './judge.mjs';
import { assertCopySound, assertSound, capacity, runRounds, temporaryFolder } from './rounds.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;

function found({ code, stdout, stderr }) {
  assert.equal(code, 0, stderr);
  return stdout.split('\n');
}

// Whether a line is the one by which the last of the jobs is ready.
function allReady(jobs) {
  let left = jobs.length;
  return (line) => isReady(line) && --left === 0;
}

/** Kills Node processes, one for each volume, in each of `count` rounds. */
export async function killNode(t, count, seed, options) {
  const { sabfs, module = {}, prepare = 'print-whole.mjs', isTime, timeout = TIMEOUT_MS } = options;
  const folder = temporaryFolder(t);
  await runRounds('Node', count, seed, options, async ({ jobs, killed, last, said, moment }) => {
    for (const volume of killed) assertCopySound(path.join(folder, volume), path.join(folder, 'copy'), said);
    const all = jobs.map(({ volume, args, lines }) => ({
      args,
      lines,
      module: { ...module, sabfs: { path: '/opfs', folder, volume, capacity, ...sabfs } },
    }));
    if (last) {
      const whole = path.join(import.meta.dirname, 'print-whole.mjs');
      for (const job of all) job.lines.push(...found(await runInNode('kill-load', { ...job, prepare: whole, timeout })));
      return;
    }
    for (const job of all) job.prepare = path.join(import.meta.dirname, prepare);
    await killNodesWhen(isTime ?? allReady(jobs), 'kill-load', all, { delay: isTime ? 0 : moment, timeout });
  });
}

// In the page: sends a volume's files to the server, as they lie in the origin's private file system.
export async function sendVolume(volume) {
  const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('sabfs');
  const folder = await all.getDirectoryHandle(volume);
  for (const name of ['image', 'journal']) {
    const file = await (await folder.getFileHandle(name)).getFile();
    const answer = await fetch(`/volume?${name}`, { method: 'POST', body: file });
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  }
}

/** Kills a browser, with a page for each volume, in each of `count` rounds. */
export async function killBrowser(t, name, count, seed, options) {
  const { sabfs, module = {}, prepare, isTime, timeout = TIMEOUT_MS } = options;
  const copy = temporaryFolder(t);
  // The lines of this round, by their volumes.
  const heard = new Map();
  const server = await serve({
    roots: [root],
    routes: outputRoute,
    posts: {
      '/volume': (body, { search }) => fs.writeFileSync(path.join(copy, search.slice(1)), body),
      '/said': (body, { search }) => heard.get(search.slice(1)).push(String(body)),
    },
  });
  t.after(() => server.close());
  const profile = temporaryProfile(t);
  await runRounds(name, count, seed, options, async ({ jobs, killed, last, said, moment }) => {
    const browser = await launch({ t, browser: name, profile });
    if (killed.length) await browser.goto(`${server.url}/blank.html`);
    for (const volume of killed) {
      await browser.page.call(sendVolume, volume);
      assertSound(copy, said);
    }
    for (const { volume, lines } of jobs) heard.set(volume, lines);
    const all = jobs.map(({ volume, args }) => ({
      args,
      module: { ...module, sabfs: { path: '/opfs', volume, capacity, ...sabfs } },
    }));
    if (last) {
      for (const job of all) found(await runInBrowser(browser, server, 'kill-load', { ...job, timeout }));
      return;
    }
    await killBrowserWhen(isTime ?? allReady(jobs), browser, server, 'kill-load', {
      jobs: all, timeout, delay: isTime ? 0 : moment, ...(prepare && { prepare: `/tests/kill/${prepare}` }),
    });
    // What had left the browser counts.
    await server.idle();
  });
}
