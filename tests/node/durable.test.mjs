// Durability in Node: every call that asks for it, in every mode, and what the metrics say.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';

const root = path.resolve(import.meta.dirname, '../..');

function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-durable-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

for (const program of ['durable-mt', 'durable-st']) {
  for (const access of ['two-memory', 'javascript', 'own']) {
    for (const durability of ['strict', 'relaxed', 'memory']) {
      // The files of a program's own store belong to one thread.
      if (program === 'durable-mt' && access === 'own' && durability !== 'memory') continue;
      test(`${program}: what makes changes durable, by ${access}, ${durability}`, async (t) => {
        const sabfs = { path: '/opfs', access, durability, capacity: 16 << 20, folder: temporary(t) };
        const result = await runInNode(program, { module: { sabfs }, args: ['/opfs'] });
        assert.deepEqual(result, { code: 0, stdout: '/opfs: 0 failures\n', stderr: '' });
      });
    }
  }
}

test('the names of a new volume are flushed with those of the folders made for it', { skip: process.platform !== 'linux' }, async (t) => {
  const folder = temporary(t), record = path.join(folder, 'record'), recorder = path.join(import.meta.dirname, 'names-recorder.cjs');
  const run = async () => {
    fs.writeFileSync(record, '');
    const env = { NODE_OPTIONS: `--require ${recorder}`, SABFS_RECORD: record };
    const sabfs = { path: '/opfs', capacity: 16 << 20, folder: path.join(folder, 'new/deep'), volume: 'names' };
    const result = await runInNode('durable-st', { module: { sabfs }, args: ['/opfs'], env });
    assert.deepEqual(result, { code: 0, stdout: '/opfs: 0 failures\n', stderr: '' });
    return fs.readFileSync(record, 'utf8').trim().split('\n').map((name) => path.relative(folder, name));
  };
  assert.deepEqual(await run(), ['new/deep/names', 'new/deep', 'new', '']);
  // One that is there.
  assert.deepEqual(await run(), ['new/deep/names']);
});

test('the metrics of a volume in JavaScript', async (t) => {
  const { default: factory } = await import(path.join(root, 'dist/programs/suite-esm.mjs'));
  const program = await factory({ print() {}, printErr() {} });
  const options = { path: '/opfs', folder: temporary(t), capacity: 16 << 20 };
  const volume = await program.mountSABFS(options);
  await volume.sync();
  const before = volume.metrics();
  assert.deepEqual(Object.keys(before), [
    'commits', 'commitsFailed', 'journalWrittenBytes', 'imageWrittenBytes', 'journalFlushes', 'imageFlushes',
    'checkpoints', 'fsyncs', 'fsyncsFailed', 'commitLatency', 'fsyncLatency', 'change', 'written', 'durable',
    'dirtyBlocks', 'dirtyMetaBlocks', 'quarantinedBlocks', 'roomBlocks', 'roomWantedBlocks', 'roomShort', 'keeperUp',
    'durability', 'failure', 'lastFailure',
  ]);
  assert.deepEqual([before.durability, before.keeperUp, before.failure, before.lastFailure], ['strict', true, null, null]);
  assert.deepEqual(Object.keys(before.commitLatency), ['count', 'p50Us', 'p99Us', 'maxUs']);
  assert.equal(before.commitLatency.count, before.commits);
  assert.deepEqual([before.durable, before.written], [before.change, before.change]);
  // Its sums are what stats() says.
  const stats = volume.stats();
  assert.equal(stats.commits, before.commits);
  assert.equal(stats.flushes, before.journalFlushes + before.imageFlushes);
  assert.equal(stats.blocksWritten * 4096, before.journalWrittenBytes + before.imageWrittenBytes);
  await volume.unmount();
  assert.throws(() => volume.metrics(), { code: 'ENODEV', message: /cannot read the metrics: it was unmounted/ });
});
