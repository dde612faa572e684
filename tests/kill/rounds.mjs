// What the kills of all engines have in common: seeds, what runs in a round, the moment of the kill, the native check.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { countSteps, Judge, LOADS, MODES } from './judge.mjs';
import { randomNumbers } from './random.mjs';

const root = path.resolve(import.meta.dirname, '../..');
// Each load has made so many steps in a round before the kill, however slow the machine is.
const STEPS_AT_LEAST = 5;

/** What runs in a round: volumes with their loads. On one volume the loads share commits. */
export const TOGETHER = [{ volume: 'kill', loads: LOADS }];
/** Volumes of their own: the fsync of one load must not make durable what another one has forgotten to sync. */
export const APART = LOADS.map((load) => ({ volume: load, loads: [load] }));

/** Of the volumes. Small, so that loading one takes little of a round. */
export const capacity = 64 << 20;

/** SABFS_SEED, or one that nobody chose. */
export function chooseSeed() {
  return process.env.SABFS_SEED ? Number(process.env.SABFS_SEED) : Math.floor(Math.random() * 2 ** 32);
}

/** A folder that goes with the test. What failed is kept, to be looked at. */
export function temporaryFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-kill-'));
  t.after(() => {
    if (t.passed) fs.rmSync(folder, { recursive: true, force: true });
    else console.error(`volumes as they were found: ${folder}`);
  });
  return folder;
}

/** `sabfs check` of a volume's folder, which must find nothing. */
export function assertSound(folder, said) {
  const tool = path.join(root, 'target/release/sabfs');
  if (!fs.existsSync(tool)) throw new Error(`${tool} is missing: cargo build --release --bin sabfs`);
  const { status, stdout, stderr } = spawnSync(tool, ['check', folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${said}: sabfs check ended with code ${status}\n${stdout}${stderr}`);
}

/** The same of a copy, as a check takes the folder's lock and the next start has to find it as the kill left it. */
export function assertCopySound(folder, copy, said) {
  fs.rmSync(copy, { recursive: true, force: true });
  fs.mkdirSync(copy);
  // With holes: most of a volume is empty.
  for (const name of ['image', 'journal']) execFileSync('cp', ['--sparse=always', path.join(folder, name), copy]);
  assertSound(copy, said);
}

function hasSteps({ loads, lines }) {
  const steps = countSteps(lines);
  return loads.every((load) => steps[load] >= STEPS_AT_LEAST);
}

/**
 * Runs `count` rounds and a last one that only looks. The options:
 *   layouts   what runs in the rounds, by turns (TOGETHER, APART)
 *   hasty     the program acknowledges without an fsync
 *   delays    how long a round's program works before it is killed, in ms: from, to
 *
 * `round({jobs, killed, last, said, moment})` runs the jobs, {volume, loads, args, lines}, and fills in their lines; each
 * volume's are judged by what it acknowledged in earlier rounds. killed: the volumes of the last kill, as it left them.
 * moment(signal): resolves when it is time for the kill. Says what happened in a line for the log.
 */
export async function runRounds(name, count, seed, { layouts = [TOGETHER, APART], hasty, delays = [200, 1500] }, round) {
  const random = randomNumbers(seed);
  const volumes = layouts.flat();
  const judges = new Map(volumes.map(({ volume, loads }) => [volume, new Judge(loads)]));
  const steps = Object.fromEntries(LOADS.map((load) => [load, []]));
  let killed = [];
  for (let number = 0; number <= count; number++) {
    const last = number === count;
    const said = `${name}, seed ${seed}, round ${number}`;
    const mode = MODES[Math.floor(number / layouts.length) % MODES.length];
    const jobs = (last ? volumes : layouts[number % layouts.length]).map(({ volume, loads }) => ({
      volume,
      loads,
      args: ['/opfs', volume, String(number), String(seed + number),
        ...loads.map((load) => (load === 'ledger' ? `ledger=${mode}` : load)),
        ...(hasty ? ['hasty'] : []), ...(last ? ['verify'] : [])],
      lines: [],
    }));
    const delay = delays[0] + random() * (delays[1] - delays[0]);
    const after = random() * 5;
    const moment = async (signal) => {
      await sleep(delay);
      while (!signal.aborted && !jobs.every(hasSteps)) await sleep(2);
      // Not when something was just acknowledged.
      await sleep(after);
    };
    try {
      await round({ jobs, killed, last, said, moment });
      for (const { volume, lines } of jobs) judges.get(volume).start(lines, number, last ? null : mode);
    } catch (error) {
      throw new Error(`${said}: ${error.message}`, { cause: error });
    }
    if (last) break;
    killed = jobs.map(({ volume }) => volume);
    const made = countSteps(jobs.flatMap(({ lines }) => lines));
    for (const { loads } of jobs) for (const load of loads) steps[load].push(made[load]);
  }
  const sums = Object.entries(steps).filter(([, each]) => each.length).map(([load, each]) =>
    `${load} ${each.reduce((a, b) => a + b)} (${Math.min(...each)} to ${Math.max(...each)} a round)`);
  console.log(`${name}: ${count} kills (SABFS_SEED=${seed}); steps acknowledged, none of which is missing: ${sums.join(', ')}`);
}
