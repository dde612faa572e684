// Measures file operations in the browsers, side by side with other file systems for Emscripten programs.
// scripts/bench calls it.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fsyncRows, printFsync } from '../../benches/fsync.mjs';
import { measureEngine, versionOf } from '../../benches/measure.mjs';
import { OURS, PEERS, build } from '../../benches/peers.mjs';
import { profile } from '../../benches/profile.mjs';
import { machine, printTable, rowsOf, time } from '../../benches/report.mjs';
import { printScaling, scalingRows } from '../../benches/scaling.mjs';
import { printSharing, sharingRows } from '../../benches/sharing.mjs';

const USAGE = `scripts/bench [OPTION…]

  --json FILE       write the results
  --engine LIST     chromium, firefox (default: those that are there), node for scaling and sharing
  --quick           fewer and shorter rounds, shorter folders: a look, not a measurement
  --case LIST       some of the cases only; fsync: what an fsync costs beside a raw write and flush; scaling: what a second
                    thread is worth; sharing: what a store outside of the program costs
  --peer LIST       some of the file systems only: ${Object.keys(PEERS).join(', ')}
  --threads LIST    how many threads work at the same time, up to 3 (default 1)
  --rounds N        how often each case is measured
  --profile CASE    print where the time of a case goes, in Chromium; --peer names whose (default ${OURS})
`;

const options = {
  json: { type: 'string' },
  engine: { type: 'string' },
  quick: { type: 'boolean', default: false },
  case: { type: 'string' },
  peer: { type: 'string' },
  threads: { type: 'string', default: '1' },
  rounds: { type: 'string' },
  profile: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
};

function refuse(message) {
  console.error(`error: ${message}\n\n${USAGE}`);
  process.exit(2);
}

const list = (text) => text?.split(',').filter(Boolean);

function parse() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return refuse(error.message);
  }
}

// The one that programs run in, which need not be this one.
const nodeVersion = () =>
  execFileSync(process.env.SABFS_NODE ?? process.execPath, ['--version'], { encoding: 'utf8' }).trim();

async function main() {
  const values = parse();
  if (values.help) return process.stdout.write(USAGE);
  const peers = list(values.peer) ?? (values.profile ? [OURS] : Object.keys(PEERS));
  for (const name of peers) if (!PEERS[name]) refuse(`there is no peer ${name}`);
  if (values.profile) {
    for (const name of peers) await profile(name, values.profile);
    return;
  }
  const there = ['chromium', 'firefox'].filter((name) => process.env[`SABFS_${name.toUpperCase()}`]);
  const engines = list(values.engine) ?? [...there, 'node'];
  for (const name of engines) if (name !== 'node' && !there.includes(name)) refuse(`there is no ${name} on this machine`);
  const threads = list(values.threads).map(Number);
  if (!threads.every((count) => count >= 1 && count <= 3)) refuse('--threads: 1 to 3');

  const scripts = Object.fromEntries(peers.map((name) => [name, build(name)]));
  // A batch is long against the clock's steps (5 us in Chromium, 20 us in Firefox) and short against what the
  // system gives a thread before another one has its turn.
  const plan = {
    scripts,
    threads,
    cases: list(values.case),
    names: values.quick ? 300 : 1000,
    rounds: Number(values.rounds ?? (values.quick ? 6 : 25)),
    batch_ms: values.quick ? 15 : 20,
    // A slow file system is measured less often, so that the fast ones are not kept waiting.
    budget_ms: values.quick ? 3_000 : 15_000,
    settle_ms: values.quick ? 5 : 10,
  };
  // These have tables of their own.
  const own = (name) => !plan.cases || plan.cases.includes(name);
  const wanted = { fsync: own('fsync'), scaling: own('scaling'), sharing: own('sharing') };
  const durable = { count: values.quick ? 300 : 1000, rounds: Number(values.rounds ?? (values.quick ? 3 : 9)) };
  plan.cases = plan.cases?.filter((name) => !(name in wanted));
  const rows = [];
  const about = { ...machine(), names: plan.names, rounds: plan.rounds, engines: {} };
  for (const engine of engines) {
    const version = engine === 'node' ? `Node ${nodeVersion()}` : versionOf(engine);
    about.engines[engine] = version;
    if (engine !== 'node' && (!plan.cases || plan.cases.length)) {
      const measured = rowsOf(engine, await measureEngine(engine, plan));
      printTable(`${version}, ${plan.names} names in a folder`, measured, peers);
      rows.push(...measured);
    }
    if (engine !== 'node' && wanted.fsync) {
      const measured = await fsyncRows(engine, durable);
      printFsync(`${version}, ${durable.rounds} times ${durable.count} in a row`, measured, time);
      rows.push(...measured);
    }
    if (wanted.scaling) {
      const measured = await scalingRows(engine, plan);
      printScaling(`${version}, two threads of one program`, measured, time);
      rows.push(...measured);
    }
    if (wanted.sharing) {
      const measured = await sharingRows(engine, plan);
      printSharing(`${version}, ways to the store`, measured, time);
      rows.push(...measured);
    }
  }
  about.load_after = os.loadavg();
  console.log(`\n${about.cpu}, ${about.cores} cores; load ${about.load_before[0].toFixed(1)} before, ${about.load_after[0].toFixed(1)} after`);
  if (values.json) {
    fs.mkdirSync(path.dirname(path.resolve(values.json)), { recursive: true });
    fs.writeFileSync(values.json, `${JSON.stringify({ about, rows }, null, 1)}\n`);
  }
}

await main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
// A browser that did not end in time must not keep the run going.
process.exit();
