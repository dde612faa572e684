// No room in a browser: a quota that is used up while a program writes, one that is too small from the start, and
// private windows.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browserName, launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { hasWritten, runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';

const skip = unavailable();
const chromium = browserName() === 'chromium';
const root = path.resolve(import.meta.dirname, '../..');
const CAPACITY = 64 << 20;
const TIMEOUT = 25_000;

let server;
before(async () => {
  server = await serve({ roots: [root] });
});
after(() => server.close());

const run = (page, name, args, sabfs = {}) =>
  runInBrowser(page, server, name, { module: { sabfs: { capacity: CAPACITY, ...sabfs } }, args, timeout: TIMEOUT });
const ok = ({ code, stderr, stdout }) => assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, stdout);

// Chromium takes a quota for an origin at any time; no size gives the ordinary one.
const setQuota = (browser, quotaSize) =>
  browser.command('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize });

// Chromium tells pages a quota of its own invention.
const usageAndQuota = (browser) =>
  chromium ? browser.command('Storage.getUsageAndQuota', { origin: server.url })
    : browser.evaluate('navigator.storage.estimate().then(({ usage, quota }) => ({ usage, quota }))');

const LIMIT = 'dom.quotaManager.temporaryStorage.fixedLimit';
// The profile remembers the limit.
const launchWithoutQuota = (t, profile) => launch({ t, profile, preferences: { [LIMIT]: -1 } });

// A browser in which the tests' origin has so many bytes. Firefox reads a limit for all origins when it starts (KiB);
// up to 10 MiB one of them may take it all, beyond that a fifth but at least 10 MiB.
async function launchWithQuota(t, profile, bytes) {
  const browser = await launch({ t, profile, preferences: { [LIMIT]: (bytes >> 10) * (bytes > 10 << 20 ? 5 : 1) } });
  await browser.goto(`${server.url}/blank.html`);
  if (chromium) await setQuota(browser, bytes);
  const { quota } = await usageAndQuota(browser);
  assert.ok(Math.abs(quota - bytes) < 65536, `the quota is ${quota} instead of ${bytes}`);
  return browser;
}

// Mounts in the page's program and gives {code, name, message} of the error, or {mounted: true}.
const mount = (page, sabfs) => page.evaluate(`(async () => {
  const factory = (await import('${server.url}/dist/programs/suite-esm.mjs')).default;
  try {
    const sabfs = ${JSON.stringify({ capacity: CAPACITY, ...sabfs })};
    const module = await factory({ sabfs, print() {}, printErr() {} });
    const volume = await module.mountSABFS();
    await volume.unmount();
    return { mounted: true };
  } catch (error) {
    return { code: error.code, name: error.name, message: String(error.message) };
  }
})()`);

// The journal takes 16 MiB. Chromium gives a file that grows twice the room that it had, or none: here up to 16 MiB.
const QUOTA = 34 << 20;
const kept = (result) => /(\d+) files kept/.exec(result.stdout)[1];

test('quota: used up while a program writes, deleting files helps', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launchWithQuota(t, profile, QUOTA);
  const result = await run(browser, 'quota', ['/opfs', 'delete']);
  t.diagnostic(result.stdout.trim().replaceAll('\n', '; '));
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^full: (write|fsync) of file \d+, EDQUOT$/m);
  // Each message says what helps. There is one for each failure that follows a success.
  assert.match(result.stderr, /^(SABFS: the volume "default": cannot .*EDQUOT.*: free some space.*in memory only\n)+$/);
  await browser.close();

  browser = await launchWithoutQuota(t, profile);
  ok(await run(browser, 'quota', ['/opfs', 'find', kept(result), 'only']));
});

