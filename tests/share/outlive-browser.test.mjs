// Programs in workers of a page that share a store, which outlives each of them: the one that has made it and runs the keeper ends in
// every way, and the others go on.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { sendVolume } from '../kill/engines.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';

const root = path.resolve(import.meta.dirname, '../..');
// Chromium takes two seconds to end a worker that is never at rest.
const DEATHS = Number(process.env.SABFS_DEATHS ?? (process.env.SABFS_LONG ? 100 : 20));

// In the page: what all tests need.
async function scene({ storeBytes, sabfs }) {
  const program = '/dist/programs/outlive-st-esm.mjs';
  const { Programs, endAtRandom, judgeFiles, sleep } = await import('/tests/programs/outlive_host.mjs');
  const { randomNumbers } = await import('/tests/kill/random.mjs');
  const makeWorker = () => new Worker('/tests/programs/outlive_worker.mjs', { type: 'module' });
  const programs = new Programs({ makeWorker, program, storeBytes, sabfs });
  const make = async (options) => (await import(program)).default({ sabfs: { ...sabfs, ...options } });
  return {
    programs, endAtRandom, randomNumbers, sleep, make,
    async endAll() {
      for (const place of [...programs.running.keys()]) await programs.exit(place);
      await programs.closed();
    },
    // A store of its own reads the files. The locks of those who have just ended may be there for a moment.
    async judge() {
      const module = await make({ capacity: 32 << 20 });
      const volume = await module.mountSABFS();
      const wrong = judgeFiles(module.FS, programs.acknowledged);
      await volume.unmount();
      return { wrong, lines: programs.lines };
    },
  };
}

async function randomly({ count, deaths, seed, memory }) {
  const { programs, endAtRandom, randomNumbers, endAll, judge } = await window.scene;
  const found = await endAtRandom(programs, { count, deaths, random: randomNumbers(seed) });
  if (!memory) {
    await endAll();
    return { ...found, ...await judge() };
  }
  for (let place = 0; place < count; place++) await programs.exit(place);
  return { ...found, wrong: [], lines: programs.lines };
}

// The volume goes from one program to the next in all ways that there are but sudden death.
async function inOrder() {
  const { programs, endAll, judge } = await window.scene;
  await programs.start(0);
  await programs.start(1);
  let host = programs.host();
  const moved = async (what) => {
    await programs.until(() => ![host, 0].includes(programs.host()), what);
    host = programs.host();
  };
  const aborted = await programs.abort(0);
  await moved('after an abort');
  await programs.progress([1], 'after an abort');
  await aborted.terminate();
  await programs.start(0);
  await programs.start(2);
  const ended = await programs.exit(1);
  await moved('after an end in order');
  await programs.progress([0, 2], 'after an end in order');
  await ended.terminate();
  // One that has the volume mounted and does nothing.
  const idle = await programs.start(3, { idle: true });
  await Promise.all([programs.terminate(0), programs.terminate(2)]);
  await programs.until(() => programs.host() !== host, 'after two deaths');
  await programs.start(0);
  await programs.progress([0], 'after two deaths');
  host = programs.host();
  idle.worker.postMessage({ unmount: true });
  await idle.done;
  await moved('after an unmount');
  await programs.progress([0], 'after an unmount');
  programs.running.delete(3);
  await endAll();
  return judge();
}

// Whoever comes later finds a store whose programs have all died.
async function lateComer() {
  const { programs, endAll, judge, sleep } = await window.scene;
  await programs.start(0);
  await programs.start(1);
  await programs.progress([0, 1], 'together');
  const [one, two] = [...programs.running.values()];
  one.worker.terminate();
  two.worker.terminate();
  await sleep(3000);
  programs.note(0);
  programs.note(1);
  if (!programs.isReady()) throw new Error('the volume is gone');
  await programs.start(2);
  await programs.progress([2], 'alone');
  await endAll();
  return judge();
}

// A frame makes the volume and is taken away.
async function frame() {
  const { programs, endAll, judge } = await window.scene;
  const element = document.createElement('iframe');
  element.src = '/blank.html';
  const loaded = new Promise((resolve) => element.addEventListener('load', resolve));
  document.body.append(element);
  await loaded;
  element.contentWindow.store = programs.store;
  await element.contentWindow.eval(`(async () => {
    const { default: make } = await import('/dist/programs/outlive-st-esm.mjs');
    const module = await make({ sabfs: { store, durability: 'strict' } });
    await module.mountSABFS();
    module.FS.writeFile('/opfs/of-the-frame', 'x');
  })()`);
  await programs.start(0);
  const host = programs.host();
  element.remove();
  await programs.until(() => ![host, 0].includes(programs.host()), 'after the end of the frame');
  await programs.progress([0], 'after the end of the frame');
  await endAll();
  return judge();
}

for (const name of ['chromium', 'firefox']) {
  // Runs a function above in a page with a new store and no volume, and looks at the volume's files after that.
  const run = async (t, script, { durability = 'strict', access, ...options }, said) => {
    const folder = temporaryFolder(t), sabfs = { durability, access };
    let go, tell;
    const time = new Promise((resolve) => { go = resolve; });
    const told = new Promise((resolve) => { tell = resolve; });
    const server = await serve({
      roots: [root],
      posts: {
        '/volume': (body, { search }) => fs.writeFileSync(path.join(folder, search.slice(1)), body),
        '/go': () => time,
        '/found': (body) => tell(JSON.parse(body)),
      },
    });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    await browser.evaluate(`void (async () => {
      const post = (path, body) => fetch(path, { method: 'POST', body });
      await post('/go', '');
      try {
        window.scene = (${scene})(${JSON.stringify({ storeBytes: 48 << 20, sabfs })});
        const found = await (${script})(${JSON.stringify(options)});
        if (${durability !== 'memory'}) await (${sendVolume})('default');
        await post('/found', JSON.stringify(found));
      } catch (error) {
        await post('/found', JSON.stringify({ error: String(error) + error.stack }));
      }
    })()`);
    const found = await browser.unobserved(() => {
      go();
      return told;
    });
    assert.equal(found.error, undefined, said);
    assert.deepEqual([found.wrong, found.lines], [[], []], said);
    if (durability !== 'memory') assertSound(folder, said);
    return found;
  };
  const skip = unavailable(name);

  for (const [durability, access] of [['strict', 'two-memory'], ['relaxed', 'one-memory'], ['memory', 'javascript']]) {
    test(`${name}, ${durability}: whoever ends, the others go on`, { skip }, async (t) => {
      const seed = chooseSeed(), memory = durability === 'memory';
      const found = await run(t, randomly, { durability, access, count: 3, deaths: DEATHS, seed, memory }, `seed ${seed}`);
      console.log(`${name}, ${durability}: ${DEATHS} deaths, ${found.hosts} of them the keeper's (SABFS_SEED=${seed}); the ` +
        `others waited: p99 ${found.p99Ms.toFixed(1)} ms, worst ${found.worstMs.toFixed(1)} ms`);
      assert.ok(found.hosts > 0);
    });
  }
  test(`${name}: the volume is handed over by those who abort, end or unmount`, { skip }, (t) => run(t, inOrder, {}, 'in order'));
  test(`${name}: who comes to a store whose programs have all died goes on with it`, { skip }, (t) => run(t, lateComer, {}, 'late'));
  test(`${name}: a frame that is taken away leaves the volume to the page`, { skip }, (t) => run(t, frame, {}, 'frame'));
}
