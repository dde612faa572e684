// What an fsync costs beside one raw write and flush, and how many threads share a flush. Both take turns in one page:
// what the disk or the machine does for a while is done to both.
import path from 'node:path';
import { launch } from '../tests/harness/browser.mjs';
import { serve } from '../tests/harness/server.mjs';
import { OURS, PEERS, buildFsync } from './peers.mjs';

const root = path.resolve(import.meta.dirname, '..');
const TIMEOUT = 180_000;
/** What is compared with: see raw-worker.js. */
const RAW = 'raw-handle';
const THREADS = 8;
// As large as a volume's journal.
const FILE_BYTES = 16 << 20;

const TARGETS = { alone: 1.5, together: 0.5 };

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Rows of one engine: {count} operations in a row, {rounds} times. */
export async function fsyncRows(engine, { count, rounds }) {
  const script = buildFsync();
  const server = await serve({ roots: [root] });
  const browser = await launch({ browser: engine });
  try {
    return rowsOf(engine, await measureAll(browser, server, script, { count, rounds }));
  } catch (error) {
    throw new Error(`${engine}: ${error.message}\n${browser.console.slice(-20).join('\n')}`);
  } finally {
    await browser.close();
    await server.close();
  }
}

async function measureAll(browser, server, script, { count, rounds }) {
  await browser.goto(`${server.url}/benches/bench.html`);
  const run = (expression) => browser.evaluate(expression, { timeout: TIMEOUT });
  const { mount, module } = PEERS[OURS];
  await run(`startPeer(${JSON.stringify({ name: OURS, script: `/${script}`, args: [mount], module })})`);
  const ours = async (threads, times) => JSON.parse(await run(`measure('${OURS}', 'overwrite-fsync', ${threads}, ${times})`));
  // What a record takes is read from the volume, not assumed.
  const warm = await ours(1, 50);
  const record_bytes = warm.journal_bytes / warm.commits;
  const raw = (times) => run(`measureRaw(${JSON.stringify({ count: times, record_bytes, file_bytes: FILE_BYTES })})`);
  await raw(50);
  const alone = { [OURS]: [], [RAW]: [] }, together = [];
  for (let round = 0; round < rounds; round++) {
    // The first of two has no advantage over all rounds.
    for (const name of round % 2 ? [RAW, OURS] : [OURS, RAW]) {
      alone[name].push(name === OURS ? await ours(1, count) : await raw(count));
    }
    together.push(await ours(THREADS, Math.ceil(count / THREADS)));
  }
  return { record_bytes, alone, together };
}

function rowsOf(engine, { record_bytes, alone, together }) {
  const ns = (name, which) => median(alone[name].map((round) => round[which])) * 1e3;
  const ratios = alone[OURS].map((round, i) => round.p50_us / alone[RAW][i].p50_us);
  const ratio = median(ratios);
  const shared = median(together.map(({ flushes, fsyncs }) => flushes / fsyncs));
  return [
    {
      engine, case: 'overwrite-fsync-4k', size: 4096, threads: 1, record_bytes,
      ours_ns: ns(OURS, 'p50_us'), peers: { [RAW]: ns(RAW, 'p50_us') },
      p99_ns: { [OURS]: ns(OURS, 'p99_us'), [RAW]: ns(RAW, 'p99_us') },
      ratio: { [RAW]: ratio }, target: { [RAW]: TARGETS.alone }, met: ratio <= TARGETS.alone, rounds: alone,
    },
    {
      engine, case: 'overwrite-fsync-4k', size: 4096, threads: THREADS,
      flushes_per_fsync: shared, target: { flushes_per_fsync: TARGETS.together }, met: shared <= TARGETS.together,
      rounds: together,
    },
  ];
}

/** Prints the rows of one engine as a Markdown table. */
export function printFsync(title, rows, time) {
  const [one, many] = rows;
  const cells = [
    ['case', 'threads', `${OURS} p50`, 'p99', `${RAW} p50`, 'p99', 'ratio', 'flushes / fsyncs', 'met'],
    [one.case, '1', time(one.ours_ns), time(one.p99_ns[OURS]), time(one.peers[RAW]), time(one.p99_ns[RAW]),
      one.ratio[RAW].toFixed(2), '-', one.met ? 'yes' : 'no'],
    [many.case, String(many.threads), '-', '-', '-', '-', '-', many.flushes_per_fsync.toFixed(2), many.met ? 'yes' : 'no'],
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  const print = (line) => console.log(`| ${line.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`);
  console.log(`\n${title}\n`);
  print(cells[0]);
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  cells.slice(1).forEach(print);
}
