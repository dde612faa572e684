// The keeper's worker ended again and again, while its program goes on: another one follows it, nothing that was
// acknowledged is missing at the end, and the volume is sound.
import { test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { killBrowser, killNode } from './engines.mjs';
import { chooseSeed, TOGETHER } from './rounds.mjs';

const ROUNDS = 2;
const DEATHS = Number(process.env.SABFS_KILLS ?? 100);
// Chromium takes about two seconds to end a worker that sleeps in Atomics.wait.
const DEATHS_IN_BROWSER = Number(process.env.SABFS_KILLS ?? (process.env.SABFS_LONG ? 100 : 10));

/** More than one round, as only the first one's volume is new. */
function options(seed, deaths) {
  const count = Math.ceil(deaths / ROUNDS);
  return {
    layouts: [TOGETHER],
    sabfs: { durability: 'strict' },
    module: { keeperDeaths: { count, seed } },
    prepare: 'end-keepers.mjs',
    timeout: 600_000,
    isTime: (line) => line.endsWith(`keepers ended ${count}`),
  };
}

test(`${DEATHS} deaths of the keeper in Node`, (t) => {
  const seed = chooseSeed();
  return killNode(t, ROUNDS, seed, options(seed, DEATHS));
});

for (const name of ['chromium', 'firefox']) {
  test(`${DEATHS_IN_BROWSER} deaths of the keeper in ${name}`, { skip: unavailable(name) }, (t) => {
    const seed = chooseSeed();
    return killBrowser(t, name, ROUNDS, seed, options(seed, DEATHS_IN_BROWSER));
  });
}
