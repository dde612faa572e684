// What system calls answer at /opfs in Node, call by call, is what Linux answers.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { compareChecks, inNode, onHost, skip } from '../harness/differential.mjs';
import { programs, sources } from './programs.mjs';

// Of the host's file systems tmpfs is the one without limits of its own.
const above = fs.existsSync('/dev/shm') ? '/dev/shm' : undefined;

for (const { name, flags } of programs) {
  test(`${name} in Node`, { skip }, async (t) => {
    const expected = onHost(t, sources, flags, above);
    const count = await compareChecks(t, expected, await inNode(t, name, { timeout: 300_000 }));
    t.diagnostic(`${count} answers compared`);
    assert.ok(count > 400);
  });
}
