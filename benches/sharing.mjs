// What it costs that a store is shared: each way to a store outside of the program, beside the same program with the
// store in its own memory. All of them take turns.
import { openHost } from './hosts.mjs';
import { OURS, PEERS, buildSharing } from './peers.mjs';

/** What a way may cost, as a multiple of the program's own memory. */
const TARGETS = { 'two-memory': 1.2, 'one-memory': 4, javascript: 4 };
const OWN = 'own';
const GROUPS = [
  ['pread-16'], ['pread-4k'], ['pwrite-16'], ['pwrite-4k'], ['stat'], ['open-read-close-1k'], ['readdir'],
  ['create-1k', 'rename', 'unlink'],
];
const NAMES = 1000;
// The program's memory has to hold it.
const CAPACITY_BYTES = 64 << 20;

/** Rows of one engine. */
export async function sharingRows(engine, { rounds, batch_ms }) {
  const ways = [OWN, ...Object.keys(TARGETS)];
  const { mount } = PEERS[OURS];
  const script = buildSharing();
  const host = await openHost(engine);
  try {
    for (const access of ways) {
      const module = { sabfs: { path: mount, access, capacity: CAPACITY_BYTES, durability: 'memory' } };
      await host.start(access, { script, args: [mount, String(NAMES)], module });
    }
    const rows = [];
    for (const group of GROUPS) {
      const ns = Object.fromEntries(ways.map((way) => [way, Object.fromEntries(group.map((step) => [step, []]))]));
      for (let round = 0; round < rounds; round++) {
        for (const way of ways) {
          for (const step of group) ns[way][step].push(await host.measure(way, step, 1, batch_ms));
        }
      }
      rows.push(...group.map((step) => rowOf(engine, step, ns)));
      process.stderr.write('.');
    }
    return rows;
  } finally {
    await host.close();
  }
}

function rowOf(engine, step, ns) {
  const best = Object.fromEntries(Object.entries(ns).map(([way, steps]) => [way, Math.min(...steps[step])]));
  const { [OWN]: own_ns, ...ours } = best;
  const ratio = Object.fromEntries(Object.entries(ours).map(([way, time]) => [way, time / own_ns]));
  const met = Object.entries(TARGETS).every(([way, limit]) => ratio[way] <= limit);
  return { engine, case: step, threads: 1, ours_ns: best['two-memory'], ways_ns: best, ratio, target: TARGETS, met };
}

/** Prints the rows of one engine as a Markdown table. */
export function printSharing(title, rows, time) {
  const ways = Object.keys(TARGETS);
  const heads = ways.map((way) => `${way} | / own`);
  console.log(`\n${title}\n\n| case | own | ${heads.join(' | ')} | met |\n|---|${'---:|'.repeat(1 + 2 * ways.length)}---|`);
  for (const { case: step, ways_ns, ratio, met } of rows) {
    const cells = ways.map((way) => `${time(ways_ns[way])} | ${ratio[way].toFixed(2)}`);
    console.log(`| ${step} | ${time(ways_ns.own)} | ${cells.join(' | ')} | ${met ? 'yes' : 'no'} |`);
  }
  const most = ways.map((way) => `${way} ${Math.max(...rows.map((row) => row.ratio[way])).toFixed(2)} (at most ${TARGETS[way]})`);
  console.log(`\nAt most: ${most.join(', ')}`);
}
