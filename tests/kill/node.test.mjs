// A Node process killed at random moments: nothing that was acknowledged is missing, and the volume is sound.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { killNode } from './engines.mjs';
import { LOADS } from './judge.mjs';
import { APART, chooseSeed, TOGETHER } from './rounds.mjs';

const ROUNDS = Number(process.env.SABFS_KILLS ?? 100);

test(`${ROUNDS} kills of a Node process`, (t) =>
  killNode(t, ROUNDS, chooseSeed(), { sabfs: { durability: 'strict' }, delays: [50, 1000] }));

// What is written and not flushed is lost with the power, not with the process.
test('10 kills of a Node process that does not wait for flushes', (t) =>
  killNode(t, 10, chooseSeed(), { sabfs: { durability: 'relaxed' } }));

// What the judge says of each load when something is missing.
const LOSSES = {
  counters: /counter \d has \d+ at place \d+, where \d+ was acknowledged/,
  mail: /mail \S+ was acknowledged and is missing|mail \S+ is back, whose removal was acknowledged/,
  ledger: /\d+ transfers were acknowledged, \d+ are there/,
};

/** Runs rounds that must fail, and says in which way they did. */
async function assertLost(rounds, pattern) {
  await assert.rejects(rounds, (error) => {
    assert.match(error.message, pattern);
    console.log(`found: ${error.message}`);
    return true;
  });
}

// Rounds that miss this would miss anything. Each load alone, as the commits of one carry the changes of others.
for (const [i, load] of LOADS.entries()) {
  test(`the rounds find what is lost in ${load} without fsync`, (t) => {
    const options = { sabfs: { durability: 'strict' }, layouts: [[APART[i]]], hasty: true, delays: [0, 300] };
    return assertLost(killNode(t, 20, chooseSeed(), options), LOSSES[load]);
  });
}

test('the rounds find what a disk loses that writes late', (t) => {
  const keeper = path.join(import.meta.dirname, 'late-keeper.cjs');
  const options = { sabfs: { durability: 'strict', keeper }, layouts: [TOGETHER] };
  return assertLost(killNode(t, 10, chooseSeed(), options), /acknowledged/);
});
