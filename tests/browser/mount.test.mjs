// Mounting in a browser: every way to reach the store, OPFS, reload and kill, and every error that tells what to do.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
const scripts = ['devices.js', 'relay.js', 'watch.js', 'heir.js', 'keeper.js']
  .map((name) => fs.readFileSync(path.join(root, 'emscripten', name), 'utf8'));
// A program looks for its data beside the page.
const locate = "export default (Module) => { Module.locateFile = (name) => '/dist/programs/' + name; };";
const script = (body) => ({ type: 'text/javascript', body });
const routes = { '/keeper.js': script(scripts.join('')), '/locate.mjs': script(locate) };

let server;
before(async () => {
  server = await serve({ roots: [root], routes });
});
after(() => server.close());

const CAPACITY = 64 << 20;
const ok = (result) => assert.deepEqual({ code: result.code, stderr: result.stderr }, { code: 0, stderr: '' }, result.stdout);
const run = (page, name, sabfs, args = ['/opfs'], where = server) =>
  runInBrowser(page, where, name, { module: { sabfs: { capacity: CAPACITY, ...sabfs } }, args });

// Loads the program that is an ES module in the page and runs an expression with it: `start(options)` resolves with
// the Module. A failure comes back as {code, message}.
const withModule = (page, expression, where = server) => {
  const script = `(async () => {
    const factory = (await import('${where.url}/dist/programs/suite-esm.mjs')).default;
    const start = (sabfs) => factory({ sabfs, print() {}, printErr() {} });
    try {
      return await (${expression})(start);
    } catch (error) {
      return { code: error.code, name: error.name, message: String(error.message) };
    }
  })()`;
  return page.evaluate(script);
};

for (const program of ['suite-mt', 'suite-st']) {
  for (const access of ['two-memory', 'one-memory', 'javascript']) {
    for (const durability of ['memory', 'strict']) {
      test(`${program}: every operation by ${access}, ${durability}`, { skip }, async (t) => {
        const page = await borrow(t);
        ok(await run(page, program, { access, durability }));
      });
    }
  }
  test(`${program}: a store of its own`, { skip }, async (t) => {
    const page = await borrow(t);
    // The threads would need more memory beside the volume than the program has.
    ok(await run(page, program, { access: 'own', durability: 'memory', capacity: 16 << 20 }));
  });
  test(`${program}: a full volume recovers`, { skip }, async (t) => {
    const page = await borrow(t);
    ok(await run(page, program, { capacity: 4 << 20 }, ['/opfs', 'full']));
  });
}

test('what was synced is there after a reload, a restart and a kill', { skip }, async (t) => {
  const profile = temporaryProfile(t);
  let browser = await launch({ t, profile });
  ok(await run(browser, 'suite-mt', {}, ['/opfs', 'leave']));
  // The harness opens a new page for each run: the old one's keeper has to let go of the files.
  ok(await run(browser, 'suite-mt', {}, ['/opfs', 'find']));
  ok(await run(browser, 'suite-st', {}, ['/opfs', 'find']));
  await browser.close();

  browser = await launch({ t, profile });
  ok(await run(browser, 'suite-mt', {}, ['/opfs', 'find']));
  // A program that stays until the browser is killed.
  const left = new Promise((resolve) => browser.onConsole((line) => line.includes('left: 0 failures') && resolve()));
  await browser.goto(`${server.url}/tests/harness/program.html`);
  await browser.evaluate(`void (window.Module = {
    arguments: ['/opfs', 'stay'], sabfs: { volume: 'second', capacity: ${CAPACITY} }, print(text) { console.log(text); },
  }, document.body.append(Object.assign(document.createElement('script'), { src: '/dist/programs/suite-mt.js' })))`);
  await left;
  await browser.kill();

  browser = await launch({ t, profile });
  ok(await run(browser, 'suite-mt', { volume: 'second' }, ['/opfs', 'find']));
});

