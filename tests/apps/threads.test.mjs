// SQLite's own test of threads, threadtest3, at /opfs: its verdict, and what is in the last database for another process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onVolume, skip, where } from './places.mjs';

// Some of its cases: threads that change and use one schema with a shared cache, that recover one log at once, a large file.
// stress1 comes first: it takes whatever table there is, and the others leave one that refuses its rows.
const CASES = ['stress1', 'walthread5', 'cgt_pager_1'];

test(`SQLite's threadtest3 in ${where}`, { skip: skip('threadtest3') }, async (t) => {
  const volume = await onVolume(t, 'mt', { capacity: 1 << 30 });
  await t.test(CASES.join(', '), async () => {
    const { code, stdout, stderr } = await volume.run('threadtest3', CASES, { timeout: 300_000 });
    assert.match(stdout, new RegExp(`^0 errors out of ${CASES.length} tests$`, 'm'), `${stdout}${stderr}`);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    for (const name of CASES) assert.match(stdout, new RegExp(`^Running ${name} `, 'm'));
  });
  await t.test('what another process finds in the database', async () => {
    const { code, stdout, stderr } = await volume.run('sqlite-sums', ['test.db']);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.match(stdout, /^PRAGMA integrity_check: ok$/m);
  });
});
