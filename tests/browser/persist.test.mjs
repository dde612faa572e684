// The browser is asked to keep the origin's data: once, and nobody is surprised by a question.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browserName, launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
let server;
before(async () => { server = await serve({ roots: [root] }); });
after(() => server.close());

// How often a page asks that mounts with these options, twice; what the volume says then.
async function asks(browser, options) {
  await browser.goto(`${server.url}/blank.html`);
  return browser.evaluate(`(async () => {
    let asked = 0;
    StorageManager.prototype.persist = async () => { asked++; return true; };
    StorageManager.prototype.persisted = async () => asked > 0;
    const factory = (await import('/dist/programs/suite-shared-esm.mjs')).default;
    const module = await factory({});
    for (const path of ['/one', '/two']) {
      var volume = await module.mountSABFS({ path, capacity: ${16 << 20}, ...${JSON.stringify(options)} });
    }
    // The mount does not wait for the answer.
    await new Promise((resolve) => setTimeout(resolve, 500));
    return [asked, await volume.persisted()];
  })()`);
}

test('a volume that is persisted asks the browser to keep it', { skip }, async (t) => {
  const browser = await launch({ t });
  // Firefox would ask the user, Chromium decides by itself.
  const usual = browserName() === 'firefox' ? [0, false] : [1, true];
  assert.deepEqual(await asks(browser, {}), usual);
  assert.deepEqual(await asks(browser, { durability: 'relaxed' }), usual);
  assert.deepEqual(await asks(browser, { persist: true }), [1, true]);
  assert.deepEqual(await asks(browser, { persist: false }), [0, false]);
  assert.deepEqual(await asks(browser, { durability: 'memory' }), [0, false]);
});
