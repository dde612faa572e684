// The keeper's worker ended again and again, while its program goes on: another one follows it, nothing that was
// acknowledged is missing at the end, and the volume is sound.
import { test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { killBrowser, killNode } from './engines.mjs';
import { chooseSeed } from './rounds.mjs';

const DEATHS = Number(process.env.SABFS_KILLS ?? 100);

/** Two rounds, as the second one is on a volume that is not new. */
function options(seed) {
  return {
    sabfs: { durability: 'strict' },
    module: { keeperDeaths: { count: DEATHS / 2, seed } },
    prepare: 'end-keepers.mjs',
    isTime: (line) => line.endsWith(`keepers ended ${DEATHS / 2}`),
  };
}

test(`${DEATHS} deaths of the keeper in Node`, (t) => {
  const seed = chooseSeed();
  return killNode(t, 2, seed, options(seed));
});

for (const name of ['chromium', 'firefox']) {
  test(`${DEATHS} deaths of the keeper in ${name}`, { skip: unavailable(name) }, (t) => {
    const seed = chooseSeed();
    return killBrowser(t, name, 2, seed, options(seed));
  });
}
