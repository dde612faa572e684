// A Node process killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { killNode } from './engines.mjs';
import { chooseSeed } from './rounds.mjs';

const ROUNDS = Number(process.env.SABFS_KILLS ?? 100);

test(`${ROUNDS} kills of a Node process`, (t) => killNode(t, ROUNDS, chooseSeed(), { sabfs: { durability: 'strict' } }));

// What is written and not flushed is lost with the power, not with the process.
test('10 kills of a Node process that does not wait for flushes', (t) =>
  killNode(t, 10, chooseSeed(), { sabfs: { durability: 'relaxed' } }));

test('the rounds find what a disk loses that writes late', async (t) => {
  const keeper = path.join(import.meta.dirname, 'late-keeper.cjs');
  const rounds = killNode(t, 10, chooseSeed(), { sabfs: { durability: 'strict', keeper } });
  await assert.rejects(rounds, /was acknowledged|were acknowledged/);
});
