// Programs in threads of a Node process that share a store, some of which are ended at random.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { randomNumbers } from '../kill/random.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';
import { clients, counts, shareAndKill } from '../programs/share_host.mjs';
import { CAPACITY, COUNT, DEATHS, judge } from './judge.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const program = pathToFileURL(path.join(root, 'dist/programs/share-st-esm.mjs')).href;
const script = path.join(root, 'tests/programs/share_worker.mjs');

for (const [durability, access] of [['strict', 'two-memory'], ['relaxed', 'javascript'], ['memory', 'one-memory']]) {
  test(`Node, ${durability}, ${access}: programs that are ended hurt nobody`, async (t) => {
    const folder = temporaryFolder(t), seed = chooseSeed();
    const { default: make } = await import(program);
    const sabfs = { capacity: CAPACITY, durability, folder, access };
    const module = await make({ sabfs });
    const volume = await module.mountSABFS();
    const found = await shareAndKill({
      makeWorker: () => new Worker(script), module, volume, program, access, deaths: DEATHS, count: COUNT,
      random: randomNumbers(seed),
    });
    await volume.unmount();
    judge(`Node, ${durability}`, seed, found);
    if (durability !== 'memory') assertSound(path.join(folder, 'default'), `seed ${seed}`);
    fs.rmSync(folder, { recursive: true, force: true });
  });
}

test('a program that aborts is dead to the others', async (t) => {
  const folder = temporaryFolder(t);
  const { default: make } = await import(program);
  const store = new WebAssembly.Memory({ initial: 600, maximum: 600, shared: true });
  const sabfs = { store, folder };
  const [module, aborting] = [await make({ sabfs }), await make({ sabfs, printErr() {} })];
  const volumes = [await module.mountSABFS(), await aborting.mountSABFS()];
  assert.equal(clients(store), 2);
  const { usedInodes } = counts(store);
  assert.throws(() => aborting.callMain(['/opfs', '0', '7', '0']), /Aborted/);
  // It wanted the whole process to fail.
  process.exitCode = undefined;
  while (clients(store) > 1) await sleep(5);
  // Its folders are there, and the file is not that it held.
  assert.equal(counts(store).usedInodes, usedInodes + 2);
  assert.deepEqual(module.FS.readdir('/opfs').sort(), ['.', '..', '7', 'common']);
  await volumes[0].unmount();
  assertSound(path.join(folder, 'default'), 'after an abort');
});

test('a store has 64 clients, and the next one is told so', async (t) => {
  const { default: make } = await import(program);
  const store = new WebAssembly.Memory({ initial: 600, maximum: 600, shared: true });
  const start = async () => {
    const module = await make({ sabfs: { store, durability: 'memory' }, printErr() {} });
    return { module, volume: await module.mountSABFS() };
  };
  const first = await start();
  const others = await Promise.all(Array.from({ length: 63 }, start));
  assert.equal(clients(store), 64);
  first.module.FS.writeFile('/opfs/file', 'seen by all');
  for (const { module } of others) assert.equal(module.FS.readFile('/opfs/file', { encoding: 'utf8' }), 'seen by all');
  const error = await start().catch((error) => error);
  assert.equal(error.code, 'EUSERS');
  assert.match(error.message, /64 clients already: end one/);
  await others[30].volume.unmount();
  const late = await start();
  assert.equal(late.module.FS.readFile('/opfs/file', { encoding: 'utf8' }), 'seen by all');
  for (const { volume } of [...others.toSpliced(30, 1), late, first]) await volume.unmount();
  assert.equal(clients(store), 0);
});
