// SQLite with its own unix VFS on a volume in a folder: what it committed is there after a SIGKILL.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';
import { killNodeWhen } from '../programs/kill_node.mjs';
import {
  assertWhole, capacity, checkArguments, insertArguments, momentInSecondBatch,
} from '../programs/sqlite_check.mjs';

for (const journalMode of ['DELETE', 'TRUNCATE', 'PERSIST']) {
  test(`SQLite keeps what it committed when the process is killed (journal_mode=${journalMode})`, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-sqlite-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const module = { sabfs: { path: '/opfs', folder, capacity, durability: 'strict' } };
    const args = insertArguments(journalMode);
    const lines = await killNodeWhen(momentInSecondBatch(), 'sqlite-rows', { args, module });
    const check = await runInNode('sqlite-rows', { args: checkArguments, module });
    assert.equal(check.code, 0, check.stderr);
    console.log(assertWhole(check.stdout, lines));
  });
}
