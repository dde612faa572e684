// Threads of one program that read one file at once, in Node.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';

const CAPACITY = 32 << 20;

for (const access of ['two-memory', 'one-memory', 'javascript']) {
  for (const durability of ['memory', 'strict']) {
    test(`threads read one file at once by ${access}, ${durability}`, async (t) => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-reads-'));
      t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
      const sabfs = { access, durability, capacity: CAPACITY, folder };
      const result = await runInNode('reads-mt', { module: { sabfs }, args: ['/opfs'] });
      assert.deepEqual(result, { code: 0, stdout: 'reads: 0 failures\n', stderr: '' });
    });
  }
}
