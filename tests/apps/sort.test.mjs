// A file of 100 MB, sorted at /opfs by toybox: the result is that of the host's own sort, also for another process.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { both, KINDS, skip, where } from './places.mjs';

// It takes its time: once by default, and everywhere with --long.
const chosen = (kind) => process.env.SABFS_LONG || (kind === 'mt' && where === 'Node');

const seed = Number(process.env.SABFS_SEED ?? 1);
const LINES = 1_000_000;

// Lines of 100 bytes with their end.
const script = `
  local seed, file = ${seed}, assert(io.open('big', 'w'))
  local format, random = string.format, function()
    seed = (seed * 6364136223846793005 + 1442695040888963407)
    return seed
  end
  for i = 1, ${LINES} do
    file:write(format('%016x %016x %016x %016x %016x %014d\\n', random(), random(), random(), random(), random(), i))
  end
  file:close()`;

const sha256 = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

for (const kind of KINDS.filter(chosen)) {
  test(`100 MB sorted (${kind}) in ${where}`, { skip: skip('toybox') }, async (t) => {
    const { host, volume, same } = await both(t, kind, { capacity: 512 << 20 });
    const timeout = 200_000;
    await same('lua', ['-e', script], { timeout });
    const [big, sorted] = ['big', 'sorted'].map((name) => path.join(host.folder, name));
    assert.equal(fs.statSync(big).size, 100 * LINES);
    execFileSync('sort', ['-o', sorted, big], { env: { ...process.env, LC_ALL: 'C' } });
    assert.deepEqual(await volume.run('toybox', ['sort', '-o', 'sorted', 'big'], { timeout }), { code: 0, stdout: '', stderr: '' });
    const { stdout } = await volume.run('toybox', ['sha256sum', 'big', 'sorted'], { timeout });
    assert.equal(stdout, `${sha256(big)}  big\n${sha256(sorted)}  sorted\n`);
  });
}
