// SQLite's speedtest1 at /opfs in each journal mode: what its statements answer, and what is in the database for another
// process, is as on Linux.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, KINDS, skip, where } from './places.mjs';

const SIZE = process.env.SABFS_LONG ? 25 : 2;

const RUNS = [
  { name: 'WAL, sorting in threads', args: ['--journal', 'wal', '--threads', '2'] },
  { name: 'WAL with checkpoints, in exclusive mode, tables without numbers', args: ['--journal', 'wal', '--checkpoint', '--exclusive', '--without-rowid'] },
  { name: 'rollback journal that is deleted, small pages, small cache', args: ['--journal', 'delete', '--incrvacuum', '--pagesize', '1024', '--cachesize', '50'] },
  { name: 'rollback journal that is truncated', args: ['--journal', 'truncate'] },
  { name: 'rollback journal that is kept', args: ['--journal', 'persist'] },
];

// Lines end with how long the statements took.
const withoutTimes = ({ code, stdout, stderr }) => ({ code, stderr, lines: stdout.split('\n').map((line) => line.replace(/ +\d+\.\d{3}s$/, '')) });

for (const kind of KINDS) {
  test(`SQLite's speedtest1 (${kind}) in ${where}`, { skip: skip('speedtest1') }, async (t) => {
    const { host, volume, same } = await both(t, kind);
    for (const [number, { name, args }] of RUNS.entries()) {
      const file = `speed-${number}.db`;
      await t.test(name, async () => {
        const all = ['--size', String(SIZE), '--verify', ...args, file];
        const expected = withoutTimes(await host.run('speedtest1', all));
        assert.deepEqual({ code: expected.code, stderr: expected.stderr }, { code: 0, stderr: '' });
        assert.ok(expected.lines.some((line) => /^Verification Hash: \d+ [0-9a-f]{48}$/.test(line)), expected.lines.join('\n'));
        assert.deepEqual(withoutTimes(await volume.run('speedtest1', all, { timeout: 300_000 })), expected);
      });
    }
    await t.test('what another process finds in the databases', async () => {
      const { stdout } = await same('sqlite-sums', RUNS.map((_, number) => `speed-${number}.db`));
      assert.equal(stdout.match(/^PRAGMA integrity_check: ok\nPRAGMA journal_mode: \w+\n/gm).length, RUNS.length);
    });
  });
}
