// Pages without a SharedArrayBuffer: a program in a dedicated worker owns its files, one on the main thread sends what
// it writes to a worker that does.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browserName, launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { hasWritten, runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';
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

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition) {
  for (let waited = 0; !condition(); waited += 20) {
    assert.ok(waited < 20_000, `waited in vain for ${condition}`);
    await pause(20);
  }
}

// Starts a program on the main thread that writes, says "left" and stays.
async function start(browser, name, module) {
  const text = JSON.stringify({ arguments: ['/opfs', 'stay'], ...module });
  await browser.evaluate(`void (window.Module = {
    ...${text}, print(text) { console.log(text); }, printErr(text) { console.log(text); },
  }, document.body.append(Object.assign(document.createElement('script'), { src: '/dist/programs/${name}.js' })))`);
}

async function stay(browser, name, module) {
  let quiet;
  const left = new Promise((resolve) => {
    quiet = browser.onConsole((line) => line.includes('left: 0 failures') && resolve());
  });
  await browser.goto(`${server.url}/tests/harness/program.html`);
  await start(browser, name, module);
  await left;
  quiet();
}

// Calls a function with a program's module and its volume in the page; a failure comes back as {code, message}.
async function withModule(page, sabfs, body) {
  await page.goto(`${server.url}/blank.html`);
  return page.evaluate(`(async () => {
    window.out = [];
    const print = (text) => { out.push(text); };
    const factory = (await import('${server.url}/dist/programs/suite-st-esm.mjs')).default;
    try {
      const module = await factory({ print, printErr: print });
      const volume = await module.mountSABFS(${JSON.stringify({ capacity: CAPACITY, ...sabfs })});
      return await (${body})(module, volume);
    } catch (error) {
      return { code: error.code, name: error.name, message: String(error.message), stack: error.stack };
    }
  })()`);
}

test('the pages of these tests are not isolated', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  assert.equal(await browser.evaluate('crossOriginIsolated'), false);
});

