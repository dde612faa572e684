// Several programs write one SQLite database, which its own unix VFS guards by fcntl(); some are ended in the middle of it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { randomNumbers } from '../kill/random.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';
import { startWorker } from '../programs/lock_host.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const program = pathToFileURL(path.join(root, 'dist/programs/sqlite-share-esm.mjs')).href;
const script = path.join(root, 'tests/programs/lock_worker.mjs');
const DATABASE = '/opfs/shared.db', TIMES = 40, DEATHS = process.env.SABFS_LONG ? 40 : 8;
const SQLITE_BUSY = 5, SQLITE_IOERR = 10;

for (const journalMode of ['DELETE', 'TRUNCATE', 'PERSIST']) {
  test(`SQLite in several programs, some of which are ended (journal_mode=${journalMode})`, async (t) => {
    const folder = temporaryFolder(t), seed = chooseSeed(), random = randomNumbers(seed);
    const { default: make } = await import(program);
    const module = await make({ sabfs: { folder, capacity: 32 << 20, durability: 'relaxed' } });
    const volume = await module.mountSABFS();
    const start = async () => {
      const worker = await startWorker(() => new Worker(script), program, { store: volume.store });
      assert.equal(await worker.call('open', DATABASE, journalMode), 0);
      return worker;
    };
    const [first, second] = [await start(), await start()];

    // One has it to itself.
    assert.equal(await first.call('try', 'BEGIN EXCLUSIVE'), 0);
    assert.equal(await second.call('try', 'SELECT * FROM log'), SQLITE_BUSY);
    assert.equal(await first.call('try', 'COMMIT'), 0);
    assert.equal(await second.call('try', 'SELECT * FROM log'), 0);

    const works = [first.call('count', 1, TIMES), second.call('count', 2, TIMES)];
    for (let death = 0; death < DEATHS; death++) {
      const victim = await start();
      victim.call('count', 100 + death, 1e6).catch(() => {});
      await sleep(random() * 60);
      await victim.terminate();
    }
    assert.deepEqual(await Promise.all(works), [0, 0], `seed ${seed}`);

    const number = (sql) => first.call('number', sql);
    const all = await number('SELECT count(*) FROM log');
    assert.equal(await number('SELECT n FROM total'), all, `seed ${seed}`);
    for (const worker of [1, 2]) assert.equal(await number(`SELECT count(*) FROM log WHERE program = ${worker}`), TIMES);
    // Of who was ended each transaction is there as a whole, up to some.
    assert.equal(await number('SELECT count(*) FROM (SELECT program FROM log GROUP BY program HAVING max(n) + 1 <> count(*))'), 0);
    assert.equal(await number('SELECT integrity_check = \'ok\' FROM pragma_integrity_check'), 1);
    console.log(`${journalMode}: ${all} transactions, ${all - 2 * TIMES} by ${DEATHS} programs that were ended (SABFS_SEED=${seed})`);
    for (const worker of [first, second]) {
      assert.equal(await worker.call('close'), 0);
      await worker.terminate();
    }
    await volume.unmount();
    assertSound(path.join(folder, 'default'), `seed ${seed}`);
  });
}

test('a WAL database is one program\'s at a time, and the other one is told so', async (t) => {
  const folder = temporaryFolder(t);
  const { default: make } = await import(program);
  const module = await make({ sabfs: { folder, capacity: 32 << 20, durability: 'relaxed' } });
  const volume = await module.mountSABFS();
  const start = () => startWorker(() => new Worker(script), program, { store: volume.store });
  const [first, second] = [await start(), await start()];
  assert.equal(await first.call('open', DATABASE, 'WAL'), 0);
  assert.equal(await first.call('count', 1, TIMES), 0);
  // The index of such a database is in memory that both would have to share.
  assert.notEqual(await second.call('open', DATABASE, 'WAL'), 0);
  assert.equal((await second.call('try', 'SELECT * FROM log')) & 0xff, SQLITE_IOERR);
  assert.equal(await first.call('count', 2, TIMES), 0);
  assert.equal(await first.call('close'), 0);
  assert.equal(await second.call('try', 'SELECT * FROM log'), 0);
  assert.equal(await second.call('count', 3, TIMES), 0);
  assert.equal(await second.call('number', 'SELECT n FROM total'), 3 * TIMES);
  assert.equal(await second.call('number', 'SELECT integrity_check = \'ok\' FROM pragma_integrity_check'), 1);
  assert.equal(await second.call('close'), 0);
  for (const worker of [first, second]) await worker.terminate();
  await volume.unmount();
  assertSound(path.join(folder, 'default'), 'WAL');
});