test('a volume is open once', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  const opened = await withModule(browser, `async (start) => {
    window.held = await start({ volume: 'held', capacity: ${CAPACITY} });
    return (await held.mountSABFS()).name;
  }`);
  assert.equal(opened, 'held');
  const other = await browser.newPage();
  await other.goto(`${server.url}/blank.html`);
  const again = `async (start) => (await (await start({ volume: 'held', capacity: ${CAPACITY} })).mountSABFS()).name`;
  const busy = await withModule(other, again);
  assert.equal(busy.code, 'EBUSY');
  assert.match(busy.message, /"held".*open elsewhere: close the other tab/);
  await browser.evaluate('held.mountSABFS().then((volume) => volume.unmount())');
  assert.equal(await withModule(other, again), 'held');
});

test('mount, sync, unmount and mount again while the program runs', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  const result = await withModule(browser, `async (start) => {
    const module = await start(undefined);
    const progress = [];
    const options = { path: '/data', capacity: ${CAPACITY}, onProgress: (step) => progress.push(step.phase) };
    let volume = await module.mountSABFS(options);
    const seen = [volume.path, volume.access, volume.stats().capacityBytes >= ${CAPACITY} && volume.stats().sizeBytes > 0];
    await volume.sync();
    seen.push(volume.stats().durable, volume.stats().commits > 0);
    await volume.unmount();
    seen.push(await volume.sync().catch((error) => error.code));
    volume = await module.mountSABFS(options);
    seen.push(progress.includes('load'), volume.stats().freeBytes > 0);
    await volume.close();
    return seen;
  }`);
  assert.deepEqual(result, ['/data', 'two-memory', true, true, true, 'ENODEV', true, true]);
});

