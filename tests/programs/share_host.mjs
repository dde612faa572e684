// Programs in workers that share a store and are terminated at random, each followed by another one, while the others have to go
// on. Runs in Node and on a page; gives what a test needs to judge, as JSON carries it.
//
// The store, its program and its volume are this thread's.
const GATE = 64 >> 2, FREE_BLOCKS = 132 >> 2, USED_INODES = 136 >> 2, QUARANTINED = 156 >> 2, LOCK_GUARD = 256 >> 2;
const LOCKS = 268 >> 2, CLIENTS = 4096 >> 2, CLIENT_WORDS = 32, CLIENTS_MAX = 64;
// Who makes no progress for so long is stuck.
const LIMIT_MS = 30_000;
// Chromium lets a worker go on for two seconds that it was told to end, so another one works elsewhere, and the folder of a
// dead one is left alone for so long.
const RESTLESS_MS = 4000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// One worker: {number, ready, ended, terminate}.
function start(makeWorker, request, lines) {
  const worker = makeWorker();
  const self = { number: request.number, terminate: () => worker.terminate() };
  self.ended = new Promise((end, refuse) => {
    self.ready = new Promise((ready, fail) => {
      const receive = ({ line, ended }) => {
        if (line === 'ready') ready();
        else if (line !== undefined) lines.push(`${request.number}: ${line}`);
        if (ended !== undefined) end(ended);
        if (ended) fail(new Error(`program ${request.number} ended with ${ended}`));
      };
      const failed = (error) => {
        const told = new Error(`the worker of program ${request.number} fails: ${error?.message ?? error}`);
        fail(told);
        refuse(told);
      };
      if (worker.on) worker.on('message', receive).on('error', failed);
      else [worker.onmessage, worker.onerror] = [({ data }) => receive(data), failed];
    });
  });
  self.ended.catch(() => {});
  self.ready.catch(() => {});
  worker.postMessage(request);
  return self;
}

const wordsOf = (store) => new Int32Array(store.buffer ?? store);

/** How many clients a store has. */
export function clients(store) {
  const words = wordsOf(store);
  let count = 0;
  for (let slot = 0; slot < CLIENTS_MAX; slot++) count += Atomics.load(words, CLIENTS + slot * CLIENT_WORDS) & 3 ? 1 : 0;
  return count;
}

/** What is in use; what is free only when it is durable counts as free. */
export function counts(store) {
  const [free, quarantined, usedInodes] = [FREE_BLOCKS, QUARANTINED, USED_INODES].map((at) => Atomics.load(wordsOf(store), at));
  return { freeBlocks: free + quarantined, usedInodes };
}

// Takes everything away.
function removeAll(FS, folder) {
  for (const name of FS.readdir(folder)) {
    if (name === '.' || name === '..') continue;
    const path = `${folder}/${name}`;
    if ((FS.stat(path).mode & 0xf000) === 0x4000) {
      removeAll(FS, path);
      FS.rmdir(path);
    } else {
      FS.unlink(path);
    }
  }
}

/**
 * makeWorker: makes a worker of share_worker.mjs. module: the program, started with the store and mounted as `volume`.
 * Ends `deaths` workers, of `count` that work at a time. `random` gives numbers from 0 to 1.
 */
export async function shareAndKill({ makeWorker, module, volume, program, access, deaths, count, random }) {
  const { store } = volume, words = wordsOf(store);
  const ticks = new Int32Array(new SharedArrayBuffer(4 * (count + 1)));
  // The inode table keeps the blocks that it has grown by: as many as will ever be needed.
  module.FS.mkdir('/opfs/many', 0o755);
  for (let file = 0; file < 2000; file++) module.FS.writeFile(`/opfs/many/${file}`, 'x');
  removeAll(module.FS, '/opfs');
  const before = counts(store);
  const lines = [];
  let number = 0;
  const begin = (place) => start(makeWorker, {
    program, place, number: number++, seed: 1 + Math.floor(random() * 2 ** 31), store, ticks, access,
  }, lines);
  const workers = Array.from({ length: count }, (_, place) => begin(place));
  const dead = [];
  try {
    return await work();
  } finally {
    for (const worker of workers) await worker.terminate();
  }

  async function work() {
    await Promise.all(workers.map(({ ready }) => ready));
    // How long each survivor took, after each death, until it had done an operation that it began later.
    const waits = [];
    for (let death = 0; death < deaths; death++) {
      await sleep(random() * 15);
      const victim = Math.floor(random() * count);
      const others = [...workers.keys()].filter((place) => place !== victim);
      const seen = others.map((place) => Atomics.load(ticks, place));
      const ended = workers[victim].terminate();
      const begun = performance.now();
      for (const [index, place] of others.entries()) {
        while (Atomics.load(ticks, place) - seen[index] < 2) {
          if (performance.now() - begun > LIMIT_MS || lines.length) {
            throw new Error(`program ${workers[place].number} makes no progress after death ${death}: gate ${words[GATE]}, ` +
              lines.join('; '));
          }
          await sleep(1);
        }
        waits.push(performance.now() - begun);
      }
      await ended;
      dead.push({ number: workers[victim].number, since: performance.now() });
      while (performance.now() - dead[0]?.since > RESTLESS_MS) removeAll(module.FS, `/opfs/${dead.shift().number}`);
      workers[victim] = begin(victim);
      await workers[victim].ready;
    }
    Atomics.store(ticks, count, 1);
    const codes = await Promise.all(workers.map(({ ended }) => ended));
    for (const worker of workers) await worker.terminate();
    // Whoever hears of the last deaths recovers what they left.
    for (let tries = 0; clients(store) > 1 && tries < 200; tries++) await sleep(50);
    const left = { clients: clients(store), gate: words[GATE], lockGuard: words[LOCK_GUARD], locks: words[LOCKS] };
    removeAll(module.FS, '/opfs');
    await volume.sync();
    waits.sort((a, b) => a - b);
    const p99Ms = waits[Math.floor(waits.length * 0.99)], worstMs = waits.at(-1);
    return { lines, codes, left, before, after: counts(store), operations: ticks.slice(0, count).reduce((a, b) => a + b), p99Ms, worstMs };
  }
}
