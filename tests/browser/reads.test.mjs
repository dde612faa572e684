// Threads of one program that read one file at once, in a browser.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 32 << 20;

let server;
before(async () => {
  server = await serve({ roots: [root] });
});
after(() => server.close());

for (const access of ['two-memory', 'one-memory', 'javascript']) {
  test(`threads read one file at once by ${access}`, { skip }, async (t) => {
    const page = await borrow(t);
    for (const durability of ['memory', 'strict']) {
      const module = { sabfs: { access, durability, capacity: CAPACITY } };
      const result = await runInBrowser(page, server, 'reads-mt', { module, args: ['/opfs'] });
      assert.deepEqual(result, { code: 0, stdout: 'reads: 0 failures\n', stderr: '' });
    }
  });
}
