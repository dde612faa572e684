// Advisory locks answer as Linux's; what other calls answer is compared by tests/calls.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, skip } from '../harness/differential.mjs';

for (const [name, flags] of [['locks-mt', ['-lpthread']], ['locks-st', ['-DNOTHREADS']]]) {
  test(`${name}: fcntl and flock answer as the host's`, { skip }, async (t) => {
    assert.match(await compare(t, name, ['tests/programs/locks.c'], flags), /^a process locks: ok$/m);
  });
}
