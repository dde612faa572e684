// Programs in workers that share a store: what one of them does the others hear of (inotify), see (mappings for reading) and
// leave whole (appending). Runs in Node and on a page; gives what a test compares, as JSON carries it.
import { startWorker } from './lock_host.mjs';

const RECORDS = 1000;

/** makeWorker: makes a worker of lock_worker.mjs. program: the address of between_calls.c as a module. */
export async function tellAndAppend({ makeWorker, volume, program, access }) {
  const all = [], found = {};
  try {
    for (let i = 0; i < 3; i++) all.push(await startWorker(makeWorker, program, { store: volume.store, access }));
    await run(...all);
  } finally {
    for (const worker of all) await worker.terminate();
  }
  return found;

  async function run(a, b, c) {
    await a.call('mkdir', '/opfs/watched');
    const watcher = await a.call('watch', '/opfs/watched');
    const waits = a.call('told_text', watcher);
    const file = await b.call('open', '/opfs/watched/file');
    found['A, asleep in a read, is told what B does'] = await waits;
    found['of nothing else yet'] = await a.call('poll', watcher);
    await b.call('write', file, 'abc');
    await b.call('chmod', '/opfs/watched/file', 0o600);
    await c.call('rename', '/opfs/watched/file', '/opfs/watched/moved');
    found['there is more'] = await a.call('poll', watcher);
    await c.call('unlink', '/opfs/watched/moved');
    found['A is told what B and C have done'] = await a.call('told_text', watcher);

    const appended = all.map((worker, who) => worker.call('append', '/opfs/log', who, RECORDS));
    found['all append to one file at once'] = await Promise.all(appended);
    found['each record is there, whole and in order'] = await a.call('records', '/opfs/log', all.length) / RECORDS;

    const [mapped, written] = [await a.call('open', '/opfs/mapped'), await b.call('open', '/opfs/mapped')];
    await b.call('write', written, 'first');
    found['A maps a file'] = await a.call('map', mapped);
    found['and sees what B has written'] = await a.call('mapped_text');
    await b.call('write', written, 'then this');
    found['it locks the file'] = await a.call('lock', mapped, 1);
    found['and sees what B has written since'] = await a.call('mapped_text');
    await a.call('lock', mapped, 0);
  }
}

/** What tellAndAppend() has to find. */
export const EXPECTED = {
  'A, asleep in a read, is told what B does': 'CREATE file',
  'of nothing else yet': 0,
  'there is more': 1,
  'A is told what B and C have done': 'MODIFY file, ATTRIB file, MOVED_FROM file, MOVED_TO moved, DELETE moved',
  'all append to one file at once': [0, 0, 0],
  'each record is there, whole and in order': 3,
  'A maps a file': 0,
  'and sees what B has written': 'first',
  'it locks the file': 0,
  'and sees what B has written since': 'then this',
};
