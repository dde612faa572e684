// A program that runs on a volume and, compiled for the host, on the host's file system, and has to print the same.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runInNode } from './run-program.mjs';

const root = path.resolve(import.meta.dirname, '../..');

export const skip = process.platform === 'linux' ? false : 'only Linux can be compared with';

const temporaryFolder = (t, above = os.tmpdir()) => {
  const folder = fs.mkdtempSync(path.join(above, 'sabfs-differential-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
};

// What `sources`, relative to the repository's root, print when they run on the host, in an empty folder of `above`.
export function onHost(t, sources, flags, above) {
  const binary = path.join(temporaryFolder(t), 'program');
  execFileSync('cc', ['-O1', '-w', '-o', binary, ...sources.map((source) => path.join(root, source)), ...flags]);
  return execFileSync(binary, [temporaryFolder(t, above)], { encoding: 'utf8', maxBuffer: 64 << 20 });
}

// What dist/programs/NAME.js prints on a volume of Node's.
export async function inNode(t, name, options = {}) {
  const module = { sabfs: { folder: temporaryFolder(t), capacity: 64 << 20 } };
  const { code, stdout, stderr } = await runInNode(name, { args: ['/opfs'], module, ...options });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  return stdout;
}

// Compares dist/programs/NAME.js with `sources`; gives what both have printed.
export async function compare(t, name, sources, flags) {
  const expected = onHost(t, sources, flags);
  assert.equal(await inNode(t, name), expected);
  return expected;
}

// The checks in what a program has printed: each answer with the lines behind it that say more, under its part.
function checksOf(text) {
  const checks = [];
  let part = '';
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('--- ')) part = line.slice(4);
    else if (line.startsWith('  ') && checks.length) checks.at(-1).text += `\n${line}`;
    else checks.push({ part, text: line });
  }
  return checks;
}

// Each answer is a test of its own. Where a program has answered more or less than the host the rest of the part differs.
export async function compareChecks(t, expected, actual) {
  const parts = (text) => Map.groupBy(checksOf(text), (check) => check.part);
  const theirs = parts(actual);
  let count = 0;
  for (const [part, checks] of parts(expected)) {
    const others = theirs.get(part) ?? [];
    for (let i = 0; i < Math.max(checks.length, others.length); i++) {
      const name = `${part} ${i + 1}: ${(checks[i] ?? others[i]).text.split('\n')[0]}`;
      await t.test(name, () => assert.equal(others[i]?.text, checks[i]?.text));
      count++;
    }
  }
  return count;
}
