// What a call of the package for JavaScript costs (docs/page.md), beside node:fs on a file system in memory and, in browsers,
// beside an OPFS access handle in a worker. Both take turns. `scripts/bench page` calls it.
//
// usage: node benches/page.mjs [--quick] [--json FILE]
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from '../tests/harness/browser.mjs';
import { serve } from '../tests/harness/server.mjs';
import { SABFS } from '../dist/js/index.js';

const root = path.resolve(import.meta.dirname, '..');
const BLOCK = 4096, BLOCKS = 1024;

/**
 * In Node and in a worker: nanoseconds of a call, ours and the other's, by case. calls: {name: [ours, other]}, functions that make
 * one call each and may give promises.
 */
export async function takeTurns(calls, { rounds, batchMs }) {
  const once = async (call, count) => {
    const begun = performance.now();
    for (let number = 0; number < count; number++) {
      const promise = call();
      if (promise?.then) await promise;
    }
    return (performance.now() - begun) * 1e6 / count;
  };
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const rows = {};
  for (const [name, pair] of Object.entries(calls)) {
    // As many as take about that long, from a first look.
    const counts = [];
    for (const call of pair) counts.push(Math.max(1, Math.ceil(batchMs * 1e6 / await once(call, 200))));
    const times = pair.map(() => []);
    for (let round = 0; round < rounds; round++) {
      for (const [index, call] of pair.entries()) times[index].push(await once(call, counts[index]));
    }
    const ratios = times[0].map((ns, round) => ns / times[1][round]);
    rows[name] = { ns: median(times[0]), other: median(times[1]), ratio: median(ratios) };
  }
  return rows;
}

// Places in a file, in no order, the same for both.
export const places = () => {
  let last = 1;
  return () => (last = (last * 5 + 1) % BLOCKS) * BLOCK;
};

async function inNode(plan) {
  // Where the host has a file system in memory; otherwise its disk's cache.
  const folder = fs.mkdtempSync(fs.existsSync('/dev/shm') ? '/dev/shm/sabfs-' : path.join(root, 'target/sabfs-'));
  const volume = await SABFS.create({ durability: 'memory', capacity: 64 << 20 });
  try {
    const file = `${folder}/file`, small = `${folder}/small`, written = `${folder}/written`;
    const all = new Uint8Array(BLOCK * BLOCKS).fill(7), block = all.slice(0, BLOCK), at = places(), also = places();
    for (const [name, bytes] of [['file', all], ['small', block]]) {
      volume.writeFile(`/${name}`, bytes);
      fs.writeFileSync(`${folder}/${name}`, bytes);
    }
    const ours = volume.open('/file', 'r+'), theirs = fs.openSync(file, 'r+');
    return await takeTurns({
      'pread 4 KiB': [() => volume.pread(ours, block, at()), () => fs.readSync(theirs, block, 0, BLOCK, also())],
      'pwrite 4 KiB': [() => volume.pwrite(ours, block, at()), () => fs.writeSync(theirs, block, 0, BLOCK, also())],
      'stat': [() => volume.stat('/small'), () => fs.statSync(small)],
      'readFile 4 KiB': [() => volume.readFile('/small'), () => fs.readFileSync(small)],
      'readFile 4 MiB': [() => volume.readFile('/file'), () => fs.readFileSync(file)],
      'writeFile 4 KiB': [() => volume.writeFile('/written', block), () => fs.writeFileSync(written, block)],
      'promises.pread 4 KiB': [() => volume.promises.pread(ours, block, at()),
        () => new Promise((resolve) => fs.read(theirs, block, 0, BLOCK, also(), resolve))],
    }, plan);
  } finally {
    await volume.detach();
    fs.rmSync(folder, { recursive: true });
  }
}

// In a worker of a browser.
async function inWorker(plan) {
  const { SABFS } = await import('/dist/js/index.js');
  const { takeTurns, places } = kit;
  const volume = await SABFS.create({ capacity: 64 << 20 });
  const directory = await navigator.storage.getDirectory();
  const handle = await (await directory.getFileHandle('raw', { create: true })).createSyncAccessHandle();
  const all = new Uint8Array(4096 * 1024).fill(7), block = all.slice(0, 4096), at = places(), also = places();
  volume.writeFile('/file', all);
  handle.write(all, { at: 0 });
  const ours = volume.open('/file', 'r+');
  const rows = await takeTurns({
    'pread 4 KiB': [() => volume.pread(ours, block, at()), () => handle.read(block, { at: also() })],
    'pwrite 4 KiB': [() => volume.pwrite(ours, block, at()), () => handle.write(block, { at: also() })],
    'promises.pread 4 KiB': [() => volume.promises.pread(ours, block, at()), () => handle.read(block, { at: also() })],
  }, plan);
  handle.close();
  await volume.detach();
  return rows;
}

async function inBrowser(engine, plan) {
  const script = `const BLOCK = ${BLOCK}, BLOCKS = ${BLOCKS}; const kit = { takeTurns: ${takeTurns}, places: ${places} };
    (${inWorker})(${JSON.stringify(plan)}).then((rows) => postMessage({ rows }), (error) => postMessage({ error: String(error) }));`;
  const server = await serve({ roots: [root], routes: { '/bench-page.mjs': { type: 'text/javascript', body: script } } });
  const browser = await launch({ browser: engine });
  try {
    await browser.goto(`${server.url}/blank.html`);
    const { rows, error } = await browser.evaluate(`new Promise((resolve) => {
      const worker = new Worker('/bench-page.mjs', { type: 'module' });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => resolve({ error: message });
    })`, { timeout: 300_000 });
    if (error) throw new Error(`${engine}: ${error}`);
    return rows;
  } finally {
    await browser.close();
    await server.close();
  }
}

async function main() {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } } });
  const plan = values.quick ? { rounds: 5, batchMs: 10 } : { rounds: 25, batchMs: 20 };
  const tables = { node: ['node:fs in memory', await inNode(plan)] };
  for (const engine of ['chromium', 'firefox']) {
    if (process.env[`SABFS_${engine.toUpperCase()}`]) tables[engine] = ['an access handle', await inBrowser(engine, plan)];
  }
  for (const [engine, [other, rows]] of Object.entries(tables)) {
    console.log(`\n${engine}, beside ${other}`);
    for (const [name, { ns, other, ratio }] of Object.entries(rows)) {
      console.log(`  ${name.padEnd(22)}${Math.round(ns).toLocaleString('en').padStart(12)} ns${ratio.toFixed(2).padStart(9)}x of ` +
        `${Math.round(other).toLocaleString('en')} ns`);
    }
  }
  if (values.json) fs.writeFileSync(values.json, JSON.stringify(tables, null, 2) + '\n');
}

if (process.argv[1] === import.meta.filename) await main();
