// A page that shares its store with three others: a program with SQLite, a program that unpacks archives, and a worker with the
// package for JavaScript. Runs in Node and on a page; gives what a test needs to judge, as JSON carries it.
import { randomNumbers } from '../kill/random.mjs';
import { startWorker } from './lock_host.mjs';
import { clients } from './share_host.mjs';
import { Actor, Counter, Mirror, verify } from './together_actor.mjs';

const GATE = 64 >> 2, LOCK_GUARD = 256 >> 2, LOCKS = 268 >> 2, WAITING = 272 >> 2;
const ACCOUNTS = 20, BALANCE = 1000, TRANSFERS_IN_A_ROW = 8;
/** Unpacked archives that are there at a time, and what a page does at a time. */
const KEPT = 3, ACTORS = 3;
// Who has not come to an end so long after the others is stuck.
const LIMIT_MS = 60_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');

function demand(truth, what) {
  if (!truth) throw new Error(what);
}

/** Demands that a folder has what was packed. `members`: {path, type, target, sha256} each. */
async function verifyUnpacked(fs, folder, members) {
  for (const { path, type, target, sha256 } of members) {
    const name = `${folder}/${path}`;
    if (type == 'f') demand(hex(await crypto.subtle.digest('SHA-256', await fs.readFile(name))) == sha256, `${name} has other bytes`);
    else if (type == 'l') demand(await fs.readlink(name) == target, `${name} leads elsewhere`);
    else demand((await fs.stat(name)).isDirectory(), `${name} is no folder`);
  }
}

/**
 * SABFS: the package. options: for the store. makeProgram, makeWorker: make workers of lock_worker.mjs and together_worker.mjs.
 * programs: {sqlite, unpack}, addresses. archive: a tar file, `members` what is in it.
 */
export async function liveTogether({ SABFS, options, makeProgram, makeWorker, programs, archive, members, seed, journalMode, forMs }) {
  const volume = await SABFS.create(options), fs = volume.promises, random = randomNumbers(seed);
  const words = new Int32Array(volume.store.buffer ?? volume.store), living = [];
  const start = async (make, program) => {
    const worker = await startWorker(make, program, { store: volume.store });
    living.push(worker);
    return worker;
  };
  try {
    return await run();
  } finally {
    for (const worker of living) await worker.terminate();
  }

  async function run() {
    const [bank, unpacker, worker] = [
      await start(makeProgram, programs.sqlite), await start(makeProgram, programs.unpack), await start(makeWorker),
    ];
    await fs.writeFile('/archive.tar', archive);
    await fs.mkdir('/unpacked');
    await Counter.make(fs, '/counter');
    demand(await bank.call('open', '/opfs/bank.db', journalMode) === 0, 'the database cannot be opened');
    demand(await bank.call('accounts', ACCOUNTS, BALANCE) === 0, 'the accounts cannot be made');
    const homes = Array.from({ length: ACTORS }, (_, index) => `/page${index}`);
    for (const home of [...homes, '/worker']) await Actor.makeHome(fs, home);
    await worker.call('watch', homes[0]);
    const mirror = await Mirror.watch(volume, '/worker');

    const end = performance.now() + forMs, isOver = () => performance.now() > end;
    const actors = homes.map((home) => new Actor(fs, home, randomNumbers(random() * 2 ** 32)));
    const unpacked = [], counters = [];
    let transfers = 0, archives = 0;
    const [, , work] = await Promise.all([
      (async () => {
        while (!isOver()) {
          const done = await bank.call('transfer', ACCOUNTS, Math.floor(random() * 2 ** 31), TRANSFERS_IN_A_ROW);
          demand(done >= 0, 'SQLite fails');
          transfers += done;
        }
      })(),
      (async () => {
        while (!isOver()) {
          const folder = `/unpacked/${archives++}`;
          demand(await unpacker.call('unpack', '/opfs/archive.tar', `/opfs${folder}`) === 0, `${folder} is not unpacked`);
          unpacked.push(folder);
          await verifyUnpacked(fs, folder, members.filter(() => random() < 0.1));
          if (unpacked.length <= KEPT) continue;
          const [old] = unpacked.splice(Math.floor(random() * KEPT), 1);
          demand(await unpacker.call('remove', `/opfs${old}`) === 0, `${old} is not removed`);
          demand(!(await fs.exists(old)), `${old} is still there`);
        }
      })(),
      worker.call('work', '/worker', '/counter', Math.floor(random() * 2 ** 32), forMs),
      ...actors.map(async (actor) => {
        const counter = await Counter.open(fs, '/counter');
        counters.push(counter);
        while (!isOver()) {
          for (let turn = 0; turn < 7; turn++) await actor.step();
          await counter.add();
        }
        await counter.close();
      }),
    ]);

    // No step of those that count together is lost.
    const [number] = new Uint32Array((await fs.readFile('/counter')).buffer);
    const counted = { page: counters.reduce((sum, { steps }) => sum + steps, 0), worker: work.counted };
    demand(number == counted.page + counted.worker, `the number is ${number} after ${JSON.stringify(counted)} steps`);

    // Each one's result, by itself and by another one.
    const ask = (sql) => bank.call('number', sql);
    const accounts = {
      isWhole: await ask('SELECT integrity_check = \'ok\' FROM pragma_integrity_check'),
      sum: await ask('SELECT sum(balance) FROM accounts'),
      transfers: await ask('SELECT count(*) FROM transfers'),
      wrong: await ask(`SELECT count(*) FROM accounts WHERE balance <> ${BALANCE}
        - (SELECT coalesce(sum(amount), 0) FROM transfers WHERE source = id)
        + (SELECT coalesce(sum(amount), 0) FROM transfers WHERE target = id)`),
    };
    for (const folder of unpacked) await verifyUnpacked(fs, folder, members);
    const names = (await fs.readdir('/unpacked')).map((name) => `/unpacked/${name}`).sort();
    demand(String(names) == String([...unpacked].sort()), `${names} are there, not ${unpacked}`);
    for (const [index, { known }] of actors.entries()) await verify(fs, homes[index], known);
    await verify(fs, '/worker', work.known);
    await mirror.settle(LIMIT_MS);
    const watched = await worker.call('verify', homes[0], actors[0].known, LIMIT_MS);

    demand(await bank.call('close') === 0, 'the database cannot be closed');
    await worker.call('leave');
    for (const one of [bank, unpacker]) await one.terminate();
    const since = performance.now();
    while (clients(volume.store) > 1 && performance.now() - since < LIMIT_MS) await sleep(20);
    await fs.sync();
    const left = {
      clients: clients(volume.store), gate: words[GATE], lockGuard: words[LOCK_GUARD], locks: words[LOCKS], waiting: words[WAITING],
    };
    await volume.detach();
    return {
      accounts, acknowledged: transfers, archives, unpacked, left, counted,
      steps: { page: actors.reduce((sum, { steps }) => sum + steps, 0), worker: work.steps },
      events: { page: mirror.events, worker: watched.events }, overflows: mirror.overflows + watched.overflows,
      known: Object.fromEntries([['/worker', work.known], ...homes.map((home, index) => [home, actors[index].known])]),
    };
  }
}

/** What the accounts have to hold together. */
export const SUM = ACCOUNTS * BALANCE;
