// A program that runs on a volume and, compiled for the host, on the host's file system, and has to print the same.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runInNode } from './run-program.mjs';

const root = path.resolve(import.meta.dirname, '../..');

export const skip = process.platform === 'linux' ? false : 'only Linux can be compared with';

// Compares dist/programs/NAME.js with `sources`, relative to the repository's root; gives what both have printed.
export async function compare(t, name, sources, flags) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-differential-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const binary = path.join(folder, 'program'), files = path.join(folder, 'files'), volume = path.join(folder, 'volume');
  execFileSync('cc', ['-O1', '-w', '-o', binary, ...sources.map((source) => path.join(root, source)), ...flags]);
  for (const each of [files, volume]) fs.mkdirSync(each);
  const expected = execFileSync(binary, [files], { encoding: 'utf8' });
  const module = { sabfs: { folder: volume, capacity: 64 << 20 } };
  const { code, stdout, stderr } = await runInNode(name, { args: ['/opfs'], module });
  assert.deepEqual({ code, stderr, stdout }, { code: 0, stderr: '', stdout: expected });
  return expected;
}
