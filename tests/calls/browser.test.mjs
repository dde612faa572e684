// What system calls answer at /opfs in a browser, call by call, is what Linux answers.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { compareChecks, onHost, skip } from '../harness/differential.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';
import { programs, sources } from './programs.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const above = fs.existsSync('/dev/shm') ? '/dev/shm' : undefined;

let server;
before(async () => {
  server = await serve({ roots: [root] });
});
after(() => server.close());

for (const { name, flags } of programs) {
  test(`${name} in ${process.env.SABFS_BROWSER}`, { skip: unavailable() || skip }, async (t) => {
    const page = await borrow(t);
    // A program without threads waits, which a page's main thread must not.
    const options = { args: ['/opfs'], module: { sabfs: { capacity: 64 << 20 } }, timeout: 300_000, worker: name === 'posix-st' };
    const { code, stdout, stderr } = await runInBrowser(page, server, name, options);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    const count = await compareChecks(t, onHost(t, sources, flags, above), stdout);
    t.diagnostic(`${count} answers compared`);
    assert.ok(count > 400);
  });
}
