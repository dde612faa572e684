// A Node process killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';
import { killNodeWhen } from '../programs/kill_node.mjs';
import { assertCopySound, capacity, chooseSeed, killDelay, randomNumbers, runRounds, temporaryFolder, volume } from './rounds.mjs';
import { isReady } from './judge.mjs';

const ROUNDS = Number(process.env.SABFS_KILLS ?? 100);

test(`${ROUNDS} kills of a Node process`, async (t) => {
  const folder = temporaryFolder(t);
  const seed = chooseSeed();
  const random = randomNumbers(seed);
  const module = { sabfs: { path: '/opfs', folder, volume, capacity, durability: 'strict' } };
  await runRounds('Node', ROUNDS, seed, async (number, args, last, said) => {
    if (number) assertCopySound(path.join(folder, volume), path.join(folder, 'copy'), said);
    if (!last) return killNodeWhen(isReady, 'kill-load', { args, module, delay: killDelay(random) });
    const { code, stdout, stderr } = await runInNode('kill-load', { args, module });
    assert.equal(code, 0, stderr);
    return stdout.split('\n');
  });
});