test('quota: used up while a program writes, raising it helps', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launchWithQuota(t, profile, QUOTA);
  if (!chromium) {
    await browser.close();
    return t.skip('Firefox reads the limit only when it starts');
  }
  const ended = run(browser, 'quota', ['/opfs', 'wait']);
  // The keeper tries in vain by itself, too.
  await hasWritten(browser, /waiting: [^]*(full: [^]*){5}/);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { usage } = await usageAndQuota(browser);
  assert.ok(usage > QUOTA - (4 << 20) && usage <= QUOTA, `${usage} bytes are used`);
  await setQuota(browser, undefined);
  const result = await ended;
  t.diagnostic(result.stdout.trim().replaceAll('\n', '; '));
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^full: (write|fsync) of file \d+, EDQUOT$/m);
  // It was the quota that was waited for.
  assert.ok(Number(/after (\d+) tries/.exec(result.stdout)[1]) > 3, result.stdout);
  await browser.close();

  browser = await launchWithoutQuota(t, profile);
  ok(await run(browser, 'quota', ['/opfs', 'find', kept(result), 'only']));
});

test('quota: a file that is too large to be synced, deleting it helps', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launchWithQuota(t, profile, QUOTA);
  const result = await run(browser, 'quota', ['/opfs', 'over']);
  t.diagnostic(result.stdout.trim().replaceAll('\n', '; '));
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^(fsync: EDQUOT\n){3}/m);
  await browser.close();

  // The quota is as it was.
  browser = await launchWithQuota(t, profile, QUOTA);
  ok(await run(browser, 'quota', ['/opfs', 'find', '5', 'only']));
});

test('quota: used up, and the browser is killed', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launchWithQuota(t, profile, QUOTA);
  const waiting = new Promise((resolve) => {
    browser.onConsole((line) => /waiting: \d+ files/.test(line) && resolve(line));
  });
  await browser.goto(`${server.url}/tests/harness/program.html`);
  await browser.evaluate(`void (window.Module = {
    arguments: ['/opfs', 'hang'], sabfs: { capacity: ${CAPACITY} }, print(text) { console.log(text); },
  }, document.body.append(Object.assign(document.createElement('script'), { src: '/dist/programs/quota.js' })))`);
  await waiting;
  await browser.kill();

  // What recovery writes to the image has room there: it mounts at once, and all that was synced is there.
  browser = await launchWithQuota(t, profile, QUOTA);
  assert.deepEqual(await mount(browser, {}), { mounted: true });
  ok(await run(browser, 'quota', ['/opfs', 'find', '3']));
  await browser.close();

  browser = await launchWithoutQuota(t, profile);
  ok(await run(browser, 'quota', ['/opfs', 'find', '4']));
});

test('quota: too small for a new volume', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launchWithQuota(t, profile, 256 << 10);
  const error = await mount(browser, {});
  t.diagnostic(error.message);
  assert.deepEqual([error.code, error.name], ['EDQUOT', 'SABFSError'], error.message);
  assert.match(error.message, /cannot open the volume "default": .*free some space.*or set durability: "memory"/);
  assert.deepEqual(await mount(browser, { durability: 'memory' }), { mounted: true });
  await browser.close();

  // What the attempt left behind is no obstacle.
  browser = await launchWithoutQuota(t, profile);
  ok(await run(browser, 'suite-mt', ['/opfs', 'leave']));
});

test('a private window', { skip }, async (t) => {
  const browser = await launch({
    t, args: chromium ? ['--incognito'] : [], preferences: { 'browser.privatebrowsing.autostart': true },
  });
  await browser.goto(`${server.url}/blank.html`);
  const strict = await mount(browser, {});
  // Chromium's has an OPFS in memory, Firefox's has none.
  if (chromium) {
    assert.deepEqual(strict, { mounted: true });
  } else {
    t.diagnostic(strict.message);
    assert.deepEqual([strict.code, strict.name], ['EOPNOTSUPP', 'SABFSError'], strict.message);
    assert.match(strict.message, /no private file system here, as in a private window.*: set durability: "memory"/);
  }
  ok(await run(browser, 'suite-mt', ['/opfs'], { durability: 'memory' }));
});