for (const durability of ['strict', 'relaxed']) {
  const worker = true;
  test(`in a worker, ${durability}: every operation, a full volume`, { skip }, async (t) => {
    const browser = await borrow(t);
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

test('on the main thread, relaxed: every operation, a full volume', { skip }, async (t) => {
  const browser = await borrow(t);
  ok(await run(browser, 'suite-st', { durability: 'relaxed' }));
  ok(await run(browser, 'suite-st', { durability: 'relaxed', volume: 'small', capacity: 4 << 20 }, ['/opfs', 'full']));
});

test('on the main thread, relaxed: what was handed over survives a kill', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  const module = { sabfs: { capacity: CAPACITY, durability: 'relaxed' } };
  let browser = await launch({ t, profile });
  // This program never lets the page's thread go: the worker does its part all the same.
  await stay(browser, 'suite-st', module);
  await pause(1000);
  await browser.kill();
  browser = await launch({ t, profile });
  ok(await run(browser, 'suite-st', module.sabfs, ['/opfs', 'find']));
  await withModule(browser, { durability: 'relaxed' }, `async (module, volume) => {
    module.FS.writeFile('/opfs/later', 'by the timer');
  }`);
  await pause(2500);
  await browser.kill();
  browser = await launch({ t, profile });
  assert.equal(await withModule(browser, { durability: 'relaxed' },
    `(module) => module.FS.readFile('/opfs/later', { encoding: 'utf8' })`), 'by the timer');
});

test('on the main thread, strict: refused, unless the program can be suspended', { skip }, async (t) => {
  const browser = await borrow(t);
  const refused = await run(browser, 'suite-st', { durability: 'strict' });
  assert.equal(refused.code, 'refused');
  assert.match(refused.stderr, /serve the page with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder/);
  assert.match(refused.stderr, /or run the program in a worker, or link it with -sJSPI or -sASYNCIFY, or set durability: "relaxed"/);
});

for (const program of ['suite-asyncify', 'suite-jspi']) {
  test(`on the main thread, strict: ${program}`, { skip }, async (t) => {
    const profile = temporaryProfile(t);
    let browser = await launch({ t, profile });
    await browser.goto(`${server.url}/blank.html`);
    if (program === 'suite-jspi' && !(await browser.evaluate(`'Suspending' in WebAssembly`))) {
      return t.skip('this browser has no JSPI');
    }
    ok(await run(browser, program));

    // fsync has to wait for a worker that is slow.
    const lines = [];
    browser.onConsole((line) => lines.push(line));
    await browser.goto(`${server.url}/tests/harness/program.html`);
    await browser.evaluate(`{
      const post = Worker.prototype.postMessage, kept = [];
      window.letGo = () => {
        Worker.prototype.postMessage = post;
        for (const [worker, ...message] of kept) worker.postMessage(...message);
      };
      Worker.prototype.postMessage = function (...message) {
        if (kept.length || message[0].order === 'calls') kept.push([this, ...message]);
        else post.apply(this, message);
      };
    }`.replace(/^\{/, '(() => {').replace(/\}$/, '})()'));
    await start(browser, program, { sabfs: { capacity: CAPACITY } });
    await pause(1500);
    assert.deepEqual(lines.filter((line) => line.includes('left')), []);
    await browser.evaluate('letGo()');
    await until(() => lines.some((line) => line.includes('left: 0 failures')));
    await browser.kill();

    browser = await launch({ t, profile });
    ok(await run(browser, program, {}, ['/opfs', 'find']));
  });
}

test('on the main thread: a quota that is used up', { skip: skip || (browserName() !== 'chromium' && 'only Chromium takes a quota at any time') }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launch({ t, profile });
  const setQuota = (quotaSize) => browser.command('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize });
  await browser.goto(`${server.url}/blank.html`);
  await setQuota(256 << 10);
  const none = await withModule(browser, { durability: 'relaxed' }, '() => 1');
  assert.equal(none.code, 'EDQUOT', none.message);
  await setQuota(24 << 20);
  const relaxed = await withModule(browser, { durability: 'relaxed', capacity: 64 << 20 }, `async (module, volume) => {
    window.module = module, window.volume = volume;
    module.FS.writeFile('/opfs/large', new Uint8Array(40 << 20).fill(7));
    const code = await volume.sync().catch((error) => [error.code, error.message]);
    // The next fsync says so too: the program checks each.
    module.callMain(['/opfs', 'leave']);
    return [...code, volume.stats().durable, window.out.join(' ')];
  }`);
  assert.equal(relaxed[0], 'EDQUOT', JSON.stringify(relaxed));
  assert.match(relaxed[1], /SABFS: cannot sync the volume: cannot .* the image: .*free some space/);
  assert.equal(relaxed[2], false);
  assert.match(relaxed[3], /fsync\(fd\) == 0/);
  await setQuota(undefined);
  assert.equal(await browser.evaluate('volume.sync().then(() => volume.stats().durable)'), true);
  await browser.kill();
  browser = await launch({ t, profile });
  assert.deepEqual(await withModule(browser, { durability: 'relaxed', capacity: 64 << 20 }, `(module) => {
    const bytes = module.FS.readFile('/opfs/large');
    module.callMain(['/opfs', 'find']);
    return [bytes.length, bytes.every((byte) => byte === 7), window.out.join(' ')];
  }`), [40 << 20, true, '/opfs find: 0 failures']);

  await setQuota(48 << 20);
  const strict = run(browser, 'quota-asyncify', { volume: 'strict', capacity: 64 << 20 }, ['/opfs', 'wait'],
    { timeout: 60_000 });
  await hasWritten(browser, /waiting: /);
  await setQuota(undefined);
  const result = await strict;
  t.diagnostic(result.stdout.trim().replaceAll('\n', '; '));
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^full: fsync of file \d+, EDQUOT$/m);
});

test('on the main thread: what is durable stays so while the keeper sees to the journal', { skip }, async (t) => {
  const browser = await borrow(t);
  const seen = await withModule(browser, { durability: 'relaxed' }, `async (module, volume) => {
    module.FS.writeFile('/opfs/file', 'text');
    await volume.sync();
    const { blocksWritten } = volume.stats(), { port1, port2 } = new MessageChannel();
    const turn = () => new Promise((resolve) => { port1.onmessage = resolve; port2.postMessage(0); });
    let looks = 0, undurable = 0;
    for (const end = performance.now() + 3000; performance.now() < end; looks++) {
      await turn();
      if (!volume.stats().durable) undurable++;
    }
    return [looks > 100, undurable, volume.stats().blocksWritten > blocksWritten];
  }`);
  assert.deepEqual(seen, [true, 0, true]);
});

test('on the main thread: mounted once, and free again', { skip }, async (t) => {
  const browser = await borrow(t);
  const durability = 'relaxed';
  const first = await withModule(browser, { durability }, `async (module, volume) => {
    window.volume = volume;
    module.FS.writeFile('/opfs/file', 'from the first');
    return [volume.access, volume.store];
  }`);
  assert.deepEqual(first, ['own', null]);
  const other = await browser.newPage();
  const busy = await withModule(other, { durability }, '() => 1');
  assert.equal(busy.code, 'EBUSY', busy.message);
  await browser.evaluate('volume.unmount()');
  assert.equal(await withModule(other, { durability },
    `(module) => module.FS.readFile('/opfs/file', { encoding: 'utf8' })`), 'from the first');
});
