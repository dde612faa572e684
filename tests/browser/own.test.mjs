// Pages without a SharedArrayBuffer: a program in a dedicated worker owns its files, one on the main thread sends what
// it writes to a worker that does.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { killBrowserWhen, outputRoute } from '../programs/kill_browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 32 << 20;

let server;
before(async () => {
  server = await serve({ roots: [root], routes: outputRoute, isolate: false });
});
after(() => server.close());

const ok = (result) => assert.deepEqual({ code: result.code, stderr: result.stderr }, { code: 0, stderr: '' }, result.stdout);
const run = (page, name, sabfs = {}, args = ['/opfs'], more = {}) =>
  runInBrowser(page, server, name, { module: { sabfs: { capacity: CAPACITY, ...sabfs } }, args, ...more });

test('the pages of these tests are not isolated', { skip }, async (t) => {
  const browser = await launch({ t });
  await browser.goto(`${server.url}/blank.html`);
  assert.equal(await browser.evaluate('crossOriginIsolated'), false);
});

for (const durability of ['strict', 'relaxed']) {
  const worker = true;
  test(`in a worker, ${durability}: every operation, a full volume`, { skip }, async (t) => {
    const browser = await launch({ t });
    ok(await run(browser, 'suite-st', { durability }, ['/opfs'], { worker }));
    ok(await run(browser, 'suite-st', { durability, volume: 'small', capacity: 4 << 20 }, ['/opfs', 'full'], { worker }));
  });

  test(`in a worker, ${durability}: what was synced survives a kill`, { skip }, async (t) => {
    const profile = temporaryProfile(t);
    const module = { sabfs: { capacity: CAPACITY, durability } };
    let browser = await launch({ t, profile });
    await killBrowserWhen((line) => line.includes('left: 0 failures'), browser, server, 'suite-st',
      { module, args: ['/opfs', 'stay'], worker });
    browser = await launch({ t, profile });
    ok(await run(browser, 'suite-st', {}, ['/opfs', 'find'], { worker }));
    // A program on the main thread has the same files.
    ok(await run(browser, 'suite-st', { durability: 'relaxed' }, ['/opfs', 'find']));
  });
}
