// SQLite with its own unix VFS on /opfs: what it committed is there after the browser was killed.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import {
  assertWhole, capacity, checkArguments, insertArguments, momentInSecondBatch,
} from '../programs/sqlite_check.mjs';
import { killBrowserWhen, outputRoute } from '../programs/kill_browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');

let server;
before(async () => {
  server = await serve({ roots: [root], routes: outputRoute });
});
after(() => server.close());

for (const journalMode of ['DELETE', 'TRUNCATE']) {
  test(`SQLite keeps what it committed when the browser is killed (journal_mode=${journalMode})`, { skip }, async (t) => {
    const module = { sabfs: { path: '/opfs', volume: 'sqlite', capacity, durability: 'strict' } };
    const profile = temporaryProfile(t);
    const first = await launch({ t, profile });
    const lines = await killBrowserWhen(momentInSecondBatch(), first, server, 'sqlite-rows', {
      args: insertArguments(journalMode),
      module,
    });

    const second = await launch({ t, profile });
    const check = await runInBrowser(second, server, 'sqlite-rows', { args: checkArguments, module });
    assert.equal(check.code, 0, check.stderr);
    console.log(assertWhole(check.stdout, lines));
  });
}