test('errors say what helps', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/blank.html`);
  const cases = [
    [{ size: 1 }, 'EINVAL', /there is no option "size"; there are path, store, volume, capacity,/],
    [{ capacity: 1000 }, 'EINVAL', /"capacity" has to be a whole number of bytes from 1 MiB.*not 1000/],
    [{ capacity: 'large' }, 'EINVAL', /"capacity".*not "large"/],
    [{ durability: 'fast' }, 'EINVAL', /"durability" has to be "strict", "relaxed" or "memory", not "fast"/],
    [{ path: 'data' }, 'EINVAL', /"path" has to be an absolute path/],
    [{ volume: '../x' }, 'EINVAL', /"volume" has to be a name/],
    [{ store: 5 }, 'EINVAL', /"store" has to be a shared WebAssembly.Memory/],
    [{ volume: 'none', readOnly: true, capacity: CAPACITY }, 'ENOENT', /readOnly forbids to make one/],
    [{ keeper: '/nowhere.js', capacity: CAPACITY }, 'EACCES', /keeper does not start from \/nowhere.js/],
  ];
  for (const [options, code, message] of cases) {
    const error = await withModule(browser, `(start) => start(${JSON.stringify(options)})`);
    assert.equal(error.code, code, `${JSON.stringify(options)}: ${error.message}`);
    assert.equal(error.name, 'SABFSError');
    assert.match(error.message, message);
  }
});

test('a page that is not isolated is told so, and can keep files in memory', { skip }, async (t) => {
  const plain = await serve({ roots: [root], routes, isolate: false });
  t.after(() => plain.close());
  const browser = await borrow(t);
  const result = await run(browser, 'suite-st', {}, ['/opfs'], plain).catch((error) => error);
  assert.match(String(result.stderr ?? result), /serve the page with Cross-Origin-Opener-Policy: same-origin/);
  ok(await run(browser, 'suite-st', { durability: 'memory' }, ['/opfs'], plain));
});

test('a policy that forbids embedded workers: the keeper comes from an address', { skip }, async (t) => {
  const csp = "script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'self'";
  const strict = await serve({ roots: [root], routes, csp });
  t.after(() => strict.close());
  const browser = await borrow(t);
  await browser.goto(`${strict.url}/blank.html`);
  const error = await withModule(browser, `(start) => start({ capacity: ${CAPACITY} })`, strict);
  assert.equal(error.code, 'EACCES');
  assert.match(error.message, /allow them \(worker-src blob:\) or set `keeper`/);
  ok(await run(browser, 'suite-mt', { keeper: '/keeper.js' }, ['/opfs', 'leave'], strict));
});

test('mounting from C', { skip }, async (t) => {
  const browser = await borrow(t);
  const mount = (program, way, durability) => runInBrowser(browser, server, program,
    { module: {}, args: [way, `${program}-${way}`, durability] });
  for (const way of ['main', 'thread', 'threads', 'backend']) {
    const result = await mount('mount-mt', way, '1');
    assert.deepEqual(result, { code: 0, stdout: `mounted by ${way}: 0 failures\n`, stderr: '' });
  }
  // A page's main thread cannot wait for a keeper, but needs none for a volume in memory.
  for (const program of ['mount-main', 'mount-st']) {
    assert.deepEqual(await mount(program, 'main', '3'), { code: 0, stdout: 'mounted by main: 0 failures\n', stderr: '' });
    const refused = await mount(program, 'main', '1');
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /keeper cannot start while this thread is blocked: set Module.sabfs, await Module.mountSABFS/);
  }
});

test('files that come with the program are put onto the volume', { skip }, async (t) => {
  const browser = await borrow(t);
  for (const program of ['preload-mt', 'preload-st']) {
    for (const count of [1, 2]) {
      const result = await runInBrowser(browser, server, program,
        { module: { sabfs: { capacity: CAPACITY, volume: program } }, args: ['/opfs'], prepare: '/locate.mjs' });
      assert.deepEqual(result, { code: 0, stdout: `run ${count}: 0 failures\n`, stderr: '' });
    }
  }
});

for (const program of ['closure-mt', 'closure-st']) {
  const missing = !fs.existsSync(path.join(root, 'dist/programs', `${program}.js`)) && 'there is no closure compiler';
  test(`${program}: minified by the closure compiler`, { skip: skip || missing }, async (t) => {
    const browser = await borrow(t);
    ok(await run(browser, program, {}));
    ok(await run(browser, program, {}, ['/opfs', 'leave']));
    ok(await run(browser, program, {}, ['/opfs', 'find']));
  });
}

test('a mount that only reads writes nothing', { skip }, async (t) => {
  const browser = await borrow(t);
  ok(await run(browser, 'suite-mt', {}, ['/opfs', 'leave']));
  const files = () => browser.evaluate(`(async () => {
    const found = {};
    const walk = async (directory, path) => {
      for await (const [name, handle] of directory.entries()) {
        if (handle.kind === 'directory') await walk(handle, path + name + '/');
        else {
          const bytes = await (await handle.getFile()).arrayBuffer();
          const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
          found[path + name] = [bytes.byteLength, ...digest.slice(0, 8)].join();
        }
      }
    };
    await walk(await navigator.storage.getDirectory(), '');
    return found;
  })()`);
  await browser.goto(`${server.url}/blank.html`);
  const before = await files();
  assert.deepEqual(Object.keys(before).sort(), ['sabfs/default/image', 'sabfs/default/journal']);
  ok(await run(browser, 'suite-mt', { readOnly: true }, ['/opfs', 'find']));
  const changed = await run(browser, 'suite-mt', { readOnly: true }, ['/opfs', 'leave']);
  assert.match(changed.stdout + changed.stderr, /Read-only file system/);
  await browser.goto(`${server.url}/blank.html`);
  const none = await withModule(browser, `(start) => start({ volume: 'none', readOnly: true, capacity: ${CAPACITY} })`);
  assert.equal(none.code, 'ENOENT', none.message);
  assert.deepEqual(await files(), before);
});
