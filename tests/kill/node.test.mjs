// A Node process killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';
import { killNodeWhen } from '../programs/kill_node.mjs';
import { assertCopySound, capacity, chooseSeed, killDelay, randomNumbers, runRounds, temporaryFolder, volume } from './rounds.mjs';
import { isReady } from './judge.mjs';

const ROUNDS = Number(process.env.SABFS_KILLS ?? 100);

async function killRounds(t, count, settings) {
  const folder = temporaryFolder(t);
  const seed = chooseSeed();
  const random = randomNumbers(seed);
  const prepare = path.join(import.meta.dirname, 'print-whole.mjs');
  const module = { sabfs: { path: '/opfs', folder, volume, capacity, ...settings } };
  await runRounds('Node', count, seed, async (number, args, last, said) => {
    if (number) assertCopySound(path.join(folder, volume), path.join(folder, 'copy'), said);
    if (!last) return killNodeWhen(isReady, 'kill-load', { args, module, prepare, delay: killDelay(random) });
    const { code, stdout, stderr } = await runInNode('kill-load', { args, module, prepare });
    assert.equal(code, 0, stderr);
    return stdout.split('\n');
  });
}

test(`${ROUNDS} kills of a Node process`, (t) => killRounds(t, ROUNDS, { durability: 'strict' }));

// What is written and not flushed is lost with the power, not with the process.
test('10 kills of a Node process that does not wait for flushes', (t) => killRounds(t, 10, { durability: 'relaxed' }));

test('the rounds find what a disk loses that writes late', async (t) => {
  const keeper = path.join(import.meta.dirname, 'late-keeper.cjs');
  await assert.rejects(killRounds(t, 10, { durability: 'strict', keeper }), /was acknowledged|were acknowledged/);
});
