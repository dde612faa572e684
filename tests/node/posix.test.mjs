// System calls answer as Linux's.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { compare, skip } from '../harness/differential.mjs';

const folder = path.resolve(import.meta.dirname, '../programs/posix');
const sources = fs.readdirSync(folder).filter((name) => name.endsWith('.c')).map((name) => `tests/programs/posix/${name}`);

for (const [name, flags] of [['posix-mt', ['-lpthread']], ['posix-st', []]]) {
  test(`${name}: system calls answer as the host's`, { skip }, async (t) => {
    const lines = (await compare(t, name, sources, flags)).split('\n');
    assert.ok(lines.includes('--- rename'));
    t.diagnostic(`${lines.filter((line) => line && !line.startsWith('---')).length} answers compared`);
  });
}

for (const [name, flags] of [['locks-mt', ['-lpthread']], ['locks-st', ['-DNOTHREADS']]]) {
  test(`${name}: fcntl and flock answer as the host's`, { skip }, async (t) => {
    assert.match(await compare(t, name, ['tests/programs/locks.c'], flags), /^a process locks: ok$/m);
  });
}
