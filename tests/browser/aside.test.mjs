// Pages that the browser puts aside when the user goes elsewhere, and shows again as they were when the user comes
// back (the back/forward cache).
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browserName, launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';

const skip = unavailable();
const chromium = browserName() === 'chromium';
const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 32 << 20;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A page that may not be stored is not put aside either.
const headers = { 'Cache-Control': 'max-age=60' };
const servers = {};
before(async () => {
  servers.isolated = await serve({ roots: [root], headers });
  servers.plain = await serve({ roots: [root], headers, isolate: false });
});
after(() => Promise.all(Object.values(servers).map((server) => server.close())));

const ways = {
  'shared memory': ['isolated', 'suite-shared-esm', 'strict'],
  'no shared memory': ['plain', 'suite-st-esm', 'relaxed'],
};

// Opens a page with a program that has the volume mounted.
async function open(page, [where, program, durability]) {
  await page.goto(`${servers[where].url}/blank.html`);
  const name = await page.evaluate(`(async () => {
    window.out = [];
    const print = (text) => { out.push(text); };
    addEventListener('pageshow', (event) => { window.shown = event.persisted; });
    const factory = (await import('/dist/programs/${program}.mjs')).default;
    window.module = await factory({ print, printErr: print });
    window.volume = await module.mountSABFS(${JSON.stringify({ durability, capacity: CAPACITY })});
    // Called after the program's own: holds the page up on its way to the cache.
    window.delay_ms = 0;
    addEventListener('pagehide', () => { for (const end = performance.now() + delay_ms; performance.now() < end;); });
    return volume.name;
  })()`);
  assert.equal(name, 'default');
}

const write = (page, name) => page.evaluate(`(module.FS.writeFile('/opfs/${name}', '${name}'), 1)`);
const read = (page, name) => page.evaluate(`module.FS.readFile('/opfs/${name}', { encoding: 'utf8' })`);
const sync = (page) => page.evaluate(`volume.sync().then(() => volume.stats().durable, (error) => error.message)`);

// Goes to another page. Firefox under test puts no page aside: there the page is told what it would be told then.
async function leave(page, [where]) {
  if (!chromium) return page.evaluate(`dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))`);
  await page.goto(`${servers[where].url}/tests/harness/program.html`);
}

async function comeBack(page) {
  if (!chromium) return page.evaluate(`dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`);
  await page.evaluate('void setTimeout(() => history.back(), 50)').catch(() => {});
  for (let waited = 0; ; waited += 100) {
    assert.ok(waited < 10_000, 'the page does not come back');
    await pause(100);
    const shown = await page.evaluate(`location.pathname !== "/blank.html" ? 0 : window.module ? window.shown : 'anew'`,
      { timeout: 2000 }).catch(() => 0);
    if (shown) return shown;
  }
}

// Why Chromium has thrown the page away.
const reasons = (page) => page.evaluate(
  `performance.getEntriesByType('navigation')[0].notRestoredReasons.reasons.map(({ reason }) => reason)`);

// With a program in a worker that shares the store. Chromium may have reasons to throw such a page away (docs/design.md); what must
// not be is that the worker's program takes the volume from its page.
test('a page that shares its store with a worker is put aside', { skip }, async (t) => {
  const browser = await launch({ t });
  await open(browser, ways['shared memory']);
  await browser.evaluate(`new Promise((resolve, reject) => {
    window.worker = new Worker('/tests/programs/outlive_worker.mjs', { type: 'module' });
    worker.onmessage = ({ data }) => { if (data.mounted) resolve(); else if (data.line) reject(new Error(data.line)); };
    worker.postMessage({ program: '/dist/programs/outlive-st-esm.mjs', idle: true, sabfs: { store: volume.store } });
  })`);
  await write(browser, 'one');
  assert.equal(await sync(browser), true);
  for (const file of ['two', 'three']) {
    await leave(browser, ways['shared memory']);
    await pause(1500);
    if ((await comeBack(browser)) === 'anew') {
      console.log(`a page that shares its store is not kept: ${await reasons(browser)}`);
      // Another one has the volume as soon as it wants it.
      await open(browser, ways['shared memory']);
      break;
    }
    await write(browser, file);
    assert.equal(await sync(browser), true);
  }
  assert.equal(await read(browser, 'one'), 'one');
  assert.deepEqual(await browser.evaluate('window.out'), []);
  await browser.evaluate('volume.unmount()');
});

for (const [name, way] of Object.entries(ways)) {
  test(`${name}: a page that comes back goes on`, { skip }, async (t) => {
    const browser = await launch({ t });
    await open(browser, way);
    await write(browser, 'one');
    // The keeper ends before, while and after the page is stored.
    for (const [file, delay] of Object.entries({ two: 0, three: 1, four: 2, five: 4, six: 8, seven: 16, eight: 100 })) {
      await browser.evaluate(`window.delay_ms = ${delay}`);
      await leave(browser, way);
      await pause(300);
      if ((await comeBack(browser)) === 'anew') assert.fail(`the page was not kept: ${await reasons(browser)}`);
      assert.equal(await read(browser, 'one'), 'one');
      await write(browser, file);
      assert.equal(await sync(browser), true);
    }
    assert.deepEqual(await browser.evaluate('window.out'), []);
    await browser.evaluate('volume.unmount()');
    const other = await browser.newPage();
    await open(other, way);
    for (const file of ['one', 'two', 'seven', 'eight']) assert.equal(await read(other, file), file);
  });

  test(`${name}: another tab has the volume while the page is aside`, { skip }, async (t) => {
    const browser = await launch({ t });
    await open(browser, way);
    await write(browser, 'mine');
    assert.equal(await sync(browser), true);
    await leave(browser, way);
    await pause(500);
    const other = await browser.newPage();
    await open(other, way);
    assert.equal(await read(other, 'mine'), 'mine');
    await write(other, 'theirs');
    assert.equal(await sync(other), true);

    // Chromium may drop a page whose lock somebody wants before it came to release it.
    if ((await comeBack(browser)) === 'anew') return t.diagnostic('the page was not kept');
    await pause(7000);
    await browser.evaluate(`void (() => { try { module.FS.writeFile('/opfs/late', 'x'); } catch {} })()`);
    assert.match(await sync(browser), /SABFS: cannot sync the volume: /);
    const said = (await browser.evaluate('window.out')).join('\n');
    assert.match(said, /open elsewhere: close the other tab/);
    assert.match(said, /reload/);
    // The other tab's volume is whole.
    assert.equal(await sync(other), true);
    await other.evaluate('volume.unmount()');
    await open(other, way);
    assert.equal(await read(other, 'theirs'), 'theirs');
    await other.close();
  });

  test(`${name}: another tab had the volume while the page was aside`, { skip }, async (t) => {
    const browser = await launch({ t });
    await open(browser, way);
    await leave(browser, way);
    await pause(500);
    const other = await browser.newPage();
    await open(other, way);
    await other.evaluate('volume.unmount()');
    // Chromium may drop a page whose lock somebody wants before it came to release it.
    if ((await comeBack(browser)) === 'anew') return t.diagnostic('the page was not kept');
    await pause(2000);
    await browser.evaluate(`void (() => { try { module.FS.writeFile('/opfs/late', 'x'); } catch {} })()`);
    assert.match(await sync(browser), /SABFS: cannot sync the volume: /);
    assert.match((await browser.evaluate('window.out')).join('\n'), /reload the page/);
    await open(other, way);
    await assert.rejects(read(other, 'late'));
  });
}
