// Programs in threads of a Node process that share a store, which outlives each of them: the one that has made it and runs the keeper
// ends in every way, and the others go on.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { randomNumbers } from '../kill/random.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';
import { endAtRandom, judgeFiles, Programs } from '../programs/outlive_host.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const program = pathToFileURL(path.join(root, 'dist/programs/outlive-st-esm.mjs')).href;
const script = path.join(root, 'tests/programs/outlive_worker.mjs');
const DEATHS = Number(process.env.SABFS_DEATHS ?? (process.env.SABFS_LONG ? 300 : 60));
const storeBytes = 48 << 20;

function begin(t, sabfs = {}, keeper = undefined) {
  const folder = temporaryFolder(t);
  const programs = new Programs({
    makeWorker: () => new Worker(script), program, storeBytes, sabfs: { folder, durability: 'strict', keeper, ...sabfs },
  });
  t.after(() => programs.end());
  return { folder, programs };
}

// A store of its own reads the files, and finds all that was acknowledged.
async function judge(folder, programs, said = '') {
  assertSound(path.join(folder, 'default'), said);
  const { default: make } = await import(program);
  const module = await make({ sabfs: { folder, capacity: 32 << 20 } });
  const volume = await module.mountSABFS();
  assert.deepEqual(judgeFiles(module.FS, programs.acknowledged), [], said);
  assert.deepEqual(programs.lines, [], said);
  await volume.unmount();
  assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
}

// Those who are left end in order, and the last one closes the volume.
async function endAll(programs) {
  for (const place of [...programs.running.keys()]) await programs.exit(place);
  await programs.closed();
}

for (const durability of ['strict', 'relaxed']) {
  test(`Node, ${durability}: whoever ends, the others go on`, async (t) => {
    const { folder, programs } = begin(t, { durability }), seed = chooseSeed();
    const { hosts, p99Ms, worstMs } = await endAtRandom(programs, { count: 3, deaths: DEATHS, random: randomNumbers(seed) });
    console.log(`Node, ${durability}: ${DEATHS} deaths, ${hosts} of them the keeper's (SABFS_SEED=${seed}); the others ` +
      `waited: p99 ${p99Ms.toFixed(1)} ms, worst ${worstMs.toFixed(1)} ms`);
    assert.ok(hosts > 0);
    await endAll(programs);
    await judge(folder, programs, `seed ${seed}`);
  });
}

test('Node, memory: somebody watches, whoever ends', async (t) => {
  const { programs } = begin(t, { durability: 'memory' }), seed = chooseSeed();
  const { hosts } = await endAtRandom(programs, { count: 3, deaths: 20, random: randomNumbers(seed) });
  assert.ok(hosts > 0);
  for (const place of [0, 1, 2]) await programs.exit(place);
  assert.deepEqual(programs.lines, []);
});

test('a program that aborts hands the volume over', async (t) => {
  const { folder, programs } = begin(t);
  await programs.start(0);
  await programs.start(1);
  const host = programs.host();
  const worker = await programs.abort(0);
  await programs.progress([1], 'after an abort');
  await programs.until(() => programs.host() !== host && programs.host() !== 0, 'the volume stays');
  await programs.progress([1], 'after the volume was handed over');
  assert.equal(programs.living(), 1);
  await worker.terminate();
  await programs.progress([1], 'after the end of the worker');
  // As a client, which recovers what the first one left.
  await programs.start(0);
  assert.deepEqual(programs.clients().slice(1), [0, 2, 0]);
  await programs.progress([0, 1], 'together again');
  await endAll(programs);
  await judge(folder, programs);
});

test('a program that ends in order hands the volume over', async (t) => {
  const { folder, programs } = begin(t);
  await programs.start(0);
  await programs.start(1);
  const host = programs.host(), first = await programs.exit(0);
  await programs.until(() => ![host, 0].includes(programs.host()), 'the volume stays');
  await programs.progress([1], 'after an end in order');
  await first.terminate();
  await programs.start(0);
  await programs.progress([0, 1], 'together');
  // From the one that got it to the third one, and to nobody.
  const second = await programs.exit(1);
  await programs.progress([0], 'after the second end');
  await second.terminate();
  await programs.progress([0], 'after the end of the second worker');
  await endAll(programs);
  await judge(folder, programs);
});

test('a volume that is unmounted stays with those who have it, and is free when the last one has left', async (t) => {
  const { folder, programs } = begin(t);
  const [one, two, three] = [await programs.start(0, { idle: true }), await programs.start(1), await programs.start(2, { idle: true })];
  one.worker.postMessage({ unmount: true });
  await one.done;
  assert.ok(programs.isReady());
  await programs.progress([1], 'after an unmount');
  await programs.exit(1);
  three.worker.postMessage({ unmount: true });
  await three.done;
  await programs.closed();
  assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
  // The same store takes it again.
  const four = await programs.start(3);
  await programs.progress([3], 'in a volume that was opened again');
  for (const { worker } of [one, two, three]) await worker.terminate();
  await programs.progress([3], 'after the end of those who had left');
  programs.running.delete(0);
  programs.running.delete(2);
  await endAll(programs);
  assert.equal(await four.ended, 0);
  await judge(folder, programs);
});

