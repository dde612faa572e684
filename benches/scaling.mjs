// What a second thread of a program is worth: the operations of two threads in the time of one thread's. What it is
// worth to a computation without any file says what the machine has to give.
import { openHost } from './hosts.mjs';
import { OURS, PEERS, build } from './peers.mjs';

/** How much two threads have to do of what one does. */
const TARGETS = { 'pread-4k-one': 1.7, metadata: 1.5 };
const CASES = ['compute', ...Object.keys(TARGETS), 'create-1k', 'stat', 'rename', 'unlink'];
// Those that leave each other their names, as in measure.mjs.
const CHAIN = ['create-1k', 'rename', 'unlink'];
const BESIDE = 'wasmfs-memory';
const NAMES = 1000;
// Short batches and many of them: a second thread says something only while nobody else wants its core.
const BATCH_MS = 6;
const ROUNDS = 4;

const best = (values) => Math.min(...values);

/** Rows of one engine. */
export async function scalingRows(engine, { rounds }) {
  const host = await openHost(engine);
  try {
    const ns = {};
    for (const name of [OURS, BESIDE]) {
      const { mount, module } = PEERS[name];
      // A volume in memory: how fast a disk is does not belong here.
      const settings = name === OURS ? { sabfs: { ...module.sabfs, durability: 'memory' } } : module;
      await host.start(name, { script: build(name), args: [mount, String(NAMES)], module: settings });
      ns[name] = Object.fromEntries(CASES.map((step) => [step, { 1: [], 2: [] }]));
    }
    // The chain is done as one, with each number of threads.
    const groups = [...CASES.filter((step) => !CHAIN.includes(step)).map((step) => [step]), CHAIN];
    for (const group of groups) {
      for (let round = 0; round < rounds * ROUNDS; round++) {
        for (const name of [OURS, BESIDE]) {
          for (const threads of [1, 2]) {
            for (const step of group) ns[name][step][threads].push(await host.measure(name, step, threads, BATCH_MS));
          }
        }
      }
      process.stderr.write('.');
    }
    return CASES.map((step) => rowOf(engine, step, ns));
  } finally {
    await host.close();
  }
}

function rowOf(engine, step, ns) {
  const speedup = (name) => best(ns[name][step][1]) / best(ns[name][step][2]);
  const target = TARGETS[step] ?? null;
  return {
    engine, case: step, threads: 2, ours_ns: best(ns[OURS][step][2]), one_ns: best(ns[OURS][step][1]),
    speedup: speedup(OURS), peers: { [BESIDE]: best(ns[BESIDE][step][2]) }, peer_speedup: speedup(BESIDE),
    target, met: target === null || speedup(OURS) >= target,
  };
}

/** Prints the rows of one engine as a Markdown table. */
export function printScaling(title, rows, time) {
  console.log(`\n${title}\n\n| case | 1 thread | 2 threads | speedup | at least | ${BESIDE} | met |\n|---|---:|---:|---:|---:|---:|---|`);
  for (const row of rows) {
    const cells = [row.case, time(row.one_ns), time(row.ours_ns), row.speedup.toFixed(2), row.target?.toFixed(1) ?? '-',
      row.peer_speedup.toFixed(2), row.target === null ? '-' : row.met ? 'yes' : 'no'];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
