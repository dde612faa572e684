// Chromium and Firefox killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import { test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { killBrowser } from './engines.mjs';
import { chooseSeed } from './rounds.mjs';

const ROUNDS = Number(process.env.SABFS_KILLS ?? (process.env.SABFS_LONG ? 100 : 15));

for (const name of ['chromium', 'firefox']) {
  test(`${ROUNDS} kills of ${name}`, { skip: unavailable(name) }, (t) =>
    killBrowser(t, name, ROUNDS, chooseSeed(), { sabfs: { durability: 'strict' } }));
}