test('who leaves a moment after all others were ended closes the volume', async (t) => {
  const { folder, programs } = begin(t);
  const { default: make } = await import(program);
  const module = await make({ sabfs: { folder, capacity: 32 << 20, durability: 'strict' } });
  const volume = await module.mountSABFS();
  const others = [await programs.start(0, { store: volume.store }), await programs.start(1, { store: volume.store })];
  await Promise.all(others.map(({ worker }) => worker.terminate()));
  await volume.unmount();
  assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
  assertSound(path.join(folder, 'default'));
});

test('a thread that ends by itself leaves the volume to the others', async (t) => {
  const { folder, programs } = begin(t);
  const one = await programs.start(0, { idle: true });
  await programs.start(1);
  const gone = new Promise((resolve) => one.worker.on('exit', resolve));
  one.worker.postMessage({ leave: true });
  assert.equal(await gone, 0);
  await programs.progress([1], 'after the end of the first thread');
  programs.note(0);
  await endAll(programs);
  await judge(folder, programs);
});

test('who comes to a store whose programs have all died goes on with it', async (t) => {
  const { folder, programs } = begin(t);
  await programs.start(0);
  await programs.start(1);
  await programs.progress([0, 1], 'together');
  await Promise.all([programs.running.get(1).worker.terminate(), programs.running.get(0).worker.terminate()]);
  programs.note(0);
  programs.note(1);
  assert.ok(programs.isReady());
  await programs.start(2);
  await programs.progress([2], 'alone');
  assert.equal(programs.living(), 1);
  await endAll(programs);
  await judge(folder, programs);
});

test('an fsync waits for the next keeper when the one that it has asked is ended', async (t) => {
  const { folder, programs } = begin(t);
  // Its keeper goes to sleep for ever in the middle of a commit.
  const keeper = path.join(root, 'tests/programs/sleeping_keeper.js');
  await programs.start(0, { idle: true, keeper });
  await programs.start(1);
  for (let steps = -1; steps !== programs.count(1); await sleep(300)) steps = programs.count(1);
  const steps = programs.count(1);
  assert.ok(steps > 0);
  await sleep(300);
  assert.equal(programs.count(1), steps, 'it waits');
  await programs.terminate(0);
  await programs.progress([1], 'after the end of the keeper that was asked');
  await endAll(programs);
  await judge(folder, programs);
});

test('a program that ends while it loads the volume holds up nobody', async (t) => {
  const { folder, programs } = begin(t);
  const keeper = path.join(root, 'tests/programs/sleeping_keeper.js');
  const first = programs.start(0, { keeper, volume: 'first' });
  first.catch(() => {});
  await programs.until(() => programs.words[32 >> 2] === 1 && fs.existsSync(path.join(folder, 'first/lock')), 'nobody begins');
  // It sleeps in the first flush.
  await sleep(200);
  assert.ok(!programs.isReady());
  const second = programs.start(1);
  await sleep(100);
  await programs.running.get(0).worker.terminate();
  programs.running.delete(0);
  await second;
  await programs.progress([1], 'alone');
  await endAll(programs);
  await judge(folder, programs);
});

test('a volume whose programs were all ended can be opened by others of the process', async (t) => {
  const { folder, programs } = begin(t);
  await programs.start(0);
  await programs.progress([0], 'alone');
  await programs.terminate(0);
  const others = new Programs({ makeWorker: () => new Worker(script), program, storeBytes, sabfs: { folder } });
  t.after(() => others.end());
  others.acknowledged.push(...programs.acknowledged);
  await others.start(0);
  await others.progress([0], 'in another store');
  await endAll(others);
  await judge(folder, others);
});

test('the end of a process is in order whoever has the keeper', async (t) => {
  const folder = temporaryFolder(t);
  const text = `
    import { Worker } from 'node:worker_threads';
    import { Programs } from ${JSON.stringify(path.join(root, 'tests/programs/outlive_host.mjs'))};
    import make from ${JSON.stringify(program)};
    const programs = new Programs({
      makeWorker: () => new Worker(${JSON.stringify(script)}), program: ${JSON.stringify(program)}, storeBytes: ${storeBytes},
      sabfs: { folder: ${JSON.stringify(folder)} },
    });
    await programs.start(0, { idle: true });
    await programs.start(1, { idle: true });
    const module = await make({ sabfs: { store: programs.store } });
    await module.mountSABFS();
    const host = programs.host();
    await programs.running.get(0).worker.terminate();
    await programs.until(() => ![host, 0].includes(programs.host()), 'nobody goes on');
    // Nobody asks for it to be durable.
    module.FS.writeFile('/opfs/late', 'text');
    process.exit(0);`;
  const file = path.join(folder, 'program.mjs');
  fs.writeFileSync(file, text);
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
  const { default: make } = await import(program);
  const module = await make({ sabfs: { folder, capacity: 32 << 20 } });
  const volume = await module.mountSABFS();
  assert.equal(module.FS.readFile('/opfs/late', { encoding: 'utf8' }), 'text');
  await volume.unmount();
});
