// What has to be true of programs on one store after some of them were ended at random.
import assert from 'node:assert/strict';

/** How many are ended, in each engine. */
export const DEATHS = Number(process.env.SABFS_DEATHS ?? (process.env.SABFS_LONG ? 334 : 67));
export const CAPACITY = 64 << 20;
/** Programs that work at a time. */
export const COUNT = 3;

/** `found`: what shareAndKill() of tests/programs/share_host.mjs gives. */
export function judge(name, seed, found) {
  const { lines, codes, left, before, after, operations, p99Ms, worstMs } = found;
  console.log(`${name}: ${DEATHS} deaths (SABFS_SEED=${seed}), ${operations} operations; until the others went on: ` +
    `p99 ${p99Ms.toFixed(1)} ms, worst ${worstMs.toFixed(1)} ms`);
  assert.deepEqual(lines.filter((line) => !line.endsWith('0 failures')), []);
  assert.deepEqual(codes, new Array(COUNT).fill(0));
  assert.deepEqual(left, { clients: 1, gate: 0, lockGuard: 0, locks: 0 });
  assert.deepEqual(after, before);
}
