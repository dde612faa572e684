// What the kills of all engines have in common: seeds, the moment of the kill, the native check.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { addAcknowledged, judgeFound, nothing } from './judge.mjs';

export { randomNumbers } from './random.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const EARLIEST_MS = 200;
const LATEST_MS = 1500;

/** The volume that the rounds share. Small, so that loading it takes little of a round. */
export const volume = 'kill';
export const capacity = 64 << 20;

/** SABFS_SEED, or one that nobody chose. */
export function chooseSeed() {
  return process.env.SABFS_SEED ? Number(process.env.SABFS_SEED) : Math.floor(Math.random() * 2 ** 32);
}

/** A folder that goes with the test. */
export function temporaryFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-kill-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The arguments of a round's program; `last`: it only looks. */
export function programArguments(round, last) {
  return ['/opfs', round % 2 ? 'PERSIST' : 'TRUNCATE', ...(last ? ['verify'] : [])];
}

/** How long a round's program works before it is killed, in ms. */
export function killDelay(random) {
  return EARLIEST_MS + random() * (LATEST_MS - EARLIEST_MS);
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

/**
 * Runs `count` rounds and a last one that only looks. `round(number, args, last, said)` runs the program and resolves
 * with its lines; each is judged by what the earlier ones acknowledged. Says what happened in a line for the log.
 */
export async function runRounds(name, count, seed, round) {
  let expected = nothing();
  const steps = [];
  for (let number = 0; number <= count; number++) {
    const last = number === count;
    const said = `${name}, seed ${seed}, round ${number}`;
    try {
      const lines = await round(number, programArguments(number, last), last, said);
      expected = judgeFound(lines, expected);
      if (!last) steps.push(addAcknowledged(lines, expected));
    } catch (error) {
      error.message = `${said}: ${error.message}`;
      throw error;
    }
  }
  const sum = steps.reduce((a, b) => a + b, 0);
  console.log(`${name}: ${count} kills (SABFS_SEED=${seed}), ${sum} steps acknowledged, ` +
    `${Math.min(...steps)} to ${Math.max(...steps)} a round; ${expected.transfers} transfers are there`);
  if (sum < count * 20) throw new Error(`${name}: ${sum} steps in ${count} rounds are too few to say anything`);
}
